from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Neighbourhood
from tests.cli.running import on_terminal, refused

pytestmark = pytest.mark.xdist_group("a node of the command line")


def test_without_a_terminal_it_says_what_else_there_is() -> None:
    assert refused("tui", status=2) == "the terminal needs a terminal; for programs there is: ecloud node status --json"


def test_it_shows_the_node_and_leaves(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    status, shown = on_terminal(["tui", *neighbourhood.options], [("lane", "q")], tmp_path)
    assert status == 0
    assert "Traceback" not in shown

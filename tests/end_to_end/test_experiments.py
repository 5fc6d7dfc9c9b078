"""What an operator tries on a running devnet, through the commands; real nodes in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devnet import operations
from devnet.experiments import partition
from devnet.manifest import DevnetError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("devnet"), pytest.mark.timeout(300)]

WITHIN_S = 120


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A devnet of four that runs."""
    found = tmp_path_factory.mktemp("experiments") / "devnet"
    devnet(found, "up", "--nodes", "4", "--detach")
    yield found
    operations.down(found)


def devnet(directory: Path, verb: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "cli.main", "devnet", verb, "--directory", str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def nodes(directory: Path) -> dict[str, dict[str, Any]]:
    return {node["name"]: node for node in json.loads(devnet(directory, "status", "--json"))["nodes"]}


def heights(directory: Path) -> dict[str, int]:
    return {name: node["height"] or 0 for name, node in nodes(directory).items()}


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.5)


def test_a_home_that_is_cut_off_stands_still_and_comes_back(directory: Path) -> None:
    wait_until(lambda: min(heights(directory).values()) >= 2)
    # When bob is cut off
    assert "bob | anne, carla, george" in devnet(directory, "partition", "bob")
    wait_until(lambda: nodes(directory)["bob"]["peers"] == 0)
    # Then the others go on, and he does not
    before = heights(directory)
    wait_until(lambda: heights(directory)["anne"] >= before["anne"] + 4)
    assert heights(directory)["bob"] <= before["bob"] + 1
    # When it is healed, then he has what they have
    assert "3 pairs" in devnet(directory, "heal")
    height = heights(directory)["anne"]
    wait_until(lambda: heights(directory)["bob"] >= height + 2)
    assert "nobody was cut off" in devnet(directory, "heal")


def test_cut_in_halves_nothing_is_agreed_until_it_is_healed(directory: Path) -> None:
    # When the neighbourhood is cut in halves, each without a quorum
    devnet(directory, "partition", "anne,bob")
    wait_until(lambda: {node["peers"] for node in nodes(directory).values()} == {1})
    # Then there is one block more at most, which was under way, and no two different ones
    before = heights(directory)
    time.sleep(5)
    assert all(height <= before[name] + 1 for name, height in heights(directory).items())
    # When it is healed, then the blocks come again
    devnet(directory, "heal")
    wait_until(lambda: min(heights(directory).values()) >= max(before.values()) + 3)


def test_transfers_are_sent_under_a_wrong_clock(directory: Path) -> None:
    # When carla's clock is half a second behind, within what the chain tolerates
    assert "-500 ms off" in devnet(directory, "clock-skew", "carla", "-500")
    # Then transfers go through, and she follows
    sent = json.loads(devnet(directory, "load", "--rate", "20", "--seconds", "5", "--json"))
    assert sent["acknowledged"] >= 10
    height = max(heights(directory).values())
    wait_until(lambda: heights(directory)["carla"] > height)
    assert "is right" in devnet(directory, "clock-skew", "carla", "0")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["dora"], "nobody is called 'dora'"),
        (["anne,bob", "bob"], "bob cannot be in two parts"),
        (["anne,bob,carla,george"], "cuts nobody off"),
        ([""], "cuts nobody off"),
    ],
)
def test_cuts_that_make_no_sense(directory: Path, parts: list[str], message: str) -> None:
    with pytest.raises(DevnetError, match=message):
        partition(parts, directory)

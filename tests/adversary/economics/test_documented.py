"""The protocol's table of what does not pay names tests that exist, and every file of tests here."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PROTOCOL = HERE.parents[2] / "docs" / "protocol.md"


def test_every_test_that_the_table_names_exists_and_no_file_is_left_out() -> None:
    text = PROTOCOL.read_text()
    table = text[text.index("### What does not pay") : text.index("## Agreement\n")]
    named = set(re.findall(r"`(test_\w+(?:\.py)?|Test\w+)`", table))
    files = {path.name: path.read_text() for path in HERE.glob("test_*.py") if path != Path(__file__)}
    defined = {
        name: set(re.findall(r"^\s*(?:def|class) (\w+)", source, re.MULTILINE)) for name, source in files.items()
    }
    for name in named:
        assert name in files or any(name in found for found in defined.values()), name
    for name, found in defined.items():
        assert name in named or named & found, f"{name} is not in the table"

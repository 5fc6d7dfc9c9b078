"""Reading the documents: their files, fenced blocks, tables, links and the commands they name.

1. A document is ``README.md`` or a Markdown file under ``docs``.
2. A *worked example* is a fenced block whose info string is ``example NAME``; each of its lines is ``key = value``.
3. A table row is its cells, stripped, without the backquotes around a single word.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


class Fence(NamedTuple):
    """A fenced block: what follows the opening backquotes, and its lines."""

    info: str
    text: str


def fences(document: Path) -> list[Fence]:
    return [Fence(info.strip(), text) for info, text in _FENCE.findall(document.read_text("utf-8"))]


def worked_examples(document: Path) -> dict[str, dict[str, str]]:
    """The worked examples by name; a name or key that occurs twice fails."""
    found: dict[str, dict[str, str]] = {}
    for fence in fences(document):
        kind, _, name = fence.info.partition(" ")
        if kind != "example":
            continue
        assert name not in found, f"two examples are called {name}"
        lines = [line.split(" = ", 1) for line in fence.text.splitlines() if line]
        found[name] = {key.strip(): value.strip() for key, value in lines}
        assert len(found[name]) == len(lines), f"example {name} has a key twice"
    return found


def prose(document: Path) -> str:
    """The document without its fenced blocks."""
    return _FENCE.sub("", document.read_text("utf-8"))


def links(document: Path) -> list[str]:
    return _LINK.findall(prose(document))


def words_of_code(document: Path) -> list[str]:
    """What stands between single backquotes."""
    return _CODE.findall(prose(document))


def table_rows(document: Path, heading: str) -> list[list[str]]:
    """The rows of all tables under a heading (to the next heading of any level), header rows left out."""
    text = document.read_text("utf-8")
    begin = re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE)
    assert begin is not None, f"{document.name} has no heading {heading!r}"
    after = text[begin.end() :]
    end = re.search(r"^#+ ", after, re.MULTILINE)
    lines = (after[: end.start()] if end else after).splitlines()
    rows = []
    for index, line in enumerate(lines):
        is_header = index + 1 < len(lines) and re.fullmatch(r"\|[ \-:|]+\|", lines[index + 1])
        if line.startswith("|") and not is_header and not re.fullmatch(r"\|[ \-:|]+\|", line):
            rows.append([_plain(cell) for cell in line.strip("|").split("|")])
    return rows


def _plain(cell: str) -> str:
    text = cell.strip()
    single = re.fullmatch(r"`([^`]*)`", text)
    return single[1] if single else text


def commands(document: Path) -> Iterator[list[str]]:
    """Every command line that begins with ``ecloud``: in backquotes, and in the shell blocks, as its words."""
    lines = [code for code in words_of_code(document) if code.startswith("ecloud ")]
    for fence in fences(document):
        if fence.info in {"sh", "console"}:
            joined = fence.text.replace("\\\n", " ")
            lines += [line.removeprefix("$ ") for line in joined.splitlines() if _is_command(line, fence.info)]
    for line in lines:
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        if words and words[0] in {"ecloud", ".venv/bin/ecloud"}:
            yield words[1:]


def _is_command(line: str, info: str) -> bool:
    return line.startswith("$ ") if info == "console" else bool(line.strip())

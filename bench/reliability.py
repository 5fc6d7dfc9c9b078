"""Writes ``docs/reliability.md`` from what the campaigns stored: ``make reliability``.

A chapter says what was done to the chain and what must hold; its figures are those of one stored run
(``bench.report``). A campaign that has not been run is named as missing, never filled in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.report import RESULTS, text

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "reliability.md"

PREFACE: Final = """\
# Reliability

What was done to E-Cloud to break it, and what came of it. Every table is made by the command above it, which anyone can
repeat; this document is written by `make reliability` from the results stored in `bench/results/`. Each table names the
machine, its load and the day.
"""

# name of the result → title, what it shows
CHAPTERS: Final[Mapping[str, tuple[str, str]]] = {
    "chaos": (
        "A neighbourhood under every kind of fault",
        "The real engine, ledger, mempool, download planner and journal in virtual time. Messages are delayed, "
        "lost, doubled and reordered; the network is cut, also in one direction; homes crash at every point of a "
        "write and restart; clocks are wrong; up to a third of the weight lies in nine ways. Must hold at every "
        "block: one block per height, sound certificates, equal state, conserved sums, no accepted transaction "
        "lost, no honest home convictable. After the faults end, a block within 120 s.",
    ),
    "mutants": (
        "Does the simulation notice?",
        "The same simulation with one rule of the protocol left out. A simulation that does not notice proves nothing.",
    ),
    "kills": (
        "kill -9 under load",
        "Real nodes in processes of their own over libp2p on loopback, killed at random instants while transfers "
        "pour in. No final transaction may be lost, none acknowledged may vanish, and nobody may have to repair "
        "anything.",
    ),
    "enemies": (
        "Hostile peers",
        "Peers that speak the protocol's layers wrongly, too much, too slowly or not at all, against real nodes.",
    ),
    "fuzz": (
        "Rubbish for every parser",
        "Mutated and random bytes for everything that reads what strangers wrote. Nothing may escape but the "
        "errors each parser declares.",
    ),
    "fuzz-api": (
        "Everything the API's document allows",
        "Schemathesis reads the node's own OpenAPI document and asks what it allows and what it forbids.",
    ),
    "slow-links": (
        "Many homes on slow links",
        "The real engine and messages over simulated links of 256 kbit/s.",
    ),
    "catch-up": (
        "Catching up",
        "A new node fetches, verifies and executes a long chain.",
    ),
}


def render(results: Path = RESULTS) -> str:
    """The whole document. Errors: OSError, ValueError for a result that is no result."""
    return "\n".join([PREFACE, *(_chapter(results, name) for name in CHAPTERS)])


def _chapter(results: Path, name: str) -> str:
    title, purpose = CHAPTERS[name]
    path = results / f"{name}.json"
    head = f"## {title}\n\n{purpose}\n"
    if not path.exists():
        return f"{head}\nNot measured yet.\n"
    stored: dict[str, Any] = json.loads(path.read_text())
    lines = [
        head,
        f"`{stored['command']}` on {stored['day']}: {stored['machine']}, load {stored['load']}.",
        "",
        "| " + " | ".join(stored["columns"]) + " |",
        "| " + " | ".join(["---", *["---:"] * (len(stored["columns"]) - 1)]) + " |",
        *("| " + " | ".join(text(cell) for cell in row) + " |" for row in stored["rows"]),
        "",
        *(f"{note}\n" for note in stored["notes"]),
    ]
    return "\n".join(lines)


def main() -> None:
    DOCUMENT.write_text(render())
    print(f"written: {DOCUMENT.relative_to(Path.cwd()) if DOCUMENT.is_relative_to(Path.cwd()) else DOCUMENT}")


if __name__ == "__main__":
    main()

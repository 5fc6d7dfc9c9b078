"""Where a campaign leaves what it found, so that one command can make a document of it.

1. A campaign ends with one ``Table``, stored as ``bench/results/<name>.json`` together with the machine it was made on,
   its load at that time and the day: figures without these say nothing.
2. What is stored is what was measured in one run of ``command``; nothing is merged, nothing is kept of a former run.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table as RichTable

RESULTS: Final = Path(__file__).parent / "results"

Cell = str | int | float


@dataclass(frozen=True, slots=True)
class Table:
    """One result. ``name`` names the file; ``command`` repeats it; ``notes`` are whole sentences: what bounds a figure,
    what was left out.
    """

    name: str
    title: str
    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), "a cell for every column"


def machine() -> str:
    """What the figures were made on: cores, processor family, kernel, Python."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"


def save(table: Table) -> Path:
    """Stores the result and shows it. Errors: OSError."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{table.name}.json"
    record = asdict(table) | {
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "day": datetime.now(UTC).date().isoformat(),
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    show(table)
    return path


def show(table: Table) -> None:
    """Prints the result as a table."""
    view = RichTable(title=table.title)
    for number, column in enumerate(table.columns):
        view.add_column(column, justify="right" if number else "left")
    for row in table.rows:
        view.add_row(*(text(cell) for cell in row))
    console = Console()
    console.print(view)
    for note in table.notes:
        console.print(note)


def text(cell: Cell) -> str:
    """A number with its thousands apart, and no more digits than it deserves."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:,.2f}".rstrip("0").rstrip(".")

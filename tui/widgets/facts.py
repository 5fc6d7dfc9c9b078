"""Names and values under each other, the values aligned."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tui.palette import FOREGROUND, MUTED

Fact = tuple[str, Text | str]


def facts(rows: Sequence[Fact], label_width: int = 11) -> Table:
    """A grid for ``Static``; long values are folded, so that a hash can be read and copied whole."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=label_width, style=MUTED, no_wrap=True)
    grid.add_column(ratio=1, style=FOREGROUND, overflow="fold")
    for label, value in rows:
        grid.add_row(label, Text(value) if isinstance(value, str) else value)
    return grid

"""The house's own registers, period by period, for the autopilot's forecast: a small file of its own.

1. A line is ``PERIOD IMPORT EXPORT``, cumulative Wh at the period's end, in rising order. A line that is not that, as a
   power cut may leave at the end, is left out; nothing depends on it but how good the forecast is.
2. ``days`` of it are kept; the file is written anew when it has twice as many lines.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from home.autopilot import Measured

HISTORY_NAME: Final = "history.txt"


class Registers(NamedTuple):
    period: int
    import_wh: int
    export_wh: int


class History:
    """``keep``: so many periods."""

    def __init__(self, directory: Path, keep: int) -> None:
        """Errors: OSError."""
        self._path = directory / HISTORY_NAME
        self._rows: deque[Registers] = deque(maxlen=keep + 1)
        self._lines = 0
        if self._path.exists():
            for line in self._path.read_text("ascii", errors="replace").splitlines():
                self._lines += 1
                words = line.split(" ")
                if len(words) == 3 and all(word.isascii() and word.isdecimal() for word in words):
                    self._hear(Registers(*map(int, words)))

    @property
    def last_period(self) -> int | None:
        return self._rows[-1].period if self._rows else None

    def add(self, row: Registers) -> None:
        """Rows at or before the last one are left out. Errors: OSError, and then it is remembered all the same."""
        if not self._hear(row):
            return
        self._lines += 1
        if self._lines > 2 * (self._rows.maxlen or 0):
            temporary = self._path.with_name(f".{self._path.name}.new")
            temporary.write_text("".join(_line(kept) for kept in self._rows), "ascii")
            temporary.replace(self._path)
            self._lines = len(self._rows)
            return
        with self._path.open("a", encoding="ascii") as file:
            file.write(_line(row))

    def measured(self) -> tuple[Measured, ...]:
        """Of each period whose predecessor is known too."""
        return tuple(
            Measured(after.period, after.import_wh - before.import_wh, after.export_wh - before.export_wh)
            for before, after in pairwise(self._rows)
            if after.period == before.period + 1
            and after.import_wh >= before.import_wh
            and after.export_wh >= before.export_wh
        )

    def _hear(self, row: Registers) -> bool:
        if self._rows and row.period <= self._rows[-1].period:
            return False
        self._rows.append(row)
        return True


def _line(row: Registers) -> str:
    return f"{row.period} {row.import_wh} {row.export_wh}\n"

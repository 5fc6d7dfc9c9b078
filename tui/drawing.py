"""Small pictures made of characters: bars, the ruler of a draw, the lane of a candidate.

Lengths are computed in integers, so that a picture is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from rich.text import Text

from tui.palette import ATTENTION, FAINT, FOREGROUND, MUTED

_FULL: Final = "█"


def bar(part: int, whole: int, width: int, colour: str) -> Text:
    """A bar of ``width`` cells, filled to ``part`` of ``whole`` in half cells, on a faint track."""
    assert width >= 1
    full, half = divmod(min(part, whole) * width * 2 // whole if whole > 0 else 0, 2)
    text = Text(no_wrap=True, end="")
    text.append("━" * full + "╸" * half, colour)
    text.append("━" * (width - full - half), FAINT)
    return text


@dataclass(frozen=True, slots=True)
class Segment:
    """A candidate's part of the ruler: its label, and from which ticket (inclusive) to which (exclusive)."""

    label: str
    colour: str
    from_ticket: int
    to_ticket: int


def ruler(segments: Sequence[Segment], total: int, ticket: int, width: int) -> Text:
    """Three lines: where the ticket fell, the candidates' parts in their colours, their names below.

    A part that wins no whole cell is left out of the picture, never out of the table beside it. The pointer always
    stands within the winner's part.
    """
    edges = _edges(segments, total, width)
    pointer = min(ticket * width // total, width - 1) if total else 0
    winner = next((k for k, part in enumerate(segments) if part.from_ticket <= ticket < part.to_ticket), None)
    if winner is not None and edges[winner] < edges[winner + 1]:
        pointer = min(max(pointer, edges[winner]), edges[winner + 1] - 1)
    text = Text(no_wrap=True, end="")
    text.append(" " * pointer + "▼" + " " * (width - pointer - 1) + "\n", f"bold {FOREGROUND}")
    for k, part in enumerate(segments):
        cells = edges[k + 1] - edges[k]
        text.append(_FULL * cells, part.colour if winner is None or k == winner else f"{part.colour} dim")
    text.append("\n")
    for k, part in enumerate(segments):
        cells = edges[k + 1] - edges[k]
        label = part.label if len(part.label) < cells else part.label[: max(0, cells - 1)]
        text.append(label.ljust(cells), f"bold {part.colour}" if k == winner else MUTED)
    return text


def lane(won: Sequence[bool], skipped: Sequence[bool], colour: str) -> Text:
    """One cell per block, oldest first: ``▇`` where the candidate produced it, ``×`` where its turn was skipped."""
    text = Text(no_wrap=True, end="")
    for mine, missed in zip(won, skipped, strict=True):
        text.append("×" if missed else "▇" if mine else "·", ATTENTION if missed else colour if mine else FAINT)
    return text


def _edges(segments: Sequence[Segment], total: int, width: int) -> list[int]:
    """The cell at which each part begins, and the end; rounding never makes two parts overlap."""
    if total <= 0:
        return [0] * (len(segments) + 1)
    ends = accumulate((part.to_ticket - part.from_ticket for part in segments), initial=0)
    return [(2 * end * width + total) // (2 * total) for end in ends]

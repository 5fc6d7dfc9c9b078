"""What a run may be stopped by, and what it has seen when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from devnet.laboratory.chaos.setting import FaultId


class FaultKind(StrEnum):
    """VIOLATION: an invariant is broken. CONVICTABLE: an honest home has said what convicts it. HALT: after healing
    somebody makes no progress.
    """

    VIOLATION = "violation"
    CONVICTABLE = "convictable"
    HALT = "halt"


class Found(Exception):
    """A fault of the program under test; it ends the run."""

    def __init__(self, kind: FaultKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


@dataclass(frozen=True, slots=True)
class Fault:
    """``height`` is the lowest that is not final everywhere when it happened."""

    kind: FaultKind
    text: str
    at_ms: int
    height: int


@dataclass(slots=True)
class Report:
    """What one run was and found. ``weather`` are the faults that happened, by id, in order."""

    heights: int = 0
    node_days: float = 0.0
    partitions: int = 0
    crashes: int = 0
    equivocations: int = 0
    expulsions: int = 0
    transactions: int = 0
    messages: int = 0
    cpu_seconds: float = 0.0
    fault: Fault | None = None
    ended_early: str = ""
    weather: list[FaultId] = field(default_factory=list)
    finality_ms: list[int] = field(default_factory=list)
    """In calm times, of each home: from a block's time to its commit."""
    highest_view: int = 0
    longest_gap_ms: int = 0
    """In calm times: the longest that a home took from a height's opening, or from healing, to its commit."""

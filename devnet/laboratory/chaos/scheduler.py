"""Virtual time: things that happen, in order of time, those of one moment in the order in which they were planned."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush


class Scheduler:
    """``now_ms`` counts from the beginning of the run; nothing happens but through ``at``."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0

    def at(self, at_ms: int, call: Callable[[], object]) -> None:
        """Has something happen, now at the earliest."""
        self._count += 1
        heappush(self._events, (max(at_ms, self.now_ms), self._count, call))

    def step(self, end_ms: int) -> Callable[[], object] | None:
        """Moves time on to the next thing to happen and hands it over; None if there is none up to ``end_ms``."""
        if not self._events or self._events[0][0] > end_ms:
            self.now_ms = max(self.now_ms, end_ms)
            return None
        self.now_ms, _, call = heappop(self._events)
        return call

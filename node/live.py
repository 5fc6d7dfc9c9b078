"""Facts of the moment: how fast blocks become final here, how sync goes, and what a person should be warned of."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

FINALITY_REMEMBERED: Final = 100
HEIGHTS_REMEMBERED: Final = 10_000
RATE_WINDOW_BLOCKS: Final = 4_096


class FinalityLog:
    """From a block's time to its commit at this node, for blocks it saw open; and the rate of commits."""

    def __init__(self) -> None:
        self.last: deque[int] = deque(maxlen=FINALITY_REMEMBERED)
        self._by_height: OrderedDict[int, int] = OrderedDict()
        self._commits: deque[int] = deque(maxlen=RATE_WINDOW_BLOCKS)

    def committed(self, height: int, finality_ms: int | None, monotonic_ms: int) -> None:
        """``finality_ms`` is None for a block that was fetched, not seen open."""
        self._commits.append(monotonic_ms)
        if finality_ms is None:
            return
        self.last.append(finality_ms)
        self._by_height[height] = finality_ms
        if len(self._by_height) > HEIGHTS_REMEMBERED:
            self._by_height.popitem(last=False)

    def of_height(self, height: int) -> int | None:
        return self._by_height.get(height)

    def blocks_per_second(self, monotonic_ms: int) -> int:
        """Commits of the last second."""
        return sum(monotonic_ms - at <= 1_000 for at in self._commits)


class Warnings:
    """Sentences for a person; ``update`` says which are new and which no longer hold."""

    def __init__(self) -> None:
        self.current: tuple[str, ...] = ()

    def update(self, *sentences: str | None) -> tuple[list[str], list[str]]:
        """Takes the sentences that hold now (None for those that do not). Returns (new, cleared)."""
        now = tuple(sentence for sentence in sentences if sentence is not None)
        new = [sentence for sentence in now if sentence not in self.current]
        cleared = [sentence for sentence in self.current if sentence not in now]
        self.current = now
        return new, cleared

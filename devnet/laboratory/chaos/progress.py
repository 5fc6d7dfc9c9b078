"""After healing, progress: no honest home may be without the next block for longer than two minutes.

1. When everything is healed every home must have what is final anywhere within 120 s, and the block of the height that
   is open too.
2. As long as it stays calm the same holds from the opening of every height on.
3. Whatever disturbs ends what was demanded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from devnet.laboratory.chaos.faults import FaultKind, Found

if TYPE_CHECKING:
    from devnet.laboratory.chaos.world import World

PROGRESS_MS: Final = 120_000


class Progress:
    def __init__(self, world: World) -> None:
        self.world = world
        self.longest_ms = 0
        self._calm = 1  # counts calm times, 0 while it is not calm
        self._times = 1
        self._demanded_since: dict[int, int] = {}  # height → since when, in this calm

    def disturbed(self) -> None:
        self._calm = 0
        self._demanded_since.clear()

    def healed(self) -> None:
        self._times += 1
        self._calm = self._times
        world = self.world
        height, opens_at_ms = world.next_opening
        self._demand(height - 1, world.now_ms)
        self._demand(height, max(opens_at_ms, world.now_ms))

    def opening(self, height: int, opens_at_ms: int) -> None:
        """A height is known to open at that time; the one before has just become final somewhere."""
        if self._calm:
            self._demand(height - 1, self.world.now_ms)
            self._demand(height, max(opens_at_ms, self.world.now_ms))

    def committed(self, height: int) -> None:
        since_ms = self._demanded_since.get(height)
        if since_ms is not None:
            self.longest_ms = max(self.longest_ms, self.world.now_ms - since_ms)

    def _demand(self, height: int, since_ms: int) -> None:
        self._demanded_since.setdefault(height, since_ms)
        calm = self._calm
        due_ms = since_ms + PROGRESS_MS
        if due_ms <= self.world.end_ms:
            self.world.at(due_ms, lambda: self._check(height) if self._calm == calm else None)

    def _check(self, height: int) -> None:
        self._demanded_since.pop(height, None)
        for home in self.world.homes.values():
            if home.disk.height < height:
                raise Found(
                    FaultKind.HALT,
                    f"home {home.number} stands at height {home.disk.height}, {PROGRESS_MS // 1000} s after it could "
                    f"have had height {height} in calm weather",
                )

"""Forgets the bodies of old blocks, where the operator wants it so (``storage.retention = "pruned"``).

1. Kept are the last ``keep_blocks`` blocks and the whole state. What is older goes PRUNED_AT_ONCE blocks at a time,
   each piece a write of its own with a pause after it, so that blocks that become final meanwhile wait little.
2. A stop at any instant leaves a lower floor than wanted, and the next start goes on from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from node.log import Log
from storage.interface import BlockStore

PRUNED_AT_ONCE: Final = 64
PAUSE_S: Final = 0.2


class Pruner:
    """See the module's rules. ``write`` carries out a write where writes are done; ``keep_blocks`` 0 keeps all."""

    def __init__(
        self, store: BlockStore, keep_blocks: int, write: Callable[[Callable[[], None]], Awaitable[None]], log: Log
    ) -> None:
        self._store = store
        self._keep_blocks = keep_blocks
        self._write = write
        self._log = log
        self._woken = trio.Event()

    def wake(self) -> None:
        """There are new blocks."""
        self._woken.set()

    async def run(self) -> None:
        """Prunes what is too old, now and after new blocks, for ever. Errors: StorageError."""
        if not self._keep_blocks:
            await trio.sleep_forever()
        while True:
            while await self._prune_some():  # noqa: ASYNC110 (a pause, not a wait)
                await trio.sleep(PAUSE_S)
            await self._woken.wait()
            self._woken = trio.Event()

    async def _prune_some(self) -> bool:
        """One piece; False when there is none."""
        tip, floor = self._store.tip(), self._store.prune_floor()
        wanted = 0 if tip is None else tip.height - self._keep_blocks + 1
        if wanted <= floor:
            return False
        end = min(wanted, floor + PRUNED_AT_ONCE)
        await self._write(partial(self._store.prune, end))
        self._log.debug("pruned", below=end)
        return True

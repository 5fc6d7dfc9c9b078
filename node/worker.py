"""Where work that holds the processor or the disk is done, away from the network's loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Worker(Protocol):
    """Carries out one piece of work after the other, each on its own, and returns what it returns."""

    async def do(self, work: Callable[[], T]) -> T: ...


class ThreadWorker:
    """One worker thread at a time: LMDB takes one writer, and what runs beside the loop should not run beside
    itself.
    """

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)

    async def do(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


class InlineWorker:
    """For virtual time, which a thread would not know of: the work takes none."""

    async def do(self, work: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        return work()

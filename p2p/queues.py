"""A bounded queue that never makes its producer wait: when it is full, the oldest item is dropped and counted.

What waits here comes from the network, where messages may be lost anyway; what must not be lost is pulled
(``p2p.network``, rule 2).
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Self, TypeVar

import trio

T = TypeVar("T")


class DroppingQueue(Generic[T]):
    """An async iterator over what is ``put``; it ends after ``close``, when what was left has been taken."""

    def __init__(self, capacity: int) -> None:
        assert capacity > 0
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._changed = trio.Event()
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Adds ``item``; False if an older one was dropped for it."""
        if self._closed:
            return True
        fits = len(self._items) < self._capacity
        if not fits:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._changed.set()
        return fits

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._changed = trio.Event()
            await self._changed.wait()
        return self._items.popleft()

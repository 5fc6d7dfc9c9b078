"""What happens in the node, handed to everyone who listens, without anyone being able to hold the node up.

1. ``publish`` never waits. Each subscriber has a queue of ``QUEUE_LENGTH`` events.
2. A subscriber whose queue is full is dropped: it still gets what waits there, then ``Dropped``, then the end.
3. There are at most ``MAX_SUBSCRIBERS``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from node.client.events import Dropped, NodeEvent

QUEUE_LENGTH: Final = 1_024
MAX_SUBSCRIBERS: Final = 64


class TooManySubscribers(Exception):
    """``MAX_SUBSCRIBERS`` are listening already; trying again later may help."""


class Subscription:
    """One listener's queue: ask for ``next``."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[NodeEvent](QUEUE_LENGTH)
        self._is_dropped = False

    def offer(self, event: NodeEvent) -> bool:
        """False if the subscriber does not keep up and is now dropped."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._is_dropped = True
            self._send.close()
            return False
        return True

    def close(self) -> None:
        self._send.close()
        self._receive.close()

    async def next(self) -> NodeEvent | None:
        """The next event, or None at the end (after ``Dropped``, if that was why)."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._is_dropped:
                self._is_dropped = False
                return Dropped(detail=f"more than {QUEUE_LENGTH} events were waiting unread; connect again to go on")
            return None


class EventHub:
    """See the module's rules. Used from the trio thread only."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def __len__(self) -> int:
        return len(self._subscriptions)

    def publish(self, event: NodeEvent) -> None:
        for subscription in [one for one in self._subscriptions if not one.offer(event)]:
            self._subscriptions.discard(subscription)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Events from now on, inside the ``with``. Errors: TooManySubscribers."""
        if len(self._subscriptions) >= MAX_SUBSCRIBERS:
            raise TooManySubscribers(f"{MAX_SUBSCRIBERS} programs follow this node's events already")
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            subscription.close()

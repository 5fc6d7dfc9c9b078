"""The event stream: ``node.client.events`` as server-sent events (HTML Living Standard, section 9.2).

See the rules in ``node.client.events``. A comment every ``KEEP_ALIVE_S`` tells a client that the node is still there,
and the node that the client is.
"""

from __future__ import annotations

from typing import Final

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from node.api.reading import ChainAccess
from node.client.event_stream import HEIGHT_HEADER
from node.client.events import MAX_REPLAYED_BLOCKS, BlockFinal, Missed, NodeEvent, encode_event, event_tag
from node.event_hub import EventHub, Subscription
from node.views.blocks import block_final
from node.views.reader import Reader

KEEP_ALIVE_S: Final = 10.0
REPLAYED_TOGETHER: Final = 50
COMMENT: Final = b": the node is here\n\n"


def encode_message(event: NodeEvent) -> bytes:
    """One event as it travels; only what can be resumed from carries an id."""
    seen = event.height if isinstance(event, BlockFinal) else event.up_to_height if isinstance(event, Missed) else None
    identity = "" if seen is None else f"id: {seen}\n"
    return f"{identity}event: {event_tag(event)}\ndata: ".encode() + encode_event(event) + b"\n\n"


class EventStream(Response):
    """An answer that does not end by itself. ``after``: the last height the client has seen, None for a new one.

    Errors, before the answer begins: TooManySubscribers.
    """

    def __init__(self, chain: ChainAccess, hub: EventHub, after: int | None) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]  # an empty body's, by which the server would refuse to send any event
        self._chain = chain
        self._hub = hub
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._hub.subscribe() as subscription:  # first, so that nothing falls between the replay and what is live
            tip = await self._chain.read(lambda reader: reader.height)
            headers = [*self.raw_headers, (HEIGHT_HEADER.encode(), str(tip).encode())]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_disconnected, receive, nursery.cancel_scope)
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await _send(send, COMMENT)
                await self._replay(tip, send)
                await self._follow(subscription, tip, send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                nursery.cancel_scope.cancel()

    async def _replay(self, tip: int, send: Send) -> None:
        """The blocks after the one the client saw last, up to ``tip``."""
        if self._after is None:
            return
        floor = await self._chain.read(lambda reader: max(1, reader.chain.prune_floor()))
        first = max(self._after + 1, tip + 1 - MAX_REPLAYED_BLOCKS, floor)
        if first > self._after + 1:
            await _send(send, encode_message(Missed(from_height=self._after + 1, up_to_height=first - 1)))
        while first <= tip:
            last = min(tip, first + REPLAYED_TOGETHER - 1)
            heights = range(first, last + 1)

            def blocks(reader: Reader, heights: range = heights) -> list[BlockFinal]:
                return [block_final(reader, height) for height in heights]

            await _send(send, b"".join(encode_message(event) for event in await self._chain.read(blocks)))
            first = last + 1

    async def _follow(self, subscription: Subscription, tip: int, send: Send) -> None:
        """What happens from now on, without the blocks up to ``tip``, which the client has or knows of."""
        while True:
            with trio.move_on_after(KEEP_ALIVE_S) as waiting:
                event = await subscription.next()
            if waiting.cancelled_caught:
                await _send(send, COMMENT)
            elif event is None:
                return
            elif not (isinstance(event, BlockFinal) and event.height <= tip):
                await _send(send, encode_message(event))


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_disconnected(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()

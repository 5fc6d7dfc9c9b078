"""From a relayed connection to a direct one: both ends dial at the same moment, so that each router believes its own
home began (libp2p specs, ``relay/DCUtR.md``).

1. The end that was dialled through the relay begins. It first dials the other's own addresses, if it knows any it may
   dial. Else both tell the addresses they are seen under, it measures the round trip, says SYNC, and dials after half a
   round trip; the other dials at SYNC. It is the Noise responder of what comes of it, the other the initiator.
2. Both dial from their listening port: that is the port their router has opened towards the world
   (``p2p.libp2p.host``).
3. ATTEMPTS per relayed connection. Once a direct connection stands, the relayed one is closed after GRACE_S.
4. Only addresses that may be dialled at another's word count (``p2p.surroundings``, ``p2p.seeker``),
   MAX_PUNCHED_ADDRESSES at the most; a stream that does not come over a relayed connection is refused; one attempt per
   peer at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from libp2p.io.exceptions import IOException

from p2p.addresses import TcpAddress
from p2p.libp2p.host import is_relayed
from p2p.libp2p.requests import OpenStream, discard
from p2p.libp2p.streams import FramingError, frame, read_frame
from p2p.network import NetworkError, Offence, PeerId
from p2p.protobuf import MalformedProtobuf
from p2p.reception import Penalise
from p2p.relay_wire import HOLE_PUNCH, MAX_MESSAGE_BYTES, PunchType, decode_punch, encode_punch

ATTEMPTS = 3
GRACE_S = 1.0
_BEFORE_S = 1.0
_BETWEEN_S = 3.0
_MESSAGE_S = 10.0
_DIAL_S = 6.0

PunchDial = Callable[[PeerId, TcpAddress, bool], Awaitable[None]]
"""Dials an address from the listening port, as Noise initiator if the last is True. Error: NetworkError."""


class HolePunch:
    """``seen_as`` gives the addresses others see us under; ``direct`` whether a peer is directly connected."""

    def __init__(
        self,
        open_stream: OpenStream,
        seen_as: Callable[[], list[TcpAddress]],
        routes: Callable[[PeerId], list[TcpAddress]],
        accepts: Callable[[TcpAddress], bool],
        dial: PunchDial,
        direct: Callable[[PeerId], bool],
        close_relayed: Callable[[PeerId], Awaitable[None]],
        penalise: Penalise,
        counters: Counter[str],
    ) -> None:
        self._open_stream = open_stream
        self._seen_as = seen_as
        self._routes = routes
        self._accepts = accepts
        self._dial = dial
        self._direct = direct
        self._close_relayed = close_relayed
        self._penalise = penalise
        self._counters = counters
        self._busy: set[PeerId] = set()

    # The end that was dialled

    async def upgrade(self, peer: PeerId) -> None:
        """Tries to replace the relayed connection with ``peer``; never raises."""
        if peer in self._busy:
            return
        self._busy.add(peer)
        try:
            await trio.sleep(_BEFORE_S)
            await self._dial_all(peer, self._routes(peer), initiator=True)
            for _ in range(ATTEMPTS):
                if self._direct(peer):
                    break
                self._counters["hole_punches_tried"] += 1
                if await self._attempt(peer):
                    self._counters["hole_punches_made"] += 1
                    break
                await trio.sleep(_BETWEEN_S)
            if self._direct(peer):
                await trio.sleep(GRACE_S)
                await self._close_relayed(peer)
        finally:
            self._busy.discard(peer)

    async def _attempt(self, peer: PeerId) -> bool:
        stream = None
        try:
            with trio.fail_after(_MESSAGE_S):
                stream = await self._open_stream(peer, HOLE_PUNCH)
                began_s = trio.current_time()
                await stream.write(frame(encode_punch(PunchType.CONNECT, self._seen_as())))
                kind, addresses = decode_punch(await read_frame(stream, MAX_MESSAGE_BYTES))
                round_trip_s = trio.current_time() - began_s
                if kind != PunchType.CONNECT:
                    return False
                await stream.write(frame(encode_punch(PunchType.SYNC)))
                await trio.sleep(round_trip_s / 2)
            await self._dial_all(peer, addresses, initiator=False)
        except Exception:
            # Too slow, gone, no such protocol, no message; each layer has exceptions of its own for it.
            self._counters["hole_punches_broken_off"] += 1
        finally:
            if stream is not None:
                await discard(stream)
        return self._direct(peer)

    # The end that dialled

    async def serve(self, stream: Any) -> None:
        """The handler of one stream."""
        peer = str(stream.muxed_conn.peer_id)
        if not is_relayed(stream.muxed_conn) or self._direct(peer) or peer in self._busy:
            await discard(stream)
            return
        self._busy.add(peer)
        try:
            with trio.fail_after(_MESSAGE_S):
                kind, addresses = decode_punch(await read_frame(stream, MAX_MESSAGE_BYTES))
                if kind != PunchType.CONNECT:
                    return
                await stream.write(frame(encode_punch(PunchType.CONNECT, self._seen_as())))
                kind, _ = decode_punch(await read_frame(stream, MAX_MESSAGE_BYTES))
            if kind == PunchType.SYNC:
                await self._dial_all(peer, addresses, initiator=True)
        except (MalformedProtobuf, FramingError) as error:
            self._penalise(peer, Offence.PROTOCOL_VIOLATION, f"hole punch: {error}")
        except (IOException, trio.TooSlowError):
            # The relayed connection ended, or the peer does not go on.
            self._counters["hole_punches_broken_off"] += 1
        finally:
            self._busy.discard(peer)
            await discard(stream)

    async def _dial_all(self, peer: PeerId, addresses: list[TcpAddress], initiator: bool) -> None:
        """Dials all acceptable addresses at once until one connects."""

        async def dial(address: TcpAddress, done: trio.CancelScope) -> None:
            try:
                await self._dial(peer, address, initiator)
            except NetworkError:
                return
            done.cancel()

        with trio.move_on_after(_DIAL_S) as done:
            async with trio.open_nursery() as nursery:
                for address in addresses:
                    if self._accepts(address):
                        nursery.start_soon(dial, address, done)

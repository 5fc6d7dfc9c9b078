"""A relay: carries connections to peers that nobody can dial, for a while and within limits (circuit relay v2,
``hop``).

1. A peer that is directly connected may reserve a place; the reservation lasts ``reservation_s``, or until its last
   connection ends. At most ``reservations``.
2. A peer may be connected with a peer that holds a reservation and is directly connected itself. At most ``circuits``
   in all and ``circuits_per_peer`` of any one peer, at either end.
3. A circuit ends after ``circuit_s``, after ``circuit_bytes`` in both directions together, or when either end does. It
   carries at most ``circuit_bytes_per_second`` after a burst of BURST_BYTES: the relay's own traffic goes on.
4. The relay carries bytes and cannot read them: the ends speak Noise to each other.
5. Nothing is relayed over a connection that is relayed itself.
6. A peer has HANDSHAKE_S for each message. What is no message ends the stream and costs ``PROTOCOL_VIOLATION``; what is
   refused costs nothing, except that more than ASKS_BURST questions at once and then one in ASK_REFILL_S are a
   ``FLOOD``.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import trio
from libp2p.io.exceptions import IOException

from p2p.libp2p.host import is_relayed
from p2p.libp2p.requests import OpenStream, discard
from p2p.libp2p.streams import FramingError, frame, read_frame
from p2p.limits import Limits, TokenBucket
from p2p.network import Offence, PeerId
from p2p.protobuf import MalformedProtobuf
from p2p.reception import Penalise
from p2p.relay_wire import (
    MAX_MESSAGE_BYTES,
    STOP,
    HopType,
    Message,
    Status,
    StopType,
    decode_hop,
    decode_stop,
    encode_hop,
    encode_stop,
)

HANDSHAKE_S = 10.0
BURST_BYTES = 1024 * 1024
CHUNK_BYTES = 16 * 1024
ASKS_BURST = 20
ASK_REFILL_S = 3.0
_MAX_ASKERS = 1_024


class Relay:
    """``serves`` says whether it is open for others now; ``direct`` whether a peer is directly connected."""

    def __init__(
        self,
        limits: Limits,
        serves: Callable[[], bool],
        direct: Callable[[PeerId], bool],
        open_stream: OpenStream,
        penalise: Penalise,
        counters: Counter[str],
    ) -> None:
        self._limits = limits
        self._serves = serves
        self._direct = direct
        self._open_stream = open_stream
        self._penalise = penalise
        self._counters = counters
        self._reservations: dict[PeerId, float] = {}
        self._circuits: Counter[PeerId] = Counter()
        self._budgets: OrderedDict[PeerId, TokenBucket] = OrderedDict()
        self.circuits = 0

    @property
    def reservations(self) -> int:
        return len(self._reservations)

    def disconnected(self, peer: PeerId) -> None:
        """The last connection of ``peer`` ended."""
        self._reservations.pop(peer, None)

    async def serve(self, stream: Any) -> None:
        """The handler of one hop stream."""
        peer = str(stream.muxed_conn.peer_id)
        try:
            with trio.fail_after(HANDSHAKE_S):
                message = decode_hop(await read_frame(stream, MAX_MESSAGE_BYTES))
            if not self._affords(peer):
                self._penalise(peer, Offence.FLOOD, "asks a relay too often")
                await self._refuse(stream, Status.RESOURCE_LIMIT_EXCEEDED)
            elif is_relayed(stream.muxed_conn) or not self._serves():
                await self._refuse(stream, Status.PERMISSION_DENIED)
            elif message.kind == HopType.RESERVE:
                await self._reserve(peer, stream)
            elif message.kind == HopType.CONNECT and message.peer is not None:
                await self._connect(peer, message.peer, stream)
            else:
                await self._refuse(stream, Status.UNEXPECTED_MESSAGE)
        except (MalformedProtobuf, FramingError) as error:
            self._penalise(peer, Offence.PROTOCOL_VIOLATION, f"relay: {error}")
        except (IOException, trio.TooSlowError):
            # The peer went away, or is too slow to ask.
            self._counters["relay_streams_cut"] += 1
        finally:
            await discard(stream)

    def _affords(self, peer: PeerId) -> bool:
        now_s = trio.current_time()
        bucket = self._budgets.setdefault(peer, TokenBucket(1 / ASK_REFILL_S, ASKS_BURST, now_s))
        if len(self._budgets) > _MAX_ASKERS:
            self._budgets.popitem(last=False)
        return bucket.take(1, now_s)

    async def _refuse(self, stream: Any, status: Status) -> None:
        self._counters["relay_refused"] += 1
        await self._answer(stream, Message(HopType.STATUS, status=status))
        await stream.close()
        with trio.move_on_after(1):
            # Whoever is told of a reset drops what it has not read yet: let it go first.
            await stream.read(1)

    async def _answer(self, stream: Any, message: Message) -> None:
        with trio.fail_after(HANDSHAKE_S):
            await stream.write(frame(encode_hop(message)))

    async def _reserve(self, peer: PeerId, stream: Any) -> None:
        now_s = trio.current_time()
        self._reservations = {one: until_s for one, until_s in self._reservations.items() if until_s > now_s}
        if peer not in self._reservations and len(self._reservations) >= self._limits.reservations:
            await self._refuse(stream, Status.RESERVATION_REFUSED)
            return
        lasts_s = self._limits.reservation_s
        self._reservations[peer] = now_s + lasts_s
        await self._answer(
            stream,
            Message(
                HopType.STATUS,
                expire_s=int(time.time() + lasts_s),
                duration_s=int(self._limits.circuit_s),
                data_bytes=self._limits.circuit_bytes,
                status=Status.OK,
            ),
        )
        await stream.close()
        with trio.move_on_after(1):
            await stream.read(1)

    async def _connect(self, source: PeerId, target: PeerId, stream: Any) -> None:
        if self._reservations.get(target, 0.0) <= trio.current_time() or not self._direct(target) or source == target:
            await self._refuse(stream, Status.NO_RESERVATION)
            return
        busy = max(self._circuits[source], self._circuits[target]) >= self._limits.circuits_per_peer
        if busy or self.circuits >= self._limits.circuits:
            await self._refuse(stream, Status.RESOURCE_LIMIT_EXCEEDED)
            return
        self.circuits += 1
        self._circuits.update((source, target))
        try:
            await self._join(source, target, stream)
        finally:
            self.circuits -= 1
            self._circuits.subtract((source, target))
            self._circuits += Counter()  # forgets those that have none

    async def _join(self, source: PeerId, target: PeerId, stream: Any) -> None:
        duration_s, data_bytes = int(self._limits.circuit_s), self._limits.circuit_bytes
        onward = None
        try:
            try:
                with trio.fail_after(HANDSHAKE_S):
                    onward = await self._open_stream(target, STOP)
                    await onward.write(frame(encode_stop(Message(StopType.CONNECT, source, 0, duration_s, data_bytes))))
                    answer = decode_stop(await read_frame(onward, MAX_MESSAGE_BYTES))
            except Exception:
                # Too slow, gone, no such protocol, no message: each layer has exceptions of its own for it.
                await self._refuse(stream, Status.CONNECTION_FAILED)
                return
            if answer.status != Status.OK:
                await self._refuse(stream, Status.CONNECTION_FAILED)
                return
            await self._answer(stream, Message(HopType.STATUS, None, 0, duration_s, data_bytes, Status.OK))
            self._counters["circuits_relayed"] += 1
            await self._carry(stream, onward)
        finally:
            if onward is not None:
                await discard(onward)

    async def _carry(self, one: Any, other: Any) -> None:
        """Both directions, until the circuit ends: rule 3."""
        left = [self._limits.circuit_bytes]
        rate = self._limits.circuit_bytes_per_second
        pace = TokenBucket(rate, BURST_BYTES, trio.current_time())

        async def pump(source: Any, sink: Any, circuit: trio.CancelScope) -> None:
            try:
                while True:
                    chunk = await source.read(CHUNK_BYTES)
                    left[0] -= len(chunk)
                    if left[0] < 0:
                        self._counters["circuits_over_their_bytes"] += 1
                        break
                    while not pace.take(len(chunk), trio.current_time()):  # noqa: ASYNC110 - a budget has no event
                        await trio.sleep(CHUNK_BYTES / rate)
                    await sink.write(chunk)
                    self._counters["relayed_bytes"] += len(chunk)
            except (EOFError, IOException):
                # Either end closed or reset its stream: the circuit is over.
                self._counters["circuits_ended"] += 1
            circuit.cancel()

        with trio.move_on_after(self._limits.circuit_s) as circuit:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, one.muxed_stream, other.muxed_stream, circuit)
                nursery.start_soon(pump, other.muxed_stream, one.muxed_stream, circuit)

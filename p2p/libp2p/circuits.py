"""Connections through relays, from either end (circuit relay v2): dialling them, taking them, keeping reservations.

1. A circuit carries Noise and yamux from end to end, like a TCP connection does; the relay sees neither.
2. An inbound circuit is taken only from a relay that granted this node a reservation, and only from a peer that may
   connect at all; its Noise must then prove the peer that the relay named.
3. While ``needed``, reservations are kept at up to RESERVATIONS directly connected peers that were dialled (who was
   dialled can be dialled), renewed before they end. A peer that refuses is asked again after REFUSED_S.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import trio
from libp2p.abc import ConnectionType
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from p2p.addresses import CircuitAddress, TcpAddress
from p2p.libp2p.host import GuardedSwarm, is_relayed
from p2p.libp2p.relay import HANDSHAKE_S
from p2p.libp2p.requests import OpenStream, discard
from p2p.libp2p.streams import FramingError, frame, read_frame
from p2p.network import NetworkError, Offence, PeerId
from p2p.protobuf import MalformedProtobuf
from p2p.reception import Penalise
from p2p.relay_wire import (
    HOP,
    MAX_MESSAGE_BYTES,
    HopType,
    Message,
    Status,
    StopType,
    decode_hop,
    decode_stop,
    encode_hop,
    encode_stop,
)

RESERVATIONS = 2
REFUSED_S = 120.0
_LOOK_S = 1.0
_RENEW_PART = 0.5
_LONGEST_S = 3_600.0


class CircuitStream(ReadWriteCloser):  # type: ignore[misc]
    """A relayed stream in the shape of a socket, for the library's Noise."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def read(self, n: int | None = None) -> bytes:
        try:
            octets: bytes = await self._stream.muxed_stream.read(n)
        except EOFError:
            return b""
        except IOException as error:
            raise ConnectionClosedError(str(error)) from error
        return octets

    async def write(self, data: bytes) -> None:
        try:
            await self._stream.muxed_stream.write(data)
        except IOException as error:
            raise ConnectionClosedError(str(error)) from error

    async def close(self) -> None:
        await discard(self._stream)

    def get_remote_address(self) -> tuple[str, int] | None:
        return None


class Circuits:
    """``relays`` gives the directly connected peers that we dialled, with the address that worked; ``admits`` is asked
    who may connect; ``changed`` hears when the circuits under which others reach us are others.
    """

    def __init__(
        self,
        swarm: GuardedSwarm,
        open_stream: OpenStream,
        relays: Callable[[], dict[PeerId, TcpAddress]],
        needed: Callable[[], bool],
        admits: Callable[[PeerId], bool],
        changed: Callable[[list[CircuitAddress]], None],
        penalise: Penalise,
    ) -> None:
        self._swarm = swarm
        self._open_stream = open_stream
        self._relays = relays
        self._needed = needed
        self._admits = admits
        self._changed = changed
        self._penalise = penalise
        self._held: dict[PeerId, tuple[float, TcpAddress]] = {}
        self._refused: dict[PeerId, float] = {}

    # Being reached

    async def run(self) -> None:
        """Keeps reservations until cancelled."""
        while True:
            await self._keep_reservations()
            await trio.sleep(_LOOK_S)

    def disconnected(self, relay: PeerId) -> None:
        if self._held.pop(relay, None) is not None:
            self._tell()

    async def _keep_reservations(self) -> None:
        now_s = trio.current_time()
        self._refused = {peer: until_s for peer, until_s in self._refused.items() if until_s > now_s}
        if not self._needed():
            if self._held:
                self._held.clear()
                self._tell()
            return
        relays = self._relays()
        for peer, (renew_s, _) in list(self._held.items()):
            if renew_s <= now_s and (peer not in relays or not await self.reserve(peer)):
                self.disconnected(peer)
        for peer in relays:
            if len(self._held) >= RESERVATIONS:
                break
            if peer not in self._held and peer not in self._refused:
                await self.reserve(peer)

    async def reserve(self, relay: PeerId) -> bool:
        """Asks one relay for a reservation, or to renew it."""
        address = self._relays().get(relay)
        if address is None:
            return False
        try:
            answer, stream = await self._hop(relay, Message(HopType.RESERVE))
        except NetworkError:
            self._refused[relay] = trio.current_time() + REFUSED_S
            return False
        await discard(stream)
        lasts_s = max(2.0, min(answer.expire_s - time.time(), _LONGEST_S))
        renewed = relay in self._held
        self._held[relay] = (trio.current_time() + lasts_s * _RENEW_PART, address)
        if not renewed:
            self._tell()
        return True

    def _tell(self) -> None:
        self._changed([CircuitAddress(replace(address, peer=relay)) for relay, (_, address) in self._held.items()])

    async def serve(self, stream: Any) -> None:
        """The handler of one stop stream: a relay brings a peer."""
        relay = str(stream.muxed_conn.peer_id)
        try:
            with trio.fail_after(HANDSHAKE_S):
                message = decode_stop(await read_frame(stream, MAX_MESSAGE_BYTES))
                known = relay in self._held and not is_relayed(stream.muxed_conn)
                wanted = message.kind == StopType.CONNECT and message.peer is not None
                if not known or not wanted or not self._admits(str(message.peer)):
                    await stream.write(frame(encode_stop(Message(StopType.STATUS, status=Status.PERMISSION_DENIED))))
                    await stream.close()
                    with suppress(EOFError):
                        await stream.read(1)
                    return
                await stream.write(frame(encode_stop(Message(StopType.STATUS, status=Status.OK))))
            address = CircuitAddress(replace(self._held[relay][1], peer=relay), message.peer)
            connection = self._raw(stream, address, initiator=False)
            await self._swarm.serve_inbound(connection, f"circuit by {relay}", ID.from_base58(str(message.peer)))
        except (MalformedProtobuf, FramingError) as error:
            self._penalise(relay, Offence.PROTOCOL_VIOLATION, f"circuit: {error}")
        except (IOException, trio.TooSlowError):
            # The relay went away, or does not go on: nothing has been connected yet.
            self._refused[relay] = trio.current_time() + _LOOK_S
        finally:
            await discard(stream)

    # Reaching others

    async def dial(self, address: CircuitAddress, target: PeerId) -> None:
        """Connects with ``target`` through a relay that is connected already. Error: NetworkError."""
        _, stream = await self._hop(str(address.relay.peer), Message(HopType.CONNECT, target))
        connection = self._raw(stream, CircuitAddress(address.relay, target), initiator=True)
        try:
            await self._swarm.upgrade_dialled(connection, ID.from_base58(target))
        except NetworkError:
            await discard(stream)
            raise

    async def _hop(self, relay: PeerId, message: Message) -> tuple[Message, Any]:
        """Asks a relay; its answer and the stream, which is the caller's then. Error: NetworkError."""
        stream = None
        try:
            with trio.fail_after(2 * HANDSHAKE_S):
                stream = await self._open_stream(relay, HOP)
                await stream.write(frame(encode_hop(message)))
                answer = decode_hop(await read_frame(stream, MAX_MESSAGE_BYTES))
        except Exception as error:
            # Gone, too slow, no relay, no message: each layer has exceptions of its own for it.
            if stream is not None:
                await discard(stream)
            raise NetworkError(f"{relay} does not relay: {error}") from error
        except BaseException:
            if stream is not None:
                await discard(stream)
            raise
        if answer.kind != HopType.STATUS or answer.status != Status.OK:
            await discard(stream)
            raise NetworkError(f"{relay} does not relay: status {answer.status}")
        return answer, stream

    def _raw(self, stream: Any, address: CircuitAddress, initiator: bool) -> RawConnection:
        return RawConnection(
            CircuitStream(stream), initiator, ConnectionType.RELAYED, addresses=[Multiaddr(str(address))]
        )

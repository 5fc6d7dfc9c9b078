"""``LibP2PNetwork``: the contract of ``p2p.network`` over real sockets.

1. Everything a peer can cause happens in tasks of ``run``'s nursery; cancelling it closes every socket within a second.
2. A peer is connected from its first connection to the end of its last. Both moments are events.
3. The peer book is written when a ban is spoken, each SAVE_INTERVAL_S if it changed, and at the end.
"""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any, Protocol

import trio
from libp2p.abc import INotifee
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from p2p.addresses import TcpAddress, parse_address, parse_route, with_peer
from p2p.dialer import Dialer
from p2p.joining import Joining
from p2p.libp2p.gossip import PROTOCOL as GOSSIP_PROTOCOL
from p2p.libp2p.gossip import Gossip
from p2p.libp2p.gossip_wire import Signer
from p2p.libp2p.host import build_host
from p2p.libp2p.outreach import Outreach
from p2p.libp2p.pings import Pulse, keep_pinging
from p2p.libp2p.requests import Responder, ask
from p2p.limits import Limits
from p2p.network import (
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    Banned,
    Connected,
    Disconnected,
    Handler,
    NetworkError,
    NetworkEvent,
    Offence,
    PeerId,
    PeerInfo,
    Received,
    RequestFailed,
    Validator,
)
from p2p.peer_book import PeerBook
from p2p.queues import DroppingQueue
from p2p.reception import Reception

SAVE_INTERVAL_S = 30.0
REMEMBERED_TO_DIAL = 16
_STOP_S = 0.5


class TaskStatus(Protocol):
    """What ``nursery.start`` hands in; spelt out because the stubs that come with libp2p hide trio's own types."""

    def started(self) -> None: ...


@dataclass(slots=True)
class _Link:
    """A connected peer; cancelling ``attendance`` ends the tasks that attend to it."""

    address: str
    inbound: bool
    pulse: Pulse
    attendance: trio.CancelScope


class _Notifee(INotifee):  # type: ignore[misc]
    """Tells the network of connections; the library's other events are of no use here.

    The library swallows what a notifee raises. A defect of ours must not hide there, so it ends ``run`` instead.
    """

    def __init__(self, network: LibP2PNetwork) -> None:
        self._network = network

    async def connected(self, network: Any, conn: Any) -> None:
        self._tell(self._network._connection_opened, conn)

    async def disconnected(self, network: Any, conn: Any) -> None:
        self._tell(self._network._connection_closed, conn)

    def _tell(self, hear: Callable[[Any], None], connection: Any) -> None:
        try:
            hear(connection)
        except Exception as defect:
            self._network._fail(defect)

    async def opened_stream(self, network: Any, stream: Any) -> None:
        pass

    async def closed_stream(self, network: Any, stream: Any) -> None:
        pass

    async def listen(self, network: Any, multiaddr: Any) -> None:
        pass

    async def listen_close(self, network: Any, multiaddr: Any) -> None:
        pass


class LibP2PNetwork:
    """One node's network. ``subscribe``, ``serve``, ``connect`` and ``events`` may be called before ``run`` and
    while it runs.
    """

    def __init__(
        self,
        node_key_seed: bytes,
        listen: Sequence[str],
        bootstrap: Sequence[str] = (),
        state_path: Path | None = None,
        limits: Limits | None = None,
        joining: Joining | None = None,
    ) -> None:
        """Without ``joining`` a node knows the peers it is told of and no others.

        Errors: ValueError for a seed that has not 32 bytes, NetworkError for an address that cannot be used."""
        if len(node_key_seed) != 32:
            raise ValueError(f"a node key seed has 32 bytes, not {len(node_key_seed)}")
        self._limits = limits or Limits()
        self._listen = [parse_address(address) for address in listen]
        self._book = PeerBook(self._limits, time.monotonic, lambda: time.time_ns() // 1_000_000, state_path)
        self._counters: Counter[str] = self._book.counters
        self._host = build_host(node_key_seed, self._limits, self._admits, self.penalise, self._stream_failed)
        self._peer_id: PeerId = str(self._host.get_id())
        self._links: dict[PeerId, _Link] = {}
        self._events: weakref.WeakSet[DroppingQueue[NetworkEvent]] = weakref.WeakSet()
        self._reception = Reception(self._book, self._limits, time.monotonic, self.penalise)
        random = SystemRandom()
        self._gossip = Gossip(
            Signer(node_key_seed), self._reception, self._book, self._limits, self.penalise, self._open_stream, random
        )
        self._dialer = Dialer(
            self._limits,
            lambda _: random,
            self._dial,
            self._links.__contains__,
            lambda peer: self._book.banned(peer) is not None,
        )
        self._nursery: trio.Nursery | None = None
        self.outreach: Outreach | None = None
        if joining is not None:
            self.outreach = Outreach(
                self,
                self._host,
                node_key_seed,
                self._listen,
                joining,
                self._limits,
                self._book,
                self._dialer,
                self._admits,
                self._open_stream,
                random,
            )
        self._host.set_stream_handler(TProtocol(GOSSIP_PROTOCOL), self._gossip.serve)
        self._host.swarm.register_notifee(_Notifee(self))
        for address in bootstrap:
            self._want(address)
        for addresses in list(self._book.remembered().values())[-REMEMBERED_TO_DIAL:]:
            for address in reversed(addresses):
                with suppress(NetworkError):  # written by another version, or damaged: no reason not to start
                    self._want(address)

    # The contract

    @property
    def peer_id(self) -> PeerId:
        return self._peer_id

    async def publish(self, topic: str, data: bytes) -> None:
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a gossip message has at most {MAX_MESSAGE_BYTES} bytes, not {len(data)}")
        self._gossip.publish(topic, data)
        await trio.lowlevel.checkpoint()

    def neighbours(self, topic: str) -> Sequence[PeerId]:
        return self._gossip.mesh.neighbours(topic)

    def send(self, peer: PeerId, topic: str, data: bytes) -> bool:
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a gossip message has at most {MAX_MESSAGE_BYTES} bytes, not {len(data)}")
        return self._gossip.send(peer, topic, data)

    def subscribe(self, topic: str, validator: Validator) -> AsyncIterator[Received]:
        queue = self._reception.subscribe(topic, validator)
        self._gossip.join(topic)
        return queue

    async def request(self, peer: PeerId, protocol: str, data: bytes, timeout_s: float = 10.0) -> bytes:
        if len(data) > MAX_REQUEST_BYTES:
            raise ValueError(f"a request has at most {MAX_REQUEST_BYTES} bytes, not {len(data)}")
        if peer not in self._links:
            raise RequestFailed(f"{peer} is not connected")
        try:
            with trio.fail_after(timeout_s):
                return await ask(self._open_stream, self.penalise, peer, protocol, data)
        except trio.TooSlowError as error:
            raise RequestFailed(f"{peer} did not answer {protocol} within {timeout_s} s") from error

    def serve(self, protocol: str, handler: Handler) -> None:
        self._host.set_stream_handler(TProtocol(protocol), Responder(protocol, handler, self._book, self.penalise))

    def peers(self) -> list[PeerInfo]:
        return [self._info(peer, link) for peer, link in self._links.items()]

    def events(self) -> AsyncIterator[NetworkEvent]:
        queue = DroppingQueue[NetworkEvent](self._limits.event_queue)
        self._events.add(queue)
        return queue

    def penalise(self, peer: PeerId, offence: Offence, detail: str) -> None:
        if peer == self._peer_id:
            return
        banned = self._book.penalise(peer, offence, detail)
        if banned is not None:
            self._enforce(banned)

    async def ban(self, peer: PeerId, duration_s: float, reason: str) -> None:
        self._enforce(self._book.ban(peer, duration_s, reason))
        await self._disconnect(peer)

    def pardon(self, peer: PeerId) -> bool:
        return self._book.pardon(peer)

    async def connect(self, address: str) -> PeerId:
        """Returns at once: a connection, when it stands, is an event."""
        await trio.lowlevel.checkpoint()
        return self._want(address)

    def addresses(self) -> list[str]:
        return [f"{address}/p2p/{self._peer_id}" for address in self._host.listening]

    def announced(self) -> list[str]:
        record = None if self.outreach is None else self.outreach.whereabouts.record
        if record is None or not record.addresses:
            return self.addresses()
        return [str(with_peer(address, self._peer_id)) for address in record.addresses]

    # Beyond the contract

    def metrics(self) -> dict[str, int]:
        """Counters by name (since the start) and gauges: ``peers``, ``handshakes``, ``inbound``, ``empty_mesh``."""
        swarm = self._host.swarm
        return {
            **self._counters,
            "peers": len(self._links),
            "handshakes": swarm.handshakes.taken,
            "inbound": swarm.inbound.taken,
            "refused_connections": swarm.refused,
            "empty_mesh": len(self._gossip.mesh.empty_meshes()),
            **({} if self.outreach is None else self.outreach.gauges()),
        }

    def is_connected(self, peer: PeerId) -> bool:
        return peer in self._links

    async def run(self, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Listens, dials and serves until cancelled. Error: NetworkError when an address cannot be listened on."""
        listeners = await self._open_listeners()
        try:
            async with background_trio_service(self._host.swarm), trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    nursery.start_soon(partial(trio.serve_listeners, self._host.swarm.accept, listeners))
                    nursery.start_soon(self._gossip.run)
                    nursery.start_soon(self._dialer.run)
                    nursery.start_soon(self._save)
                    if self.outreach is not None:
                        nursery.start_soon(self.outreach.run)
                    task_status.started()
                    await trio.sleep_forever()
                finally:
                    self._nursery = None
                    await self._stop(listeners)
        finally:
            self._book.save()

    # Starting and stopping

    async def _open_listeners(self) -> list[trio.SocketListener]:
        listeners: list[trio.SocketListener] = []
        for address in self._listen:
            try:
                opened = await trio.open_tcp_listeners(address.port, host=address.host)
            except OSError as error:
                for listener in listeners:
                    await listener.aclose()
                raise NetworkError(f"cannot listen on {address}: {error.strerror or error}") from error
            for listener in opened:
                host, port = listener.socket.getsockname()[:2]
                listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEPORT, 1)
                self._host.swarm.dial_ports.setdefault(address.protocol, port)
                self._host.listening.append(Multiaddr(str(TcpAddress(address.protocol, host, port))))
            listeners += opened
        return listeners

    async def _stop(self, listeners: list[trio.SocketListener]) -> None:
        self._reception.close()
        for queue in self._events:
            queue.close()
        with trio.CancelScope(deadline=trio.current_time() + _STOP_S, shield=True):
            for listener in listeners:
                await listener.aclose()
            async with trio.open_nursery() as nursery:
                for connection in self._host.swarm.get_connections():
                    nursery.start_soon(connection.close)

    async def _save(self) -> None:
        while True:
            await trio.sleep(SAVE_INTERVAL_S)
            self._book.save()

    # Connections

    def _admits(self, peer: PeerId) -> bool:
        return peer != self._peer_id and self._book.banned(peer) is None

    def _want(self, text: str) -> PeerId:
        peer, address = parse_route(text)
        if peer != self._peer_id:
            self._dialer.want(peer, str(address))
        return peer

    async def _dial(self, peer: PeerId, text: str) -> None:
        _, address = parse_route(text)
        if self.outreach is not None:
            await self.outreach.dial(peer, address)
        elif isinstance(address, TcpAddress):
            await self._host.swarm.dial(address, ID.from_base58(peer))
            self._book.remember(peer, text)
        else:
            raise NetworkError("no circuits are dialled")

    def _connection_opened(self, connection: Any) -> None:
        peer = str(connection.muxed_conn.peer_id)
        if self._nursery is None:
            return
        inbound = connection.direction == Direction.INBOUND
        address = str(next(iter(connection.get_transport_addresses()), ""))
        standing = self._links.get(peer)
        if standing is None:
            link = self._links[peer] = _Link(address, inbound, Pulse(), trio.CancelScope())
            self._gossip.connected(peer, dialled=not inbound)
            self._nursery.start_soon(self._attend, peer, link)
            self._tell(Connected(peer, address))
        elif "/p2p-circuit" in standing.address:
            standing.address, standing.inbound = address, inbound
        if self.outreach is not None:
            self.outreach.opened(peer, connection)

    def _connection_closed(self, connection: Any) -> None:
        peer_id = connection.muxed_conn.peer_id
        peer = str(peer_id)
        if peer not in self._links or self._host.swarm.get_connections(peer_id):
            return
        self._links.pop(peer).attendance.cancel()
        self._gossip.disconnected(peer)
        self._dialer.lost(peer)
        if self.outreach is not None:
            self.outreach.disconnected(peer)
        if peer_id in self._host.peerstore.peer_ids():
            self._host.peerstore.clear_peerdata(peer_id)
        self._tell(Disconnected(peer))

    def _fail(self, defect: Exception) -> None:
        async def fail() -> None:
            raise defect

        if self._nursery is not None:
            self._nursery.start_soon(fail)

    async def _attend(self, peer: PeerId, link: _Link) -> None:
        with link.attendance:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._gossip.send_to, peer)
                interval_s = self._limits.ping_interval_s
                nursery.start_soon(keep_pinging, peer, link.pulse, interval_s, self._open_stream, self._disconnect)

    def _enforce(self, banned: Banned) -> None:
        self._tell(banned)
        self._book.save()
        if self._nursery is not None:
            self._nursery.start_soon(self._disconnect, banned.peer)

    async def _disconnect(self, peer: PeerId) -> None:
        await self._host.swarm.close_peer(ID.from_base58(peer))

    def _tell(self, event: NetworkEvent) -> None:
        for queue in self._events:
            queue.put(event)

    def _info(self, peer: PeerId, link: _Link) -> PeerInfo:
        connections = self._host.swarm.get_connections(ID.from_base58(peer))
        return PeerInfo(
            peer=peer,
            address=link.address,
            inbound=link.inbound,
            latency_ms=link.pulse.latency_ms,
            score=self._book.score(peer),
            bytes_received=sum(connection.muxed_conn.bytes_received for connection in connections),
            bytes_sent=sum(connection.muxed_conn.bytes_sent for connection in connections),
            topics=self._gossip.mesh.topics_of(peer),
            mesh=self._gossip.mesh.meshes_of(peer),
        )

    # Streams

    async def _open_stream(self, peer: PeerId, protocol: str) -> Any:
        return await self._host.new_stream(ID.from_base58(peer), [TProtocol(protocol)])

    def _stream_failed(self, peer: PeerId, protocol: str, error: Exception) -> None:
        self._counters["stream_handler_failed"] += 1

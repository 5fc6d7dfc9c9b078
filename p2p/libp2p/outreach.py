"""Finding others and being found: peer exchange, the search for more peers, the local network, the router, relays.

1. A node that listens on loopback addresses only has no one to find on the local network, no router and no need of a
   relay: those parts stay off.
2. What is found is dialled within the limits of ``Seeker``; peers that the ``Dialer`` keeps learn new addresses here.
3. The DHT is off unless configured (``p2p.libp2p.dht``), and then works on loopback addresses too.
4. The relay serves others while this node can be dialled (or is told to); reservations at others are kept while it
   cannot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import trio
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID

from p2p.addresses import Address, CircuitAddress, TcpAddress, parse_address, parse_route, without_peer
from p2p.dialer import Dialer
from p2p.exchange import Exchange
from p2p.joining import Joining, RelayRole
from p2p.libp2p.circuits import Circuits
from p2p.libp2p.hole_punch import HolePunch
from p2p.libp2p.host import GuardedHost, is_relayed
from p2p.libp2p.relay import Relay
from p2p.libp2p.requests import OpenStream
from p2p.limits import Limits
from p2p.local_discovery import LocalDiscovery
from p2p.neighbourhood import Neighbourhood
from p2p.network import Network, NetworkError, PeerId
from p2p.peer_book import PeerBook
from p2p.peer_record import PeerRecord
from p2p.port_mapping import PortMapping
from p2p.reachability import Reach, Reachability
from p2p.relay_wire import HOLE_PUNCH, HOP, STOP
from p2p.seeker import Seeker
from p2p.surroundings import Surroundings
from p2p.whereabouts import Source, Whereabouts

if TYPE_CHECKING:
    from p2p.libp2p.dht import Dht

LOOK_AROUND_S = 60.0
_PUNCHED_S = 8.0


class OutreachNetwork(Network, Protocol):
    """What this module needs of the network it works for."""

    def is_connected(self, peer: PeerId) -> bool: ...


class Outreach:
    """Belongs to one ``LibP2PNetwork`` and is told of its connections."""

    def __init__(
        self,
        network: OutreachNetwork,
        host: GuardedHost,
        node_key_seed: bytes,
        listen: list[TcpAddress],
        joining: Joining,
        limits: Limits,
        book: PeerBook,
        dialer: Dialer,
        admits: Callable[[PeerId], bool],
        open_stream: OpenStream,
        random: Random,
    ) -> None:
        self._network = network
        self._host = host
        self._swarm = host.swarm
        self._joining = joining
        self._book = book
        self._dialer = dialer
        self._admits = admits
        self._nursery: trio.Nursery | None = None
        name = joining.network_name
        self.surroundings = Surroundings(listen)
        self.whereabouts = Whereabouts(node_key_seed, lambda: time.time_ns() // 1_000_000, self._record_changed)
        self.whereabouts.put(Source.CONFIGURED, [parse_address(address) for address in joining.announce])
        self.neighbourhood = Neighbourhood(network.peer_id, self.surroundings, time.monotonic, random)
        self.seeker = Seeker(
            self.neighbourhood, joining.wanted_peers, self.dial, lambda: len(network.peers()), self._may_dial
        )
        self.reachability = Reachability(network, name, self._listening_ports, self._probe, self._reach_changed, random)
        self.exchange: Exchange | None = None
        if joining.peer_exchange:
            self.exchange = Exchange(
                network,
                name,
                self.neighbourhood,
                lambda: self.whereabouts.record,
                self.seeker.wants_more,
                self._heard,
                self.reachability.observed,
                random,
            )
        self.relay = Relay(limits, self._serves_as_relay, self._is_direct, open_stream, network.penalise, book.counters)
        self.circuits = Circuits(
            self._swarm,
            open_stream,
            self._possible_relays,
            self._needs_relay,
            admits,
            lambda addresses: self.whereabouts.put(Source.CIRCUITS, addresses),
            network.penalise,
        )
        self.hole_punch = HolePunch(
            open_stream,
            self.reachability.seen_as,
            self._direct_routes,
            lambda address: self.surroundings.accepts(address) and self.seeker.affords(address),
            self._punch,
            self._is_direct,
            self._close_relayed,
            network.penalise,
            book.counters,
        )
        self.dht: Dht | None = None
        if joining.dht:
            from p2p.libp2p.dht import Dht  # noqa: PLC0415 - few use it

            self.dht = Dht(
                name,
                host,
                self.surroundings,
                self.seeker,
                open_stream,
                lambda: self.whereabouts.record.addresses,
                random,
            )
        if joining.relay is not RelayRole.OFF:
            host.set_stream_handler(TProtocol(HOP), self.relay.serve)
            host.set_stream_handler(TProtocol(STOP), self.circuits.serve)
            host.set_stream_handler(TProtocol(HOLE_PUNCH), self.hole_punch.serve)

    # What the network tells

    def opened(self, peer: PeerId, connection: Any) -> None:
        """A connection with ``peer`` stands, its first or another."""
        self.neighbourhood.met(peer)
        if self.dht is not None:
            self.dht.opened()
        if self._nursery is not None and is_relayed(connection.muxed_conn) and not connection.muxed_conn.is_initiator:
            self._nursery.start_soon(self.hole_punch.upgrade, peer)

    def disconnected(self, peer: PeerId) -> None:
        """The last connection with ``peer`` ended."""
        self.relay.disconnected(peer)
        self.circuits.disconnected(peer)
        self.seeker.wake()

    def gauges(self) -> dict[str, int]:
        return {
            "known_peers": len(self.neighbourhood),
            "relay_circuits": self.relay.circuits,
            "relay_reservations": self.relay.reservations,
            "reachable": {Reach.UNKNOWN: -1, Reach.PRIVATE: 0, Reach.PUBLIC: 1}[self.reachability.state],
        }

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                self._spell_out()
                nursery.start_soon(self.seeker.run)
                nursery.start_soon(self._look_around)
                if self.exchange is not None:
                    nursery.start_soon(self.exchange.run)
                if self.dht is not None:
                    nursery.start_soon(self.dht.run)
                if not self.surroundings.loopback_only:
                    self._start_outward(nursery)
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def _start_outward(self, nursery: trio.Nursery) -> None:
        """Rule 1."""
        nursery.start_soon(self.reachability.run)
        if self._joining.relay is not RelayRole.OFF:
            nursery.start_soon(self.circuits.run)
        ports = self._listening_ports()
        if self._joining.map_port and ports:
            nursery.start_soon(PortMapping(ports[0], self._mapped, self._book.counters).run)
        if self._joining.local_discovery:
            local = LocalDiscovery(
                self._joining.network_name, self._network.peer_id, self._local_addresses, self._found_locally
            )
            nursery.start_soon(local.run)

    # Where this node is

    async def _look_around(self) -> None:
        while True:
            await trio.sleep(LOOK_AROUND_S)
            if self.surroundings.look_around():
                self._spell_out()

    def _spell_out(self) -> None:
        listening = [parse_address(str(address)) for address in self._host.listening]
        self.whereabouts.put(Source.INTERFACES, self.surroundings.spelt_out(listening))

    def _listening_ports(self) -> list[int]:
        return list(dict.fromkeys(parse_address(str(address)).port for address in self._host.listening))

    def _local_addresses(self) -> list[str]:
        listening = [parse_address(str(address)) for address in self._host.listening]
        return [f"{address}/p2p/{self._network.peer_id}" for address in self.surroundings.spelt_out(listening)]

    def _mapped(self, address: TcpAddress | None) -> None:
        self.whereabouts.put(Source.MAPPED, [] if address is None else [address])
        self.reachability.mapped(address)

    def _reach_changed(self) -> None:
        self.whereabouts.put(Source.OBSERVED, self.reachability.public_addresses)

    def _record_changed(self) -> None:
        if self.exchange is not None:
            self.exchange.own_record_changed()

    async def _probe(self, address: TcpAddress, peer: PeerId) -> bool:
        return bool(await self._swarm.probe(address, ID.from_base58(peer)))

    # Others

    def _heard(self, record: PeerRecord) -> None:
        self._dialer.learn(record.peer, [str(route) for route in self.neighbourhood.routes(record)])
        self.seeker.wake()

    def _found_locally(self, text: str) -> None:
        """Another node of this network says on the local network that it is there."""
        try:
            peer, address = parse_route(text)
        except NetworkError:
            return
        if isinstance(address, TcpAddress) and self.surroundings.accepts(address):
            self.seeker.hint(peer, address)

    def _may_dial(self, peer: PeerId) -> bool:
        return self._admits(peer) and not self._network.is_connected(peer)

    async def dial(self, peer: PeerId, address: Address) -> None:
        """One attempt; remembers what worked. Error: NetworkError."""
        if isinstance(address, CircuitAddress):
            await self._dial_circuit(peer, address)
        else:
            await self._swarm.dial(address, ID.from_base58(peer))
        self._book.remember(peer, str(address))

    async def _dial_circuit(self, peer: PeerId, address: CircuitAddress) -> None:
        relay = str(address.relay.peer)
        if self._joining.relay is RelayRole.OFF or relay == self._network.peer_id:
            raise NetworkError("no circuits are dialled")
        if not self._is_direct(relay):
            await self._swarm.dial(address.relay, ID.from_base58(relay))
        await self.circuits.dial(address, peer)

    # Relays and hole punching

    def _is_direct(self, peer: PeerId) -> bool:
        return bool(self._swarm.has_direct(ID.from_base58(peer)))

    def _serves_as_relay(self) -> bool:
        reachable = self.reachability.state is Reach.PUBLIC or bool(self._joining.announce)
        return self._joining.relay is RelayRole.SERVE or (self._joining.relay is RelayRole.AUTO and reachable)

    def _needs_relay(self) -> bool:
        return (
            self._joining.relay is RelayRole.AUTO
            and not self._joining.announce
            and (self.reachability.state is Reach.PRIVATE)
        )

    def _possible_relays(self) -> dict[PeerId, TcpAddress]:
        relays: dict[PeerId, TcpAddress] = {}
        for info in self._network.peers():
            if not info.inbound and "/p2p-circuit" not in info.address:
                address = without_peer(parse_address(info.address))
                assert isinstance(address, TcpAddress)
                relays[info.peer] = address
        return relays

    def _direct_routes(self, peer: PeerId) -> list[TcpAddress]:
        return [route for route in self.neighbourhood.routes_of(peer) if isinstance(route, TcpAddress)]

    async def _punch(self, peer: PeerId, address: TcpAddress, initiator: bool) -> None:
        if initiator:
            await self._swarm.dial(address, ID.from_base58(peer))
            return
        connection = await self._swarm.connect_socket(address, initiator=False)
        if self._nursery is not None:
            self._nursery.start_soon(self._swarm.serve_inbound, connection, address.host, ID.from_base58(peer))
        with trio.move_on_after(_PUNCHED_S):
            while not self._is_direct(peer):  # noqa: ASYNC110 - the handshake ends in a task of its own
                await trio.sleep(0.05)

    async def _close_relayed(self, peer: PeerId) -> None:
        for connection in self._swarm.get_connections(ID.from_base58(peer)):
            if is_relayed(connection.muxed_conn):
                await connection.close()

"""Homes of one network find each other in a Kademlia DHT that others keep: the library's lookups, within our bounds.

A home says at the DHT's servers closest to the network's key that it is there (ADD_PROVIDER), and asks them who else is
(FIND_NODE, GET_PROVIDERS). The key is the multihash of SHA-256(TAG ‖ the network's name), so that servers do not learn
the name. Servers are whichever connected peers speak PROTOCOL: somebody has to be configured in ``network.bootstrap``.

1. Client mode only: PROTOCOL is served to nobody, so nothing is stored for anyone. A table lives for one round.
2. The library sees a ``View`` instead of the host. It opens streams of PROTOCOL and nothing else, at most MAX_STREAMS a
   round, and dials what a server named only within the rules for hearsay (``Surroundings``, the budgets of ``Seeker``),
   at most MAX_DIALS a round. The connections it dialled are closed at the end of the round.
3. Of an answer at most MAX_ANSWER_BYTES are read, and the library gets it written anew with at most MAX_NAMED peers of
   each kind: those with an id of at most MAX_ID_BYTES (its base58 takes quadratic time) and an address that may be
   dialled. Signed records are left out: who is dialled has to prove its id anyway.
4. A round ends within ROUND_S. The next is EVERY_S later, or as soon as a peer connects while no server is known, but
   not before PAUSE_S. It asks only while this node wants more peers; it tells when its addresses changed, else each
   TELL_S (servers forget after a day or two).
5. Who is found is a hint to the ``Seeker``, as if heard on the local network.
6. Only addresses that mean the same everywhere are told, unless this node listens on loopback only; if it has none, it
   tells nothing.

Source: libp2p specs, ``kad-dht/README.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio
from libp2p.kad_dht.common import PROTOCOL_ID
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStore, PeerStoreError
from multiaddr import Multiaddr

from p2p.addresses import Address, TcpAddress, parse_route, unpack_address, with_peer
from p2p.libp2p.host import GuardedHost
from p2p.libp2p.requests import OpenStream, discard
from p2p.libp2p.streams import frame, read_frame
from p2p.network import NetworkError
from p2p.seeker import Seeker
from p2p.surroundings import Surroundings, is_global

PROTOCOL = str(PROTOCOL_ID)
TAG = b"ecloud/homes/1/"
MAX_STREAMS = 96
MAX_DIALS = 12
MAX_ANSWER_BYTES = 64 * 1024
MAX_NAMED = 20
MAX_ADDRESSES = 8
MAX_ID_BYTES = 64
ROUND_S = 45.0
EVERY_S = 300.0
PAUSE_S = 1.0
TELL_S = 3_600.0
_PROBE_S = 5.0
_LINGER_S = 2.0


def key_of(network_name: str) -> bytes:
    """Under which the homes of a network are listed: a SHA-256 multihash."""
    return b"\x12\x20" + hashlib.sha256(TAG + network_name.encode("utf-8")).digest()


def trimmed(answer: bytes, accepts: Callable[[Address], bool]) -> bytes:
    """Rule 3. Error: google.protobuf's DecodeError."""
    heard, kept = Message(), Message()
    heard.ParseFromString(answer)
    kept.type = heard.type
    for named, into in ((heard.closerPeers, kept.closerPeers), (heard.providerPeers, kept.providerPeers)):
        for peer in named[:MAX_NAMED]:
            addresses = [octets for octets in peer.addrs[:MAX_ADDRESSES] if _usable(octets, accepts)]
            if 0 < len(peer.id) <= MAX_ID_BYTES and addresses:
                into.add(id=peer.id, addrs=addresses)
    return bytes(kept.SerializeToString())


def _usable(octets: bytes, accepts: Callable[[Address], bool]) -> bool:
    try:
        return accepts(unpack_address(octets))
    except ValueError:
        return False


class _Stream:
    """What the library writes to and reads from: one request, one answer, rule 3."""

    def __init__(self, stream: Any, accepts: Callable[[Address], bool]) -> None:
        self._stream = stream
        self._accepts = accepts
        self._asked = False
        self._answer = b""

    async def write(self, octets: bytes) -> None:
        await self._stream.write(octets)

    async def read(self, count: int) -> bytes:
        if not self._asked:
            self._asked = True
            self._answer = frame(trimmed(await read_frame(self._stream, MAX_ANSWER_BYTES), self._accepts))
        part, self._answer = self._answer[:count], self._answer[count:]
        return part

    async def close(self) -> None:
        """Frees the stream. A request that awaits no answer is given time to arrive: a reset may overtake it."""
        try:
            if not self._asked:
                await self._stream.close_write()
                with trio.move_on_after(_LINGER_S):
                    await self._stream.read(1)
        except Exception:  # noqa: S110 - the other side ended the stream, in one of many ways: all is said
            pass
        finally:
            await discard(self._stream)


@dataclass(slots=True)
class View:
    """The host as the library's lookups see it for one round: rule 2."""

    host: GuardedHost
    servers: Sequence[ID]
    told: Sequence[Multiaddr]
    surroundings: Surroundings
    seeker: Seeker
    open_stream: OpenStream
    peerstore: PeerStore = field(default_factory=PeerStore)
    streams: int = 0
    dials: int = 0
    dialled: list[ID] = field(default_factory=list)

    def get_id(self) -> ID:
        return self.host.get_id()

    def get_private_key(self) -> Any:
        return self.host.get_private_key()

    def get_addrs(self) -> list[Multiaddr]:
        return list(self.told)

    def get_peerstore(self) -> PeerStore:
        return self.peerstore

    def get_connected_peers(self) -> list[ID]:
        return list(self.servers)

    async def new_stream(self, peer: ID, protocols: Sequence[str]) -> _Stream:
        """Error: NetworkError beyond the bounds; of the layers below, whatever they raise."""
        if [str(protocol) for protocol in protocols] != [PROTOCOL] or self.streams >= MAX_STREAMS:
            raise NetworkError("the lookup may not open this stream")
        self.streams += 1
        if not self.host.swarm.get_connections(peer):
            await self._reach(peer)
        return _Stream(await self.open_stream(str(peer), PROTOCOL), self.surroundings.accepts)

    async def _reach(self, peer: ID) -> None:
        try:
            addresses = self.peerstore.addrs(peer)
        except PeerStoreError as error:
            raise NetworkError(f"no address of {peer}") from error
        for address in (unpack_address(each.to_bytes()) for each in addresses):
            if not isinstance(address, TcpAddress) or not self.surroundings.accepts(address):
                continue
            if self.dials >= MAX_DIALS or not self.seeker.affords(address):
                continue
            self.dials += 1
            await self.host.swarm.dial(address, peer)
            self.dialled.append(peer)
            return
        raise NetworkError(f"{peer} may not be dialled")

    async def end(self) -> None:
        for peer in self.dialled:
            await self.host.swarm.close_peer(peer)


class Dht:
    """``addresses`` gives those under which this node can be reached."""

    def __init__(
        self,
        network_name: str,
        host: GuardedHost,
        surroundings: Surroundings,
        seeker: Seeker,
        open_stream: OpenStream,
        addresses: Callable[[], Sequence[Address]],
        random: Random,
    ) -> None:
        self._key = key_of(network_name)
        self._host = host
        self._surroundings = surroundings
        self._seeker = seeker
        self._open_stream = open_stream
        self._addresses = addresses
        self._random = random
        self._opened = trio.Event()
        self._no_servers: set[ID] = set()
        self._told: list[Multiaddr] = []
        self._told_s = 0.0
        self.rounds = 0
        self.tellings = 0

    def opened(self) -> None:
        """There is a new connection."""
        self._opened.set()

    async def run(self) -> None:
        while True:
            self._opened = trio.Event()
            if await self.look():
                await trio.sleep(EVERY_S * self._random.uniform(0.5, 1.0))
            else:
                with trio.move_on_after(EVERY_S):
                    await self._opened.wait()
                await trio.sleep(PAUSE_S)

    async def look(self) -> bool:
        """One round; whether there was a server to ask."""
        servers = await self._servers()
        if not servers:
            return False
        view = View(self._host, servers, self._own(), self._surroundings, self._seeker, self._open_stream)
        found: list[PeerInfo] = []
        with trio.move_on_after(ROUND_S):
            try:
                if self._seeker.wants_more():
                    found = await KadDHT(view, DHTMode.CLIENT).provider_store.find_providers(self._key, MAX_NAMED)
                await self._tell(view)
            except Exception:  # noqa: S110 - strangers' answers: the library raises nearly anything; next time
                pass
        await view.end()
        for provider in found:
            self._hint(provider)
        self.rounds += 1
        return True

    async def _tell(self, view: View) -> None:
        """Rules 4 and 6. With a table of its own: what is told is also written there, and would be found."""
        due = list(view.told) != self._told or trio.current_time() >= self._told_s + TELL_S
        if view.told and due and await KadDHT(view, DHTMode.CLIENT).provider_store.provide(self._key):
            self._told, self._told_s = list(view.told), trio.current_time()
            self.tellings += 1

    def _own(self) -> list[Multiaddr]:
        local = self._surroundings.loopback_only
        return [Multiaddr(str(address)) for address in self._addresses() if local or is_global(address)]

    def _hint(self, provider: PeerInfo) -> None:
        if provider.peer_id == self._host.get_id():
            return
        for address in provider.addrs:
            told = with_peer(unpack_address(address.to_bytes()), str(provider.peer_id))
            with suppress(NetworkError):  # the id is none
                self._seeker.hint(*parse_route(str(told)))

    async def _servers(self) -> list[ID]:
        """The connected peers that speak PROTOCOL; each connection is asked once."""
        connected = list(self._host.get_connected_peers())
        self._no_servers &= set(connected)
        servers: list[ID] = []

        async def probe(peer: ID) -> None:
            try:
                with trio.fail_after(_PROBE_S):
                    stream = await self._open_stream(str(peer), PROTOCOL)
            except Exception:
                # As in requests.ask: it does not speak it, or is gone.
                self._no_servers.add(peer)
            else:
                await discard(stream)
                servers.append(peer)

        async with trio.open_nursery() as nursery:
            for peer in connected:
                if peer not in self._no_servers:
                    nursery.start_soon(probe, peer)
        return servers

"""A libp2p host that speaks Noise and yamux over TCP and nothing else, admits who may come in, and survives what they
send.

1. Noise is the only secure channel: the library's default host also accepts plaintext.
2. A connection takes a place among the handshakes until it has proved a peer id, then one among the inbound
   connections, and gives it back when it ends. (The library gives inbound places back only when the node stops, so that
   a long-lived node stops accepting.) Of either, one address has only a part (``p2p.places``), so that it cannot starve
   the others.
3. A banned peer is refused as soon as it has proved who it is; so is a connection beyond the limits.
4. No stream handler brings the node down, whoever registered it: an exception resets the stream and is reported.
5. The library's own automatic dialling, retrying, pruning and resource manager are off: who to talk to is this node's
   decision.
6. The listening sockets are ours: the library opens them with SO_REUSEPORT, so that two nodes share a port without a
   word, and in system tasks that outlive a cancelled node.
7. A multistream line is at most MAX_LINE_BYTES of valid UTF-8: the library reads any announced length into memory
   before anyone proved an id, and lets a decoding error pass its guards.
8. Dialling an address that is not loopback, a socket is bound to the listening port if there is one: a router then sees
   this node under one port, which others can be told and which it has opened (``p2p.libp2p.hole_punch``). That needs
   SO_REUSEPORT on the listening socket, set only after it is bound, so that rule 6 holds.
9. A peer has ``max_connections_per_peer`` direct connections, and one through a relay only while it has no other.
10. The library's log is off: it writes a line for nearly everything a stranger does wrong. What matters is counted.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
from collections.abc import Callable
from typing import Any

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.io.exceptions import IOException
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL
from libp2p.stream_muxer.yamux.yamux import Yamux as LibraryYamux
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from p2p.addresses import TcpAddress
from p2p.libp2p.streams import FramingError, read_frame
from p2p.libp2p.yamux import Yamux
from p2p.limits import Limits
from p2p.network import NetworkError, Offence, PeerId
from p2p.places import Places, group_of

MAX_LINE_BYTES = 1024

Admission = Callable[[PeerId], bool]
Offended = Callable[[PeerId, Offence, str], None]
StreamFailure = Callable[[PeerId, str, Exception], None]


async def _read_line(communicator: MultiselectCommunicator) -> str:
    """Rule 7; takes the place of ``MultiselectCommunicator.read``."""
    try:
        line = await read_frame(communicator.read_writer, MAX_LINE_BYTES)
        text = line.decode("utf-8")
    except (FramingError, IOException, UnicodeDecodeError) as error:
        raise MultiselectCommunicatorError(f"no multistream line: {error}") from error
    if not text.endswith("\n"):
        raise MultiselectCommunicatorError("a multistream line does not end")
    return text[:-1]


MultiselectCommunicator.read = _read_line

# Rule 10. The swarm's connections call the functions of the logging module, which install a handler on the root logger.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)
swarm_connection.logging = logging.getLogger("libp2p.network.connection")


def is_relayed(connection: Any) -> bool:
    """Whether a multiplexed connection runs through a relay."""
    return any("/p2p-circuit" in str(address) for address in connection.get_transport_addresses())


class GuardedUpgrader(TransportUpgrader):  # type: ignore[misc]
    """Puts our own yamux on top of Noise; the library's is named in the negotiation only."""

    def __init__(self, noise: NoiseTransport, limits: Limits, offended: Offended) -> None:
        muxers = {TProtocol(YAMUX_PROTOCOL): LibraryYamux}
        super().__init__({NOISE_PROTOCOL: noise}, muxers, negotiate_timeout=limits.handshake_timeout_s)
        self._limits = limits
        self._offended = offended

    async def upgrade_connection(self, conn: Any, peer_id: ID) -> Yamux:
        await self.muxer_multistream.select_transport(conn)
        peer = str(peer_id)
        return Yamux(
            conn,
            peer_id,
            self._limits.streams_per_peer,
            violation=lambda detail: self._offended(peer, Offence.PROTOCOL_VIOLATION, f"yamux: {detail}"),
            flooded=lambda what: self._offended(peer, Offence.FLOOD, f"yamux: too many {what}"),
        )


class GuardedSwarm(Swarm):  # type: ignore[misc]
    """The library's swarm with rules 2, 3 and 5 of this module."""

    def __init__(
        self, peer_id: ID, peerstore: PeerStore, upgrader: TransportUpgrader, limits: Limits, admit: Admission
    ) -> None:
        super().__init__(
            peer_id,
            peerstore,
            upgrader,
            transports=[TCP()],
            retry_config=RetryConfig(max_retries=0),
            connection_config=ConnectionConfig(
                max_connections=limits.max_connections,
                min_connections=0,
                low_watermark=0,
                high_watermark=limits.max_connections,
                max_connections_per_peer=limits.max_connections_per_peer + 1,
                inbound_upgrade_timeout=limits.handshake_timeout_s,
                outbound_upgrade_timeout=limits.handshake_timeout_s,
                dial_timeout=limits.dial_timeout_s,
            ),
        )
        self._limits = limits
        self._admit = admit
        self.handshakes = Places(limits.max_handshakes, min(limits.max_handshakes_per_address, limits.max_handshakes))
        self.inbound = Places(limits.max_inbound, min(limits.max_inbound_per_address, limits.max_inbound))
        self.refused = 0
        self.dial_ports: dict[str, int] = {}
        """The listening port by address family, ``ip4`` and ``ip6``: rule 8."""
        self.auto_connector.maybe_connect = trio.lowlevel.checkpoint

    def _schedule_auto_connect(self) -> None:
        """Rule 5: nothing dials but the node's own dialler."""

    def _schedule_prune(self) -> None:
        """Rule 5: a connection that was admitted stays."""

    async def accept(self, stream: trio.SocketStream) -> None:
        """One accepted socket, from handshake to end. Never raises."""
        try:
            group = group_of(stream.socket.getpeername()[0])
        except OSError:  # gone already
            group = ""
        await self.serve_inbound(RawConnection(TrioTCPStream(stream), False), group)

    async def serve_inbound(self, connection: RawConnection, group: str, expected: ID | None = None) -> None:
        """One inbound connection of a group, from handshake to end; closed when it came to nothing, or when it is of
        another peer than ``expected``. Never raises.
        """
        if not self.inbound.free_for(group) or not self.handshakes.take(group):
            self.refused += 1
            await connection.close()
            return
        try:
            muxed = await self.upgrade_inbound_raw_conn(connection, Multiaddr("/ip4/0.0.0.0/tcp/0"))
        except Exception:
            # A socket of nobody we know may send anything, and the library raises nearly anything in answer.
            self.refused += 1
            await connection.close()
            return
        finally:
            self.handshakes.give_back(group)
        if (expected is not None and muxed.peer_id != expected) or not self.inbound.take(group):
            self.refused += 1
            await muxed.close()
            return
        try:
            await muxed.event_closed.wait()
        finally:
            self.inbound.give_back(group)

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> Any:
        """Rules 3 and 9."""
        standing = [one.muxed_conn for one in self.get_connections(muxed_conn.peer_id)]
        direct = sum(not is_relayed(one) for one in standing)
        full = bool(standing) if is_relayed(muxed_conn) else direct >= self._limits.max_connections_per_peer
        if full or not self._admit(str(muxed_conn.peer_id)):
            self.refused += 1
            await muxed_conn.close()
            raise SwarmException(f"{muxed_conn.peer_id} is not admitted")
        return await super().add_conn(muxed_conn, direction)

    def has_direct(self, peer: ID) -> bool:
        """Whether a connection with ``peer`` stands that runs through no relay."""
        return any(not is_relayed(one.muxed_conn) for one in self.get_connections(peer))

    async def dial(self, address: TcpAddress, peer: ID) -> None:
        """Dials one address, past the library's address book with its memory of failures. Error: NetworkError."""
        if len(self.get_connections()) >= self._limits.max_connections:
            raise NetworkError("as many connections as there may be")
        await self.upgrade_dialled(await self.connect_socket(address), peer)

    async def connect_socket(self, address: TcpAddress, initiator: bool = True) -> RawConnection:
        """A TCP connection, nothing said yet. Error: NetworkError."""
        try:
            with trio.fail_after(self._limits.dial_timeout_s):
                stream = await self._from_listening_port(address)
                if stream is None:
                    stream = await trio.open_tcp_stream(address.host, address.port)
        except (OSError, trio.TooSlowError) as error:
            raise NetworkError(f"cannot reach {address}: {error}") from error
        return RawConnection(TrioTCPStream(stream), initiator)

    async def _from_listening_port(self, address: TcpAddress) -> trio.SocketStream | None:
        """Rule 8; None where it does not apply, or where the port has a connection with that very address already."""
        port = self.dial_ports.get(address.protocol)
        if port is None or ipaddress.ip_address(address.host).is_loopback:
            return None
        family = trio.socket.AF_INET if address.protocol == "ip4" else trio.socket.AF_INET6
        connection = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        try:
            connection.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            connection.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEPORT, 1)
            await connection.bind(("", port))
            await connection.connect((address.host, address.port))
            return trio.SocketStream(connection)
        except OSError as error:
            connection.close()
            if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                return None
            raise
        except BaseException:
            connection.close()
            raise

    async def upgrade_dialled(self, connection: RawConnection, peer: ID) -> None:
        """Makes a connection with ``peer`` of bytes that flow. Error: NetworkError."""
        try:
            with trio.fail_after(2 * self._limits.handshake_timeout_s):
                await self.upgrade_outbound_raw_conn(connection, peer)
        except Exception as error:
            # Whoever answers there may send anything, and the library raises nearly anything in answer.
            with trio.CancelScope(shield=True):
                await connection.close()
            raise NetworkError(f"no connection with {peer}: {error.__cause__ or error}") from error
        except BaseException:
            with trio.CancelScope(shield=True):
                await connection.close()
            raise

    async def probe(self, address: TcpAddress, peer: ID) -> bool:
        """Whether ``peer`` answers at an address: dials it from any port, lets it prove its id, and hangs up."""
        try:
            with trio.fail_after(self._limits.dial_timeout_s):
                stream = await trio.open_tcp_stream(address.host, address.port)
        except (OSError, trio.TooSlowError):
            return False
        try:
            with trio.fail_after(self._limits.handshake_timeout_s):
                await self.upgrader.upgrade_security(RawConnection(TrioTCPStream(stream), True), True, peer)
        except Exception:
            # As in upgrade_dialled: it is not the peer that is meant.
            return False
        finally:
            await trio.aclose_forcefully(stream)
        return True


class GuardedHost(BasicHost):  # type: ignore[misc]
    """The library's host with rule 4; identify, identify push and ping are its own and stay."""

    def __init__(self, swarm: GuardedSwarm, stream_failed: StreamFailure) -> None:
        self.swarm = swarm
        self.listening: list[Multiaddr] = []
        self._stream_failed = stream_failed
        super().__init__(swarm, addrs_factory=lambda _: list(self.listening), disable_identify_address_discovery=True)

    async def _swarm_stream_handler(self, net_stream: Any) -> None:
        """Negotiation and handler of every inbound stream run inside this guard."""
        try:
            await super()._swarm_stream_handler(net_stream)
        except Exception as error:
            self._stream_failed(str(net_stream.muxed_conn.peer_id), str(net_stream.get_protocol()), error)
            await net_stream.reset()


def build_host(
    node_key_seed: bytes, limits: Limits, admit: Admission, offended: Offended, stream_failed: StreamFailure
) -> GuardedHost:
    """A host that is not running yet, of the Ed25519 key of a 32-byte seed.

    ``admit`` is asked for each proved peer id, ``offended`` hears who broke the protocol, ``stream_failed`` of handlers
    that raised.
    """
    assert len(node_key_seed) == 32
    key_pair: KeyPair = create_new_key_pair(node_key_seed)
    noise = NoiseTransport(key_pair, noise_privkey=create_new_x25519_key_pair().private_key)
    peer_id = ID.from_pubkey(key_pair.public_key)
    peerstore = PeerStore()
    peerstore.add_key_pair(peer_id, key_pair)
    swarm = GuardedSwarm(peer_id, peerstore, GuardedUpgrader(noise, limits, offended), limits, admit)
    return GuardedHost(swarm, stream_failed)

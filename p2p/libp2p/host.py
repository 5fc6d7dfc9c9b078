"""A libp2p host that speaks Noise and yamux over TCP and nothing else, admits who may come in, and survives what they
send.

1. Noise is the only secure channel: the library's default host also accepts plaintext.
2. A connection takes a place among the handshakes until it has proved a peer id, then one among the inbound
   connections, and gives it back when it ends. (The library gives inbound places back only when the node stops, so that
   a long-lived node stops accepting.)
3. A banned peer is refused as soon as it has proved who it is; so is a connection beyond the limits.
4. No stream handler brings the node down, whoever registered it: an exception resets the stream and is reported.
5. The library's own automatic dialling, retrying, pruning and resource manager are off: who to talk to is this node's
   decision.
6. The listening sockets are ours: the library opens them with SO_REUSEPORT, so that two nodes share a port without a
   word, and in system tasks that outlive a cancelled node.
7. A multistream line is at most MAX_LINE_BYTES of valid UTF-8: the library reads any announced length into memory
   before anyone proved an id, and lets a decoding error pass its guards.
8. The library's log is off: it writes a line for nearly everything a stranger does wrong. What matters is counted.
"""

from __future__ import annotations

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

from p2p.libp2p.streams import FramingError, read_frame
from p2p.libp2p.yamux import Yamux
from p2p.limits import Limits
from p2p.network import NetworkError, Offence, PeerId

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

# Rule 8. The swarm's connections call the functions of the logging module, which install a handler on the root logger.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)
swarm_connection.logging = logging.getLogger("libp2p.network.connection")


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
                max_connections_per_peer=limits.max_connections_per_peer,
                inbound_upgrade_timeout=limits.handshake_timeout_s,
                outbound_upgrade_timeout=limits.handshake_timeout_s,
                dial_timeout=limits.dial_timeout_s,
            ),
        )
        self._limits = limits
        self._admit = admit
        self.handshakes = 0
        self.inbound = 0
        self.refused = 0
        self.auto_connector.maybe_connect = trio.lowlevel.checkpoint

    def _schedule_auto_connect(self) -> None:
        """Rule 5: nothing dials but the node's own dialler."""

    def _schedule_prune(self) -> None:
        """Rule 5: a connection that was admitted stays."""

    async def accept(self, stream: trio.SocketStream) -> None:
        """One accepted socket, from handshake to end. Never raises."""
        if self.handshakes >= self._limits.max_handshakes or self.inbound >= self._limits.max_inbound:
            self.refused += 1
            await trio.aclose_forcefully(stream)
            return
        connection = RawConnection(TrioTCPStream(stream), False)
        self.handshakes += 1
        try:
            muxed = await self.upgrade_inbound_raw_conn(connection, Multiaddr("/ip4/0.0.0.0/tcp/0"))
        except Exception:
            # A socket of nobody we know may send anything, and the library raises nearly anything in answer.
            self.refused += 1
            await trio.aclose_forcefully(stream)
            return
        finally:
            self.handshakes -= 1
        self.inbound += 1
        try:
            await muxed.event_closed.wait()
        finally:
            self.inbound -= 1

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> Any:
        """Rule 3."""
        standing = len(self.get_connections(muxed_conn.peer_id))
        if not self._admit(str(muxed_conn.peer_id)) or standing >= self._limits.max_connections_per_peer:
            self.refused += 1
            await muxed_conn.close()
            raise SwarmException(f"{muxed_conn.peer_id} is not admitted")
        return await super().add_conn(muxed_conn, direction)

    async def dial(self, address: Multiaddr, peer: ID) -> None:
        """Dials one address, past the library's address book with its memory of failures. Error: NetworkError."""
        try:
            with trio.fail_after(self._limits.dial_timeout_s + 2 * self._limits.handshake_timeout_s):
                await self.dial_addr(address, peer)
        except (SwarmException, trio.TooSlowError, OSError) as error:
            raise NetworkError(f"cannot reach {address}: {error.__cause__ or error}") from error


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

"""What a node asks of a network, and nothing about how it is done.

Two implementations keep this contract: ``p2p.libp2p`` (real sockets) and ``p2p.simulated`` (virtual time, seeded
faults).

1. A *peer* is named by its libp2p peer id in base58 text. The id of a node follows from its Ed25519 node key.
2. ``publish`` hands one message to everyone who subscribes to a topic, at best effort: messages may be lost, doubled
   and reordered. Whoever needs a message pulls it with ``request``.
3. A topic's validator runs before a message is delivered or forwarded. It is synchronous, decodes and checks, and must
   not raise: ``ACCEPT`` delivers and forwards, ``IGNORE`` does neither, ``REJECT`` does neither and costs the peer that
   sent it. ``KEEP`` does neither either: the message was right, and the validator's owner has taken what it wanted and
   passes on itself, with ``send``, what of it is news to whom.
4. ``request`` sends one bounded message and returns one bounded answer; ``serve`` answers with bytes, or refuses by
   raising ``RequestRefused``. A handler that fails otherwise costs the asking peer nothing and the node nothing but the
   stream.
5. Every inbound path is bounded: message size, bytes and messages per peer and second, streams per peer. A peer that
   exceeds its budget or sends what is invalid loses score; at the limit it is banned: disconnected, refused at
   connection, remembered across restarts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

PeerId = str

MAX_MESSAGE_BYTES = 900_000
"""Largest gossip message; py-libp2p drops anything over 1 MiB without a word."""
MAX_REQUEST_BYTES = 64 * 1024
MAX_RESPONSE_BYTES = 8 * 1024 * 1024


class NetworkError(Exception):
    """The network could not do what was asked; trying again, or another peer, may help."""


class RequestFailed(NetworkError):
    """No answer: the peer is away, too slow, or sent more than the limit."""


class RequestRefused(NetworkError):
    """The peer answered that it will not serve this request; trying the same peer again will not help."""


class Verdict(Enum):
    ACCEPT = "accept"
    KEEP = "keep"
    IGNORE = "ignore"
    REJECT = "reject"


class Offence(Enum):
    """Why a peer loses score; each is counted by name in the metrics."""

    INVALID_MESSAGE = "invalid_message"
    OVERSIZE = "oversize"
    FLOOD = "flood"
    PROTOCOL_VIOLATION = "protocol_violation"
    WRONG_CHAIN = "wrong_chain"


@dataclass(frozen=True, slots=True)
class Received:
    """One gossip message that its topic's validator accepted. ``peer`` handed it over; it need not be the author."""

    peer: PeerId
    data: bytes


@dataclass(frozen=True, slots=True)
class Connected:
    peer: PeerId
    address: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    peer: PeerId


@dataclass(frozen=True, slots=True)
class Banned:
    peer: PeerId
    reason: str
    until_ms: int


NetworkEvent = Connected | Disconnected | Banned


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """One connected peer. ``latency_ms`` is the last ping's round trip, ``score`` starts at 100 and bans at 0."""

    peer: PeerId
    address: str
    inbound: bool
    latency_ms: float | None
    score: int
    bytes_received: int
    bytes_sent: int
    topics: tuple[str, ...]
    mesh: tuple[str, ...]


Validator = Callable[[PeerId, bytes], Verdict]
Handler = Callable[[PeerId, bytes], Awaitable[bytes]]


class Network(Protocol):
    """All a node may do with other nodes. Methods are called from the trio task tree that runs the network."""

    @property
    def peer_id(self) -> PeerId: ...

    async def publish(self, topic: str, data: bytes) -> None:
        """Sends ``data`` (at most MAX_MESSAGE_BYTES, else ValueError) to the topic's subscribers; our own
        subscription does not see it.
        """

    def neighbours(self, topic: str) -> Sequence[PeerId]:
        """The peers with whom messages of a joined topic are exchanged: few, whatever the number of connections."""

    def send(self, peer: PeerId, topic: str, data: bytes) -> bool:
        """Queues ``data`` (at most MAX_MESSAGE_BYTES, else ValueError) for one connected peer, as a message of the
        topic; False if it was dropped there.
        """

    def subscribe(self, topic: str, validator: Validator) -> AsyncIterator[Received]:
        """Joins the topic, once; a full queue drops its oldest message and counts it."""

    async def request(self, peer: PeerId, protocol: str, data: bytes, timeout_s: float = 10.0) -> bytes:
        """Asks one peer. Errors: RequestFailed, RequestRefused."""

    def serve(self, protocol: str, handler: Handler) -> None:
        """Answers ``protocol``, for instance ``/ecloud/blocks/1``."""

    def peers(self) -> list[PeerInfo]: ...

    def events(self) -> AsyncIterator[NetworkEvent]:
        """Connections as they come and go, from the moment of the call."""

    def penalise(self, peer: PeerId, offence: Offence, detail: str) -> None:
        """Takes the offence's price off the peer's score; at 0 the peer is banned."""

    async def ban(self, peer: PeerId, duration_s: float, reason: str) -> None: ...

    def pardon(self, peer: PeerId) -> bool:
        """Ends a ban; False if there is none. Who is to be dialled is dialled again."""

    async def connect(self, address: str) -> PeerId:
        """Dials a full multiaddr (with ``/p2p/<id>``) and keeps redialling it while the network runs; returns at once.
        Errors: NetworkError for a bad address.
        """

    def addresses(self) -> list[str]:
        """Multiaddrs, with ``/p2p/<id>``, under which this node listens."""

    def announced(self) -> list[str]:
        """Multiaddrs, with ``/p2p/<id>``, under which this node says others can reach it, circuits included; those it
        listens on where it announces nothing.
        """

    def metrics(self) -> Mapping[str, int]:
        """Counters and gauges by name."""

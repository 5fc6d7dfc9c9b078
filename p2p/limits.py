"""What one peer may cost this node, and what an offence costs the peer. Both networks, real and simulated, keep the
same figures.

1. A *budget* is a token bucket: it refills at a rate and holds at most a burst. What does not fit is dropped and is the
   offence ``FLOOD``. Bursts are generous because a node that was busy for seconds finds its neighbours' messages all at
   once.
2. A peer starts with ``STARTING_SCORE``. An offence takes its price, time gives back ``score_recovery_per_minute``; at
   0 the peer is banned for ``ban_s``.
3. An honest node never sends an invalid message, because it forwards only what its own validator accepted. Ten of them
   are no accident.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2p.network import Offence

STARTING_SCORE = 100


def _default_prices() -> dict[Offence, int]:
    return {
        Offence.INVALID_MESSAGE: 10,
        Offence.OVERSIZE: 25,
        Offence.FLOOD: 5,
        Offence.PROTOCOL_VIOLATION: 25,
        Offence.WRONG_CHAIN: 100,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Budgets and prices of one node. Defaults suit a home node with up to some forty neighbours."""

    max_connections: int = 64
    max_inbound: int = 48
    max_connections_per_peer: int = 2
    max_inbound_per_address: int = 16
    """Of the inbound connections, from one IPv4 address or one IPv6 /64 (``p2p.places``)."""
    max_handshakes: int = 32
    max_handshakes_per_address: int = 16
    """Connections that have not yet proved a peer id, at once; more are closed at accept."""
    handshake_timeout_s: float = 5.0
    dial_timeout_s: float = 5.0

    messages_per_second: float = 1_000.0
    messages_burst: float = 5_000.0
    bytes_per_second: float = 8 * 1024 * 1024
    bytes_burst: float = 64 * 1024 * 1024
    """Of gossip and of requests, inbound, per peer."""
    streams_per_peer: int = 32
    """Streams a peer may have open towards this node, gossip, ping and identify included."""

    send_queue_messages: int = 4_096
    send_queue_bytes: int = 16 * 1024 * 1024
    """Waiting for one slow peer; beyond either, new messages to it are dropped and counted."""
    subscription_queue: int = 4_096
    """Messages waiting for our own consumer of one topic; beyond, the oldest is dropped and counted."""
    event_queue: int = 1_024

    score_recovery_per_minute: float = 2.0
    prices: dict[Offence, int] = field(default_factory=_default_prices)
    ban_s: float = 3_600.0
    max_remembered_peers: int = 1_000
    max_bans: int = 10_000

    circuits: int = 32
    circuits_per_peer: int = 8
    """Connections between others that this node relays, and those that one peer takes part in."""
    circuit_s: float = 12 * 3_600.0
    circuit_bytes: int = 1024 * 1024 * 1024
    circuit_bytes_per_second: float = 256 * 1024
    """What one relayed connection may last, carry in both directions together, and carry in a second."""
    reservations: int = 64
    reservation_s: float = 3_600.0
    """Peers that may be reached through this node, and for how long before they ask again."""

    redial_first_s: float = 0.5
    redial_longest_s: float = 30.0
    ping_interval_s: float = 15.0

    def __post_init__(self) -> None:
        assert 0 < self.max_inbound <= self.max_connections
        assert self.max_connections_per_peer >= 1
        assert self.max_inbound_per_address > 0
        assert self.max_handshakes_per_address > 0
        assert self.redial_first_s <= self.redial_longest_s
        assert set(self.prices) == set(Offence), "every offence has a price"


class TokenBucket:
    """A budget that refills over time; times in seconds of any one clock that never goes back."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated_s")

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated_s = now_s

    def take(self, amount: float, now_s: float) -> bool:
        """Takes ``amount`` if it is there; False, and nothing taken, if not."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._updated_s) * self._rate)
        self._updated_s = now_s
        if amount > self._tokens:
            return False
        self._tokens -= amount
        return True

"""Where this node says it can be reached: the addresses of its own signed record.

1. Each source of addresses has a place of its own, replaced whole by ``put``: what the operator configured, what the
   router maps, what others saw and dialled, the interfaces, circuits through relays. The record lists them in that
   order, circuits first cut to CIRCUITS, and at most MAX_ADDRESSES in all (``p2p.peer_record``).
2. A change makes a new record with a greater sequence: the wall clock's milliseconds, or one more than the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from p2p.addresses import Address
from p2p.peer_record import MAX_ADDRESSES, PeerRecord, seal

CIRCUITS = 2


class Source(Enum):
    CONFIGURED = "configured"
    MAPPED = "mapped"
    OBSERVED = "observed"
    INTERFACES = "interfaces"
    CIRCUITS = "circuits"


class Whereabouts:
    """``changed`` is called after each change."""

    def __init__(self, node_key_seed: bytes, wall_ms: Callable[[], int], changed: Callable[[], None]) -> None:
        self._seed = node_key_seed
        self._wall_ms = wall_ms
        self._changed = changed
        self._places: dict[Source, tuple[Address, ...]] = dict.fromkeys(Source, ())
        self.record: PeerRecord = seal(node_key_seed, wall_ms(), ())

    def put(self, source: Source, addresses: Iterable[Address]) -> None:
        self._places[source] = tuple(addresses)
        circuits = self._places[Source.CIRCUITS][:CIRCUITS]
        direct = [address for place in Source if place is not Source.CIRCUITS for address in self._places[place]]
        listed = (*tuple(dict.fromkeys(direct))[: MAX_ADDRESSES - len(circuits)], *circuits)
        record = seal(self._seed, max(self._wall_ms(), self.record.sequence + 1), listed)
        if record.addresses != self.record.addresses:
            self.record = record
            self._changed()

"""Peers of the same network that this node has heard of, and where they say they are. No sockets; the clock is handed
in.

1. Only a peer's own signed record counts (``p2p.peer_record``), the one with the highest sequence. A record already
   known costs no signature check.
2. A record is passed on only of peers that are connected with this node, or were within PASSED_ON_S: who makes up a
   thousand peers has to connect with each of them before anyone hears of it.
3. At most MAX_KNOWN records, of which one peer told at most MAX_TOLD; beyond, the teller's own oldest goes. The table
   full, the oldest of the busiest teller goes.
4. A peer that could not be reached is tried again after RETRY_FIRST_S, doubled each time to RETRY_LONGEST_S; after
   MAX_FAILURES in a row it is forgotten. A new record starts it anew, but not before its time.
5. Addresses that ``Surroundings`` does not accept are never dialled. They are passed on in their record all the same: a
   private address is of use to whoever shares that private network, and a circuit through us to everyone but us.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from p2p.addresses import Address, CircuitAddress, with_peer
from p2p.network import PeerId
from p2p.peer_record import PeerRecord, unseal
from p2p.surroundings import Surroundings

MAX_KNOWN = 512
MAX_TOLD = 64
PASSED_ON_S = 3_600.0
RETRY_FIRST_S = 10.0
RETRY_LONGEST_S = 1_800.0
MAX_FAILURES = 8


@dataclass(slots=True)
class _Known:
    record: PeerRecord
    teller: PeerId
    met_s: float | None = None
    failures: int = 0
    next_try_s: float = 0.0


class Neighbourhood:
    """``hear`` records, ``sample`` some to pass on, pick a ``candidate`` to dial and say how it went."""

    def __init__(self, own: PeerId, surroundings: Surroundings, now_s: Callable[[], float], random: Random) -> None:
        self._own = own
        self._surroundings = surroundings
        self._now_s = now_s
        self._random = random
        self._known: OrderedDict[PeerId, _Known] = OrderedDict()
        self._told: Counter[PeerId] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    # Hearing

    def hear(self, envelope: bytes, teller: PeerId) -> PeerRecord | None:
        """Takes a record in; returns it if it is news. Error: InvalidRecord."""
        if any(known.record.envelope == envelope for known in self._known.values()):
            return None
        record = unseal(envelope)
        if record.peer == self._own:
            return None
        known = self._known.get(record.peer)
        if known is not None and known.record.sequence >= record.sequence:
            return None
        if known is not None:
            known.record, known.failures = record, 0
            return record
        self._make_room(teller)
        self._known[record.peer] = _Known(record, teller)
        self._told[teller] += 1
        return record

    def _make_room(self, teller: PeerId) -> None:
        if self._told[teller] >= MAX_TOLD:
            self._forget_oldest_of(teller)
        elif len(self._known) >= MAX_KNOWN:
            self._forget_oldest_of(self._told.most_common(1)[0][0])

    def _forget_oldest_of(self, teller: PeerId) -> None:
        self._forget(next(peer for peer, known in self._known.items() if known.teller == teller))

    def _forget(self, peer: PeerId) -> None:
        known = self._known.pop(peer)
        self._told[known.teller] -= 1
        if not self._told[known.teller]:
            del self._told[known.teller]

    # Telling

    def met(self, peer: PeerId) -> None:
        """``peer`` is connected now: it proved who it is."""
        known = self._known.get(peer)
        if known is not None:
            known.met_s, known.failures, known.next_try_s = self._now_s(), 0, 0.0

    def sample(self, most: int, without: PeerId) -> list[bytes]:
        """Envelopes to pass on, rule 2, in random order."""
        since_s = self._now_s() - PASSED_ON_S
        fit = [
            known.record.envelope
            for peer, known in self._known.items()
            if peer != without and known.met_s is not None and known.met_s >= since_s
        ]
        self._random.shuffle(fit)
        return fit[:most]

    # Dialling

    def routes(self, record: PeerRecord) -> list[Address]:
        """Where to dial a peer: direct addresses first, then circuits; never a circuit through itself or us."""
        usable = [
            with_peer(address, record.peer) for address in record.addresses if self._surroundings.accepts(address)
        ]
        circuits = [address for address in usable if isinstance(address, CircuitAddress)]
        direct = [address for address in usable if not isinstance(address, CircuitAddress)]
        return [*direct, *(circuit for circuit in circuits if circuit.relay.peer not in (record.peer, self._own))]

    def routes_of(self, peer: PeerId) -> list[Address]:
        known = self._known.get(peer)
        return [] if known is None else self.routes(known.record)

    def candidate(self, fit: Callable[[PeerId], bool]) -> PeerRecord | None:
        """A peer to dial now, at random among those that ``fit``; those met before come first."""
        now_s = self._now_s()
        ready = [
            known
            for peer, known in self._known.items()
            if known.next_try_s <= now_s and fit(peer) and self.routes(known.record)
        ]
        met = [known for known in ready if known.met_s is not None]
        return self._random.choice(met or ready).record if ready else None

    def failed(self, peer: PeerId) -> None:
        """``peer`` could not be reached: rule 4."""
        known = self._known.get(peer)
        if known is None:
            return
        known.failures += 1
        if known.failures >= MAX_FAILURES:
            self._forget(peer)
            return
        wait_s = min(RETRY_FIRST_S * 2 ** (known.failures - 1), RETRY_LONGEST_S)
        known.next_try_s = self._now_s() + wait_s * self._random.uniform(0.5, 1.0)

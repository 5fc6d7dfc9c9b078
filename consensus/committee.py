"""Who may speak about a height, and with what weight.

1. A committee is the ledger's ``CommitteeSnapshot`` in force at a height: seats in ascending order of account. A seat's
   index in that order names it in certificates and in the engine.
2. A set of seats is a *quorum* if three times its weight exceeds twice the weight of all. Two quorums share more than a
   third of the weight, so at least one member that is not faulty while less than a third is.
3. A seat of weight zero, and anyone who has no seat, follows without voting.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from ledger.committee import committee_hash
from ledger.records import CommitteeSnapshot

COMMITTEES_REMEMBERED: Final = 8


@dataclass(frozen=True, slots=True)
class Seat:
    """One member: account id, the node key it votes with, and its weight."""

    account: bytes
    node_key: bytes
    weight: int


class Committee:
    """The seats of one snapshot. ``hash`` is what headers carry and light clients compare."""

    __slots__ = ("_index", "hash", "seats", "snapshot", "total_weight", "weights")

    def __init__(self, snapshot: CommitteeSnapshot) -> None:
        self.snapshot = snapshot
        self.seats = tuple(Seat(member.account, member.node_key, member.weight) for member in snapshot.members)
        assert all(one.account < next_.account for one, next_ in pairwise(self.seats)), "seats are sorted by account"
        self._index = {seat.node_key: index for index, seat in enumerate(self.seats)}
        assert len(self._index) == len(self.seats), "a node key has one seat"
        self.weights = tuple(seat.weight for seat in self.seats)
        self.total_weight = sum(self.weights)
        self.hash = committee_hash(snapshot)

    def __len__(self) -> int:
        return len(self.seats)

    def index_of_node_key(self, node_key: bytes) -> int | None:
        """The seat that votes with this key, or None."""
        return self._index.get(node_key)

    def index_of_voter(self, node_key: bytes) -> int | None:
        """Like ``index_of_node_key``, but None for a seat without weight."""
        index = self._index.get(node_key)
        return index if index is not None and self.weights[index] > 0 else None

    def is_quorum(self, weight: int) -> bool:
        return 3 * weight > 2 * self.total_weight


@lru_cache(maxsize=COMMITTEES_REMEMBERED)
def committee_of(snapshot: CommitteeSnapshot) -> Committee:
    """The committee of a snapshot, made once: it stays the same for an epoch."""
    return Committee(snapshot)

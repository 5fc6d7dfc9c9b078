"""Whose turn it is: the verifiable draw, which anyone can repeat from public numbers.

1. A *turn* is one (height, view). In every view exactly one member of the height's committee leads.
2. Views form rounds, and within a round each entrant leads exactly one view. Round one is entered by the active members
   except the previous block's producer; if there is none, by all active members; if there is none, by the whole
   committee. Every later round is entered by the whole committee, else one silent entrant could halt the height.
3. The tickets of member k among the entrants that have not yet led in this round, all divisions floored:

       ℓ_k = 1 + pool_k · (token_weight + age_weight · age_k // age_cap
                           + reputation_weight · reputation_k // max(1, largest reputation among them))
       age_k = min(height − last_mined_height_k, age_cap)

   Pool and reputation are those of the committee's snapshot, last mined height and status those of the chain's tip.
4. u = the first 16 bytes, big endian, of SHA-512("ecloud/draw/1" ‖ seed ‖ u64be(height) ‖ u64be(view));
   ticket = (u · Σℓ) >> 128; members in ascending order of account; the winner is the first whose running sum exceeds
   the ticket. So a member wins with probability ℓ_k / Σℓ, to within 2⁻¹²⁸ · Σℓ.
5. The producer proves β = VRF(its node key, ``beacon_alpha``), and the next height's seed is ``next_seed(seed, β)``.
   Nothing a producer may choose about its block changes β.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha512
from itertools import accumulate, pairwise
from typing import Final

from ledger.committee import committee_at
from ledger.execution import get_parameters, get_tip
from ledger.parameters import Parameters
from ledger.records import CANDIDATES, CandidateStatus
from ledger.state import State, StateReader

MAX_VIEW: Final = 2**16
"""No height needs more: at 12 s a view, the longest a view lasts by default, these take nine days."""

_DRAW_TAG: Final = b"ecloud/draw/1"
_BEACON_TAG: Final = b"ecloud/beacon/1"
_SEED_TAG: Final = b"ecloud/seed/1"
_NUMBER_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class DrawMember:
    """One committee member as the draw sees it. ``active`` is False for the suspended and the expelled."""

    account: bytes
    pool_mvote: int
    reputation_milli: int
    last_mined_height: int
    active: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """How one view's leader was found; indices are into ``Draw.members``.

    ``entrants``: who could win, ascending. ``weights``: their ℓ, in the same order, with sum ``total``.
    ``number``: u, below 2¹²⁸. ``ticket``: below ``total``. ``round`` counts from 1.
    """

    view: int
    round: int
    entrants: tuple[int, ...]
    weights: tuple[int, ...]
    total: int
    number: int
    ticket: int
    winner: int


class Draw:
    """The turns of one height. ``members`` is the height's committee in ascending order of account.

    Leaders are drawn when first asked for and kept; rounds do not depend on each other.
    """

    def __init__(
        self,
        height: int,
        seed: bytes,
        members: tuple[DrawMember, ...],
        previous_producer: bytes | None,
        parameters: Parameters,
    ) -> None:
        assert height >= 1
        assert len(seed) == 32
        assert members, "a committee has members"
        assert all(one.account < next_.account for one, next_ in pairwise(members))
        self.height = height
        self.seed = seed
        self.members = members
        self.previous_producer = previous_producer
        self.parameters = parameters
        self._first_round = _first_entrants(members, previous_producer)
        self._turns: dict[int, list[Turn]] = {}

    def leader(self, view: int) -> int:
        """The committee index of the view's leader."""
        return self.turn(view).winner

    def leader_account(self, view: int) -> bytes:
        return self.members[self.leader(view)].account

    def turn(self, view: int) -> Turn:
        """The whole reckoning of one view, to be shown or proven. ``view`` is at most ``MAX_VIEW``."""
        assert 0 <= view <= MAX_VIEW
        first = len(self._first_round)
        if view < first:
            round_, start, entrants = 1, 0, self._first_round
        else:
            later, place = divmod(view - first, len(self.members))
            round_, start, entrants = later + 2, view - place, tuple(range(len(self.members)))
        turns = self._turns.setdefault(round_, [])
        while len(turns) <= view - start:
            led = {turn.winner for turn in turns}
            turns.append(self._draw(start + len(turns), round_, tuple(k for k in entrants if k not in led)))
        return turns[view - start]

    def _draw(self, view: int, round_: int, entrants: tuple[int, ...]) -> Turn:
        members = [self.members[k] for k in entrants]
        weights = tickets(members, self.height, self.parameters)
        sums = list(accumulate(weights))
        number = draw_number(self.seed, self.height, view)
        ticket = (number * sums[-1]) >> (8 * _NUMBER_BYTES)
        assert ticket < sums[-1]
        winner = next(k for k, running in zip(entrants, sums, strict=True) if running > ticket)
        return Turn(view, round_, entrants, weights, sums[-1], number, ticket, winner)


def tickets(members: list[DrawMember], height: int, parameters: Parameters) -> tuple[int, ...]:
    """ℓ of each member, were exactly these to enter a view of this height; each at least 1."""
    largest = max([1, *(member.reputation_milli for member in members)])
    cap = parameters.age_cap_blocks
    weights: list[int] = []
    for member in members:
        age = min(height - member.last_mined_height, cap)
        assert age >= 1, "nobody has mined the block that is being drawn"
        weight = (
            parameters.token_weight
            + parameters.age_weight * age // cap
            + parameters.reputation_weight * member.reputation_milli // largest
        )
        weights.append(1 + member.pool_mvote * weight)
    return tuple(weights)


def draw_number(seed: bytes, height: int, view: int) -> int:
    """u: the public random number of one view, uniform below 2¹²⁸."""
    number = sha512(_DRAW_TAG + seed + height.to_bytes(8, "big") + view.to_bytes(8, "big")).digest()
    return int.from_bytes(number[:_NUMBER_BYTES], "big")


def beacon_alpha(chain_id: bytes, seed: bytes, height: int, view: int) -> bytes:
    """What the producer of (height, view) proves its VRF on."""
    assert len(chain_id) == len(seed) == 32
    return _BEACON_TAG + chain_id + seed + height.to_bytes(8, "big") + view.to_bytes(8, "big")


def next_seed(seed: bytes, beta: bytes) -> bytes:
    """The next height's seed, 32 bytes, from this height's seed and its block's β (64 bytes)."""
    assert len(seed) == 32
    assert len(beta) == 64
    return sha512(_SEED_TAG + seed + beta).digest()[:32]


def _first_entrants(members: tuple[DrawMember, ...], previous_producer: bytes | None) -> tuple[int, ...]:
    active = tuple(k for k, member in enumerate(members) if member.active)
    others = tuple(k for k in active if members[k].account != previous_producer)
    return others or active or tuple(range(len(members)))


def draw_for(reader: State | StateReader, height: int) -> Draw:
    """The draw of ``height``, from the state after block ``height − 1``."""
    state = reader if isinstance(reader, State) else State(reader)
    tip = get_tip(state)
    assert tip.height == height - 1, f"the state of height {tip.height} cannot draw height {height}"
    members: list[DrawMember] = []
    for member in committee_at(state, height).members:
        candidate = CANDIDATES.get(state, member.account)
        assert candidate is not None, "a candidate's record outlives its expulsion"
        members.append(
            DrawMember(
                account=member.account,
                pool_mvote=member.pool_mvote,
                reputation_milli=member.reputation_milli,
                last_mined_height=candidate.last_mined_height,
                active=candidate.status == CandidateStatus.ACTIVE,
            )
        )
    return Draw(height, tip.seed, tuple(members), tip.previous_producer, get_parameters(state))

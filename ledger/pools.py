"""The arithmetic of a candidate's pool: whom its voting tokens belong to.

1. A pool belongs to its backers in proportion to their shares, so that antes, fines and pots reach all of them pro
   rata. A candidate's *worth* is its pool and its frozen pots together.
2. Casting buys shares at worth / shares: a newcomer pays for the frozen pots too, so hopping to whoever is about to
   have one released earns nothing. Withdrawing sells them at pool / shares: the part in frozen pots stays behind.
3. Every rounding is in favour of the pool, and nothing is created: casting takes exactly what the whole shares bought
   are worth, rounded up, and leaves the rest with the caster. So nobody can lose to a share made dear on purpose; who
   cannot buy one share is refused.
4. Where there are no shares there is no worth: what the last backer leaves behind, or a pot won without backers,
   becomes the candidate's own. Where there are shares without worth, they are void, and the next cast begins anew.
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.balances import burn_votes, mint_votes
from ledger.encoding import MAX_INTEGER
from ledger.records import CANDIDATES, STAKES, Candidate, CandidateStatus, FrozenPot, Stake
from ledger.state import State


def worth_mvote(candidate: Candidate) -> int:
    """Pool and frozen pots, mvote."""
    return candidate.pool_mvote + frozen_mvote(candidate)


def frozen_mvote(candidate: Candidate) -> int:
    """All frozen pots, mvote."""
    return sum(pot.amount_mvote for pot in candidate.frozen)


def withdrawable_mvote(candidate: Candidate, shares: int) -> int:
    """What ``shares`` of the candidate's pool can be withdrawn for now, mvote."""
    return candidate.pool_mvote * shares // candidate.shares if candidate.shares else 0


def get_shares(state: State, candidate_id: bytes, backer: bytes) -> int:
    stake = STAKES.get(state, candidate_id, backer)
    return 0 if stake is None else stake.shares


def buy_shares(state: State, candidate_id: bytes, backer: bytes, amount_mvote: int) -> int:
    """Moves up to ``amount_mvote`` into the pool, against shares for ``backer``; returns what it took, for the caller
    to take from somewhere. 0 when the amount buys no share. Shares beyond what can be counted are not bought.
    """
    candidate = CANDIDATES.get(state, candidate_id)
    assert candidate is not None
    assert candidate.status != CandidateStatus.EXPELLED
    worth = worth_mvote(candidate)
    if worth == 0 and candidate.shares:
        _void_stakes(state, candidate_id)
        candidate = replace(candidate, shares=0)
    if candidate.shares:
        bought = min(amount_mvote * candidate.shares // worth, MAX_INTEGER - candidate.shares)
        cost = -(-bought * worth // candidate.shares)
    else:
        bought = cost = amount_mvote
    if bought == 0:
        return 0
    assert 0 < cost <= amount_mvote
    CANDIDATES.put(
        state,
        replace(candidate, pool_mvote=candidate.pool_mvote + cost, shares=candidate.shares + bought),
        candidate_id,
    )
    _add_shares(state, candidate_id, backer, bought)
    return cost


def sell_shares(state: State, candidate_id: bytes, backer: bytes, amount_mvote: int) -> None:
    """Takes ``amount_mvote`` out of the pool for as many of the backer's shares as that is worth, rounded up; the
    caller gives the tokens to somebody. Shares left over that are worth nothing are void.

    The amount is above zero and at most ``withdrawable_mvote``.
    """
    candidate = CANDIDATES.get(state, candidate_id)
    assert candidate is not None
    held = get_shares(state, candidate_id, backer)
    assert 0 < amount_mvote <= withdrawable_mvote(candidate, held)
    sold = -(-amount_mvote * candidate.shares // candidate.pool_mvote)
    assert sold <= held
    candidate = replace(candidate, pool_mvote=candidate.pool_mvote - amount_mvote, shares=candidate.shares - sold)
    rest = held - sold
    if rest and worth_mvote(candidate) * rest // candidate.shares == 0:
        candidate = replace(candidate, shares=candidate.shares - rest)
        rest = 0
    if rest:
        STAKES.put(state, Stake(shares=rest), candidate_id, backer)
    else:
        STAKES.delete(state, candidate_id, backer)
    CANDIDATES.put(state, _own_what_is_left(state, candidate_id, candidate), candidate_id)


def add_pot(state: State, candidate_id: bytes, candidate: Candidate, pot: FrozenPot) -> Candidate:
    """The candidate with one more frozen pot, not yet written; its own where it has no backers."""
    return _own_what_is_left(state, candidate_id, replace(candidate, frozen=(*candidate.frozen, pot)))


def found_candidate(state: State, account: bytes, height: int, ballot_mvote: int) -> None:
    """Makes the account a candidate, or an expelled candidate one again, with a fresh ballot as its own shares."""
    former = CANDIDATES.get(state, account)
    assert former is None or former.status == CandidateStatus.EXPELLED
    mint_votes(state, ballot_mvote)
    candidate = Candidate(
        status=CandidateStatus.ACTIVE,
        pool_mvote=ballot_mvote,
        shares=ballot_mvote,
        reputation_milli=0,
        last_mined_height=height,
        frozen=(),
        missed_in_row=0,
        missed_total=former.missed_total if former else 0,
        produced_total=former.produced_total if former else 0,
        epoch_counted=0,
        epoch_signed=0,
        suspended_height=0,
    )
    CANDIDATES.put(state, candidate, account)
    STAKES.put(state, Stake(shares=ballot_mvote), account, account)


def expel(state: State, candidate_id: bytes) -> int:
    """Burns the pool with the frozen pots, voids all stakes, and expels the candidate. Returns what was burned,
    mvote.
    """
    candidate = CANDIDATES.get(state, candidate_id)
    assert candidate is not None
    burned = worth_mvote(candidate)
    burn_votes(state, burned)
    _void_stakes(state, candidate_id)
    expelled = replace(
        candidate,
        status=CandidateStatus.EXPELLED,
        pool_mvote=0,
        shares=0,
        reputation_milli=0,
        frozen=(),
        missed_in_row=0,
        epoch_counted=0,
        epoch_signed=0,
        suspended_height=0,
    )
    CANDIDATES.put(state, expelled, candidate_id)
    return burned


def _own_what_is_left(state: State, candidate_id: bytes, candidate: Candidate) -> Candidate:
    worth = worth_mvote(candidate)
    if candidate.shares or worth == 0:
        return candidate
    _add_shares(state, candidate_id, candidate_id, worth)
    return replace(candidate, shares=worth)


def _add_shares(state: State, candidate_id: bytes, backer: bytes, shares: int) -> None:
    STAKES.put(state, Stake(shares=get_shares(state, candidate_id, backer) + shares), candidate_id, backer)


def _void_stakes(state: State, candidate_id: bytes) -> None:
    for key, _ in STAKES.scan(state, candidate_id):
        STAKES.delete(state, key)

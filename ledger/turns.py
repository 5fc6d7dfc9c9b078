"""What a turn is worth: what every block does to the candidates before its transactions.

In this order, for the block at height h:

1. Pots frozen until h join their pools.
2. Participation: each candidate of the parent's committee has one more block counted, and signed if its signature is in
   the parent's finalize certificate.
3. Every active candidate antes pool // ``ante_divisor``.
4. Each skipped leader, as often as it was skipped: pays pool · ``missed_turn_antes`` // ``ante_divisor`` (at most its
   pool), loses 1000 of reputation (not below zero) and its age, and is suspended when it was skipped twice in a row. A
   suspended one is fined all the same; an expelled one has nothing left to lose and stays as it is.
5. The producer gains 1000 of reputation, loses its age, and has antes and fines as a pot, frozen until
   h + ``freeze_blocks``. A suspended producer stays suspended until it rejoins. An expelled one gets nothing: the pot
   is burned.

At an epoch's last block reputation becomes 15/16 of itself, rounded down.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.balances import burn_votes
from ledger.block import BlockContext, InvalidBlock
from ledger.execution import Execution
from ledger.pools import add_pot
from ledger.records import CANDIDATES, Candidate, CandidateStatus, FrozenPot

TURN_REPUTATION_MILLI: Final = 1_000
MISSES_TO_SUSPEND: Final = 2
DECAY_NUMERATOR: Final = 15
DECAY_DENOMINATOR: Final = 16


def take_turn(execution: Execution, context: BlockContext) -> None:
    """Accounts for the block's turn. Errors: InvalidBlock where the context names no candidates."""
    state, parameters, height = execution.state, execution.parameters, context.height
    candidates = dict(CANDIDATES.scan(state))
    for account in (context.producer, *context.skipped):
        if account not in candidates:
            raise InvalidBlock(f"{account.hex()} led a view and is not a candidate")
    if not context.signers <= context.committee:
        raise InvalidBlock("a signature on the parent is not from its committee")
    pot = 0
    for account, found in candidates.items():
        candidate = _count_participation(_release(found, height), account, context)
        if candidate.status == CandidateStatus.ACTIVE:
            ante = candidate.pool_mvote // parameters.ante_divisor
            candidate = replace(candidate, pool_mvote=candidate.pool_mvote - ante)
            pot += ante
        candidates[account] = candidate
    for account in context.skipped:
        candidate = candidates[account]
        fine = candidate.pool_mvote * parameters.missed_turn_antes // parameters.ante_divisor
        fine = min(candidate.pool_mvote, fine)
        candidates[account] = _miss(candidate, fine, height)
        pot += fine
    for account, candidate in candidates.items():
        CANDIDATES.put(state, candidate, account)
    _reward(execution, context.producer, candidates[context.producer], pot)


def decay_reputation(execution: Execution) -> None:
    """At an epoch's last block, before the snapshot."""
    for account, candidate in CANDIDATES.scan(execution.state):
        decayed = candidate.reputation_milli * DECAY_NUMERATOR // DECAY_DENOMINATOR
        CANDIDATES.put(execution.state, replace(candidate, reputation_milli=decayed), account)


def restart_participation(execution: Execution) -> None:
    """At an epoch's last block, after the snapshot."""
    for account, candidate in CANDIDATES.scan(execution.state):
        CANDIDATES.put(execution.state, replace(candidate, epoch_counted=0, epoch_signed=0), account)


def _release(candidate: Candidate, height: int) -> Candidate:
    released = sum(pot.amount_mvote for pot in candidate.frozen if pot.release_height <= height)
    if not released:
        return candidate
    frozen = tuple(pot for pot in candidate.frozen if pot.release_height > height)
    return replace(candidate, pool_mvote=candidate.pool_mvote + released, frozen=frozen)


def _count_participation(candidate: Candidate, account: bytes, context: BlockContext) -> Candidate:
    if account not in context.committee or candidate.status == CandidateStatus.EXPELLED:
        return candidate
    return replace(
        candidate,
        epoch_counted=candidate.epoch_counted + 1,
        epoch_signed=candidate.epoch_signed + (account in context.signers),
    )


def _miss(candidate: Candidate, fine_mvote: int, height: int) -> Candidate:
    if candidate.status == CandidateStatus.EXPELLED:
        assert fine_mvote == 0
        return candidate
    missed_in_row = candidate.missed_in_row + 1
    suspends = candidate.status == CandidateStatus.ACTIVE and missed_in_row >= MISSES_TO_SUSPEND
    return replace(
        candidate,
        status=CandidateStatus.SUSPENDED if suspends else candidate.status,
        suspended_height=height if suspends else candidate.suspended_height,
        pool_mvote=candidate.pool_mvote - fine_mvote,
        reputation_milli=max(0, candidate.reputation_milli - TURN_REPUTATION_MILLI),
        last_mined_height=height,
        missed_in_row=missed_in_row,
        missed_total=candidate.missed_total + 1,
    )


def _reward(execution: Execution, producer: bytes, candidate: Candidate, pot_mvote: int) -> None:
    state, height = execution.state, execution.height
    if candidate.status == CandidateStatus.EXPELLED:
        burn_votes(state, pot_mvote)
        return
    rewarded = replace(
        candidate,
        reputation_milli=candidate.reputation_milli + TURN_REPUTATION_MILLI,
        last_mined_height=height,
        missed_in_row=0,
        produced_total=candidate.produced_total + 1,
    )
    if pot_mvote:
        pot = FrozenPot(release_height=height + execution.parameters.freeze_blocks, amount_mvote=pot_mvote)
        rewarded = add_pot(state, producer, rewarded, pot)
    CANDIDATES.put(state, rewarded, producer)

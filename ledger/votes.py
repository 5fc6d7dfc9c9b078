"""Casting and withdrawing voting tokens, the voting rule, what becomes of minted ones, and rejoining.

1. Votes are cast on a candidate that is active or suspended. How shares are counted: ``pools``.
2. The voting rule says what becomes of voting tokens when they are minted: ``keep_bps`` of them, rounded down, stay
   with the owner; the targets share the rest by largest remainder. Without a rule all are cast on the owner's own
   candidate if that is active. The part of a target that is expelled or no candidate, and whatever buys no share, is
   kept.
3. A rule names at most 16 targets, each once, with shares above zero that sum to 10,000; keeping all needs none.
4. A suspended candidate is active again from its rejoin on, its missed turns in a row forgotten.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ledger.balances import get_account, give_votes, mint_votes, take_votes
from ledger.execution import Execution, Rule
from ledger.pools import buy_shares, get_shares, sell_shares, withdrawable_mvote
from ledger.records import CANDIDATES, MEMBERS, VOTING_RULES, Candidate, CandidateStatus, RuleTarget, VotingRule
from ledger.refusal import Refusal, TransactionRefused
from ledger.split import split
from ledger.state import State
from ledger.transactions import (
    MAX_RULE_TARGETS,
    CastVotes,
    Kind,
    Rejoin,
    SetVotingRule,
    Transaction,
    WithdrawVotes,
)
from ledger.units import vote_text

ALL_BPS: Final = 10_000


def check_amount(_: Transaction, payload: CastVotes | WithdrawVotes) -> None:
    """Errors: TransactionRefused AMOUNT_ZERO."""
    if payload.amount_mvote == 0:
        raise TransactionRefused(Refusal.AMOUNT_ZERO, f"at least {vote_text(1)}")


def apply_cast(execution: Execution, account: bytes, payload: CastVotes) -> None:
    """Errors: TransactionRefused NOT_A_CANDIDATE, CANDIDATE_EXPELLED, INSUFFICIENT_VOTES, AMOUNT_TOO_SMALL."""
    state = execution.state
    _require_candidate(state, payload.candidate)
    kept = get_account(state, account).votes_mvote
    if kept < payload.amount_mvote:
        raise TransactionRefused(
            Refusal.INSUFFICIENT_VOTES, f"{vote_text(payload.amount_mvote)} to cast, {vote_text(kept)} are kept"
        )
    cost = buy_shares(state, payload.candidate, account, payload.amount_mvote)
    if cost == 0:
        raise TransactionRefused(
            Refusal.AMOUNT_TOO_SMALL, f"{vote_text(payload.amount_mvote)} buy no whole share of this candidate's pool"
        )
    take_votes(state, account, cost)
    execution.concern(payload.candidate)


def apply_withdraw(execution: Execution, account: bytes, payload: WithdrawVotes) -> None:
    """Errors: TransactionRefused NOT_A_CANDIDATE, CANDIDATE_EXPELLED, INSUFFICIENT_VOTES."""
    state = execution.state
    candidate = _require_candidate(state, payload.candidate)
    part = withdrawable_mvote(candidate, get_shares(state, payload.candidate, account))
    if payload.amount_mvote > part:
        raise TransactionRefused(
            Refusal.INSUFFICIENT_VOTES,
            f"{vote_text(payload.amount_mvote)} wanted, the part in this pool is {vote_text(part)}",
        )
    sell_shares(state, payload.candidate, account, payload.amount_mvote)
    give_votes(state, account, payload.amount_mvote)
    execution.concern(payload.candidate)


def check_rule(_: Transaction, payload: SetVotingRule) -> None:
    """Errors: TransactionRefused BAD_VOTING_RULE."""
    check_targets(payload.keep_bps, payload.targets)


def check_targets(keep_bps: int, targets: tuple[RuleTarget, ...]) -> None:
    """Errors: TransactionRefused BAD_VOTING_RULE."""
    if len(targets) > MAX_RULE_TARGETS:
        raise TransactionRefused(Refusal.BAD_VOTING_RULE, f"{len(targets)} targets, at most {MAX_RULE_TARGETS}")
    if len({target.candidate for target in targets}) != len(targets):
        raise TransactionRefused(Refusal.BAD_VOTING_RULE, "a candidate is named twice")
    if any(target.share_bps == 0 for target in targets):
        raise TransactionRefused(Refusal.BAD_VOTING_RULE, "a target's share is zero; leave it out")
    total = sum(target.share_bps for target in targets)
    expected = 0 if keep_bps == ALL_BPS else ALL_BPS
    if total != expected:
        raise TransactionRefused(
            Refusal.BAD_VOTING_RULE,
            f"the targets' shares sum to {total}; keeping {keep_bps} they must sum to {expected}",
        )


def apply_rule(execution: Execution, account: bytes, payload: SetVotingRule) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER, NOT_A_CANDIDATE, CANDIDATE_EXPELLED."""
    state = execution.state
    if MEMBERS.get(state, account) is None:
        raise TransactionRefused(Refusal.NOT_A_MEMBER, "only a member's energy mints voting tokens")
    for target in payload.targets:
        _require_candidate(state, target.candidate)
    VOTING_RULES.put(state, VotingRule(keep_bps=payload.keep_bps, targets=payload.targets), account)


def mint_to(state: State, owner: bytes, amount_mvote: int) -> None:
    """Mints voting tokens for a member, who keeps or casts them by its rule."""
    mint_votes(state, amount_mvote)
    kept = amount_mvote
    for candidate_id, part in _cast_parts(state, owner, amount_mvote):
        if part and _can_be_backed(CANDIDATES.get(state, candidate_id)):
            kept -= buy_shares(state, candidate_id, owner, part)
    if kept:
        give_votes(state, owner, kept)


def check_rejoin(_transaction: Transaction, _payload: Rejoin) -> None:
    """Every rejoin may be valid."""


def apply_rejoin(execution: Execution, account: bytes, _: Rejoin) -> None:
    """Errors: TransactionRefused NOT_A_CANDIDATE, CANDIDATE_EXPELLED, NOT_SUSPENDED."""
    candidate = _require_candidate(execution.state, account)
    if candidate.status != CandidateStatus.SUSPENDED:
        raise TransactionRefused(Refusal.NOT_SUSPENDED, "the candidate is active")
    active = replace(candidate, status=CandidateStatus.ACTIVE, missed_in_row=0, suspended_height=0)
    CANDIDATES.put(execution.state, active, account)


def _cast_parts(state: State, owner: bytes, amount_mvote: int) -> list[tuple[bytes, int]]:
    """What the owner's rule casts of newly minted tokens, by candidate in ascending order."""
    rule = VOTING_RULES.get(state, owner)
    if rule is None:
        own = CANDIDATES.get(state, owner)
        return [(owner, amount_mvote)] if own is not None and own.status == CandidateStatus.ACTIVE else []
    cast = amount_mvote - amount_mvote * rule.keep_bps // ALL_BPS
    return list(split(cast, {target.candidate: target.share_bps for target in rule.targets}).items())


def _can_be_backed(candidate: Candidate | None) -> bool:
    return candidate is not None and candidate.status != CandidateStatus.EXPELLED


def _require_candidate(state: State, account: bytes) -> Candidate:
    """Errors: TransactionRefused NOT_A_CANDIDATE, CANDIDATE_EXPELLED."""
    candidate = CANDIDATES.get(state, account)
    if candidate is None:
        raise TransactionRefused(Refusal.NOT_A_CANDIDATE, "the account is not a candidate: it has no node key")
    if candidate.status == CandidateStatus.EXPELLED:
        raise TransactionRefused(
            Refusal.CANDIDATE_EXPELLED, "the candidate was expelled; an approver may register it anew"
        )
    return candidate


RULES: Final[dict[Kind, Rule[Any]]] = {
    Kind.CAST_VOTES: Rule(check_amount, apply_cast),
    Kind.WITHDRAW_VOTES: Rule(check_amount, apply_withdraw),
    Kind.SET_VOTING_RULE: Rule(check_rule, apply_rule),
    Kind.REJOIN: Rule(check_rejoin, apply_rejoin),
}

"""Reports of equivocation: a producer is convicted by two of its own signatures.

1. Both statements are signed by the node key and contradict each other (``statements``).
2. Their height h has been reached, and lies above the height at which the member was registered: so nobody is
   convicted twice for one deed, nor anew for what was done before being registered again.
3. Guilty is whose node key it was in the committee of h, or, where that committee is not kept or does not hold the key,
   whose node key it is now.
4. The guilty candidate's pool and frozen pots are burned, the stakes in it void, and it is expelled. The receipt's note
   says so, with what was burned: ``candidate_expelled 102400``, mvote.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from ledger.committee import find_committee
from ledger.execution import Execution, Rule
from ledger.pools import expel
from ledger.records import CANDIDATES, MEMBERS, NODE_KEYS, CandidateStatus
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.statements import SignedStatement, contradict
from ledger.transactions import Kind, ReportEquivocation, Transaction

EXPELLED_NOTE: Final = "candidate_expelled"


def check_report(transaction: Transaction, payload: ReportEquivocation) -> None:
    """Errors: TransactionRefused NO_EQUIVOCATION."""
    if not contradict(payload.first.statement, payload.second.statement):
        raise TransactionRefused(Refusal.NO_EQUIVOCATION, "the two statements do not contradict each other")
    for which, signed in (("first", payload.first), ("second", payload.second)):
        if not _is_signed(signed, payload.node_key, transaction.chain_id):
            raise TransactionRefused(Refusal.NO_EQUIVOCATION, f"the {which} statement is not signed by the node key")


@lru_cache(maxsize=256)
def _is_signed(signed: SignedStatement, node_key: bytes, chain_id: bytes) -> bool:
    """A node meets a report at its door, when it makes a block and in one; and every member reports the same deed."""
    return signed.verify(node_key, chain_id)


def apply_report(execution: Execution, _account: bytes, payload: ReportEquivocation) -> None:
    """Errors: TransactionRefused NOT_A_CANDIDATE, CANDIDATE_EXPELLED, NO_EQUIVOCATION."""
    state = execution.state
    height = payload.first.statement.height
    guilty = _holder_of(state, payload.node_key, height)
    if guilty is None:
        raise TransactionRefused(Refusal.NOT_A_CANDIDATE, "the key is no candidate's node key, and was none of late")
    candidate, member = CANDIDATES.get(state, guilty), MEMBERS.get(state, guilty)
    assert candidate is not None, "who has a node key is a candidate"
    assert member is not None, "only members are candidates"
    if candidate.status == CandidateStatus.EXPELLED:
        raise TransactionRefused(Refusal.CANDIDATE_EXPELLED, "the candidate is already expelled")
    if not member.registered_height < height <= execution.height:
        raise TransactionRefused(
            Refusal.NO_EQUIVOCATION,
            f"height {height} does not count: the member was registered at {member.registered_height}, the chain is at "
            f"{execution.height}",
        )
    burned_mvote = expel(state, guilty)
    execution.concern(guilty)
    execution.note = f"{EXPELLED_NOTE} {burned_mvote}"


def _holder_of(state: State, node_key: bytes, height: int) -> bytes | None:
    """The account whose node key it was in the committee of ``height``, or is now."""
    snapshot = find_committee(state, height)
    for member in snapshot.members if snapshot is not None else ():
        if member.node_key == node_key:
            return member.account
    current = NODE_KEYS.get(state, node_key)
    return None if current is None else current.account


RULES: Final[dict[Kind, Rule[Any]]] = {Kind.REPORT_EQUIVOCATION: Rule(check_report, apply_report)}

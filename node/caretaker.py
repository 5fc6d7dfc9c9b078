"""What a node does for its own member without being asked, signed by its node key.

1. Suspended for missed turns, and level with the others again: it rejoins.
2. Having seen a member equivocate: it reports the two statements.

Each is tried again, at most once per ``RETRY_BLOCKS``, until the state shows that it took effect. What the ledger would
refuse now is left out, so that nothing waits behind a nonce that never comes.
"""

from __future__ import annotations

from typing import Final

from consensus.engine import Evidence
from ledger.execute import admit
from ledger.execution import get_parameters, get_tip
from ledger.keys import SigningKey
from ledger.records import CANDIDATES, MEMBERS, NODE_KEYS, CandidateStatus
from ledger.refusal import TransactionRefused
from ledger.state import State, StateReader
from ledger.transactions import Payload, Rejoin, ReportEquivocation, Transaction, sign_transaction

RETRY_BLOCKS: Final = 8
MAX_REPORTS: Final = 64


class Caretaker:
    """See the module's rules."""

    def __init__(self, node_key: SigningKey, chain_id: bytes) -> None:
        self._key = node_key
        self._chain_id = chain_id
        self._reports: dict[bytes, Evidence] = {}
        self._tried_at: dict[bytes, int] = {}

    def remember(self, evidence: Evidence) -> None:
        """An equivocation was seen; ``due`` has it reported. The newest counts: being registered anew wipes out what
        was before.
        """
        if evidence.node_key in self._reports or len(self._reports) < MAX_REPORTS:
            self._reports[evidence.node_key] = evidence

    def due(self, reader: StateReader, height: int, pending: int, *, level: bool) -> list[Transaction]:
        """Transactions to submit after the block at ``height``.

        ``pending``: how many of this node key's transactions wait already; ``level``: whether the node keeps up.
        """
        state = State(reader)
        own = NODE_KEYS.get(state, self._key.public_key)
        if own is None or pending:
            return []
        payloads: list[Payload] = []
        candidate = CANDIDATES.get(state, own.account)
        if candidate is not None and candidate.status == CandidateStatus.SUSPENDED and level:
            payloads += self._once_in_a_while(own.account, height, Rejoin())
        for offender, evidence in list(self._reports.items()):
            if _is_dealt_with(state, offender, evidence.first.statement.height):
                del self._reports[offender]
            else:
                report = ReportEquivocation(offender, evidence.first, evidence.second)
                payloads += self._once_in_a_while(offender, height, report)
        due: list[Transaction] = []
        for payload in payloads:
            transaction = self._sign(state, payload, own.nonce + len(due), height)
            try:
                admit(
                    reader,
                    self._chain_id,
                    transaction,
                    height=height + 1,
                    time_ms=get_tip(state).time_ms,
                    waiting=due,
                )
            except TransactionRefused:
                continue  # it may do later; its nonce must not be missing before those of the others
            due.append(transaction)
        return due

    def _sign(self, state: State, payload: Payload, nonce: int, height: int) -> Transaction:
        parameters = get_parameters(state)
        return sign_transaction(
            self._key,
            self._chain_id,
            payload,
            nonce=nonce,
            fee_uwatt=parameters.minimum_fee_uwatt,
            valid_until_height=height + min(parameters.max_validity_blocks, 4 * RETRY_BLOCKS),
        )

    def _once_in_a_while(self, subject: bytes, height: int, payload: Payload) -> list[Payload]:
        if height - self._tried_at.get(subject, -RETRY_BLOCKS) < RETRY_BLOCKS:
            return []
        self._tried_at[subject] = height
        return [payload]


def _is_dealt_with(state: State, node_key: bytes, height: int) -> bool:
    """True if the key's member is expelled or nobody's any more, or was registered anew since that height."""
    owner = NODE_KEYS.get(state, node_key)
    member = None if owner is None else MEMBERS.get(state, owner.account)
    if owner is None or member is None or height <= member.registered_height:
        return True
    candidate = CANDIDATES.get(state, owner.account)
    return candidate is None or candidate.status == CandidateStatus.EXPELLED

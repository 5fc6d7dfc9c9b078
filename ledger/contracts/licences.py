"""Attesting what a member is licensed to do.

1. An approver says which licences a member holds from now on; those not named it holds no more.
2. A standing offer whose template requires what its seller no longer holds ends with the next open period, and nobody
   pays a penalty.
"""

from __future__ import annotations

from typing import Any, Final

from ledger.agreements import ATTESTATIONS, Attestation, Licence
from ledger.contracts.rules import end_offer
from ledger.contracts.standing import offers_of
from ledger.contracts.templates import TEMPLATES
from ledger.execution import Execution, Rule
from ledger.market.terms import first_open_period
from ledger.records import MEMBERS
from ledger.refusal import Refusal, TransactionRefused
from ledger.registry import require_approver
from ledger.transactions import AttestMember, Kind, Transaction

ALL_LICENCES: Final = int(Licence.COMMERCIAL_ENERGY_LICENSE | Licence.GRID_CODE_COMPLIANCE)


def check_attestation(_: Transaction, payload: AttestMember) -> None:
    """Errors: TransactionRefused MALFORMED."""
    if payload.licences & ~ALL_LICENCES:
        raise TransactionRefused(
            Refusal.MALFORMED, f"licences {payload.licences}: only bits of {ALL_LICENCES} have a meaning"
        )


def apply_attestation(execution: Execution, account: bytes, payload: AttestMember) -> None:
    """Errors: TransactionRefused NOT_APPROVER, NOT_A_MEMBER."""
    state = execution.state
    require_approver(state, account)
    if MEMBERS.get(state, payload.account) is None:
        raise TransactionRefused(Refusal.NOT_A_MEMBER, "licences are attested to members")
    if payload.licences:
        ATTESTATIONS.put(state, Attestation(licences=payload.licences), payload.account)
    else:
        ATTESTATIONS.delete(state, payload.account)
    next_open = first_open_period(execution.parameters, execution.time_ms)
    for number, offer in list(offers_of(state, payload.account)):
        if offer.until_period > next_open and TEMPLATES[offer.template].licences & ~payload.licences:
            end_offer(execution, number, with_penalty=False)
    execution.concern(payload.account)


RULES: Final[dict[Kind, Rule[Any]]] = {Kind.ATTEST_MEMBER: Rule(check_attestation, apply_attestation)}

"""Recording and paying bills.

Record, by anyone: the bills of one page of a closed cycle, each page once.

1. What is written follows from the state alone: the sender chooses nothing but the page.
2. The energy that is billed is the energy that was settled: for each member received − delivered = import − export, for
   the gateway less the sum of all others'. If it is not, the program is broken.
3. A bill is due ``payment_term_ms`` after the block that records it; one that leaves nothing to pay is paid at once.

Pay, by the member: all that the bill leaves to pay, to every creditor its sum, or nothing. The gateway pays as any
member does. A bill is paid once.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ledger.balances import give_watt, take_watt
from ledger.billing.bills import PAGE_MEMBERS, claims_of, is_closed, members_of, page_of, to_pay, to_receive
from ledger.block import BrokenInvariant
from ledger.effects import Effect, EffectKind
from ledger.execution import Execution, Rule
from ledger.market.terms import gateway_of
from ledger.records import (
    ARREARS,
    BILLING_CYCLES,
    BILLS,
    CYCLE_MEMBERS,
    DUE_BILLS,
    Bill,
    BillingCycle,
    DueBill,
    height_key,
)
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.transactions import Kind, PayBill, RecordBills, Transaction


def check_record(_: Transaction, __: RecordBills) -> None:
    """Any cycle and page may come to exist."""


def apply_record(execution: Execution, _: bytes, payload: RecordBills) -> None:
    """Errors: TransactionRefused CYCLE_OPEN, UNKNOWN_CYCLE, UNKNOWN_PAGE, BILLS_RECORDED; BrokenInvariant."""
    state, cycle = execution.state, payload.cycle
    if not is_closed(state, cycle):
        raise TransactionRefused(Refusal.CYCLE_OPEN, f"cycle {cycle} closes when its last period is settled")
    if next(members_of(state, cycle), None) is None:
        raise TransactionRefused(Refusal.UNKNOWN_CYCLE, f"nothing was settled in cycle {cycle}")
    members = page_of(state, cycle, payload.page)
    if not members:
        raise TransactionRefused(
            Refusal.UNKNOWN_PAGE, f"cycle {cycle} has no page {payload.page}; {PAGE_MEMBERS} members are on one, from 0"
        )
    if BILLS.get(state, height_key(cycle), members[0]) is not None:
        raise TransactionRefused(Refusal.BILLS_RECORDED, f"page {payload.page} of cycle {cycle} is recorded")
    unpaid = 0
    for member in members:
        _require_settled_energy(state, cycle, member)
        unpaid += _record(execution, cycle, member)
        execution.concern(member)
    found = BILLING_CYCLES.get(state, height_key(cycle)) or BillingCycle(
        members=sum(1 for _ in members_of(state, cycle)), recorded=0, unpaid=0
    )
    counted = replace(found, recorded=found.recorded + len(members), unpaid=found.unpaid + unpaid)
    BILLING_CYCLES.put(state, counted, height_key(cycle))


def check_pay(_: Transaction, __: PayBill) -> None:
    """Any cycle may come to have a bill."""


def apply_pay(execution: Execution, account: bytes, payload: PayBill) -> None:
    """Errors: TransactionRefused BILL_NOT_RECORDED, BILL_PAID, INSUFFICIENT_WATT."""
    state, cycle = execution.state, height_key(payload.cycle)
    bill = BILLS.get(state, cycle, account)
    if bill is None:
        raise TransactionRefused(
            Refusal.BILL_NOT_RECORDED, f"no bill of cycle {payload.cycle} is recorded for the account"
        )
    if bill.paid_height:
        raise TransactionRefused(
            Refusal.BILL_PAID,
            f"the bill of cycle {payload.cycle} has left nothing to pay since block {bill.paid_height}",
        )
    take_watt(state, account, bill.to_pay_uwatt)
    amounts = to_pay(claims_of(state, payload.cycle, account))
    assert sum(amounts.values()) == bill.to_pay_uwatt, "a closed cycle's claims do not change"
    for creditor, amount_uwatt in amounts.items():
        give_watt(state, creditor, amount_uwatt)
        execution.concern(creditor)
        _tell_paid(execution, payload.cycle, account, creditor, -amount_uwatt)
        _tell_paid(execution, payload.cycle, creditor, account, amount_uwatt)
    BILLS.put(state, replace(bill, paid_height=execution.height), cycle, account)
    DUE_BILLS.delete(state, height_key(bill.due_ms), cycle, account)
    ARREARS.delete(state, account, cycle)
    found = BILLING_CYCLES.get(state, cycle)
    assert found is not None, "a cycle is kept as long as a bill of it is unpaid"
    BILLING_CYCLES.put(state, replace(found, unpaid=found.unpaid - 1), cycle)


def _record(execution: Execution, cycle: int, member: bytes) -> bool:
    """Writes one bill; True if it leaves something to pay."""
    state, parameters = execution.state, execution.parameters
    claims = claims_of(state, cycle, member)
    amount_uwatt = sum(to_pay(claims).values())
    bill = Bill(
        recorded_height=execution.height,
        due_ms=execution.time_ms + parameters.payment_term_ms,
        to_pay_uwatt=amount_uwatt,
        to_receive_uwatt=sum(to_receive(claims).values()),
        paid_height=0 if amount_uwatt else execution.height,
    )
    BILLS.put(state, bill, height_key(cycle), member)
    if amount_uwatt:
        DUE_BILLS.put(state, DueBill(amount_uwatt=amount_uwatt), height_key(bill.due_ms), height_key(cycle), member)
    return amount_uwatt > 0


def _tell_paid(execution: Execution, cycle: int, account: bytes, other: bytes, balance_uwatt: int) -> None:
    execution.effects.append(
        Effect(
            kind=EffectKind.BILL_PAID,
            transaction=execution.index,
            account=account,
            other=other,
            period=(cycle + 1) * execution.parameters.billing_cycle_periods - 1,
            side=0,
            order=0,
            trade=0,
            energy_wh=0,
            price=0,
            rate=0,
            balance_uwatt=balance_uwatt,
        )
    )


def _require_settled_energy(state: State, cycle: int, member: bytes) -> None:
    """Errors: BrokenInvariant."""
    found = CYCLE_MEMBERS.get(state, height_key(cycle), member)
    assert found is not None
    settled_wh = found.import_wh - found.export_wh
    if member == gateway_of(state):
        others = (one for _, one in CYCLE_MEMBERS.scan(state, height_key(cycle)))
        settled_wh -= sum(one.import_wh - one.export_wh for one in others)
    billed_wh = found.received_wh - found.delivered_wh
    if billed_wh != settled_wh:
        raise BrokenInvariant(f"cycle {cycle}, {member.hex()}: {billed_wh} Wh billed, {settled_wh} Wh settled")


RULES: Final[dict[Kind, Rule[Any]]] = {
    Kind.RECORD_BILLS: Rule(check_record, apply_record),
    Kind.PAY_BILL: Rule(check_pay, apply_pay),
}

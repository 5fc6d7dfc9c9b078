"""What must hold of all bills of a chain, at any time."""

from __future__ import annotations

from collections import defaultdict

from ledger.billing.bills import billed_line, members_of, prepare
from ledger.market.terms import gateway_of
from ledger.records import (
    ARREARS,
    BILL_LINES,
    BILLING_CYCLES,
    BILLS,
    CLAIMS,
    CYCLE_MEMBERS,
    DUE_BILLS,
    SETTLED_PERIODS,
    Claim,
    height_key,
)
from ledger.state import State


def require_balanced_bills(state: State) -> None:
    """The bills of every cycle whose lines are kept sum to zero and agree line by line; claims, energy and the escrow's
    part follow from the lines; what is unpaid is due or in arrears, and nothing else.
    """
    gateway = gateway_of(state)
    for cycle in sorted({int.from_bytes(key[:8], "big") for key, _ in BILL_LINES.scan(state)}):
        assert gateway is not None
        _require_balanced(state, cycle, gateway)
    _require_index_of_unpaid(state)
    _require_energy(state)


def _require_balanced(state: State, cycle: int, gateway: bytes) -> None:
    lines = [billed_line(key, line) for key, line in BILL_LINES.scan(state, height_key(cycle))]
    bills = [bill for bill in (prepare(state, cycle, member) for member in members_of(state, cycle)) if bill]
    assert sum(bill.cost_uwatt for bill in bills) == 0
    assert sum(bill.to_pay_uwatt for bill in bills) == sum(bill.to_receive_uwatt for bill in bills)
    shown = [line for bill in bills for line in bill.lines]
    assert sorted(shown) == sorted(2 * lines), "each line is on both parties' bills"
    owed: dict[tuple[bytes, bytes], int] = defaultdict(int)
    for line in lines:
        if not line.from_escrow:
            owed[line.debtor, line.creditor] += line.amount_uwatt
            owed[line.debtor, gateway] += line.fee_uwatt
    claims = {(key[8:40], key[40:]): claim for key, claim in CLAIMS.scan(state, height_key(cycle))}
    pairs = {pair for pair, amount in owed.items() if amount}
    expected = {
        (one, other): Claim(owed_uwatt=owed[one, other], due_uwatt=owed[other, one])
        for one, other in pairs | {pair[::-1] for pair in pairs}
    }
    assert {pair: claim for pair, claim in claims.items() if claim != Claim()} == expected
    for bill in bills:
        mine = [line for line in bill.lines if line.debtor == bill.member]
        others = [line for line in bill.lines if line.creditor == bill.member]
        assert bill.sums.received_wh == sum(line.energy_wh for line in mine)
        assert bill.sums.delivered_wh == sum(line.energy_wh for line in others)
        assert bill.sums.escrow_paid_uwatt == sum(
            line.amount_uwatt + line.fee_uwatt for line in mine if line.from_escrow
        )
        if bill.member != gateway:
            assert bill.sums.received_wh - bill.sums.delivered_wh == bill.sums.import_wh - bill.sums.export_wh
        escrow = bill.sums.escrow_paid_uwatt - bill.sums.escrow_received_uwatt
        assert bill.cost_uwatt == escrow + bill.to_pay_uwatt - bill.to_receive_uwatt


def _require_index_of_unpaid(state: State) -> None:
    unpaid = {(key[:8], key[8:]): bill.to_pay_uwatt for key, bill in BILLS.scan(state) if bill.paid_height == 0}
    due = {(key[8:16], key[16:]): one.amount_uwatt for key, one in DUE_BILLS.scan(state)}
    late = {(key[32:], key[:32]): one.amount_uwatt for key, one in ARREARS.scan(state)}
    assert not due.keys() & late.keys()
    assert due | late == unpaid
    for key, cycle in BILLING_CYCLES.scan(state):
        recorded = [bill for _, bill in BILLS.scan(state, key)]
        assert cycle.members == sum(1 for _ in CYCLE_MEMBERS.scan(state, key))
        assert (cycle.recorded, cycle.unpaid) == (len(recorded), sum(bill.paid_height == 0 for bill in recorded))


def _require_energy(state: State) -> None:
    """What the gateway sold less what it bought, over all cycles, is all that was settled and corrected."""
    gateway = gateway_of(state)
    if gateway is None:
        assert not list(CYCLE_MEMBERS.scan(state))
        return
    sums = {key[8:]: [0, 0] for key, _ in CYCLE_MEMBERS.scan(state)}
    for key, one in CYCLE_MEMBERS.scan(state):
        sums[key[8:]][0] += one.received_wh - one.delivered_wh
        sums[key[8:]][1] += one.import_wh - one.export_wh
    assert sum(billed_wh for billed_wh, _ in sums.values()) == 0
    settled = sum(one.periods - one.estimated_periods for _, one in CYCLE_MEMBERS.scan(state))
    assert settled == sum(one.metered for _, one in SETTLED_PERIODS.scan(state))

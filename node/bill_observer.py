"""The events of a block about bills, from what it changed."""

from __future__ import annotations

from consensus.chain_rules import ExecutedBlock
from ledger.encoding import decode
from ledger.records import ARREARS, BILLS, SETTLED_PERIODS, Arrears, Bill
from ledger.state import MAX_RECORD_BYTES
from node.client.events import BillInArrears, BillPaid, BillRecorded, CycleClosed, NodeEvent
from node.views.reader import Reader

_KEY_BYTES = 32


def bill_events(reader: Reader, executed: ExecutedBlock) -> list[NodeEvent]:
    """Cycles that closed; bills that were recorded, came into arrears, were paid."""
    height = executed.block.header.height
    events: list[NodeEvent] = []
    for key, data in executed.result.changes.items():
        if data is None:
            continue
        if key.startswith(SETTLED_PERIODS.prefix):
            following = int.from_bytes(key[1:], "big") + 1
            if following % reader.parameters.billing_cycle_periods == 0:
                cycle = following // reader.parameters.billing_cycle_periods - 1
                events.append(CycleClosed(height=height, cycle=cycle))
        elif key.startswith(BILLS.prefix):
            bill = decode(data, Bill, MAX_RECORD_BYTES)
            events += _bill(reader, height, int.from_bytes(key[1:9], "big"), key[-_KEY_BYTES:], bill)
        elif key.startswith(ARREARS.prefix):
            arrears = decode(data, Arrears, MAX_RECORD_BYTES)
            events.append(
                BillInArrears(
                    height=height,
                    member=reader.party(key[1 : 1 + _KEY_BYTES]),
                    cycle=int.from_bytes(key[-8:], "big"),
                    amount_uwatt=arrears.amount_uwatt,
                )
            )
    return events


def _bill(reader: Reader, height: int, cycle: int, member: bytes, bill: Bill) -> list[NodeEvent]:
    events: list[NodeEvent] = []
    if bill.recorded_height == height:
        events.append(
            BillRecorded(
                height=height,
                member=reader.party(member),
                cycle=cycle,
                to_pay_uwatt=bill.to_pay_uwatt,
                to_receive_uwatt=bill.to_receive_uwatt,
                due_ms=bill.due_ms,
            )
        )
    if bill.paid_height == height and bill.to_pay_uwatt:
        events.append(BillPaid(height=height, member=reader.party(member), cycle=cycle, amount_uwatt=bill.to_pay_uwatt))
    return events

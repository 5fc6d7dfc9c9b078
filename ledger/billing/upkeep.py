"""What every block does about bills.

1. A bill that is unpaid after its due time comes into arrears, the oldest first, at most ``MAX_NOTED`` in a block; its
   member pays for being late under its contracts (``contracts.late``). It leaves them when it is paid.
2. A cycle's lines and claims are forgotten when nobody can need them any more: all its bills are recorded and paid, and
   ``history_periods`` have been settled since it closed, so that its trades are gone as well. At an epoch's end, at
   most ``MAX_FORGOTTEN`` at a time. The bills and the members' sums stay.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from ledger.contracts.late import fine_late
from ledger.execution import Execution
from ledger.records import ARREARS, BILL_LINES, BILLING_CYCLES, CLAIMS, DUE_BILLS, Arrears
from ledger.settlement.lines import next_period
from ledger.state import State, Table

MAX_NOTED: Final = 256
MAX_FORGOTTEN: Final = 4_096


def note_arrears(execution: Execution) -> None:
    """Before the block's transactions."""
    state = execution.state
    for key, bill in islice(DUE_BILLS.scan(state), MAX_NOTED):
        if int.from_bytes(key[:8], "big") >= execution.time_ms:
            return
        cycle, member = key[8:16], key[16:]
        ARREARS.put(state, Arrears(amount_uwatt=bill.amount_uwatt, since_height=execution.height), member, cycle)
        DUE_BILLS.delete(state, key)
        fine_late(execution, int.from_bytes(cycle, "big"), member)


def forget_lines(execution: Execution) -> None:
    """At an epoch's last block."""
    state, parameters = execution.state, execution.parameters
    left = MAX_FORGOTTEN
    for cycle, found in BILLING_CYCLES.scan(state):
        end = (int.from_bytes(cycle, "big") + 1) * parameters.billing_cycle_periods
        if end + parameters.history_periods > next_period(state):
            return
        if found.recorded < found.members or found.unpaid:
            continue
        left = _forget(state, BILL_LINES, cycle, left)
        left = _forget(state, CLAIMS, cycle, left)
        if not left:
            return
        BILLING_CYCLES.delete(state, cycle)


def _forget(state: State, table: Table[Any], cycle: bytes, most: int) -> int:
    """Deletes at most so many records of the cycle; returns how many more may be."""
    keys = [key for key, _ in islice(table.scan(state, cycle), most)]
    for key in keys:
        table.delete(state, key)
    return most - len(keys)

"""What is owed, summed up for the bills: by cycle, debtor, creditor, title, price and kind.

A cycle is a range of ``billing_cycle_periods`` periods; a line belongs to the cycle of its period, a correction to the
one that is open when it is made. ``cycle_sums`` keeps up what the lines come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.effects import SettledLine
from ledger.execution import Execution
from ledger.records import BILL_LINES, SETTLEMENT_PROGRESS, BillLine, LineKind, height_key
from ledger.settlement.cycle_sums import add_lines
from ledger.settlement.settle import Line
from ledger.settlement.titles import Title
from ledger.state import State

_Key = tuple[bytes, bytes, int, int, LineKind]


def cycle_of(execution: Execution, period: int) -> int:
    return period // execution.parameters.billing_cycle_periods


def open_cycle(execution: Execution) -> int:
    """The cycle of the next period to settle."""
    return cycle_of(execution, next_period(execution.state))


def next_period(state: State) -> int:
    """All periods before it are settled."""
    progress = SETTLEMENT_PROGRESS.get(state)
    assert progress is not None, "the genesis says where settlement begins"
    return progress.next_period


def record_lines(state: State, cycle: int, lines: Sequence[Line], kind: LineKind | None = None) -> None:
    """Adds lines to a cycle's sums. ``kind`` None: metered or estimated, as each line says."""
    sums: dict[_Key, tuple[int, int, int]] = {}
    for line in lines:
        line_kind = kind or _kind(line)
        key = (line.debtor, line.creditor, int(line.title), line.price, line_kind)
        energy_wh, amount, fee = sums.get(key, (0, 0, 0))
        sums[key] = (energy_wh + line.energy_wh, amount + line.amount_uwatt, fee + line.fee_uwatt)
    for (debtor, creditor, title, price, line_kind), (energy_wh, amount, fee) in sums.items():
        place = (height_key(cycle), debtor, creditor, bytes((title,)), height_key(price), bytes((line_kind,)))
        before = BILL_LINES.get(state, *place) or BillLine(energy_wh=0, amount_uwatt=0, fee_uwatt=0)
        BILL_LINES.put(
            state,
            BillLine(
                energy_wh=before.energy_wh + energy_wh,
                amount_uwatt=before.amount_uwatt + amount,
                fee_uwatt=before.fee_uwatt + fee,
            ),
            *place,
        )
    add_lines(state, cycle, lines)


def tell_lines(execution: Execution, period: int, lines: Iterable[Line], kind: LineKind | None = None) -> None:
    """Says beside the block what was settled for ``period``, but for trades. ``kind`` as in ``record_lines``."""
    cycle = open_cycle(execution)
    execution.lines += (
        SettledLine(
            cycle=cycle,
            period=period,
            title=line.title,
            kind=kind or _kind(line),
            debtor=line.debtor,
            creditor=line.creditor,
            energy_wh=line.energy_wh,
            price=line.price,
            amount_uwatt=line.amount_uwatt,
            fee_uwatt=line.fee_uwatt,
        )
        for line in lines
        if line.title is not Title.TRADE
    )


def _kind(line: Line) -> LineKind:
    return LineKind.ESTIMATED if line.estimated else LineKind.METERED

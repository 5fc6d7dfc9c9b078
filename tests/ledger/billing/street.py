"""A street whose cycles have two periods: what bills are tested on."""

from __future__ import annotations

from msgspec.structs import replace

from ledger.billing.bills import PreparedBill, prepare
from ledger.block import Receipt
from ledger.records import Bill
from ledger.refusal import Refusal
from ledger.settlement.lines import next_period
from ledger.transactions import PayBill, PlaceOrder, RecordBills, Transaction
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    PARAMETERS,
    PERIOD_MS,
    UTILITY,
    Neighbourhood,
    account_key,
    make_genesis,
)

CYCLE_PERIODS = 2
CYCLE = FIRST_PERIOD // CYCLE_PERIODS
TERM_MS = 30_000
NAMES = {account_key(name).public_key: name for name in ("anne", "bob", "carla", "george", UTILITY)}

assert CYCLE * CYCLE_PERIODS == FIRST_PERIOD, "the chain begins with a cycle"


def billed_street(*, history_periods: int = 2, **genesis: object) -> Neighbourhood:
    parameters = replace(
        PARAMETERS,
        billing_cycle_periods=CYCLE_PERIODS,
        payment_term_ms=TERM_MS,
        history_periods=history_periods,
        forward_periods=20,
    )
    return Neighbourhood(make_genesis(parameters=parameters, with_gateway=True, **genesis))  # type: ignore[arg-type]


def end_period(made: Neighbourhood, period: int) -> None:
    """The next block comes 2 s after the period's end."""
    made.time_ms = max(made.time_ms, (period + 1) * PERIOD_MS)


def traded_cycle(made: Neighbourhood) -> None:
    """The first cycle, closed. In its second period bob has bought 300 Wh from george at 150,000 uwatt per kWh; all
    meters are read in both.

    Energies (import, export) of the first period: anne (150, 900), bob (400, 0), carla (0, 0), george (50, 2,000); of
    the second: bob (500, 0), george (0, 200), nobody else anything. So george is short of 100 Wh.
    """
    period = FIRST_PERIOD + 1
    for name, side in (("george", 2), ("bob", 1)):
        made.block(made.sign(name, PlaceOrder(side, (period,), energy_wh=300, limit_uwatt_per_kwh=150_000)))
    end_period(made, FIRST_PERIOD)
    made.block(*_readings(made, FIRST_PERIOD, anne=(150, 900), bob=(400, 0), carla=(0, 0), george=(50, 2_000)))
    end_period(made, period)
    made.block(*_readings(made, period, anne=(150, 900), bob=(900, 0), carla=(0, 0), george=(50, 2_200)))
    while next_period(made.state) <= period:
        made.block()


def record(made: Neighbourhood, cycle: int = CYCLE, page: int = 0, sender: str = "carla") -> Refusal | None:
    return made.refusal(made.sign(sender, RecordBills(cycle=cycle, page=page)))


def pay(made: Neighbourhood, name: str, cycle: int = CYCLE) -> Refusal | None:
    return made.refusal(made.sign(name, PayBill(cycle=cycle)))


def pay_with_others(made: Neighbourhood, *names: str) -> list[Receipt]:
    return made.block(*(made.sign(name, PayBill(cycle=CYCLE)) for name in names))


def bill_of(made: Neighbourhood, name: str, cycle: int = CYCLE) -> PreparedBill:
    found = prepare(made.state, cycle, account_key(name).public_key)
    assert found is not None
    return found


def recorded_bill(made: Neighbourhood, name: str, cycle: int = CYCLE) -> Bill:
    found = bill_of(made, name, cycle).recorded
    assert found is not None
    return found


def _readings(made: Neighbourhood, period: int, **registers: tuple[int, int]) -> list[Transaction]:
    return [made.reading(name, period, *one) for name, one in registers.items()]

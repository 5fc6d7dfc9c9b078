"""A bill that is not paid in time: what the collateral is for."""

from __future__ import annotations

from msgspec.structs import replace

from ledger.agreements import CONTRACT_SUBSCRIPTIONS
from ledger.contracts.templates import TEMPLATES, Sureties, sureties
from ledger.effects import EffectKind
from ledger.records import ACCOUNTS, ARREARS
from ledger.refusal import Refusal
from ledger.transactions import EndContract, PayBill, RecordBills, Transfer
from tests.ledger.agreed import (
    NEXT,
    SIX_IN_THE_MORNING,
    do,
    key,
    meter,
    offer,
    settle_up_to,
    spent_uwatt,
    street,
    subscription,
)
from tests.ledger.neighbourhood import Neighbourhood

PERIODS = 40
CYCLE = 2
TERM_MS = 10_000
PARAMETERS = replace(SIX_IN_THE_MORNING, billing_cycle_periods=CYCLE, payment_term_ms=TERM_MS)


def surety(periods: int = PERIODS) -> Sureties:
    return sureties(TEMPLATES[1], PARAMETERS, 500, 150_000, periods)


def billed() -> tuple[Neighbourhood, int]:
    """George delivers 200 Wh to anne and none to bob; the cycle's bills are recorded. Returns the cycle."""
    made = street(parameters=PARAMETERS)
    assert do(made, "george", offer(end=NEXT + PERIODS)) is None
    for name in ("anne", "bob"):
        assert do(made, name, subscription()) is None
    meter(made, NEXT, george=(200, 0), anne=(0, 200), bob=(0, 0))
    cycle = NEXT // CYCLE
    settle_up_to(made, (cycle + 1) * CYCLE - 1)
    assert do(made, "carla", RecordBills(cycle=cycle, page=0)) is None
    return made, cycle


def collaterals(made: Neighbourhood) -> dict[str, int]:
    names = {key(name): name for name in ("anne", "bob")}
    return {names[place[8:40]]: one.collateral_uwatt for place, one in CONTRACT_SUBSCRIPTIONS.scan(made.state)}


def fall_into_arrears(made: Neighbourhood) -> None:
    made.block(after_ms=TERM_MS + 2_000, producer="carla")


def test_who_pays_late_pays_the_seller_out_of_its_collateral_once() -> None:
    made, cycle = billed()
    before = spent_uwatt(made, "george")
    # When the term is over
    fall_into_arrears(made)
    # Then anne, who owes george, has paid; bob, who owes only the utility, has not
    assert ARREARS.get(made.state, key("anne"), cycle.to_bytes(8, "big")) is not None
    late_uwatt = surety().late_uwatt
    assert late_uwatt > 0
    assert collaterals(made) == {
        "anne": surety().collateral_uwatt - late_uwatt,
        "bob": surety().collateral_uwatt,
    }
    assert spent_uwatt(made, "george") == before - late_uwatt
    told = [one for one in made.last_result.effects if one.kind == EffectKind.CONTRACT_PENALTY]
    assert [(one.account, one.balance_uwatt) for one in told] == [(key("george"), late_uwatt), (key("anne"), 0)]
    made.block(producer="carla")
    assert collaterals(made)["anne"] == surety().collateral_uwatt - late_uwatt


def test_who_pays_in_time_pays_nothing() -> None:
    made, cycle = billed()
    for name in ("anne", "bob"):
        do(made, name, PayBill(cycle=cycle))
    fall_into_arrears(made)
    assert set(collaterals(made).values()) == {surety().collateral_uwatt}


def test_what_the_collateral_does_not_reach_for_ending_is_paid_by_the_account() -> None:
    # Given a collateral that paying late has used up
    made, _ = billed()
    state = made.state
    ((place, record),) = [one for one in CONTRACT_SUBSCRIPTIONS.scan(state) if one[0][8:40] == key("anne")]
    CONTRACT_SUBSCRIPTIONS.put(state, replace(record, collateral_uwatt=0), place)
    account = made.account("anne")
    ACCOUNTS.put(state, replace(account, watt_uwatt=account.watt_uwatt + record.collateral_uwatt), key("anne"))
    made.reader.apply(state.changes())
    rest = made.account("anne").watt_uwatt
    do(made, "anne", Transfer(recipient=key("bob"), token=1, amount=rest - 3_000, memo=""))
    assert do(made, "anne", EndContract(1)) is Refusal.INSUFFICIENT_WATT
    do(made, "bob", Transfer(recipient=key("anne"), token=1, amount=10**8, memo=""))
    before = spent_uwatt(made, "anne"), spent_uwatt(made, "george")
    assert do(made, "anne", EndContract(1)) is None
    early_uwatt = surety().early_uwatt
    assert (spent_uwatt(made, "anne") - before[0], spent_uwatt(made, "george") - before[1]) == (
        early_uwatt,
        -early_uwatt,
    )

"""Bills: not paid, paid twice, paid for somebody else, and bills that are not what was settled."""

from __future__ import annotations

from ledger.agreements import PoolRole
from ledger.balances import get_account
from ledger.billing.bills import prepare
from ledger.records import ARREARS, BILLS, height_key
from ledger.refusal import Refusal
from ledger.settlement.settle import PoolRule
from ledger.settlement.titles import Title
from ledger.transactions import JoinPool, OpenPool, PayBill, RecordBills, Token, Transfer
from tests.adversary.economics.world import FEE_UWATT, HOMES, PRODUCER, RETAIL, SAME_FEEDER_FEE, World, kwh
from tests.ledger.neighbourhood import UTILITY, account_key

CYCLE_PERIODS = 4
TERM_MS = 20_000
POOL_PRICE = 100_000
DAY = {"bob": (0, 1_000), "carla": (1_000, 0)}


def pooled() -> tuple[World, int]:
    """Bob shares with carla, who takes a kWh in each period of a cycle; it is settled and recorded."""
    world = World(billing_cycle_periods=CYCLE_PERIODS, payment_term_ms=TERM_MS)
    world.done("bob", OpenPool("two", int(PoolRole.PRODUCER), int(PoolRule.PROPORTIONAL), POOL_PRICE, ()))
    world.done("carla", JoinPool(1, int(PoolRole.CONSUMER), 0, RETAIL))
    world.pass_period()
    while world.running % CYCLE_PERIODS:
        world.pass_period()
    cycle = world.running // CYCLE_PERIODS
    for _ in range(CYCLE_PERIODS):
        world.pass_period(DAY)
    world.settle((cycle + 1) * CYCLE_PERIODS - 1)
    world.done("george", RecordBills(cycle, 0))
    return world, cycle


def owes(world: World, name: str, cycle: int) -> int:
    bill = BILLS.get(world.street.state, height_key(cycle), account_key(name).public_key)
    assert bill is not None
    return 0 if bill.paid_height else bill.to_pay_uwatt


def energy_by_title(world: World, name: str, title: Title) -> int:
    account = account_key(name).public_key
    return sum(line.energy_wh for debtor, _, found, _, line in world.lines() if (debtor, found) == (account, title))


def test_who_does_not_pay_its_neighbours_buys_of_the_utility_from_then_on() -> None:
    """Nothing but her word secures what carla takes out of the pool; once it is broken, she is no burden to it."""
    world, cycle = pooled()
    assert owes(world, "carla", cycle) == kwh(4_000, POOL_PRICE + SAME_FEEDER_FEE)
    pooled_wh = energy_by_title(world, "carla", Title.POOL)
    # When her bill is overdue
    for _ in range(3):
        world.pass_period()
    assert ARREARS.get(world.street.state, account_key("carla").public_key, height_key(cycle)) is not None
    world.settle(world.running - 1)
    world.pass_period()
    period = world.pass_period(DAY)
    world.settle(period)
    # Then she pays retail, and bob is owed no more by her than before
    assert energy_by_title(world, "carla", Title.POOL) == pooled_wh
    assert energy_by_title(world, "carla", Title.RETAIL) >= 1_000
    assert owes(world, "carla", cycle) > 0, "and the old bill stands"
    # When she pays, she is in again
    world.done("carla", PayBill(cycle))
    world.pass_period()
    period = world.pass_period(DAY)
    world.settle(period)
    assert energy_by_title(world, "carla", Title.POOL) == pooled_wh + 1_000


def test_a_bill_is_paid_whole_or_not_at_all_and_once() -> None:
    """Carla moves her tokens away before she is to pay: then nothing is paid, and she cannot pay twice for less."""
    world, cycle = pooled()
    account = world.street.account("carla").watt_uwatt
    away = Transfer(account_key("george").public_key, Token.WATT, account - 10 * FEE_UWATT, "")
    world.done("carla", away)
    bob = world.street.account("bob").watt_uwatt
    assert world.act("carla", PayBill(cycle)) is Refusal.INSUFFICIENT_WATT
    assert world.street.account("bob").watt_uwatt == bob
    back = Transfer(account_key("carla").public_key, Token.WATT, account - 10 * FEE_UWATT, "")
    world.done("george", back)
    world.done("carla", PayBill(cycle))
    assert world.street.account("bob").watt_uwatt == bob + kwh(4_000, POOL_PRICE)
    assert world.act("carla", PayBill(cycle)) is Refusal.BILL_PAID
    assert world.street.account("bob").watt_uwatt == bob + kwh(4_000, POOL_PRICE)


def test_nobody_pays_with_somebody_elses_tokens_nor_for_what_it_has_not_used() -> None:
    """A payment names a cycle and nothing else: it is the sender's own bill."""
    world, cycle = pooled()
    before = {name: world.street.account(name).watt_uwatt for name in HOMES}
    assert world.act("george", PayBill(cycle)) is Refusal.BILL_PAID, "he used nothing"
    world.done("carla", PayBill(cycle))
    after = {name: world.street.account(name).watt_uwatt for name in HOMES}
    assert after["george"] == before["george"] - FEE_UWATT
    assert after["carla"] == before["carla"] - FEE_UWATT - kwh(4_000, POOL_PRICE + SAME_FEEDER_FEE)
    stranger = Transfer(account_key("stranger").public_key, Token.WATT, 10 * FEE_UWATT, "")
    world.done("george", stranger)
    assert world.act("stranger", PayBill(cycle)) is Refusal.BILL_NOT_RECORDED


def test_a_record_says_nothing_but_which_page() -> None:
    """There is no false bill to record: what is written follows from the state, whoever sends it, and only once."""
    world, cycle = pooled()
    assert RecordBills.__struct_fields__ == ("cycle", "page")
    for name in HOMES:
        account = account_key(name).public_key
        prepared = prepare(world.street.state, cycle, account)
        assert prepared is not None
        assert prepared.recorded is not None
        assert prepared.recorded.to_pay_uwatt == prepared.to_pay_uwatt
    assert world.act("carla", RecordBills(cycle, 0)) is Refusal.BILLS_RECORDED
    assert world.act("carla", RecordBills(cycle + 1, 0)) is Refusal.CYCLE_OPEN
    assert world.act("carla", RecordBills(cycle, 1)) is Refusal.UNKNOWN_PAGE


def test_when_all_have_paid_the_claims_are_gone_and_the_tokens_are_where_they_belong() -> None:
    world, cycle = pooled()
    claims = {name: world.purse_uwatt(name) for name in (*HOMES, UTILITY)}
    for name in (*HOMES, UTILITY):
        if owes(world, name, cycle):
            world.done(name, PayBill(cycle))
            claims[name] -= FEE_UWATT
            claims[PRODUCER] += FEE_UWATT
    for name in (*HOMES, UTILITY):
        assert get_account(world.street.state, account_key(name).public_key).watt_uwatt == claims[name], name

"""The golden example lived through in real blocks: a contract, trades and a pool, to the uwatt."""

from __future__ import annotations

from collections import Counter

from ledger.agreements import CONTRACT_DELIVERIES, ContractDelivery
from ledger.contracts.templates import TEMPLATES, sureties
from ledger.market.matching import Side
from ledger.records import SETTLED_PERIODS, height_key
from ledger.settlement.titles import Title
from ledger.transactions import JoinPool, PlaceOrder
from tests.ledger.agreed import (
    FEE,
    NEXT,
    PERIODS,
    do,
    key,
    lines,
    meter,
    offer,
    pool,
    spent_uwatt,
    street,
    subscription,
)
from tests.ledger.neighbourhood import UTILITY, WATT_UWATT, Neighbourhood

BUY, SELL = int(Side.BUY), int(Side.SELL)
COLLATERAL_UWATT = 52_500


def agree(made: Neighbourhood) -> None:
    """Everything the example presupposes, before the gate of ``NEXT`` closes."""
    payloads = [
        ("george", offer(500, 150_000)),
        ("anne", subscription(500)),
        ("george", PlaceOrder(SELL, (NEXT,), 700, 200_000)),
        ("bob", PlaceOrder(BUY, (NEXT,), 700, 220_000)),
        ("anne", PlaceOrder(SELL, (NEXT,), 200, 180_000)),
        ("carla", PlaceOrder(BUY, (NEXT,), 200, 180_000)),
        ("george", pool(("anne", 5_000), ("bob", 3_000), ("carla", 2_000), rule=3, price=100_000)),
        *((name, JoinPool(1, 2, 0, 100_000)) for name in ("anne", "bob", "carla")),
    ]
    for name, payload in payloads:
        assert do(made, name, payload) is None, payload  # type: ignore[arg-type]


def test_the_golden_example_in_blocks() -> None:
    # Given the agreements of the example
    made = street()
    agree(made)
    surety = sureties(TEMPLATES[1], made.parameters, 500, 150_000, PERIODS)
    assert surety.collateral_uwatt == COLLATERAL_UWATT
    assert FEE == 24_000
    # When the meters say what the example says
    meter(made, NEXT, anne=(150, 900), bob=(0, 400), carla=(0, 1_000), george=(2_000, 50))
    # Then the lines are the example's
    found = lines(made)
    assert found == sorted(
        [
            (Title.CONTRACT, "anne", "george", 500, 75_000, 12_000),
            (Title.TRADE, "bob", "george", 700, 140_000, 16_800),
            (Title.TRADE, "carla", "anne", 200, 36_000, 4_800),
            (Title.POOL, "anne", "george", 400, 40_000, 9_600),
            (Title.POOL, "carla", "george", 400, 40_000, 9_600),
            (Title.SHORTFALL, "anne", UTILITY, 50, 15_000, 0),
            (Title.EXCESS, UTILITY, "bob", 300, 24_000, 0),
            (Title.RETAIL, "carla", UTILITY, 400, 120_000, 0),
            (Title.RETAIL, "george", UTILITY, 50, 15_000, 0),
        ]
    )
    # and so is what everybody has in the end
    net: Counter[str] = Counter()
    for _, debtor, creditor, _, amount, fee in found:
        net[debtor] -= amount + fee
        net[creditor] += amount
        net[UTILITY] += fee
    assert net == {
        "anne": -115_600,
        "bob": -132_800,
        "carla": -210_400,
        "george": 280_000,
        UTILITY: 178_800,
    }
    # of which trades and shortfall have been paid out of escrow; anne's collateral is still held, and carla, who
    # produced the blocks, has the fees of ten transactions
    assert spent_uwatt(made, "bob") == 140_000 + 16_800
    assert spent_uwatt(made, "carla") == 36_000 + 4_800 - 10 * 1_000
    assert spent_uwatt(made, "george") == -140_000
    assert spent_uwatt(made, "anne") == -36_000 + 15_000 + COLLATERAL_UWATT
    assert made.account(UTILITY).watt_uwatt == WATT_UWATT + 16_800 + 4_800 + 15_000


def test_the_period_in_sum_and_the_contract_s_account() -> None:
    made = street()
    agree(made)
    meter(made, NEXT, anne=(150, 900), bob=(0, 400), carla=(0, 1_000), george=(2_000, 50))
    summary = SETTLED_PERIODS.get(made.state, height_key(NEXT))
    assert summary is not None
    assert (summary.contract_wh, summary.trade_wh, summary.pool_wh) == (500, 900, 800)
    assert (summary.fed_in_wh, summary.excess_wh, summary.drawn_wh, summary.shortfall_wh) == (0, 300, 450, 50)
    # NEXT is the second quarter of the hour by which a residential contract is accounted for
    assert list(CONTRACT_DELIVERIES.scan(made.state)) == [
        (
            height_key(NEXT - 1) + height_key(1) + key("anne"),
            ContractDelivery(energy_wh=500, amount_uwatt=75_000, fee_uwatt=12_000),
        )
    ]


def test_deliveries_of_an_hour_add_up_and_are_forgotten_in_time() -> None:
    from msgspec.structs import replace

    from tests.ledger.agreed import SIX_IN_THE_MORNING, settle_up_to
    from tests.ledger.neighbourhood import PERIOD_MS

    made = street(parameters=replace(SIX_IN_THE_MORNING, history_periods=3))
    assert do(made, "george", offer(500, 150_000)) is None
    assert do(made, "anne", subscription(500)) is None
    for index in range(2):
        made.time_ms = (NEXT + index + 1) * PERIOD_MS
        readings = [
            made.reading(name, NEXT + at, 100 * (at + 1) * (name == "anne"), 100 * (at + 1) * (name == "george"))
            for name in ("anne", "george")
            for at in ((-1, 0) if index == 0 else (1,))
        ]
        made.block(*readings, producer="carla")
    settle_up_to(made, NEXT + 1)
    assert [one.energy_wh for _, one in CONTRACT_DELIVERIES.scan(made.state)] == [200]
    settle_up_to(made, NEXT + 2)
    assert not list(CONTRACT_DELIVERIES.scan(made.state))

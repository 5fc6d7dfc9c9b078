"""Between retail and feed-in, and between whole numbers: two connections of one purse, prices at the border of a tick,
and what thousands of tiny lots leave over.
"""

from __future__ import annotations

import pytest

from ledger.market.grid_fee import FeeModel, amount_uwatt
from ledger.refusal import Refusal
from ledger.transactions import PlaceOrder
from tests.adversary.economics.world import (
    BUY,
    FEE_UWATT,
    FEED_IN,
    RETAIL,
    SAME_FEEDER_FEE,
    SELL,
    World,
    kwh,
)
from tests.ledger.neighbourhood import UTILITY, WATT_UWATT

EVERYBODY = ("anne", "bob", "carla", "george", UTILITY)


@pytest.mark.parametrize("price", [FEED_IN, RETAIL])
def test_energy_that_goes_round_between_two_connections_earns_nothing(price: int) -> None:
    """Bob feeds in what carla takes out, a cable between their houses brings it back: round and round."""
    world = World()
    period = world.running + 1
    before = world.purse_uwatt("bob", "carla")
    world.trade("bob", "carla", period, 2_000, price)
    world.pass_period()
    world.pass_period({"bob": (0, 2_000), "carla": (2_000, 0)})
    world.settle(period)
    assert before - world.purse_uwatt("bob", "carla") == kwh(2_000, SAME_FEEDER_FEE) + 2 * FEE_UWATT


@pytest.mark.parametrize(("side", "price"), [(BUY, FEED_IN - 100), (SELL, FEED_IN - 100), (BUY, RETAIL + 100)])
def test_no_price_lies_outside_the_tariffs(side: int, price: int) -> None:
    world = World()
    assert world.order("bob", side, world.running + 1, 100, price) is Refusal.PRICE_OUT_OF_RANGE


@pytest.mark.parametrize("price", [FEED_IN, FEED_IN + 100, RETAIL - 100, RETAIL])
def test_at_the_borders_nobody_gains_at_the_utilitys_expense(price: int) -> None:
    """Bought at the one border and sold at the other by way of the gateway: everybody together have what they had."""
    world = World()
    period = world.running + 1
    before = world.purse_uwatt("bob", "carla")
    world.trade("bob", "carla", period, 1_000, price)
    world.pass_period()
    world.pass_period()
    world.settle(period)
    assert before - world.purse_uwatt("bob", "carla") >= kwh(1_000, RETAIL - FEED_IN)
    assert world.purse_uwatt(*EVERYBODY) == 5 * WATT_UWATT


@pytest.mark.parametrize("price", [100_100, 199_900, 299_700])
@pytest.mark.parametrize("fee_model", FeeModel)
def test_a_thousand_tiny_lots_cost_what_one_large_order_costs(price: int, fee_model: FeeModel) -> None:
    """Amount and fee of each lot are exact, so that cutting an order up leaves no dust with anybody."""

    def story(pieces: int) -> tuple[int, int]:
        world = World(max_open_orders=256, grid_fee_model=int(fee_model))
        street, period = world.street, world.running + 1
        for side, name in ((SELL, "bob"), (BUY, "carla")):
            orders = [PlaceOrder(side, (period,), 2_000 // pieces, price) for _ in range(pieces)]
            sent = [street.sign(name, one, nonce=number) for number, one in enumerate(orders)]
            assert all(receipt.reason is None for receipt in street.block(*sent, producer="anne", after_ms=50))
        world.pass_period()
        world.pass_period({"bob": (0, 1_333), "carla": (1_777, 0)})
        world.settle(period)
        return (
            world.purse_uwatt("bob") + pieces * FEE_UWATT,
            world.purse_uwatt("carla") + pieces * FEE_UWATT,
        )

    assert story(1) == story(200)


def test_half_a_lot_and_half_a_tick_are_refused() -> None:
    world = World()
    period = world.running + 1
    with pytest.raises(Exception, match="off_lot"):
        world.order("bob", BUY, period, 15, 100_000)
    with pytest.raises(Exception, match="off_tick"):
        world.order("bob", BUY, period, 10, 100_050)


def test_readings_of_a_watthour_leave_less_dust_than_a_transaction_costs() -> None:
    """Lines with the gateway are rounded down once a period: what a member can save so is below one uwatt each."""
    retail = RETAIL + 700
    world = World(retail_uwatt_per_kwh=retail)
    world.pass_period()
    for _ in range(30):
        world.pass_period({"bob": (1, 0)})
    world.settle(world.running - 1)
    owed = WATT_UWATT - world.purse_uwatt("bob")
    assert owed == 30 * amount_uwatt(1, retail)
    assert 0 < amount_uwatt(30, retail) - owed < 30 < FEE_UWATT

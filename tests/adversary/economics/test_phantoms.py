"""Energy that is not there, and trade for the sake of trade: sales of what nobody produces, alone or with somebody who
buys, and the same energy sold in a circle.
"""

from __future__ import annotations

import pytest

from ledger.records import ORIGINS
from ledger.refusal import Refusal
from ledger.transactions import Token, Transfer
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
from tests.ledger.neighbourhood import account_key

PRICES = (FEED_IN, 150_000, RETAIL)
SOLD_WH = 1_000


def phantom(price: int | None, *, needs_wh: int) -> tuple[int, int, int]:
    """Money of bob, who sells a kWh that he does not produce, of carla, who buys it and uses ``needs_wh``, and of the
    utility. Without a price nothing is sold.
    """
    world = World()
    period = world.running + 1
    if price is not None:
        world.trade("bob", "carla", period, SOLD_WH, price)
    world.pass_period()
    world.pass_period({"carla": (needs_wh, 0)})
    world.settle(period)
    assert not list(ORIGINS.scan(world.street.state)), "nobody has a certificate for what nobody produced"
    assert world.votes_mvote("bob", "carla") == 0
    return world.purse_uwatt("bob"), world.purse_uwatt("carla"), world.purse_uwatt("utility")


@pytest.mark.parametrize("price", PRICES)
def test_who_sells_what_it_has_not_pays_retail_for_it(price: int) -> None:
    honest, _, _ = phantom(None, needs_wh=SOLD_WH)
    seller, _, _ = phantom(price, needs_wh=SOLD_WH)
    assert seller - honest == kwh(SOLD_WH, price - RETAIL) - FEE_UWATT


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("needs_wh", [0, 600, SOLD_WH])
def test_with_an_accomplice_who_buys_they_lose_the_grid_fee_and_more(price: int, needs_wh: int) -> None:
    honest = sum(phantom(None, needs_wh=needs_wh)[:2])
    together = sum(phantom(price, needs_wh=needs_wh)[:2])
    not_needed = kwh(SOLD_WH - needs_wh, RETAIL - FEED_IN)
    assert honest - together == kwh(SOLD_WH, SAME_FEEDER_FEE) + not_needed + 2 * FEE_UWATT


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("needs_wh", [0, SOLD_WH])
def test_who_buys_of_a_phantom_in_good_faith_gets_what_was_agreed(price: int, needs_wh: int) -> None:
    _, honest, utility = phantom(None, needs_wh=needs_wh)
    _, buyer, utility_after = phantom(price, needs_wh=needs_wh)
    saved = kwh(needs_wh, RETAIL) + kwh(SOLD_WH - needs_wh, FEED_IN)
    assert buyer - honest == saved - kwh(SOLD_WH, price + SAME_FEEDER_FEE) - FEE_UWATT
    assert utility_after >= utility, "nor does the utility pay for it"


def test_nobody_sells_more_than_its_connection_can_let_out() -> None:
    """8 kW let out 2 kWh in a quarter of an hour: sold, offered, and bought to be sold again, all together."""
    world = World()
    period = world.running + 1
    assert world.order("bob", SELL, period, 2_010, RETAIL) is Refusal.BEYOND_NAMEPLATE
    assert world.order("bob", SELL, period, 1_500, RETAIL) is None
    assert world.order("bob", SELL, period, 510, RETAIL) is Refusal.BEYOND_NAMEPLATE
    assert world.order("bob", SELL, period, 500, RETAIL) is None
    assert world.order("carla", BUY, period, 2_000, RETAIL) is None
    assert world.order("bob", SELL, period, 10, RETAIL) is Refusal.BEYOND_NAMEPLATE


def test_a_phantom_needs_its_deposit() -> None:
    """Value and deposit are retail: who cannot pay for what it fails to deliver cannot sell it."""
    world = World()
    period = world.running + 1
    spare = world.street.account("bob").watt_uwatt - kwh(SOLD_WH, RETAIL - FEED_IN)
    payload = Transfer(recipient=account_key("carla").public_key, token=Token.WATT, amount=spare - 2_000, memo="")
    world.done("bob", payload)
    assert world.order("bob", SELL, period, SOLD_WH + 10, FEED_IN) is Refusal.INSUFFICIENT_WATT


@pytest.mark.parametrize("rounds", [1, 5])
def test_wash_trades_cost_the_grid_fee_each_time(rounds: int) -> None:
    """Two of one purse sell each other the same energy to make a price look traded."""
    world = World()
    period = world.running + 1
    before = world.purse_uwatt("bob", "carla")
    for _ in range(rounds):
        world.trade("bob", "carla", period, SOLD_WH, 200_000)
        world.trade("carla", "bob", period, SOLD_WH, 200_000)
    world.pass_period()
    world.pass_period()
    world.settle(period)
    lost = before - world.purse_uwatt("bob", "carla")
    assert lost == rounds * (2 * kwh(SOLD_WH, SAME_FEEDER_FEE) + 4 * FEE_UWATT)
    assert world.votes_mvote("bob", "carla") == 0
    assert not list(ORIGINS.scan(world.street.state))


def test_nobody_trades_with_itself() -> None:
    world = World()
    period = world.running + 1
    assert world.order("bob", SELL, period, 100, 100_000) is None
    assert world.order("bob", BUY, period, 100, 100_000) is Refusal.SELF_TRADE


def test_buying_the_whole_book_to_sell_it_dearer_is_a_risk_of_ones_own() -> None:
    """Bob buys all there is and offers it at retail less the grid fee; nobody needs it at that, and he keeps it."""

    def story(*, corner: bool) -> tuple[int, int]:
        world = World()
        period = world.running + 1
        assert world.order("george", SELL, period, 2_000, 100_000) is None
        if corner:
            assert world.order("bob", BUY, period, 2_000, 100_000) is None
            assert world.order("bob", SELL, period, 2_000, RETAIL - SAME_FEEDER_FEE) is None
        assert world.order("carla", BUY, period, 2_000, RETAIL - SAME_FEEDER_FEE - 100) is None
        world.pass_period()
        world.pass_period({"george": (0, 2_000), "carla": (2_000, 0)})
        world.settle(period)
        return world.purse_uwatt("bob"), world.purse_uwatt("carla")

    (honest, _), (cornered, carla) = story(corner=False), story(corner=True)
    assert cornered < honest
    alone = World()
    alone.pass_period()
    alone.pass_period({"carla": (2_000, 0)})
    alone.settle(alone.running - 1)
    assert carla == alone.purse_uwatt("carla") - FEE_UWATT, "nor is anybody worse off than with the utility"

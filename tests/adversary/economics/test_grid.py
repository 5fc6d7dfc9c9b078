"""The grid's fee and its congestion: paid on every Wh between two members, and no cheaper by how a trade is cut."""

from __future__ import annotations

import pytest

from ledger.genesis import GenesisFeeder
from ledger.market.grid_fee import FeeModel
from ledger.transactions import PlaceOrder, Token, Transfer
from tests.adversary.economics.world import (
    BUY,
    CONGESTED_FEE,
    FEE_UWATT,
    FEED_IN,
    RETAIL,
    SAME_FEEDER_FEE,
    SAME_SUBSTATION_FEE,
    SELL,
    TWO_FEEDERS,
    World,
    kwh,
)
from tests.ledger.neighbourhood import WATT_UWATT, account_key

NARROW = (GenesisFeeder("feeder-1", "substation-1", 4_000), GenesisFeeder("feeder-2", "substation-1", 400_000))
"""4 kW carry 1,000 Wh in a quarter of an hour; 800 Wh of them are below the threshold."""


def fees_when_cut(pieces: tuple[int, ...], *, sellers: tuple[str, ...] = ("carla",)) -> int:
    """Grid fees of 1,000 Wh from feeder-1 to bob on feeder-2, cut as given, the sellers taking turns."""
    assert sum(pieces) == 1_000
    world = World(feeders=NARROW)
    period = world.running + 1
    for index, energy_wh in enumerate(pieces):
        world.trade(sellers[index % len(sellers)], "bob", period, energy_wh, 150_000)
    world.pass_period()
    world.pass_period({"carla": (0, 1_000), "bob": (1_000, 0)})
    world.settle(period)
    return world.grid_fees_uwatt()


@pytest.mark.parametrize(
    "pieces", [(1_000,), (800, 200), (790, 210), (10, 990), (500, 500), (790, 20, 190), (100,) * 10]
)
def test_the_threshold_is_met_however_a_trade_is_cut(pieces: tuple[int, ...]) -> None:
    """A fill that would straddle the threshold is split there; small ones before it help nobody."""
    assert fees_when_cut(pieces) == kwh(800, SAME_SUBSTATION_FEE) + kwh(200, CONGESTED_FEE)


def test_nor_does_it_help_to_sell_in_turns_or_to_trade_back() -> None:
    """The counters are gross: what goes back does not make room."""
    world = World(feeders=NARROW)
    period = world.running + 1
    world.trade("carla", "bob", period, 800, 150_000)
    world.trade("bob", "carla", period, 800, 150_000)
    world.trade("carla", "bob", period, 100, 150_000)
    world.pass_period()
    world.pass_period()
    world.settle(period)
    assert world.grid_fees_uwatt() == 2 * kwh(800, SAME_SUBSTATION_FEE) + kwh(100, CONGESTED_FEE)


@pytest.mark.parametrize("block", [False, True])
def test_who_fills_a_feeder_to_shut_others_out_pays_for_all_it_carries(block: bool) -> None:
    """Carla wants to be the only one george on her feeder can buy of: with bob on feeder-2 she fills the way into it by
    trades to and fro, and asks for all that retail leaves. It costs the grid fee on twice what the feeder carries: more
    than she wins by it, unless she sells well over half of that herself. George pays no more than with the utility.
    """
    world = World(homes=("anne", "bob", "carla", "dora", "george"), feeders=NARROW)
    period, highest = world.running + 1, RETAIL - SAME_FEEDER_FEE
    if block:
        world.trade("bob", "carla", period, 1_000, 150_000)
        world.trade("carla", "bob", period, 1_000, 150_000)
    assert world.order("dora", SELL, period, 1_000, 150_000) is None
    assert world.order("carla", SELL, period, 500, highest if block else 149_900) is None
    assert world.order("george", BUY, period, 500, highest) is None
    world.pass_period()
    world.pass_period({"carla": (0, 500), "george": (500, 0), "dora": (0, 1_000)})
    world.settle(period)
    george = WATT_UWATT - world.purse_uwatt("george") - FEE_UWATT
    won = world.purse_uwatt("bob", "carla") - 2 * WATT_UWATT
    competing = kwh(500, 149_900) - FEE_UWATT
    if block:
        assert george == kwh(500, RETAIL)
        assert won < competing
    else:
        assert george == kwh(500, 149_900 + SAME_FEEDER_FEE)
        assert won == competing


def in_value_model(price: int, side_payment: int) -> tuple[int, int, int]:
    """Money of bob, who sells carla a kWh at the price, of carla, and the grid fee: fees are a share of the value, and
    the rest of the price is paid by transfer.
    """
    world = World(feeders=TWO_FEEDERS, grid_fee_model=int(FeeModel.PERCENTAGE))
    period = world.running + 1
    world.trade("bob", "carla", period, 1_000, price)
    world.pass_period()
    if side_payment:
        payload = Transfer(recipient=account_key("bob").public_key, token=Token.WATT, amount=side_payment, memo="")
        world.done("carla", payload)
    world.pass_period({"bob": (0, 1_000), "carla": (1_000, 0)})
    world.settle(period)
    return world.purse_uwatt("bob"), world.purse_uwatt("carla"), world.grid_fees_uwatt()


def test_a_price_on_paper_saves_at_most_the_fee_on_what_is_above_feed_in() -> None:
    """Where the fee is a share of the value a sale at feed-in and a payment beside it saves part of it, less a
    transaction's fee; whoever takes the offer first is its buyer. By distance, the default, there is nothing to save.
    """
    *_, honest = in_value_model(200_000, 0)
    *_, dodged = in_value_model(FEED_IN, kwh(1_000, 200_000 - FEED_IN))
    assert honest == kwh(1_000, 10_000)
    assert honest - dodged == kwh(1_000, (200_000 - FEED_IN) * 500 // 10_000)
    assert dodged > 0


def test_by_distance_no_price_saves_any_fee() -> None:
    def fees(price: int) -> int:
        world = World(feeders=TWO_FEEDERS)
        period = world.running + 1
        world.trade("bob", "carla", period, 1_000, price)
        world.pass_period()
        world.pass_period({"bob": (0, 1_000), "carla": (1_000, 0)})
        world.settle(period)
        return world.grid_fees_uwatt()

    assert fees(FEED_IN) == fees(RETAIL) == kwh(1_000, SAME_SUBSTATION_FEE)


def test_an_offer_at_a_price_on_paper_is_anybodys() -> None:
    """The dodger's cheap offer stands in the book for all: a neighbour who bids takes it."""
    world = World(feeders=TWO_FEEDERS, grid_fee_model=int(FeeModel.PERCENTAGE))
    period = world.running + 1
    street = world.street
    assert world.order("george", BUY, period, 1_000, 150_000) is None
    assert world.order("bob", SELL, period, 1_000, FEED_IN) is None
    assert world.act("carla", PlaceOrder(BUY, (period,), 1_000, FEED_IN)) is None
    before = street.account("bob").watt_uwatt
    world.pass_period()
    world.pass_period({"bob": (0, 1_000), "george": (1_000, 0)})
    world.settle(period)
    assert world.purse_uwatt("bob") == before + kwh(1_000, RETAIL)
    assert world.purse_uwatt("carla") == street.account("carla").watt_uwatt

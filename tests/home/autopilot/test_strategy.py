from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from home.autopilot.battery import Battery
from home.autopilot.prices import Options
from home.autopilot.strategy import LEAST_PERMILLE, block, decide
from home.autopilot.types import Book, Cancel, Limits, OpenOrder, Place, Totals, View
from home.autopilot.vehicle import Vehicle
from ledger.market.grid_fee import LOT_WH, TICK_UWATT_PER_KWH, amount_uwatt
from ledger.market.matching import Side
from tests.home.autopilot.days import ABUNDANT, DAY, SCARCE, TERMS, history_of, jagged, sun, view_of

NOON = 48
ROOF = history_of(4 * DAY + NOON, jagged, sun)
FLAT = history_of(4 * DAY + NOON, jagged, lambda _: 0)
NEXT = ROOF[-1].period + 2


def only_order(view: View) -> Place:
    (order,) = decide(view)
    assert isinstance(order, Place)
    return order


def test_a_roof_at_noon_offers_what_it_will_surely_have_over() -> None:
    order = only_order(view_of(ROOF, ABUNDANT))
    assert order.side is Side.SELL
    assert order.periods == tuple(range(NEXT, NEXT + 4))
    assert 500 <= order.energy_wh <= 900 - 60
    assert order.limit_uwatt_per_kwh > TERMS.feed_in
    assert order.reason.startswith(f"sell {4 * order.energy_wh / 1_000:.2f} kWh at 0.09")
    assert " for 12:15-13:15: forecast surplus " in order.reason
    assert order.reason.endswith("else it earns 0.08")


def test_a_flat_buys_when_a_neighbours_roof_is_in_the_sun() -> None:
    order = only_order(view_of(FLAT, ABUNDANT))
    assert order.side is Side.BUY
    assert 60 <= order.energy_wh <= 180
    assert order.limit_uwatt_per_kwh < TERMS.retail - TERMS.highest_fee
    assert " for 12:15-13:15: forecast need " in order.reason
    assert order.reason.endswith("else it costs 0.30")


def test_cheap_energy_is_bought_beyond_the_mean_and_dear_energy_below_it() -> None:
    """Given a load between 60 and 180 Wh, then what can be sold back without much loss may be too much."""
    cheap = only_order(view_of(FLAT, ABUNDANT))
    dear = only_order(view_of(FLAT, SCARCE))
    assert dear.energy_wh < 120 < cheap.energy_wh
    assert dear.limit_uwatt_per_kwh > cheap.limit_uwatt_per_kwh


def test_dear_energy_is_sold_more_bravely() -> None:
    jumpy = history_of(4 * DAY + NOON, lambda number: 3 * jagged(number), sun)
    assert (
        only_order(view_of(jumpy, SCARCE)).energy_wh
        > only_order(view_of(jumpy, Totals(5_000, 5_000))).energy_wh
        > only_order(view_of(jumpy, ABUNDANT)).energy_wh
    )


def test_a_buyer_waits_where_nobody_is_likely_to_sell() -> None:
    nobody = Totals(export_wh=0, import_wh=5_000)
    assert decide(view_of(FLAT, nobody)) == ()
    offered = view_of(FLAT, nobody, books={NEXT: Book(asks=((150_000, 500),))})
    assert only_order(offered).side is Side.BUY


def test_a_better_price_in_the_book_is_taken() -> None:
    bid = view_of(ROOF, ABUNDANT, books={NEXT: Book(bids=((200_000, 500),))}, limits=Limits(horizon_periods=1))
    assert only_order(bid).limit_uwatt_per_kwh == 200_000
    assert only_order(bid).energy_wh >= only_order(view_of(ROOF, ABUNDANT, limits=Limits(horizon_periods=1))).energy_wh


def test_with_a_pool_there_is_less_to_gain_and_prices_move_towards_it() -> None:
    alone, pooled = (only_order(view_of(FLAT, ABUNDANT, pool_price=price)) for price in (None, 174_000))
    assert pooled.energy_wh <= alone.energy_wh
    assert pooled.limit_uwatt_per_kwh <= 174_000


def test_an_order_that_does_not_earn_its_fee_is_not_placed() -> None:
    tiny = history_of(4 * DAY + NOON, lambda _: 12, lambda _: 0)
    assert only_order(view_of(tiny, ABUNDANT)).energy_wh == 10
    assert decide(view_of(tiny, ABUNDANT, limits=Limits(horizon_periods=1))) == ()


@pytest.mark.parametrize(
    "limits",
    [
        Limits(enabled=False),
        Limits(may_sell=False),
        Limits(hours=frozenset({3})),
        Limits(max_energy_wh=0),
        Limits(min_sell_price=TERMS.retail + 1),
        Limits(horizon_periods=0),
    ],
)
def test_what_the_owner_forbids_is_not_done(limits: Limits) -> None:
    assert decide(view_of(ROOF, ABUNDANT, limits=limits)) == ()


def test_the_owners_prices_and_energy_bound_every_order() -> None:
    sale = only_order(view_of(ROOF, ABUNDANT, limits=Limits(min_sell_price=123_450, max_energy_wh=105)))
    assert (sale.limit_uwatt_per_kwh, sale.energy_wh) == (123_500, 100)
    purchase = only_order(view_of(FLAT, ABUNDANT, limits=Limits(max_buy_price=90_099)))
    assert purchase.limit_uwatt_per_kwh == 90_000
    assert decide(view_of(FLAT, ABUNDANT, limits=Limits(max_buy_price=TERMS.feed_in - 1))) == ()


def test_tokens_at_hand_bound_what_is_ordered() -> None:
    rich = only_order(view_of(ROOF, ABUNDANT))
    poor = only_order(view_of(ROOF, ABUNDANT, balance_uwatt=200_000))
    assert 0 < poor.energy_wh < rich.energy_wh
    assert decide(view_of(ROOF, ABUNDANT, balance_uwatt=500)) == ()


def test_periods_with_orders_or_trades_get_no_second_one() -> None:
    held = OpenOrder(NEXT + 1, 7, Side.SELL, 100_000, 100)
    places = decide(view_of(ROOF, ABUNDANT, open_orders=(held,), net_sold_wh={NEXT: 0, NEXT + 3: 200}))
    assert [place.periods for place in places if isinstance(place, Place)] == [(NEXT,), (NEXT + 2,)]


def test_who_asks_every_period_gets_a_strip_an_hour() -> None:
    """Given an autopilot that is asked four times an hour, then it orders for four periods, and then waits for them."""
    placed: list[tuple[int, ...]] = []
    sold: dict[int, int] = {}
    for number in range(8):
        history = history_of(4 * DAY + NOON + number, jagged, sun)
        for action in decide(view_of(history, ABUNDANT, net_sold_wh=sold)):
            assert isinstance(action, Place)
            placed.append(action.periods)
            sold |= dict.fromkeys(action.periods, action.energy_wh)
    assert placed == [tuple(range(NEXT, NEXT + 4)), tuple(range(NEXT + 4, NEXT + 8))]


def test_an_order_that_has_become_a_loss_is_taken_out() -> None:
    """Given a cloud over a roof that offered noon, then the offer goes, and the reason says what it would have cost."""
    dark = ROOF[:-4] + history_of(len(ROOF), jagged, lambda _: 0)[-4:]
    offer = OpenOrder(NEXT, 7, Side.SELL, 90_000, 800)
    cancel, *_ = decide(view_of(dark, ABUNDANT, open_orders=(offer,)))
    assert isinstance(cancel, Cancel)
    assert cancel.orders == ((NEXT, 7),)
    assert cancel.reason.startswith("the forecast has changed: kept, they would lose 0.")
    assert not any(isinstance(action, Cancel) for action in decide(view_of(ROOF, ABUNDANT, open_orders=(offer,))))


def test_switched_off_it_takes_its_orders_out() -> None:
    orders = (OpenOrder(NEXT, 7, Side.SELL, 90_000, 800), OpenOrder(NEXT + 9, 8, Side.BUY, 90_000, 80))
    assert decide(view_of(ROOF, ABUNDANT, limits=Limits(enabled=False), open_orders=orders)) == (
        Cancel(((NEXT, 7), (NEXT + 9, 8)), "the autopilot is switched off"),
    )


def test_a_battery_with_room_keeps_the_surplus_at_home() -> None:
    """Given room for all of it, then there is nothing to sell; given a full one, then all is for sale."""
    battery = Battery(capacity_wh=20_000, charge_w=5_000, discharge_w=5_000)
    assert decide(view_of(ROOF, ABUNDANT, battery=battery, stored_wh=0)) == ()
    assert only_order(view_of(ROOF, ABUNDANT, battery=battery, stored_wh=20_000)) == only_order(view_of(ROOF, ABUNDANT))
    assert decide(view_of(FLAT, ABUNDANT, battery=battery, stored_wh=20_000)) == (), "it needs nothing either"


def test_a_car_takes_the_sun_before_it_is_sold() -> None:
    car = Vehicle(needed_wh=8_000, charge_w=11_000, departure=NEXT + 16)
    sold_wh = sum(
        action.energy_wh for action in decide(view_of(ROOF, ABUNDANT, vehicle=car)) if isinstance(action, Place)
    )
    assert sold_wh < only_order(view_of(ROOF, ABUNDANT)).energy_wh // 2


def test_the_last_lot_is_worth_its_price_and_the_next_is_not() -> None:
    """The newsvendor by hand: of four values of the surplus, three reach 100 Wh."""
    outside = Options(unsold=80_000, unbought=300_000, expected=150_000, given_permille=1_000)
    found = block(Side.SELL, [40, 120, 200, 900], outside, TERMS, 10_000)
    assert found is not None
    assert found.energy_wh == 120  # there (3 · 80,000 + 300,000) / 4 = 135,000; beyond it half of them fall short
    assert found.worth == (4 * 80_000 + 8 * 135_000) // 12
    lack = block(Side.BUY, [-900, -200, -120, -40], outside, TERMS, 10_000)
    assert lack is not None
    assert lack.energy_wh == 200  # there (300,000 + 80,000) / 2 − fee = 158,000; beyond it one of four is left
    assert lack.worth == (4 * 268_000 + 8 * 213_000 + 8 * 158_000) // 20
    assert block(Side.SELL, [40, 120], Options(80_000, 300_000, 80_000, 0), TERMS, 10_000) is None


settings.register_profile("autopilot", max_examples=60, deadline=None)

LIMITS = st.builds(
    Limits,
    max_buy_price=st.one_of(st.none(), st.integers(0, 400_000)),
    min_sell_price=st.one_of(st.none(), st.integers(0, 400_000)),
    max_energy_wh=st.one_of(st.none(), st.integers(0, 3_000)),
    horizon_periods=st.integers(0, 8),
)


@settings(settings.get_profile("autopilot"))
@given(
    rows=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 2_500)), min_size=3 * DAY, max_size=3 * DAY + 40),
    totals=st.one_of(st.none(), st.builds(Totals, st.integers(0, 10_000), st.integers(0, 10_000))),
    limits=LIMITS,
    balance_uwatt=st.integers(0, 2_000_000),
    export_limit_wh=st.integers(0, 2_500),
    pool_price=st.one_of(st.none(), st.integers(0, 400_000)),
)
def test_whatever_it_sees_nobody_does_worse_than_with_the_utility(
    rows: list[tuple[int, int]],
    totals: Totals | None,
    limits: Limits,
    balance_uwatt: int,
    export_limit_wh: int,
    pool_price: int | None,
) -> None:
    history = history_of(len(rows), lambda number: rows[number][0], lambda number: rows[number][1])
    view = view_of(
        history,
        totals,
        limits=limits,
        balance_uwatt=balance_uwatt,
        export_limit_wh=export_limit_wh,
        pool_price=pool_price,
        yearly_kwh=3_500,
    )
    locked_uwatt = 0
    for action in decide(view):
        assert isinstance(action, Place)
        assert action.energy_wh > 0
        assert action.energy_wh % LOT_WH == 0
        assert action.limit_uwatt_per_kwh % TICK_UWATT_PER_KWH == 0
        assert list(action.periods) == sorted(set(action.periods))
        assert action.periods[0] >= TERMS.next_open_period(view.time_ms)
        assert limits.max_energy_wh is None or action.energy_wh <= limits.max_energy_wh
        assert action.reason.isprintable()
        if action.side is Side.BUY:
            assert TERMS.feed_in <= action.limit_uwatt_per_kwh <= TERMS.retail - TERMS.highest_fee
            assert limits.max_buy_price is None or action.limit_uwatt_per_kwh <= limits.max_buy_price
            per_kwh = action.limit_uwatt_per_kwh + TERMS.highest_fee
        else:
            assert TERMS.feed_in <= action.limit_uwatt_per_kwh <= TERMS.retail
            assert limits.min_sell_price is None or action.limit_uwatt_per_kwh >= limits.min_sell_price
            assert action.energy_wh <= export_limit_wh
            per_kwh = TERMS.retail - action.limit_uwatt_per_kwh
        locked_uwatt += amount_uwatt(len(action.periods) * action.energy_wh, per_kwh) + TERMS.transaction_fee_uwatt
    assert locked_uwatt <= max(balance_uwatt, 0)


def test_nothing_unlikely_is_offered() -> None:
    """However dear a shortfall is not, what is seldom there is not sold."""
    outside = Options(unsold=80_000, unbought=300_000, expected=299_900, given_permille=1_000)
    values = [100] * 90 + [1_000] * 10
    found = block(Side.SELL, values, outside, TERMS, 10_000)
    assert found is not None
    assert found.energy_wh == 100
    assert LEAST_PERMILLE > 100

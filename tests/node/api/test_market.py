"""The market's paths: what they say of a neighbourhood that trades, and of what is not there."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from ledger.market.matching import Side
from ledger.settlement.lines import next_period
from ledger.state import State
from ledger.transactions import CancelOrder, OrderReference, Payload, PlaceOrder
from node.client.errors import ApiProblem
from node.client.events import BookClosed, BooksChanged, NodeEvent, PeriodSettled, TradeMade, Warned
from node.client.models import Problem
from node.market_observer import market_gauges
from node.metrics import Metrics
from node.views.market import Market
from node.views.reader import Reader
from tests.node.api.household import Household, household, served

pytestmark = pytest.mark.trio

OVERVIEW_CPU_S = 0.05  # of 672 periods, on a machine that does other things; 9 ms where it is idle


def first_open(home: Household) -> int:
    parameters = home.made.open.parameters
    return (home.now_ms + parameters.gate_closure_ms) // parameters.period_ms + 1


def sell(period: int, energy_wh: int, limit: int) -> PlaceOrder:
    return PlaceOrder(side=Side.SELL, periods=(period,), energy_wh=energy_wh, limit_uwatt_per_kwh=limit)


def buy(period: int, energy_wh: int, limit: int) -> PlaceOrder:
    return PlaceOrder(side=Side.BUY, periods=(period,), energy_wh=energy_wh, limit_uwatt_per_kwh=limit)


def place(home: Household, who: str, *payloads: Payload) -> None:
    home.produce([home.made.sign(who, payload, ahead=ahead) for ahead, payload in enumerate(payloads)])


def trading(home: Household) -> int:
    """George asks for 500 Wh at 0.20 and 300 at 0.22, bob takes 200, carla bids 100 at 0.15; returns the period."""
    home.produce()
    period = first_open(home) + 2
    place(home, "george", sell(period, 500, 200_000), sell(period, 300, 220_000), sell(period + 1, 100, 210_000))
    place(home, "bob", buy(period, 200, 250_000))
    place(home, "carla", buy(period, 100, 150_000))
    return period


def settled_before(home: Household) -> int:
    with home.chain.snapshot() as view:
        return next_period(State(view))


async def problem_of(question: Awaitable[Any]) -> Problem:
    with pytest.raises(ApiProblem) as caught:
        await question
    return caught.value.problem


async def test_overview_of_a_market_in_which_nothing_happened(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            # When
            market = await serving.client.market()
            # Then
            parameters = home.made.open.parameters
            assert (market.mechanism, market.tariff.fee_model, market.tariff.first_period) == (
                "continuous",
                "distance",
                0,
            )
            assert market.gateway is not None
            assert market.gateway.name == "anne"
            assert market.first_open_period == market.from_period == market.periods[0].period == first_open(home)
            assert market.last_open_period == home.now_ms // parameters.period_ms + parameters.forward_periods
            assert len(market.periods) == 96
            assert market.next_from == market.from_period + 96
            assert all(period.is_open and not period.settled for period in market.periods)
            first = market.periods[0]
            assert first.closes_ms == first.start_ms - parameters.gate_closure_ms > market.now_ms
            assert (first.best_bid_uwatt_per_kwh, first.best_ask_uwatt_per_kwh, first.last_price_uwatt_per_kwh) == (
                None,
                None,
                None,
            )
            assert (await serving.client.market(busy=True)).periods == []


async def test_overview_shows_best_prices_and_trades(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        period = trading(home)
        async with served(tmp_path, home) as serving:
            # When
            busy = await serving.client.market(busy=True)
            # Then
            assert [one.period for one in busy.periods] == [period, period + 1]
            first, second = busy.periods
            assert (first.best_bid_uwatt_per_kwh, first.best_ask_uwatt_per_kwh) == (150_000, 200_000)
            assert (first.last_price_uwatt_per_kwh, first.trades) == (200_000, 1)
            assert (first.energy_wh, first.value_uwatt) == (200, 40_000)
            assert (second.best_bid_uwatt_per_kwh, second.best_ask_uwatt_per_kwh) == (None, 210_000)
            # And paged it is the same
            pages = [await serving.client.market(busy=True, limit=1)]
            assert pages[0].next_from == period + 1
            pages.append(await serving.client.market(first=pages[0].next_from, busy=True, limit=1))
            assert [page.periods[0] for page in pages] == busy.periods
            assert pages[1].next_from is None
            # And the list of all periods says the same of these
            whole = await serving.client.market(limit=1_000)
            assert [one for one in whole.periods if one.period in (period, period + 1)] == busy.periods
            assert whole.periods[-1].period == whole.last_open_period
            assert whole.next_from is None
            assert (await serving.client.market(first=10**12)).periods == []


async def test_book_by_level_and_by_order(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        period = trading(home)
        place(home, "george", sell(period, 50, 200_000))
        async with served(tmp_path, home) as serving:
            # When
            book = await serving.client.book(period)
            # Then
            assert [(level.price_uwatt_per_kwh, level.energy_wh, level.orders) for level in book.asks] == [
                (200_000, 350, 2),
                (220_000, 300, 1),
            ]
            assert [(level.price_uwatt_per_kwh, level.energy_wh) for level in book.bids] == [(150_000, 100)]
            assert (book.bid_wh, book.ask_wh, book.bid_levels, book.ask_levels) == (100, 650, 1, 2)
            best = book.ask_orders[0]
            assert (best.number, best.account.name, best.side) == (1, "george", "sell")
            assert (best.energy_wh, best.left_wh, best.locked_uwatt) == (500, 300, 30_000)
            assert [order.number for order in book.ask_orders] == sorted(
                (order.number for order in book.ask_orders), key=lambda number: (number == 2, number)
            )
            # And bounded
            short = await serving.client.book(period, depth=1, orders=0)
            assert (len(short.asks), short.ask_levels, short.ask_orders) == (1, 2, [])
            far = await problem_of(serving.client.book(period + 10_000))
            assert (far.status, "not open yet" in far.detail) == (404, True)


async def test_trades_are_paged_newest_first(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        period = trading(home)
        place(home, "carla", buy(period, 100, 200_000), buy(period, 210, 250_000))
        async with served(tmp_path, home) as serving:
            # When
            page = await serving.client.trades(period, limit=3)
            # Then: the last buyer met two sellers' orders
            assert [trade.number for trade in page.trades] == [4, 3, 2]
            assert page.next_before == 2
            (first,) = (await serving.client.trades(period, before=page.next_before)).trades
            assert (first.seller.name, first.buyer.name) == ("george", "bob")
            assert (first.energy_wh, first.price_uwatt_per_kwh, first.value_uwatt) == (200, 200_000, 40_000)
            assert first.fee_uwatt == first.rate_uwatt_per_kwh * 200 // 1_000 > 0
            assert (first.sell_order, first.buy_order, first.height) == (1, 4, 3)
            assert (await serving.client.trades(period + 1)).trades == []


async def test_own_orders_and_positions(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        period = trading(home)
        async with served(tmp_path, home) as serving:
            client = serving.client
            # When
            orders = (await client.open_orders("george")).orders
            # Then
            assert [(order.period, order.number, order.left_wh) for order in orders] == [
                (period, 1, 300),
                (period, 2, 300),
                (period + 1, 3, 100),
            ]
            page = await client.open_orders("george", limit=2)
            assert page.next_after == f"{period}:2"
            assert (await client.open_orders("george", after=page.next_after)).orders == orders[2:]
            assert (await client.open_orders("anne")).orders == []
            # And positions
            first, second = (await client.positions("george")).positions
            assert (first.sold_wh, first.net_wh, first.open_sell_wh, first.open_orders) == (200, 200, 600, 2)
            assert (first.sellable_wh, second.sellable_wh) == (2_500 - 800, 2_400)
            (bob,) = (await client.positions("bob")).positions
            assert (bob.period, bob.bought_wh, bob.net_wh, bob.sellable_wh) == (period, 200, -200, 200)
            # And what is cancelled is gone
            place(home, "george", CancelOrder(orders=(OrderReference(period, 1), OrderReference(period + 1, 3))))
            assert [order.number for order in (await client.open_orders("george")).orders] == [2]
            assert len((await client.positions("george")).positions) == 1


async def test_bad_questions(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            client = serving.client
            for after in ("1", "1:2:3", "x:1", f"1:{2**63}"):
                assert (await problem_of(client.open_orders("anne", after=after))).status == 400
            assert (await problem_of(client.open_orders("nobody"))).status == 404
            assert (await problem_of(client.market(limit=1_001))).status == 400
            assert (await problem_of(client.trades(2**63))).status == 400
            assert (await problem_of(client.settled_period(2**62))).status == 404


async def test_the_ends_of_time_are_answered(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        trading(home)
        async with served(tmp_path, home) as serving:
            client, end = serving.client, 2**63 - 1
            assert (await client.market(first=end)).periods == []
            assert (await client.market(first=end, busy=True)).periods == []
            assert (await client.prices(first=end)).points == []
            assert (await client.prices(first=0, limit=2)).points[0].energy_wh == 0
            assert (await client.settled_periods(before=0)).settled == []
            assert (await client.settled_periods(before=end)).next_before is None
            assert (await client.open_orders("george", after=f"{end}:{end}")).orders == []
            assert not (await client.book(0)).summary.is_open
            assert (await client.trades(0, before=end)).trades == []
            assert all(one.out_wh == 0 for one in (await client.feeder_headroom(0)).feeders)
            for question in (client.book(end), client.trades(end), client.feeder_headroom(end)):
                assert (await problem_of(question)).status == 404


async def test_settled_periods_prices_and_feeders(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        period = trading(home)
        parameters = home.made.open.parameters
        # Given the period passes, metered for george and bob, and is settled
        starts_ms, ends_ms = period * parameters.period_ms, (period + 1) * parameters.period_ms
        home.produce([home.made.read(who, 0, 0, period=period - 1) for who in ("bob", "george")], time_ms=starts_ms)
        used, made = home.made.read("bob", 400, 0, period=period), home.made.read("george", 0, 900, period=period)
        home.produce([used, made], time_ms=ends_ms)
        while settled_before(home) <= period:
            home.produce()
        async with served(tmp_path, home) as serving:
            client = serving.client
            # When
            settled = await client.settled_period(period)
            # Then
            assert (settled.metered, settled.silent) == (2, 1)
            assert (settled.export_wh, settled.trade_wh, settled.certified_wh) == (900, 200, 200)
            assert settled.self_consumption_bps == 200 * 10_000 // 900
            assert settled.self_sufficiency_bps == 200 * 10_000 // settled.import_wh
            assert settled.energy_check_wh == 0
            page = await client.settled_periods(limit=2)
            assert page.settled[0] == settled
            assert page.next_settled_period == period + 1
            assert page.next_before == page.settled[-1].period == period - 1
            assert (await client.settled_periods(before=page.next_before)).settled[0].period == period - 2
            # And its orders are gone, its trade remains
            assert not (await client.book(period)).ask_orders
            (point,) = (await client.prices(first=period, limit=1)).points
            assert (point.last_uwatt_per_kwh, point.mean_uwatt_per_kwh, point.energy_wh) == (200_000, 200_000, 200)
            assert (point.retail_uwatt_per_kwh, point.feed_in_uwatt_per_kwh) == (300_000, 80_000)
            assert (await client.prices()).points[-1] == point
            assert (await client.prices(first=period - 2, limit=2)).points[0].last_uwatt_per_kwh is None


async def test_feeders_show_what_is_left(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        period = trading(home)
        place(home, "carla", buy(period, 100, 200_000))
        async with served(tmp_path, home) as serving:
            feeders = {one.feeder: one for one in (await serving.client.feeder_headroom(period)).feeders}
            # Then: george and bob share a feeder, carla lives on the other one
            assert (feeders["oak street"].out_wh, feeders["mill lane"].into_wh) == (100, 100)
            assert (feeders["oak street"].into_wh, feeders["mill lane"].out_wh) == (0, 0)
            oak = feeders["oak street"]
            assert (oak.left_out_wh, oak.left_into_wh) == (oak.limit_wh - 100, oak.limit_wh)
            assert oak.threshold_wh <= oak.limit_wh
            assert not oak.congested
            tariffs = (await serving.client.tariffs()).tariffs
            assert [tariff.first_period for tariff in tariffs] == [0]


async def test_a_transaction_says_which_numbers_its_orders_got_and_what_was_filled(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        period = trading(home)
        taken = home.made.sign("carla", buy(period, 400, 210_000))
        home.produce([taken])
        async with served(tmp_path, home) as serving:
            # When
            effects = (await serving.client.transaction(taken.id.hex())).effects
            # Then: 300 Wh of george's first order, and a rest that is locked for
            sold, bought, placed = effects
            assert [one.kind for one in effects] == ["order_filled", "order_filled", "order_placed"]
            assert (sold.account.name, sold.order, sold.side) == ("george", 1, "sell")
            assert (bought.account.name, bought.other and bought.other.name, bought.order) == ("carla", "george", 6)
            assert (bought.energy_wh, bought.price_uwatt_per_kwh, bought.trade) == (300, 200_000, 2)
            assert bought.rate_uwatt_per_kwh is not None
            assert bought.balance_uwatt == -300 * (200_000 + bought.rate_uwatt_per_kwh) // 1_000
            assert (placed.order, placed.energy_wh, placed.price_uwatt_per_kwh) == (6, 400, 210_000)
            assert placed.balance_uwatt == -(await serving.client.open_orders("carla")).orders[1].locked_uwatt
            # And george's history has his fill, beside the transaction that caused it
            history = await serving.client.history("george")
            assert history.effects[0] == sold
            assert history.transactions[0].id == taken.id.hex()
            # And what its market moved, with its fees, is what his balance lacks
            moved = sum(one.balance_uwatt for one in history.effects)
            own = [one for one in history.transactions if one.sender.name == "george"]
            produced = sum(block.block.header.producer == home.made.home("george").id for block in home.made.blocks)
            assert moved < 0
            assert produced <= len(home.made.blocks)
            assert (await serving.client.account("george")).watt_uwatt >= 10**9 + moved - 1_000 * len(own)


async def test_what_happens_on_the_market_is_told_once(tmp_path: Path) -> None:
    with household(tmp_path) as home, home.events.subscribe() as events:
        period = trading(home)
        parameters = home.made.open.parameters
        closing = (period * parameters.period_ms) - parameters.gate_closure_ms
        # When the book closes, and much later the period is settled
        home.produce(time_ms=closing)
        home.produce(time_ms=(period + 1) * parameters.period_ms)
        while settled_before(home) <= period:
            home.produce()
        # Then
        end = Warned(text="that was all", cleared=False)
        home.events.publish(end)
        told: list[NodeEvent] = []
        while end not in told:
            event = await events.next()
            assert event is not None
            told.append(event)
        (trade,) = [event.trade for event in told if isinstance(event, TradeMade)]
        assert (trade.period, trade.seller.name, trade.buyer.name) == (period, "george", "bob")
        assert (trade.energy_wh, trade.price_uwatt_per_kwh, trade.value_uwatt) == (200, 200_000, 40_000)
        changed = [event for event in told if isinstance(event, BooksChanged)]
        assert [[book.period for book in event.books] for event in changed[:3]] == [
            [period, period + 1],
            [period],
            [period],
        ]
        assert (changed[1].books[0].trades, changed[1].books[0].best_ask_uwatt_per_kwh) == (1, 200_000)
        closed = [event for event in told if isinstance(event, BookClosed)]
        assert [event.book.period for event in closed] == sorted({event.book.period for event in closed})
        (own,) = [event.book for event in closed if event.book.period == period]
        assert (own.trades, own.last_price_uwatt_per_kwh, own.best_ask_uwatt_per_kwh) == (1, 200_000, None)
        settled = [event.settled for event in told if isinstance(event, PeriodSettled)]
        assert [one.period for one in settled] == sorted({one.period for one in settled})
        assert next(one for one in settled if one.period == period).trade_wh == 200


async def test_metrics_count_what_is_traded_and_show_what_is_open(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        trading(home)
        metrics = Metrics(dict, dict, dict)
        for block in home.made.blocks:
            metrics.count_trades(block.result.effects)
        shown = generate_latest(metrics.registry).decode()
        assert "ecloud_market_trades_total 1.0" in shown
        assert "ecloud_market_energy_wh_total 200.0" in shown
        with home.chain.snapshot() as view:
            gauges = market_gauges(view, home.made.genesis)
        # Then: retail and grid fee of what was sold wait in escrow
        assert gauges["market_open_orders"] == 4
        assert gauges["market_escrow_uwatt"] >= 200 * 300_000 // 1_000
        assert gauges["market_settled_periods"] >= 0


async def test_overview_of_all_periods_is_quick(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        # Given orders on both sides of every period that is open
        home.produce()
        first = first_open(home) + 3
        periods = range(first, home.now_ms // home.made.open.parameters.period_ms + 673)
        strips = [tuple(periods[start : start + 96]) for start in range(0, len(periods), 96)]
        for side, who, limit in ((Side.SELL, "george", 200_000), (Side.BUY, "bob", 150_000)):
            place(home, who, *(PlaceOrder(side, strip, 10, limit) for strip in strips))
        with home.chain.snapshot() as view:
            # When
            began = time.process_time()
            market = Market(Reader(view, home), home.now_ms).overview(None, 1_000, busy=False)
            took = time.process_time() - began
        # Then
        assert len([one for one in market.periods if one.best_bid_uwatt_per_kwh == 150_000]) > 600
        assert len([one for one in market.periods if one.best_ask_uwatt_per_kwh == 200_000]) > 600
        print(f"overview of {len(market.periods)} periods: {1_000 * took:.1f} ms")
        assert took < OVERVIEW_CPU_S

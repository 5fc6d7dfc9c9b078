"""The auction: welfare equal to the optimum, nobody envious, every limit kept; by brute force over lots."""

from __future__ import annotations

import itertools
import random
from collections import Counter

from msgspec.structs import replace

from ledger.market.auction import Clearing, clear
from ledger.market.grid_fee import LOT_WH, FeeModel, amount_uwatt
from ledger.market.matching import Feeders, Order, Side
from tests.ledger.market.terrain import F1, F2, PLACES, TARIFF, member, place_of

BUY, SELL = Side.BUY, Side.SELL
WIDE = dict.fromkeys((place.feeder for place in PLACES), 10**9)


def order(number: int, who: int, side: Side, limit: int, energy_wh: int) -> Order:
    return Order(number, member(who), place_of(who), side, limit, energy_wh)


def cleared(*orders: Order, limits: dict[str, int] | None = None) -> Clearing:
    return clear(orders, Feeders(limits or WIDE, TARIFF.congestion_threshold_bps), TARIFF)


def best_for_all(orders: list[Order]) -> tuple[int, int]:
    """The largest welfare and, of the volumes that reach it, the largest; lot by lot."""
    bids = sorted((o.limit for o in orders if o.side is BUY for _ in range(o.left_wh // LOT_WH)), reverse=True)
    asks = sorted(o.limit for o in orders if o.side is SELL for _ in range(o.left_wh // LOT_WH))
    gains = itertools.accumulate(bid - ask for bid, ask in zip(bids, asks, strict=False))
    return max([(0, 0), *((gain, count) for count, gain in enumerate(gains, 1))])


def random_orders(rng: random.Random) -> list[Order]:
    """Orders of a few members, of whom nobody both buys and sells."""
    numbers = itertools.count()
    count = rng.randint(0, 14)
    return [
        order(next(numbers), who, BUY if who % 2 else SELL, 100 * rng.randint(800, 812), LOT_WH * rng.randint(1, 8))
        for who in (rng.randint(0, 7) for _ in range(count))
    ]


def test_welfare_is_the_optimum_and_nobody_is_envious() -> None:
    traded = rationed = 0
    for seed in range(5_000):
        orders = random_orders(random.Random(seed))
        found = cleared(*orders)
        welfare, lots = best_for_all(orders)
        got = found.accepted_wh
        assert found.executed_wh == got, "nothing is cut where the feeders are wide"
        bought = sum(got.get(o.number, 0) for o in orders if o.side is BUY)
        sold = sum(got.get(o.number, 0) for o in orders if o.side is SELL)
        assert bought == sold == lots * LOT_WH, seed
        if found.price is None:
            assert not lots
            continue
        traded += 1
        value = sum(o.limit * got.get(o.number, 0) * (1 if o.side is BUY else -1) for o in orders)
        assert value // LOT_WH == welfare, seed
        assert found.price % 100 == 0
        for o in orders:
            part = got.get(o.number, 0)
            sign = 1 if o.side is BUY else -1
            assert 0 <= part <= o.left_wh
            assert part % LOT_WH == 0
            if part:
                assert sign * o.limit >= sign * found.price, seed
            if sign * o.limit > sign * found.price:
                assert part == o.left_wh, ("envy", seed)
            rationed += 0 < part < o.left_wh
    assert traded > 3_000
    assert rationed > 1_000


def test_trades_agree_with_what_was_executed_and_no_feeder_is_beyond_its_limit() -> None:
    cut = 0
    for seed in range(3_000):
        rng = random.Random(seed)
        orders = random_orders(rng)
        limits = {"F1": 10 * rng.randint(1, 20), "F2": 10 * rng.randint(1, 20), "F3": 10**6}
        feeders = Feeders(limits, TARIFF.congestion_threshold_bps)
        found = clear(orders, feeders, TARIFF)
        bought: Counter[bytes] = Counter()
        sold: Counter[bytes] = Counter()
        out: Counter[str] = Counter()
        for trade in found.trades:
            assert trade.energy_wh > 0
            assert trade.energy_wh % LOT_WH == 0
            bought[trade.buyer] += trade.energy_wh
            sold[trade.seller] += trade.energy_wh
            seller, buyer = place_of(trade.seller[0]), place_of(trade.buyer[0])
            if seller.feeder != buyer.feeder:
                out[seller.feeder] += trade.energy_wh
        for o in orders:
            (bought if o.side is BUY else sold)[o.member] -= found.executed_wh.get(o.number, 0)
            assert found.executed_wh.get(o.number, 0) <= found.accepted_wh.get(o.number, 0)
        assert not any(bought.values())
        assert not any(sold.values())
        assert all(out[feeder] == feeders.out_wh[feeder] <= limits[feeder] for feeder in limits)
        assert all(feeders.into_wh[feeder] <= limits[feeder] for feeder in limits)
        cut += found.executed_wh != found.accepted_wh
    assert cut > 100


def test_the_marginal_level_is_shared_pro_rata_ties_to_the_older_order() -> None:
    found = cleared(
        order(0, 1, BUY, 100_000, 50),
        order(1, 3, BUY, 100_000, 50),
        order(2, 5, BUY, 100_000, 50),
        order(3, 0, SELL, 90_000, 40),
    )
    assert found.accepted_wh == {0: 20, 1: 10, 2: 10, 3: 40}
    assert found.price == 100_000, "a bid that is not wholly accepted sets the price"


def test_the_price_lies_in_the_middle_of_what_both_accept() -> None:
    found = cleared(order(0, 1, BUY, 100_100, 50), order(1, 0, SELL, 90_000, 50))
    assert found.price == 95_000
    found = cleared(order(0, 1, BUY, 100_100, 50), order(1, 0, SELL, 90_000, 50), order(2, 2, SELL, 92_000, 50))
    assert found.price == 91_000


def test_nothing_to_trade() -> None:
    assert cleared().price is None
    assert cleared(order(0, 1, BUY, 80_000, 50), order(1, 0, SELL, 90_000, 50)) == Clearing(None, {}, {}, [])


def test_what_is_beyond_a_feeder_is_cut_from_the_orders_that_offered_least() -> None:
    seller, buyer = member(0), member(1)
    orders = [
        Order(0, seller, F1, SELL, 90_000, 100),
        Order(1, seller, F1, SELL, 95_000, 100),
        Order(2, buyer, F2, BUY, 120_000, 100),
        Order(3, buyer, F2, BUY, 110_000, 100),
    ]
    found = clear(orders, Feeders({"F1": 150, "F2": 10**6}, TARIFF.congestion_threshold_bps), TARIFF)
    assert found.accepted_wh == dict.fromkeys(range(4), 100)
    assert found.executed_wh == {0: 100, 1: 50, 2: 100, 3: 50}
    assert [(trade.energy_wh, trade.rate) for trade in found.trades] == [(120, 32_000), (30, 52_000)]


def test_neighbours_on_one_feeder_are_paired_first() -> None:
    found = cleared(
        order(0, 0, SELL, 90_000, 50),
        order(1, 1, SELL, 90_000, 50),
        order(2, 3, BUY, 100_000, 50),
        order(3, 4, BUY, 100_000, 50),
    )
    assert {(trade.seller, trade.buyer) for trade in found.trades} == {(member(0), member(3)), (member(1), member(4))}


def test_the_worked_example_with_a_fee_of_five_percent() -> None:
    # Alice sells 20 kWh at 0.15, Bob 15 at 0.12, Charlie buys 25 at 0.16: traded one by one 15 at 0.12 and 10 at 0.15
    from ledger.market.book import Book

    tariff = replace(TARIFF, fee_model=int(FeeModel.PERCENTAGE))
    book = Book(Feeders(WIDE, 8_000), tariff)
    book.place(member(0), F1, SELL, 150_000, 20_000)
    book.place(member(1), F1, SELL, 120_000, 15_000)
    _, matched = book.place(member(2), F1, BUY, 160_000, 25_000)
    assert [(fill.energy_wh, fill.price) for fill in matched.fills] == [(15_000, 120_000), (10_000, 150_000)]
    assert sum(amount_uwatt(fill.energy_wh, fill.price) for fill in matched.fills) == 3_300_000
    assert sum(amount_uwatt(fill.energy_wh, fill.rate) for fill in matched.fills) == 165_000
    assert book.depth(SELL) == [(150_000, 10_000)]

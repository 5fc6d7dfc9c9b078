"""Continuous trading: by example, and against a matcher that trades lot by lot."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from ledger.market.book import Book
from ledger.market.grid_fee import LOT_WH, FeeModel, Tariff, fee_rate, tier_between
from ledger.market.matching import Feeders, Matched, Side
from tests.ledger.market.terrain import F1, F2, F3, TARIFF, member, place_of

BUY, SELL = Side.BUY, Side.SELL
LIMITS = {"F1": 200, "F2": 300, "F3": 10**6}
A, B, C, D = (member(number) for number in range(4))


def book(limits: dict[str, int] | None = None, max_fills: int = 4_096) -> Book:
    return Book(Feeders(limits or dict.fromkeys(LIMITS, 10**6), TARIFF.congestion_threshold_bps), TARIFF, max_fills)


def fills(matched: Matched) -> list[tuple[bytes, int, int, int]]:
    return [(fill.maker.member, fill.energy_wh, fill.price, fill.rate) for fill in matched.fills]


def test_better_prices_first_then_the_older_order_at_the_makers_price() -> None:
    street = book()
    street.place(A, F1, SELL, 160_000, 100)
    street.place(B, F1, SELL, 150_000, 100)
    street.place(C, F1, SELL, 150_000, 100)
    _, matched = street.place(D, F1, BUY, 160_000, 250)
    assert fills(matched) == [(B, 100, 150_000, 24_000), (C, 100, 150_000, 24_000), (A, 50, 160_000, 24_000)]
    assert street.depth(SELL) == [(160_000, 50)]
    assert street.depth(BUY) == []


def test_what_is_not_filled_rests() -> None:
    street = book()
    street.place(A, F1, SELL, 150_000, 100)
    number, matched = street.place(B, F1, BUY, 150_000, 130)
    assert fills(matched) == [(A, 100, 150_000, 24_000)]
    assert street.depth(BUY) == [(150_000, 30)]
    assert street.cancel(number)
    assert not street.cancel(number)
    assert street.depth(BUY) == []


def test_a_cancelled_order_is_not_met() -> None:
    street = book()
    number, _ = street.place(A, F1, SELL, 150_000, 100)
    street.place(B, F1, SELL, 150_000, 100)
    street.cancel(number)
    _, matched = street.place(C, F1, BUY, 150_000, 150)
    assert fills(matched) == [(B, 100, 150_000, 24_000)]


def test_own_orders_never_match_and_the_newer_is_cancelled() -> None:
    street = book()
    street.place(B, F1, SELL, 140_000, 50)
    street.place(A, F1, SELL, 150_000, 100)
    number, matched = street.place(A, F1, BUY, 160_000, 100)
    assert (fills(matched), matched.met_own) == ([(B, 50, 140_000, 24_000)], True)
    assert not street.cancel(number)
    assert street.depth(SELL) == [(150_000, 100)]


def test_a_fill_splits_where_congestion_begins_and_ends_where_the_limit_is_reached() -> None:
    # F1 may send out 200 Wh, and is congested from 160 on
    street = book(LIMITS)
    street.place(A, F1, SELL, 150_000, 500)
    _, matched = street.place(B, F2, BUY, 150_000, 500)
    assert fills(matched) == [(A, 160, 150_000, 32_000), (A, 40, 150_000, 52_000)]
    # both rest, crossed, and are not matched again; a buyer on the same feeder still gets the maker
    assert (street.depth(BUY), street.depth(SELL)) == ([(150_000, 300)], [(150_000, 300)])
    _, matched = street.place(D, F1, BUY, 150_000, 100)
    assert fills(matched) == [(A, 100, 150_000, 24_000)]
    assert street.feeders.congested() == {"F1"}


def test_a_maker_without_headroom_is_skipped() -> None:
    street = book({"F1": 100, "F2": 1_000, "F3": 1_000})
    street.place(A, F1, SELL, 150_000, 500)
    street.place(C, F3, SELL, 155_000, 500)
    _, matched = street.place(B, F2, BUY, 160_000, 300)
    assert fills(matched) == [(A, 80, 150_000, 32_000), (A, 20, 150_000, 52_000), (C, 200, 155_000, 44_000)]


def test_matching_stops_after_the_most_fills_one_order_may_have() -> None:
    street = book(max_fills=2)
    for number in range(3):
        street.place(member(number), F1, SELL, 150_000, 10)
    _, matched = street.place(D, F1, BUY, 150_000, 30)
    assert len(matched.fills) == 2
    assert street.depth(BUY) == [(150_000, 10)]


def test_limits_and_thresholds_are_whole_lots() -> None:
    feeders = Feeders({"F1": 109, "F2": 1_000}, 8_000)
    assert feeders.headroom("F1", "F2") == (80, False)
    feeders.count("F1", "F2", 80)
    assert feeders.headroom("F1", "F2") == (20, True)


class _Resting(NamedTuple):
    number: int
    who: int
    side: Side
    limit: int


class LotByLot:
    """The rules once more, with nothing clever: each lot looks for its maker anew."""

    def __init__(self, limits: dict[str, int], tariff: Tariff) -> None:
        self.limits, self.tariff = limits, tariff
        self.threshold = {feeder: limit * 8 // 10 // LOT_WH * LOT_WH for feeder, limit in limits.items()}
        self.out, self.into = dict.fromkeys(limits, 0), dict.fromkeys(limits, 0)
        self.lots: list[_Resting] = []
        self.numbers = 0
        self.traded: dict[tuple[int, int, int, int], int] = {}

    def place(self, who: int, side: Side, limit: int, energy_wh: int) -> bool:
        number = self.numbers
        self.numbers += 1
        left = energy_wh // LOT_WH
        sign = 1 if side is BUY else -1
        rank = {id(lot): (sign * lot.limit, lot.number) for lot in self.lots}
        for lot in sorted((lot for lot in self.lots if lot.side is not side), key=lambda lot: rank[id(lot)]):
            if sign * lot.limit > sign * limit or not left:
                break
            if lot.who == who:
                return True
            seller, buyer = (lot.who, who) if side is BUY else (who, lot.who)
            source, sink = place_of(seller), place_of(buyer)
            congested = False
            if source.feeder != sink.feeder:
                if self.out[source.feeder] + LOT_WH > self.limits[source.feeder]:
                    continue
                if self.into[sink.feeder] + LOT_WH > self.limits[sink.feeder]:
                    continue
                congested = (
                    self.out[source.feeder] + LOT_WH > self.threshold[source.feeder]
                    or self.into[sink.feeder] + LOT_WH > self.threshold[sink.feeder]
                )
                self.out[source.feeder] += LOT_WH
                self.into[sink.feeder] += LOT_WH
            rate = fee_rate(self.tariff, tier_between(source, sink), congested, lot.limit)
            key = (number, lot.number, lot.limit, rate)
            self.traded[key] = self.traded.get(key, 0) + LOT_WH
            self.lots.remove(lot)
            left -= 1
        self.lots += [_Resting(number, who, side, limit) for _ in range(left)]
        return False

    def cancel(self, number: int) -> None:
        self.lots = [lot for lot in self.lots if lot.number != number]

    def depth(self, side: Side) -> list[tuple[int, int]]:
        levels: dict[int, int] = {}
        for lot in self.lots:
            if lot.side is side:
                levels[lot.limit] = levels.get(lot.limit, 0) + LOT_WH
        return sorted(levels.items(), reverse=side is BUY)


@pytest.mark.parametrize("model", FeeModel)
def test_thousands_of_random_books_trade_as_lot_by_lot(model: FeeModel) -> None:
    tariff = replace(TARIFF, fee_model=int(model))
    fills_seen = splits_seen = own_seen = 0
    for seed in range(1_500):
        rng = random.Random(seed)
        limits = {"F1": 10 * rng.randint(1, 30), "F2": 10 * rng.randint(1, 30), "F3": 10**6}
        fast = Book(Feeders(limits, tariff.congestion_threshold_bps), tariff)
        slow = LotByLot(limits, tariff)
        traded: dict[tuple[int, int, int, int], int] = {}
        for _ in range(30):
            if fast.orders and rng.random() < 0.15:
                number = rng.choice(sorted(fast.orders))
                assert fast.cancel(number)
                slow.cancel(number)
                continue
            who, side = rng.randint(0, 5), rng.choice((BUY, SELL))
            limit, energy_wh = 100 * rng.randint(1_000, 1_010), LOT_WH * rng.randint(1, 12)
            number, matched = fast.place(member(who), place_of(who), side, limit, energy_wh)
            assert slow.place(who, side, limit, energy_wh) == matched.met_own
            own_seen += matched.met_own
            splits_seen += len({fill.maker.number for fill in matched.fills}) < len(matched.fills)
            for fill in matched.fills:
                fills_seen += 1
                key = (number, fill.maker.number, fill.price, fill.rate)
                traded[key] = traded.get(key, 0) + fill.energy_wh
        assert traded == slow.traded, seed
        assert [fast.depth(side) for side in Side] == [slow.depth(side) for side in Side], seed
        assert fast.feeders.out_wh == slow.out
        assert fast.feeders.into_wh == slow.into
        assert all(slow.out[feeder] <= limits[feeder] >= slow.into[feeder] for feeder in limits)
    assert fills_seen > 10_000
    assert own_seen > 100
    assert splits_seen > 100

"""The uniform-price auction: all orders of a period at once, at gate closure.

1. V is the largest volume whose marginal bid is at least its marginal ask: the one with the most welfare, and of those
   the largest. Better price levels are filled wholly, the marginal level pro rata in lots, by largest remainder, ties
   by order number.
2. lo = max(worst accepted ask, best bid not wholly accepted); hi = min(worst accepted bid, best ask not wholly
   accepted); price = ⌊(lo + hi) / 2⌋ floored to the tick. So nobody pays more than its bid or gets less than its ask,
   and whoever offered better than the price got all of it.
3. Counterparties are found by ``pair``, member by member. What is beyond a feeder's limit is cut on both sides; below
   its threshold a feeder is not congested, and a flow is split there.
4. A member's cut is borne by the orders that asked for least: its executed energy goes to its orders best price first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from ledger.market.grid_fee import LOT_WH, Place, Tariff, Tier, fee_rate, to_tick
from ledger.market.matching import Feeders, Order, Side
from ledger.settlement.pair import pair
from ledger.split import split


class AuctionTrade(NamedTuple):
    """At the auction's price; ``rate`` is the grid fee in uwatt per kWh."""

    seller: bytes
    buyer: bytes
    energy_wh: int
    rate: int


class Clearing(NamedTuple):
    """``price`` is None where nothing could be traded. ``accepted_wh`` by order number, before any cut;
    ``executed_wh`` after it.
    """

    price: int | None
    accepted_wh: dict[int, int]
    executed_wh: dict[int, int]
    trades: list[AuctionTrade]


class _Accepted(NamedTuple):
    """One side's accepted energy by order number, the worst accepted limit, the best not wholly accepted one."""

    energy_wh: dict[int, int]
    worst: int
    best_left: int | None


def clear(orders: Sequence[Order], feeders: Feeders, tariff: Tariff) -> Clearing:
    """Clears the book; the feeders' counters advance. Changes no order."""
    buys = _by_price(orders, Side.BUY)
    sells = _by_price(orders, Side.SELL)
    volume_wh = _volume(buys, sells)
    if volume_wh == 0:
        return Clearing(None, {}, {}, [])
    bought, sold = _accept(buys, volume_wh), _accept(sells, volume_wh)
    lowest = sold.worst if bought.best_left is None else max(sold.worst, bought.best_left)
    highest = bought.worst if sold.best_left is None else min(bought.worst, sold.best_left)
    assert lowest <= highest
    price = to_tick((lowest + highest) // 2)
    trades = _trades(buys, sells, bought.energy_wh | sold.energy_wh, feeders, (tariff, price))
    executed_wh = _executed(buys, bought.energy_wh, _totals((trade.buyer, trade.energy_wh) for trade in trades))
    executed_wh |= _executed(sells, sold.energy_wh, _totals((trade.seller, trade.energy_wh) for trade in trades))
    return Clearing(price, bought.energy_wh | sold.energy_wh, executed_wh, trades)


def _by_price(orders: Iterable[Order], side: Side) -> list[Order]:
    sign = -1 if side is Side.BUY else 1
    return sorted(
        (order for order in orders if order.side is side and order.left_wh),
        key=lambda order: (sign * order.limit, order.number),
    )


def _volume(buys: Sequence[Order], sells: Sequence[Order]) -> int:
    """The largest volume whose marginal bid is at least its marginal ask, Wh."""
    volume_wh = 0
    next_buy = next_sell = 0
    buy_left_wh = sell_left_wh = 0
    while True:
        if not buy_left_wh:
            if next_buy == len(buys):
                return volume_wh
            buy_left_wh, bid = buys[next_buy].left_wh, buys[next_buy].limit
            next_buy += 1
        if not sell_left_wh:
            if next_sell == len(sells):
                return volume_wh
            sell_left_wh, ask = sells[next_sell].left_wh, sells[next_sell].limit
            next_sell += 1
        if bid < ask:
            return volume_wh
        energy_wh = min(buy_left_wh, sell_left_wh)
        volume_wh += energy_wh
        buy_left_wh -= energy_wh
        sell_left_wh -= energy_wh


def _accept(orders: Sequence[Order], volume_wh: int) -> _Accepted:
    """Fills ``orders``, sorted best first, up to the volume."""
    accepted_wh: dict[int, int] = {}
    worst = orders[0].limit
    for limit, group in groupby(orders, key=lambda order: order.limit):
        level = {order.number: order.left_wh for order in group}
        offered_wh = sum(level.values())
        taken_wh = min(volume_wh, offered_wh)
        if not taken_wh:
            return _Accepted(accepted_wh, worst, limit)
        worst = limit
        volume_wh -= taken_wh
        if taken_wh == offered_wh:
            accepted_wh |= level
            continue
        lots = {number.to_bytes(8, "big"): energy_wh // LOT_WH for number, energy_wh in level.items()}
        for key, part in split(taken_wh // LOT_WH, lots).items():
            if part:
                accepted_wh[int.from_bytes(key, "big")] = part * LOT_WH
        return _Accepted(accepted_wh, worst, limit)
    return _Accepted(accepted_wh, worst, None)


def _trades(
    buys: Sequence[Order],
    sells: Sequence[Order],
    accepted_wh: Mapping[int, int],
    feeders: Feeders,
    terms: tuple[Tariff, int],
) -> list[AuctionTrade]:
    """Counterparties, with what is beyond a feeder's limit cut."""
    tariff, price = terms
    places: dict[bytes, Place] = {order.member: order.place for order in (*buys, *sells)}
    sources_wh = _totals((order.member, accepted_wh.get(order.number, 0)) for order in sells)
    sinks_wh = _totals((order.member, accepted_wh.get(order.number, 0)) for order in buys)
    trades: list[AuctionTrade] = []
    for source, sink, flow_wh, tier in pair(sources_wh, sinks_wh, places):
        assert source != sink, "a member's own orders do not cross"
        if tier is Tier.SAME_FEEDER:
            trades.append(AuctionTrade(source, sink, flow_wh, fee_rate(tariff, tier, False, price)))
            continue
        left_wh = flow_wh
        seller, buyer = places[source].feeder, places[sink].feeder
        while left_wh:
            headroom_wh, congested = feeders.headroom(seller, buyer)
            energy_wh = min(left_wh, headroom_wh)
            if energy_wh <= 0:
                break
            feeders.count(seller, buyer, energy_wh)
            left_wh -= energy_wh
            trades.append(AuctionTrade(source, sink, energy_wh, fee_rate(tariff, tier, congested, price)))
    return trades


def _executed(
    orders: Sequence[Order], accepted_wh: Mapping[int, int], by_member_wh: dict[bytes, int]
) -> dict[int, int]:
    """Gives each member's executed energy to its orders, sorted best first."""
    executed_wh: dict[int, int] = {}
    for order in orders:
        energy_wh = min(accepted_wh.get(order.number, 0), by_member_wh.get(order.member, 0))
        if energy_wh:
            executed_wh[order.number] = energy_wh
            by_member_wh[order.member] -= energy_wh
    assert not any(by_member_wh.values())
    return executed_wh


def _totals(parts: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
    totals_wh: dict[bytes, int] = defaultdict(int)
    for member, energy_wh in parts:
        totals_wh[member] += energy_wh
    return dict(totals_wh)

"""A book's orders as records, and what a trade does to them: who holds which tokens.

1. An open order holds its lock: a purchase energy · (limit + highest grid fee rate), a sale energy · (retail − limit),
   exact since lots times ticks are. So value and the seller's deposit together are retail: a shortfall is covered.
2. At a trade the period's escrow takes energy · (retail + rate): of the buyer energy · (price + rate), of the seller
   energy · (retail − price). What of the locks is left over goes back at once.
3. Whatever of an order is neither traded nor open any more has given its lock back.
4. What happens to an order is told as effects of its account.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from ledger.balances import give_watt
from ledger.effects import Effect, EffectKind
from ledger.encoding import MAX_INTEGER
from ledger.execution import Execution
from ledger.market.grid_fee import Place, Tariff, amount_uwatt, highest_fee_rate
from ledger.market.matching import Order, Side
from ledger.market.terms import place_of
from ledger.records import (
    MARKET_COUNTER,
    MARKET_PERIODS,
    MEMBERS,
    ORDERS,
    OWN_ORDERS,
    POSITIONS,
    TRADES,
    MarketCounter,
    MarketPeriod,
    MarketTrade,
    OpenOrder,
    OwnOrder,
    Position,
    height_key,
)
from ledger.state import State

_FIRST_NUMBER: Final = 1
_NO_POSITION: Final = Position()
_NO_TRADES: Final = MarketPeriod()
_NOWHERE: Final = Place("", "")


class Sale(NamedTuple):
    """One trade as it is recorded. Orders by number; 0 where an auction paired members. ``price`` and ``rate`` in uwatt
    per kWh.
    """

    seller: bytes
    buyer: bytes
    energy_wh: int
    price: int
    rate: int
    sell_order: int = 0
    buy_order: int = 0


def lock_uwatt(tariff: Tariff, side: Side, limit: int, energy_wh: int) -> int:
    """What an open order holds."""
    if side is Side.BUY:
        return amount_uwatt(energy_wh, limit + highest_fee_rate(tariff, limit))
    return amount_uwatt(energy_wh, tariff.retail - limit)


def get_position(state: State, period: int, account: bytes) -> Position:
    return POSITIONS.get(state, height_key(period), account) or _NO_POSITION


def get_market(state: State, period: int) -> MarketPeriod:
    return MARKET_PERIODS.get(state, height_key(period)) or _NO_TRADES


def take_number(state: State) -> int:
    """The next order's number."""
    counter = MARKET_COUNTER.get(state)
    number = _FIRST_NUMBER if counter is None else counter.next_order
    MARKET_COUNTER.put(state, MarketCounter(next_order=number + 1))
    return number


def own_orders(state: State, account: bytes, period: int) -> list[tuple[int, OwnOrder]]:
    """(number, where it stands) of the account's open orders of the period, oldest first."""
    found = OWN_ORDERS.scan(state, account, height_key(period))
    return [(int.from_bytes(key[-8:], "big"), own) for key, own in found]


def best_first(state: State, period: int, side: Side) -> Iterator[Order]:
    """One side of the book, read no further than it is iterated."""
    places: dict[bytes, Place] = {}
    for key, order in ORDERS.scan(state, height_key(period), bytes((side,))):
        place = places.get(order.account)
        if place is None:
            member = MEMBERS.get(state, order.account)
            assert member is not None, "who has orders is a member"
            place = places[order.account] = place_of(state, member)
        number = int.from_bytes(key[-8:], "big")
        yield Order(number, order.account, place, side, order.limit, order.left_wh)


def put_order(execution: Execution, period: int, order: Order, energy_wh: int, locked_uwatt: int) -> None:
    """Lets an order rest, with the tokens that the caller took. ``energy_wh``: with what was filled already."""
    state = execution.state
    record = OpenOrder(
        account=order.member,
        limit=order.limit,
        energy_wh=energy_wh,
        left_wh=order.left_wh,
        locked_uwatt=locked_uwatt,
        height=execution.height,
    )
    ORDERS.put(state, record, *_place_in_book(period, order.side, order.limit, order.number))
    own = OwnOrder(side=int(order.side), limit=order.limit)
    OWN_ORDERS.put(state, own, order.member, height_key(period), height_key(order.number))
    opened_wh = order.left_wh if order.side is Side.SELL else 0
    _move(state, period, order.member, open_sell_wh=opened_wh, open_orders=1)


def get_order(state: State, period: int, side: Side, limit: int, number: int) -> OpenOrder:
    order = ORDERS.get(state, *_place_in_book(period, side, limit, number))
    assert order is not None, "the index of own orders names open ones"
    return order


def remove_order(state: State, period: int, side: Side, limit: int, number: int) -> int:
    """Takes an open order out of the book; returns the tokens it held, for the caller to give to somebody, uwatt."""
    order = get_order(state, period, side, limit, number)
    ORDERS.delete(state, *_place_in_book(period, side, limit, number))
    OWN_ORDERS.delete(state, order.account, height_key(period), height_key(number))
    closed_wh = order.left_wh if side is Side.SELL else 0
    _move(state, period, order.account, open_sell_wh=-closed_wh, open_orders=-1)
    return order.locked_uwatt


def release_order(execution: Execution, period: int, side: Side, limit: int, number: int) -> None:
    """Takes an open order out of the book and gives its lock back."""
    state = execution.state
    order = get_order(state, period, side, limit, number)
    give_watt(state, order.account, remove_order(state, period, side, limit, number))
    tell_released(
        execution, period, Order(number, order.account, _NOWHERE, side, limit, order.left_wh), order.locked_uwatt
    )


def tell_placed(execution: Execution, period: int, order: Order, energy_wh: int, locked_uwatt: int) -> None:
    """``energy_wh``: with what was filled already; ``locked_uwatt``: what the rest holds."""
    _tell(execution, EffectKind.ORDER_PLACED, period, order, energy_wh, -locked_uwatt)


def tell_released(execution: Execution, period: int, order: Order, locked_uwatt: int) -> None:
    _tell(execution, EffectKind.ORDER_RELEASED, period, order, order.left_wh, locked_uwatt)


def _tell(
    execution: Execution, kind: EffectKind, period: int, order: Order, energy_wh: int, balance_uwatt: int
) -> None:
    execution.effects.append(
        Effect(
            kind=kind,
            transaction=execution.index,
            account=order.member,
            other=None,
            period=period,
            side=order.side,
            order=order.number,
            trade=0,
            energy_wh=energy_wh,
            price=order.limit,
            rate=0,
            balance_uwatt=balance_uwatt,
        )
    )


def tell_filled(execution: Execution, period: int, sale: Sale, trade: int, freed: tuple[int, int], retail: int) -> None:
    """To seller and buyer. ``freed``: what their orders' locks fell by, uwatt; 0 for what held none."""
    parties = (
        (Side.SELL, sale.seller, sale.buyer, sale.sell_order, retail - sale.price),
        (Side.BUY, sale.buyer, sale.seller, sale.buy_order, sale.price + sale.rate),
    )
    for (side, account, other, order, due), freed_uwatt in zip(parties, freed, strict=True):
        execution.effects.append(
            Effect(
                kind=EffectKind.ORDER_FILLED,
                transaction=execution.index,
                account=account,
                other=other,
                period=period,
                side=side,
                order=order,
                trade=trade,
                energy_wh=sale.energy_wh,
                price=sale.price,
                rate=sale.rate,
                balance_uwatt=freed_uwatt - amount_uwatt(sale.energy_wh, due),
            )
        )


def fill_order(state: State, period: int, tariff: Tariff, order: Order) -> int:
    """Writes back a resting order that was filled down to ``order.left_wh``; returns what its lock fell by, uwatt."""
    if not order.left_wh:
        return remove_order(state, period, order.side, order.limit, order.number)
    before = get_order(state, period, order.side, order.limit, order.number)
    locked = lock_uwatt(tariff, order.side, order.limit, order.left_wh)
    place = _place_in_book(period, order.side, order.limit, order.number)
    ORDERS.put(state, replace(before, left_wh=order.left_wh, locked_uwatt=locked), *place)
    if order.side is Side.SELL:
        _move(state, period, order.member, open_sell_wh=order.left_wh - before.left_wh)
    return before.locked_uwatt - locked


def record_sales(execution: Execution, period: int, tariff: Tariff, sales: Sequence[Sale]) -> dict[bytes, int]:
    """Records trades and puts their tokens into the period's escrow; returns what each account has to give for it,
    uwatt.
    """
    state = execution.state
    market = get_market(state, period)
    due: dict[bytes, int] = defaultdict(int)
    for sale in sales:
        market = replace(
            market,
            trades=market.trades + 1,
            energy_wh=market.energy_wh + sale.energy_wh,
            value_uwatt=market.value_uwatt + amount_uwatt(sale.energy_wh, sale.price),
            last_price=sale.price,
            escrow_uwatt=market.escrow_uwatt + amount_uwatt(sale.energy_wh, tariff.retail + sale.rate),
        )
        trade = MarketTrade(*sale, height=execution.height)
        TRADES.put(state, trade, height_key(period), height_key(market.trades))
        due[sale.seller] += amount_uwatt(sale.energy_wh, tariff.retail - sale.price)
        due[sale.buyer] += amount_uwatt(sale.energy_wh, sale.price + sale.rate)
        _move(state, period, sale.seller, sold_wh=sale.energy_wh)
        _move(state, period, sale.buyer, bought_wh=sale.energy_wh)
    MARKET_PERIODS.put(state, market, height_key(period))
    return due


def order_of_key(key: bytes) -> tuple[int, Side, int]:
    """Period, side and number of an order's key in the book."""
    return int.from_bytes(key[:8], "big"), Side(key[8]), int.from_bytes(key[17:], "big")


def _place_in_book(period: int, side: Side, limit: int, number: int) -> tuple[bytes, ...]:
    rank = limit if side is Side.SELL else MAX_INTEGER - limit
    return height_key(period), bytes((side,)), height_key(rank), height_key(number)


def _move(
    state: State,
    period: int,
    account: bytes,
    *,
    sold_wh: int = 0,
    bought_wh: int = 0,
    open_sell_wh: int = 0,
    open_orders: int = 0,
) -> None:
    before = get_position(state, period, account)
    position = Position(
        sold_wh=before.sold_wh + sold_wh,
        bought_wh=before.bought_wh + bought_wh,
        open_sell_wh=before.open_sell_wh + open_sell_wh,
        open_orders=before.open_orders + open_orders,
    )
    assert min(position.open_sell_wh, position.open_orders) >= 0
    if position == _NO_POSITION:
        POSITIONS.delete(state, height_key(period), account)
    else:
        POSITIONS.put(state, position, height_key(period), account)

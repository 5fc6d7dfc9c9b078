"""What becomes of a book at gate closure.

1. Before its transactions, and before it settles a period, a block closes the books whose time has come, the earliest
   period first.
2. An auction is held by the first block at or after gate closure, whole, and at most one in a block; but if the period
   has ended by then, nobody trades.
3. Then the orders that are left are taken out and give back what they hold, at most ``MAX_RELEASED`` in one block. A
   period is not settled before all of them are.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from msgspec.structs import replace

from ledger.balances import give_watt
from ledger.execution import Execution
from ledger.market.auction import clear
from ledger.market.grid_fee import Mechanism, Tariff
from ledger.market.matching import Order, Side
from ledger.market.open_orders import (
    Sale,
    best_first,
    get_market,
    order_of_key,
    record_sales,
    release_order,
    remove_order,
    tell_filled,
    tell_released,
)
from ledger.market.terms import closing_ms, end_ms, feeders_of, put_feeders, tariff_of
from ledger.records import MARKET_PERIODS, ORDERS, height_key

MAX_RELEASED: Final = 1_024


def close_books(execution: Execution) -> None:
    """What a block does before its transactions."""
    state = execution.state
    may_clear = True
    released = 0
    for key, order in ORDERS.scan(state):
        period, side, number = order_of_key(key)
        if released >= MAX_RELEASED or execution.time_ms < closing_ms(execution.parameters, period):
            return
        tariff = tariff_of(state, period)
        if tariff.mechanism == Mechanism.AUCTION and not get_market(state, period).cleared:
            if not may_clear:
                return
            may_clear = False
            released += _hold_auction(execution, period, tariff)
            if ORDERS.get(state, key) is None:
                continue  # it got something, and is taken out already
        release_order(execution, period, side, order.limit, number)
        released += 1


def _hold_auction(execution: Execution, period: int, tariff: Tariff) -> int:
    """Clears the book, and takes out the orders that got something; returns how many."""
    state = execution.state
    executed_wh: dict[int, int] = {}
    if execution.time_ms < end_ms(execution.parameters, period):
        executed_wh = _trade(execution, period, tariff)
    MARKET_PERIODS.put(state, replace(get_market(state, period), cleared=True), height_key(period))
    return len(executed_wh)


def _trade(execution: Execution, period: int, tariff: Tariff) -> dict[int, int]:
    """Wh executed by order number."""
    state = execution.state
    orders: list[Order] = [order for side in Side for order in best_first(state, period, side)]
    feeders = feeders_of(execution, period, tariff)
    clearing = clear(orders, feeders, tariff)
    if clearing.price is None or not clearing.trades:
        return {}
    price = clearing.price
    sales = [Sale(trade.seller, trade.buyer, trade.energy_wh, price, trade.rate) for trade in clearing.trades]
    for number, sale in enumerate(sales, get_market(state, period).trades + 1):
        tell_filled(execution, period, sale, number, (0, 0), tariff.retail)
    due = record_sales(execution, period, tariff, sales)
    put_feeders(state, period, feeders)
    back: dict[bytes, int] = defaultdict(int)
    for order in orders:
        if order.number in clearing.executed_wh:
            locked = remove_order(state, period, order.side, order.limit, order.number)
            back[order.member] += locked
            order.left_wh -= clearing.executed_wh[order.number]
            tell_released(execution, period, order, locked)
    assert set(due) <= set(back)
    for account in sorted(back):
        assert back[account] >= due[account], "an order's lock covers its trades"
        give_watt(state, account, back[account] - due[account])
    return clearing.executed_wh

"""Placing, cancelling and replacing orders.

1. Who trades: see ``traders``.
2. An order is for one period or, as a *strip*, for several alike: all are placed or none is. Energy in whole lots, the
   limit price in whole ticks and between the period's feed-in and retail, the period's book open.
3. A sale is within the export nameplate: see ``traders``. At most ``max_open_orders`` are open per member and period; a
   period has at most ``max_period_trades`` trades, after which its book takes no more orders.
4. Continuous: see ``matching``. An order that meets one of its own member before anything was filled is refused; if
   something was, the rest is cancelled, and the note says so. Auction: an order that crosses one of its own member is
   refused; nothing is matched before gate closure.
5. A quote is a purchase and a sale, either of which may be nothing, in place of all the sender's open orders of a
   period, in one step.
6. Orders placed, taken out and met on the way are counted as work: see ``execution``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ledger.balances import give_watt, take_watt
from ledger.execution import Execution, Rule
from ledger.market.grid_fee import LOT_WH, TICK_UWATT_PER_KWH, Mechanism, Tariff
from ledger.market.matching import Order, Side, match
from ledger.market.open_orders import (
    Sale,
    best_first,
    fill_order,
    get_market,
    get_position,
    lock_uwatt,
    own_orders,
    put_order,
    record_sales,
    release_order,
    take_number,
    tell_filled,
    tell_placed,
)
from ledger.market.terms import (
    closing_ms,
    feeders_of,
    put_feeders,
    tariff_of,
)
from ledger.market.traders import Trader, require_nameplate, require_trader
from ledger.records import OWN_ORDERS, height_key
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.transactions import (
    MAX_CANCELLED_ORDERS,
    MAX_STRIP_PERIODS,
    CancelOrder,
    Kind,
    PlaceOrder,
    ReplaceQuote,
    Transaction,
)

MAX_ORDER_WH: Final = 10**9
MAX_LIMIT_UWATT_PER_KWH: Final = 10**8
OWN_ORDER_NOTE: Final = "own_order_met"


def check_place(_: Transaction, payload: PlaceOrder) -> None:
    """Errors: TransactionRefused MALFORMED, AMOUNT_ZERO, AMOUNT_OVERFLOW, OFF_LOT, OFF_TICK."""
    if payload.side not in set(Side):
        raise TransactionRefused(Refusal.MALFORMED, f"no side has the number {payload.side}; 1 buys, 2 sells")
    if not 1 <= len(payload.periods) <= MAX_STRIP_PERIODS:
        raise TransactionRefused(
            Refusal.MALFORMED, f"{len(payload.periods)} periods; an order is for 1 to {MAX_STRIP_PERIODS}"
        )
    if list(payload.periods) != sorted(set(payload.periods)):
        raise TransactionRefused(Refusal.MALFORMED, "the periods of a strip ascend, each once")
    if payload.energy_wh == 0:
        raise TransactionRefused(Refusal.AMOUNT_ZERO, f"an order is for at least {LOT_WH} Wh")
    _check_terms(payload.energy_wh, payload.limit_uwatt_per_kwh)


def apply_place(execution: Execution, account: bytes, payload: PlaceOrder) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER, NO_GATEWAY, GATEWAY_DOES_NOT_TRADE, NO_CONNECTION_METER,
    METER_SUSPENDED, BOOK_CLOSED, BOOK_NOT_OPEN, PRICE_OUT_OF_RANGE, TOO_MANY_ORDERS, TOO_MANY_TRADES, BEYOND_NAMEPLATE,
    INSUFFICIENT_WATT, SELF_TRADE, TOO_MUCH_WORK.
    """
    trader = require_trader(execution, account)
    for period in payload.periods:
        _place(execution, trader, period, Side(payload.side), payload.energy_wh, payload.limit_uwatt_per_kwh)


def check_cancel(_: Transaction, payload: CancelOrder) -> None:
    """Errors: TransactionRefused MALFORMED."""
    if not 1 <= len(payload.orders) <= MAX_CANCELLED_ORDERS:
        raise TransactionRefused(
            Refusal.MALFORMED, f"{len(payload.orders)} orders; 1 to {MAX_CANCELLED_ORDERS} are cancelled at once"
        )
    if len(set(payload.orders)) != len(payload.orders):
        raise TransactionRefused(Refusal.MALFORMED, "an order is named twice")


def apply_cancel(execution: Execution, account: bytes, payload: CancelOrder) -> None:
    """Errors: TransactionRefused UNKNOWN_ORDER, BOOK_CLOSED."""
    state = execution.state
    for order in payload.orders:
        own = OWN_ORDERS.get(state, account, height_key(order.period), height_key(order.number))
        if own is None:
            raise TransactionRefused(
                Refusal.UNKNOWN_ORDER, f"the account has no open order {order.number} of period {order.period}"
            )
        _require_not_closed(execution, order.period)
        execution.count_work()
        release_order(execution, order.period, Side(own.side), own.limit, order.number)


def check_quote(_: Transaction, payload: ReplaceQuote) -> None:
    """Errors: TransactionRefused OFF_LOT, OFF_TICK, AMOUNT_OVERFLOW, SELF_TRADE."""
    _check_terms(payload.buy_energy_wh, payload.buy_limit_uwatt_per_kwh)
    _check_terms(payload.sell_energy_wh, payload.sell_limit_uwatt_per_kwh)
    crosses = payload.buy_limit_uwatt_per_kwh >= payload.sell_limit_uwatt_per_kwh
    if payload.buy_energy_wh and payload.sell_energy_wh and crosses:
        raise TransactionRefused(
            Refusal.SELF_TRADE,
            f"the quote buys up to {payload.buy_limit_uwatt_per_kwh} and sells from "
            f"{payload.sell_limit_uwatt_per_kwh} uwatt per kWh on; the purchase is to be cheaper",
        )


def apply_quote(execution: Execution, account: bytes, payload: ReplaceQuote) -> None:
    """Errors: as ``apply_place``."""
    trader = require_trader(execution, account)
    _require_not_closed(execution, payload.period)
    for number, own in own_orders(execution.state, account, payload.period):
        execution.count_work()
        release_order(execution, payload.period, Side(own.side), own.limit, number)
    for side, energy_wh, limit in (
        (Side.BUY, payload.buy_energy_wh, payload.buy_limit_uwatt_per_kwh),
        (Side.SELL, payload.sell_energy_wh, payload.sell_limit_uwatt_per_kwh),
    ):
        if energy_wh:
            _place(execution, trader, payload.period, side, energy_wh, limit)


def _place(execution: Execution, trader: Trader, period: int, side: Side, energy_wh: int, limit: int) -> None:
    state = execution.state
    execution.count_work()
    tariff = tariff_of(state, period)
    _require_open(execution, period)
    _require_price(tariff, limit)
    _require_room(execution, trader, period, side, energy_wh)
    locked = lock_uwatt(tariff, side, limit, energy_wh)
    take_watt(state, trader.account, locked)
    order = Order(take_number(state), trader.account, trader.place, side, limit, energy_wh)
    if tariff.mechanism == Mechanism.AUCTION:
        _require_not_crossed(state, period, order)
    else:
        locked -= _match(execution, period, tariff, order)
    kept = lock_uwatt(tariff, side, limit, order.left_wh)
    if order.left_wh:
        put_order(execution, period, order, energy_wh, kept)
    give_watt(state, trader.account, locked - kept)
    tell_placed(execution, period, order, energy_wh, kept)


def _match(execution: Execution, period: int, tariff: Tariff, taker: Order) -> int:
    """Trades with the other side; returns what the taker owes for it, uwatt. Errors: TransactionRefused SELF_TRADE,
    TOO_MUCH_WORK.
    """
    state = execution.state
    left = execution.parameters.max_period_trades - get_market(state, period).trades
    feeders = feeders_of(execution, period, tariff)
    fills, met_own = match(taker, _counted(execution, period, taker.side.other), feeders, tariff, left)
    if met_own:
        if not fills:
            raise TransactionRefused(
                Refusal.SELF_TRADE,
                f"in period {period} the best offer on the other side is the sender's own; cancel that first",
            )
        execution.note = OWN_ORDER_NOTE
    if not fills:
        return 0
    sales, freed, told = [], {}, get_market(state, period).trades
    for maker, energy_wh, price, rate in fills:
        seller, buyer = (taker, maker) if taker.side is Side.SELL else (maker, taker)
        sales.append(Sale(seller.member, buyer.member, energy_wh, price, rate, seller.number, buyer.number))
        freed[maker.number] = maker
        execution.concern(maker.member)
        unlocked = lock_uwatt(tariff, maker.side, maker.limit, energy_wh)
        locks = (0, unlocked) if taker.side is Side.SELL else (unlocked, 0)
        tell_filled(execution, period, sales[-1], told + len(sales), locks, tariff.retail)
    due = record_sales(execution, period, tariff, sales)
    put_feeders(state, period, feeders)
    for maker in freed.values():
        due[maker.member] -= fill_order(state, period, tariff, maker)
    owed = due.pop(taker.member)
    for account, amount in due.items():
        assert amount <= 0, "an order's lock covers its trades"
        give_watt(state, account, -amount)
    return owed


def _counted(execution: Execution, period: int, side: Side) -> Iterator[Order]:
    """The makers a taker meets, whether or not they can trade. Errors: TransactionRefused TOO_MUCH_WORK."""
    for maker in best_first(execution.state, period, side):
        execution.count_work()
        yield maker


def _require_open(execution: Execution, period: int) -> None:
    """Errors: TransactionRefused BOOK_CLOSED, BOOK_NOT_OPEN."""
    _require_not_closed(execution, period)
    last = execution.time_ms // execution.parameters.period_ms + execution.parameters.forward_periods
    if period > last:
        raise TransactionRefused(
            Refusal.BOOK_NOT_OPEN, f"the book of period {period} is not open yet; the last that is is {last}"
        )


def _require_not_closed(execution: Execution, period: int) -> None:
    """Errors: TransactionRefused BOOK_CLOSED."""
    late_ms = execution.time_ms - closing_ms(execution.parameters, period)
    if late_ms >= 0:
        raise TransactionRefused(
            Refusal.BOOK_CLOSED, f"the book of period {period} closed {late_ms} ms before the block"
        )


def _require_price(tariff: Tariff, limit: int) -> None:
    """Errors: TransactionRefused PRICE_OUT_OF_RANGE."""
    if not tariff.feed_in <= limit <= tariff.retail:
        raise TransactionRefused(
            Refusal.PRICE_OUT_OF_RANGE,
            f"{limit} uwatt per kWh; the gateway buys at {tariff.feed_in} and sells at {tariff.retail}, a price is "
            "not outside of that",
        )


def _require_room(execution: Execution, trader: Trader, period: int, side: Side, energy_wh: int) -> None:
    """Errors: TransactionRefused TOO_MANY_ORDERS, TOO_MANY_TRADES, BEYOND_NAMEPLATE."""
    state, parameters = execution.state, execution.parameters
    position = get_position(state, period, trader.account)
    if position.open_orders >= parameters.max_open_orders:
        raise TransactionRefused(
            Refusal.TOO_MANY_ORDERS,
            f"{position.open_orders} orders of period {period} are open; at most {parameters.max_open_orders} may be",
        )
    if get_market(state, period).trades >= parameters.max_period_trades:
        raise TransactionRefused(
            Refusal.TOO_MANY_TRADES, f"period {period} has its {parameters.max_period_trades} trades"
        )
    if side is Side.BUY:
        return
    require_nameplate(execution, trader, period, energy_wh)


def _require_not_crossed(state: State, period: int, order: Order) -> None:
    """Errors: TransactionRefused SELF_TRADE."""
    for number, own in own_orders(state, order.member, period):
        if own.side == order.side:
            continue
        bid, ask = (order.limit, own.limit) if order.side is Side.BUY else (own.limit, order.limit)
        if bid >= ask:
            raise TransactionRefused(
                Refusal.SELF_TRADE, f"it crosses the sender's own order {number} of period {period}; cancel that first"
            )


def _check_terms(energy_wh: int, limit: int) -> None:
    """Errors: TransactionRefused OFF_LOT, OFF_TICK, AMOUNT_OVERFLOW."""
    if energy_wh % LOT_WH:
        raise TransactionRefused(Refusal.OFF_LOT, f"{energy_wh} Wh; energy is traded in lots of {LOT_WH} Wh")
    if limit % TICK_UWATT_PER_KWH:
        raise TransactionRefused(
            Refusal.OFF_TICK, f"{limit} uwatt per kWh; prices are multiples of {TICK_UWATT_PER_KWH}"
        )
    if energy_wh > MAX_ORDER_WH or limit > MAX_LIMIT_UWATT_PER_KWH:
        raise TransactionRefused(
            Refusal.AMOUNT_OVERFLOW,
            f"an order is for at most {MAX_ORDER_WH} Wh at at most {MAX_LIMIT_UWATT_PER_KWH} uwatt per kWh",
        )


RULES: Final[dict[Kind, Rule[Any]]] = {
    Kind.PLACE_ORDER: Rule(check_place, apply_place),
    Kind.CANCEL_ORDER: Rule(check_cancel, apply_cancel),
    Kind.REPLACE_QUOTE: Rule(check_quote, apply_quote),
}

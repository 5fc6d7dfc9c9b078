"""Turns what a final block did to the market into events.

1. Trades, and which books orders moved in, are the block's effects; what a book came to is read once a block.
2. A book is told closed by the first block at or after its gate closure, a period settled by the block that settles it.
   Of what a long halt closed at once the last ``MOST_CLOSED`` are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from consensus.chain_rules import ExecutedBlock
from ledger.effects import Effect, EffectKind
from ledger.execution import get_tip
from ledger.genesis import Genesis
from ledger.market.grid_fee import amount_uwatt
from ledger.market.matching import Side
from ledger.records import MARKET_PERIODS, ORDERS, SETTLED_PERIODS, height_key
from ledger.settlement.lines import next_period
from ledger.state import State
from node.client.events import AuctionCleared, BookClosed, BooksChanged, BookTop, NodeEvent, PeriodSettled, TradeMade
from node.client.models import Trade
from node.views.market import Market, settled_view
from node.views.reader import Reader
from storage.interface import ChainView

MOST_CLOSED: Final = 96
_ORDERS_MOVED: Final = frozenset({EffectKind.ORDER_PLACED, EffectKind.ORDER_FILLED, EffectKind.ORDER_RELEASED})


class MarketObserver:
    """Remembers up to where books were closed and periods settled."""

    def __init__(self, state: State) -> None:
        self._time_ms = get_tip(state).time_ms
        self._settled_before = next_period(state)

    def block(self, reader: Reader, executed: ExecutedBlock) -> list[NodeEvent]:
        """The block's events: trades, books that changed, books that closed, periods that were settled."""
        header = executed.block.header
        market = Market(reader, header.time_ms)
        trades = list(_trades(reader, executed.result.effects, header.height))
        events: list[NodeEvent] = [TradeMade(trade=trade) for trade, _ in trades]
        moved = {effect.period for effect in executed.result.effects if effect.kind in _ORDERS_MOVED}
        if moved:
            books = [_top(market, period) for period in sorted(moved)]
            events.append(BooksChanged(height=header.height, books=books))
        events += self._closed(market, header.height)
        events += _auctions([trade for trade, by_block in trades if by_block], header.height)
        return events + self._settled(reader)

    def _closed(self, market: Market, height: int) -> list[NodeEvent]:
        before = market.first_open_at(self._time_ms)
        self._time_ms = market.now_ms
        periods = range(max(before, market.first_open - MOST_CLOSED), market.first_open)
        return [BookClosed(height=height, book=_top(market, period)) for period in periods]

    def _settled(self, reader: Reader) -> list[NodeEvent]:
        first, self._settled_before = self._settled_before, next_period(reader.state)
        events: list[NodeEvent] = []
        for period in range(first, self._settled_before):
            record = SETTLED_PERIODS.get(reader.state, height_key(period))
            assert record is not None, "every period before the next one to settle is"
            events.append(PeriodSettled(settled=settled_view(period, record, reader.parameters.period_ms)))
        return events


def market_gauges(view: ChainView, genesis: Genesis) -> dict[str, float]:
    """For metrics: open orders, what escrow holds, periods settled so far."""
    state = State(view)
    settled_before = next_period(state)
    escrow_uwatt = 0
    for key, _ in view.scan_above(MARKET_PERIODS.key(height_key(settled_before))[:-1]):
        if not key.startswith(MARKET_PERIODS.prefix):
            break
        market = MARKET_PERIODS.get(state, key[1:])
        assert market is not None, "the key was just read"
        escrow_uwatt += market.escrow_uwatt
    return {
        "market_open_orders": sum(1 for _ in view.scan(ORDERS.prefix)),
        "market_escrow_uwatt": escrow_uwatt,
        "market_settled_periods": settled_before - genesis.time_ms // genesis.parameters.period_ms,
    }


def _top(market: Market, period: int) -> BookTop:
    summary = market.summary(period)
    return BookTop(
        period=period,
        best_bid_uwatt_per_kwh=summary.best_bid_uwatt_per_kwh,
        best_ask_uwatt_per_kwh=summary.best_ask_uwatt_per_kwh,
        last_price_uwatt_per_kwh=summary.last_price_uwatt_per_kwh,
        trades=summary.trades,
        energy_wh=summary.energy_wh,
    )


def _trades(reader: Reader, effects: Iterable[Effect], height: int) -> Iterable[tuple[Trade, bool]]:
    """The block's trades, and whether an auction made them. Their two effects follow each other, the seller's first."""
    fills = [effect for effect in effects if effect.kind == EffectKind.ORDER_FILLED]
    for sold, bought in zip(fills[::2], fills[1::2], strict=True):
        assert (sold.side, bought.side) == (Side.SELL, Side.BUY)
        assert (sold.period, sold.trade) == (bought.period, bought.trade)
        trade = Trade(
            period=sold.period,
            number=sold.trade,
            seller=reader.party(sold.account),
            buyer=reader.party(bought.account),
            energy_wh=sold.energy_wh,
            price_uwatt_per_kwh=sold.price,
            rate_uwatt_per_kwh=sold.rate,
            value_uwatt=amount_uwatt(sold.energy_wh, sold.price),
            fee_uwatt=amount_uwatt(sold.energy_wh, sold.rate),
            sell_order=sold.order,
            buy_order=bought.order,
            height=height,
        )
        yield trade, sold.transaction is None


def _auctions(trades: Sequence[Trade], height: int) -> list[NodeEvent]:
    return [
        AuctionCleared(
            height=height,
            period=period,
            price_uwatt_per_kwh=next(trade.price_uwatt_per_kwh for trade in trades if trade.period == period),
            trades=sum(trade.period == period for trade in trades),
            energy_wh=sum(trade.energy_wh for trade in trades if trade.period == period),
        )
        for period in sorted({trade.period for trade in trades})
    ]

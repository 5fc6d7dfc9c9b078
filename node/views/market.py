"""The market as the state keeps it: books, trades, positions, prices, settled periods.

1. A period's book is open while the node's clock is before its gate closure, and from ``forward_periods`` before.
   A block may be made a moment later: what counts for an order is the block's time.
2. The overview reads the best order of each side only, and passes over the others by key: what it costs does not
   depend on how many orders there are.
3. Bid and ask levels, orders and trades are read whole for one period: at most ``max_members · max_open_orders`` and
   ``max_period_trades``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Final

from ledger.encoding import MAX_INTEGER
from ledger.execution import Execution
from ledger.market.grid_fee import LOT_WH, TICK_UWATT_PER_KWH, FeeModel, Mechanism, Tariff, amount_uwatt
from ledger.market.matching import Side
from ledger.market.open_orders import get_market, get_position, order_of_key
from ledger.market.terms import closing_ms, feeders_of, gateway_of, period_energy_wh
from ledger.records import (
    FEEDERS,
    MARKET_PERIODS,
    ORDERS,
    OWN_ORDERS,
    POSITIONS,
    SETTLED_PERIODS,
    TARIFFS,
    TRADES,
    MarketTrade,
    OpenOrder,
    height_key,
)
from ledger.records import MarketPeriod as MarketRecord
from ledger.records import SettledPeriod as SettledRecord
from ledger.registry import connection_meter
from ledger.settlement.lines import next_period
from node.client import models
from node.client.format import part_bps
from node.client.models import iso_time
from node.views.reader import NotFound, Reader, word

NUMBER_BYTES: Final = 8
_LAST_ORDER: Final = b"\xff" * 16
_LAST_ACCOUNT: Final = b"\xff" * 32
_NO_TRADES: Final = MarketRecord()


class Market:
    """One snapshot's market, seen at ``now_ms``."""

    def __init__(self, reader: Reader, now_ms: int) -> None:
        self.reader = reader
        self.state = reader.state
        self.parameters = parameters = reader.parameters
        self.now_ms = now_ms
        self.settled_before = next_period(reader.state)
        self.first_open = self.first_open_at(now_ms)
        self.last_open = now_ms // parameters.period_ms + parameters.forward_periods
        self._tariffs = [(int.from_bytes(key, "big"), tariff) for key, tariff in TARIFFS.scan(reader.state)]

    def first_open_at(self, time_ms: int) -> int:
        """The first period whose gate is not closed then."""
        return (time_ms + self.parameters.gate_closure_ms) // self.parameters.period_ms + 1

    def tariff(self, period: int) -> models.Tariff:
        first, tariff = self._tariff(period)
        return tariff_view(first, tariff)

    def _tariff(self, period: int) -> tuple[int, Tariff]:
        return self._tariffs[bisect_right(self._tariffs, period, key=lambda item: item[0]) - 1]

    # -- periods

    def overview(self, first: int | None, limit: int, *, busy: bool) -> models.Market:
        """``first``: the first open period by default. ``busy``: only periods with orders or trades."""
        start = self.first_open if first is None else first
        end = self.last_open + 1
        best = self._best(start, end if busy else min(end, start + limit))
        if busy:
            wanted = [period for period in sorted(best.keys() | self._traded(start)) if period < end]
        else:
            wanted = list(range(start, min(end, start + limit + 1)))
        chosen = wanted[:limit]
        return models.Market(
            height=self.reader.height,
            now_ms=self.now_ms,
            now=iso_time(self.now_ms),
            mechanism=word(self._tariff(self.first_open)[1].mechanism, Mechanism),
            tariff=self.tariff(self.first_open),
            gateway=None if (gateway := gateway_of(self.state)) is None else self.reader.party(gateway),
            period_ms=self.parameters.period_ms,
            gate_closure_ms=self.parameters.gate_closure_ms,
            utc_offset_minutes=self.parameters.utc_offset_minutes,
            lot_wh=LOT_WH,
            tick_uwatt_per_kwh=TICK_UWATT_PER_KWH,
            max_open_orders=self.parameters.max_open_orders,
            first_open_period=self.first_open,
            last_open_period=self.last_open,
            next_settled_period=self.settled_before,
            from_period=start,
            next_from=wanted[limit] if len(wanted) > limit else None,
            periods=[self._summary(period, *best.get(period, (None, None))) for period in chosen],
        )

    def summary(self, period: int) -> models.MarketPeriod:
        bid, ask = (self._best_of(period, side) for side in Side)
        return self._summary(period, bid, ask)

    def _summary(self, period: int, bid: int | None, ask: int | None) -> models.MarketPeriod:
        record = get_market(self.state, period)
        start_ms, closes_ms = period * self.parameters.period_ms, max(0, closing_ms(self.parameters, period))
        return models.MarketPeriod(
            period=period,
            start_ms=start_ms,
            start=iso_time(start_ms),
            closes_ms=closes_ms,
            closes=iso_time(closes_ms),
            is_open=self.first_open <= period <= self.last_open,
            best_bid_uwatt_per_kwh=bid,
            best_ask_uwatt_per_kwh=ask,
            last_price_uwatt_per_kwh=record.last_price if record.trades else None,
            trades=record.trades,
            energy_wh=record.energy_wh,
            value_uwatt=record.value_uwatt,
            cleared=record.cleared,
            settled=period < self.settled_before,
        )

    def _best(self, first: int, end: int) -> dict[int, tuple[int | None, int | None]]:
        """(bid, ask) of every period from ``first`` up to, not including ``end`` that has orders, by seeking from one
        side of a book to the next.
        """
        found: dict[int, tuple[int | None, int | None]] = {}
        above = ORDERS.key(height_key(first))
        while (item := next(self.reader.chain.scan_above(above), None)) is not None:
            key = item[0]
            if not key.startswith(ORDERS.prefix):
                break
            period, side, _ = order_of_key(key[1:])
            if period >= end:
                break
            bid, ask = found.get(period, (None, None))
            limit = _limit_of_key(key[1:])
            found[period] = (limit, ask) if side is Side.BUY else (bid, limit)
            above = key[:10] + _LAST_ORDER
        return found

    def _best_of(self, period: int, side: Side) -> int | None:
        for key, _ in ORDERS.scan(self.state, height_key(period), bytes((side,))):
            return _limit_of_key(key)
        return None

    def _traded(self, first: int) -> set[int]:
        """Periods from ``first`` on that have traded."""
        found: set[int] = set()
        for key, _ in self.reader.chain.scan_above(MARKET_PERIODS.key(height_key(first))[:-1]):
            if not key.startswith(MARKET_PERIODS.prefix):
                break
            found.add(int.from_bytes(key[1:], "big"))
        return {period for period in found if period >= first}

    def require_begun(self, period: int) -> None:
        """Errors: NotFound for a period whose book nobody could have traded in yet."""
        if period > self.last_open:
            raise NotFound(f"the book of period {period} is not open yet; the last that is is {self.last_open}")

    # -- one period; errors: NotFound for one that is not open yet

    def book(self, period: int, depth: int, limit: int) -> models.Book:
        """``depth`` price levels and ``limit`` single orders a side."""
        self.require_begun(period)
        bids, asks = (self._side(period, side) for side in Side)
        bid_levels, ask_levels = _levels(bids), _levels(asks)
        return models.Book(
            height=self.reader.height,
            summary=self.summary(period),
            tariff=self.tariff(period),
            bids=bid_levels[:depth],
            asks=ask_levels[:depth],
            bid_levels=len(bid_levels),
            ask_levels=len(ask_levels),
            bid_wh=sum(order.left_wh for _, order in bids),
            ask_wh=sum(order.left_wh for _, order in asks),
            bid_orders=[self._order(period, Side.BUY, number, order) for number, order in bids[:limit]],
            ask_orders=[self._order(period, Side.SELL, number, order) for number, order in asks[:limit]],
        )

    def _side(self, period: int, side: Side) -> list[tuple[int, OpenOrder]]:
        """(number, order), best first."""
        found = ORDERS.scan(self.state, height_key(period), bytes((side,)))
        return [(int.from_bytes(key[-NUMBER_BYTES:], "big"), order) for key, order in found]

    def _order(self, period: int, side: Side, number: int, order: OpenOrder) -> models.Order:
        return models.Order(
            period=period,
            number=number,
            side=side.name.lower(),
            account=self.reader.party(order.account),
            limit_uwatt_per_kwh=order.limit,
            energy_wh=order.energy_wh,
            left_wh=order.left_wh,
            locked_uwatt=order.locked_uwatt,
            height=order.height,
        )

    def trades(self, period: int, before: int | None, limit: int) -> models.TradePage:
        self.require_begun(period)
        last = get_market(self.state, period).trades
        top = last if before is None else min(before - 1, last)
        numbers = range(top, max(0, top - limit), -1)
        shown = [self._trade(period, number) for number in numbers]
        return models.TradePage(
            height=self.reader.height,
            period=period,
            trades=shown,
            next_before=shown[-1].number if shown and shown[-1].number > 1 else None,
        )

    def _trade(self, period: int, number: int) -> models.Trade:
        trade = TRADES.get(self.state, height_key(period), height_key(number))
        assert trade is not None, "a period's trades are numbered without gaps"
        return trade_view(self.reader, period, number, trade)

    def feeders(self, period: int) -> models.FeederList:
        self.require_begun(period)
        tip = self.reader.tip
        execution = Execution(self.state, self.parameters, b"", tip.height, self.now_ms)
        feeders = feeders_of(execution, period, self._tariff(period)[1])
        congested = feeders.congested()
        return models.FeederList(
            height=self.reader.height,
            period=period,
            feeders=[
                models.FeederHeadroom(
                    feeder=name,
                    substation=record.substation,
                    limit_wh=feeders.limits_wh[name],
                    threshold_wh=feeders.thresholds_wh[name],
                    out_wh=feeders.out_wh[name],
                    into_wh=feeders.into_wh[name],
                    left_out_wh=feeders.limits_wh[name] - feeders.out_wh[name],
                    left_into_wh=feeders.limits_wh[name] - feeders.into_wh[name],
                    congested=name in congested,
                )
                for name, record in ((key.decode(), record) for key, record in FEEDERS.scan(self.state))
            ],
        )

    # -- one account

    def own_orders(self, account: bytes, after: tuple[int, int] | None, limit: int) -> models.OrderPage:
        """Open orders after (period, number)."""
        rows = list(islice(self._own(account, after), limit + 1))
        shown = [self._order(period, side, number, order) for period, side, number, order in rows[:limit]]
        more = len(rows) > limit
        return models.OrderPage(
            height=self.reader.height,
            account=self.reader.party(account),
            orders=shown,
            next_after=f"{shown[-1].period}:{shown[-1].number}" if more else None,
        )

    def _own(self, account: bytes, after: tuple[int, int] | None) -> Iterator[tuple[int, Side, int, OpenOrder]]:
        above = OWN_ORDERS.key(account, *map(height_key, after or (0, 0)))
        for key, _ in self.reader.chain.scan_above(above):
            if not key.startswith(OWN_ORDERS.key(account)):
                return
            period, number = key[33:41], key[41:49]
            own = OWN_ORDERS.get(self.state, account, period, number)
            assert own is not None, "the key was just read"
            side = Side(own.side)
            rank = own.limit if side is Side.SELL else MAX_INTEGER - own.limit
            order = ORDERS.get(self.state, period, bytes((side,)), height_key(rank), number)
            assert order is not None, "the index of own orders names open ones"
            yield int.from_bytes(period, "big"), side, int.from_bytes(number, "big"), order

    def positions(self, account: bytes) -> models.PositionList:
        member = self.reader.member(account)
        connection = None if member is None else connection_meter(self.state, member)
        sellable_wh = (
            None if connection is None else period_energy_wh(self.parameters, connection[1].export_nameplate_w)
        )
        shown = []
        for period in self._periods_with_positions():
            record = get_position(self.state, period, account)
            if not (record.sold_wh or record.bought_wh or record.open_orders):
                continue
            start_ms, net_wh = period * self.parameters.period_ms, record.sold_wh - record.bought_wh
            shown.append(
                models.Position(
                    period=period,
                    start_ms=start_ms,
                    start=iso_time(start_ms),
                    is_open=self.first_open <= period <= self.last_open,
                    sold_wh=record.sold_wh,
                    bought_wh=record.bought_wh,
                    net_wh=net_wh,
                    open_sell_wh=record.open_sell_wh,
                    open_orders=record.open_orders,
                    sellable_wh=None if sellable_wh is None else max(0, sellable_wh - net_wh - record.open_sell_wh),
                )
            )
        return models.PositionList(height=self.reader.height, account=self.reader.party(account), positions=shown)

    def _periods_with_positions(self) -> Iterator[int]:
        """Those in which anybody has one: settled periods keep none."""
        above = POSITIONS.prefix
        while (item := next(self.reader.chain.scan_above(above), None)) is not None:
            key = item[0]
            if not key.startswith(POSITIONS.prefix):
                return
            yield int.from_bytes(key[1:9], "big")
            above = key[:9] + _LAST_ACCOUNT

    # -- what was

    def settled(self, before: int | None, limit: int) -> models.SettledPage:
        top = self.settled_before - 1 if before is None else min(before, self.settled_before) - 1
        shown: list[models.SettledPeriod] = []
        for period in range(top, max(-1, top - limit), -1):
            record = SETTLED_PERIODS.get(self.state, height_key(period))
            if record is None:
                break
            shown.append(self._settled(period, record))
        oldest = shown[-1].period if shown else 0
        more = oldest > 0 and SETTLED_PERIODS.get(self.state, height_key(oldest - 1)) is not None
        return models.SettledPage(
            height=self.reader.height,
            next_settled_period=self.settled_before,
            settled=shown,
            next_before=shown[-1].period if more else None,
        )

    def settled_period(self, period: int) -> models.SettledPeriod:
        """Errors: NotFound."""
        record = SETTLED_PERIODS.get(self.state, height_key(period))
        if record is None:
            raise NotFound(f"period {period} is not settled; the next to be is {self.settled_before}")
        return self._settled(period, record)

    def _settled(self, period: int, record: SettledRecord) -> models.SettledPeriod:
        return settled_view(period, record, self.parameters.period_ms)

    def prices(self, first: int | None, limit: int) -> models.PriceHistory:
        """``limit`` periods from ``first`` on; by default those up to the last that has traded."""
        if first is None:
            traded = self._traded(max(0, self.first_open - limit))
            first = max(0, max(traded, default=self.first_open) + 1 - limit)
        return models.PriceHistory(
            height=self.reader.height,
            points=[self._price(period) for period in range(first, min(first + limit, self.last_open + 1))],
        )

    def _price(self, period: int) -> models.PricePoint:
        record = MARKET_PERIODS.get(self.state, height_key(period)) or _NO_TRADES
        tariff, start_ms = self._tariff(period)[1], period * self.parameters.period_ms
        return models.PricePoint(
            period=period,
            start_ms=start_ms,
            start=iso_time(start_ms),
            last_uwatt_per_kwh=record.last_price if record.trades else None,
            mean_uwatt_per_kwh=record.value_uwatt * 1_000 // record.energy_wh if record.energy_wh else None,
            energy_wh=record.energy_wh,
            value_uwatt=record.value_uwatt,
            trades=record.trades,
            retail_uwatt_per_kwh=tariff.retail,
            feed_in_uwatt_per_kwh=tariff.feed_in,
        )


def trade_view(reader: Reader, period: int, number: int, trade: MarketTrade) -> models.Trade:
    return models.Trade(
        period=period,
        number=number,
        seller=reader.party(trade.seller),
        buyer=reader.party(trade.buyer),
        energy_wh=trade.energy_wh,
        price_uwatt_per_kwh=trade.price,
        rate_uwatt_per_kwh=trade.rate,
        value_uwatt=amount_uwatt(trade.energy_wh, trade.price),
        fee_uwatt=amount_uwatt(trade.energy_wh, trade.rate),
        sell_order=trade.sell_order,
        buy_order=trade.buy_order,
        height=trade.height,
    )


def settled_view(period: int, record: SettledRecord, period_ms: int) -> models.SettledPeriod:
    start_ms = period * period_ms
    sold_wh, bought_wh = record.drawn_wh + record.shortfall_wh, record.fed_in_wh + record.excess_wh
    return models.SettledPeriod(
        period=period,
        start_ms=start_ms,
        start=iso_time(start_ms),
        height=record.height,
        metered=record.metered,
        silent=record.silent,
        export_wh=record.export_wh,
        import_wh=record.import_wh,
        contract_wh=record.contract_wh,
        trade_wh=record.trade_wh,
        property_wh=record.property_wh,
        pool_wh=record.pool_wh,
        fed_in_wh=record.fed_in_wh,
        excess_wh=record.excess_wh,
        drawn_wh=record.drawn_wh,
        shortfall_wh=record.shortfall_wh,
        certified_wh=record.certified_wh,
        minted_mvote=record.minted_mvote,
        self_sufficiency_bps=part_bps(record.certified_wh, record.import_wh) if record.import_wh else None,
        self_consumption_bps=part_bps(record.certified_wh, record.export_wh) if record.export_wh else None,
        energy_check_wh=sold_wh - bought_wh - record.import_wh + record.export_wh,
    )


def tariff_view(first_period: int, tariff: Tariff) -> models.Tariff:
    return models.Tariff(
        first_period=first_period,
        mechanism=word(tariff.mechanism, Mechanism),
        retail_uwatt_per_kwh=tariff.retail,
        feed_in_uwatt_per_kwh=tariff.feed_in,
        fee_model=word(tariff.fee_model, FeeModel),
        fee_base_uwatt_per_kwh=tariff.fee_base,
        same_feeder_discount_bps=tariff.same_feeder_discount_bps,
        same_substation_discount_bps=tariff.same_substation_discount_bps,
        distance_surcharge_bps=tariff.distance_surcharge_bps,
        congestion_surcharge_bps=tariff.congestion_surcharge_bps,
        congestion_threshold_bps=tariff.congestion_threshold_bps,
        fee_of_value_bps=tariff.fee_of_value_bps,
    )


def tariff_list(reader: Reader) -> models.TariffList:
    found = TARIFFS.scan(reader.state)
    return models.TariffList(
        height=reader.height, tariffs=[tariff_view(int.from_bytes(key, "big"), tariff) for key, tariff in found]
    )


def _limit_of_key(key: bytes) -> int:
    """The limit price, from an order's key without the table's prefix."""
    rank = int.from_bytes(key[9:17], "big")
    return rank if key[8] == Side.SELL else MAX_INTEGER - rank


def _levels(orders: list[tuple[int, OpenOrder]]) -> list[models.BookLevel]:
    """By price, best first; ``orders`` are."""
    sums: dict[int, tuple[int, int]] = {}
    for _, order in orders:
        energy_wh, count = sums.get(order.limit, (0, 0))
        sums[order.limit] = (energy_wh + order.left_wh, count + 1)
    return [
        models.BookLevel(price_uwatt_per_kwh=price, energy_wh=energy_wh, orders=count)
        for price, (energy_wh, count) in sums.items()
    ]

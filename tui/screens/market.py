"""Market: the open periods with best prices, one period's book with its depth, prices, trades, own orders.

1. The book is that of the period under the cursor: sales above, purchases below, the best of both in the middle; ◂
   marks levels on which the household has orders. Sales are in the colour of production, purchases in that of
   consumption.
2. All of it is read when a block changed a book, closed one or settled a period, for as long as the screen is in front.
3. The wallet is that of the account this node works for, else the first of this machine. What is ordered or cancelled
   is confirmed first, with the amounts.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.widgets import Static

from ledger.market.matching import Side
from node.client import format as show
from node.client.errors import ApiProblem, ClientError
from node.client.models import (
    Account,
    Book,
    BookLevel,
    Market,
    MarketPeriod,
    Order,
    PriceHistory,
    Trade,
)
from node.client.wallets import Wallet
from tui.background import in_background
from tui.dialogs.confirm import ConfirmDialog, Intent
from tui.dialogs.result import ResultDialog
from tui.dialogs.trade import Bid, PlaceDialog, intent_of_bid, intent_of_cancel, price, when_text
from tui.drawing import bar
from tui.feed import Part
from tui.palette import CONSUMPTION, FAINT, FOREGROUND, MUTED, PRIMARY, PRODUCTION
from tui.screens.base import LiveScreen
from tui.widgets.chart import Chart, Series
from tui.widgets.live_table import Column, LiveTable, Row
from tui.widgets.top_bar import Place

PERIODS: Final = 96
PRICED: Final = 96
LEVELS: Final = 40
SHOWN_TRADES: Final = 50
OWN_ORDERS: Final = 200
PRICE_CELLS: Final = 8
ENERGY_CELLS: Final = 9
NONE: Final = "–"

PERIOD_COLUMNS: Final = (
    Column("delivery", 8, grow=True),
    Column("bid", 6, right=True),
    Column("ask", 6, right=True),
    Column("last", 6, right=True),
    Column("kWh", 5, right=True),
    Column("closes", 8, from_width=58),
)
ORDER_COLUMNS: Final = (
    Column("order", 5, right=True),
    Column("delivery", 8, grow=True),
    Column("side", 4),
    Column("kWh", 5, right=True),
    Column("price", 6, right=True),
    Column("locked, WATT", 12, right=True, from_width=60),
)
TRADE_COLUMNS: Final = (
    Column("kWh", 5, right=True),
    Column("price", 6, right=True),
    Column("seller", 8, grow=True),
    Column("buyer", 8),
    Column("block", 7, right=True, from_width=46),
)


class MarketScreen(LiveScreen):
    PLACE: ClassVar[Place] = Place("market", "m", "Market", "Books by period, prices, trades, own orders; buy and sell")
    AUTO_FOCUS = "#periods"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "place('BUY')", "Buy", tooltip="energy of the period under the cursor"),
        Binding("s", "place('SELL')", "Sell", tooltip="energy of the period under the cursor"),
        Binding("x", "cancel", "Cancel", tooltip="the order under the cursor of your own"),
        Binding("t", "tape", "Trades", tooltip="trades of the period, or your own orders"),
    ]

    def body(self) -> ComposeResult:
        with Horizontal(id="market-top"):
            periods = LiveTable(PERIOD_COLUMNS, id="periods")
            periods.add_class("panel")
            periods.border_title = "Open periods"
            yield periods
            yield Static(id="book", classes="panel")
        with Horizontal(id="market-bottom"):
            chart = Chart(id="prices", classes="panel")
            chart.border_title = "Prices, WATT/kWh"
            yield chart
            with Vertical(id="market-lists"):
                orders = LiveTable(ORDER_COLUMNS, id="own-orders")
                orders.add_class("panel")
                yield orders
                tape = LiveTable(TRADE_COLUMNS, id="tape")
                tape.add_class("panel")
                yield tape

    def on_mount(self) -> None:
        self._market: Market | None = None
        self._book: Book | None = None
        self._prices: PriceHistory | None = None
        self._trades: list[Trade] = []
        self._orders: list[Order] = []
        self._wallet: Wallet | None = None
        self._account: Account | None = None

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._show_all)

    # ------------------------------------------------------------------------------------------------- reading

    def show_feed(self, parts: Part) -> None:
        if parts & (Part.MARKET | Part.STATUS) and (self._market is None or parts & Part.MARKET):
            in_background(self, "market", self._read_all)

    @on(LiveTable.Chosen, "#periods")
    def choose_period(self) -> None:
        in_background(self, "book", self._read_book)

    async def _read_all(self) -> None:
        client = self.session.client
        try:
            self._find_wallet()
            self._market = await client.market(limit=PERIODS)
            self._prices = await client.prices(limit=PRICED)
            if self._wallet is not None:
                self._account = await client.account(self._wallet.address)
                self._orders = (await client.open_orders(self._wallet.address, limit=OWN_ORDERS)).orders
        except ApiProblem as problem:
            self.notify(problem.detail, severity="warning")
            return
        except ClientError:
            return  # the banner says that the node is away; what was shown stays
        self._show_periods()
        await self._read_book()

    async def _read_book(self) -> None:
        period = self._chosen_period()
        if period is None:
            return
        client = self.session.client
        try:
            self._book = await client.book(period, depth=LEVELS, orders=0)
            self._trades = (await client.trades(period, limit=SHOWN_TRADES)).trades
        except ApiProblem:
            return  # the period is none any more: the list is read anew with the next block
        except ClientError:
            return  # as above
        self._show_all()

    def _find_wallet(self) -> None:
        """Rule 3."""
        status = self.session.feed.status
        own = None if status is None or status.account is None else status.account.address
        wallets = self.session.keystore.list_wallets().wallets
        chosen = next((wallet for wallet in wallets if wallet.address == own), None)
        self._wallet = chosen or (wallets[0] if wallets else None)

    def _chosen_period(self) -> int | None:
        chosen = self.query_one("#periods", LiveTable).chosen
        return None if chosen is None else int(chosen)

    # ------------------------------------------------------------------------------------------------- showing

    def _show_all(self) -> None:
        self._show_periods()
        self._show_book()
        self._show_prices()
        self._show_lists()

    def _show_periods(self) -> None:
        market = self._market
        if market is None:
            return
        table = self.query_one("#periods", LiveTable)
        table.border_title = f"Open periods · {market.mechanism}"
        own = {order.period for order in self._orders}
        table.show_rows([self._period_row(market, one, one.period in own) for one in market.periods])

    def _period_row(self, market: Market, one: MarketPeriod, is_own: bool) -> Row:
        delivery = Text(self._delivery(market, one.period), f"bold {PRIMARY}" if is_own else "", end="")
        return str(one.period), (
            delivery,
            Text(_price(one.best_bid_uwatt_per_kwh), CONSUMPTION, end=""),
            Text(_price(one.best_ask_uwatt_per_kwh), PRODUCTION, end=""),
            _price(one.last_price_uwatt_per_kwh),
            show.energy(one.energy_wh, unit=False) if one.trades else Text(NONE, MUTED, end=""),
            Text(show.clock_time(one.closes_ms, market.utc_offset_minutes), MUTED, end=""),
        )

    def _delivery(self, market: Market, period: int) -> str:
        """``18:00``, with the day where it is not today."""
        text = when_text(market, period)
        day, _, clock = text.rpartition(" ")
        return {"": clock, "tomorrow": f"+1 {clock}"}.get(day, f"{day[5:]} {clock}")

    def _show_book(self) -> None:
        panel, book, market = self.query_one("#book", Static), self._book, self._market
        width, height = panel.content_size.width, panel.content_size.height
        if book is None or market is None or height < 3:
            return
        summary = book.summary
        panel.border_title = f"Book of {when_text(market, summary.period)}"
        panel.border_subtitle = (
            f"closes {show.clock_time(summary.closes_ms, market.utc_offset_minutes)}" if summary.is_open else "closed"
        )
        rows = (height - 1) // 2
        most = max((level.energy_wh for level in (*book.asks[:rows], *book.bids[:rows])), default=0)
        own = {(order.side, order.limit_uwatt_per_kwh) for order in self._orders if order.period == summary.period}
        lines = [Text("", end="")] * max(0, rows - len(book.asks))
        for side, levels in (("sell", list(reversed(book.asks[:rows]))), ("buy", book.bids[:rows])):
            if side == "buy":
                lines.append(self._middle(summary, width))
            lines += [
                self._level(side, level, most, width, (side, level.price_uwatt_per_kwh) in own) for level in levels
            ]
        panel.update(Text("\n").join(lines))

    def _middle(self, summary: MarketPeriod, width: int) -> Text:
        if summary.last_price_uwatt_per_kwh is None:
            said = "nothing traded yet"
        else:
            last = price(summary.last_price_uwatt_per_kwh)
            said = f"last {last} · {show.energy(summary.energy_wh)} in {show.count(summary.trades)}"
        return Text(f" {said} ".center(width, "─"), MUTED, no_wrap=True, end="")

    def _level(self, side: str, level: BookLevel, most: int, width: int, is_own: bool) -> Text:
        colour = PRODUCTION if side == "sell" else CONSUMPTION
        line = Text(f"{price(level.price_uwatt_per_kwh):>{PRICE_CELLS}}", f"bold {colour}", no_wrap=True, end="")
        line.append(f"{show.energy(level.energy_wh, unit=False):>{ENERGY_CELLS}} ", FOREGROUND)
        line.append_text(bar(level.energy_wh, most, max(1, width - PRICE_CELLS - ENERGY_CELLS - 3), colour))
        return line.append("◂" if is_own else " ", f"bold {PRIMARY}")

    def _show_prices(self) -> None:
        """Each period's mean price, as the one before where nothing was traded, between the utility's two."""
        chart, history, market = self.query_one("#prices", Chart), self._prices, self._market
        if history is None or market is None or not history.points:
            return
        means: list[float] = []
        points = history.points
        for point in points:
            if point.mean_uwatt_per_kwh is not None:
                means.append(point.mean_uwatt_per_kwh / 1_000_000)
            elif means:
                means.append(means[-1])
        if len(means) < 2:
            chart.border_title = "Prices, WATT/kWh · nothing traded yet"
            return
        shown = points[-len(means) :]
        chart.border_title = "Mean price by period, WATT/kWh"
        chart.border_subtitle = "grey: the utility's two prices"
        chart.show_series(
            [
                Series([point.retail_uwatt_per_kwh / 1_000_000 for point in shown], MUTED),
                Series([point.feed_in_uwatt_per_kwh / 1_000_000 for point in shown], FAINT),
                Series(means, PRIMARY),
            ],
            (self._delivery(market, shown[0].period), self._delivery(market, shown[-1].period)),
        )

    def _show_lists(self) -> None:
        market = self._market
        if market is None:
            return
        orders, tape = self.query_one("#own-orders", LiveTable), self.query_one("#tape", LiveTable)
        owner = "no wallet on this machine" if self._wallet is None else self._wallet.name
        orders.border_title = f"Open orders of {owner}" if self._wallet is not None else owner
        orders.border_subtitle = "x cancels" if self._orders else ""
        orders.show_rows([self._order_row(market, one) for one in self._orders])
        period = self._chosen_period()
        tape.border_title = "Trades" if period is None else f"Trades for {when_text(market, period)}"
        tape.show_rows([self._trade_row(one) for one in self._trades])

    def _order_row(self, market: Market, one: Order) -> Row:
        colour = PRODUCTION if one.side == "sell" else CONSUMPTION
        return f"{one.period}:{one.number}", (
            str(one.number),
            self._delivery(market, one.period),
            Text(one.side, colour, end=""),
            show.energy(one.left_wh, unit=False),
            price(one.limit_uwatt_per_kwh),
            show.watt(one.locked_uwatt, unit=False, aligned=True),
        )

    def _trade_row(self, one: Trade) -> Row:
        return str(one.number), (
            show.energy(one.energy_wh, unit=False),
            price(one.price_uwatt_per_kwh),
            Text(one.seller.label, self.session.colour_of(one.seller), end=""),
            Text(one.buyer.label, self.session.colour_of(one.buyer), end=""),
            show.count(one.height),
        )

    # ------------------------------------------------------------------------------------- ordering, cancelling

    def action_tape(self) -> None:
        self.toggle_class("-tape")

    def action_place(self, side: str) -> None:
        owner, period = self._owner(), self._chosen_period()
        if owner is None or period is None or self._book is None:
            return
        levels = self._book.asks if side == Side.BUY.name else self._book.bids
        best = levels[0].price_uwatt_per_kwh if levels and self._book.summary.period == period else None
        self.app.push_screen(PlaceDialog(self.session, owner, Side[side], period, best), self._confirm)

    def action_cancel(self) -> None:
        chosen = self.query_one("#own-orders", LiveTable).chosen
        order = next((one for one in self._orders if f"{one.period}:{one.number}" == chosen), None)
        owner, market = self._owner(), self._market
        if owner is None or market is None:
            return
        if order is None:
            self.notify("there is no open order to cancel", severity="warning")
        else:
            in_background(self, "cancel", partial(self._cancel, owner[0], order, market))

    async def _cancel(self, wallet: Wallet, order: Order, market: Market) -> None:
        try:
            fee_uwatt = (await self.session.client.parameters()).parameters["minimum_fee_uwatt"]
        except ClientError as error:
            self.notify(str(error), severity="warning")
            return
        self._ask(intent_of_cancel(wallet, order, market, fee_uwatt), f"cancel order {order.number}")

    def _owner(self) -> tuple[Wallet, Account] | None:
        if self._wallet is None:
            self.notify("there is no wallet to order with: ecloud wallet create NAME", severity="warning")
        elif self._account is None or self.session.feed.away is not None:
            self.notify("the node is away: nothing can be ordered now", severity="warning")
        else:
            return self._wallet, self._account
        return None

    def _confirm(self, bid: Bid | None) -> None:
        if bid is not None:
            self._ask(intent_of_bid(bid), bid.sentence)

    def _ask(self, intent: Intent, sentence: str) -> None:
        self.app.push_screen(ConfirmDialog(self.session, intent), partial(self._follow, sentence))

    def _follow(self, sentence: str, transaction_id: str | None) -> None:
        in_background(self, "market", self._read_all)
        if transaction_id is not None:
            self.app.push_screen(ResultDialog(self.session, sentence, transaction_id))


def _price(uwatt_per_kwh: int | None) -> str:
    return NONE if uwatt_per_kwh is None else price(uwatt_per_kwh)

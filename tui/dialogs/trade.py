"""Placing an order, in two steps: side, when, how much, at what price; then a confirmation that states what it locks
and what it can cost or brings at the least.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label, RadioButton, RadioSet

from ledger.market.grid_fee import amount_uwatt
from ledger.market.matching import Side
from ledger.transactions import CancelOrder, OrderReference, PlaceOrder
from node.client import format as show
from node.client.market import PeriodError, lock_uwatt, parse_energy, parse_periods, parse_price, period_text
from node.client.models import Account, Market, Order, Tariff
from node.client.wallets import Wallet
from tui.dialogs.confirm import Intent
from tui.dialogs.form import FormDialog, WrongField
from tui.palette import ATTENTION, CONSUMPTION, PRODUCTION
from tui.session import Session
from tui.widgets.facts import Fact

AGAIN = "It may have arrived; sending it again cannot place it twice."


@dataclass(frozen=True, slots=True)
class Bid:
    """What is to be ordered. ``locked_uwatt``: in all periods together. ``account`` as it was when asked."""

    wallet: Wallet
    account: Account
    side: Side
    periods: tuple[int, ...]
    energy_wh: int
    limit: int
    locked_uwatt: int
    fee_uwatt: int
    market: Market

    @property
    def sentence(self) -> str:
        return f"{_word(self.side)} {show.energy(self.energy_wh)} at {price(self.limit)} for {self.when}"

    @property
    def when(self) -> str:
        first, last = when_text(self.market, self.periods[0]), when_text(self.market, self.periods[-1])
        if len(self.periods) == 1:
            return first
        return f"{show.count(len(self.periods))} periods, {first} to {last}"


class PlaceDialog(FormDialog[Bid]):
    """Answers with what is to be ordered, None when cancelled. ``best`` is the price at which it would be filled
    now.
    """

    def __init__(
        self, session: Session, owner: tuple[Wallet, Account], side: Side, period: int, best: int | None
    ) -> None:
        self._wallet, self._account = owner
        super().__init__(
            f"Order · {self._wallet.name}", "nothing is ordered before you confirm", show.watt(self._account.watt_uwatt)
        )
        self._session = session
        self._side = side
        self._period = period
        self._best = best

    def fields(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label("side")
            with RadioSet(id="side"):
                yield RadioButton("buy", value=self._side is Side.BUY)
                yield RadioButton("sell", value=self._side is Side.SELL)
        with Horizontal(classes="field"):
            yield Label("when")
            yield Input(str(self._period), placeholder="18:00-20:00 for 7 days", id="when")
        with Horizontal(classes="field"):
            yield Label("kWh")
            yield Input(placeholder="1.5, in each period", id="energy")
        with Horizontal(classes="field"):
            yield Label("WATT/kWh")
            yield Input("" if self._best is None else price(self._best), placeholder="0.1800", id="price")

    def on_mount(self) -> None:
        self.query_one("#energy", Input).focus()

    async def answer(self) -> Bid:
        bid = await self._bid()
        missing = bid.locked_uwatt + bid.fee_uwatt - bid.account.watt_uwatt
        if missing > 0:
            raise WrongField(f"not enough WATT: {show.watt(bid.locked_uwatt)} are locked; {show.watt(missing)} missing")
        return bid

    async def _bid(self) -> Bid:
        """What the fields say. Errors: AmountError, PeriodError, ClientError."""
        side = Side.BUY if self.query_one("#side", RadioSet).pressed_index == 0 else Side.SELL
        energy_wh = parse_energy(self.query_one("#energy", Input).value)
        limit = parse_price(self.query_one("#price", Input).value)
        client = self._session.client
        market = await client.market(limit=1)
        periods = parse_periods(self.query_one("#when", Input).value, market)
        if periods[0] < market.first_open_period:
            raise PeriodError(f"the book of {when_text(market, periods[0])} has closed; choose a later period")
        tariffs = (await client.tariffs()).tariffs
        in_force = [_in_force(tariffs, period) for period in periods]
        for tariff in in_force:
            if not tariff.feed_in_uwatt_per_kwh <= limit <= tariff.retail_uwatt_per_kwh:
                lowest, highest = price(tariff.feed_in_uwatt_per_kwh), price(tariff.retail_uwatt_per_kwh)
                raise PeriodError(f"a price is between the utility's own, {lowest} and {highest}")
        return Bid(
            wallet=self._wallet,
            account=self._account,
            side=side,
            periods=periods,
            energy_wh=energy_wh,
            limit=limit,
            locked_uwatt=sum(lock_uwatt(tariff, side, energy_wh, limit) for tariff in in_force),
            fee_uwatt=(await client.parameters()).parameters["minimum_fee_uwatt"],
            market=market,
        )


def intent_of_bid(bid: Bid) -> Intent:
    """What the confirmation states, and what is signed."""
    number = len(bid.periods)
    buys = bid.side is Side.BUY
    much = show.energy(bid.energy_wh)
    if number > 1:
        much += f" in each period, {show.energy(bid.energy_wh * number)} in all"
    rows: list[Fact] = [
        (_word(bid.side), Text(much, f"bold {CONSUMPTION if buys else PRODUCTION}")),
        ("at most" if buys else "at least", f"{price(bid.limit)} WATT/kWh"),
        ("delivery", bid.when),
    ]
    if buys:
        rows.append(("costs", Text(f"at most {show.watt(bid.locked_uwatt)}, with the grid fee", f"bold {ATTENTION}")))
        rows.append(("", "locked until it is filled or cancelled; what it costs less comes back"))
    else:
        brings = amount_uwatt(bid.energy_wh, bid.limit) * number
        rows.append(("brings", Text(f"at least {show.watt(brings)}", f"bold {ATTENTION}")))
        rows.append(("deposit", f"{show.watt(bid.locked_uwatt)}, locked until it is delivered or cancelled"))
    rows.append(("fee", show.watt(bid.fee_uwatt)))
    left = bid.account.watt_uwatt - bid.locked_uwatt - bid.fee_uwatt
    rows.append(("wallet", f"{bid.wallet.name}, then left with {show.watt(left)}"))
    payload = PlaceOrder(int(bid.side), bid.periods, bid.energy_wh, bid.limit)
    return Intent(bid.wallet, payload, bid.fee_uwatt, tuple(rows), _word(bid.side).capitalize(), AGAIN)


def intent_of_cancel(wallet: Wallet, order: Order, market: Market, fee_uwatt: int) -> Intent:
    rows: list[Fact] = [
        ("cancel", Text(f"order {order.number}, {order.side}", f"bold {ATTENTION}")),
        ("open", f"{show.energy(order.left_wh)} at {price(order.limit_uwatt_per_kwh)} WATT/kWh"),
        ("delivery", when_text(market, order.period)),
        ("comes back", show.watt(order.locked_uwatt)),
        ("fee", show.watt(fee_uwatt)),
        ("wallet", wallet.name),
    ]
    payload = CancelOrder(orders=(OrderReference(order.period, order.number),))
    again = "It may have arrived; sending it again does no harm."
    return Intent(wallet, payload, fee_uwatt, tuple(rows), "Cancel it", again)


def price(uwatt_per_kwh: int) -> str:
    """With four decimals, the tick."""
    ticks = uwatt_per_kwh // 100
    return f"{ticks // 10_000}.{ticks % 10_000:04d}"


def when_text(market: Market, period: int) -> str:
    return period_text(period, market.period_ms, market.utc_offset_minutes, market.now_ms)


def _word(side: Side) -> str:
    return side.name.lower()


def _in_force(tariffs: list[Tariff], period: int) -> Tariff:
    return [tariff for tariff in tariffs if tariff.first_period <= period][-1]

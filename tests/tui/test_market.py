"""The market: what is shown is what the node says, live; orders are stated before they are signed, and signed once."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Input

from ledger.market.matching import Side
from ledger.refusal import Refusal, TransactionRefused
from ledger.transactions import CancelOrder, OrderReference, PlaceOrder, decode_transaction
from node.client.events import BooksChanged
from node.client.models import AccountEffect
from tests.tui.driving import PASSWORD, play, press, said, text_of, until, until_shown
from tests.tui.neighbourhood import BLOCK_MS, KEYS, PARTIES, START_MS
from tests.tui.server import RecordedNode
from tui.app import EcloudApp
from tui.dialogs.confirm import ConfirmDialog
from tui.dialogs.result import ResultDialog
from tui.dialogs.trade import PlaceDialog
from tui.screens.market import MarketScreen
from tui.widgets.live_table import LiveTable


async def opened(pilot: Pilot[Any]) -> None:
    await press(pilot, "m")
    await until_shown(pilot, "last 0.2")


async def ordering(pilot: Pilot[Any], key: str, energy: str, **fields: str) -> None:
    await press(pilot, key)
    await until(pilot, lambda: isinstance(pilot.app.screen, PlaceDialog), "the dialog did not open")
    for name, value in {"energy": energy, **fields}.items():
        pilot.app.screen.query_one(f"#{name}", Input).value = value
    await press(pilot, "enter")


async def confirmed(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog), "no confirmation was asked for")
    await press(pilot, f"={PASSWORD}", "enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, ResultDialog), "it was not sent")


def test_a_purchase_states_what_it_can_cost_and_is_signed(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        period = node.market().first_open
        await ordering(pilot, "b", "1.5", price="0.2")
        await until_shown(pilot, "password")
        stated = text_of(app)
        for part in (
            "1.50 kWh",
            "0.2000 WATT/kWh",
            "12:15",
            "at most 0.396 WATT",
            "0.001 WATT",
            "left with 248.973 WATT",
        ):
            assert part in stated, part
        assert node.submitted == []
        await confirmed(pilot)
        (raw,) = node.submitted
        sent = decode_transaction(raw)
        assert sent.has_valid_signature()
        assert sent.sender == KEYS["anne"].public_key
        assert sent.payload == PlaceOrder(int(Side.BUY), (period,), 1_500, 200_000)

    play(app, scene)


def test_a_sale_of_a_strip_states_all_of_it(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await ordering(pilot, "s", "0.5", price="0.15", when="tomorrow 18:00-19:00")
        await until_shown(pilot, "password")
        stated = text_of(app)
        for part in (
            "0.50 kWh in each period, 2.00 kWh in all",
            "at least 0.30 WATT",
            "0.30 WATT, locked",
            "4 periods",
        ):
            assert part in stated, part
        await confirmed(pilot)
        payload = decode_transaction(node.submitted[0]).payload
        assert isinstance(payload, PlaceOrder)
        assert len(payload.periods) == 4

    play(app, scene)


def test_the_price_offered_is_the_one_that_would_be_filled(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        best = node.market().answer(
            ["periods", str(node.market().first_open), "book"], {"depth": "1", "orders": "0"}, 1
        )
        await press(pilot, "b")
        await until(pilot, lambda: isinstance(app.screen, PlaceDialog), "the dialog did not open")
        asked = app.screen.query_one("#price", Input).value
        assert best is not None
        assert asked == f"0.{best.asks[0].price_uwatt_per_kwh // 100:04d}"  # type: ignore[attr-defined]  # a Book
        assert app.screen.query_one("#energy", Input).has_focus

    play(app, scene)


COMPLAINTS = (
    ({"energy": "0"}, "in steps of 0.01 kWh"),
    ({"energy": "x"}, "is no amount of kWh"),
    ({"energy": "1", "price": "0.20001"}, "in steps of 0.0001 WATT"),
    ({"energy": "1", "price": "0.05"}, "between the utility's own, 0.0800 and 0.3000"),
    ({"energy": "1", "price": "0.2", "when": "sometime"}, "is no period"),
    ({"energy": "1", "price": "0.2", "when": "today 06:00"}, "has closed"),
    ({"energy": "9000", "price": "0.2", "when": "next"}, "not enough WATT"),
)


def test_what_cannot_be_ordered_is_said_before_a_password_is_asked_for(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await press(pilot, "b")
        await until(pilot, lambda: isinstance(app.screen, PlaceDialog), "the dialog did not open")
        for fields, complaint in COMPLAINTS:
            for name, value in fields.items():
                app.screen.query_one(f"#{name}", Input).value = value
            await press(pilot, "enter")
            await until(pilot, lambda: complaint in said(app, "#problem"), f"{complaint!r} never came")  # noqa: B023
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, MarketScreen), "the dialog did not close")
        assert node.submitted == []

    play(app, scene)


def test_a_refusal_says_what_to_do(app: EcloudApp, node: RecordedNode) -> None:
    node.refuse_next = TransactionRefused(Refusal.BOOK_CLOSED, "the book of period 7 closed 3 ms before the block")

    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await ordering(pilot, "b", "1", price="0.2")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog), "no confirmation was asked for")
        await press(pilot, f"={PASSWORD}", "enter")
        await until(pilot, lambda: "choose a later period" in said(app, "#problem"), "the way out was not told")
        assert "refused: book closed" in said(app, "#problem")

    play(app, scene)


def test_an_own_order_is_cancelled(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await until(pilot, lambda: app.screen.query_one("#own-orders", LiveTable).chosen is not None, "no orders")
        chosen = app.screen.query_one("#own-orders", LiveTable).chosen
        assert chosen is not None
        period, number = map(int, chosen.split(":"))
        await press(pilot, "x")
        await until_shown(pilot, f"order {number}, buy")
        assert "comes back" in text_of(app)
        await confirmed(pilot)
        assert decode_transaction(node.submitted[0]).payload == CancelOrder((OrderReference(period, number),))

    play(app, scene)


def test_the_book_follows_the_node_s_events(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        assert "0.2077" not in text_of(app)
        # When a block brings a better ask
        market = node.market()
        market.order("george", Side.SELL, market.first_open, 100, 207_700)
        node.tell(BooksChanged(height=138, books=[]))
        # Then it is there without a key being pressed
        await until_shown(pilot, "0.2077")

    play(app, scene)


def test_another_period_has_another_book(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await press(pilot, "down", "down")
        await until_shown(pilot, "Book of 12:45")
        await until_shown(pilot, "0.2027")

    play(app, scene)


def test_a_transaction_shows_what_it_did(app: EcloudApp, node: RecordedNode) -> None:
    transactions = node.neighbourhood.transactions
    transfer = next(one for one in transactions.values() if one.kind == "transfer")
    transactions[transfer.id] = replace(transfer, effects=[a_fill(node)])

    async def scene(pilot: Pilot[Any]) -> None:
        await press(pilot, "c", "slash", f"={transfer.id}", "enter")
        await until_shown(pilot, "anne buy 1.50 kWh at 0.20 WATT/kWh, order 177")
        assert "−0.336 WATT" in text_of(app)

    play(app, scene, (120, 40))


def a_fill(node: RecordedNode) -> AccountEffect:
    return AccountEffect(
        height=136,
        index=9,
        time_ms=START_MS + 136 * BLOCK_MS,
        time="",
        kind="order_filled",
        transaction=None,
        account=PARTIES["anne"],
        other=PARTIES["george"],
        period=node.market().first_open,
        side="buy",
        order=177,
        trade=1,
        energy_wh=1_500,
        price_uwatt_per_kwh=200_000,
        rate_uwatt_per_kwh=24_000,
        balance_uwatt=-336_000,
    )


def test_the_wallet_s_history_has_what_the_market_did(app: EcloudApp, node: RecordedNode) -> None:
    node.neighbourhood.effects.append(a_fill(node))

    async def scene(pilot: Pilot[Any]) -> None:
        await press(pilot, "w")
        await until_shown(pilot, "order filled")
        (line,) = [line for line in text_of(app).splitlines() if "order filled" in line]
        assert "−0.336 WATT" in line
        assert "george" in line
        # And it leads to its block
        table = app.screen.query_one("#wallet-history", LiveTable)
        assert table.choose_row("136:9")
        table.focus()
        await press(pilot, "enter")
        await until_shown(pilot, "Block 136")

    play(app, scene)

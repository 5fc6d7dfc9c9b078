"""The bills' screen: what it reads, what it says of a line, and that it pays only what it has stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from ledger.transactions import PayBill, decode_transaction
from node.client.events import BillPaid
from node.client.models import Party
from node.client.wallets import Keystore
from tests.tui.conftest import attach
from tests.tui.driving import PASSWORD, make_wallets, play, press, text_of, until, until_shown
from tests.tui.server import RecordedNode
from tui.app import EcloudApp
from tui.dialogs.confirm import ConfirmDialog
from tui.dialogs.result import ResultDialog
from tui.screens.bills import BillsScreen
from tui.widgets.live_table import LiveTable


async def opened(pilot: Pilot[Any]) -> None:
    await press(pilot, "i")
    await until_shown(pilot, "utility alone")
    await until_shown(pilot, "market")


def noticed(app: EcloudApp) -> str:
    return " ".join(one.message for one in app._notifications)


def cycles(node: RecordedNode) -> list[int]:
    """Newest first: open, due, paid, and that before the first block of a cycle."""
    page: Any = node.bills().answer(["anne"], {"limit": "9"}, 1)
    return [one.cycle for one in page.bills]


def test_a_bill_is_paid_with_what_was_stated(app: EcloudApp, node: RecordedNode) -> None:
    due = cycles(node)[1]
    bill: Any = node.bills().answer(["anne", str(due)], {}, 1)

    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await press(pilot, "down")
        await until_shown(pilot, "to be paid by")
        await press(pilot, "y")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog), "no confirmation was asked for")
        stated = text_of(app)
        amount = f"{bill.summary.to_pay_uwatt / 1e6:.4f} WATT"
        assert stated.count(amount) == 2, "the sum, and the one creditor's"
        assert "to carla" in stated
        assert "0.001 WATT" in stated
        assert node.submitted == []
        await press(pilot, f"={PASSWORD}", "enter")
        await until(pilot, lambda: isinstance(app.screen, ResultDialog), "it was not sent")
        (raw,) = node.submitted
        transaction = decode_transaction(raw)
        assert transaction.payload == PayBill(cycle=due)
        assert transaction.has_valid_signature()

    play(app, scene)


def test_only_what_is_due_can_be_paid(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await press(pilot, "y")
        await until(pilot, lambda: "cannot be paid" in noticed(app), "it was not said")
        assert isinstance(app.screen, BillsScreen)
        assert node.submitted == []

    play(app, scene)


def test_without_the_member_s_wallet_nothing_is_paid(node: RecordedNode, tmp_path: Path) -> None:
    app = attach(node, make_wallets(tmp_path / "others", "bob"))

    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await press(pilot, "down")
        await until_shown(pilot, "to be paid by")
        await press(pilot, "y")
        await until(pilot, lambda: "no wallet of anne" in noticed(app), "it was not said")

    play(app, scene)


def test_bills_are_shown_without_a_wallet(node: RecordedNode) -> None:
    app = attach(node, Keystore(Path("/nowhere/wallets")))

    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        assert "Bills of anne" in text_of(app)

    play(app, scene)


def test_a_line_is_explained_by_trades_and_registers(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await press(pilot, "x")
        await until_shown(pilot, "trade 1")
        shown = text_of(app)
        assert "anne's meter" in shown
        assert "george's meter" in shown
        await press(pilot, "x")
        await until(pilot, lambda: "trade 1" not in text_of(app), "the lines did not come back")

    play(app, scene)


def test_an_estimate_says_that_no_reading_stands_behind_it(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await press(pilot, "down")
        await until_shown(pilot, "estimated")
        table = app.screen.query_one("#bill-lines", LiveTable)
        screen = app.screen
        assert isinstance(screen, BillsScreen)
        bill = screen._bill
        assert bill is not None
        estimated = next(line for line in bill.lines if line.kind == "estimated")
        assert table.choose_row(estimated.id)
        await press(pilot, "x")
        await until_shown(pilot, "no reading of this period")

    play(app, scene)


def test_what_happens_to_a_bill_is_read_when_it_is_told(app: EcloudApp, node: RecordedNode) -> None:
    due = cycles(node)[1]

    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        assert text_of(app).count("paid by") == 0
        # When it is paid, by whatever means
        node.bills().pay("anne", due)
        amount = 1
        event = BillPaid(height=1, member=Party(address="", name="anne"), cycle=due, amount_uwatt=amount)
        node.tell(event)
        screen = app.screen
        assert isinstance(screen, BillsScreen)
        await until(pilot, lambda: screen._bills[1].state == "paid", "it was not read")

    play(app, scene)


@pytest.mark.parametrize("key", ["tab", "enter"])
def test_the_lists_can_be_walked(app: EcloudApp, key: str) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await opened(pilot)
        await press(pilot, "tab")
        assert app.focused is app.screen.query_one("#bill-lines")
        await press(pilot, key)
        if key == "enter":
            await until_shown(pilot, "trade 1")

    play(app, scene)

"""Sending: nothing leaves without a confirmation that states all of it and the right password."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot
from textual.widgets import Button, Input

from ledger.refusal import Refusal, TransactionRefused
from ledger.transactions import Transfer, decode_transaction
from tests.tui.driving import PASSWORD, play, press, said, text_of, until, until_shown
from tests.tui.neighbourhood import KEYS, PARTIES
from tests.tui.server import RecordedNode
from tui.app import EcloudApp
from tui.dialogs.confirm import ConfirmDialog
from tui.dialogs.send import SendDialog
from tui.screens.wallet import WalletScreen


async def fill(pilot: Pilot[Any], recipient: str, amount: str) -> None:
    await press(pilot, "w")
    await until_shown(pilot, "249.37")
    await press(pilot, "s")
    await until(pilot, lambda: isinstance(pilot.app.screen, SendDialog), "the dialog did not open")
    await press(pilot, f"={recipient}", "tab", f"={amount}", "enter")


async def confirm(pilot: Pilot[Any], password: str = PASSWORD) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog), "no confirmation was asked for")
    await press(pilot, f"={password}", "enter")


def test_confirmed_it_is_signed_sent_and_followed_until_final(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await fill(pilot, "bob", "12.5")
        await until_shown(pilot, "password")
        stated = text_of(app)
        for part in ("12.50 WATT", "bob", PARTIES["bob"].address, "0.001 WATT", "236.869 WATT"):
            assert part in stated
        assert node.submitted == []

        await confirm(pilot)
        await until_shown(pilot, "waiting for a block")
        (raw,) = node.submitted
        sent = decode_transaction(raw)
        assert sent.has_valid_signature()
        assert sent.sender == KEYS["anne"].public_key
        assert sent.fee_uwatt == 1_000
        assert sent.payload == Transfer(KEYS["bob"].public_key, 1, 12_500_000, "")

        node.advance()
        await until_shown(pilot, "final in block 138")
        await press(pilot, "escape")
        await until_shown(pilot, "236.869")
        assert "−12.50 WATT" in text_of(app)

    play(app, scene)


def test_cancelled_at_either_step_nothing_is_sent(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await fill(pilot, "bob", "1")
        await until_shown(pilot, "password")
        await press(pilot, f"={PASSWORD}", "escape")
        await until(pilot, lambda: isinstance(app.screen, WalletScreen), "the confirmation did not close")
        await press(pilot, "s", "escape")
        await until(pilot, lambda: isinstance(app.screen, WalletScreen), "the dialog did not close")
        assert node.submitted == []

    play(app, scene)


def test_a_wrong_password_sends_nothing_and_may_be_corrected(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await fill(pilot, "bob", "1")
        await confirm(pilot, "not it")
        await until_shown(pilot, "wrong password for the wallet 'anne'")
        assert node.submitted == []
        await confirm(pilot)
        await until_shown(pilot, "waiting for a block")
        assert len(node.submitted) == 1

    play(app, scene)


def test_a_refusal_is_shown_with_its_word_and_its_reason(app: EcloudApp, node: RecordedNode) -> None:
    node.refuse_next = TransactionRefused(Refusal.MEMPOOL_FULL, "32 MiB of transactions wait already")

    async def scene(pilot: Pilot[Any]) -> None:
        await fill(pilot, "bob", "1")
        await confirm(pilot)
        expected = "refused: mempool full · 32 MiB of transactions wait already"
        await until(pilot, lambda: said(app, "#problem") == expected, "the refusal was not told")
        assert isinstance(app.screen, ConfirmDialog)
        assert not app.screen.query_one("#send", Button).disabled

    play(app, scene)


def test_refused_in_its_block_it_says_that_the_fee_is_paid(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await fill(pilot, "bob", "200")
        await confirm(pilot)
        await until_shown(pilot, "waiting for a block")
        # Given that the money is gone when the block is made
        node.neighbourhood.balances[PARTIES["anne"].address] = 5_000_000
        node.advance()
        await until(pilot, lambda: "refused" in said(app, "#result"), "the refusal was not told")
        assert "refused: insufficient watt in block 138; the fee of 0.001 WATT is paid" in said(app, "#result")

    play(app, scene)


def test_when_the_node_goes_away_the_same_bytes_are_sent_again(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        # Given a node that goes away with what it was sent
        await fill(pilot, "bob", "1")
        node.vanish_on_submit = True
        await confirm(pilot)
        await until(pilot, lambda: "cannot pay twice" in said(app, "#problem"), "the loss was not told")
        # When it is back and one sends again
        node.start()
        await until(pilot, lambda: app.session.feed.away is None, "the node is not seen to be back")
        await press(pilot, "enter")
        # Then it is the same transaction
        await until_shown(pilot, "waiting for a block")
        first, second = node.submitted
        assert first == second

    play(app, scene)


COMPLAINTS = (
    ("", "1", "to whom?"),
    ("nobody", "1", "nobody here is called 'nobody'"),
    ("anne", "1", "this is the wallet's own account"),
    ("bob", "", "is no amount of WATT"),
    ("bob", "1,5", "is no amount of WATT"),
    ("bob", "0", "an amount of 0 would move nothing"),
    ("bob", "0.0000001", "WATT has 6 decimals at the most"),
    ("bob", "249.37", "not enough WATT: with the fee of 0.001 WATT, 0.001 WATT"),
)


def test_what_cannot_be_sent_is_said_before_a_password_is_asked_for(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await fill(pilot, "", "")
        for recipient, amount, complaint in COMPLAINTS:
            app.screen.query_one("#recipient", Input).value = recipient
            app.screen.query_one("#amount", Input).value = amount
            await press(pilot, "enter")
            await until(pilot, lambda: complaint in said(app, "#problem"), f"{complaint!r} never came")  # noqa: B023
            assert isinstance(app.screen, SendDialog)
        assert node.submitted == []

    play(app, scene)

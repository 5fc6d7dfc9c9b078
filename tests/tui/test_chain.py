"""Walking the chain: deeper, back, and jumping to heights, ids, addresses and names that are there or not."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from ledger.keys import address_text
from tests.tui.driving import play, press, said, text_of, until, until_shown
from tests.tui.neighbourhood import PARTIES, STRANGER, Neighbourhood
from tests.tui.server import RecordedNode
from tui.app import EcloudApp
from tui.widgets.live_table import LiveTable


async def jump(pilot: Pilot[Any], target: str) -> None:
    await press(pilot, "c")
    await until_shown(pilot, "follows the tip")
    await press(pilot, "slash", f"={target}", "enter")


def transfer_of(there: Neighbourhood) -> str:
    return next(one.id for one in there.transactions.values() if one.kind == "transfer" and one.refusal is None)


def test_a_transaction_down_to_its_bytes_and_back(app: EcloudApp, node: RecordedNode) -> None:
    transaction_id = transfer_of(node.neighbourhood)
    one = node.neighbourhood.transactions[transaction_id]

    async def scene(pilot: Pilot[Any]) -> None:
        await jump(pilot, transaction_id)
        await until_shown(pilot, "Transaction · transfer")
        shown = text_of(app)
        assert str(one.sender.name) in shown
        assert one.sender.address in shown
        assert "WATT" in shown
        assert "took effect" in shown
        await press(pilot, "x")
        await until_shown(pilot, "canonical CBOR")
        assert one.raw[:40] in text_of(app)
        await press(pilot, "escape")
        await until_shown(pilot, "Transaction · transfer")
        await press(pilot, "escape")
        await until_shown(pilot, "Block 137")

    play(app, scene)


def test_a_number_typed_in_the_list_jumps_to_that_height(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await press(pilot, "c")
        await until_shown(pilot, "follows the tip")
        await press(pilot, "=5", "enter")
        await until_shown(pilot, "Block 5 ·")
        # and it stays there when blocks become final
        assert app.screen.query_one("#blocks", LiveTable).chosen == "5"

    play(app, scene)


def test_a_block_by_its_hash(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await jump(pilot, node.neighbourhood.blocks[41].summary.hash)
        await until_shown(pilot, "Block 42 ·")

    play(app, scene)


def test_an_account_by_name_or_address(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        for target in ("carla", PARTIES["carla"].address):
            await jump(pilot, target)
            await until_shown(pilot, "Account · carla")
            assert PARTIES["carla"].address in text_of(app)
            await until_shown(pilot, "submit reading")
            await press(pilot, "t")

    play(app, scene)


def test_an_account_that_nothing_has_happened_to(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await jump(pilot, address_text(STRANGER.public_key))
        await until_shown(pilot, "nothing has happened to this account yet")

    play(app, scene)


MISSING = (
    ("9999", "there is no block 9,999 yet; the newest is 137"),
    ("0", "there is no block 0 yet"),
    ("ab" * 32, "no transaction and no block has the id"),
    ("nobody", "nothing is called 'nobody'"),
)


def test_what_is_not_there_is_said_and_the_reader_stays(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await press(pilot, "c")
        await until_shown(pilot, "follows the tip")
        for target, answer in MISSING:
            await press(pilot, "slash", f"={target}", "enter")
            await until(pilot, lambda: answer in said(app, "#jump-answer"), f"{answer!r} never came")  # noqa: B023
            assert "follows the tip" in text_of(app)
            await press(pilot, "escape")
            await until(pilot, lambda: not app.screen.has_class("-jumping"), "the field did not close")

    play(app, scene)


def test_older_blocks_are_read_when_the_end_is_reached(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await press(pilot, "c")
        await until_shown(pilot, "137  12:04:34")
        table = app.screen.query_one("#blocks", LiveTable)
        table.choose_row("39")
        await press(pilot, "down")
        await until(pilot, lambda: table.choose_row("1"), "the first block never came")

    play(app, scene)

"""The terminal follows the node by its events, keeps what it knows while the node is away, and recovers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from node.client import events
from node.client.wallets import Keystore
from tests.tui.conftest import attach
from tests.tui.driving import play, press, text_of, until, until_shown
from tests.tui.neighbourhood import grown
from tests.tui.server import RecordedNode
from tui.app import EcloudApp
from tui.feed import PAGE_BLOCKS
from tui.screens import PLACES
from tui.screens.base import LiveScreen
from tui.widgets.live_table import LiveTable


def line_of(app: EcloudApp, text: str) -> int:
    return next(place for place, line in enumerate(text_of(app).splitlines()) if text in line)


def test_a_final_block_is_shown_at_once(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, "height 138")
        node.advance()
        await until_shown(pilot, "height 139")
        assert "  138  12:04:36" in text_of(app)

    play(app, scene)


def test_a_list_follows_the_tip_until_one_moves_in_it(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await press(pilot, "c")
        await until_shown(pilot, "137  12:04:34")
        table = app.screen.query_one("#blocks", LiveTable)
        node.advance()
        await until(pilot, lambda: table.chosen == "138", "the list did not follow the tip")

        await press(pilot, "down", "down")
        await until(pilot, lambda: table.chosen == "136", "the cursor did not move")
        line = line_of(app, "136  12:04:32")
        node.advance(3)
        await until_shown(pilot, "141 ●")
        assert table.chosen == "136"
        assert line_of(app, "136  12:04:32") == line
        assert "t follows the tip again" in text_of(app)

        await press(pilot, "t")
        await until(pilot, lambda: table.chosen == "141", "t did not return to the tip")
        node.advance()
        await until(pilot, lambda: table.chosen == "142", "the list did not follow the tip again")

    play(app, scene)


def test_the_node_goes_away_and_comes_back(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        # Given a picture of the node
        await until_shown(pilot, "height 138")
        # When it goes away
        node.stop()
        # Then that is said, and what was known stays
        await until_shown(pilot, "node away since 12:04:34, retrying")
        assert app.screen.has_class("-away")
        assert "137  12:04:34" in text_of(app)
        assert "george" in text_of(app)
        # When it is back, more than a page of blocks later
        for _ in range(PAGE_BLOCKS + 20):
            node.neighbourhood.advance()
        node.start()
        # Then the picture is current and without gaps
        await until_shown(pilot, "height 258")
        assert "node away" not in text_of(app)
        assert not app.screen.has_class("-away")
        heights = [block.height for block in app.session.feed.blocks]
        assert heights == list(range(heights[0], heights[-1] - 1, -1))
        assert heights[0] == 257

    play(app, scene)


def test_a_node_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        node = RecordedNode(grown(20))
        node.start()
        node.stop()  # its port is known, nobody answers there
        app = attach(node, Keystore(tmp_path))
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "no node answers at")
            assert "node away" in text_of(app)
            with node:
                await until_shown(pilot, "height 21")
            # the screen outlives the node's second absence too
            await until_shown(pilot, "node away since")

    asyncio.run(scene())


def test_a_burst_of_blocks_costs_few_requests_and_loses_none(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, "height 138")
        node.advance(60)
        await until_shown(pilot, "height 198")
        heights = [block.height for block in app.session.feed.blocks]
        assert heights == list(range(197, heights[-1] - 1, -1))
        assert len(heights) >= PAGE_BLOCKS + 60

    play(app, scene)


def test_a_warning_of_the_node_is_shown_and_taken_back(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, "height 138")
        node.neighbourhood.warnings.append("the clock is 3.2 s off the peers'")
        node.tell(events.Warned(text=node.neighbourhood.warnings[0], cleared=False))
        await until_shown(pilot, "the clock is 3.2 s off")
        node.neighbourhood.warnings.clear()
        node.tell(events.Warned(text="the clock is 3.2 s off the peers'", cleared=True))
        await until(pilot, lambda: "the clock is" not in text_of(app), "the warning stayed")

    play(app, scene)


def test_every_screen_has_a_key_and_a_command(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        commands = {command.title for command in app.get_system_commands(app.screen)}
        for place in PLACES:
            await press(pilot, place.key)
            assert isinstance(app.screen, LiveScreen)
            assert place == app.screen.PLACE
            assert place.title in commands

    play(app, scene)


def test_a_block_of_the_overview_opens_in_the_chain(app: EcloudApp) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, "136  12:04:32")
        await press(pilot, "down", "enter")
        await until_shown(pilot, "Block 136 · 4 transactions")

    play(app, scene)

"""Votes and faults of the candidates on one page, live."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from tests.tui.driving import play, press, text_of, until_shown
from tests.tui.server import RecordedNode
from tui.app import EcloudApp


def test_a_conviction_appears_while_one_looks(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await press(pilot, "e")
        await until_shown(pilot, "is to produce")
        await press(pilot, "f")
        # Given nobody was convicted
        await until_shown(pilot, "Convictions")
        await until_shown(pilot, "none")
        assert "expelled at" not in text_of(app)
        # When bob has contradicted himself, and it is in a block
        height = node.neighbourhood.height
        node.tell(node.neighbourhood.convict("bob"))
        # Then it stands there, with who reported it and what was burned
        await until_shown(pilot, f"notarize twice at block {height - 2}, view 0")
        await until_shown(pilot, "anne; 75.525 VOTE burned")
        await until_shown(pilot, "burned")
        # And bob is expelled, without a vote
        await until_shown(pilot, "expelled  ")
        # And the page closes
        await press(pilot, "escape")
        await until_shown(pilot, "is to produce")

    play(app, scene)


def test_the_page_is_reached_from_the_election_only_by_its_key_and_says_when_weights_change(
    app: EcloudApp, node: RecordedNode
) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await press(pilot, "e", "f")
        weighed = (node.neighbourhood.height // 96 + 1) * 96
        await until_shown(pilot, f"Weighed again at block {weighed}")
        shown = text_of(app)
        assert all(name in shown for name in ("anne", "bob", "carla", "george", "in a row", "signed"))

    play(app, scene)

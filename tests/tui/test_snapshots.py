"""Every screen and dialog as it looks, in the smallest window it is made for and in a large one.

After a wanted change: ``pytest tests/tui --snapshot-update``, and look at the pictures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from node.client.wallets import Keystore
from tests.tui.conftest import attach
from tests.tui.driving import PASSWORD, loaded, press, steady, until_shown
from tests.tui.server import RecordedNode
from tui.app import EcloudApp

Compare = Callable[..., bool]


def scene(*steps: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Keys to press; one that begins with ``?`` waits for the rest to be shown."""

    async def play(pilot: Pilot[Any]) -> None:
        await loaded(pilot)
        for step in steps:
            if step.startswith("?"):
                await until_shown(pilot, step[1:])
            else:
                await press(pilot, step)
        steady(pilot.app)
        await pilot.pause()

    return play


SCENES = {
    "overview": scene("?drawn: anne", "?george"),
    "chain": scene("c", "?follows the tip", "?137"),
    "block": scene("c", "=104", "enter", "?refused"),
    "transaction": scene("c", "=104", "enter", "?refused", "down", "enter", "?900.00 WATT"),
    "account": scene("c", "slash", "=george", "enter", "?pool 244"),
    "next_draw": scene("e", "?anne is to produce"),
    "skipped_turn": scene("e", "?is to produce", "left", "left", "?george produced"),
    "faults": scene("e", "?is to produce", "f", "?Convictions"),
    "market": scene("m", "?Book of 12:15", "?last 0.2", "?189"),
    "market_trades": scene("m", "?last 0.2", "t", "?Trades for 12:15", "?bob"),
    "order": scene("m", "?last 0.2", "b", "?nothing is ordered", "=1.5"),
    "order_confirm": scene("m", "?last 0.2", "s", "?nothing is ordered", "=1.5", "enter", "?password"),
    "bills": scene("i", "?Bills of anne", "?utility alone", "?market"),
    "bill_line": scene("i", "?utility alone", "?market", "x", "?trade 1"),
    "bill_payment": scene("i", "?utility alone", "down", "?to be paid by", "y", "?password"),
    "wallet": scene("w", "?249.37", "?transfer"),
    "send": scene("w", "?249.37", "s", "?to", "=bob", "tab", "=12.5", "tab", "tab", "=eggs"),
    "confirm": scene("w", "?249.37", "s", "?to", "=bob", "tab", "=12.5", "enter", "?password"),
    "receive": scene("w", "?249.37", "r", "?Receive"),
    "network": scene("p", "?Peers · 3", "?fatma"),
    "grant": scene("p", "?Peers · 3", "?dora", "g", "?password"),
    "deny": scene("p", "?Peers · 3", "?dora", "d", "?password"),
    "help": scene("c", "?137", "question_mark", "?On this screen"),
}


NEWCOMERS = ("network", "grant", "deny")


@pytest.fixture(autouse=True)
def newcomers(request: pytest.FixtureRequest, node: RecordedNode) -> None:
    """Two ask to join in the pictures that are about it."""
    if getattr(request.node, "callspec", None) is not None and request.node.callspec.params.get("name") in NEWCOMERS:
        node.neighbourhood.newcomers += ["dora", "fatma"]


@pytest.mark.parametrize("name", SCENES)
def test_in_the_smallest_window(name: str, app: EcloudApp, snap_compare: Compare) -> None:
    assert snap_compare(app, terminal_size=(80, 24), run_before=SCENES[name])


@pytest.mark.parametrize("name", ["overview", "block", "skipped_turn", "market", "bills", "wallet", "network"])
def test_in_a_large_window(name: str, app: EcloudApp, snap_compare: Compare) -> None:
    assert snap_compare(app, terminal_size=(120, 40), run_before=SCENES[name])


def test_a_window_that_is_too_small_says_so(app: EcloudApp, snap_compare: Compare) -> None:
    assert snap_compare(app, terminal_size=(50, 12), run_before=scene("?too small"))


def test_no_wallet_says_how_to_make_one(node: RecordedNode, snap_compare: Compare) -> None:
    app = attach(node, Keystore(Path("/nowhere/wallets")))
    assert snap_compare(app, terminal_size=(80, 24), run_before=scene("w", "?ecloud wallet create"))


def test_a_wrong_password_is_said_in_the_confirmation(app: EcloudApp, snap_compare: Compare) -> None:
    steps = scene("w", "?249.37", "s", "=bob", "tab", "=1", "enter", "?password", f"={PASSWORD[:4]}", "enter", "?wrong")
    assert snap_compare(app, terminal_size=(80, 24), run_before=steps)

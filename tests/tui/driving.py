"""How tests drive the application: wait for what must come, read what stands on the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mnemonic import Mnemonic
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Input, Static

from node.client.wallets import Keystore
from node.keystore import CHEAP
from tests.tui.neighbourhood import KEYS
from tui.app import EcloudApp

PASSWORD = "four words of anne's"
WAIT_S = 20.0
POLL_S = 0.05
Scene = Callable[[Pilot[None]], Awaitable[None]]


def make_wallets(directory: Path, *names: str) -> Keystore:
    """Wallets with the keys of these members, under ``PASSWORD``."""
    keystore = Keystore(directory)
    for name in names:
        keystore.import_mnemonic(name, Mnemonic("english").to_mnemonic(KEYS[name].seed), PASSWORD, CHEAP)
    return keystore


def play(app: EcloudApp, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    """Runs a scene against the application, once the node's picture is complete."""

    async def whole() -> None:
        async with app.run_test(size=size) as pilot:
            await loaded(pilot)
            await scene(pilot)

    asyncio.run(whole())


async def until(pilot: Pilot[Any], condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition that must come true; fails saying what did not."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}; the screen says:\n{text_of(pilot.app)}"
        await pilot.pause(POLL_S)
    await pilot.pause()


async def until_shown(pilot: Pilot[Any], text: str) -> None:
    await until(pilot, lambda: text in text_of(pilot.app), f"{text!r} never came")


async def loaded(pilot: Pilot[Any]) -> None:
    """The first picture of the node is complete."""
    app = pilot.app
    assert isinstance(app, EcloudApp)
    await until(pilot, lambda: bool(app.session.feed.readings), "the node's picture never came")


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Presses keys; of one that begins with ``=`` the first character is typed, the rest pasted behind it."""
    for key in keys:
        if not key.startswith("="):
            await pilot.press(key)
            continue
        if key[1:2].isalnum():
            await pilot.press(key[1])
        if key[2:]:
            field = pilot.app.screen.focused
            assert isinstance(field, Input), f"{key} is typed into {field}"
            field.post_message(Paste(key[2:]))
    await pilot.pause()


def text_of(app: Any) -> str:
    """The characters on the screen, line by line, trailing blanks removed."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    assert len(lines) <= height
    return "\n".join("".join(segment.text for segment in line)[:width].rstrip() for line in lines)


def said(app: Any, selector: str) -> str:
    """What one widget of the dialog or screen in front says, before it is folded to its width."""
    return str(app.screen.query_one(selector, Static).visual)


def steady(app: Any) -> None:
    """Cursors that blink would make two pictures of one screen."""
    for field in app.screen.query(Input):
        field.cursor_blink = False

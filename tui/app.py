"""``ecloud tui``: a node in the terminal.

The application owns the connection and the feed and decides which screen is in front; each screen shows. Textual is
imported with this module, so import it only when the command runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from node.client.client import NodeClient
from node.client.events import ClientEvent
from node.client.wallets import Keystore
from tui.dialogs.result import ResultDialog
from tui.feed import Feed, Part
from tui.palette import THEME
from tui.screens import PLACES, SCREENS
from tui.screens.base import Go, LiveScreen
from tui.screens.help import HelpScreen
from tui.session import Session


def clock_ms() -> int:
    """This machine's time."""
    return time.time_ns() // 1_000_000


class EcloudApp(App[None]):
    """Attaches to the node behind ``client``, which it closes at its end. ``keystore``: the wallets it may open."""

    CSS_PATH = "style.tcss"
    TITLE = "E-Cloud"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(place.key, f"go('{place.name}')", place.title, show=False) for place in PLACES),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self, client: NodeClient, *, keystore: Keystore | None = None, now_ms: Callable[[], int] = clock_ms
    ) -> None:
        super().__init__()
        self.register_theme(THEME)
        self.theme = THEME.name
        feed = Feed(client, now_ms)
        feed.on_change, feed.on_event = self._feed_changed, self._take_event
        self.session = Session(client, feed, Keystore() if keystore is None else keystore, now_ms)
        for screen in SCREENS:
            self.add_mode(screen.PLACE.name, partial(screen, self.session, PLACES))

    async def on_mount(self) -> None:
        await self.switch_mode(PLACES[0].name)
        self.run_worker(self.session.feed.follow(), name="follow the node's events")
        self.run_worker(self.session.feed.read(), name="read what has changed")

    async def on_unmount(self) -> None:
        await self.session.client.__aexit__(None, None, None)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        for place in PLACES:
            yield SystemCommand(place.title, place.about, partial(self.action_go, place.name))
        yield SystemCommand("Help", "What the keys and colours mean", self.action_help)
        yield SystemCommand("Save a picture", "Write this screen to an SVG file", self.deliver_screenshot)
        yield SystemCommand("Quit", "Leave; the node goes on", self.action_quit)

    async def action_go(self, place: str) -> None:
        """Brings a screen to the front."""
        if not self.screen.is_modal:
            await self.switch_mode(place)

    async def on_go(self, message: Go) -> None:
        await self.switch_mode(message.place)
        screen = self.screen
        if message.target is not None and isinstance(screen, LiveScreen):
            screen.show_target(message.target)

    def action_help(self) -> None:
        front = self.screen
        if isinstance(front, LiveScreen):
            self.push_screen(HelpScreen(front, PLACES))

    def _feed_changed(self, parts: Part) -> None:
        for screen in self.screen_stack if self.is_running else ():
            if isinstance(screen, LiveScreen) and screen.is_mounted:
                screen.feed_changed(parts)

    def _take_event(self, event: ClientEvent) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, ResultDialog) and screen.is_mounted:
                screen.take_event(event)

"""What all screens share: the top bar, the banner, the footer, and how they are kept current.

A screen is a module with one subclass of ``LiveScreen``: ``PLACE`` names it, ``body`` composes it, ``show_feed`` fills
it. It is registered by one line in ``tui/screens/__init__.py``; keys, top bar, help and command palette follow.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from tui.feed import ALL_PARTS, Part
from tui.session import Session
from tui.widgets.banner import Banner
from tui.widgets.top_bar import Place, TopBar

SMALLEST_WIDTH = 60
SMALLEST_HEIGHT = 16


class Go(Message):
    """Asks the application for another screen, and that screen for a thing to show: a height, an id, an address."""

    def __init__(self, place: str, target: str | None = None) -> None:
        super().__init__()
        self.place = place
        self.target = target


class LiveScreen(Screen[None]):
    PLACE: ClassVar[Place]
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (an instance's attribute in Textual)
        (0, "-tiny"),
        (SMALLEST_WIDTH, "-narrow"),
        (110, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-flat"),
        (SMALLEST_HEIGHT, "-short"),
        (34, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, session: Session, places: Sequence[Place]) -> None:
        super().__init__()
        self.session = session
        self._places = places

    def compose(self) -> ComposeResult:
        yield TopBar(self.session, self._places, self.PLACE.name)
        yield Banner(self.session)
        with Container(id="body"):
            yield from self.body()
        yield Static(
            f"The window is too small: {SMALLEST_WIDTH}×{SMALLEST_HEIGHT} characters are needed.", id="too-small"
        )
        yield Footer(show_command_palette=False)

    @abstractmethod
    def body(self) -> ComposeResult:
        """The widgets between banner and footer."""

    @abstractmethod
    def show_feed(self, parts: Part) -> None:
        """Fills the widgets whose parts of ``session.feed`` changed."""

    def show_target(self, target: str) -> None:
        """Shows what another screen asked for."""

    def feed_changed(self, parts: Part) -> None:
        """Called by the application while the screen is in front."""
        self.query_one(TopBar).refresh()
        self.query_one(Banner).show_state()
        self.set_class(self.session.feed.away is not None, "-away")
        if parts:
            self.show_feed(parts)

    def on_screen_resume(self) -> None:
        self.feed_changed(ALL_PARTS)

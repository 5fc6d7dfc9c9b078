"""The first line of every screen: where one can go, which chain this is, how high it stands, whether the node is there.

Places are written in full while they fit beside the rest; else all but the present one shrink to their key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from node.client import format as show
from tui.palette import ATTENTION, BACKGROUND, FOREGROUND, GOOD, MUTED, PANEL, PRIMARY, WRONG
from tui.session import Session


@dataclass(frozen=True, slots=True)
class Place:
    """A screen as the top bar, the keys and the command palette name it."""

    name: str
    key: str
    title: str
    about: str


class TopBar(Widget):
    DEFAULT_CSS = "TopBar { dock: top; height: 1; background: $panel; }"

    def __init__(self, session: Session, places: Sequence[Place], here: str) -> None:
        super().__init__()
        self._session = session
        self._places = places
        self._here = here

    def render(self) -> Text:
        right = self._state()
        room = self.size.width - right.cell_len - 1
        left = self._tabs(short=False)
        if left.cell_len > room:
            left = self._tabs(short=True)
        left.truncate(max(room, 0))
        left.append(" " * max(0, self.size.width - left.cell_len - right.cell_len))
        return left.append_text(right)

    def _tabs(self, *, short: bool) -> Text:
        text = Text(no_wrap=True, end="")
        for place in self._places:
            here = place.name == self._here
            label = place.key if short and not here else place.title
            click = Style(meta={"@click": f"app.go('{place.name}')"})
            style = Style.parse(f"bold {BACKGROUND} on {PRIMARY}" if here else f"{FOREGROUND} on {PANEL}") + click
            text.append(f" {label} ", style)
        return text

    def _state(self) -> Text:
        feed = self._session.feed
        text = Text(no_wrap=True, end="")
        if feed.status is None:
            dot, colour = ("node away", WRONG) if feed.away is not None else ("connecting", ATTENTION)
            return text.append(f"{dot} ", MUTED).append("● ", colour)
        text.append(f"{feed.status.name}", f"bold {FOREGROUND}").append(f" · {feed.status.network} ", MUTED)
        text.append(f" {show.count(feed.status.height)} ", f"bold {PRIMARY}")
        colour = WRONG if feed.away is not None else ATTENTION if feed.status.sync.syncing else GOOD
        return text.append("● ", colour)

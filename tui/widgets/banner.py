"""The line that appears when something needs to be known now: the node is away, catching up, or warns."""

from __future__ import annotations

from textual.widgets import Static

from node.client import format as show
from tui.session import Session


class Banner(Static):
    """Hidden while all is well. The worst thing is said, the others wait."""

    DEFAULT_CSS = """
    Banner { display: none; height: auto; max-height: 3; padding: 0 1; text-style: bold; color: $background;
        background: $warning; }
    Banner.-shown { display: block; }
    Banner.-away { background: $error; }
    Banner.-calm { background: $secondary; }
    """

    def __init__(self, session: Session) -> None:
        super().__init__(markup=False)
        self._session = session

    def show_state(self) -> None:
        feed = self._session.feed
        status = feed.status
        text, kind = "", ""
        if feed.away is not None:
            since = show.clock_time(feed.away.since_ms, feed.utc_offset_minutes)
            text, kind = f"node away since {since}, retrying · {feed.away.detail}", "-away"
        elif feed.trouble is not None:
            text = f"the node answers, but: {feed.trouble}"
        elif status is not None and status.warnings:
            text = " · ".join(status.warnings)
        elif status is not None and status.sync.syncing:
            reached, target = show.count(status.height), show.count(status.sync.target_height)
            text = f"catching up: {reached} of {target} blocks, {show.count(status.sync.blocks_per_second)} a second"
            kind = "-calm"
        self.set_class(bool(text), "-shown")
        self.set_class(kind == "-away", "-away")
        self.set_class(kind == "-calm", "-calm")
        self.update(text)

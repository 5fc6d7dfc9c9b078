"""How each candidate stands, and who was convicted: the faults of the neighbourhood on one page."""

from __future__ import annotations

from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from node.client import format as show
from node.client.models import Candidate, Conviction
from tui.palette import ATTENTION, FOREGROUND, GOOD, MUTED, PRIMARY, WRONG
from tui.session import Session

STATUS_COLOURS = {"active": GOOD, "suspended": ATTENTION}


class StandingDialog(ModalScreen[None]):
    """Shows what the feed knows; ``refresh_from_feed`` when that changes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f,q", "dismiss", "Close", key_display="esc")]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="standing", classes="dialog") as box:
            box.border_title = "Votes and faults"
            box.border_subtitle = "Esc closes"
            yield Static(id="standing-text")

    def on_mount(self) -> None:
        self.refresh_from_feed()

    def refresh_from_feed(self) -> None:
        feed = self._session.feed
        parts: list[RenderableType] = [
            self._candidates(feed.candidates),
            Text(),
            Text(
                f"Weighed again at block {show.count(feed.weighed_height)}. Two turns missed in a row suspend; who "
                "signs fewer than half of an epoch's blocks has no vote in the next; who signs two statements that "
                "contradict each other is expelled, and its pool burned.",
                MUTED,
            ),
            Text(),
            Text("Convictions", f"bold {PRIMARY}"),
            *([self._conviction(one) for one in feed.convictions] or [Text("none", MUTED)]),
        ]
        self.query_one("#standing-text", Static).update(Group(*parts))

    def _candidates(self, candidates: list[Candidate]) -> Table:
        table = Table(box=None, pad_edge=False, header_style=MUTED, padding=(0, 2, 0, 0))
        for title, right in (("candidate", False), ("status", False), ("vote", True), ("in a row", True)):
            table.add_column(title, justify="right" if right else "left", no_wrap=True)
        for title in ("missed", "signed"):
            table.add_column(title, justify="right", no_wrap=True)
        for one in candidates:
            status = (
                one.status if one.suspended_height is None else f"{one.status} at {show.count(one.suspended_height)}"
            )
            vote = show.count(one.committee_weight)
            if one.out_reason is not None:
                vote = show.out_reason(one.out_reason)
            table.add_row(
                Text(one.account.label, f"bold {self._session.colour_of(one.account)}"),
                Text(status, STATUS_COLOURS.get(one.status, WRONG)),
                Text(vote, ATTENTION if one.out_reason is not None else FOREGROUND),
                Text(str(one.missed_in_row), ATTENTION if one.missed_in_row else MUTED),
                Text(show.count(one.missed_total), ATTENTION if one.missed_total else MUTED),
                Text(
                    show.participation(one.epoch_signed, one.epoch_counted),
                    ATTENTION if one.low_participation else FOREGROUND,
                ),
            )
        return table

    def _conviction(self, one: Conviction) -> Text:
        deed = show.contradiction(one.first.kind, one.second.kind, one.signed_height, one.signed_view)
        text = Text(f"block {show.count(one.height)}  ", MUTED)
        text.append(one.account.label, f"bold {WRONG}")
        text.append(f"  {deed}; reported by ")
        text.append(one.reporter.label)
        if one.burned_mvote is not None:
            text.append(f"; {show.vote(one.burned_mvote)} burned")
        return text

"""Election: the draw of each height with every number in it, and who won over time.

1. The next draw is shown until the reader steps back; Escape or ``n`` returns to it, and it is then followed.
2. The ruler is the sum of all tickets, each candidate's part in its colour; ▼ marks where the number fell.
3. Where turns were skipped a height has several draws, one per view; ``v`` goes through them.
4. ``f`` shows how each candidate stands, its faults, and who was convicted.
5. A height whose draw this node no longer keeps says so; nothing is drawn again here.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import accumulate
from typing import ClassVar, Final

from rich.console import Group
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.widgets import Static

from node.client import format as show
from node.client.errors import ApiProblem, ClientError
from node.client.models import BlockSummary, Candidate, Draw, DrawEntry, Party
from tui.background import in_background
from tui.dialogs.standing import StandingDialog
from tui.drawing import Segment, lane, ruler
from tui.feed import Part
from tui.palette import ATTENTION, FOREGROUND, GOOD, MUTED, PRIMARY, WRONG
from tui.screens.base import Go, LiveScreen
from tui.widgets.chart import Chart, Series
from tui.widgets.live_table import Column, LiveTable, Row
from tui.widgets.top_bar import Place

COLUMNS: Final = (
    Column("", 1),
    Column("candidate", 8, grow=True),
    Column("tokens", 9, right=True),
    Column("age", 3, right=True),
    Column("reputation", 10, right=True),
    Column("weight", 13, right=True),
    Column("chance", 7, right=True),
    Column("missed", 6, right=True),
    Column("produced", 8, right=True, from_width=84),
    Column("signed", 7, right=True, from_width=94),
    Column("status", 16, from_width=104),
)
NAME_CELLS: Final = 10
WON_CELLS: Final = 14
MAX_LINES: Final = 8
FIRST_SHOWN: Final = 10
"""The parts of the first few blocks say nothing but who came first."""
REASONS: Final = {
    "produced_last": "produced last",
    "led_earlier_view": "led before",
    "suspended": "suspended",
    "expelled": "expelled",
}


class ElectionScreen(LiveScreen):
    PLACE: ClassVar[Place] = Place(
        "election", "e", "Election", "Each draw with weights and number, skipped turns, winners"
    )
    AUTO_FOCUS = "#entries"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Earlier", key_display="←", tooltip="the draw of the height before"),
        Binding("right", "step(1)", "Later", key_display="→", tooltip="the draw of the height after"),
        Binding("n,escape", "next", "Next draw", key_display="n", tooltip="the next draw, and follow it"),
        Binding("v", "view", "View", tooltip="the draws of the turns skipped at this height"),
        Binding("b", "block", "Block", tooltip="the block of this height"),
        Binding("f", "faults", "Faults", tooltip="who has a vote, missed turns, low participation, convictions"),
    ]

    def body(self) -> ComposeResult:
        with Vertical(id="election"):
            draw = Static(id="ruler", classes="panel")
            draw.border_title = "Draw"
            yield draw
            entries = LiveTable(COLUMNS, id="entries")
            entries.add_class("panel")
            entries.border_title = "Candidates"
            yield entries
            lanes = Static(id="lanes", classes="panel")
            lanes.border_title = "Winners"
            yield lanes
            race = Chart(id="race", classes="panel")
            race.border_title = "Blocks won since, %"
            yield race

    def on_mount(self) -> None:
        self._height: int | None = None  # None: the next one, whatever it is
        self._shown: Draw | None = None

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._show_all)

    def show_feed(self, parts: Part) -> None:
        if self._height is None and parts & Part.DRAW and self.session.feed.draw is not None:
            self._shown = self.session.feed.draw
        if parts & (Part.DRAW | Part.CANDIDATES | Part.BLOCKS):
            self._show_all()
        if parts & (Part.CANDIDATES | Part.EVIDENCE) and isinstance(self.app.screen, StandingDialog):
            self.app.screen.refresh_from_feed()

    # ------------------------------------------------------------------------------------------------ stepping

    def action_step(self, by: int) -> None:
        if self._shown is not None:
            self._go_to(self._shown.height + by)

    def action_next(self) -> None:
        self._height = None
        self._shown = self.session.feed.draw
        self._show_all()

    def action_view(self) -> None:
        """The draws of one height in turn: one per skipped view, then the one that produced, then the first again."""
        if self._shown is None:
            return
        last = self._shown.produced_view if self._shown.produced_view is not None else len(self._shown.skipped)
        if last == 0:
            self.notify("nobody's turn was skipped at this height: view 0 is all there is")
        else:
            view = (self._shown.view + 1) % (last + 1)
            in_background(self, "draw", partial(self._read, self._shown.height, view))

    def action_block(self) -> None:
        if self._shown is not None and not self._shown.is_next:
            self.post_message(Go("chain", str(self._shown.height)))

    def action_faults(self) -> None:
        self.app.push_screen(StandingDialog(self.session))

    @on(LiveTable.Opened, "#entries")
    def open_candidate(self, event: LiveTable.Opened) -> None:
        self.post_message(Go("chain", event.key))

    def _go_to(self, height: int) -> None:
        following = self.session.feed.draw
        if following is not None and height >= following.height:
            self.action_next()
        elif height >= 1:
            self._height = height
            in_background(self, "draw", partial(self._read, height, None))

    async def _read(self, height: int, view: int | None) -> None:
        try:
            self._shown = await self.session.client.draw(height, view)
        except ApiProblem as problem:
            self.notify(problem.detail, severity="warning")
            return
        except ClientError:
            return  # the banner says that the node is away; what was shown stays
        self._show_all()

    # ------------------------------------------------------------------------------------------------- showing

    def _show_all(self) -> None:
        if self._shown is not None:
            self._show_ruler(self._shown)
            self._show_entries(self._shown)
        self._show_winners(self.session.feed.blocks)

    def _show_ruler(self, draw: Draw) -> None:
        panel = self.query_one("#ruler", Static)
        width = panel.content_size.width
        if width < 1:
            return
        what = "Next draw" if draw.is_next else "Draw"
        panel.border_title = f"{what} · height {show.count(draw.height)}, view {draw.view}"
        panel.border_subtitle = (
            "← earlier draws" if draw.is_next and self._height is None else "← → other heights · n the next draw"
        )
        number = Text.assemble(
            ("u ", MUTED), (draw.u_fraction[:14], f"bold {FOREGROUND}"),
            ("   ticket ", MUTED), (show.count(draw.ticket), f"bold {FOREGROUND}"),
            (" of ", MUTED), show.count(draw.total_lottery_weight),
        )  # fmt: skip
        colour = self.session.colour_of(draw.winner)
        verdict = Text.assemble(
            (draw.winner.label, f"bold {colour}"),
            (" is to produce" if draw.is_next else self._outcome(draw), MUTED),
        )
        if draw.skipped:
            names = ", ".join(f"{turn.leader.label} (view {turn.view})" for turn in draw.skipped)
            verdict.append("   skipped: ", MUTED).append(names, ATTENTION)
        segments = [
            Segment(entry.account.label, self.session.colour_of(entry.account), entry.from_ticket, entry.to_ticket)
            for entry in draw.entries
        ]
        picture = ruler(segments, draw.total_lottery_weight, draw.ticket, width)
        panel.update(Group(number, verdict, picture))

    def _outcome(self, draw: Draw) -> str:
        if draw.produced_view == draw.view:
            return " produced"
        producer = "somebody else" if draw.producer is None else draw.producer.label
        return f" did not produce; {producer} did, in view {draw.produced_view}"

    def _show_entries(self, draw: Draw) -> None:
        rows = sorted(draw.entries, key=lambda one: (-one.lottery_weight, one.account.label))
        self.query_one("#entries", LiveTable).show_rows([self._entry_row(draw, entry) for entry in rows])

    def _entry_row(self, draw: Draw, entry: DrawEntry) -> Row:
        candidate = next((one for one in self.session.feed.candidates if one.account == entry.account), None)
        won = entry.account == draw.winner
        chance: Text = Text(show.percent(entry.chance_bps), f"bold {FOREGROUND}" if won else "", end="")
        weight = Text(show.count(entry.lottery_weight), end="")
        if entry.reason is not None:
            weight = Text(REASONS.get(entry.reason, show.words(entry.reason)), MUTED, end="")
            chance = Text("–", MUTED, end="")
        missed = 0 if candidate is None else candidate.missed_total
        status = entry.status if candidate is None else candidate.status
        return entry.account.address, (
            Text("▸" if won else " ", f"bold {PRIMARY}", end=""),
            Text(entry.account.label, f"bold {self.session.colour_of(entry.account)}", end=""),
            show.vote(entry.pool_mvote, unit=False, aligned=True),
            str(entry.age_blocks),
            show.reputation(entry.reputation_milli),
            weight,
            chance,
            Text(str(missed), ATTENTION if missed else MUTED, end=""),
            "" if candidate is None else show.count(candidate.produced_total),
            "" if candidate is None else self._participation(candidate),
            Text(status, {"active": GOOD, "suspended": ATTENTION}.get(status, WRONG), end=""),
        )

    def _participation(self, candidate: Candidate) -> Text:
        text = show.participation(candidate.epoch_signed, candidate.epoch_counted)
        return Text(text, ATTENTION if candidate.low_participation else MUTED, end="")

    def _show_winners(self, blocks: list[BlockSummary]) -> None:
        """A lane for each candidate, those who won most first."""
        panel = self.query_one("#lanes", Static)
        room = panel.content_size.width - NAME_CELLS - WON_CELLS
        if room < 1 or not blocks:
            return
        won = Counter(block.producer for block in blocks)
        parties = {candidate.account for candidate in self.session.feed.candidates} | set(won)
        ordered = sorted(parties, key=lambda one: (-won[one], one.label))
        recent = list(reversed(blocks[:room]))
        lines = [self._lane(party, recent, room, won[party], len(blocks)) for party in ordered]
        lines = lines[: max(1, panel.content_size.height - 1)]
        place = None if self._shown is None or self._shown.is_next else self._shown.height - recent[0].height
        if place is not None and 0 <= place < len(recent):
            lines.append(Text(" " * (NAME_CELLS + room - len(recent) + place) + "▲", f"bold {FOREGROUND}", end=""))
        panel.border_title = f"Winners of the last {show.count(len(blocks))} blocks"
        first, last = show.count(recent[0].height), show.count(recent[-1].height)
        panel.border_subtitle = f"{first} – {last}, × a skipped turn"
        panel.update(Text("\n").join(lines))
        self._show_race(blocks, ordered)

    def _lane(self, party: Party, recent: list[BlockSummary], room: int, won: int, of: int) -> Text:
        colour = self.session.colour_of(party)
        line = Text(f"{party.label[: NAME_CELLS - 1]:<{NAME_CELLS}}", colour, no_wrap=True, end="")
        line.append(" " * (room - len(recent)))
        mine = [block.producer == party for block in recent]
        line.append_text(lane(mine, [party in block.skipped for block in recent], colour))
        line.append(f"{show.count(won):>6}", FOREGROUND)
        return line.append(f"{show.percent(show.part_bps(won, of)):>8}", MUTED)

    def _show_race(self, blocks: list[BlockSummary], parties: list[Party]) -> None:
        """Each candidate's part of the blocks so far, from the oldest one known on."""
        chart = self.query_one("#race", Chart)
        if not chart.display:
            return
        oldest_first = list(reversed(blocks))
        series = []
        for party in parties[:MAX_LINES]:
            won = list(accumulate(int(block.producer == party) for block in oldest_first))
            parts = [100 * number / place for place, number in enumerate(won, 1)]
            series.append(Series(parts[FIRST_SHOWN:], self.session.colour_of(party)))
        labels = [show.count(block.height) for block in (oldest_first[0], oldest_first[-1])]
        chart.border_title = f"Part of all blocks won since {labels[0]}, %"
        chart.show_series(series, (labels[0], labels[1]))

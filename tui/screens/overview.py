"""Overview: is the neighbourhood well? Height, finality, energy, the next draw, peers, the last blocks."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Resize
from textual.widgets import Static

from node.client import format as show
from node.client.models import BlockSummary, Draw, Peer
from tui.drawing import bar
from tui.feed import Part
from tui.palette import ATTENTION, CONSUMPTION, FOREGROUND, MUTED, PRIMARY, PRODUCTION
from tui.screens.base import Go, LiveScreen
from tui.widgets.chart import Chart, Series
from tui.widgets.live_table import Column, LiveTable, Row
from tui.widgets.top_bar import Place

CHART_BLOCKS = 120
CHART_PERIODS = 96
LAST_BLOCKS = 50
NAME_CELLS = 9


class OverviewScreen(LiveScreen):
    PLACE: ClassVar[Place] = Place("overview", "o", "Overview", "Height, finality, energy, next draw, peers")

    def body(self) -> ComposeResult:
        with Horizontal(id="cards"):
            for name, title in (("height", "Height"), ("finality", "Finality"), ("network", "Network"), ("own", "Own")):
                card = Static(id=f"card-{name}", classes="card panel")
                card.border_title = title
                yield card
        with Horizontal(id="charts"):
            finality = Chart(id="chart-finality", classes="panel")
            finality.border_title = "Finality, s per block"
            yield finality
            energy = Chart(id="chart-energy", classes="panel")
            energy.border_title = "Own energy, kWh per period"
            yield energy
        with Horizontal(id="middle"):
            draw = Static(id="next-draw", classes="panel")
            draw.border_title = "Next draw"
            yield draw
            peers = Static(id="peers", classes="panel")
            peers.border_title = "Peers"
            yield peers
        blocks = LiveTable(
            [
                Column("height", 8, right=True),
                Column("time", 8),
                Column("producer", 10),
                Column("final in", 9, right=True),
                Column("transactions", 12, right=True),
                Column("size", 9, right=True, from_width=100),
                Column("skipped turns", 14, grow=True),
            ],
            id="last-blocks",
        )
        blocks.add_class("panel")
        blocks.border_title = "Last blocks"
        yield blocks

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self.show_feed, Part.DRAW | Part.PEERS)

    def show_feed(self, parts: Part) -> None:
        if parts & Part.STATUS:
            self._show_status()
        if parts & Part.BLOCKS:
            self._show_blocks(self.session.feed.blocks)
        if parts & Part.READINGS:
            self._show_energy()
        if parts & (Part.DRAW | Part.CANDIDATES) and self.session.feed.draw is not None:
            self._show_draw(self.session.feed.draw)
        if parts & (Part.PEERS | Part.CANDIDATES):
            self._show_peers(self.session.feed.peers)

    @on(LiveTable.Opened, "#last-blocks")
    def open_block(self, event: LiveTable.Opened) -> None:
        self.post_message(Go("chain", event.key))

    def _show_status(self) -> None:
        status = self.session.feed.status
        if status is None:
            return
        time = show.clock_time(status.tip_time_ms, self.session.feed.utc_offset_minutes)
        self._card("height", (show.count(status.height), f"bold {PRIMARY}"), (f"at {time}", MUTED))
        fast, slow = show.duration(status.finality.p50_ms), show.duration(status.finality.p95_ms)
        self._card("finality", (f"p50 {fast:>7}", f"bold {FOREGROUND}"), (f"p95 {slow:>7}", MUTED))
        peers = f"{status.peer_count} peer{'' if status.peer_count == 1 else 's'}"
        style = f"bold {FOREGROUND if status.peer_count else ATTENTION}"
        self._card("network", (peers, style), (f"{show.count(status.mempool.transactions)} waiting", MUTED))

    def _show_energy(self) -> None:
        # The first kept reading of a meter has none before it to be compared with.
        readings = [one for one in self.session.feed.readings if None not in {one.imported_wh, one.exported_wh}]
        if not readings:
            status = self.session.feed.status
            why = "no account" if status is not None and status.account is None else "no reading yet"
            self._card("own", ("–", MUTED), (why, MUTED))
        else:
            latest = readings[0]
            self.query_one("#card-own").border_title = "Own, last period"
            out, in_ = latest.exported_wh or 0, latest.imported_wh or 0
            self._card(
                "own",
                (f"↑ {show.energy(out, aligned=True):>10}", f"bold {PRODUCTION}" if out else MUTED),
                (f"↓ {show.energy(in_, aligned=True):>10}", CONSUMPTION if in_ else MUTED),
            )
        recent = list(reversed(readings[:CHART_PERIODS]))
        offset = self.session.feed.utc_offset_minutes
        ends = (recent[0], recent[-1]) if recent else ()
        labels = [show.clock_time(reading.period_start_ms, offset) for reading in ends]
        self.query_one("#chart-energy", Chart).show_series(
            [
                Series([(one.exported_wh or 0) / 1_000 for one in recent], PRODUCTION, filled=True),
                Series([(one.imported_wh or 0) / 1_000 for one in recent], CONSUMPTION),
            ],
            (labels[0], labels[1]) if labels else ("", ""),
        )
        self.query_one(
            "#chart-energy"
        ).border_subtitle = f"[{PRODUCTION}]↑ production[/] [{CONSUMPTION}]↓ consumption[/]"

    def _show_blocks(self, blocks: list[BlockSummary]) -> None:
        seen = [block for block in reversed(blocks[:CHART_BLOCKS]) if block.finality_ms is not None]
        values = [(block.finality_ms or 0) / 1_000 for block in seen]
        labels = (show.count(seen[0].height), show.count(seen[-1].height)) if seen else ("", "")
        self.query_one("#chart-finality", Chart).show_series([Series(values, PRIMARY)], labels)
        self.query_one("#last-blocks", LiveTable).show_rows([self._block_row(one) for one in blocks[:LAST_BLOCKS]])

    def _block_row(self, block: BlockSummary) -> Row:
        count = show.count(block.transaction_count)
        transactions = Text(count, end="")
        if block.refused_count:
            transactions = Text(f"{show.count(block.refused_count)} refused of {count}", ATTENTION, end="")
        return str(block.height), (
            show.count(block.height),
            show.clock_time(block.time_ms, self.session.feed.utc_offset_minutes),
            Text(block.producer.label, self.session.colour_of(block.producer), end=""),
            show.duration(block.finality_ms),
            transactions,
            show.size(block.size_bytes),
            Text(", ".join(party.label for party in block.skipped), ATTENTION, end=""),
        )

    def _show_draw(self, draw: Draw) -> None:
        panel = self.query_one("#next-draw", Static)
        panel.border_title = f"Next draw: height {show.count(draw.height)}, view {draw.view}"
        panel.border_subtitle = f"drawn: {draw.winner.label}"
        width = max(4, panel.content_size.width - NAME_CELLS - 10)
        lines = []
        for entry in sorted(draw.entries, key=lambda one: (-one.lottery_weight, one.account.label)):
            won = entry.account == draw.winner
            line = Text(f"{'▸' if won else ' '}{entry.account.label[: NAME_CELLS - 2]:<{NAME_CELLS - 1}}", end="")
            line.stylize(f"bold {self.session.colour_of(entry.account)}" if won else FOREGROUND)
            if entry.reason is None:
                line.append_text(bar(entry.chance_bps, 10_000, width, self.session.colour_of(entry.account)))
                line.append(f"{show.percent(entry.chance_bps):>9}", "bold" if won else FOREGROUND)
            else:
                line.append(f"{show.words(entry.reason)}", MUTED)
            lines.append(line)
        panel.update(Text("\n").join(_fitting(lines, panel.content_size.height)))

    def _show_peers(self, peers: list[Peer]) -> None:
        panel = self.query_one("#peers", Static)
        known = [peer.latency_us for peer in peers if peer.latency_us is not None]
        slowest = max(known, default=1)
        width = max(4, panel.content_size.width - NAME_CELLS - 10)
        lines = []
        for peer in sorted(peers, key=_peer_order):
            name = peer.account.label if peer.account is not None else show.short(peer.peer, NAME_CELLS - 1)
            line = Text(f" {name[: NAME_CELLS - 2]:<{NAME_CELLS - 1}}", FOREGROUND, end="")
            line.append_text(bar(peer.latency_us or 0, slowest, width, MUTED))
            line.append(f"{show.latency(peer.latency_us):>9}", FOREGROUND if peer.latency_us is not None else MUTED)
            lines.append(line)
        if not lines:
            lines = [Text("no peer is connected", ATTENTION, end="")]
        panel.update(Text("\n").join(_fitting(lines, panel.content_size.height)))

    def _card(self, name: str, first: tuple[str, str], second: tuple[str, str]) -> None:
        self.query_one(f"#card-{name}", Static).update(Text.assemble(first, "\n", second))


def _peer_order(peer: Peer) -> tuple[bool, str]:
    return (True, peer.peer) if peer.account is None else (False, peer.account.label)


def _fitting(lines: list[Text], height: int) -> list[Text]:
    """As many lines as there is room for; the last then says how many are missing."""
    if len(lines) <= height or height < 1:
        return lines
    kept = lines[: height - 1]
    return [*kept, Text(f" and {len(lines) - len(kept)} more", MUTED, end="")]

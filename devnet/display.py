"""How a person watches a devnet: a table that is drawn anew with each event, or a line for each block."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from devnet.tally import MarketTally, NodeTally, Standing, Tally, percentile
from node.client.events import BlockFinal
from node.client.format import energy, part_bps, percent

SHORT_HASH: Final = 10
NOTES_KEPT: Final = 5
WIDE_COLUMNS: Final = 88
"""From this width on the table has room for the tips."""
MARKET_COLUMNS: Final = 112
"""And from this on for what each home has sold and bought."""
_TIP: Final = "tip"
_FROM_WIDTH: Final = {_TIP: WIDE_COLUMNS, "sold, kWh": MARKET_COLUMNS, "bought, kWh": MARKET_COLUMNS}
_COLUMNS: Final[tuple[tuple[str, JustifyMethod], ...]] = (
    ("home", "left"),
    ("node", "left"),
    ("height", "right"),
    (_TIP, "left"),
    ("final in", "right"),
    ("peers", "right"),
    ("sold, kWh", "right"),
    ("bought, kWh", "right"),
    ("produced", "right"),
    ("missed", "right"),
    ("reputation", "right"),
    ("standing", "left"),
)
_STATUS_STYLE: Final = {"active": "green", "suspended": "yellow", "expelled": "red"}


class Display:
    """Use as a context manager. On a terminal the table stays in place, elsewhere each block and note is one line."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        self._console = console
        self._names = names
        self._notes: list[str] = []
        self._stack = ExitStack()
        self._live: Live | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live = self._stack.enter_context(Live(console=self._console, auto_refresh=False))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def note(self, sentence: str) -> None:
        """Says once what happened besides blocks."""
        if self._live is None:
            self._console.print(Text(sentence), soft_wrap=True)
        self._notes.append(sentence)
        del self._notes[:-NOTES_KEPT]

    def block(self, block: BlockFinal) -> None:
        if self._live is None:
            self._console.print(Text(block_line(block)), soft_wrap=True)

    def show(self, tally: Tally, states: dict[str, str]) -> None:
        """``states``: name → what its processes do: runs, paused, down, starting."""
        if self._live is not None:
            table = devnet_table(self._names, tally, states, self._notes, self._console.width)
            self._live.update(table, refresh=True)


def block_line(block: BlockFinal) -> str:
    """``block 12  3f9a…  by george, view 1 (skipped: bob)  2 transactions, 4 readings  final after 412 ms``."""
    skipped = ", ".join(turn.leader.label for turn in block.skipped)
    view = f", view {block.view} (skipped: {skipped})" if block.view else ""
    final = "" if block.finality_ms is None else f"  final after {block.finality_ms} ms"
    return (
        f"block {block.height}  {block.hash[:SHORT_HASH]}…  by {block.producer.label}{view}  "
        f"{block.transaction_count} transactions, {block.reading_count} readings{final}"
    )


def devnet_table(names: Sequence[str], tally: Tally, states: dict[str, str], notes: Sequence[str], width: int) -> Table:
    """What a window of ``width`` columns has room for."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    for heading, justify in _COLUMNS:
        if width >= _FROM_WIDTH.get(heading, 0):
            table.add_column(heading, justify=justify, no_wrap=True)
    winner = tally.last.producer.label if tally.last is not None else None
    for name in names:
        cells = _row(name, name == winner, tally, states.get(name, "down"))
        headings = (heading for heading, _ in _COLUMNS)
        table.add_row(
            *(cell for cell, heading in zip(cells, headings, strict=True) if width >= _FROM_WIDTH.get(heading, 0))
        )
    table.caption = Text("\n".join([*_summary(tally), *notes]))
    return table


def _row(name: str, won: bool, tally: Tally, state: str) -> list[Text]:
    node: NodeTally = tally.nodes[name]
    standing: Standing | None = tally.standings.get(name)
    down = state == "down"
    style = "red" if down else ""
    behind = node.height < tally.height
    return [
        Text(f"{name} ◆" if won else name, style="bold red" if down else "bold"),
        Text(state, style={"runs": "green", "down": "bold red", "paused": "yellow"}.get(state, "")),
        Text(str(node.height), style=style or ("yellow" if behind else "")),
        Text(node.tip[:SHORT_HASH], style=style or "cyan"),
        Text("–" if node.finality_ms is None else f"{node.finality_ms} ms", style=style),
        Text(str(len(node.peers)), style=style),
        Text(energy(tally.market.sold_wh.get(name, 0), unit=False), style=style),
        Text(energy(tally.market.bought_wh.get(name, 0), unit=False), style=style),
        Text(str(tally.produced.get(name, 0)), style=style),
        Text("–" if standing is None else str(standing.missed), style=style),
        Text("–" if standing is None else f"{standing.reputation_milli / 1000:.1f}", style=style),
        Text("–") if standing is None else Text(standing.status, style=_STATUS_STYLE.get(standing.status, "")),
    ]


def _summary(tally: Tally) -> list[str]:
    if tally.last is None:
        return ["waiting for the first block"]
    middle, most = percentile(tally.finality_ms, 50), percentile(tally.finality_ms, 95)
    finality = "" if middle is None else f"   finality p50 {middle} ms, p95 {most} ms"
    return [
        f"◆ {block_line(tally.last)}",
        f"readings {tally.readings}   views skipped {tally.views_skipped}{finality}",
        _market_line(tally.market),
    ]


def _market_line(market: MarketTally) -> str:
    """``trades 12, 3.40 kWh   settled periods 5   self-sufficiency 63.2 %``."""
    line = f"trades {market.trades}, {energy(market.energy_wh)}   settled periods {market.settled}"
    if market.import_wh:
        line += f"   self-sufficiency {percent(part_bps(market.certified_wh, market.import_wh))}"
    return line if not market.unbalanced_wh else f"{line}   UNBALANCED by {market.unbalanced_wh} Wh"

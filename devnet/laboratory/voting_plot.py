"""The picture of the voting experiment: per rule the tokens and the wins of every agent, and concentration over
time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from devnet.laboratory.drawing import FAINT, INK, write_png
from devnet.laboratory.voting import MVOTE, Experiment, Rule, gini, hhi, summarise, top_share, wins_so_far

AGENT_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D1F", "#5A5A5A")
RULE_COLOURS: Final = {Rule.ECLOUD: "#C0392B", Rule.DRAW: "#1F3A93", Rule.CONDORCET: "#7D8A2E"}
EQUAL_SHARES: Final[dict[str, Any]] = {"color": INK, "linewidth": 0.8, "linestyle": (0, (4, 3)), "zorder": 3}
MEASURES: Final[tuple[tuple[str, Callable[[Sequence[int]], float]], ...]] = (
    ("Gini of the ballots", gini),
    ("Herfindahl index of the ballots", hhi),
    ("Largest ballot's share", top_share),
)


def write_plot(experiment: Experiment, path: Path) -> None:
    """Writes a PNG."""
    write_png(path, lambda: _figure(experiment))


def _figure(experiment: Experiment) -> Figure:
    figure = Figure(figsize=(13.0, 9.6), dpi=110, facecolor="white")
    grid: Any = figure.subplots(3, 3, gridspec_kw={"height_ratios": (1.15, 1.0, 0.9)})
    blocks = range(1, experiment.blocks + 1)
    for row in summarise(experiment):
        column = list(Rule).index(row.rule)
        _ballots(grid[0][column], experiment, row.rule, blocks)
        _wins(grid[1][column], experiment, row.rule, blocks)
        grid[0][column].set_title(row.rule.label, fontsize=12, fontweight="bold", loc="left", color=INK, pad=10)
    for column, (title, measure) in enumerate(MEASURES):
        _concentration(grid[2][column], experiment, title, measure, blocks)
    _legends(figure, experiment)
    figure.text(
        0.985, 0.985, "thin: each block; thick: mean of the last twentieth of the blocks",
        ha="right", va="top", fontsize=9, color=INK,
    )  # fmt: skip
    figure.suptitle(
        f"E-Cloud's voting experiment: {experiment.blocks:,} blocks, seed {experiment.seed}",
        x=0.055, y=0.985, ha="left", fontsize=14, fontweight="bold", color=INK,
    )  # fmt: skip
    figure.subplots_adjust(left=0.055, right=0.985, top=0.885, bottom=0.055, hspace=0.38, wspace=0.18)
    return figure


def _colour(agent: int) -> str:
    return AGENT_COLOURS[agent % len(AGENT_COLOURS)]


def _ballots(axes: Any, experiment: Experiment, rule: Rule, blocks: range) -> None:
    ballots = [round_.ballots_mvote for round_ in experiment.runs[rule]]
    axes.axhline(sum(ballots[0]) / MVOTE / len(experiment.agents), **EQUAL_SHARES)
    for agent in range(len(experiment.agents)):
        tokens = [ballot[agent] / MVOTE for ballot in ballots]
        axes.plot(blocks, tokens, color=_colour(agent), linewidth=0.5, alpha=0.3)
        axes.plot(blocks, _smooth(tokens), color=_colour(agent), linewidth=1.8)
    held = [tokens for ballot in ballots for tokens in ballot]
    _note(axes, f"{min(held) / MVOTE:.1f} to {max(held) / MVOTE:.1f} tokens each")
    _frame(axes, blocks)
    axes.set_ylim(0, sum(ballots[0]) / MVOTE)
    if rule is Rule.ECLOUD:
        axes.set_ylabel("voting tokens held")


def _wins(axes: Any, experiment: Experiment, rule: Rule, blocks: range) -> None:
    counts = wins_so_far(experiment.runs[rule])
    axes.axhline(1 / len(experiment.agents), **EQUAL_SHARES)
    for agent in range(len(experiment.agents)):
        shares = [wins[agent] / block for block, wins in zip(blocks, counts, strict=True)]
        axes.plot(blocks, shares, color=_colour(agent), linewidth=1.4)
    most, least = max(counts[-1]), min(counts[-1])
    _note(axes, f"{least:,} to {most:,} blocks each")
    _frame(axes, blocks)
    axes.set_ylim(0, min(1.0, max(2.2 / len(experiment.agents), 1.2 * most / experiment.blocks)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if rule is Rule.ECLOUD:
        axes.set_ylabel("share of the blocks so far")


def _concentration(
    axes: Any, experiment: Experiment, title: str, measure: Callable[[Sequence[int]], float], blocks: range
) -> None:
    for rule, rounds in experiment.runs.items():
        values = [measure(round_.ballots_mvote) for round_ in rounds]
        axes.plot(blocks, values, color=RULE_COLOURS[rule], linewidth=0.5, alpha=0.25)
        axes.plot(blocks, _smooth(values), color=RULE_COLOURS[rule], linewidth=1.6)
    _frame(axes, blocks)
    axes.set_ylim(0, 1)
    axes.set_xlabel("block")
    axes.set_title(title, fontsize=10, loc="left", color=INK)


def _note(axes: Any, text: str) -> None:
    axes.set_title(text, fontsize=9, loc="right", color=INK)


def _smooth(values: Sequence[float]) -> list[float]:
    """The mean of the last twentieth of the run, at each block."""
    width = max(1, len(values) // 20)
    means: list[float] = []
    total = 0.0
    for place, value in enumerate(values):
        total += value - (values[place - width] if place >= width else 0.0)
        means.append(total / min(place + 1, width))
    return means


def _frame(axes: Any, blocks: range) -> None:
    axes.set_xlim(0, len(blocks))
    axes.grid(True, axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)


def _legends(figure: Figure, experiment: Experiment) -> None:
    # With more agents than colours a legend would name the wrong ones.
    named = experiment.agents if len(experiment.agents) <= len(AGENT_COLOURS) else ()
    agents = [Line2D([], [], color=_colour(k), linewidth=2.4, label=name) for k, name in enumerate(named)]
    agents.append(Line2D([], [], label="equal shares", **EQUAL_SHARES))
    rules = [Line2D([], [], color=RULE_COLOURS[rule], linewidth=2.4, label=rule.label) for rule in Rule]
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "handlelength": 1.6, "columnspacing": 1.4}
    figure.legend(handles=agents, loc="upper left", bbox_to_anchor=(0.047, 0.962), ncols=len(agents), **style)
    figure.legend(handles=rules, loc="upper right", bbox_to_anchor=(0.985, 0.311), ncols=3, **style)

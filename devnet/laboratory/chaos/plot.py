"""One run as a picture: how soon every home had every height, and what the weather was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

from devnet.laboratory.chaos.progress import PROGRESS_MS
from devnet.laboratory.chaos.world import World

if TYPE_CHECKING:
    from devnet.laboratory.chaos.setting import Setting

NEXT_OPENING_MS: Final = 5_000
"""What begins so shortly before a height opens belongs to that height."""
SHORTEST_S: Final = 0.05
INK: Final = "#24292f"
COLOURS: Final = ("#0b6e4f", "#c0392b", "#1f4e8c", "#b8860b", "#6a3d9a", "#008b8b", "#a0522d", "#4d4d4d")
STORM: Final = "#f2c14e"
PARTITION: Final = "#c0392b"
DARK: Final = "#24292f"
DPI: Final = 150


def write_plot(setting: Setting, path: Path) -> None:
    """Runs the setting once more and draws it. Errors: OSError."""
    world = World(setting)
    commits: list[tuple[int, int, int, int]] = []
    world.commits = commits
    world.run()
    opened = _openings(world, commits)
    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 1 + 0.25 * len(world.homes)))
    delays = figure.add_subplot(grid[0])
    weather = figure.add_subplot(grid[1], sharex=delays)
    _draw_delays(delays, world, commits, opened)
    _draw_weather(weather, world, opened)
    enemies = ", ".join(type(actor).__name__ for actor in world.mind.actors.values()) or "no enemies"
    report = world.report
    figure.suptitle(
        f"{setting.homes} homes, seed {setting.seed}, {enemies}: {report.heights} heights, {report.crashes} crashes, "
        f"{report.partitions} partitions, {report.equivocations} equivocations",
        color=INK,
    )
    figure.savefig(path, dpi=DPI, format="png")


def _openings(world: World, commits: Sequence[tuple[int, int, int, int]]) -> list[int]:
    """When each height opened, ms, from height 1 on; one more than are final."""
    times = dict.fromkeys(range(1), 0) | {height: time_ms for _, _, height, time_ms in commits}
    return [times[height] + world.setting.interval_ms for height in sorted(times)]


def _draw_delays(axes: Any, world: World, commits: Sequence[tuple[int, int, int, int]], opened: Sequence[int]) -> None:
    """How long after a height's opening each home had it final."""
    for place, number in enumerate(world.homes):
        own = [
            (height, max(SHORTEST_S, (at_ms - opened[height - 1]) / 1000))
            for at_ms, home, height, _ in commits
            if home == number
        ]
        axes.plot(
            [height for height, _ in own],
            [delay_s for _, delay_s in own],
            linestyle="none",
            marker="o",
            markersize=3,
            alpha=0.7,
            color=COLOURS[place % len(COLOURS)],
            label=f"home {number}",
        )
    for what, _, from_ms, to_ms in world.weather.bands:
        if what == "storm":
            axes.axvspan(*_heights_of(opened, from_ms, to_ms), color=STORM, alpha=0.35, lw=0)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    axes.axhline(PROGRESS_MS / 1000, color=PARTITION, lw=0.8, linestyle="--")
    axes.text(
        0.01,
        PROGRESS_MS / 1000,
        "allowed after healing",
        fontsize=8,
        color=PARTITION,
        va="bottom",
        transform=axes.get_yaxis_transform(),
    )
    axes.set_xlim(0, len(opened))
    axes.set_ylabel("from the opening of a height to its being final")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=8, frameon=False, ncols=8)
    axes.tick_params(labelbottom=False)
    _frame(axes)


def _draw_weather(axes: Any, world: World, opened: Sequence[int]) -> None:
    """A row for each home, black where it was dark; above them storms and partitions, at the height that was open."""
    rows = {number: place for place, number in enumerate(reversed(list(world.homes)))}
    top = len(rows)
    for what, home, from_ms, to_ms in world.weather.bands:
        left, right = _heights_of(opened, from_ms, to_ms)
        row, colour = {
            "storm": (top + 1, STORM),
            "partition": (top, PARTITION),
            "dark": (rows.get(home, top), DARK),
            "absent": (rows.get(home, top), DARK),
        }[what]
        axes.broken_barh([(left, right - left)], (row - 0.4, 0.8), facecolors=colour, lw=0)
    axes.set_yticks([*rows.values(), top, top + 1], [*(f"home {number} dark" for number in rows), "cut off", "storm"])
    axes.set_ylim(-0.6, top + 1.6)
    axes.set_xlabel("height")
    _frame(axes)


def _heights_of(opened: Sequence[int], from_ms: int, to_ms: int) -> tuple[float, float]:
    """The heights that were open in a span of time, as far as one can see it."""
    first = bisect_right(opened, from_ms + NEXT_OPENING_MS)
    last = max(first, bisect_right(opened, to_ms))
    return first - 0.4, last + 0.4


def _frame(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)

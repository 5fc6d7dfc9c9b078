"""One run as a picture: where every home stood, and what the weather was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

from devnet.laboratory.chaos.world import World

if TYPE_CHECKING:
    from devnet.laboratory.chaos.setting import Setting

HOUR_MS: Final = 3_600_000
INK: Final = "#24292f"
COLOURS: Final = ("#0b6e4f", "#c0392b", "#1f4e8c", "#b8860b", "#6a3d9a", "#008b8b", "#a0522d", "#4d4d4d")
STORM: Final = "#f2c14e"
PARTITION: Final = "#c0392b"
DARK: Final = "#24292f"
DPI: Final = 150


def write_plot(setting: Setting, path: Path) -> None:
    """Runs the setting once more and draws it. Errors: OSError."""
    world = World(setting)
    world.heights = []
    world.run()
    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 1 + 0.25 * setting.homes), hspace=0.05)
    heights = figure.add_subplot(grid[0])
    weather = figure.add_subplot(grid[1], sharex=heights)
    _draw_behind(heights, world)
    _draw_weather(weather, world)
    enemies = ", ".join(type(actor).__name__ for actor in world.mind.actors.values()) or "no enemies"
    figure.suptitle(
        f"{setting.homes} homes, seed {setting.seed}, {enemies}: {world.checker.height} heights, "
        f"{world.weather.crashes} crashes, {world.weather.partitions} partitions",
        color=INK,
    )
    figure.savefig(path, dpi=DPI, format="png")


def _draw_behind(axes: Any, world: World) -> None:
    """How many blocks behind the first each home was."""
    assert world.heights is not None
    first: list[tuple[int, int]] = []
    for at_ms, _, height in world.heights:
        if not first or height > first[-1][1]:
            first.append((at_ms, height))
    axes.step(
        [at_ms / HOUR_MS for at_ms, _ in first],
        [height for _, height in first],
        where="post",
        color=INK,
        lw=2.5,
        alpha=0.25,
    )
    for place, number in enumerate(world.homes):
        own = [(at_ms, height) for at_ms, home, height in world.heights if home == number]
        axes.step(
            [at / HOUR_MS for at, _ in own],
            [height for _, height in own],
            where="post",
            color=COLOURS[place % len(COLOURS)],
            lw=1.2,
            label=f"home {number}",
        )
    for what, _, from_ms, to_ms in world.weather.bands:
        if what == "storm":
            axes.axvspan(from_ms / HOUR_MS, to_ms / HOUR_MS, color=STORM, alpha=0.5, lw=0)
    axes.set_ylabel("height")
    axes.legend(loc="upper left", fontsize=8, frameon=False, ncols=2)
    axes.tick_params(labelbottom=False)
    _frame(axes)


def _draw_weather(axes: Any, world: World) -> None:
    """A row for each home: black where it was dark; above them storms and partitions."""
    rows = {number: place for place, number in enumerate(reversed(list(world.homes)))}
    top = len(rows)
    smallest_ms = world.now_ms / 1_200  # narrower than that nobody sees it
    for what, home, from_ms, to_ms in world.weather.bands:
        width = max(to_ms - from_ms, smallest_ms) / HOUR_MS
        row, colour = {
            "storm": (top + 1, STORM),
            "partition": (top, PARTITION),
            "dark": (rows.get(home, top), DARK),
            "absent": (rows.get(home, top), DARK),
        }[what]
        axes.broken_barh([(from_ms / HOUR_MS, width)], (row - 0.4, 0.8), facecolors=colour, lw=0)
    axes.set_yticks([*rows.values(), top, top + 1], [*(f"home {number} dark" for number in rows), "cut off", "storm"])
    axes.set_ylim(-0.6, top + 1.6)
    axes.set_xlabel("hours of virtual time")
    _frame(axes)


def _frame(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)

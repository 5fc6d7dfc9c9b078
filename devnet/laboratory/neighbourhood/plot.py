"""The picture of a run: prices, where the energy went, what each home saved, and how far the neighbourhood fed
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from devnet.laboratory.drawing import FAINT, INK, write_png
from devnet.laboratory.neighbourhood.figures import UWATT_PER_WATT, Figures, Shares
from devnet.laboratory.neighbourhood.tables import Day, days_of, local_time
from home.profiles.archive import SAMPLES_PER_DAY

OWN: Final = "#009E73"
TRADED: Final = "#0072B2"
SHARED: Final = "#56B4E9"
UTILITY: Final = "#BBBBBB"
PRICE: Final = "#D55E00"
ROOF: Final = "#E69F00"
KWH: Final = 1_000
MOST_DAY_NAMES: Final = 10


def write_plot(figures: Figures, path: Path) -> None:
    """Writes a PNG. Errors: OSError."""
    write_png(path, lambda: _figure(figures))


def _figure(figures: Figures) -> Figure:
    setting = figures.setting
    figure = Figure(figsize=(13.0, 8.6), dpi=110, facecolor="white")
    grid: Any = figure.add_gridspec(2, 2, height_ratios=(1.0, 1.0), width_ratios=(1.55, 1.0))
    _prices(figure.add_subplot(grid[0, 0]), figures)
    _days(figure.add_subplot(grid[1, 0]), figures)
    _savings(figure.add_subplot(grid[0, 1]), figures)
    _sufficiency(figure.add_subplot(grid[1, 1]), figures)
    figure.suptitle(
        f"{setting.homes} homes, {setting.pv} with a roof: {setting.days} days from "
        f"{local_time(figures, 0):%-d %B} on, seed {setting.seed}",
        x=0.06, y=0.98, ha="left", fontsize=14, fontweight="bold", color=INK,
    )  # fmt: skip
    figure.subplots_adjust(left=0.06, right=0.985, top=0.89, bottom=0.07, hspace=0.42, wspace=0.16)
    return figure


def _prices(axes: Any, figures: Figures) -> None:
    parameters = figures.setting.parameters
    days = [index / SAMPLES_PER_DAY for index in range(len(figures.periods))]
    _daylight(axes, figures, days)
    for level, label, style, lift in (
        (parameters.retail_uwatt_per_kwh, "retail", "-", 3),
        (figures.pool_price, "pool", (0, (4, 3)), 3),
        (parameters.feed_in_uwatt_per_kwh, "feed-in", "-", -11),
    ):
        if level is not None:
            axes.axhline(level / UWATT_PER_WATT, color=INK, linewidth=0.9, linestyle=style)
            axes.annotate(
                label, (1.0, level / UWATT_PER_WATT), xycoords=("axes fraction", "data"), xytext=(-4, lift),
                textcoords="offset points", ha="right", fontsize=9, color=INK,
            )  # fmt: skip
    traded = [
        (day, one.price / UWATT_PER_WATT, one.trade_wh)
        for day, one in zip(days, figures.periods, strict=True)
        if one.price
    ]
    if traded:
        most_wh = max(energy_wh for *_, energy_wh in traded)
        axes.scatter(
            [day for day, *_ in traded],
            [price for _, price, _ in traded],
            s=[4 + 36 * energy_wh / most_wh for *_, energy_wh in traded],
            color=PRICE, alpha=0.75, linewidths=0, zorder=3,
        )  # fmt: skip
    _frame(axes, figures, "Price of the trades of each quarter hour", "larger: more energy; shaded: surplus in the sun")
    axes.set_ylabel("WATT per kWh, without grid fee")
    axes.set_ylim(0, 1.1 * parameters.retail_uwatt_per_kwh / UWATT_PER_WATT)


def _daylight(axes: Any, figures: Figures, days: Sequence[float]) -> None:
    """Shades where the neighbourhood feeds in more than it draws."""
    more = [one.export_wh > one.import_wh for one in figures.periods]
    axes.fill_between(
        days, 0, 1, where=more, step="post", transform=axes.get_xaxis_transform(), color=ROOF, alpha=0.13, linewidth=0
    )


def _days(axes: Any, figures: Figures) -> None:
    days = days_of(figures)
    parts: tuple[tuple[str, str, list[float]], ...] = (
        ("used at home", OWN, [day.own_wh / KWH for day in days]),
        ("traded", TRADED, [day.traded_wh / KWH for day in days]),
        ("shared by the pool", SHARED, [day.shared_wh / KWH for day in days]),
        ("from the utility", UTILITY, [day.bought_from_utility_wh / KWH for day in days]),
    )
    below = [0.0] * len(days)
    for label, colour, values in parts:
        axes.bar(
            [number + 0.5 for number in range(len(days))], values, width=0.72, bottom=below, color=colour, label=label
        )
        below = [low + value for low, value in zip(below, values, strict=True)]
    _possible(axes, days)
    _frame(axes, figures, "Where the homes' energy came from", "")
    axes.set_ylabel("kWh a day")
    axes.set_ylim(0, 1.18 * max(below))
    axes.legend(loc="upper left", ncol=5, frameon=False, fontsize=8.5, handlelength=1.2, columnspacing=1.1)


def _possible(axes: Any, days: Sequence[Day]) -> None:
    """A mark where perfect sharing would have ended."""
    for number, day in enumerate(days):
        level = (day.own_wh + day.poolable_wh) / KWH
        axes.plot(
            [number + 0.1, number + 0.9], [level, level], color=INK, linewidth=1.1, linestyle=(0, (3, 2)),
            label="perfect pooling" if number == 0 else None,
        )  # fmt: skip


def _savings(axes: Any, figures: Figures) -> None:
    weeks = figures.setting.days / 7
    rows = sorted(
        ((home.saving_uwatt / UWATT_PER_WATT / weeks, bool(home.production_wh)) for home in figures.homes), reverse=True
    )
    for has_roof, colour, label in ((False, TRADED, "without a roof"), (True, ROOF, "with a roof")):
        places = [place for place, (_, roof) in enumerate(rows) if roof is has_roof]
        axes.bar(places, [rows[place][0] for place in places], width=0.8, color=colour, label=label)
    axes.axhline(0, color=INK, linewidth=0.9)
    mean = fmean(saving for saving, _ in rows)
    axes.axhline(mean, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(
        f"mean {mean:.2f}", (1.0, mean), xycoords=("axes fraction", "data"), xytext=(-2, 3), textcoords="offset points",
        ha="right", fontsize=9, color=INK,
    )  # fmt: skip
    axes.set_title("What each home saves against the utility alone", fontsize=11, fontweight="bold", loc="left", pad=8)
    axes.set_ylabel("WATT a week, all fees paid")
    axes.set_xticks([])
    axes.set_xlabel("homes")
    axes.grid(True, axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(loc="upper right", frameon=False)


def _sufficiency(axes: Any, figures: Figures) -> None:
    names = ("alone", "with the market", "perfect pooling")
    colours = (OWN, TRADED, UTILITY)
    for group, shares in enumerate((figures.self_sufficiency, figures.self_consumption)):
        for place, (value, colour) in enumerate(zip(_values(shares), colours, strict=True)):
            at = group * 4 + place
            axes.bar(at, value, width=0.86, color=colour, label=names[place] if group == 0 else None)
            axes.annotate(f"{value:.1%}", (at, value), xytext=(0, 3), textcoords="offset points", ha="center")
    axes.set_xticks([1, 5], ["self-sufficiency\n(of the consumption)", "self-consumption\n(of the production)"])
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1.25 * max(0.01, *_values(figures.self_sufficiency), *_values(figures.self_consumption)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(True, axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title(
        f"Market: {figures.gain:.1%} of what pooling yields", fontsize=11, fontweight="bold", loc="left",
        pad=8,
    )  # fmt: skip
    axes.legend(loc="upper right", frameon=False)


def _values(shares: Shares) -> tuple[float, float, float]:
    return shares.alone, shares.market, shares.pooled


def _frame(axes: Any, figures: Figures, title: str, hint: str) -> None:
    days = figures.setting.days
    axes.set_title(title, fontsize=11, fontweight="bold", loc="left", pad=8)
    axes.set_title(hint, fontsize=8.5, loc="right", color=INK, pad=8)
    axes.set_xlim(0, days)
    step = max(1, -(-days // MOST_DAY_NAMES))
    shown = range(0, days, step)
    axes.set_xticks([day + 0.5 for day in shown])
    axes.set_xticklabels([f"{local_time(figures, day * SAMPLES_PER_DAY):%a %-d %b}" for day in shown])
    axes.tick_params(axis="x", length=0)
    axes.grid(True, axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)

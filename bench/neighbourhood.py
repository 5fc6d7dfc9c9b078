"""What a market brings to 37 homes with 27 roofs in a week: ``make neighbourhood``.

1. The neighbourhood of Quartierstrom's size (``ecloud lab neighbourhood``), a week of April, four ways: orders and pool
   as homes are by default, orders alone, continuous and by auction, and the pool alone; the default in winter, summer
   and autumn besides. All on the real ledger, with real signatures and draws.
2. The default must reach 95 % of what perfect pooling brings, leave nobody worse off than with the utility alone, take
   at most 5 s of CPU a day and balance to the last unit, in each season: else the exit status is 1.
3. The result is a table in ``bench/results`` and a picture of the week in April in ``docs/pictures``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.report import Cell, Table, save
from devnet.laboratory.neighbourhood.figures import UWATT_PER_WATT, Figures
from devnet.laboratory.neighbourhood.plot import write_plot
from devnet.laboratory.neighbourhood.setting import Setting
from devnet.laboratory.neighbourhood.world import run
from ledger.market.grid_fee import Mechanism

PICTURE: Final = Path(__file__).parent.parent / "docs" / "pictures" / "neighbourhood.png"
WEEK: Final = Setting()
DEFAULT: Final = "April: orders and pool"
RUNS: Final = (
    (DEFAULT, WEEK),
    ("April: orders alone", replace(WEEK, pooled=False)),
    ("April: orders alone, auction", replace(WEEK, pooled=False, mechanism=Mechanism.AUCTION)),
    ("April: pool alone", replace(WEEK, traded=False)),
    ("January: orders and pool", replace(WEEK, first_day=14)),
    ("July: orders and pool", replace(WEEK, first_day=196)),
    ("October: orders and pool", replace(WEEK, first_day=288)),
)
COLUMNS: Final = (
    "a week",
    "self-sufficiency alone",
    "with the market",
    "perfect pooling",
    "of its gain",
    "saving per home, least",
    "mean, WATT",
    "mean price, WATT/kWh",
    "orders",
    "CPU, s/day",
)
NOTES: Final = (
    "Savings are against the utility alone, grid fees and the fees of all transactions paid.",
    "Households and roofs are SimBench's (ODbL, home/profiles/ATTRIBUTION.md); peak power as in ADR 0009.",
    "Real: ledger, conservation checks, signatures, draw and its proofs, autopilots that know only their own past and"
    " the chain. Left out: network, votes, silent meters. Blocks are 300 s apart.",
)
LEAST_GAIN: Final = 0.95
MOST_CPU_S: Final = 5.0


def main() -> int:
    results: list[tuple[str, Figures]] = []
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task("settled periods", total=sum(setting.periods for _, setting in RUNS))
        for name, setting in RUNS:
            progress.update(task, description=name)
            results.append((name, run(setting, _advance(progress, task))))
    save(
        Table(
            name="neighbourhood",
            title="A neighbourhood of 37 homes, 27 with a roof, for a week",
            command="make neighbourhood",
            columns=COLUMNS,
            rows=[row(name, figures) for name, figures in results],
            notes=NOTES,
        )
    )
    write_plot(results[0][1], PICTURE)
    missed = [f"{name}: {what}" for name, figures in results for what in missed_goals(figures)]
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if missed else 0


def row(name: str, figures: Figures) -> list[Cell]:
    shares, savings = figures.self_sufficiency, figures.savings_watt
    traded_wh = sum(one.trade_wh for one in figures.periods)
    value = sum(one.price * one.trade_wh for one in figures.periods if one.price is not None)
    return [
        name,
        f"{shares.alone:.1%}",
        f"{shares.market:.1%}",
        f"{shares.pooled:.1%}",
        f"{figures.gain:.1%}",
        round(min(savings), 2),
        round(fmean(savings), 2),
        f"{value / traded_wh / UWATT_PER_WATT:.3f}" if traded_wh else "",
        figures.transactions.get("place_order", 0),
        round(figures.cpu_seconds_per_day, 2),
    ]


def missed_goals(figures: Figures) -> list[str]:
    """What a run falls short of; the goals of gain and saving are those of the default, orders and pool."""
    missed = []
    if figures.conservation:
        missed.append(f"{figures.conservation} Wh and uwatt do not balance")
    if figures.cpu_seconds_per_day > MOST_CPU_S:
        missed.append(f"a day takes {figures.cpu_seconds_per_day:.2f} s of CPU, more than {MOST_CPU_S:.0f}")
    if figures.setting.traded and figures.setting.has_pool:
        if figures.gain < LEAST_GAIN:
            missed.append(f"{figures.gain:.1%} of what perfect pooling brings, less than {LEAST_GAIN:.0%}")
        if min(figures.savings_watt) < 0:
            missed.append(f"a home is {-min(figures.savings_watt):.3f} WATT worse off than with the utility")
    return missed


def _advance(progress: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda _settled: progress.advance(task)


if __name__ == "__main__":
    sys.exit(main())

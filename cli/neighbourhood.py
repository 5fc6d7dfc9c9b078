"""``ecloud lab neighbourhood``: the market of a neighbourhood in virtual time, on the node's own ledger."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.common import EXIT_USAGE, AsJson, fail
from cli.output import note, print_facts, print_json, print_table

if TYPE_CHECKING:
    from devnet.laboratory.neighbourhood.figures import Figures, Shares

HOMES: Final = 37
ROOFS: Final = 27
DAYS: Final = 7
SEED: Final = 1


def neighbourhood(
    homes: Annotated[int, typer.Option("--homes", metavar="N", help="How many homes.")] = HOMES,
    pv: Annotated[int, typer.Option("--pv", metavar="N", help="How many of them have a solar roof.")] = ROOFS,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How many days are played.")] = DAYS,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same result.")] = SEED,
    first_day: Annotated[
        int | None, typer.Option("--first-day", metavar="DAY", help="Day of the year, 0 to 365; else 15 April.")
    ] = None,
    auction: Annotated[bool, typer.Option("--auction", help="One auction at gate closure, not continuous.")] = False,
    no_pool: Annotated[bool, typer.Option("--no-pool", help="Trades only: nothing is shared.")] = False,
    no_orders: Annotated[bool, typer.Option("--no-orders", help="The pool only: nobody trades.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="DIR", help="Write homes, days and periods as tables.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw it all as a PNG.")] = None,
    json: AsJson = False,
) -> None:
    """Play the market of a neighbourhood: real ledger, real draw, real signatures, autopilots, virtual time.

    Households and roofs are SimBench's, measured quarter hour by quarter hour. Each home's autopilot forecasts from
    its own past and places orders; what trades leave goes through a sharing pool, then to the utility. Prints how far
    the neighbourhood feeds itself (each home alone, with the market, with perfect pooling), what each home saves
    against the utility alone with all fees paid, prices, and what the computing cost.
    """
    from devnet.laboratory.neighbourhood.setting import FIRST_DAY, Setting, SettingError
    from devnet.laboratory.neighbourhood.world import run
    from ledger.market.grid_fee import Mechanism

    setting = Setting(
        homes=homes,
        pv=pv,
        days=days,
        seed=seed,
        first_day=FIRST_DAY if first_day is None else first_day,
        mechanism=Mechanism.AUCTION if auction else Mechanism.CONTINUOUS,
        traded=not no_orders,
        pooled=not no_pool,
    )
    _require_writable(csv, plot)
    try:
        with _progress(max(1, setting.periods)) as advance:
            figures = run(setting, advance)
    except SettingError as error:
        fail(str(error), EXIT_USAGE)
    if csv is not None:
        from devnet.laboratory.neighbourhood.tables import write_csv

        _write("--csv", csv, lambda: write_csv(figures, csv))
    if plot is not None:
        from devnet.laboratory.neighbourhood.plot import write_plot  # costs seconds

        _write("--plot", plot, lambda: write_plot(figures, plot))
    if json:
        print_json(figures.as_json())
    else:
        _print(figures)


def _require_writable(csv: Path | None, plot: Path | None) -> None:
    """Before the computing, not after it."""
    if csv is not None:
        try:
            csv.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fail(f"--csv: cannot write {csv}: {error.strerror or error}", EXIT_USAGE)
        if not os.access(csv, os.W_OK | os.X_OK):
            fail(f"--csv: cannot write {csv}: permission denied", EXIT_USAGE)
    if plot is not None and (plot.is_dir() or not plot.absolute().parent.is_dir()):
        fail(f"--plot: cannot write {plot}: it is to be a file in a directory that exists", EXIT_USAGE)


def _write(option: str, path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        fail(f"{option}: cannot write {path}: {error.strerror or error}", EXIT_USAGE)
    note(f"written: {path}")


def _print(figures: Figures) -> None:
    from node.client.format import count

    def row(title: str, shares: Shares) -> list[str]:
        return [title, f"{shares.alone:.1%}", f"{shares.market:.1%}", f"{shares.pooled:.1%}"]

    print_table(
        ["", ">alone", ">with the market", ">perfect pooling"],
        [row("self-sufficiency", figures.self_sufficiency), row("self-consumption", figures.self_consumption)],
        empty="",
    )
    savings, setting = figures.savings_watt, figures.setting
    prices = sorted(one.price for one in figures.periods if one.price is not None)
    shared_wh = sum(one.pool_wh for one in figures.periods)
    local_wh = sum(one.certified_wh for one in figures.periods)
    transactions = ", ".join(f"{count(number)} {kind}" for kind, number in figures.transactions.items())
    print_facts(
        [
            ("of what pooling yields", f"{figures.gain:.1%}"),
            ("from neighbours", f"{local_wh / 1_000:,.1f} kWh, of it {shared_wh / 1_000:,.1f} kWh by the pool"),
            (
                "saving per home",
                f"{min(savings):.2f} to {max(savings):.2f}, mean {fmean(savings):.2f} WATT; days: {setting.days}",
            ),
            (
                "prices of trades",
                f"{prices[0] / 1e6:.4f} to {prices[-1] / 1e6:.4f}, median {prices[len(prices) // 2] / 1e6:.4f} WATT/kWh"
                if prices
                else "nobody traded",
            ),
            ("pool price", "none" if figures.pool_price is None else f"{figures.pool_price / 1e6:.4f} WATT/kWh"),
            ("blocks", f"{count(figures.blocks)}, each by the homes' draw"),
            ("transactions", transactions + (f"; refused {sum(figures.refused.values())}" if figures.refused else "")),
            ("does not balance", f"{figures.conservation} Wh and uwatt"),
            (
                "computing",
                f"{figures.cpu_seconds:.1f} s of CPU, {figures.cpu_seconds_per_day:.2f} s a day; "
                f"{figures.wall_seconds:.1f} s on the clock",
            ),
        ]
    )


@contextmanager
def _progress(periods: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda settled: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("settled periods", total=periods)
        yield lambda settled: progress.update(task, completed=settled)

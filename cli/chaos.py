"""``ecloud lab chaos``: the node's own consensus, ledger, mempool, sync and journal, under faults and enemies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.common import EXIT_NO, EXIT_USAGE, AsJson, fail
from cli.output import note, print_facts, print_json

if TYPE_CHECKING:
    from devnet.laboratory.chaos.campaign import Outcome, Totals

NODES: Final = 4
DAYS: Final = 1.0
INTERVAL_S: Final = 600
SEED: Final = 0
STORIES: Final = 3
"""So many failing runs are told in full."""


def chaos(
    nodes: Annotated[int, typer.Option("--nodes", metavar="N", help="How many homes, enemies among them.")] = NODES,
    days: Annotated[float, typer.Option("--days", metavar="D", help="How many days of virtual time.")] = DAYS,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same run.")] = SEED,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="So many seeds from there on, on all cores.")] = 1,
    interval: Annotated[
        int, typer.Option("--interval", metavar="S", help="Seconds from block to block, 5 to 600.")
    ] = INTERVAL_S,
    mutant: Annotated[
        str | None, typer.Option("--mutant", metavar="NAME", help="Break one rule in every home: is it noticed?")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the first run as a PNG.")] = None,
    json: AsJson = False,
) -> None:
    """Run a neighbourhood through storms and enemies in virtual time, and check that nothing breaks.

    Real are consensus, ledger, state tree, mempool, download planner and journal; signatures on votes and beacon proofs
    are stubs. Blocks are 600 s apart unless told otherwise, 144 a day, so that days pass quickly; all else keeps a real
    neighbourhood's times. Wires lose, delay, double and reorder, homes are cut off, crash at every point of writing,
    and less than a third of the weight lies. A run that breaks a rule is made as short as it can be, and told. Exit
    status 1 if any home broke a rule, stood still after healing, or could be convicted by its own messages.
    """
    from devnet.laboratory.chaos.campaign import Totals, run_all, settings_of
    from devnet.laboratory.chaos.setting import Setting, SettingError

    try:
        base = Setting(homes=nodes, days=days, seed=seed, interval_ms=1_000 * interval)
        settings = settings_of(base, seeds, mutant)
    except SettingError as error:
        fail(str(error), EXIT_USAGE)
    totals = Totals()
    with _progress(len(settings)) as advance:
        outcomes = run_all(settings, advance)
    for outcome in outcomes:
        totals.add(outcome.report)
    if plot is not None:
        _draw(outcomes[0], plot)
    if json:
        print_json(totals)
    else:
        _print_totals(totals, interval, mutant)
    _tell(outcomes)
    if not totals.is_clean:
        raise typer.Exit(EXIT_NO)


def _print_totals(totals: Totals, interval: int, mutant: str | None) -> None:
    from node.client.format import count

    if mutant is not None:
        from devnet.laboratory.chaos.mutants import find_mutant

        print_facts([("mutant", f"{mutant}: {find_mutant(mutant).sentence}")])
    per_minute = 60 * totals.node_days / totals.cpu_seconds if totals.cpu_seconds else 0.0
    print_facts(
        [
            ("runs", count(totals.runs)),
            ("heights", f"{count(totals.heights)}, {interval} s apart"),
            ("partitions", count(totals.partitions)),
            ("crashes", count(totals.crashes)),
            ("equivocations", count(totals.equivocations)),
            ("violations", count(totals.violations)),
            ("halts", count(totals.halts)),
            ("convictable homes", count(totals.convictable)),
            ("node-days", f"{totals.node_days:,.1f} in {totals.cpu_seconds:,.1f} s of computing"),
            ("node-days a minute", f"{per_minute:,.0f} of computing"),
        ]
    )


def _tell(outcomes: Sequence[Outcome]) -> None:
    """What failed, and how, on standard error."""
    failed = [outcome for outcome in outcomes if outcome.report.fault is not None]
    for outcome in failed[:STORIES]:
        fault = outcome.report.fault
        assert fault is not None
        note(f"\nseed {outcome.setting.seed}, {fault.kind}: {fault.text}\n")
        note("\n".join(outcome.story))
    if len(failed) > STORIES:
        others = ", ".join(str(outcome.setting.seed) for outcome in failed[STORIES:])
        note(f"\nother seeds that failed: {others}")
    for outcome in outcomes:
        if outcome.report.ended_early:
            note(f"seed {outcome.setting.seed} ended at height {outcome.report.heights}: {outcome.report.ended_early}")


def _draw(outcome: Outcome, path: Path) -> None:
    from devnet.laboratory.chaos.plot import write_plot  # costs seconds

    try:
        write_plot(outcome.setting, path)
    except OSError as error:
        fail(f"--plot: cannot write {path}: {error.strerror or error}", EXIT_USAGE)
    note(f"written: {path}")


@contextmanager
def _progress(runs: int) -> Iterator[Callable[[Outcome], None]]:
    """A bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda outcome: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("runs", total=runs)
        yield lambda outcome: progress.advance(task)

"""``ecloud lab``: experiments in virtual time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.chaos import chaos
from cli.common import EXIT_USAGE, AsJson, fail, new_app
from cli.neighbourhood import neighbourhood
from cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from devnet.laboratory.voting import Experiment, Summary

app = new_app("The laboratory: experiments in virtual time, reproducible from their seed.")

app.command()(chaos)
app.command()(neighbourhood)

BLOCKS: Final = 1_000
SEED: Final = 1


@app.command()
def voting(
    blocks: Annotated[int, typer.Option("--blocks", metavar="N", help="How many blocks are won.")] = BLOCKS,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same result.")] = SEED,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write winner and ballots of every block as a table.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw it all as a PNG.")] = None,
    json: AsJson = False,
) -> None:
    """Repeat E-Cloud's voting experiment under three rules, side by side.

    Four agents, each a candidate in every round with 100 voting tokens: who wins the blocks, and where do the tokens
    end up? Under E-Cloud's own rule (the winner takes all stakes), under the draw of this chain, and under Condorcet's
    pairwise vote of the criteria.
    """
    from devnet.laboratory.voting import ExperimentError, run, summarise, write_csv

    try:
        with _working("three elections"):
            experiment = run(blocks, seed)
    except ExperimentError as error:
        fail(str(error), EXIT_USAGE)
    rows = summarise(experiment)
    _write(csv, "--csv", experiment, write_csv)
    if plot is not None:
        with _working("the picture"):
            from devnet.laboratory.voting_plot import write_plot  # costs seconds

            _write(plot, "--plot", experiment, write_plot)
    if json:
        print_json({"blocks": blocks, "seed": seed, "agents": experiment.agents, "rules": rows})
        return
    _print_summaries(experiment.agents, rows)
    for path in (csv, plot):
        if path is not None:
            note(f"written: {path}")


def _write(path: Path | None, option: str, experiment: Experiment, write: Callable[[Experiment, Path], None]) -> None:
    if path is None:
        return
    try:
        write(experiment, path)
    except OSError as error:
        fail(f"{option}: cannot write {path}: {error.strerror or error}", EXIT_USAGE)


@contextmanager
def _working(what: str) -> Iterator[None]:
    """Something moves on standard error while it takes its time, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def _print_summaries(agents: Sequence[str], rows: Sequence[Summary]) -> None:
    from node.client.format import count, vote

    def line(title: str, value: Callable[[Summary], str]) -> list[str]:
        return [title, *(value(row) for row in rows)]

    def wins(agent: str) -> list[str]:
        return line(f"blocks won by {agent}", lambda row: count(row.wins[agent]))

    def ballot(agent: str) -> list[str]:
        return line(
            f"tokens of {agent} at the end", lambda row: vote(row.ballots_mvote[agent], unit=False, aligned=True)
        )

    print_table(
        ["", *(f">{row.rule.label}" for row in rows)],
        [
            *(wins(agent) for agent in agents),
            *(ballot(agent) for agent in agents),
            line("Gini of the blocks won", lambda row: f"{row.wins_gini:.3f}"),
            line("Gini of the tokens, at the end", lambda row: f"{row.ballots_gini:.3f}"),
            line("Gini of the tokens, on average", lambda row: f"{row.mean_ballots_gini:.3f}"),
            line("Herfindahl index of the tokens", lambda row: f"{row.ballots_hhi:.3f}"),
            line("largest part of the tokens, at the end", lambda row: f"{row.ballots_top_share:.1%}"),
            line("largest part of the tokens, ever", lambda row: f"{row.highest_top_share:.1%}"),
            line("most blocks in a row by one", lambda row: count(row.longest_run)),
            line("longest wait of one, in blocks", lambda row: count(row.longest_wait)),
        ],
        empty="",
    )

"""A thousand neighbourhoods under faults and enemies: ``make chaos``.

1. Neighbourhoods of 4, 7 and 13 homes in virtual time (``devnet.laboratory.chaos``), as many seeds of each as ``PLAN``
   says, so that all of them cost about the same; a third each with blocks 15, 60 and 600 s apart.
2. Seven runs in nine have enemies of one kind that contradict themselves, since evidence, expulsion and coming back are
   what needs the most exercise; the others draw any behaviour.
3. Nothing may be broken, nobody stand still after healing, no honest home be convictable; the first that fails is
   told, with the seed that replays it.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.progress import Progress

from bench.report import Table, save, show
from devnet.laboratory.chaos.campaign import Outcome, Totals, run_all
from devnet.laboratory.chaos.setting import DAY_MS, Setting
from devnet.laboratory.chaos.world import CALM_AT_THE_END_MS

RUNS: Final = 1_000
INTERVALS_MS: Final = (15_000, 60_000, 600_000)
SELF_CONTRADICTING: Final = ("DoubleVoter", "Nullifier", "Equivocator", "DoubleVoter", "Nullifier", "Chameleon")


@dataclass(frozen=True, slots=True)
class Share:
    """Of ``part`` in a thousand runs: so many homes, about so many heights, so many of them in a storm."""

    homes: int
    part: int
    heights: int
    storminess: float


PLAN: Final = (Share(4, 400, 140, 0.12), Share(7, 350, 80, 0.2), Share(13, 250, 34, 0.3))


def settings_of(runs: int, first_seed: int) -> list[Setting]:
    """The campaign, or a share of it."""
    settings: list[Setting] = []
    for share in PLAN:
        for number in range(max(1, share.part * runs // RUNS)):
            interval_ms = INTERVALS_MS[number % len(INTERVALS_MS)]
            days = (share.heights * interval_ms + CALM_AT_THE_END_MS) / DAY_MS
            turn = number // len(INTERVALS_MS)
            style = SELF_CONTRADICTING[turn % len(SELF_CONTRADICTING)] if number % 9 < 7 else None
            settings.append(
                Setting(
                    homes=share.homes,
                    days=days,
                    seed=first_seed + number,
                    interval_ms=interval_ms,
                    storminess=share.storminess,
                    style=style,
                )
            )
    return settings


def table(outcomes: Sequence[Outcome], command: str) -> Table:
    """A row for each number of homes, and one for all."""
    sums: dict[str, Totals] = defaultdict(Totals)
    rest: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])  # expulsions, transactions, highest view, longest ms
    for outcome in outcomes:
        for name in (str(outcome.setting.homes), "all"):
            report = outcome.report
            sums[name].add(report)
            others = rest[name]
            others[0] += report.expulsions
            others[1] += report.transactions
            others[2] = max(others[2], report.highest_view)
            others[3] = max(others[3], report.longest_gap_ms)
    early = sum(bool(outcome.report.ended_early) for outcome in outcomes)
    names = [*(str(share.homes) for share in PLAN), "all"]
    return Table(
        name="chaos",
        title="Neighbourhoods under faults and enemies, in virtual time",
        command=command,
        columns=(
            "homes",
            "runs",
            "heights",
            "partitions",
            "crashes",
            "equivocations",
            "expulsions",
            "transactions",
            "violations",
            "halts",
            "convictable",
            "wait, s",
            "CPU, s",
        ),
        rows=[
            (
                name,
                sums[name].runs,
                sums[name].heights,
                sums[name].partitions,
                sums[name].crashes,
                sums[name].equivocations,
                rest[name][0],
                rest[name][1],
                sums[name].violations,
                sums[name].halts,
                sums[name].convictable,
                rest[name][3] / 1000,
                sums[name].cpu_seconds,
            )
            for name in names
        ],
        notes=(
            "Wait: the longest that a home in calm weather took from healing, or a height's opening, to the block.",
            f"The highest view any honest home spoke in was {rest['all'][2]}.",
            f"{early} runs ended early, because the enemies came to hold a third of the weight.",
            "Signatures on votes and beacon proofs are stubs; those on transactions and on reported evidence are real.",
        ),
    )


def main() -> None:
    """Exit status 1 if anything was broken."""
    parser = argparse.ArgumentParser(description="Neighbourhoods under faults and enemies, in virtual time.")
    parser.add_argument("--runs", type=int, default=RUNS, help="a share of the campaign; the table is not stored then")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    settings = settings_of(arguments.runs, arguments.seed)
    failed: list[Outcome] = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("neighbourhoods", total=len(settings))

        def note(outcome: Outcome) -> None:
            progress.advance(task)
            if outcome.report.fault is not None:
                failed.append(outcome)
                progress.console.print(f"{outcome.setting}: {outcome.report.fault.text}")

        outcomes = run_all(settings, note)
    found = table(outcomes, "make chaos")
    if arguments.runs == RUNS:
        save(found)
    else:
        show(found)
    for outcome in failed[:1]:
        print("\n".join(outcome.story))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

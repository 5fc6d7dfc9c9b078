"""Does the laboratory notice a rule that is left out? ``make mutants``.

1. Every mutant of ``devnet.laboratory.chaos.mutants`` runs with the enemies and the weather that exploit it, one seed
   after the other, in neighbourhoods of 4 and of 7 homes, for at most a day of virtual time each.
2. It is *caught* if the run ends with a fault, and *named* if that is the fault the rule is there to prevent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.progress import Progress

from bench.report import Table, save, show
from devnet.laboratory.chaos.campaign import Outcome, run_all
from devnet.laboratory.chaos.mutants import MUTANTS, with_mutant
from devnet.laboratory.chaos.setting import Setting

SEEDS: Final = 20
HOMES: Final = (4, 7)
DAYS: Final = 1.0


def table(outcomes: Sequence[Outcome], command: str) -> Table:
    """A row for each mutant."""
    rows = []
    for mutant in MUTANTS.values():
        runs = [outcome for outcome in outcomes if outcome.setting.mutant == mutant.name]
        faults = [outcome.report.fault for outcome in runs if outcome.report.fault is not None]
        named = sum(any(words in fault.text for words in mutant.shows) for fault in faults)
        heights = sorted(fault.height for fault in faults)
        rows.append(
            (
                mutant.name,
                mutant.sentence,
                len(runs),
                len(faults),
                named,
                heights[len(heights) // 2] if heights else "–",
                "; ".join(sorted({fault.kind.value for fault in faults})) or "–",
            )
        )
    return Table(
        name="mutants",
        title="Rules left out, and whether that is noticed",
        command=command,
        columns=("mutant", "what is broken", "seeds", "caught", "named", "median height", "as"),
        rows=rows,
        notes=("One rule is broken in every honest home; the checker is whole.",),
    )


def main() -> None:
    """Exit status 1 if a mutant was not caught in every seed."""
    parser = argparse.ArgumentParser(description="Does the laboratory notice a rule that is left out?")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each; the table is stored for all of them only")
    arguments = parser.parse_args()
    settings = [
        with_mutant(Setting(homes=HOMES[seed % len(HOMES)], days=DAYS, seed=seed), name)
        for name in MUTANTS
        for seed in range(arguments.seeds)
    ]
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("mutants", total=len(settings))
        outcomes = run_all(settings, lambda outcome: progress.advance(task), tells=False)
    found = table(outcomes, "make mutants")
    if arguments.seeds == SEEDS:
        save(found)
    else:
        show(found)
    sys.exit(0 if all(outcome.report.fault is not None for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()

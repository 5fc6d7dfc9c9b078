"""Many runs, on all cores; and what they amount to.

1. Every run is one setting in one process; nothing is shared. What a run gives depends on its setting alone, not on
   how many run beside it.
2. A run that fails is made shorter and told at once, by the process that ran it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Final

from devnet.laboratory.chaos.faults import FaultKind, Report
from devnet.laboratory.chaos.mutants import with_mutant
from devnet.laboratory.chaos.setting import Setting, SettingError, check_setting
from devnet.laboratory.chaos.story import shorten, tell
from devnet.laboratory.chaos.world import World

MAX_SEEDS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. ``story`` is empty unless it failed; ``shortest`` is the setting the story is of."""

    setting: Setting
    report: Report
    story: tuple[str, ...] = ()
    shortest: Setting | None = None


@dataclass(slots=True)
class Totals:
    """What ``ecloud lab chaos --json`` prints, field by field. ``convictable``: honest homes whose own messages would
    convict them; ``node_days``: homes times days of virtual time, enemies included.
    """

    runs: int = 0
    heights: int = 0
    violations: int = 0
    halts: int = 0
    convictable: int = 0
    partitions: int = 0
    crashes: int = 0
    equivocations: int = 0
    node_days: float = 0.0
    cpu_seconds: float = 0.0

    def add(self, report: Report) -> None:
        self.runs += 1
        self.heights += report.heights
        self.partitions += report.partitions
        self.crashes += report.crashes
        self.equivocations += report.equivocations
        self.node_days = round(self.node_days + report.node_days, 3)
        self.cpu_seconds = round(self.cpu_seconds + report.cpu_seconds, 3)
        kind = None if report.fault is None else report.fault.kind
        self.violations += kind is FaultKind.VIOLATION
        self.halts += kind is FaultKind.HALT
        self.convictable += kind is FaultKind.CONVICTABLE

    @property
    def is_clean(self) -> bool:
        return not (self.violations or self.halts or self.convictable)


def settings_of(base: Setting, seeds: int, mutant: str | None) -> list[Setting]:
    """``seeds`` settings from ``base`` on, all checked. Errors: SettingError."""
    if not 1 <= seeds <= MAX_SEEDS:
        raise SettingError(f"seeds must be 1 … {MAX_SEEDS}, not {seeds}")
    check_setting(base)
    changed = base if mutant is None else with_mutant(base, mutant)
    return [replace(changed, seed=base.seed + number) for number in range(seeds)]


def run_all(settings: Sequence[Setting], note: Callable[[Outcome], None], *, tells: bool = True) -> list[Outcome]:
    """Runs them all, as many at once as there are cores; ``note`` is told of each as it ends. Returns them in order,
    with the stories of those that failed if it ``tells``.
    """
    outcomes = dict(_run(settings, note, run_one if tells else run_silently))
    return [outcomes[number] for number in range(len(settings))]


def _run(
    settings: Sequence[Setting], note: Callable[[Outcome], None], run: Callable[[Setting], Outcome]
) -> Iterator[tuple[int, Outcome]]:
    workers = min(len(settings), os.cpu_count() or 1)
    if workers == 1:
        for number, setting in enumerate(settings):
            outcome = run(setting)
            note(outcome)
            yield number, outcome
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(run, setting): number for number, setting in enumerate(settings)}
        for done in as_completed(waiting):
            outcome = done.result()
            note(outcome)
            yield waiting[done], outcome


def run_silently(setting: Setting) -> Outcome:
    """One run."""
    gc.disable()  # a run leaves its rings behind at its end only, and looking for them takes a tenth of the time
    try:
        return Outcome(setting, World(setting).run())
    finally:
        gc.enable()
        gc.collect()


def run_one(setting: Setting) -> Outcome:
    """One run, with its story if it fails."""
    outcome = run_silently(setting)
    if outcome.report.fault is None:
        return outcome
    shortest, _ = shorten(setting, outcome.report)
    return replace(outcome, story=tuple(tell(shortest)), shortest=shortest)

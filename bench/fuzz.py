"""Mutated and random bytes for every parser of what others wrote: ``make fuzz``.

1. The targets are those of ``tests/fuzz``; each gets the same number of inputs, spread over all cores. What an input
   is follows from target, seed and number alone.
2. A finding (``tests.fuzz.target``) is told with its bytes and how to have it again; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from bench.report import Table, save
from tests.fuzz.target import Finding, try_input
from tests.fuzz.targets import TARGETS

INPUTS: Final = 1_000_000
CHUNK: Final = 1_000
FINDINGS_TOLD: Final = 5
"""For each target; the rest is counted."""
COMMONEST: Final = 4


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What one process found in inputs that follow each other."""

    target: str
    outcomes: Counter[str]
    findings: list[Finding]
    cpu_s: float


def main(words: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(words)
    if arguments.replay:
        return _replay(*arguments.replay)
    names = arguments.target or list(TARGETS)
    each = -(-arguments.inputs // len(names))
    began_s = time.monotonic()
    chunks = _run(names, each, arguments.seed, arguments.processes)
    seconds = time.monotonic() - began_s
    for name in names:
        for finding in [finding for chunk in chunks if chunk.target == name for finding in chunk.findings][
            :FINDINGS_TOLD
        ]:
            print(finding, file=sys.stderr)
    found = sum(len(chunk.findings) for chunk in chunks)
    if arguments.target is None:
        save(_table(names, chunks, arguments.seed, seconds))
    print(f"{found} findings in {each * len(names):,} inputs, {seconds:.0f} s")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; nothing is stored then")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "HEX"), help="feeds one input; - is the empty one")
    return parser


def _replay(name: str, text: str) -> int:
    outcome = try_input(TARGETS[name], b"" if text == "-" else bytes.fromhex(text))
    print(outcome)
    return 1 if isinstance(outcome, Finding) else 0


def _run(names: Sequence[str], each: int, seed: int, processes: int) -> list[_Chunk]:
    chunks: list[_Chunk] = []
    with (
        # Fresh interpreters: threads and signal handlers of this one are of no use to them.
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
        Progress("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as progress,
    ):
        bar = progress.add_task("inputs", total=each * len(names))
        jobs = [
            pool.submit(_feed, name, seed, first, min(CHUNK, each - first))
            for first in range(0, each, CHUNK)
            for name in names
        ]
        for job in as_completed(jobs):
            chunk = job.result()
            chunks.append(chunk)
            progress.advance(bar, sum(chunk.outcomes.values()))
    return chunks


def _feed(name: str, seed: int, first: int, count: int) -> _Chunk:
    target = TARGETS[name]
    _ = target.ready
    outcomes: Counter[str] = Counter()
    findings: list[Finding] = []
    began_s = time.process_time()
    for number in range(first, first + count):
        outcome = try_input(target, target.input(seed, number))
        if isinstance(outcome, Finding):
            findings.append(outcome)
            outcomes["finding"] += 1
        else:
            outcomes[outcome] += 1
    return _Chunk(name, outcomes, findings, time.process_time() - began_s)


def _table(names: Sequence[str], chunks: Sequence[_Chunk], seed: int, seconds: float) -> Table:
    rows = []
    for name in names:
        own = [chunk for chunk in chunks if chunk.target == name]
        outcomes = sum((chunk.outcomes for chunk in own), Counter[str]())
        inputs = outcomes.total()
        told = ", ".join(f"{word} {_share(count, inputs)}" for word, count in outcomes.most_common(COMMONEST))
        rows.append(
            (name, inputs, inputs / sum(chunk.cpu_s for chunk in own), outcomes["finding"], len(outcomes), told)
        )
    total = sum(chunk.outcomes.total() for chunk in chunks)
    return Table(
        name="fuzz",
        title="Rubbish for every parser",
        command="make fuzz",
        columns=("parser", "inputs", "inputs / CPU second", "findings", "ways to end", "the commonest"),
        rows=rows,
        notes=(
            f"{total:,} inputs in {seconds:.0f} s, seed {seed}; about one in twenty is random, the rest are golden "
            "bytes bent in structure or in bytes.",
            "A finding is any exception that the parser does not declare, an accepted input that does not encode to "
            "the same bytes again, a proof or certificate that nobody made, or more than 5 s of work.",
        ),
    )


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} %" if count * 200 >= total else "< 1 %"


if __name__ == "__main__":
    sys.exit(main())

"""What is fuzzed, and what counts as a finding.

A target is fed bytes and answers with one word for how it ended: ``accepted``, or the name of the error that its room
declares for bad input. Whatever else comes out of it is a finding: another exception, a failed assertion (among them:
what was accepted encodes to the same bytes again), or more than MAX_CPU_S of work for one input.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from random import Random
from types import FrameType
from typing import Final

import trio
import trio.testing

from tests.fuzz.mutation import Mutate

MAX_CPU_S: Final = 5.0
ACCEPTED: Final = "accepted"

Feed = Callable[[bytes], str]


class TooMuchWork(Exception):
    """One input kept the processor for more than MAX_CPU_S."""


@dataclass(frozen=True)
class Target:
    """``prepare`` makes the golden inputs and the function that takes one; it runs once, when first needed."""

    name: str
    mutate: Mutate
    prepare: Callable[[], tuple[Sequence[bytes], Feed]]

    @cached_property
    def ready(self) -> tuple[Sequence[bytes], Feed]:
        return self.prepare()

    def input(self, seed: int, number: int) -> bytes:
        """The same for the same seed and number; the first ones are golden."""
        golden, _ = self.ready
        if number < len(golden):
            return golden[number]
        return self.mutate(Random(f"{self.name}/{seed}/{number}"), golden)

    def feed(self, data: bytes) -> str:
        """How it ended. Errors: whatever a finding is."""
        _, feed = self.ready
        with _bounded_work():
            return feed(data)


@dataclass(frozen=True)
class Finding:
    """``data`` made ``target`` fail with ``trace``."""

    target: str
    data: bytes
    trace: str

    def __str__(self) -> str:
        return (
            f"{self.trace}\nTarget {self.target}, {len(self.data)} bytes. Again with:\n"
            f"  .venv/bin/python -m bench.fuzz --replay {self.target} {self.data.hex() or '-'}"
        )


def try_input(target: Target, data: bytes) -> str | Finding:
    """How it ended, or the finding."""
    try:
        return target.feed(data)
    except Exception:
        return Finding(target.name, data, traceback.format_exc())


def virtually(main: Callable[[], object]) -> None:
    """Runs a trio function in virtual time: what would sleep takes none."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))  # type: ignore[arg-type]


@contextmanager
def _bounded_work() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooMuchWork(f"more than {MAX_CPU_S} s of the processor")

    former = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, former)

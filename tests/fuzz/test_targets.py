"""A seeded share of ``make fuzz``, and the proof that it would notice."""

from __future__ import annotations

import os
from collections import Counter
from itertools import count
from time import process_time

import pytest

from ledger.encoding import encode
from tests.fuzz import target as target_module
from tests.fuzz.mutation import any_bytes, any_cbor
from tests.fuzz.target import ACCEPTED, Finding, Target, TooMuchWork, try_input
from tests.fuzz.targets import TARGETS

SEED = 3
INPUTS = 2_000
CPU_S_PER_TARGET = 0.25
LEAST_INPUTS = 100


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_declared_errors_comes_out(name: str) -> None:
    target = TARGETS[name]
    golden, _ = target.ready
    outcomes: Counter[str] = Counter()
    began_s = process_time()
    for number in range(INPUTS):
        if number >= LEAST_INPUTS and process_time() - began_s > CPU_S_PER_TARGET:
            break
        outcome = try_input(target, target.input(SEED, number))
        assert not isinstance(outcome, Finding), str(outcome)
        outcomes[outcome] += 1
    assert len(golden) >= 1
    assert len(outcomes) >= 2, "every input ends alike: the target is not reached"


def test_an_input_is_made_again_from_its_seed_and_number() -> None:
    for mutate in (any_bytes, any_cbor):
        target = Target("some", mutate, lambda: ([encode((1, b"abc", ("x", None)))], lambda _: ACCEPTED))
        made = [target.input(5, number) for number in range(200)]
        assert made == [target.input(5, number) for number in range(200)]
        assert made[1:] != [target.input(6, number) for number in range(1, 200)]
        assert len(set(made)) > 150


def test_an_exception_is_a_finding_that_says_how_to_have_it_again() -> None:
    def fails(data: bytes) -> str:
        raise KeyError(data)

    found = try_input(Target("broken", any_bytes, lambda: ([b"a"], fails)), b"\xab")
    assert isinstance(found, Finding)
    assert "KeyError" in str(found)
    assert "--replay broken ab" in str(found)


def test_endless_work_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_module, "MAX_CPU_S", 0.05)

    def works(_: bytes) -> str:
        return str(sum(os.getpid() for _ in count()))

    found = try_input(Target("endless", any_bytes, lambda: ([b"a"], works)), b"")
    assert isinstance(found, Finding)
    assert TooMuchWork.__name__ in found.trace

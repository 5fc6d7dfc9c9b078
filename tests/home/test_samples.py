"""Telegrams are kept, survive a torn end, and one of them can be proven."""

from __future__ import annotations

from pathlib import Path

import pytest

from home.samples import MAX_SAMPLES, Sample, SampleStore
from ledger.merkle import merkle_root
from tests.home.telegrams import telegram

SAMPLES = [Sample(1_000 * number, telegram(100 + number, number)) for number in range(7)]


def stored(directory: Path, samples: list[Sample]) -> SampleStore:
    store = SampleStore(directory / "samples")
    assert all(store.append(7, sample) for sample in samples)
    return store


def test_what_was_kept_is_read_by_another_program(tmp_path: Path) -> None:
    stored(tmp_path, SAMPLES)
    store = SampleStore(tmp_path / "samples")
    assert store.periods() == [7]
    assert store.read(7) == store.seal(7) == SAMPLES
    assert (store.read(8), store.seal(8)) == ([], [])


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_each_telegram_is_proven_under_the_root(tmp_path: Path, index: int) -> None:
    proof = stored(tmp_path, SAMPLES).prove(7, index)
    assert proof.holds()
    assert (proof.telegram, proof.time_ms) == (SAMPLES[index].raw, SAMPLES[index].time_ms)
    assert proof.root == merkle_root([sample.raw for sample in SAMPLES])


def test_there_is_no_proof_of_what_is_not_there(tmp_path: Path) -> None:
    store = stored(tmp_path, SAMPLES)
    for period, index in ((7, 7), (7, -1), (8, 0)):
        with pytest.raises(IndexError, match="telegrams kept"):
            store.prove(period, index)


@pytest.mark.parametrize("lost", [1, 20, len(SAMPLES[-1].raw) + 3])
def test_a_torn_record_is_cut_off_and_the_next_one_follows(tmp_path: Path, lost: int) -> None:
    # Given a file whose last record did not reach the disk
    stored(tmp_path, SAMPLES)
    file = tmp_path / "samples" / "7.samples"
    file.write_bytes(file.read_bytes()[:-lost])
    store = SampleStore(tmp_path / "samples")
    assert store.read(7) == SAMPLES[:-1]
    # When another is kept
    store.append(7, SAMPLES[0])
    # Then it stands behind the last whole one
    assert store.read(7) == [*SAMPLES[:-1], SAMPLES[0]]


def test_a_changed_telegram_ends_what_is_read(tmp_path: Path) -> None:
    stored(tmp_path, SAMPLES)
    file = tmp_path / "samples" / "7.samples"
    content = bytearray(file.read_bytes())
    content[3 * (16 + len(SAMPLES[0].raw)) + 40] ^= 1
    file.write_bytes(content)
    assert SampleStore(tmp_path / "samples").read(7) == SAMPLES[:3]


def test_old_periods_are_forgotten(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples")
    for period in (7, 8, 100):
        store.append(period, SAMPLES[0])
    store.forget_before(8)
    assert store.periods() == [8, 100]


def test_a_period_holds_only_so_many(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples")
    small = Sample(1, b"/")
    assert all(store.append(7, small) for _ in range(MAX_SAMPLES))
    assert not store.append(7, small)
    assert len(store.read(7)) == MAX_SAMPLES

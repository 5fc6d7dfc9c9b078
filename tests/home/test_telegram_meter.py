"""Which telegrams become a reading: the last before a period's end, else the first after it, within the tolerance."""

from __future__ import annotations

from pathlib import Path

import pytest

from home.metering import Schedule, TakenReading
from home.p1 import TelegramError
from home.samples import SampleStore
from home.telegram_meter import OtherMeter, RegisterRunsBackwards, TelegramMeter, TelegramOfAnotherTime, TelegramRules
from ledger.keys import SigningKey
from ledger.merkle import merkle_root
from ledger.transactions import SubmitReading, decode_transaction
from tests.home.telegrams import EQUIPMENT, telegram

PERIOD_MS, TOLERANCE_MS = 900_000, 60_000
FIRST = 1_000
SCHEDULE = Schedule(
    chain_id="ab" * 32,
    first_period=FIRST,
    period_ms=PERIOD_MS,
    acceptance_window_ms=86_400_000,
    sampling_tolerance_ms=TOLERANCE_MS,
)
KEY = SigningKey(bytes(range(32)))
START_MS, END_MS = FIRST * PERIOD_MS, SCHEDULE.end_ms(FIRST)


def meter_in(directory: Path, rules: TelegramRules | None = None) -> TelegramMeter:
    return TelegramMeter(KEY, SCHEDULE, directory, rules or TelegramRules(max_age_s=0))


def payload_of(reading: TakenReading) -> SubmitReading:
    transaction = decode_transaction(reading.transaction.raw)
    assert transaction.has_valid_signature()
    assert isinstance(transaction.payload, SubmitReading)
    assert (transaction.payload.import_wh, transaction.payload.export_wh) == (reading.import_wh, reading.export_wh)
    return transaction.payload


def test_the_last_telegram_of_a_period_is_its_reading(tmp_path: Path) -> None:
    # Given a meter that speaks every second through a whole period and a little more
    meter = meter_in(tmp_path)
    for second in range(903):
        meter.on_telegram(telegram(5_000 + second, 10), START_MS + second * 1_000)
    # When the period has ended
    readings = list(meter.due(END_MS + 3_000, None))
    # Then its last telegram was latched, under the root of all that are kept
    assert [(one.period, one.import_wh, one.export_wh) for one in readings] == [(FIRST, 5_899, 10)]
    payload = payload_of(readings[0])
    assert payload.sampled_at_ms == END_MS - 1_000
    kept = SampleStore(tmp_path / "samples").read(FIRST)
    assert payload.samples_root == merkle_root([sample.raw for sample in kept])
    assert kept[0].raw == telegram(5_000, 10)
    assert kept[-1].raw == telegram(5_899, 10)
    assert len(kept) == 91  # one every ten seconds, and the one that was latched
    # And what was taken is never due again
    assert list(meter.due(END_MS + 3_000, FIRST)) == []


def test_without_one_before_the_end_the_first_after_it_counts(tmp_path: Path) -> None:
    # Given a cable that was out in the minute before the end
    meter = meter_in(tmp_path)
    meter.on_telegram(telegram(100, 0), END_MS - TOLERANCE_MS - 1)
    assert list(meter.due(END_MS, None)) == []
    # When it is back half a minute after the end
    meter.on_telegram(telegram(130, 0), END_MS + 30_000)
    readings = list(meter.due(END_MS + 30_000, None))
    # Then this telegram is the reading, and the last one under its root
    assert [(one.period, one.import_wh) for one in readings] == [(FIRST, 130)]
    payload = payload_of(readings[0])
    assert payload.sampled_at_ms == END_MS + 30_000
    proof = SampleStore(tmp_path / "samples").prove(FIRST, 1)
    assert (proof.root, proof.telegram) == (payload.samples_root, telegram(130, 0))
    assert meter.missed == 0


def test_a_period_without_a_telegram_near_its_end_has_no_reading(tmp_path: Path) -> None:
    meter = meter_in(tmp_path)
    meter.on_telegram(telegram(100, 0), START_MS + 5_000)
    # When the meter speaks again too late for the first period, and in time for the second
    meter.on_telegram(telegram(150, 0), END_MS + TOLERANCE_MS + 1)
    meter.on_telegram(telegram(200, 0), END_MS + PERIOD_MS - 1)
    readings = list(meter.due(END_MS + PERIOD_MS, None))
    # Then only the second has a reading, with all that passed
    assert [(one.period, one.import_wh) for one in readings] == [(FIRST + 1, 200)]
    assert meter.missed == 1
    assert list(meter.due(END_MS + PERIOD_MS + 1, FIRST + 1)) == []
    assert meter.missed == 1


def test_who_was_killed_signs_what_he_finds_on_the_disk(tmp_path: Path) -> None:
    # Given a program that was killed after a telegram just before the end, and never closed anything
    meter_in(tmp_path, TelegramRules(max_age_s=0, keep_every_s=0)).on_telegram(telegram(700, 3), END_MS - 200)
    # When another starts hours later
    later_ms = END_MS + 40 * PERIOD_MS
    readings = list(meter_in(tmp_path).due(later_ms, None))
    # Then that period has its reading
    assert [(one.period, one.import_wh, one.export_wh) for one in readings] == [(FIRST, 700, 3)]
    # And registers still may not run backwards
    with pytest.raises(RegisterRunsBackwards):
        meter_in(tmp_path).on_telegram(telegram(699, 3), later_ms)


def test_a_sealed_period_does_not_change_when_the_clock_is_set_back(tmp_path: Path) -> None:
    meter = meter_in(tmp_path, TelegramRules(max_age_s=0, keep_every_s=0))
    meter.on_telegram(telegram(1, 0), END_MS - 10)
    (reading,) = meter.due(END_MS, None)
    # When this machine's clock is set back by a minute, and telegrams come
    meter.on_telegram(telegram(2, 0), END_MS - TOLERANCE_MS)
    assert list(meter.due(END_MS + 1, FIRST)) == []
    # Then the period's file still proves its reading
    assert SampleStore(tmp_path / "samples").prove(FIRST, 0).root == payload_of(reading).samples_root


def test_readings_older_than_the_chain_takes_are_left(tmp_path: Path) -> None:
    meter = meter_in(tmp_path)
    meter.on_telegram(telegram(1, 0), END_MS - 10)
    assert list(meter.due(END_MS + SCHEDULE.acceptance_window_ms + 1, None)) == []


@pytest.mark.parametrize(
    ("raw", "rules", "error", "words"),
    [
        (telegram(99, 50), TelegramRules(), RegisterRunsBackwards, "after 100 and 50"),
        (telegram(100, 49), TelegramRules(), RegisterRunsBackwards, "100 Wh in, 49 Wh out"),
        (telegram(200, 50, END_MS - 302_000), TelegramRules(), TelegramOfAnotherTime, "301 s away"),
        (telegram(200, 50, END_MS + 899_000), TelegramRules(), TelegramOfAnotherTime, "900 s away"),
        (telegram(200, 50, None, "31"), TelegramRules(equipment=EQUIPMENT), OtherMeter, "'31'"),
        (telegram(200, 50)[:-9], TelegramRules(), TelegramError, "not one telegram"),
        (telegram(200, 50).replace(b"000.050", b"000.051"), TelegramRules(), TelegramError, "checksum"),
    ],
)
def test_a_telegram_that_cannot_be_used_is_refused_by_name_and_counted(
    tmp_path: Path, raw: bytes, rules: TelegramRules, error: type[TelegramError], words: str
) -> None:
    # Given a meter that has spoken
    meter = meter_in(tmp_path, rules)
    meter.on_telegram(telegram(100, 50), END_MS - 2_000)
    # When a wrong telegram comes, then it is named
    with pytest.raises(error, match=words) as refused:
        meter.on_telegram(raw, END_MS - 1_000)
    assert meter.refused == {refused.value.word: 1}
    # And the reading is as if it had not come
    assert [one.import_wh for one in meter.due(END_MS, None)] == [100]
    assert meter.telegrams == 1

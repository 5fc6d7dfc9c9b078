"""A meter that speaks in telegrams: which of them become a reading, and which are refused. No cable, no clock.

1. A telegram counts at the moment it came. One that says itself that it is of another time (more than ``max_age_s``
   away), is another meter's, or has a register below one seen before, is refused with its name and counted.
2. The reading of a period has the registers of the last telegram that came in it, if that was within the chain's
   sampling tolerance of the period's end; else those of the first telegram after the end, within the same tolerance.
   Where neither is there, the period has no reading: registers are cumulative, the next reading has its energy.
3. Telegrams are kept (``home.samples``): the first of a period, then one every ``keep_every_s``, and the one that was
   latched. The reading's ``samples_root`` is over them. They are on the disk before the reading is signed, and a
   program that was killed latches from what it finds there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from home.metering import Schedule, TakenReading, signed_reading
from home.p1 import Telegram, TelegramError, parse
from home.samples import Sample, SampleStore
from ledger.keys import SigningKey
from ledger.merkle import merkle_root

DAY_MS: Final = 86_400_000
SAMPLES_DIRECTORY: Final = "samples"


class TelegramOfAnotherTime(TelegramError):
    """Old news: kept by a broker, or played from a file; or the meter's clock is wrong."""

    word = "other-time"


class OtherMeter(TelegramError):
    word = "other-meter"


class RegisterRunsBackwards(TelegramError):
    word = "backwards"


@dataclass(frozen=True, slots=True)
class TelegramRules:
    """``equipment`` empty: any meter's. ``max_age_s`` 0: a telegram's own time is not looked at."""

    equipment: str = ""
    max_age_s: int = 300
    keep_every_s: int = 10
    keep_days: int = 14


class TelegramMeter:
    """The cryptometer of a house whose meter has no key: it signs as soon as registers are latched."""

    def __init__(self, key: SigningKey, schedule: Schedule, directory: Path, rules: TelegramRules) -> None:
        self._key = key
        self._schedule = schedule
        self._rules = rules
        self._store = SampleStore(directory / SAMPLES_DIRECTORY)
        self._newest: Sample | None = None
        self._kept: Sample | None = None
        self._done = -1
        """The highest period that is signed or given up: its file does not change any more."""
        self._highest: Telegram | None = self._last_on_disk()
        self.telegrams = 0
        self.refused: Counter[str] = Counter()
        self.missed = 0
        """Periods without a telegram near their end."""

    @property
    def open_period(self) -> int | None:
        """That of the newest telegram."""
        return None if self._newest is None else self._period(self._newest)

    def on_telegram(self, raw: bytes, now_ms: int) -> Telegram:
        """Errors: TelegramError, and then it is as if it had not come; OSError of the file system."""
        try:
            telegram = parse(raw)
            self._check(telegram, now_ms)
        except TelegramError as error:
            self.refused[error.word] += 1
            raise
        self.telegrams += 1
        self._highest = telegram
        sample = Sample(now_ms, raw)
        if self._newest is not None and self._period(self._newest) != self._period(sample):
            self._keep(self._newest)  # the last of its period
        self._newest = sample
        if self._kept is None or self._period(self._kept) != self._period(sample) or self._is_time(self._kept, now_ms):
            self._keep(sample)
        return telegram

    def due(self, now_ms: int, last_period: int | None) -> Iterator[TakenReading]:
        """The readings of periods that have ended and are above ``last_period``, oldest first; see rule 2. The caller
        keeps each before it asks for the next. Errors: OSError of the file system.
        """
        schedule = self._schedule
        self._done = max(self._done, -1 if last_period is None else last_period)
        if self._newest is not None and schedule.end_ms(self._period(self._newest)) <= now_ms:
            self._keep(self._newest)
        stored = self._store.periods()
        oldest = max(schedule.first_period, schedule.oldest_accepted(now_ms))
        for period in sorted({*stored, *(one - 1 for one in stored)}):
            if period <= self._done or period < oldest or schedule.end_ms(period) > now_ms:
                continue
            reading = self._latch(period)
            if reading is not None:
                yield reading
                self._done = period
            elif now_ms > schedule.end_ms(period) + schedule.sampling_tolerance_ms:
                self._done = period
                self.missed += 1
            else:
                return  # the first telegram after the end may still come
        self._store.forget_before((now_ms - self._rules.keep_days * DAY_MS) // schedule.period_ms)

    def _latch(self, period: int) -> TakenReading | None:
        end_ms, tolerance_ms = self._schedule.end_ms(period), self._schedule.sampling_tolerance_ms
        samples = self._store.read(period)
        if not samples or end_ms - samples[-1].time_ms > tolerance_ms:
            after = self._store.read(period + 1)[:1]
            if not after or after[0].time_ms - end_ms > tolerance_ms:
                return None
            self._store.append(period, after[0])
        samples = self._store.seal(period)
        latched = samples[-1]
        telegram = parse(latched.raw)
        root = merkle_root([sample.raw for sample in samples])
        transaction = signed_reading(
            self._key, self._schedule, period, telegram.import_wh, telegram.export_wh, latched.time_ms, root
        )
        return TakenReading(period, telegram.import_wh, telegram.export_wh, transaction)

    def _check(self, telegram: Telegram, now_ms: int) -> None:
        rules, before = self._rules, self._highest
        if rules.equipment and telegram.equipment != rules.equipment:
            raise OtherMeter(f"a telegram of the meter {telegram.equipment!r}; this home's is {rules.equipment!r}")
        if rules.max_age_s and telegram.time_ms is not None:
            away_s = abs(now_ms - telegram.time_ms) // 1000
            if away_s > rules.max_age_s:
                raise TelegramOfAnotherTime(
                    f"the telegram's own time is {away_s} s away; it is old, or the meter's or this machine's clock is "
                    "wrong; p1.max_age_s = 0 takes it all the same"
                )
        if before is not None and (telegram.import_wh < before.import_wh or telegram.export_wh < before.export_wh):
            raise RegisterRunsBackwards(
                f"the telegram has {telegram.import_wh} Wh in, {telegram.export_wh} Wh out, after {before.import_wh} "
                f"and {before.export_wh}; another meter needs a registration and a directory of its own"
            )

    def _is_time(self, kept: Sample, now_ms: int) -> bool:
        return now_ms - kept.time_ms >= self._rules.keep_every_s * 1000

    def _keep(self, sample: Sample) -> None:
        if sample is not self._kept and self._period(sample) > self._done:
            self._store.append(self._period(sample), sample)
            self._kept = sample

    def _period(self, sample: Sample) -> int:
        return sample.time_ms // self._schedule.period_ms

    def _last_on_disk(self) -> Telegram | None:
        for period in reversed(self._store.periods()):
            samples = self._store.read(period)
            if samples:
                return parse(samples[-1].raw)
        return None

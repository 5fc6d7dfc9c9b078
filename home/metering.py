"""When a meter reads, what it signs, and what a refusal means; no clock, no disk, no network.

1. At the end of each period the simulated meter latches its two registers. ``sampled_at`` is that end exactly, so the
   reading of a period follows from the period alone: signed twice, it is the same bytes, and can never count twice.
2. Registers are the house's after one quarter hour more for every period since the chain began, whenever the meter was
   started: a restart goes on where the registers stand. What ended while the program was away is read from the
   registers' memory, as far back as the chain accepts.
3. A refusal that another block or another state may lift keeps the reading; any other settles it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from home.profiles.series import ConnectionMeter
from ledger.keys import SigningKey
from ledger.refusal import RETRY_MAY_HELP, Refusal
from ledger.transactions import SubmitReading, Transaction, sign_transaction

KEPT_REFUSALS: Final = RETRY_MAY_HELP | {Refusal.UNKNOWN_METER}
"""With these the reading waits: a node that is behind does not know the meter yet, nor that the period has ended."""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a meter needs to know of its chain. ``first_period`` is the one in which the chain began."""

    chain_id: str
    first_period: int
    period_ms: int
    acceptance_window_ms: int
    sampling_tolerance_ms: int

    def end_ms(self, period: int) -> int:
        return (period + 1) * self.period_ms

    def next_end_ms(self, now_ms: int) -> int:
        """When the period that runs at ``now_ms`` ends."""
        return self.end_ms(now_ms // self.period_ms)

    def oldest_accepted(self, now_ms: int) -> int:
        """The oldest period of which the chain still takes a reading."""
        return -(-(now_ms - self.acceptance_window_ms) // self.period_ms) - 1


@dataclass(frozen=True, slots=True)
class TakenReading:
    period: int
    import_wh: int
    export_wh: int
    transaction: Transaction


class Meter(Protocol):
    """Whatever has registers and a key."""

    def due(self, now_ms: int, last_period: int | None) -> Iterator[TakenReading]:
        """The readings of periods after ``last_period`` that have ended and can be signed now, oldest first."""


class SimulatedMeter:
    """A cryptometer: registers and the key that signs them."""

    def __init__(self, key: SigningKey, registers: ConnectionMeter, schedule: Schedule) -> None:
        self._key = key
        self._registers = registers
        self._schedule = schedule

    def due(self, now_ms: int, last_period: int | None) -> Iterator[TakenReading]:
        """The readings of the periods after ``last_period`` that have ended, oldest first; see rule 2."""
        schedule = self._schedule
        oldest = max(schedule.first_period, schedule.oldest_accepted(now_ms))
        first = oldest if last_period is None else max(oldest, last_period + 1)
        for period in range(first, now_ms // schedule.period_ms):
            yield self._read(period)

    def _read(self, period: int) -> TakenReading:
        schedule = self._schedule
        assert period >= schedule.first_period
        registers = self._registers.registers(period - schedule.first_period + 1)
        transaction = signed_reading(
            self._key, schedule, period, registers.import_wh, registers.export_wh, schedule.end_ms(period), None
        )
        return TakenReading(period, registers.import_wh, registers.export_wh, transaction)


def signed_reading(
    key: SigningKey,
    schedule: Schedule,
    period: int,
    import_wh: int,
    export_wh: int,
    sampled_at_ms: int,
    samples_root: bytes | None,
) -> Transaction:
    """By the meter's key."""
    payload = SubmitReading(
        period=period,
        import_wh=import_wh,
        export_wh=export_wh,
        sampled_at_ms=sampled_at_ms,
        phases=(),
        samples_root=samples_root,
    )
    return sign_transaction(key, bytes.fromhex(schedule.chain_id), payload)

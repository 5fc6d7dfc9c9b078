"""Meter readings.

Accepted, at block time t, is the reading of a registered meter for a period p that ended at e = (p + 1) ·
``period_ms``:

1. e ≤ t, and t − e ≤ ``acceptance_window_ms``;
2. where a reading for (meter, p) is still held: the identical one is a duplicate; another one, signed as it is by the
   meter's key, is evidence: it suspends the meter and changes nothing else;
3. the meter is not suspended, p is above its last period;
4. |sampled_at − e| ≤ ``sampling_tolerance_ms`` and sampled_at ≤ t;
5. neither register runs backwards, and neither grows by more than nameplate · elapsed · 110 %, where elapsed is
   ``metered_ms_per_period`` for every period since the last reading.

Only a connection meter's energy is counted and settled. One that comes after its period was settled corrects that at
once (``settlement.silence``).
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.execution import Execution
from ledger.market.terms import gateway_of
from ledger.records import (
    ENERGY_TOTALS,
    METERS,
    READINGS,
    EnergyTotals,
    Meter,
    MeterRole,
    Reading,
    height_key,
)
from ledger.refusal import Refusal, TransactionRefused
from ledger.settlement.lines import next_period
from ledger.settlement.periods import account_for_late_reading
from ledger.state import State
from ledger.transactions import SubmitReading, Transaction

MAX_PHASES: Final = 3
METER_SUSPENDED_NOTE: Final = "meter_suspended"
NAMEPLATE_TOLERANCE_PERCENT: Final = 110
MS_PER_HOUR: Final = 3_600_000


def check_reading(transaction: Transaction, payload: SubmitReading) -> None:
    """Errors: TransactionRefused MALFORMED."""
    if transaction.nonce or transaction.fee_uwatt or transaction.valid_until_height:
        raise TransactionRefused(Refusal.MALFORMED, "nonce, fee and valid-until of a reading are zero")
    if len(payload.phases) > MAX_PHASES:
        raise TransactionRefused(Refusal.MALFORMED, f"{len(payload.phases)} phases; there are at most {MAX_PHASES}")


def apply_reading(execution: Execution, transaction: Transaction, payload: SubmitReading) -> None:
    """Errors: TransactionRefused UNKNOWN_METER, PERIOD_NOT_ENDED, OUTSIDE_WINDOW, DUPLICATE, METER_SUSPENDED,
    PERIOD_NOT_INCREASING, SAMPLED_OUTSIDE_TOLERANCE, SAMPLED_AFTER_BLOCK, REGISTERS_BACKWARDS, ABOVE_NAMEPLATE.
    """
    state = execution.state
    key = transaction.sender
    meter = METERS.get(state, key)
    if meter is None:
        raise TransactionRefused(Refusal.UNKNOWN_METER, "no meter is registered with this key")
    execution.concern(meter.owner)
    _check_window(execution, payload.period)
    held = READINGS.get(state, key, height_key(payload.period))
    if held is not None and held.transaction_id == transaction.id:
        raise TransactionRefused(Refusal.DUPLICATE, f"this reading of period {payload.period} is recorded")
    if meter.suspended:
        raise TransactionRefused(Refusal.METER_SUSPENDED, "the meter signed two readings for one period")
    if held is not None:
        METERS.put(state, replace(meter, suspended=True), key)
        execution.note = METER_SUSPENDED_NOTE
        return
    _check_sample(execution, payload)
    _check_registers(execution, meter, payload)
    reading = Reading(
        transaction_id=transaction.id,
        import_wh=payload.import_wh,
        export_wh=payload.export_wh,
        sampled_at_ms=payload.sampled_at_ms,
        imported_wh=payload.import_wh - meter.import_wh,
        exported_wh=payload.export_wh - meter.export_wh,
        periods=payload.period - meter.last_period,
        minted_mvote=0,
    )
    READINGS.put(state, reading, key, height_key(payload.period))
    advanced = replace(meter, last_period=payload.period, import_wh=payload.import_wh, export_wh=payload.export_wh)
    METERS.put(state, advanced, key)
    if meter.role == MeterRole.CONNECTION:
        _count_energy(state, reading)
        if payload.period < next_period(state) and meter.owner != gateway_of(state):
            account_for_late_reading(execution, meter.owner, key, payload.period, reading)


def prune_readings(execution: Execution) -> None:
    """Forgets readings of settled periods outside the acceptance window, meter by meter."""
    state, parameters = execution.state, execution.parameters
    oldest_end_ms = execution.time_ms - parameters.acceptance_window_ms
    unsettled = next_period(state)
    outside = []
    for meter, _ in METERS.scan(state):
        for key, _ in READINGS.scan(state, meter):
            period = int.from_bytes(key[len(meter) :], "big")
            if period >= unsettled or (period + 1) * parameters.period_ms >= oldest_end_ms:
                break
            outside.append(key)
    for key in outside:
        READINGS.delete(state, key)


def _check_window(execution: Execution, period: int) -> None:
    end_ms = (period + 1) * execution.parameters.period_ms
    if end_ms > execution.time_ms:
        raise TransactionRefused(
            Refusal.PERIOD_NOT_ENDED, f"period {period} ends {end_ms - execution.time_ms} ms after the block"
        )
    late_ms = execution.time_ms - end_ms
    if late_ms > execution.parameters.acceptance_window_ms:
        raise TransactionRefused(
            Refusal.OUTSIDE_WINDOW,
            f"{late_ms} ms after the period's end; at most {execution.parameters.acceptance_window_ms} ms are allowed",
        )


def _check_sample(execution: Execution, payload: SubmitReading) -> None:
    end_ms = (payload.period + 1) * execution.parameters.period_ms
    distance_ms = abs(payload.sampled_at_ms - end_ms)
    if distance_ms > execution.parameters.sampling_tolerance_ms:
        raise TransactionRefused(
            Refusal.SAMPLED_OUTSIDE_TOLERANCE,
            f"sampled {distance_ms} ms from the period's end; at most "
            f"{execution.parameters.sampling_tolerance_ms} ms are allowed",
        )
    if payload.sampled_at_ms > execution.time_ms:
        raise TransactionRefused(
            Refusal.SAMPLED_AFTER_BLOCK, f"sampled {payload.sampled_at_ms - execution.time_ms} ms after the block"
        )


def _check_registers(execution: Execution, meter: Meter, payload: SubmitReading) -> None:
    if payload.period <= meter.last_period:
        raise TransactionRefused(
            Refusal.PERIOD_NOT_INCREASING, f"period {payload.period}; the last recorded is {meter.last_period}"
        )
    elapsed_ms = (payload.period - meter.last_period) * execution.parameters.metered_ms_per_period
    for name, register_wh, last_wh, nameplate_w in (
        ("import", payload.import_wh, meter.import_wh, meter.import_nameplate_w),
        ("export", payload.export_wh, meter.export_wh, meter.export_nameplate_w),
    ):
        if register_wh < last_wh:
            raise TransactionRefused(
                Refusal.REGISTERS_BACKWARDS, f"{name} register {register_wh} Wh is below the last, {last_wh} Wh"
            )
        limit_wh = nameplate_w * elapsed_ms * NAMEPLATE_TOLERANCE_PERCENT // (100 * MS_PER_HOUR)
        if register_wh - last_wh > limit_wh:
            raise TransactionRefused(
                Refusal.ABOVE_NAMEPLATE,
                f"{name} grew by {register_wh - last_wh} Wh in {elapsed_ms} ms; "
                f"{nameplate_w} W allow {limit_wh} Wh with tolerance",
            )


def _count_energy(state: State, reading: Reading) -> None:
    totals = ENERGY_TOTALS.get(state) or EnergyTotals()
    totals = EnergyTotals(
        import_wh=totals.import_wh + reading.imported_wh,
        export_wh=totals.export_wh + reading.exported_wh,
        readings=totals.readings + 1,
    )
    ENERGY_TOTALS.put(state, totals)

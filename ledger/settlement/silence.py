"""Meters that say nothing: what they are taken to have used, and what a reading changes that comes after all.

1. A silent connection is taken to export nothing and to import the largest of the same time of day on its last three
   metered days; if there are none, what the standard household's profile has at that hour.
2. A day has as many periods as its metered time holds; the time of day is the period's number modulo that.
3. How it was settled is kept per period (``Silence``) until a reading covers it. When a period is so old that no
   reading for it alone can be accepted, it joins the member's ``LongSilence``.
4. A reading of exactly the next period after the one before is corrected alone; one that covers several periods
   corrects all of them together, as soon as the last of them is settled. See ``residual``. Corrections are lines with
   the gateway in the open cycle; nothing recorded before changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ledger.execution import Execution
from ledger.market.grid_fee import amount_uwatt
from ledger.market.terms import (
    HOURS_PER_DAY,
    end_ms,
    gateway_of,
    local_hour,
    period_energy_wh,
    periods_per_day,
)
from ledger.parameters import Parameters
from ledger.records import (
    IMPORT_HISTORIES,
    LONG_SILENCES,
    SILENCES,
    ImportHistory,
    LineKind,
    LongSilence,
    Reading,
    Silence,
    height_key,
)
from ledger.settlement.comparison import gap_cost, late_cost
from ledger.settlement.cycle_sums import add_correction
from ledger.settlement.lines import open_cycle, record_lines, tell_lines
from ledger.settlement.residual import Correction, Gap, Silent, gap_of, gap_reading, joined, late_reading
from ledger.settlement.settle import Line
from ledger.state import State

METERED_DAYS: Final = 3
STANDARD_PROFILE_PERCENT: Final = (
    *(64, 48, 42, 40, 39, 43, 80, 97, 105, 113, 115, 120),
    *(119, 116, 121, 119, 119, 128, 142, 144, 144, 136, 116, 89),
)
"""A household's load by hour of the local day, in percent of its mean: the mean of SimBench's five H0 profiles over a
year (SimBench 1.6, ODbL; home/profiles/ATTRIBUTION.md)."""

assert len(STANDARD_PROFILE_PERCENT) == HOURS_PER_DAY


def time_of_day(parameters: Parameters, period: int) -> int:
    """The period's place in its day, as a number of periods."""
    return period % periods_per_day(parameters)


def estimate_wh(state: State, parameters: Parameters, meter: bytes, period: int) -> int:
    """What a silent connection is taken to have imported."""
    history = IMPORT_HISTORIES.get(state, meter, height_key(time_of_day(parameters, period)))
    if history is not None:
        return max(history.imports_wh)
    percent = STANDARD_PROFILE_PERCENT[local_hour(parameters, period)]
    return period_energy_wh(parameters, parameters.standard_load_w * percent) // 100


def remember_import(state: State, parameters: Parameters, meter: bytes, period: int, import_wh: int) -> None:
    """Notes what a connection imported in a metered period."""
    place = (meter, height_key(time_of_day(parameters, period)))
    before = IMPORT_HISTORIES.get(state, *place)
    imports_wh = (import_wh, *(before.imports_wh if before else ()))[:METERED_DAYS]
    IMPORT_HISTORIES.put(state, ImportHistory(imports_wh=imports_wh), *place)


def remember_silence(execution: Execution, member: bytes, period: int, silence: Silence) -> None:
    """Notes how a silent member's period was settled, and puts together what has become too old."""
    state, parameters = execution.state, execution.parameters
    SILENCES.put(state, silence, member, height_key(period))
    old = []
    for key, found in SILENCES.scan(state, member):
        if end_ms(parameters, _period(key)) + parameters.acceptance_window_ms >= execution.time_ms:
            break
        old.append(found)
        SILENCES.delete(state, key)
    if old:
        gap = _with_long_silence(state, member, [_silent(found) for found in old])
        assert gap is not None
        LONG_SILENCES.put(state, LongSilence(*(getattr(gap, name) for name in LongSilence.__struct_fields__)), member)


def correct(execution: Execution, member: bytes, period: int, reading: Reading) -> None:
    """Makes good what was settled in silence and the reading of ``period``, a settled one, covers."""
    state = execution.state
    covered = []
    for key, found in SILENCES.scan(state, member):
        if _period(key) > period:
            break
        covered.append(_silent(found))
        SILENCES.delete(state, key)
    if reading.periods == 1:
        if not covered:
            return  # it was not settled by estimate: there was no gateway then
        assert len(covered) == 1
        corrections = late_reading(covered[0], reading.exported_wh, reading.imported_wh)
        covered_wh = covered[0].estimate_wh
        cost_uwatt = late_cost(covered[0], reading.exported_wh, reading.imported_wh)
    else:
        gap = _with_long_silence(state, member, covered)
        if gap is None:
            return
        LONG_SILENCES.delete(state, member)
        corrections = gap_reading(gap, reading.exported_wh, reading.imported_wh)
        covered_wh = gap.estimate_wh
        cost_uwatt = gap_cost(gap, reading.exported_wh, reading.imported_wh)
    assert sum(one.energy_wh for one in corrections) == reading.imported_wh - covered_wh - reading.exported_wh
    _record(execution, member, period, corrections)
    add_correction(
        state,
        open_cycle(execution),
        member,
        import_wh=reading.imported_wh - covered_wh,
        export_wh=reading.exported_wh,
        cost_uwatt=cost_uwatt,
    )


def _record(execution: Execution, member: bytes, period: int, corrections: list[Correction]) -> None:
    gateway = gateway_of(execution.state)
    assert gateway is not None, "what was settled with a gateway has one"
    lines = []
    for title, energy_wh, price in corrections:
        debtor, creditor = (member, gateway) if energy_wh > 0 else (gateway, member)
        amount = amount_uwatt(abs(energy_wh), price)
        lines.append(Line(title, debtor, creditor, abs(energy_wh), price, amount, 0, 0, False))
    record_lines(execution.state, open_cycle(execution), lines, LineKind.CORRECTION)
    tell_lines(execution, period, lines, LineKind.CORRECTION)


def _with_long_silence(state: State, member: bytes, silences: Sequence[Silent]) -> Gap | None:
    """All silent periods together, the old ones included; None where there are none."""
    before = LONG_SILENCES.get(state, member)
    if before is None:
        return gap_of(silences) if silences else None
    gap = Gap(*(getattr(before, name) for name in LongSilence.__struct_fields__))
    return joined(gap, gap_of(silences)) if silences else gap


def _silent(found: Silence) -> Silent:
    return Silent(
        estimate_wh=found.estimate_wh,
        net_wh=found.sold_wh - found.bought_wh,
        offered_wh=found.offered_wh,
        wanted_wh=found.wanted_wh,
        retail=found.retail,
        feed_in=found.feed_in,
        offered_at=found.offered_at,
    )


def _period(key: bytes) -> int:
    return int.from_bytes(key[-8:], "big")

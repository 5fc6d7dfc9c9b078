"""Meters and their readings."""

from __future__ import annotations

from node.client.models.base import Model, Party


class Meter(Model, frozen=True, kw_only=True):
    """Registers are those of the last accepted reading, of ``last_period``, or as they stood at installation."""

    meter: str
    owner: Party
    kind: str
    role: str
    import_nameplate_w: int
    export_nameplate_w: int
    storage_capacity_wh: int
    stored_wh: int
    suspended: bool
    last_period: int | None
    last_period_end_ms: int | None
    last_period_end: str | None
    import_wh: int
    export_wh: int


class MeterList(Model, frozen=True, kw_only=True):
    height: int
    meters: list[Meter]


class Reading(Model, frozen=True, kw_only=True):
    """Cumulative registers at the period's end, and what passed since the meter's reading before.

    ``imported_wh`` and ``exported_wh`` are None if the reading before is no longer kept.
    """

    transaction_id: str
    meter: str
    owner: Party
    period: int
    period_start_ms: int
    period_start: str
    import_wh: int
    export_wh: int
    imported_wh: int | None
    exported_wh: int | None
    sampled_at_ms: int
    sampled_at: str
    minted_mvote: int


class ReadingList(Model, frozen=True, kw_only=True):
    """Newest period first. The chain's state keeps readings for the acceptance window; older ones are in the blocks."""

    height: int
    readings: list[Reading]

"""Meters and their readings, as the state keeps them: readings for the acceptance window."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from typing import Final

from ledger.records import METERS, READINGS, MeterKind, MeterRole, height_key
from ledger.records import Meter as MeterRecord
from ledger.records import Reading as ReadingRecord
from node.client import models
from node.client.models import iso_time
from node.views.reader import NotFound, Reader, hex_key, word

METER_BYTES: Final = 32


def meter_view(reader: Reader, key: bytes, meter: MeterRecord) -> models.Meter:
    end_ms = (meter.last_period + 1) * reader.parameters.period_ms if meter.last_period else None
    return models.Meter(
        meter=key.hex(),
        owner=reader.party(meter.owner),
        kind=word(meter.kind, MeterKind),
        role=word(meter.role, MeterRole),
        import_nameplate_w=meter.import_nameplate_w,
        export_nameplate_w=meter.export_nameplate_w,
        storage_capacity_wh=meter.storage_capacity_wh,
        stored_wh=meter.stored_wh,
        suspended=meter.suspended,
        last_period=meter.last_period or None,
        last_period_end_ms=end_ms,
        last_period_end=None if end_ms is None else iso_time(end_ms),
        import_wh=meter.import_wh,
        export_wh=meter.export_wh,
    )


def meter_list(reader: Reader) -> models.MeterList:
    """All meters, by owner."""
    meters = [meter_view(reader, key, meter) for key, meter in METERS.scan(reader.state)]
    return models.MeterList(height=reader.height, meters=sorted(meters, key=lambda one: (one.owner.label, one.meter)))


def find_meter(reader: Reader, meter: str) -> models.Meter:
    """Errors: NotFound."""
    key, record = _meter(reader, meter)
    return meter_view(reader, key, record)


def reading_list(reader: Reader, meter: str | None, limit: int) -> models.ReadingList:
    """The newest readings, of one meter or of all. Errors: NotFound for a meter that is not registered."""
    prefix = READINGS.prefix if meter is None else READINGS.key(_meter(reader, meter)[0])
    skip = len(READINGS.prefix)
    # By (period, meter), so that the newest period of all meters comes first; values are decoded only for those shown.
    newest = nlargest(
        limit, ((_period(key[skip:]), key[skip : skip + METER_BYTES]) for key, _ in reader.chain.scan(prefix))
    )
    before = _readings_before(reader, {key for _, key in newest})
    readings = []
    for period, key in newest:
        record = READINGS.get(reader.state, key, height_key(period))
        assert record is not None, "the key was just read"
        readings.append(reading_view(reader, key, period, record, before.get((key, period))))
    return models.ReadingList(height=reader.height, readings=readings)


def reading_view(
    reader: Reader, key: bytes, period: int, record: ReadingRecord, before: ReadingRecord | None
) -> models.Reading:
    """``before``: the meter's reading before this one, if it is still kept."""
    meter = METERS.get(reader.state, key)
    start_ms = period * reader.parameters.period_ms
    return models.Reading(
        transaction_id=record.transaction_id.hex(),
        meter=key.hex(),
        owner=reader.party(key if meter is None else meter.owner),
        period=period,
        period_start_ms=start_ms,
        period_start=iso_time(start_ms),
        import_wh=record.import_wh,
        export_wh=record.export_wh,
        imported_wh=None if before is None else record.import_wh - before.import_wh,
        exported_wh=None if before is None else record.export_wh - before.export_wh,
        sampled_at_ms=record.sampled_at_ms,
        sampled_at=iso_time(record.sampled_at_ms),
        minted_mvote=record.minted_mvote,
    )


def _readings_before(reader: Reader, meters: Iterable[bytes]) -> dict[tuple[bytes, int], ReadingRecord]:
    """(meter, period) → the meter's kept reading before that one."""
    found: dict[tuple[bytes, int], ReadingRecord] = {}
    for meter in meters:
        before: ReadingRecord | None = None
        for key, record in READINGS.scan(reader.state, meter):
            if before is not None:
                found[meter, _period(key)] = before
            before = record
    return found


def _period(key: bytes) -> int:
    return int.from_bytes(key[METER_BYTES:], "big")


def _meter(reader: Reader, meter: str) -> tuple[bytes, MeterRecord]:
    key = hex_key(meter)
    record = None if key is None else METERS.get(reader.state, key)
    if key is None or record is None:
        raise NotFound(f"no meter has the key {meter!r}; GET /v1/meters lists them all")
    return key, record

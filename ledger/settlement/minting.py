"""The voting tokens that energy mints, once it is settled.

Only a connection meter's energy mints: 1 mvote per Wh exported, unless its kind is load or battery, and less what a
storage behind the connection may have given back: with B the stored Wh and the reading's import I and export E,
s = min(B + I, E); B = min(capacity, B + I − s); E − s mint. Within a reading nobody knows what came first, nor how
often a storage was filled and emptied; so capacity bounds what it holds afterwards only. Capacity is that of all the
owner's meters together; where it is zero nothing was stored, and all of E mints.
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.records import MEMBERS, METERS, READINGS, Meter, MeterKind, Reading, height_key
from ledger.state import State
from ledger.votes import mint_to


def mint_for_reading(state: State, key: bytes, period: int, reading: Reading) -> tuple[int, int]:
    """Accounts for the energy of the meter's reading; each reading once, in order of periods. Returns what was minted,
    mvote, and what of the export a storage gave back, Wh.
    """
    meter = METERS.get(state, key)
    assert meter is not None
    capacity_wh = _storage_capacity_wh(state, meter)
    may_be_stored_wh = meter.stored_wh + reading.imported_wh if capacity_wh else 0
    given_back_wh = min(may_be_stored_wh, reading.exported_wh)
    METERS.put(state, replace(meter, stored_wh=min(capacity_wh, may_be_stored_wh - given_back_wh)), key)
    if meter.kind in (MeterKind.LOAD, MeterKind.BATTERY) or reading.exported_wh == given_back_wh:
        return 0, given_back_wh
    minted = reading.exported_wh - given_back_wh
    READINGS.put(state, replace(reading, minted_mvote=minted), key, height_key(period))
    mint_to(state, meter.owner, minted)
    return minted, given_back_wh


def _storage_capacity_wh(state: State, meter: Meter) -> int:
    member = MEMBERS.get(state, meter.owner)
    assert member is not None, "a meter's owner is a member"
    meters = (METERS.get(state, key) for key in member.meters)
    return sum(one.storage_capacity_wh for one in meters if one is not None)

"""What the grid costs: the tariff of a period, and the fee on every Wh that one member sends another.

1. The buyer pays the fee, to the gateway, whatever the title. Prices and rates are whole ticks of 100 uwatt per kWh,
   energy that is traded whole lots of 10 Wh: so amount and fee of a trade are exact.
2. Distance model: rate = base · (10,000 − discount + distance + congestion) // 10,000, floored to the tick. The
   discount is that of the tier: same feeder, same substation, none for the rest, which pay the distance surcharge.
   Congestion is paid only across feeders.
3. Percentage model: rate = max(price, feed-in) · ``fee_of_value_bps`` // 10,000, floored to the tick, wherever the
   parties live. Energy is worth feed-in to anybody: who gives it away, or is paid beside the ledger, pays as for that.
4. A lock is made for the highest rate that a trade at the limit price or a better one can have.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from ledger.encoding import BasisPoints, Unsigned, Wire

LOT_WH: Final = 10
TICK_UWATT_PER_KWH: Final = 100
WH_PER_KWH: Final = 1_000
ALL_BPS: Final = 10_000

assert LOT_WH * TICK_UWATT_PER_KWH % WH_PER_KWH == 0, "trade amounts are exact"


class FeeModel(IntEnum):
    DISTANCE = 1
    PERCENTAGE = 2


class Mechanism(IntEnum):
    CONTINUOUS = 1
    AUCTION = 2


class Tier(IntEnum):
    """How far apart two connections are."""

    SAME_FEEDER = 0
    SAME_SUBSTATION = 1
    REST = 2


class Place(NamedTuple):
    """Where a connection hangs on the grid. Different substations may not have feeders of one name."""

    feeder: str
    substation: str


class Tariff(Wire, frozen=True):
    """The terms of a period's book. Key: first period they are in force for (u64 big endian). Prices and rates in uwatt
    per kWh.
    """

    mechanism: Unsigned
    retail: Unsigned
    feed_in: Unsigned
    fee_model: Unsigned
    fee_base: Unsigned
    same_feeder_discount_bps: BasisPoints
    same_substation_discount_bps: BasisPoints
    distance_surcharge_bps: BasisPoints
    congestion_surcharge_bps: BasisPoints
    congestion_threshold_bps: BasisPoints
    fee_of_value_bps: BasisPoints


def amount_uwatt(energy_wh: int, uwatt_per_kwh: int) -> int:
    """What energy costs, rounded down; exact for whole lots at whole ticks."""
    return energy_wh * uwatt_per_kwh // WH_PER_KWH


def to_tick(uwatt_per_kwh: int) -> int:
    """The price or rate rounded down to the tick."""
    return uwatt_per_kwh // TICK_UWATT_PER_KWH * TICK_UWATT_PER_KWH


def tier_between(one: Place, other: Place) -> Tier:
    if one.feeder == other.feeder:
        return Tier.SAME_FEEDER
    return Tier.SAME_SUBSTATION if one.substation == other.substation else Tier.REST


def fee_rate(tariff: Tariff, tier: Tier, congested: bool, price: int) -> int:
    """The fee in uwatt per kWh, a whole number of ticks, on a sale at ``price``."""
    if tariff.fee_model == FeeModel.PERCENTAGE:
        return to_tick(max(price, tariff.feed_in) * tariff.fee_of_value_bps // ALL_BPS)
    parts = ALL_BPS
    if tier is Tier.SAME_FEEDER:
        parts -= tariff.same_feeder_discount_bps
    elif tier is Tier.SAME_SUBSTATION:
        parts -= tariff.same_substation_discount_bps
    else:
        parts += tariff.distance_surcharge_bps
    if congested and tier is not Tier.SAME_FEEDER:
        parts += tariff.congestion_surcharge_bps
    return to_tick(tariff.fee_base * parts // ALL_BPS)


def highest_fee_rate(tariff: Tariff, limit: int) -> int:
    """The highest rate of any trade at ``limit`` or below: what a buy order's lock provides for."""
    return fee_rate(tariff, Tier.REST, True, limit)


def highest_price(tariff: Tariff, tier: Tier, congested: bool) -> int:
    """The highest price that, with the fee, costs no more than retail; below zero where the fee alone does."""
    if tariff.fee_model == FeeModel.PERCENTAGE:
        highest = tariff.retail * ALL_BPS // (ALL_BPS + tariff.fee_of_value_bps)
        return highest if highest >= tariff.feed_in else tariff.retail - fee_rate(tariff, tier, congested, 0)
    return tariff.retail - fee_rate(tariff, tier, congested, 0)

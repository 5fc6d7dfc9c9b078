"""The grid and the tariff that the market's and the settlement's tests share."""

from __future__ import annotations

from ledger.market.grid_fee import FeeModel, Mechanism, Place, Tariff

TARIFF = Tariff(
    mechanism=Mechanism.CONTINUOUS,
    retail=300_000,
    feed_in=80_000,
    fee_model=FeeModel.DISTANCE,
    fee_base=40_000,
    same_feeder_discount_bps=4_000,
    same_substation_discount_bps=2_000,
    distance_surcharge_bps=1_000,
    congestion_surcharge_bps=5_000,
    congestion_threshold_bps=8_000,
    fee_of_value_bps=500,
)
F1, F2, F3 = Place("F1", "S"), Place("F2", "S"), Place("F3", "T")
PLACES = (F1, F2, F3)


def member(number: int) -> bytes:
    """A member's account id; members alternate between the feeders."""
    return bytes([number]) * 32


def place_of(number: int) -> Place:
    return PLACES[number % len(PLACES)]

"""What is left for the gateway, in closed form; and what a reading that came late changes.

    residual(E, I, Lin, Lout, net):
        o = Lout + max(0, net); n = Lin + max(0, −net)
        x = max(0, E − o) + max(0, n − I)          the gateway buys
        y = max(0, I − n) + max(0, o − E)          the gateway sells

1. A period is settled with a silent connection's E = 0 and I = its estimate. When exactly its reading comes, x and y
   are computed anew; the difference is bought and sold at the period's feed-in and retail. First min(E, what its
   contracts could have delivered) goes at feed-in, or at what they pay if that is less, and min(I, what it could have
   taken) at retail: so silence escapes no contract, nor does contract energy fill up a sale.
2. A gap, several periods that one reading covers, is settled as a whole, and as if no energy had met a trade: nobody
   can know when it flowed, and who could choose would buy where energy is cheap and use it where it is dear. So what
   was sold remains a shortfall, what was bought is an excess, and all that the registers grew by is taken from and
   given to the gateway. What that adds to the estimates costs the gap's highest retail, and earns its lowest feed-in;
   what the estimates had too much comes back at its lowest retail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.settlement.titles import Title


def residual(export_wh: int, import_wh: int, bought_wh: int, sold_wh: int, net_wh: int) -> tuple[int, int]:
    """(x, y): what the gateway buys of a member and sells to it, Wh. ``bought_wh`` and ``sold_wh`` are local flows."""
    out_wh = sold_wh + max(0, net_wh)
    in_wh = bought_wh + max(0, -net_wh)
    return (
        max(0, export_wh - out_wh) + max(0, in_wh - import_wh),
        max(0, import_wh - in_wh) + max(0, out_wh - export_wh),
    )


@dataclass(frozen=True, slots=True)
class Silent:
    """How a silent connection's period was settled. ``offered_wh`` and ``wanted_wh``: the limits of the contracts it
    sells and buys under; ``offered_at``: the lowest price it sells at, at most feed-in. Prices in uwatt per kWh.
    """

    estimate_wh: int
    net_wh: int
    offered_wh: int
    wanted_wh: int
    retail: int
    feed_in: int
    offered_at: int


class Correction(NamedTuple):
    """Energy the gateway sells to the member after all; negative: takes back, or buys. At ``price``, uwatt per kWh."""

    title: Title
    energy_wh: int
    price: int


def late_reading(silent: Silent, export_wh: int, import_wh: int) -> list[Correction]:
    """For the reading of exactly this period."""
    bought_wh, sold_wh = residual(0, silent.estimate_wh, 0, 0, silent.net_wh)
    reserved_out_wh = min(export_wh, silent.offered_wh)
    reserved_in_wh = min(import_wh, silent.wanted_wh)
    now_bought_wh, now_sold_wh = residual(export_wh - reserved_out_wh, import_wh - reserved_in_wh, 0, 0, silent.net_wh)
    return _nonzero(
        Correction(Title.RETAIL, now_sold_wh + reserved_in_wh - sold_wh, silent.retail),
        Correction(Title.FEED_IN, -(now_bought_wh - bought_wh), silent.feed_in),
        Correction(Title.FEED_IN, -reserved_out_wh, silent.offered_at),
    )


@dataclass(frozen=True, slots=True)
class Gap:
    """Silent periods together. ``matched_wh``: what the estimates had used of what was bought on the market.
    ``lowest_feed_in``: or the lowest price of a contract sold under, if that is less.
    """

    estimate_wh: int
    matched_wh: int
    highest_retail: int
    lowest_retail: int
    lowest_feed_in: int


def gap_of(silences: Sequence[Silent]) -> Gap:
    assert silences
    return Gap(
        estimate_wh=sum(silent.estimate_wh for silent in silences),
        matched_wh=sum(min(silent.estimate_wh, max(0, -silent.net_wh)) for silent in silences),
        highest_retail=max(silent.retail for silent in silences),
        lowest_retail=min(silent.retail for silent in silences),
        lowest_feed_in=min(silent.offered_at for silent in silences),
    )


def joined(one: Gap, other: Gap) -> Gap:
    return Gap(
        estimate_wh=one.estimate_wh + other.estimate_wh,
        matched_wh=one.matched_wh + other.matched_wh,
        highest_retail=max(one.highest_retail, other.highest_retail),
        lowest_retail=min(one.lowest_retail, other.lowest_retail),
        lowest_feed_in=min(one.lowest_feed_in, other.lowest_feed_in),
    )


def gap_reading(gap: Gap, export_wh: int, import_wh: int) -> list[Correction]:
    """For a reading whose growth covers all periods of ``gap``."""
    more_wh = import_wh + gap.matched_wh - gap.estimate_wh
    return _nonzero(
        Correction(Title.RETAIL, more_wh, gap.highest_retail if more_wh >= 0 else gap.lowest_retail),
        Correction(Title.FEED_IN, -(export_wh + gap.matched_wh), gap.lowest_feed_in),
    )


def _nonzero(*corrections: Correction) -> list[Correction]:
    return [correction for correction in corrections if correction.energy_wh]

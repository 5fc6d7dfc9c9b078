"""The templates of contracts, as data, and what follows from each.

1. *Hours* are local (``utc_offset_minutes``), first and last included; a period delivers if it begins in one of them on
   one of the days (0 is Monday). The time of use multiplies the price from its hour on, until the next one's, round the
   clock.
2. What a contract is worth in a cycle: limit · price · deliveries, the deliveries being the template's part of a week's
   hours of the cycle's periods, or of all the contract's if those are fewer. Late, early-end and collateral are parts
   of that.
3. A contract's grid fee is (base + distance · tier), between feeders of which one is congested by the template's own
   threshold with its surcharge, down to the tick; never below the chain's.
4. Deliveries are accounted for by the hour or by the period.
5. ``arbitration``, ``escalation_hours`` (disputes) and ``shedding`` (first to last) are said to whoever asks, and not
   acted upon by the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ledger.agreements import Licence
from ledger.market.grid_fee import ALL_BPS, amount_uwatt
from ledger.market.terms import (
    DAYS_PER_WEEK,
    HOURS_PER_DAY,
    local_hour,
    local_period,
    local_weekday,
    periods_per_day,
)
from ledger.parameters import Parameters


class TemplateKind(IntEnum):
    RESIDENTIAL = 1
    COMMERCIAL = 2


class Grouping(IntEnum):
    """What one account of deliveries covers."""

    HOUR = 1
    PERIOD = 2


class Arbitration(IntEnum):
    """Who decides first where there is a dispute."""

    ORACLE = 1
    ARBITRATOR = 2


@dataclass(frozen=True, slots=True)
class Template:
    """Prices and fees in uwatt per kWh; ``time_of_use``: (from hour, part of the price in basis points)."""

    kind: TemplateKind
    smallest_wh: int
    largest_wh: int
    lowest_price: int
    highest_price: int
    price_change_bps: int
    first_hour: int
    last_hour: int
    weekdays: tuple[int, ...]
    max_participants: int
    stake_ugrid: int
    licences: Licence
    grouping: Grouping
    late_bps: int
    early_bps: int
    collateral_bps: int
    arbitration: Arbitration
    escalation_hours: int
    fee_base: int
    fee_distance: int
    fee_congestion_bps: int
    congestion_threshold_bps: int
    time_of_use: tuple[tuple[int, int], ...]
    shedding: tuple[str, ...]


TEMPLATES: Final[dict[int, Template]] = {
    TemplateKind.RESIDENTIAL: Template(
        kind=TemplateKind.RESIDENTIAL,
        smallest_wh=100,
        largest_wh=50_000,
        lowest_price=50_000,
        highest_price=500_000,
        price_change_bps=2_000,
        first_hour=6,
        last_hour=22,
        weekdays=(0, 1, 2, 3, 4, 5, 6),
        max_participants=100,
        stake_ugrid=10_000_000,
        licences=Licence(0),
        grouping=Grouping.HOUR,
        late_bps=500,
        early_bps=200,
        collateral_bps=1_000,
        arbitration=Arbitration.ORACLE,
        escalation_hours=24,
        fee_base=20_000,
        fee_distance=1_000,
        fee_congestion_bps=5_000,
        congestion_threshold_bps=8_000,
        time_of_use=((6, 10_000), (12, 12_000), (18, 15_000), (22, 8_000)),
        shedding=("non_essential", "heating_and_cooling", "essential"),
    ),
    TemplateKind.COMMERCIAL: Template(
        kind=TemplateKind.COMMERCIAL,
        smallest_wh=10_000,
        largest_wh=1_000_000,
        lowest_price=30_000,
        highest_price=1_000_000,
        price_change_bps=3_000,
        first_hour=0,
        last_hour=23,
        weekdays=(0, 1, 2, 3, 4),
        max_participants=50,
        stake_ugrid=1_000_000_000,
        licences=Licence.COMMERCIAL_ENERGY_LICENSE | Licence.GRID_CODE_COMPLIANCE,
        grouping=Grouping.PERIOD,
        late_bps=1_000,
        early_bps=500,
        collateral_bps=2_000,
        arbitration=Arbitration.ARBITRATOR,
        escalation_hours=4,
        fee_base=15_000,
        fee_distance=500,
        fee_congestion_bps=7_500,
        congestion_threshold_bps=8_000,
        time_of_use=((8, 13_000), (12, 14_000), (16, 15_000), (20, 10_000)),
        shedding=("industrial_process", "commercial_hvac", "essential"),
    ),
}

assert set(TEMPLATES) == set(TemplateKind)


def delivers_in(template: Template, parameters: Parameters, period: int) -> bool:
    """Whether the period is one of the template's hours and days."""
    hour = local_hour(parameters, period)
    return template.first_hour <= hour <= template.last_hour and (
        local_weekday(parameters, period) in template.weekdays
    )


def price_in(template: Template, parameters: Parameters, price: int, period: int) -> int:
    """The price in a period: the agreed one times the time of use, uwatt per kWh, rounded down."""
    hour = local_hour(parameters, period)
    bps = template.time_of_use[-1][1]  # before the day's first change that of the evening before holds
    for from_hour, from_bps in template.time_of_use:
        if hour >= from_hour:
            bps = from_bps
    return price * bps // ALL_BPS


def group_of(template: Template, parameters: Parameters, period: int) -> int:
    """The first period of the group that the period's deliveries are accounted for in."""
    if template.grouping is Grouping.PERIOD:
        return period
    per_hour = max(1, periods_per_day(parameters) // HOURS_PER_DAY)
    return period - local_period(parameters, period) % per_hour


@dataclass(frozen=True, slots=True)
class Sureties:
    """What a subscription is secured with, uwatt: what the buyer locks, what who ends early pays to the other, and
    what is due for paying late.
    """

    collateral_uwatt: int
    early_uwatt: int
    late_uwatt: int


def sureties(template: Template, parameters: Parameters, limit_wh: int, price: int, periods: int) -> Sureties:
    """Of a contract for ``limit_wh`` a period at ``price`` over ``periods``; see rule 2."""
    hours = (template.last_hour - template.first_hour + 1) * len(template.weekdays)
    deliveries = min(periods, parameters.billing_cycle_periods) * hours // (HOURS_PER_DAY * DAYS_PER_WEEK)
    worth = amount_uwatt(limit_wh, price) * deliveries
    return Sureties(
        collateral_uwatt=worth * template.collateral_bps // ALL_BPS,
        early_uwatt=worth * template.early_bps // ALL_BPS,
        late_uwatt=worth * template.late_bps // ALL_BPS,
    )

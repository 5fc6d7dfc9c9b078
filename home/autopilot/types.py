"""What the autopilot is told, and what it answers. Energies in Wh, prices in uwatt per kWh, all integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from home.autopilot.battery import Battery
from home.autopilot.vehicle import Vehicle
from ledger.market.grid_fee import Tier, fee_rate, highest_fee_rate
from ledger.market.matching import Side
from ledger.market.terms import MS_PER_HOUR, tariff_of_parameters
from ledger.parameters import Parameters

HOURS_PER_DAY: Final = 24
MINUTES_PER_HOUR: Final = 60
MINUTES_PER_DAY: Final = HOURS_PER_DAY * MINUTES_PER_HOUR
ALL_HOURS: Final = frozenset(range(HOURS_PER_DAY))
DEFAULT_HORIZON_PERIODS: Final = 4


@dataclass(frozen=True, slots=True)
class Terms:
    """The chain's terms as far as they matter to one home; see ``terms_of``.

    ``usual_fee`` is the grid fee within the home's substation without congestion, ``highest_fee`` the most that a
    purchase can be charged. ``transaction_fee_uwatt`` is what one transaction costs. ``utc_offset_minutes`` is in
    metered time, as in the chain's parameters.
    """

    period_ms: int
    metered_ms: int
    periods_per_day: int
    gate_closure_ms: int
    utc_offset_minutes: int
    retail: int
    feed_in: int
    usual_fee: int
    highest_fee: int
    transaction_fee_uwatt: int
    max_open_orders: int

    def closing_ms(self, period: int) -> int:
        """From this time on the period's book is closed."""
        return period * self.period_ms - self.gate_closure_ms

    def next_open_period(self, time_ms: int) -> int:
        """The first period whose book is still open."""
        return (time_ms + self.gate_closure_ms) // self.period_ms + 1

    def hour(self, period: int) -> int:
        """The local hour of the metered day in which the period begins."""
        return self.minute(period) // MINUTES_PER_HOUR

    def minute(self, period: int) -> int:
        """The local minute of the metered day at which the period begins."""
        into_day = period % self.periods_per_day * MINUTES_PER_DAY // self.periods_per_day
        return (into_day + self.utc_offset_minutes) % MINUTES_PER_DAY


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner allows. The prices are without grid fee; None leaves them to retail and feed-in.

    ``max_energy_wh``: at most so much in one order's period, each way. ``hours``: local hours of delivery in which it
    may trade. ``horizon_periods``: how many of the next open periods it places orders for.
    """

    enabled: bool = True
    max_buy_price: int | None = None
    min_sell_price: int | None = None
    max_energy_wh: int | None = None
    hours: frozenset[int] = ALL_HOURS
    may_buy: bool = True
    may_sell: bool = True
    horizon_periods: int = DEFAULT_HORIZON_PERIODS


@dataclass(frozen=True, slots=True)
class Measured:
    """One metered period of the house. ``produced_wh`` is what its roof produced, None where only the connection is
    metered; then what was fed in counts as production and what was drawn as load.
    """

    period: int
    import_wh: int
    export_wh: int
    produced_wh: int | None = None
    production_wh: int = field(init=False)
    load_wh: int = field(init=False)

    def __post_init__(self) -> None:
        production_wh = self.export_wh if self.produced_wh is None else self.produced_wh
        object.__setattr__(self, "production_wh", production_wh)
        object.__setattr__(self, "load_wh", max(0, production_wh - self.export_wh + self.import_wh))


@dataclass(frozen=True, slots=True)
class Book:
    """Others' open orders of a period, (price, Wh) best first."""

    bids: tuple[tuple[int, int], ...] = ()
    asks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """One of the home's own open orders."""

    period: int
    number: int
    side: Side
    limit_uwatt_per_kwh: int
    left_wh: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What the whole neighbourhood fed in and drew in a settled period, as every node's chain has it."""

    export_wh: int
    import_wh: int


@dataclass(frozen=True, slots=True)
class View:
    """All that is known at one moment.

    ``history`` ascends by period, newest last; days of it beyond ``forecast.HISTORY_DAYS`` are not looked at.
    ``neighbourhood``: of settled periods, at least those of the last day. ``net_sold_wh``: what the home has sold less
    what it has bought, by period. ``export_limit_wh``: what its export nameplate allows in one period.
    ``balance_uwatt``: free WATT tokens. ``pool_price``: that of the sharing pool the home is in, None if in none.
    ``yearly_kwh``: the household's consumption as the owner knows it, for the first days. ``stored_wh``: what is in
    the battery.
    """

    time_ms: int
    terms: Terms
    limits: Limits
    history: tuple[Measured, ...]
    export_limit_wh: int
    balance_uwatt: int
    books: Mapping[int, Book] = field(default_factory=dict)
    neighbourhood: Mapping[int, Totals] = field(default_factory=dict)
    net_sold_wh: Mapping[int, int] = field(default_factory=dict)
    open_orders: tuple[OpenOrder, ...] = ()
    pool_price: int | None = None
    yearly_kwh: int | None = None
    battery: Battery | None = None
    stored_wh: int = 0
    vehicle: Vehicle | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """To buy or sell ``energy_wh`` in each of ``periods``, which ascend; ``reason`` is one line for people."""

    side: Side
    periods: tuple[int, ...]
    energy_wh: int
    limit_uwatt_per_kwh: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """To take own orders out: (period, number) of each."""

    orders: tuple[tuple[int, int], ...]
    reason: str


Action = Place | Cancel


def terms_of(parameters: Parameters) -> Terms:
    """The terms that follow from a chain's parameters."""
    tariff = tariff_of_parameters(parameters)
    return Terms(
        period_ms=parameters.period_ms,
        metered_ms=parameters.metered_ms_per_period,
        periods_per_day=HOURS_PER_DAY * MS_PER_HOUR // parameters.metered_ms_per_period,
        gate_closure_ms=parameters.gate_closure_ms,
        utc_offset_minutes=parameters.utc_offset_minutes,
        retail=tariff.retail,
        feed_in=tariff.feed_in,
        usual_fee=fee_rate(tariff, Tier.SAME_SUBSTATION, False, tariff.feed_in),
        highest_fee=highest_fee_rate(tariff, tariff.retail),
        transaction_fee_uwatt=parameters.minimum_fee_uwatt,
        max_open_orders=parameters.max_open_orders,
    )

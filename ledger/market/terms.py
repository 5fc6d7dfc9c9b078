"""The terms of a period's book: its tariff, its hours, its feeders, and who is the gateway.

1. A tariff is in force from a period on; a period has the last one at or before it. Since a change applies to books
   that have not opened yet, a book's terms never change.
2. A book opens ``forward_periods`` before its period begins and closes ``gate_closure_ms`` before it does.
3. A feeder carries its capacity for the metered time of a period, in each direction.
4. A day has as many periods as its metered time holds; a period's local hour and weekday are those in which it begins.
"""

from __future__ import annotations

from typing import Final

from ledger.execution import Execution
from ledger.market.grid_fee import Place, Tariff
from ledger.market.matching import Feeders
from ledger.parameters import Parameters
from ledger.records import FEEDER_FLOWS, FEEDERS, GATEWAY, TARIFFS, FeederFlow, Member, height_key
from ledger.state import State

MS_PER_HOUR: Final = 3_600_000
MS_PER_MINUTE: Final = 60_000
HOURS_PER_DAY: Final = 24
DAYS_PER_WEEK: Final = 7
_FIRST_WEEKDAY: Final = 3  # 1 January 1970 was a Thursday; Monday is 0
_NO_FLOW: Final = FeederFlow(out_wh=0, into_wh=0)


def tariff_of_parameters(parameters: Parameters) -> Tariff:
    return Tariff(
        mechanism=parameters.market_mechanism,
        retail=parameters.retail_uwatt_per_kwh,
        feed_in=parameters.feed_in_uwatt_per_kwh,
        fee_model=parameters.grid_fee_model,
        fee_base=parameters.grid_fee_base_uwatt_per_kwh,
        same_feeder_discount_bps=parameters.same_feeder_discount_bps,
        same_substation_discount_bps=parameters.same_substation_discount_bps,
        distance_surcharge_bps=parameters.distance_surcharge_bps,
        congestion_surcharge_bps=parameters.congestion_surcharge_bps,
        congestion_threshold_bps=parameters.congestion_threshold_bps,
        fee_of_value_bps=parameters.grid_fee_of_value_bps,
    )


def tariff_of(state: State, period: int) -> Tariff:
    """The period's tariff; the genesis has one for all periods."""
    found = None
    for key, tariff in TARIFFS.scan(state):
        if int.from_bytes(key, "big") > period:
            break
        found = tariff
    assert found is not None, "the genesis has a tariff from period 0 on"
    return found


def gateway_of(state: State) -> bytes | None:
    found = GATEWAY.get(state)
    return None if found is None else found.account


def closing_ms(parameters: Parameters, period: int) -> int:
    """From this time on the period's book is closed."""
    return period * parameters.period_ms - parameters.gate_closure_ms


def first_open_period(parameters: Parameters, time_ms: int) -> int:
    """The first period whose gate has not closed: what is agreed on now counts from it on."""
    return (time_ms + parameters.gate_closure_ms) // parameters.period_ms + 1


def end_ms(parameters: Parameters, period: int) -> int:
    return (period + 1) * parameters.period_ms


def period_energy_wh(parameters: Parameters, power_w: int) -> int:
    """What a power makes in a period's metered time."""
    return power_w * parameters.metered_ms_per_period // MS_PER_HOUR


def periods_per_day(parameters: Parameters) -> int:
    return HOURS_PER_DAY * MS_PER_HOUR // parameters.metered_ms_per_period


def local_hour(parameters: Parameters, period: int) -> int:
    """0 to 23."""
    per_day = periods_per_day(parameters)
    return local_period(parameters, period) % per_day * HOURS_PER_DAY // per_day


def local_weekday(parameters: Parameters, period: int) -> int:
    """0 is Monday."""
    return (local_period(parameters, period) // periods_per_day(parameters) + _FIRST_WEEKDAY) % DAYS_PER_WEEK


def local_period(parameters: Parameters, period: int) -> int:
    """The period's number as a clock counts it that shows local time."""
    return period + parameters.utc_offset_minutes * MS_PER_MINUTE // parameters.metered_ms_per_period


def place_of(state: State, member: Member) -> Place:
    feeder = FEEDERS.get(state, member.feeder.encode())
    assert feeder is not None, "a member's feeder exists"
    return Place(member.feeder, feeder.substation)


def feeders_of(execution: Execution, period: int, tariff: Tariff, threshold_bps: int | None = None) -> Feeders:
    """The period's feeders as they stand; congested from the tariff's threshold on, or from the one given."""
    state = execution.state
    limits_wh, out_wh, into_wh = {}, {}, {}
    for key, feeder in FEEDERS.scan(state):
        name = key.decode()
        flow = FEEDER_FLOWS.get(state, height_key(period), key) or _NO_FLOW
        limits_wh[name] = period_energy_wh(execution.parameters, feeder.capacity_w)
        out_wh[name], into_wh[name] = flow.out_wh, flow.into_wh
    threshold_bps = tariff.congestion_threshold_bps if threshold_bps is None else threshold_bps
    return Feeders(limits_wh, threshold_bps, out_wh, into_wh)


def put_feeders(state: State, period: int, feeders: Feeders) -> None:
    for name, out_wh in feeders.out_wh.items():
        into_wh = feeders.into_wh[name]
        if out_wh or into_wh:
            FEEDER_FLOWS.put(state, FeederFlow(out_wh=out_wh, into_wh=into_wh), height_key(period), name.encode())

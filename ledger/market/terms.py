"""The terms of a period's book: its tariff, its hours, its feeders, and who is the gateway.

1. A tariff is in force from a period on; a period has the last one at or before it. Since a change applies to books
   that have not opened yet, a book's terms never change.
2. A book opens ``forward_periods`` before its period begins and closes ``gate_closure_ms`` before it does.
3. A feeder carries its capacity for the metered time of a period, in each direction.
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


def end_ms(parameters: Parameters, period: int) -> int:
    return (period + 1) * parameters.period_ms


def period_energy_wh(parameters: Parameters, power_w: int) -> int:
    """What a power makes in a period's metered time."""
    return power_w * parameters.metered_ms_per_period // MS_PER_HOUR


def place_of(state: State, member: Member) -> Place:
    feeder = FEEDERS.get(state, member.feeder.encode())
    assert feeder is not None, "a member's feeder exists"
    return Place(member.feeder, feeder.substation)


def feeders_of(execution: Execution, period: int, tariff: Tariff) -> Feeders:
    """The period's feeders as they stand."""
    state = execution.state
    limits_wh, out_wh, into_wh = {}, {}, {}
    for key, feeder in FEEDERS.scan(state):
        name = key.decode()
        flow = FEEDER_FLOWS.get(state, height_key(period), key) or _NO_FLOW
        limits_wh[name] = period_energy_wh(execution.parameters, feeder.capacity_w)
        out_wh[name], into_wh[name] = flow.out_wh, flow.into_wh
    return Feeders(limits_wh, tariff.congestion_threshold_bps, out_wh, into_wh)


def put_feeders(state: State, period: int, feeders: Feeders) -> None:
    for name, out_wh in feeders.out_wh.items():
        into_wh = feeders.into_wh[name]
        if out_wh or into_wh:
            FEEDER_FLOWS.put(state, FeederFlow(out_wh=out_wh, into_wh=into_wh), height_key(period), name.encode())

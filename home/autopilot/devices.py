"""What car and battery make of the forecasts: the surplus that is left for the market, or the lack.

1. The car is planned first, over all periods from the first that is not metered to its departure, but a day at the most
   (``vehicle``): its own surplus costs what it would earn without a trade, the rest the expected price and the grid
   fee. What it charges counts as load.
2. The battery goes through the same periods with the expected surplus of each; in a period that is traded, through
   every forecast value from the content that it is expected to begin with (``battery``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from home.autopilot.forecast import Forecast, forecast
from home.autopilot.prices import options
from home.autopilot.types import View
from home.autopilot.vehicle import Offer


def forecasts_behind(view: View, periods: range) -> dict[int, Forecast]:
    """The forecasts for ``periods`` as far as there are any, behind car and battery."""
    if view.battery is None and view.vehicle is None:
        return _known(view, periods)
    if not view.history:
        return {}
    first = view.history[-1].period + 1
    end = periods.stop
    if view.vehicle is not None:
        end = max(end, min(view.vehicle.departure, first + view.terms.periods_per_day))
    coming = _behind_battery(view, _behind_vehicle(view, _known(view, range(first, end))))
    return {period: coming[period] for period in periods if period in coming}


def charging_wh(view: View) -> Mapping[int, int]:
    """What the car is to charge, Wh by period; empty without a car."""
    if view.vehicle is None or not view.history:
        return {}
    first = view.history[-1].period + 1
    end = min(view.vehicle.departure, first + view.terms.periods_per_day)
    return _charging_wh(view, _known(view, range(first, end)))


def _known(view: View, periods: range) -> dict[int, Forecast]:
    found = {period: forecast(view.history, period, view.terms, view.yearly_kwh) for period in periods}
    return {period: one for period, one in found.items() if one is not None}


def _charging_wh(view: View, coming: Mapping[int, Forecast]) -> Mapping[int, int]:
    assert view.vehicle is not None
    offers = []
    for period, one in coming.items():
        outside = options(view, period)
        offers.append(Offer(period, one.expected_wh, outside.unsold, outside.expected + view.terms.usual_fee))
    return view.vehicle.plan(offers, view.terms.metered_ms)


def _behind_vehicle(view: View, coming: Mapping[int, Forecast]) -> dict[int, Forecast]:
    if view.vehicle is None:
        return dict(coming)
    charged_wh = _charging_wh(view, coming)
    return {
        period: replace(
            one,
            load_wh=tuple(value + charged_wh.get(period, 0) for value in one.load_wh),
            surplus_wh=tuple(value - charged_wh.get(period, 0) for value in one.surplus_wh),
        )
        for period, one in coming.items()
    }


def _behind_battery(view: View, coming: Mapping[int, Forecast]) -> dict[int, Forecast]:
    if view.battery is None:
        return dict(coming)
    stored_wh, behind = view.stored_wh, {}
    for period, one in sorted(coming.items()):
        steps = (view.battery.step(stored_wh, value, view.terms.metered_ms) for value in one.surplus_wh)
        behind[period] = replace(one, surplus_wh=tuple(sorted(step.surplus_wh for step in steps)))
        stored_wh = view.battery.step(stored_wh, one.expected_wh, view.terms.metered_ms).stored_wh
    return behind

"""Load and production of the coming periods, from the house's own metered history, as what happened at like moments.

1. A forecast is a list of possible values, each as likely as any other, so that "with which probability is the surplus
   above x" is a count. No distribution is assumed: a household's load is far too jagged for one.
2. The candidates for period p, when the last metered one is m, are the moments of the last ``HISTORY_DAYS`` days that
   are at most ``WINDOW`` periods away from p's time of day, each together with what was metered as long before it as m
   lies before p. Of them the ``NEAREST`` are taken whose earlier value is closest to that of m, the younger before the
   older. (Analogs: Delle Monache et al., Probabilistic Weather Prediction with an Analog Ensemble, 2013.)
3. Load takes the values of those moments. Production takes m's value and adds how much it rose or fell in each of them:
   so it follows the weather of the hour and the sun of the day. Neither is negative, and production is never above the
   largest of the candidates and of m by more than a tenth.
4. With fewer than ``NEAREST`` candidates, in the first days, others stand beside them: the standard household's profile
   at that hour, spread as households spread, and production as it is now, a half to nearly twice. For that the owner
   has to know the year's consumption; else there is no forecast yet.
5. Surplus = production − load, every pair alike: what makes a load high has little to do with the clouds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from home.autopilot.types import Measured, Terms
from ledger.settlement.silence import STANDARD_PROFILE_PERCENT

HISTORY_DAYS: Final = 7
WINDOW: Final = 5
NEAREST: Final = 24
PRODUCTION_SCENARIOS: Final = 8
DAYS_PER_YEAR: Final = 365
WH_PER_KWH: Final = 1_000
MORE_THAN_SEEN_PERCENT: Final = 110
STANDARD_SPREAD_PERCENT: Final = (25, 40, 50, 60, 70, 80, 95, 115, 145, 180, 240)
"""Quarter hours of a household in percent of its profile's hour: the deciles of SimBench's H0 profiles."""
PERSISTENCE_PERCENT: Final = (50, 65, 80, 90, 100, 115, 140, 180)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Possible values in Wh of one period, ascending. ``surplus_wh`` is production less load, negative where the house
    lacks energy.
    """

    period: int
    load_wh: tuple[int, ...]
    production_wh: tuple[int, ...]
    surplus_wh: tuple[int, ...]

    @property
    def expected_wh(self) -> int:
        """The mean surplus, floored."""
        return sum(self.surplus_wh) // len(self.surplus_wh)


def forecast(history: Sequence[Measured], period: int, terms: Terms, yearly_kwh: int | None = None) -> Forecast | None:
    """The forecast for ``period``, which is after the last of ``history``; None where nothing is known."""
    if not history or history[-1].period >= period:
        return None
    moments = _moments(history, period, terms.periods_per_day)
    now = history[-1]
    loads = _loads(moments, now.load_wh)
    productions = _productions(moments, now.production_wh)
    if len(moments) < NEAREST:
        if yearly_kwh is None:
            return None
        loads += _standard_loads(yearly_kwh, period, terms)
        productions += [now.production_wh * percent // 100 for percent in PERSISTENCE_PERCENT]
    return _combined(period, loads, productions)


def _moments(history: Sequence[Measured], period: int, periods_per_day: int) -> list[tuple[Measured, Measured]]:
    """(earlier, then) of every candidate moment, the youngest day first."""
    first, last = history[0].period, history[-1].period
    lead = period - last
    found: list[tuple[Measured, Measured]] = []
    for day in range(1, HISTORY_DAYS + 1):
        centre = period - day * periods_per_day
        begin, end = max(centre - WINDOW, first + lead), min(centre + WINDOW, last) + 1
        if begin >= end:
            continue
        if len(history) == last - first + 1:  # nothing is missing in between
            found += zip(
                history[begin - lead - first : end - lead - first], history[begin - first : end - first], strict=True
            )
            continue
        for then in range(begin, end):
            earlier, following = _at(history, then - lead), _at(history, then)
            if earlier is not None and following is not None:
                found.append((earlier, following))
    return found


def _at(history: Sequence[Measured], period: int) -> Measured | None:
    place = bisect_left(history, period, key=_period)
    return history[place] if place < len(history) and history[place].period == period else None


def _period(measured: Measured) -> int:
    return measured.period


def _loads(moments: Sequence[tuple[Measured, Measured]], now_wh: int) -> list[int]:
    pairs = [(earlier.load_wh, following.load_wh) for earlier, following in moments]
    return [then_wh for _, then_wh in _nearest(pairs, now_wh)]


def _productions(moments: Sequence[tuple[Measured, Measured]], now_wh: int) -> list[int]:
    pairs = [(earlier.production_wh, following.production_wh) for earlier, following in moments]
    most_wh = max([now_wh, *(then_wh for _, then_wh in pairs)]) * MORE_THAN_SEEN_PERCENT // 100
    if not most_wh:
        return [0]
    nearest = _nearest(pairs, now_wh)
    return [min(most_wh, max(0, now_wh + then_wh - earlier_wh)) for earlier_wh, then_wh in nearest]


def _nearest(pairs: Sequence[tuple[int, int]], now_wh: int) -> list[tuple[int, int]]:
    return sorted(pairs, key=lambda pair: abs(pair[0] - now_wh))[:NEAREST]


def _standard_loads(yearly_kwh: int, period: int, terms: Terms) -> list[int]:
    mean_wh = yearly_kwh * WH_PER_KWH // (DAYS_PER_YEAR * terms.periods_per_day)
    usual_wh = mean_wh * STANDARD_PROFILE_PERCENT[terms.hour(period)] // 100
    return [usual_wh * percent // 100 for percent in STANDARD_SPREAD_PERCENT]


def _combined(period: int, loads: list[int], production: list[int]) -> Forecast:
    loads.sort()
    production.sort()
    few = _thinned(production, PRODUCTION_SCENARIOS)
    surplus = sorted(produced_wh - load_wh for produced_wh in few for load_wh in loads)
    return Forecast(period, tuple(loads), tuple(few), tuple(surplus))


def _thinned(values: list[int], count: int) -> list[int]:
    """At most ``count`` of the ascending values, evenly: their quantiles."""
    if values[0] == values[-1]:
        return values[:1]
    if len(values) <= count:
        return values
    return [values[(2 * place + 1) * len(values) // (2 * count)] for place in range(count)]

"""What a period is worth without a trade, and the price to expect in it. Prices per kWh, without grid fee.

1. *Without a trade* a surplus earns o_s = t · pool + (1 − t) · feed-in, and a lack costs o_b = g · (pool + fee) +
   (1 − g) · retail. t is the part of what the neighbourhood had over that somebody lacked at this time of day, g the
   part of what it lacked that somebody had over: from the settled period of a day ago, else the last one. Without a
   pool t and g are 0.
2. *The expected price* lies between what sellers and buyers have without a trade: e = o_s + (o_b − fee − o_s) · I /
   (E + I), with the neighbourhood's E and I of rule 1, halfway where they are unknown. Where there is plenty the
   sellers' alternative makes the price, where there is want the buyers'. (By the ratio of supply to demand: Liu et al.
   2017.)
3. Fee is the usual one, within a substation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from home.autopilot.types import Totals, View

PERMILLE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Options:
    """What a period is worth without a trade, and the price to expect: rules 1 and 2. ``given_permille`` is g in
    thousandths.
    """

    unsold: int
    unbought: int
    expected: int
    given_permille: int


def options(view: View, period: int) -> Options:
    """What ``period`` is worth to this home as things stand."""
    terms = view.terms
    totals = _totals(view, period)
    taken, given = (0, 0) if totals is None else _shares(totals)
    unsold, unbought = terms.feed_in, terms.retail
    if view.pool_price is not None:
        pool_cost = min(terms.retail, view.pool_price + terms.usual_fee)
        unsold += max(0, view.pool_price - terms.feed_in) * taken // PERMILLE
        unbought -= (terms.retail - pool_cost) * given // PERMILLE
    span = max(0, unbought - terms.usual_fee - unsold)
    have, want = (1, 1) if totals is None else (totals.export_wh, totals.import_wh)
    expected = unsold + (span * want // (have + want) if have + want else span // 2)
    return Options(unsold, unbought, expected, given)


def mean(found: Sequence[Options]) -> Options:
    """Of neighbouring periods, each floored."""
    count = len(found)
    return Options(
        unsold=sum(one.unsold for one in found) // count,
        unbought=sum(one.unbought for one in found) // count,
        expected=sum(one.expected for one in found) // count,
        given_permille=sum(one.given_permille for one in found) // count,
    )


def _totals(view: View, period: int) -> Totals | None:
    """The neighbourhood a day before, else the last that is known."""
    found = view.neighbourhood.get(period - view.terms.periods_per_day)
    if found is None and view.neighbourhood:
        found = view.neighbourhood[max(view.neighbourhood)]
    return found


def _shares(totals: Totals) -> tuple[int, int]:
    """(t, g) of rule 1, in thousandths."""
    shared_wh = min(totals.export_wh, totals.import_wh)
    taken = shared_wh * PERMILLE // totals.export_wh if totals.export_wh else PERMILLE
    given = shared_wh * PERMILLE // totals.import_wh if totals.import_wh else PERMILLE
    return taken, given

from __future__ import annotations

from home.autopilot.prices import options
from home.autopilot.types import Totals
from tests.home.autopilot.days import ABUNDANT, DAY, SCARCE, TERMS, history_of, jagged, sun, view_of

HISTORY = history_of(2 * DAY, jagged, sun)
NEXT = HISTORY[-1].period + 2
FEED_IN, RETAIL, FEE = TERMS.feed_in, TERMS.retail, TERMS.usual_fee


def test_without_a_pool_the_utility_is_the_alternative() -> None:
    found = options(view_of(HISTORY, ABUNDANT), NEXT)
    assert (found.unsold, found.unbought) == (FEED_IN, RETAIL)


def test_plenty_makes_energy_cheap_and_want_makes_it_dear() -> None:
    cheap, even, dear = (
        options(view_of(HISTORY, totals), NEXT).expected for totals in (ABUNDANT, Totals(700, 700), SCARCE)
    )
    assert FEED_IN < cheap < even < dear < RETAIL - FEE
    assert even == (FEED_IN + RETAIL - FEE) // 2
    assert options(view_of(HISTORY, None), NEXT).expected == even, "unknown is taken as even"


def test_a_pool_is_worth_what_it_is_likely_to_do() -> None:
    """Given a pool at 0.174: where nine parts are over for one that lacks, a seller can hope for a ninth of it."""
    found = options(view_of(HISTORY, ABUNDANT, pool_price=174_000), NEXT)
    assert found.unsold == FEED_IN + 94_000 * 111 // 1_000
    assert found.unbought == 174_000 + FEE
    scarce = options(view_of(HISTORY, SCARCE, pool_price=174_000), NEXT)
    assert scarce.unsold == 174_000
    assert scarce.unbought == RETAIL - (RETAIL - 174_000 - FEE) * 111 // 1_000
    assert scarce.unsold <= scarce.expected <= scarce.unbought - FEE


def test_at_the_same_time_of_yesterday_counts_before_the_latest() -> None:
    view = view_of(HISTORY, SCARCE, neighbourhood={NEXT - DAY: ABUNDANT, NEXT - 9: SCARCE})
    assert options(view, NEXT).expected < options(view, NEXT + 1).expected

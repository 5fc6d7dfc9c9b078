"""Readings that come late: what they change, and that silence never pays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.settlement.residual import Correction, Silent, gap_of, gap_reading, joined, late_reading, residual
from ledger.settlement.titles import Title

RETAIL, FEED_IN = 300_000, 80_000
energies = st.integers(0, 3_000)
nets = st.integers(-3_000, 3_000)


def silent(estimate_wh: int = 0, net_wh: int = 0, offered_wh: int = 0, wanted_wh: int = 0, **prices: int) -> Silent:
    feed_in = prices.get("feed_in", FEED_IN)
    return Silent(
        estimate_wh,
        net_wh,
        offered_wh,
        wanted_wh,
        prices.get("retail", RETAIL),
        feed_in,
        prices.get("offered_at", feed_in),
    )


def cost(corrections: list[Correction]) -> int:
    return sum(correction.energy_wh * correction.price for correction in corrections)


def cost_when_silent(period: Silent) -> int:
    bought_wh, sold_wh = residual(0, period.estimate_wh, 0, 0, period.net_wh)
    return sold_wh * period.retail - bought_wh * period.feed_in


def test_a_late_reading_puts_right_what_was_estimated() -> None:
    assert late_reading(silent(500), 0, 500) == []
    assert late_reading(silent(500), 0, 700) == [Correction(Title.RETAIL, 200, RETAIL)]
    assert late_reading(silent(500), 0, 100) == [Correction(Title.RETAIL, -400, RETAIL)]
    assert late_reading(silent(500), 90, 500) == [Correction(Title.FEED_IN, -90, FEED_IN)]


def test_a_late_reading_makes_good_a_sale_that_fell_short() -> None:
    assert late_reading(silent(0, net_wh=600), 700, 0) == [
        Correction(Title.RETAIL, -600, RETAIL),
        Correction(Title.FEED_IN, -100, FEED_IN),
    ]


def test_a_late_reading_uses_what_was_bought() -> None:
    assert late_reading(silent(0, net_wh=-600), 0, 700) == [
        Correction(Title.RETAIL, 100, RETAIL),
        Correction(Title.FEED_IN, 600, FEED_IN),
    ]


def test_contract_energy_is_reserved_and_fills_up_no_sale() -> None:
    assert late_reading(silent(0, net_wh=600, offered_wh=400), 700, 0) == [
        Correction(Title.RETAIL, -300, RETAIL),
        Correction(Title.FEED_IN, -400, FEED_IN),
    ]
    cheap = silent(0, offered_wh=400, offered_at=50_000)
    assert late_reading(cheap, 700, 0) == [
        Correction(Title.FEED_IN, -300, FEED_IN),
        Correction(Title.FEED_IN, -400, 50_000),
    ]
    assert gap_of([cheap, silent()]).lowest_feed_in == 50_000
    assert late_reading(silent(0, net_wh=-600, wanted_wh=500), 0, 700) == [
        Correction(Title.RETAIL, 500, RETAIL),
        Correction(Title.FEED_IN, 200, FEED_IN),
    ]


@given(estimate=energies, net=nets, offered=energies, wanted=energies, export=energies, imported=energies)
def test_a_correction_is_the_metered_energy_less_the_estimate(
    estimate: int, net: int, offered: int, wanted: int, export: int, imported: int
) -> None:
    corrections = late_reading(silent(estimate, net, offered, wanted), export, imported)
    assert sum(correction.energy_wh for correction in corrections) == imported - estimate - export


@given(estimate=energies, net=nets, offered=energies, wanted=energies, export=energies, imported=energies)
def test_being_late_never_costs_less_than_being_on_time(
    estimate: int, net: int, offered: int, wanted: int, export: int, imported: int
) -> None:
    period = silent(estimate, net, offered, wanted)
    bought_wh, sold_wh = residual(export, imported, 0, 0, net)
    on_time = sold_wh * RETAIL - bought_wh * FEED_IN
    assert cost_when_silent(period) + cost(late_reading(period, export, imported)) >= on_time


@given(
    periods=st.lists(
        st.tuples(energies, nets, energies, energies, st.integers(200_000, 300_000), st.integers(0, 100_000)),
        min_size=1,
        max_size=4,
    )
)
def test_a_gap_never_costs_less_than_readings_on_time(
    periods: list[tuple[int, int, int, int, int, int]],
) -> None:
    gap = [silent(estimate, net, retail=retail, feed_in=feed_in) for estimate, net, _, _, retail, feed_in in periods]
    export, imported = sum(period[2] for period in periods), sum(period[3] for period in periods)
    corrections = gap_reading(gap_of(gap), export, imported)
    assert sum(one.energy_wh for one in corrections) == imported - export - sum(one.estimate_wh for one in gap)
    on_time = 0
    for _, net, period_export, period_import, retail, feed_in in periods:
        bought_wh, sold_wh = residual(period_export, period_import, 0, 0, net)
        on_time += sold_wh * retail - bought_wh * feed_in
    # Tariffs change by a vote, between books: within one gap they are nearly always one
    if len({period[4:] for period in periods}) == 1:
        assert sum(cost_when_silent(period) for period in gap) + cost(corrections) >= on_time


def test_a_gap_costs_its_highest_retail_and_earns_its_lowest_feed_in() -> None:
    gap = [silent(100, retail=280_000, feed_in=90_000), silent(100, retail=310_000, feed_in=70_000)]
    assert joined(gap_of(gap[:1]), gap_of(gap[1:])) == gap_of(gap)
    assert gap_reading(gap_of(gap), 40, 250) == [
        Correction(Title.RETAIL, 50, 310_000),
        Correction(Title.FEED_IN, -40, 70_000),
    ]
    assert gap_reading(gap_of(gap), 0, 120) == [Correction(Title.RETAIL, -80, 280_000)]


def test_in_a_gap_nothing_meets_a_trade() -> None:
    # Given 60 Wh bought of which the estimates used 50 and 10, and 30 Wh sold; when 40 Wh were used and 20 fed in
    bought = [silent(50, net_wh=-50), silent(100, net_wh=-10), silent(0, net_wh=30)]
    # Then all 60 Wh bought are sold to the gateway again, and all that was used is bought of it
    assert gap_of(bought).matched_wh == 60
    assert gap_reading(gap_of(bought), 20, 40) == [
        Correction(Title.RETAIL, -50, RETAIL),
        Correction(Title.FEED_IN, -80, FEED_IN),
    ]
    assert sum(cost_when_silent(one) for one in bought) == 90 * RETAIL + 30 * RETAIL
    assert cost_when_silent(silent(50, net_wh=-60)) == -10 * FEED_IN
    assert gap_of([silent(50, net_wh=-60)]).matched_wh == 50

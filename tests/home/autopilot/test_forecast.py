from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from home.autopilot.forecast import forecast
from home.autopilot.types import Measured
from tests.home.autopilot.days import DAY, FIRST, TERMS, history_of, jagged, sun

NOON = 48


def test_a_house_that_repeats_itself_is_foreseen_to_the_wh() -> None:
    """Given three days alike, when noon of the fourth is forecast at half past eleven, then it is within the day's."""
    history = history_of(3 * DAY + NOON - 1, lambda _: 100, sun)
    found = forecast(history, FIRST + 3 * DAY + NOON, TERMS)
    assert found is not None
    assert found.load_wh == (100,) * len(found.load_wh)
    assert abs(found.expected_wh - (sun(NOON) - 100)) <= 25
    assert found.surplus_wh == tuple(sorted(found.surplus_wh))


def test_production_follows_the_weather_of_the_hour() -> None:
    """Given a clouded morning after clear days, then noon is expected clouded too."""
    clear = history_of(4 * DAY + NOON - 1, lambda _: 100, sun)
    clouds = clear[:-8] + tuple(replace(one, produced_wh=one.production_wh // 3, export_wh=0) for one in clear[-8:])
    bright, dull = (forecast(one, FIRST + 4 * DAY + NOON, TERMS) for one in (clear, clouds))
    assert bright is not None
    assert dull is not None
    assert max(dull.production_wh) < min(bright.production_wh) // 2


def test_a_jagged_load_is_forecast_as_wide_as_it_is() -> None:
    found = forecast(history_of(7 * DAY, jagged, lambda _: 0), FIRST + 7 * DAY + 1, TERMS)
    assert found is not None
    assert found.production_wh == (0,)
    assert min(found.load_wh) < 90
    assert max(found.load_wh) > 150


def test_at_night_a_roof_is_foreseen_to_give_nothing() -> None:
    found = forecast(history_of(3 * DAY, jagged, sun), FIRST + 3 * DAY + 1, TERMS)
    assert found is not None
    assert found.production_wh == (0,)


def test_on_the_first_day_the_standard_household_stands_in() -> None:
    history = history_of(NOON, jagged, sun)
    period = FIRST + NOON + 1
    assert forecast(history, period, TERMS) is None, "nobody said what the household uses in a year"
    found = forecast(history, period, TERMS, 3_500)
    assert found is not None
    mean_wh = 3_500_000 // (365 * DAY)
    assert mean_wh // 2 < sum(found.load_wh) / len(found.load_wh) < 2 * mean_wh
    assert min(found.production_wh) < history[-1].production_wh < max(found.production_wh), "it may go either way"


def test_days_that_are_missing_are_done_without() -> None:
    """Given a history with a day and every seventh period left out, then the rest still makes a forecast."""
    whole = history_of(7 * DAY, jagged, sun)
    holes = tuple(one for one in whole if not 2 * DAY <= one.period - FIRST < 3 * DAY and one.period % 7)
    found = forecast(holes, whole[-1].period + 2, TERMS)
    assert found is not None
    assert set(found.load_wh) <= {one.load_wh for one in holes}


def test_without_a_past_or_for_a_past_period_there_is_no_forecast() -> None:
    history = history_of(DAY, jagged, sun)
    assert forecast((), FIRST, TERMS, 3_500) is None
    assert forecast(history, history[-1].period, TERMS, 3_500) is None


def test_only_the_connection_metered_counts_what_is_fed_in_as_production() -> None:
    assert (Measured(1, 0, 300).production_wh, Measured(1, 0, 300).load_wh) == (300, 0)
    assert (Measured(1, 200, 0).production_wh, Measured(1, 200, 0).load_wh) == (0, 200)
    assert (Measured(1, 0, 300, 450).production_wh, Measured(1, 0, 300, 450).load_wh) == (450, 150)


@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 2_500)), min_size=1, max_size=300),
    st.integers(1, 200),
    st.one_of(st.none(), st.integers(0, 20_000)),
)
def test_whatever_was_metered_a_forecast_has_its_form(
    rows: list[tuple[int, int]], lead: int, yearly_kwh: int | None
) -> None:
    history = history_of(len(rows), lambda number: rows[number][0], lambda number: rows[number][1])
    found = forecast(history, history[-1].period + lead, TERMS, yearly_kwh)
    if found is None:
        assert yearly_kwh is None
        return
    assert len(found.surplus_wh) == len(found.load_wh) * len(found.production_wh)
    assert min(found.load_wh) >= 0
    assert min(found.production_wh) >= 0
    assert found.surplus_wh[0] == found.production_wh[0] - found.load_wh[-1]
    assert found.surplus_wh[-1] == found.production_wh[-1] - found.load_wh[0]

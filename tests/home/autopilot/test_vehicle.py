from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from home.autopilot.vehicle import Offer, Vehicle

HOUR_MS = 3_600_000


def test_it_charges_in_the_cheapest_periods_own_surplus_first() -> None:
    """Given a sunny second hour and a cheap third one; when 6 kWh are needed; then surplus, then the cheap hour."""
    offers = [Offer(10, 0, 80, 300), Offer(11, 2_000, 80, 300), Offer(12, 0, 80, 200), Offer(13, 0, 80, 300)]
    charged = Vehicle(needed_wh=6_000, charge_w=3_600, departure=14).plan(offers, HOUR_MS)
    assert charged == {11: 2_000, 12: 3_600, 10: 400}


def test_nothing_is_charged_after_departure() -> None:
    offers = [Offer(10, 0, 80, 300), Offer(11, 9_000, 80, 100)]
    assert Vehicle(needed_wh=9_000, charge_w=3_600, departure=11).plan(offers, HOUR_MS) == {10: 3_600}


def test_a_full_car_charges_nothing() -> None:
    assert Vehicle(needed_wh=0, charge_w=3_600, departure=11).plan([Offer(10, 500, 80, 300)], HOUR_MS) == {}


@given(
    st.integers(0, 30_000),
    st.lists(st.tuples(st.integers(-5_000, 9_000), st.integers(0, 300), st.integers(0, 300)), max_size=12),
)
def test_it_gets_what_it_needs_or_all_there_is(needed_wh: int, hours: list[tuple[int, int, int]]) -> None:
    offers = [Offer(number, *hour) for number, hour in enumerate(hours)]
    charged = Vehicle(needed_wh=needed_wh, charge_w=3_600, departure=len(hours)).plan(offers, HOUR_MS)
    assert sum(charged.values()) == min(needed_wh, 3_600 * len(hours))
    assert all(0 < value <= 3_600 for value in charged.values())


@pytest.mark.parametrize(("needed_wh", "charge_w"), [(-1, 3_600), (100, 0)])
def test_a_car_that_cannot_be_is_refused(needed_wh: int, charge_w: int) -> None:
    with pytest.raises(ValueError, match="must"):
        Vehicle(needed_wh=needed_wh, charge_w=charge_w, departure=3)

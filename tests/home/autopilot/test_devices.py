from __future__ import annotations

from home.autopilot.battery import Battery
from home.autopilot.devices import charging_wh, forecasts_behind
from home.autopilot.vehicle import Vehicle
from tests.home.autopilot.days import ABUNDANT, DAY, history_of, jagged, sun, view_of

MORNING = history_of(4 * DAY + 32, jagged, sun)  # until eight o'clock
NEXT = MORNING[-1].period + 1
HOUR = range(NEXT + 1, NEXT + 5)


def test_without_devices_forecasts_are_those_of_the_house() -> None:
    found = forecasts_behind(view_of(MORNING, ABUNDANT), HOUR)
    assert list(found) == list(HOUR)
    assert charging_wh(view_of(MORNING, ABUNDANT)) == {}


def test_a_car_that_has_all_day_waits_for_the_sun() -> None:
    """Given a car that is needed in the evening, then it charges with the surplus of noon, and all it needs."""
    view = view_of(MORNING, ABUNDANT, vehicle=Vehicle(needed_wh=4_000, charge_w=3_700, departure=NEXT + 40))
    charged = charging_wh(view)
    assert sum(charged.values()) == 4_000
    surplus = forecasts_behind(view_of(MORNING, ABUNDANT), range(NEXT, NEXT + 40))
    assert all(surplus[period].expected_wh > 0 for period in charged)


def test_a_car_that_leaves_soon_charges_now_and_its_load_is_foreseen() -> None:
    view = view_of(MORNING, ABUNDANT, vehicle=Vehicle(needed_wh=9_000, charge_w=3_700, departure=NEXT + 4))
    assert charging_wh(view) == dict.fromkeys(range(NEXT, NEXT + 4), 925)
    without = forecasts_behind(view_of(MORNING, ABUNDANT), HOUR)
    behind = forecasts_behind(view, HOUR)
    assert behind[NEXT + 1].expected_wh == without[NEXT + 1].expected_wh - 925
    assert behind[NEXT + 4] == without[NEXT + 4], "it has left"


def test_a_battery_that_fills_up_lets_the_sun_through_later() -> None:
    battery = Battery(capacity_wh=500, charge_w=10_000, discharge_w=10_000, efficiency_bps=10_000)
    without = forecasts_behind(view_of(MORNING, ABUNDANT), range(NEXT, NEXT + 16))
    behind = forecasts_behind(view_of(MORNING, ABUNDANT, battery=battery, stored_wh=0), range(NEXT, NEXT + 16))
    assert behind[NEXT].expected_wh < without[NEXT].expected_wh
    assert behind[NEXT + 15].surplus_wh == without[NEXT + 15].surplus_wh


def test_a_house_without_a_past_has_no_forecast_behind_anything() -> None:
    car = Vehicle(needed_wh=9_000, charge_w=3_700, departure=NEXT + 4)
    view = view_of(MORNING[:1], None, vehicle=car)
    assert forecasts_behind(view, HOUR) == {}
    assert charging_wh(view) == {}

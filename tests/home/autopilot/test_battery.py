from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from home.autopilot.battery import Battery

QUARTER_MS = 900_000
BATTERY = Battery(capacity_wh=5_000, charge_w=2_000, discharge_w=2_400, efficiency_bps=9_000, reserve_wh=500)


@pytest.mark.parametrize(
    ("stored_wh", "surplus_wh", "expected"),
    [
        (1_000, 400, (1_360, 0)),  # all of it taken in, a tenth of it lost
        (1_000, 800, (1_450, 300)),  # 2 kW for a quarter hour are 500 Wh
        (4_910, 400, (5_000, 300)),  # room for 90 Wh, which take 100
        (5_000, 400, (5_000, 400)),
        (1_000, -300, (700, 0)),
        (1_000, -900, (500, -400)),  # the reserve stays
        (3_000, -900, (2_400, -300)),  # 2.4 kW for a quarter hour are 600 Wh
        (200, -300, (200, -300)),  # below the reserve it only charges
        (200, 100, (290, 0)),
        (1_000, 0, (1_000, 0)),
    ],
)
def test_it_takes_what_is_over_and_gives_what_lacks(stored_wh: int, surplus_wh: int, expected: tuple[int, int]) -> None:
    assert BATTERY.step(stored_wh, surplus_wh, QUARTER_MS) == expected


@given(st.integers(0, 5_000), st.integers(-20_000, 20_000))
def test_it_makes_no_energy_and_keeps_its_bounds(stored_wh: int, surplus_wh: int) -> None:
    after, left_wh = BATTERY.step(stored_wh, surplus_wh, QUARTER_MS)
    assert 0 <= after <= 5_000
    assert after - stored_wh <= surplus_wh - left_wh
    assert abs(left_wh) <= abs(surplus_wh)
    assert left_wh * surplus_wh >= 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"capacity_wh": 0}, "capacity_wh must be above 0"),
        ({"charge_w": -1}, "must not be negative"),
        ({"efficiency_bps": 0}, "efficiency_bps must be 1 … 10000, not 0"),
        ({"efficiency_bps": 10_001}, "efficiency_bps must be 1 … 10000, not 10001"),
        ({"reserve_wh": 5_001}, "reserve_wh must be 0 … 5000, not 5001"),
    ],
)
def test_a_battery_that_cannot_be_is_refused(change: dict[str, int], says: str) -> None:
    terms = {"capacity_wh": 5_000, "charge_w": 2_000, "discharge_w": 2_000} | change
    with pytest.raises(ValueError, match=says):
        Battery(**terms)

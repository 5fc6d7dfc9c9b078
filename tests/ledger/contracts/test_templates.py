"""What follows from the templates: hours, prices, groups and sureties."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.contracts.templates import (
    TEMPLATES,
    Sureties,
    TemplateKind,
    delivers_in,
    group_of,
    price_in,
    sureties,
)
from ledger.market.terms import local_hour, local_weekday
from ledger.parameters import Parameters

PARAMETERS = Parameters(utc_offset_minutes=0)
RESIDENTIAL, COMMERCIAL = TEMPLATES[TemplateKind.RESIDENTIAL], TEMPLATES[TemplateKind.COMMERCIAL]
A_MONDAY = 4 * 96  # 5 January 1970


def at(hour: int, quarter: int = 0, day: int = 0) -> int:
    """The period of a day of that week."""
    return A_MONDAY + day * 96 + hour * 4 + quarter


def test_the_local_hour_and_weekday_of_a_period() -> None:
    assert [local_weekday(PARAMETERS, at(12, day=day)) for day in range(8)] == [0, 1, 2, 3, 4, 5, 6, 0]
    assert [local_hour(PARAMETERS, at(hour, 3)) for hour in range(24)] == list(range(24))
    berlin = replace(PARAMETERS, utc_offset_minutes=120)
    assert (local_hour(berlin, at(22)), local_weekday(berlin, at(22))) == (0, 1)
    assert (local_hour(berlin, at(21, 3)), local_weekday(berlin, at(21, 3))) == (23, 0)


def test_a_residential_contract_delivers_from_six_to_the_end_of_the_twenty_third_hour_on_all_days() -> None:
    for day in range(7):
        assert [hour for hour in range(24) if delivers_in(RESIDENTIAL, PARAMETERS, at(hour, 3, day))] == [*range(6, 23)]


def test_a_commercial_contract_delivers_round_the_clock_from_monday_to_friday() -> None:
    assert [day for day in range(7) if delivers_in(COMMERCIAL, PARAMETERS, at(0, day=day))] == [0, 1, 2, 3, 4]
    assert all(delivers_in(COMMERCIAL, PARAMETERS, at(hour)) for hour in range(24))


@pytest.mark.parametrize(
    ("template", "hour", "price"),
    [
        (RESIDENTIAL, 5, 80_000),
        (RESIDENTIAL, 6, 100_000),
        (RESIDENTIAL, 11, 100_000),
        (RESIDENTIAL, 12, 120_000),
        (RESIDENTIAL, 18, 150_000),
        (RESIDENTIAL, 22, 80_000),
        (COMMERCIAL, 0, 100_000),
        (COMMERCIAL, 8, 130_000),
        (COMMERCIAL, 15, 140_000),
        (COMMERCIAL, 19, 150_000),
        (COMMERCIAL, 20, 100_000),
    ],
)
def test_the_time_of_use_multiplies_the_price_round_the_clock(template: object, hour: int, price: int) -> None:
    assert price_in(template, PARAMETERS, 100_000, at(hour, 3)) == price  # type: ignore[arg-type]


def test_residential_deliveries_are_grouped_by_the_local_hour_commercial_ones_by_the_period() -> None:
    assert [group_of(RESIDENTIAL, PARAMETERS, at(7, quarter)) - at(7) for quarter in range(4)] == [0, 0, 0, 0]
    assert [group_of(COMMERCIAL, PARAMETERS, at(7, quarter)) - at(7) for quarter in range(4)] == [0, 1, 2, 3]
    half_past = replace(PARAMETERS, utc_offset_minutes=330)
    assert [group_of(RESIDENTIAL, half_past, at(7, quarter)) - at(7) for quarter in range(4)] == [-2, -2, 2, 2]
    whole_hours = replace(PARAMETERS, metered_ms_per_period=3_600_000)
    assert group_of(RESIDENTIAL, whole_hours, 77) == 77


def test_sureties_are_parts_of_limit_times_price_times_deliveries_in_a_cycle() -> None:
    # 500 Wh at 0.15 are 0.075 WATT; of 2,880 periods 17 hours of 24 deliver, 2,040
    assert sureties(RESIDENTIAL, PARAMETERS, 500, 150_000, 100_000) == Sureties(15_300_000, 3_060_000, 7_650_000)
    # a contract of a day has 68 deliveries
    assert sureties(RESIDENTIAL, PARAMETERS, 500, 150_000, 96) == Sureties(510_000, 102_000, 255_000)
    # 20 kWh at 0.1, 2,880 periods of which 5 days in 7 deliver, 2,057
    assert sureties(COMMERCIAL, PARAMETERS, 20_000, 100_000, 2_880) == Sureties(822_800_000, 205_700_000, 411_400_000)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.kind.name)
def test_every_template_makes_sense(template: object) -> None:
    one = TEMPLATES[template.kind]  # type: ignore[attr-defined]
    assert one.early_bps <= one.collateral_bps, "the penalty is taken from the collateral"
    assert one.smallest_wh <= one.largest_wh
    assert one.lowest_price <= one.highest_price
    assert 0 <= one.first_hour <= one.last_hour <= 23
    assert [hour for hour, _ in one.time_of_use] == sorted(hour for hour, _ in one.time_of_use)

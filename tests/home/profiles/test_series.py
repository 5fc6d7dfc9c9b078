"""The shipped series are plausible, exact, endless; the meter of a house adds up to the last Wh."""

from fractions import Fraction
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from home.profiles.archive import SAMPLES_PER_DAY, SAMPLES_PER_YEAR
from home.profiles.series import HOUSEHOLDS, SOLAR_SYSTEMS, ConnectionMeter, House, Profile, household, solar

ALL = [household(index) for index in range(len(HOUSEHOLDS))] + [solar(index) for index in range(len(SOLAR_SYSTEMS))]
every_profile = pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.name)
every_household = pytest.mark.parametrize("index", range(len(HOUSEHOLDS)))
every_roof = pytest.mark.parametrize("index", range(len(SOLAR_SYSTEMS)))
# Read off LoadProfile.csv, H0-A_pload, 01.01.2016 00:00 ff., and RESProfile.csv, PV1, 20.06.2016 12:00 (summer
# time, so the sample of 11:00) ff., rounded.
GOLDEN_H0_A = [2767, 660, 2065]
GOLDEN_PV1 = [606, 602, 598, 594]

samples = st.integers(min_value=0, max_value=3 * SAMPLES_PER_YEAR)
houses = st.builds(
    House,
    household=st.integers(0, 4),
    yearly_kwh=st.integers(1, 20_000),
    solar=st.integers(0, 7),
    peak_watt=st.integers(1, 30_000),
    start_sample=st.integers(0, SAMPLES_PER_YEAR - 1),
) | st.builds(
    House,
    household=st.integers(0, 4),
    yearly_kwh=st.integers(1, 20_000),
    start_sample=st.integers(0, SAMPLES_PER_YEAR - 1),
)


def test_the_notice_of_the_source_is_shipped_beside_the_data() -> None:
    notice = files("home.profiles").joinpath("ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "Open Database License (ODbL) 1.0" in notice
    assert "University of Kassel" in notice
    assert len(files("home.profiles").joinpath("quarter_hours.bin").read_bytes()) < 300_000


def test_there_are_five_households_and_eight_roofs_all_different() -> None:
    assert (len(HOUSEHOLDS), len(SOLAR_SYSTEMS)) == (5, 8)
    assert [profile.name for profile in ALL] == [*HOUSEHOLDS, *SOLAR_SYSTEMS]
    assert len({profile.values.tobytes() for profile in ALL}) == 13


@every_household
@pytest.mark.parametrize("yearly_wh", [1, 999_999, 3_500_000, 20_000_000])
def test_a_household_consumes_exactly_what_its_year_is_given(index: int, yearly_wh: int) -> None:
    assert household(index).total_wh(0, SAMPLES_PER_YEAR, yearly_wh) == yearly_wh
    assert household(index).total_wh(777, 777 + 2 * SAMPLES_PER_YEAR, yearly_wh) == 2 * yearly_wh


@every_household
def test_a_household_is_never_off_and_peaks_like_one(index: int) -> None:
    # Given 3,500 kWh a year, 400 W on average
    energies = [household(index).energy_wh(sample, 3_500_000) for sample in range(SAMPLES_PER_YEAR)]
    # Then something always runs (over 5 W), and the worst quarter hour is between 2 and 8 kW
    assert min(household(index).values) > 0
    assert min(energies) >= 1
    assert 500 <= max(energies) <= 2000
    # And more is used by day than between one and four at night
    night = sum(sum(energies[day * 96 + 4 : day * 96 + 16]) for day in range(366))
    day = sum(sum(energies[day * 96 + 48 : day * 96 + 60]) for day in range(366))
    assert day > 1.5 * night


@every_roof
def test_a_roof_yields_what_roofs_yield(index: int) -> None:
    # Given a roof of 1 kW peak
    roof = solar(index)
    # Then a year brings 850 to 1,100 full-load hours and no quarter hour passes the peak power
    assert 850_000 <= roof.total_wh(0, SAMPLES_PER_YEAR, 1000) <= 1_100_000
    assert 210 <= max(roof.energy_wh(sample, 1000) for sample in range(SAMPLES_PER_YEAR)) <= 250
    # And it is dark from nine in the evening to three in the morning, on every day
    for day in range(366):
        assert not any(roof.values[day * 96 : day * 96 + 12])
        assert not any(roof.values[day * 96 + 84 : day * 96 + 96])
    # And a June brings several times a December
    june = roof.total_wh(152 * 96, 182 * 96, 1000)
    december = roof.total_wh(335 * 96, 366 * 96, 1000)
    assert june > 3 * december > 0


def test_the_roofs_average_976_full_load_hours() -> None:
    total = sum(solar(index).total_wh(0, SAMPLES_PER_YEAR, 1000) for index in range(8))
    assert total // 8 // 1000 == 976


def test_golden_values_of_the_series() -> None:
    # Given the first winter night and a June noon of the source's tables (LoadProfile.csv, RESProfile.csv)
    assert list(household(0).values[:3]) == GOLDEN_H0_A
    assert list(solar(0).values[171 * 96 + 44 : 171 * 96 + 48]) == GOLDEN_PV1
    # When scaled by hand, then the same
    exact = Fraction(GOLDEN_PV1[0], 10_000) * Fraction(3, 2) * 5000 / 4
    start = 171 * 96 + 44
    assert solar(0).total_wh(start, start + 1, 5000) == exact.numerator // exact.denominator


@every_profile
@settings(max_examples=100, deadline=None)
@given(first=samples, lengths=st.tuples(st.integers(0, 5000), st.integers(0, 5000)), nominal=st.integers(0, 10**7))
def test_totals_are_floors_of_exact_sums(profile: Profile, first: int, lengths: tuple[int, int], nominal: int) -> None:
    # Given a range cut in two anywhere
    middle, end = first + lengths[0], first + lengths[0] + lengths[1]
    numerator, denominator = profile.scaled(nominal)
    exact = Fraction(
        sum(profile.values[sample % SAMPLES_PER_YEAR] for sample in range(first, end)) * numerator, denominator
    )
    # Then the total is the floor of the exact sum, and the parts differ from it by less than a Wh
    assert profile.total_wh(first, end, nominal) == exact.numerator // exact.denominator
    parts = profile.total_wh(first, middle, nominal) + profile.total_wh(middle, end, nominal)
    assert 0 <= profile.total_wh(first, end, nominal) - parts <= 1


@every_profile
@settings(max_examples=20, deadline=None)
@given(first=samples, nominal=st.integers(0, 10**7))
def test_the_energies_of_samples_add_up_without_drift(profile: Profile, first: int, nominal: int) -> None:
    energies = [profile.energy_wh(sample, nominal) for sample in range(first, first + 200)]
    assert sum(energies) == profile.total_wh(0, first + 200, nominal) - profile.total_wh(0, first, nominal)
    assert min(energies) >= 0


@every_profile
def test_a_series_begins_anew_after_its_year(profile: Profile) -> None:
    for sample in (0, 5000, SAMPLES_PER_YEAR - 1):
        for years in (1, 2, 50):
            first = sample + years * SAMPLES_PER_YEAR
            assert profile.total_wh(first, first + 1, 12345) == profile.total_wh(sample, sample + 1, 12345)
    # And across the end of the year
    end = SAMPLES_PER_YEAR
    exact = profile.total_wh(end - 1, end, 10**9) + profile.total_wh(0, 1, 10**9)
    assert abs(profile.total_wh(end - 1, end + 1, 10**9) - exact) <= 1


@pytest.mark.parametrize("index", [-1, 5, 100])
def test_profiles_that_are_not_there_are_named(index: int) -> None:
    with pytest.raises(ValueError, match="0 … 4"):
        household(index)
    if index != 5:
        with pytest.raises(ValueError, match="0 … 7"):
            solar(index)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"household": 5}, "profiles 0 … 4"),
        ({"solar": 8, "peak_watt": 1}, "profiles 0 … 7"),
        ({"yearly_kwh": 0}, "yearly_kwh"),
        ({"yearly_kwh": 1_000_001}, "yearly_kwh"),
        ({"solar": 0}, "both"),
        ({"peak_watt": 5000}, "both"),
        ({"solar": 0, "peak_watt": -1}, "peak_watt"),
        ({"start_sample": -1}, "start_sample"),
        ({"start_sample": SAMPLES_PER_YEAR}, "start_sample"),
    ],
)
def test_houses_that_cannot_be_are_refused(fields: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        House(**({"household": 0, "yearly_kwh": 3500} | fields))


def test_a_house_without_a_roof_only_imports() -> None:
    house = House(household=1, yearly_kwh=3500, start_sample=100 * SAMPLES_PER_DAY)
    meter = ConnectionMeter(house)
    assert meter.registers(0) == (0, 0)
    assert meter.registers(SAMPLES_PER_YEAR) == (3_500_000, 0)
    assert meter.registers(1000) == (house.consumption_wh(1000), 0)
    assert house.production_wh(1000) == 0


def test_a_house_with_a_roof_exports_at_noon_and_imports_at_night() -> None:
    # Given a house with 8 kW on the roof, on a midsummer day
    meter = ConnectionMeter(
        House(household=1, yearly_kwh=3500, solar=2, peak_watt=8000, start_sample=172 * SAMPLES_PER_DAY)
    )
    midnight, four, ten, noon = (meter.registers(4 * hour) for hour in (0, 4, 10, 12))
    # Then before dawn only the import register has moved, and around noon the export register
    assert midnight == (0, 0)
    assert four.import_wh > 0
    assert four.export_wh == 0
    assert noon.export_wh > ten.export_wh


@settings(max_examples=40, deadline=None)
@given(house=houses, first=st.integers(0, SAMPLES_PER_YEAR), length=st.integers(0, 300))
def test_registers_are_floors_of_exact_sums_and_never_run_backwards(house: House, first: int, length: int) -> None:
    # Given any house, summed up sample by sample as fractions
    load = household(house.household)
    used = Fraction(*load.scaled(house.yearly_kwh * 1000))
    roof = solar(house.solar or 0)
    made = Fraction(*roof.scaled(house.peak_watt))
    meter = ConnectionMeter(house)
    before = meter.registers(first)
    imported = exported = Fraction(0)
    for number in range(first, first + length):
        place = (house.start_sample + number) % SAMPLES_PER_YEAR
        surplus = roof.values[place] * made - load.values[place] * used
        imported += max(Fraction(0), -surplus)
        exported += max(Fraction(0), surplus)
        # When one quarter hour passes, then neither register runs backwards
        after = meter.registers(number + 1)
        assert after.import_wh >= before.import_wh
        assert after.export_wh >= before.export_wh
        before = after
    # Then the registers have moved by the exact sums, to within the one Wh that each floor may hold back
    start, end = meter.registers(first), meter.registers(first + length)
    assert abs(end.import_wh - start.import_wh - imported) < 1
    assert abs(end.export_wh - start.export_wh - exported) < 1
    # And import less export is consumption less production
    net = meter.registers(first + length)
    balance = house.consumption_wh(first + length) - house.production_wh(first + length)
    assert abs(net.import_wh - net.export_wh - balance) <= 2


def test_registers_go_on_past_the_year_without_drift() -> None:
    meter = ConnectionMeter(House(household=0, yearly_kwh=4000, solar=3, peak_watt=6000, start_sample=12_345))
    year = meter.registers(SAMPLES_PER_YEAR)
    century = meter.registers(100 * SAMPLES_PER_YEAR)
    assert 0 <= century.import_wh - 100 * year.import_wh < 100
    assert 0 <= century.export_wh - 100 * year.export_wh < 100

"""Households and solar roofs as exact integer series, and what the meter of a house with both would show.

1. A series is endless: sample k is the quarter hour k of a year of 35,136 and begins anew after it. Sample 0 begins at
   midnight of 1 January 2016 (a leap year), in the source's winter time; day d begins at sample 96·d.
2. Energy is counted exactly, as a fraction, and floored only where it is shown: a cumulative register is the floor of
   the exact sum since its start, and never drifts. The Wh of one sample are the difference of two such floors.
3. A household consumes in each year exactly the Wh it is given, in the course of its profile.
4. A roof of P watts peak power gives value / 10,000 · 3/2 · P watts; the 3/2 is our assumption, see ATTRIBUTION.md.
5. A house has one connection meter: in each quarter hour, what it consumes more than it produces is import, what it
   produces more is export. Its two registers start at 0 with the house's first sample.
"""

from array import array
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from math import gcd
from typing import Final, NamedTuple

from home.profiles.archive import RESOLUTION, SAMPLES_PER_DAY, SAMPLES_PER_YEAR, unpack

HOUSEHOLDS: Final = ("H0-A", "H0-B", "H0-C", "H0-G", "H0-L")
SOLAR_SYSTEMS: Final = ("PV1", "PV2", "PV3", "PV4", "PV5", "PV6", "PV7", "PV8")
MAX_YEARLY_KWH: Final = 1_000_000
MAX_PEAK_WATT: Final = 1_000_000

_SAMPLES_PER_HOUR: Final = SAMPLES_PER_DAY // 24
# Watts of output per watt of peak power at SimBench's nominal power: an assumption, see ATTRIBUTION.md.
_SOLAR_SCALE: Final = (3, 2)


class Profile:
    """The course of one household or roof; the size comes with each question as `nominal` (see `household`, `solar`).

    Energy up to a sample is `units · nominal · numerator / denominator` Wh, where units are the values summed up.
    """

    __slots__ = ("_denominator", "_ends", "_numerator", "name", "values")

    def __init__(self, name: str, values: "array[int]", numerator: int, denominator: int) -> None:
        assert len(values) == SAMPLES_PER_YEAR
        assert numerator > 0
        assert denominator > 0
        self.name = name
        self.values = values
        self._ends = array("L", accumulate(values, initial=0))
        self._numerator = numerator
        self._denominator = denominator

    def energy_wh(self, sample: int, nominal: int) -> int:
        """Wh in one quarter hour, so that those of many add up to `total_wh` without drift."""
        return self.total_wh(0, sample + 1, nominal) - self.total_wh(0, sample, nominal)

    def total_wh(self, first: int, end: int, nominal: int) -> int:
        """Wh from sample `first` up to, not including, sample `end`: the floor of the exact sum."""
        assert 0 <= first <= end
        assert nominal >= 0
        return (self._units(end) - self._units(first)) * nominal * self._numerator // self._denominator

    def scaled(self, nominal: int) -> tuple[int, int]:
        """(n, d) such that a sample of value v is exactly v · n / d Wh."""
        divisor = gcd(nominal * self._numerator, self._denominator)
        return nominal * self._numerator // divisor, self._denominator // divisor

    def _units(self, end: int) -> int:
        years, sample = divmod(end, SAMPLES_PER_YEAR)
        return years * self._ends[-1] + self._ends[sample]


@cache
def household(index: int) -> Profile:
    """The profile of a household, 0 … 4; its `nominal` is the consumption of a year in Wh."""
    name = HOUSEHOLDS[_checked(index, len(HOUSEHOLDS))]
    values = unpack(_content(), name)
    return Profile(name, values, numerator=1, denominator=sum(values))


@cache
def solar(index: int) -> Profile:
    """The profile of a solar roof, 0 … 7; its `nominal` is the peak power in W."""
    name = SOLAR_SYSTEMS[_checked(index, len(SOLAR_SYSTEMS))]
    denominator = RESOLUTION * _SAMPLES_PER_HOUR * _SOLAR_SCALE[1]
    return Profile(name, unpack(_content(), name), numerator=_SOLAR_SCALE[0], denominator=denominator)


@dataclass(frozen=True, slots=True)
class House:
    """Who lives behind a connection: the household, its year's consumption, the roof (if any), and where time starts.

    `start_sample` is the sample that is the house's first: 96 · day + 4 · hour.
    """

    household: int
    yearly_kwh: int
    solar: int | None = None
    peak_watt: int = 0
    start_sample: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError with what is wrong: houses come from configuration."""
        _checked(self.household, len(HOUSEHOLDS))
        if self.solar is not None:
            _checked(self.solar, len(SOLAR_SYSTEMS))
        if not 0 < self.yearly_kwh <= MAX_YEARLY_KWH:
            raise ValueError(f"yearly_kwh must be 1 … {MAX_YEARLY_KWH}, not {self.yearly_kwh}")
        if not 0 <= self.peak_watt <= MAX_PEAK_WATT:
            raise ValueError(f"peak_watt must be 0 … {MAX_PEAK_WATT}, not {self.peak_watt}")
        if (self.solar is None) != (self.peak_watt == 0):
            raise ValueError("a house has both a solar profile and a peak_watt, or neither")
        if not 0 <= self.start_sample < SAMPLES_PER_YEAR:
            raise ValueError(f"start_sample must be 0 … {SAMPLES_PER_YEAR - 1}, not {self.start_sample}")

    def consumption_wh(self, samples: int) -> int:
        """Wh consumed in the house's first `samples` quarter hours."""
        end = self.start_sample + samples
        return household(self.household).total_wh(self.start_sample, end, self.yearly_kwh * 1000)

    def production_wh(self, samples: int) -> int:
        """Wh produced on the roof in the house's first `samples` quarter hours."""
        if self.solar is None:
            return 0
        return solar(self.solar).total_wh(self.start_sample, self.start_sample + samples, self.peak_watt)


class Registers(NamedTuple):
    """What a connection meter shows: cumulative Wh drawn from and fed into the grid."""

    import_wh: int
    export_wh: int


class ConnectionMeter:
    """The registers of a house's connection. Making one takes some 20 ms, asking it a microsecond."""

    __slots__ = ("_denominator", "_exported", "_imported", "_start")

    def __init__(self, house: House) -> None:
        load = household(house.household)
        load_numerator, load_denominator = load.scaled(house.yearly_kwh * 1000)
        if house.solar is None:
            surplus = [-value * load_numerator for value in load.values]
            self._denominator = load_denominator
        else:
            roof = solar(house.solar)
            roof_numerator, roof_denominator = roof.scaled(house.peak_watt)
            drawn, fed = load_numerator * roof_denominator, roof_numerator * load_denominator
            surplus = [fed * out - drawn * used for out, used in zip(roof.values, load.values, strict=True)]
            self._denominator = load_denominator * roof_denominator
        # Exact sums, in units of 1/denominator Wh, from the year's first sample.
        self._imported = list(accumulate((max(0, -energy) for energy in surplus), initial=0))
        self._exported = list(accumulate((max(0, energy) for energy in surplus), initial=0))
        self._start = house.start_sample

    def registers(self, samples: int) -> Registers:
        """The registers after the house's first `samples` quarter hours; both are 0 after none."""
        assert samples >= 0
        return Registers(self._since_start(self._imported, samples), self._since_start(self._exported, samples))

    def _since_start(self, sums: list[int], samples: int) -> int:
        years, sample = divmod(self._start + samples, SAMPLES_PER_YEAR)
        return (years * sums[-1] + sums[sample] - sums[self._start]) // self._denominator


def _checked(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise ValueError(f"there are the profiles 0 … {count - 1}, not {index}")
    return index


@cache
def _content() -> bytes:
    return files("home.profiles").joinpath("quarter_hours.bin").read_bytes()

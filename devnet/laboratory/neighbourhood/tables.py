"""A run as tables: ``homes.csv``, ``days.csv`` and ``periods.csv``. Energies in Wh, money in WATT, prices per kWh."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from devnet.laboratory.neighbourhood.figures import UWATT_PER_WATT, Figures, PeriodFigures
from devnet.laboratory.neighbourhood.founding import YEAR_BEGINS_MS
from home.profiles.archive import SAMPLES_PER_DAY

LOCAL: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Day:
    """What became of the energy that the homes did not use themselves; Wh. ``traded_wh`` as far as it was produced and
    used, ``shared_wh`` through the pool, the rest from and to the utility; ``price`` the mean of the trades.
    """

    own_wh: int
    traded_wh: int
    shared_wh: int
    bought_from_utility_wh: int
    sold_to_utility_wh: int
    poolable_wh: int
    price: int | None


def days_of(figures: Figures) -> list[Day]:
    """One row for each day of the run."""
    own = figures.own_use_wh
    return [
        _day(figures.periods[first : first + SAMPLES_PER_DAY], sum(own[first : first + SAMPLES_PER_DAY]))
        for first in range(0, len(figures.periods), SAMPLES_PER_DAY)
    ]


def local_time(figures: Figures, index: int) -> datetime:
    """When the run's period of that number begins, in the homes' winter time."""
    begin = datetime.fromtimestamp(YEAR_BEGINS_MS / 1_000, UTC) + LOCAL
    day, quarter = divmod(index, SAMPLES_PER_DAY)
    return begin + timedelta(days=figures.setting.first_day + day, minutes=15 * quarter)


def write_csv(figures: Figures, directory: Path) -> None:
    """Writes the three tables into the directory, which is made. Errors: OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, header, rows in (
        ("homes.csv", _HOME_HEADER, _home_rows(figures)),
        ("days.csv", _DAY_HEADER, _day_rows(figures)),
        ("periods.csv", _PERIOD_HEADER, _period_rows(figures)),
    ):
        with (directory / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)


_HOME_HEADER: Final = (
    *("home", "load_wh", "production_wh", "import_wh", "export_wh"),
    *("utility_alone_watt", "bill_watt", "transaction_fees_watt", "saving_watt", "earned_fees_watt"),
)
_DAY_HEADER: Final = (
    *("day", "own_use_wh", "traded_wh", "shared_wh", "bought_from_utility_wh", "sold_to_utility_wh"),
    *("poolable_wh", "mean_price_watt"),
)
_PERIOD_HEADER: Final = (
    *("begins", "export_wh", "import_wh", "trade_wh", "pool_wh", "excess_wh", "shortfall_wh"),
    *("fed_in_wh", "drawn_wh", "certified_wh", "price_watt"),
)


def _home_rows(figures: Figures) -> Iterator[Sequence[str | int]]:
    for home in figures.homes:
        money = (home.utility_uwatt, home.bill_uwatt, home.fees_uwatt, home.saving_uwatt, home.earned_uwatt)
        yield (
            *(home.name, home.load_wh, home.production_wh, home.import_wh, home.export_wh),
            *(_watt(amount) for amount in money),
        )


def _day_rows(figures: Figures) -> Iterator[Sequence[str | int]]:
    for number, day in enumerate(days_of(figures)):
        yield (
            *(f"{local_time(figures, number * SAMPLES_PER_DAY):%Y-%m-%d}", day.own_wh, day.traded_wh, day.shared_wh),
            *(day.bought_from_utility_wh, day.sold_to_utility_wh, day.poolable_wh, _watt(day.price)),
        )


def _period_rows(figures: Figures) -> Iterator[Sequence[str | int]]:
    for index, one in enumerate(figures.periods):
        yield (
            *(f"{local_time(figures, index):%Y-%m-%d %H:%M}", one.export_wh, one.import_wh, one.trade_wh, one.pool_wh),
            *(one.excess_wh, one.shortfall_wh, one.fed_in_wh, one.drawn_wh, one.certified_wh, _watt(one.price)),
        )


def _day(periods: Sequence[PeriodFigures], own_wh: int) -> Day:
    shared_wh = sum(one.pool_wh for one in periods)
    traded_wh = sum(one.certified_wh for one in periods) - shared_wh
    bought_wh = sum(one.trade_wh for one in periods)
    value = sum(one.price * one.trade_wh for one in periods if one.price is not None)
    return Day(
        own_wh=own_wh,
        traded_wh=traded_wh,
        shared_wh=shared_wh,
        bought_from_utility_wh=sum(one.import_wh for one in periods) - traded_wh - shared_wh,
        sold_to_utility_wh=sum(one.export_wh for one in periods) - traded_wh - shared_wh,
        poolable_wh=sum(one.poolable_wh for one in periods),
        price=value // bought_wh if bought_wh else None,
    )


def _watt(amount_uwatt: int | None) -> str:
    return "" if amount_uwatt is None else f"{amount_uwatt / UWATT_PER_WATT:.6f}"

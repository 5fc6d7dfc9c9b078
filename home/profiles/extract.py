"""Makes `quarter_hours.bin` from the package `simbench`: `python -m home.profiles.extract WHEEL [OUTPUT]`.

WHEEL is what `pip download --no-deps simbench==1.6.3` brings. OUTPUT is by default the file beside this program. Only
the columns of `home.profiles.series` are taken; what else was done to them stands in ATTRIBUTION.md.
"""

import argparse
import csv
import io
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from home.profiles.archive import RESOLUTION, SAMPLES_PER_YEAR, pack
from home.profiles.series import HOUSEHOLDS, SOLAR_SYSTEMS

SCENARIO: Final = "simbench/networks/1-complete_data-mixed-all-0-sw"
FIRST_SAMPLE: Final = "01.01.2016 00:00"
SOURCE: Final = "SimBench (www.simbench.net), Python package simbench 1.6.3, scenario 1-complete_data-mixed-all-0-sw"
LICENCE: Final = "Open Database License 1.0 (opendatacommons.org/licenses/odbl/1.0), see ATTRIBUTION.md"


class UnexpectedSource(Exception):
    """The wheel does not hold what this program was written for."""


def extract(wheel: Path) -> bytes:
    """The bytes of `quarter_hours.bin`. Errors: UnexpectedSource."""
    with zipfile.ZipFile(wheel) as archive:
        loads = _columns(archive, "LoadProfile.csv", [f"{name}_pload" for name in HOUSEHOLDS])
        roofs = _columns(archive, "RESProfile.csv", list(SOLAR_SYSTEMS))
    names = (*HOUSEHOLDS, *SOLAR_SYSTEMS)
    return pack(dict(zip(names, (*loads, *roofs), strict=True)), SOURCE, LICENCE, FIRST_SAMPLE)


def _columns(archive: zipfile.ZipFile, table: str, names: Sequence[str]) -> list[list[int]]:
    path = f"{SCENARIO}/{table}"
    if path not in archive.namelist():
        raise UnexpectedSource(f"there is no {path}; this program reads simbench 1.6.3")
    with archive.open(path) as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8"), delimiter=";")
        header = next(rows, [])
        missing = [name for name in ("time", *names) if name not in header]
        if missing:
            raise UnexpectedSource(f"{table} has no column {', '.join(missing)}")
        time, places = header.index("time"), [header.index(name) for name in names]
        columns: list[list[int]] = [[] for _ in names]
        for number, row in enumerate(rows):
            if number == 0 and row[time] != FIRST_SAMPLE:
                raise UnexpectedSource(f"{table} begins at {row[time]}, not at {FIRST_SAMPLE}")
            for column, place in zip(columns, places, strict=True):
                column.append(_ten_thousandths(row[place], table))
    if len(columns[0]) != SAMPLES_PER_YEAR:
        raise UnexpectedSource(f"{table} has {len(columns[0])} samples instead of {SAMPLES_PER_YEAR}")
    return columns


def _ten_thousandths(text: str, table: str) -> int:
    value = round(float(text) * RESOLUTION)
    if not 0 <= value <= RESOLUTION:
        raise UnexpectedSource(f"{table} holds {text}, which is not between 0 and 1")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description="Extract the household and solar profiles from a simbench wheel.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=Path(__file__).with_name("quarter_hours.bin"))
    arguments = parser.parse_args()
    content = extract(arguments.wheel)
    arguments.output.write_bytes(content)
    sys.stdout.write(f"{arguments.output}: {len(content)} bytes\n")


if __name__ == "__main__":
    main()

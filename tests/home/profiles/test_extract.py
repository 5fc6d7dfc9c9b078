"""The extraction, on a small copy of the source made here, and what it refuses."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from home.profiles.archive import SAMPLES_PER_YEAR, unpack
from home.profiles.extract import FIRST_SAMPLE, SCENARIO, UnexpectedSource, extract
from home.profiles.series import HOUSEHOLDS, SOLAR_SYSTEMS

Table = list[list[str]]


def table(names: list[str], value: Callable[[int, int], float]) -> Table:
    header = ["time", *names]
    rows = [
        [FIRST_SAMPLE if sample == 0 else "later", *(str(value(sample, column)) for column in range(len(names)))]
        for sample in range(SAMPLES_PER_YEAR)
    ]
    return [header, *rows]


def wheel(path: Path, tables: dict[str, Table]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, rows in tables.items():
            text = io.StringIO()
            text.writelines(";".join(row) + "\r\n" for row in rows)
            archive.writestr(f"{SCENARIO}/{name}", text.getvalue())
    return path


@pytest.fixture
def tables() -> dict[str, Table]:
    loads = [f"{name}_{part}" for name in HOUSEHOLDS for part in ("qload", "pload")]
    return {
        "LoadProfile.csv": table(
            loads, lambda sample, column: -0.5 if column % 2 == 0 else (sample % 7 + column) / 100
        ),
        "RESProfile.csv": table(["WP1", *SOLAR_SYSTEMS], lambda sample, column: (sample % 5) * column / 50),
    }


def test_the_columns_are_taken_by_name_and_rounded(tmp_path: Path, tables: dict[str, Table]) -> None:
    # Given tables with other columns between those that are wanted
    tables["RESProfile.csv"][1][2] = "0.12344999"
    tables["RESProfile.csv"][2][2] = "0.12345001"
    # When extracted
    content = extract(wheel(tmp_path / "simbench.whl", tables))
    # Then each column holds its own values in ten-thousandths
    assert unpack(content, "H0-C")[:3].tolist() == [500, 600, 700]
    assert unpack(content, "PV8")[:3].tolist() == [0, 1600, 3200]
    assert unpack(content, "PV1")[:2].tolist() == [1234, 1235]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda tables: tables.pop("RESProfile.csv"), "RESProfile"),
        (lambda tables: tables["LoadProfile.csv"].pop(), "35135 samples"),
        (lambda tables: tables["LoadProfile.csv"][0].__setitem__(2, "H1"), "no column H0-A_pload"),
        (lambda tables: tables["LoadProfile.csv"][1].__setitem__(0, "01.01.2017 00:00"), "begins at"),
        (lambda tables: tables["LoadProfile.csv"][9].__setitem__(2, "1.1"), "between 0 and 1"),
        (lambda tables: tables["LoadProfile.csv"][9].__setitem__(2, "-0.01"), "between 0 and 1"),
    ],
)
def test_a_source_of_another_form_is_refused(
    tmp_path: Path, tables: dict[str, Table], damage: Callable[[dict[str, Table]], object], says: str
) -> None:
    damage(tables)
    with pytest.raises(UnexpectedSource, match=says):
        extract(wheel(tmp_path / "simbench.whl", tables))

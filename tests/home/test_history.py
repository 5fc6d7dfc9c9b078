"""The house's own history: kept through restarts, bounded, and never an obstacle."""

from __future__ import annotations

from pathlib import Path

from home.autopilot import Measured
from home.history import HISTORY_NAME, History, Registers


def test_what_was_measured_is_the_difference_of_neighbouring_periods(tmp_path: Path) -> None:
    history = History(tmp_path, 10)
    # Given registers with one period missing
    for row in (Registers(5, 100, 0), Registers(6, 130, 5), Registers(8, 200, 50), Registers(9, 200, 90)):
        history.add(row)
    # Then only periods whose predecessor is known are measured, also after a restart
    expected = (Measured(6, 30, 5), Measured(9, 0, 40))
    assert history.measured() == History(tmp_path, 10).measured() == expected
    assert history.last_period == 9


def test_what_comes_again_is_left_out(tmp_path: Path) -> None:
    history = History(tmp_path, 10)
    for row in (Registers(5, 100, 0), Registers(6, 130, 5), Registers(6, 999, 999), Registers(5, 1, 1)):
        history.add(row)
    assert history.measured() == (Measured(6, 30, 5),)


def test_only_so_much_is_kept_and_the_file_stays_small(tmp_path: Path) -> None:
    history = History(tmp_path, 10)
    for period in range(1_000):
        history.add(Registers(period, 7 * period, 0))
    assert [one.period for one in history.measured()] == list(range(990, 1_000))
    assert len((tmp_path / HISTORY_NAME).read_text().splitlines()) <= 22
    assert History(tmp_path, 10).measured() == history.measured()


def test_a_line_that_is_none_is_left_out(tmp_path: Path) -> None:
    (tmp_path / HISTORY_NAME).write_bytes(b"5 100 0\nrubbish\n\xff\xfe 1 2\n6 130 -5\n6 130 5\n7 1")
    history = History(tmp_path, 10)
    assert history.measured() == (Measured(6, 30, 5),)


def test_a_register_that_was_exchanged_is_no_consumption(tmp_path: Path) -> None:
    history = History(tmp_path, 10)
    for row in (Registers(5, 100, 0), Registers(6, 3, 0), Registers(7, 9, 1)):
        history.add(row)
    assert history.measured() == (Measured(7, 6, 1),)

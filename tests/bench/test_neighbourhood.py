from __future__ import annotations

from dataclasses import replace

from bench import neighbourhood
from bench.neighbourhood import COLUMNS, missed_goals, row
from devnet.laboratory.neighbourhood.setting import Setting
from devnet.laboratory.neighbourhood.world import run

FIGURES = run(Setting(homes=3, pv=1, days=1))


def test_a_run_is_a_row_of_the_table() -> None:
    cells = row("a day", FIGURES)
    assert len(cells) == len(COLUMNS)
    assert cells[0] == "a day"
    assert cells[-2] == FIGURES.transactions["place_order"]


def test_a_small_run_meets_the_goals_and_what_is_missed_is_named() -> None:
    assert missed_goals(FIGURES) == []
    dear = replace(FIGURES.homes[0], fees_uwatt=10**9)
    spoiled = replace(FIGURES, homes=(dear, *FIGURES.homes[1:]), conservation=3, cpu_seconds=99.0, periods=())
    assert [what.split()[0] for what in missed_goals(spoiled)] == ["3", "a", "a"]
    idle = replace(FIGURES, periods=tuple(replace(one, certified_wh=0) for one in FIGURES.periods))
    assert missed_goals(idle) == ["0.0% of what perfect pooling brings, less than 95%"]


def test_the_runs_are_seasons_and_ways_to_share() -> None:
    names = [name for name, _ in neighbourhood.RUNS]
    assert len(set(names)) == len(names)
    assert neighbourhood.RUNS[0] == (neighbourhood.DEFAULT, Setting())

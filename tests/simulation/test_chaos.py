"""The real node's parts under faults and enemies: no fork, no false certificate, no honest home to convict, nothing
accepted and lost, and progress.

Every run is a seed; what fails prints the setting that replays it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from devnet.laboratory.chaos.byzantine import BEHAVIOURS
from devnet.laboratory.chaos.faults import Report
from devnet.laboratory.chaos.setting import Setting
from devnet.laboratory.chaos.world import World
from tests.simulation.calm import CALM

BUSY = Setting(homes=4, days=0.02, interval_ms=15_000, storminess=0.3)


def run(setting: Setting) -> Report:
    report = World(setting).run()
    assert report.fault is None, f"{setting}: {report.fault}"
    return report


@pytest.mark.parametrize(
    ("homes", "interval_ms", "days", "seeds"),
    [
        (4, 600_000, 0.4, range(4)),
        (4, 15_000, 0.025, range(4, 8)),
        (7, 60_000, 0.03, range(2)),
        (13, 60_000, 0.015, range(1)),
    ],
    ids=lambda value: f"{value.start}-{value.stop}" if isinstance(value, range) else str(value),
)
def test_homes_agree_and_go_on_after_healing(homes: int, interval_ms: int, days: float, seeds: Iterable[int]) -> None:
    setting = Setting(homes=homes, days=days, interval_ms=interval_ms, storminess=0.3)
    reports = [run(replace(setting, seed=seed)) for seed in seeds]
    # Then every run made blocks, and the faults were real
    assert all(report.heights >= 15 for report in reports)
    assert sum(report.crashes for report in reports) >= 10 * len(reports)
    assert sum(report.partitions for report in reports) >= 3 * len(reports)
    assert all(report.longest_gap_ms < 60_000 for report in reports)


@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
def test_no_single_behaviour_harms_them(behaviour: str) -> None:
    report = run(replace(BUSY, homes=7, seed=1, style=behaviour, days=0.01))
    assert report.heights >= 20


@pytest.mark.parametrize("behaviour", ["Equivocator", "DoubleVoter", "Nullifier", "Chameleon"])
def test_who_equivocates_is_reported_expelled_and_back_for_more(behaviour: str) -> None:
    report = run(replace(BUSY, homes=7, seed=2, style=behaviour, days=0.03))
    assert report.equivocations > 0
    assert report.expulsions >= 2


def test_in_calm_weather_blocks_are_final_in_view_0_within_half_a_second() -> None:
    world = World(replace(CALM, seed=3, days=0.005))
    report = world.run()
    assert report.fault is None
    assert report.heights >= 60
    assert sorted(report.finality_ms)[len(report.finality_ms) // 2] < 500
    assert report.highest_view == 0
    assert report.messages / report.heights <= 75


def test_a_seed_replays_exactly() -> None:
    def history(seed: int) -> tuple[dict[int, bytes], int, list[tuple[int, int]], list[int]]:
        world = World(replace(BUSY, homes=7, seed=seed))
        report = world.run()
        return world.checker.final, report.messages, report.weather, report.finality_ms

    assert history(5) == history(5)
    assert history(5) != history(6)


def test_a_home_that_lost_its_journal_is_silent_and_convicts_itself_never() -> None:
    # Given a home that loses its journal in every storm, among others that are honest
    for seed in range(3):
        world = World(replace(BUSY, homes=7, enemies=False, seed=seed))
        victim = world.homes[seed]

        def lose(world: World = world, number: int = seed) -> None:
            home = world.homes[number]
            if home.up and world.weather.storming:
                home.crash()
                home.disk.lose_journal()

        for at_ms in range(30_000, world.last_storm_ms, 70_000):
            world.at(at_ms, lose)
        # When it runs, then it follows without voting for a while, votes again, and never contradicts itself
        report = world.run()
        assert report.fault is None, report.fault
        assert report.crashes > 0
        assert victim.engine.is_voting

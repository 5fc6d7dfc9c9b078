"""The real engine under faults and enemies: no fork, no false certificate, no honest home to convict, and progress.

Every run is a seed; what fails prints the setting that replays it. Broken engines must be caught, or the enemies here
are too weak.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from consensus.engine import Engine, JournalContents
from tests.simulation import mutants
from tests.simulation.adversary import BEHAVIOURS
from tests.simulation.checker import Violation
from tests.simulation.home import Home
from tests.simulation.world import Setting, Stuck, World


class TestHonestEngines:
    @pytest.mark.parametrize(
        ("homes", "seeds"),
        [(4, range(12)), (4, range(12, 24)), (7, range(8)), (13, range(4))],
        ids=lambda value: f"{value.start}-{value.stop}" if isinstance(value, range) else f"{value} homes",
    )
    def test_they_agree_and_go_on_after_healing(self, homes: int, seeds: Iterable[int]) -> None:
        reports = [World(Setting(homes=homes, seed=seed)).run() for seed in seeds]
        # Then every run made blocks, and the faults were real
        assert all(report.heights >= 20 for report in reports)
        assert sum(report.crashes for report in reports) >= 10 * len(reports)
        assert sum(report.partitions for report in reports) >= 2 * len(reports)

    @pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
    def test_no_single_behaviour_harms_them(self, behaviour: str) -> None:
        report = World(Setting(homes=7, seed=1, style=behaviour)).run()
        assert report.heights >= 20

    @pytest.mark.parametrize("behaviour", ["Equivocator", "DoubleVoter", "Nullifier"])
    def test_equivocation_is_seen_and_named(self, behaviour: str) -> None:
        assert World(Setting(homes=7, seed=2, style=behaviour)).run().evidence > 0

    def test_in_calm_weather_blocks_are_final_in_view_0_within_half_a_second(self) -> None:
        world = World(Setting(homes=4, seed=3, equal=True, byzantine=False, faults=False, skew_ms=0))
        world.slow_work_ms = world.disk_ms = 0
        report = world.run()
        assert report.heights >= 60
        assert sorted(report.finality_ms)[len(report.finality_ms) // 2] < 500
        assert {block.header.view for block, _, _ in world.homes[0].disk.chain} == {0}
        assert report.messages / report.heights <= 70

    def test_a_seed_replays_exactly(self) -> None:
        def story(seed: int) -> tuple[dict[int, bytes], dict[int, list[int]], int]:
            world = World(Setting(homes=7, seed=seed, end_ms=200_000))
            report = world.run()
            return world.checker.final, world.commits, report.messages

        assert story(5) == story(5)
        assert story(5) != story(6)


class _LostJournals(World):
    """Homes lose their journals in every crash, and abstain as the design says."""

    def load_journal(self, home: Home) -> JournalContents:
        for lost in (home.disk.votes, home.disk.certificates, home.disk.bodies, home.disk.proposals):
            lost.clear()
        return JournalContents()

    def make_engine(self, home: Home) -> Engine:
        engine = super().make_engine(home)
        if home.generation > 1:
            engine.abstain_until(max(other.disk.height for other in self.homes.values()) + 2)
        return engine


def test_a_home_that_lost_its_journal_abstains_and_convicts_itself_never() -> None:
    for seed in range(6):
        # Who abstains may be too many for a quorum: this is about safety, so nobody asks for progress
        world = _LostJournals(Setting(homes=4, seed=seed))
        try:
            world.run()
        except Stuck:
            continue


class TestBrokenEngines:
    @pytest.mark.parametrize(
        ("mutant", "homes", "style", "seeds"),
        [
            (mutants.FinalizeAfterNullify, 4, None, 3),
            (mutants.HalfQuorum, 7, "Equivocator", 8),
            (mutants.NoJournal, 4, None, 3),
            (mutants.NoVotesJournaled, 4, None, 4),
            (mutants.TwoNotarizeVotes, 4, "Equivocator", 4),
            (mutants.JustificationUnchecked, 7, "UnjustifiedLeader", 30),
        ],
    )
    def test_each_is_caught(self, mutant: type[World], homes: int, style: str | None, seeds: int) -> None:
        for seed in range(seeds):
            try:
                mutant(Setting(homes=homes, seed=seed, style=style)).run()
            except Violation:
                return
        pytest.fail(f"{mutant.__name__} was not noticed in {seeds} seeds")

    @pytest.mark.parametrize("mutant", [mutants.NoCertificatesJournaled, mutants.NoBodiesJournaled])
    def test_half_a_journal_stops_the_chain(self, mutant: type[World]) -> None:
        for seed in range(15):
            try:
                mutant(Setting(homes=4, seed=seed)).run()
            except (Violation, Stuck):
                return
        pytest.fail(f"{mutant.__name__} was not noticed")

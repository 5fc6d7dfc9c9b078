"""Storms and absences: which faults happen when.

1. A *storm* comes up a few seconds before a height opens, with the chance the setting says, and lasts 20 to 75 seconds.
   In it wires are slow and lossy, homes are cut off from each other in one or both directions, crash at any moment and
   at every point of writing, lose the journal, have no room on the disk or a clock that is seconds off. When it is over
   everything is healed and every home is up; in half of them all have restarted.
2. An *absence* takes one home away, for up to twenty heights if the others can go on without it, else for a minute.
3. Both have an id, the height before which they were drawn, and everything in them is drawn from a random stream of its
   own; so leaving one out changes no other.
4. Between storms there are at least 125 calm seconds, in which homes have to make progress (``progress``).
5. A journal is lost only where that leaves enough weight that votes: whoever lost its journal is silent for three
   heights, and is as good as an enemy meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from devnet.laboratory.chaos.disk import WritePoint
from devnet.laboratory.chaos.network import CALM, Link
from devnet.laboratory.chaos.progress import PROGRESS_MS
from devnet.laboratory.chaos.setting import FaultId
from p2p.simulated import Faults

if TYPE_CHECKING:
    from devnet.laboratory.chaos.home import Home
    from devnet.laboratory.chaos.world import World

BEFORE_OPENING_MS: Final = 3_000
STORM_MS: Final = (20_000, 75_000)
CALM_MS: Final = PROGRESS_MS + 5_000
DOWN_MS: Final = (200, 1_000, 5_000, 15_000)
ABSENCE_CHANCE: Final = 0.01
LONGEST_ABSENCE_HEIGHTS: Final = 20
ABSENCE: Final = 1_000_000
"""The number of an absence's id, apart from a storm's."""


class Weather:
    """See the module's rules."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.storming = False
        self.partitions = 0
        self.crashes = 0
        self.happened: list[FaultId] = []
        self.bands: list[tuple[str, int, int, int]] = []
        """(what, home or −1, from ms, to ms) for pictures."""
        self._absent: set[int] = set()
        self._healed_at_ms = -CALM_MS
        self._storm_ends_ms = 0
        self._last_drawn = 0

    @property
    def is_calm(self) -> bool:
        return not self.storming and not self._absent

    def opening(self, height: int, opens_at_ms: int) -> None:
        """A height is known to open at that time, or has opened: what is drawn for it?"""
        world, setting = self.world, self.world.setting
        if height <= self._last_drawn or not setting.storminess or opens_at_ms >= world.last_storm_ms:
            return
        self._last_drawn = height
        draw = Random(f"{world.name}/weather/{height}")  # noqa: S311 - reproducible on purpose
        starts_ms = max(opens_at_ms - draw.randint(0, BEFORE_OPENING_MS), self._healed_at_ms + CALM_MS)
        near = starts_ms <= opens_at_ms + 1_000
        if draw.random() < setting.storminess and near and not self.storming:
            if (height, 0) not in setting.skipped:
                world.at(starts_ms, lambda: self._begin(height, draw))
        elif draw.random() < ABSENCE_CHANCE and not setting.still and (height, ABSENCE) not in setting.skipped:
            world.at(starts_ms, lambda: self._leave(height, draw))

    # Storms

    def _begin(self, height: int, draw: Random) -> None:
        world = self.world
        if self.storming:
            return
        self.storming = True
        world.progress.disturbed()
        self.happened.append((height, 0))
        length_ms = draw.randint(*STORM_MS)
        self._storm_ends_ms = ends_ms = world.now_ms + length_ms
        world.note(f"a storm comes up, for {length_ms // 1000} s")
        self.bands.append(("storm", -1, world.now_ms, ends_ms))
        world.at(ends_ms, self._heal)
        if world.setting.still:
            return
        world.network.set_faults(
            Faults(
                delay_min_s=0.01,
                delay_max_s=draw.choice((0.3, 1.0, 3.0)),
                loss=draw.choice((0.0, 0.05, 0.2, 0.35)),
                duplication=draw.choice((0.0, 0.1)),
                reordering=draw.choice((0.0, 0.02)),
            )
        )
        world.disk_ms = draw.choice((0, 0, 10, 80))
        world.slow_work_ms = draw.choice((0, 20, 400))
        for number, plan in enumerate(self._faults(draw, length_ms), 1):
            if (height, number) not in world.setting.skipped:
                self.happened.append((height, number))
                plan()

    def _faults(self, draw: Random, length_ms: int) -> list[Callable[[], None]]:
        """What is to happen in a storm that lasts so long: each call plans one thing."""
        now_ms = self.world.now_ms
        plans: list[Callable[[], None]] = []

        def plan(at_ms: int, happen: Callable[[], None]) -> None:
            plans.append(lambda: self.world.at(at_ms, lambda: happen() if self.storming else None))

        at_ms = now_ms + draw.randint(0, 10_000)
        while at_ms < now_ms + length_ms - 2_000:
            plan(at_ms, self._partition(draw))
            at_ms += draw.randint(4_000, 30_000)
        at_ms = now_ms + draw.randint(500, 6_000)
        while at_ms < now_ms + length_ms - 1_000:
            plan(at_ms, self._break(draw))
            at_ms += draw.randint(1_000, 9_000)
        for chance, fault in ((0.15, self._fill_disk), (0.15, self._turn_clock), (0.15, self._lose_journal)):
            if draw.random() < chance:
                plan(now_ms + draw.randint(0, length_ms // 2), fault(draw))
        return plans

    def _partition(self, draw: Random) -> Callable[[], None]:
        homes = sorted(self.world.homes)
        groups = {home: draw.randrange(draw.choice((2, 2, 3))) for home in homes}
        one_way = draw.random() < 0.3
        lasts_ms = draw.randint(2_000, 25_000)
        if len(set(groups.values())) == 1:
            groups[draw.choice(homes)] = 3

        def happen() -> None:
            links = {
                (one, other)
                for one in homes
                for other in homes
                if (groups[one] < groups[other] if one_way else groups[one] != groups[other])
            }
            sides = " | ".join(
                " ".join(str(home) for home in homes if groups[home] == group) for group in sorted(set(groups.values()))
            )
            self._cut(links, lasts_ms, f"homes are cut off from each other{' one way' * one_way}: {sides}")

        return happen

    def _cut(self, links: set[Link], lasts_ms: int, words: str) -> None:
        world = self.world
        self.partitions += 1
        world.note(f"{words}, for {lasts_ms / 1000:.0f} s")
        world.network.mend()
        world.network.cut(links)
        token = self.partitions
        until_ms = min(world.now_ms + lasts_ms, self._storm_ends_ms)
        self.bands.append(("partition", -1, world.now_ms, until_ms))
        world.at(until_ms, lambda: world.network.mend() if self.partitions == token else None)

    def _break(self, draw: Random) -> Callable[[], None]:
        street = draw.random() < 0.08
        victim = draw.choice(sorted(self.world.homes))
        point = draw.choice((None, *WritePoint)) if draw.random() < 0.9 else None
        lived = draw.choice((0, 0, 1, 2, 3))

        def happen() -> None:
            for home in self.world.homes.values() if street else [self.world.homes[victim]]:
                if not home.up:
                    continue
                if point is None:
                    self.world.note(f"home {home.number} goes dark")
                    home.crash()
                elif point is WritePoint.AFTER_JOURNAL and lived:
                    home.dies_after = lived
                else:
                    home.disk.armed = point

        return happen

    def _fill_disk(self, draw: Random) -> Callable[[], None]:
        home = self.world.homes[draw.choice(sorted(self.world.homes))]

        def happen() -> None:
            self.world.note(f"the disk of home {home.number} is full")
            home.disk.is_full = True

        return happen

    def _turn_clock(self, draw: Random) -> Callable[[], None]:
        home = self.world.homes[draw.choice(sorted(self.world.homes))]
        by_ms = draw.choice((-8_000, -2_000, 2_000, 8_000))

        def happen() -> None:
            self.world.note(f"the clock of home {home.number} is off by {by_ms} ms")
            home.skew_ms += by_ms

        return happen

    def _lose_journal(self, draw: Random) -> Callable[[], None]:
        home = self.world.homes[draw.choice(sorted(self.world.homes))]

        def happen() -> None:
            if home.up and self.world.can_do_without(home):
                self.world.note(f"home {home.number} goes dark and has lost its journal when it comes back")
                home.crash()
                home.disk.lose_journal()

        return happen

    def _heal(self) -> None:
        world = self.world
        self.storming = False
        world.note("the storm is over")
        self._mend()
        storm = world.random.random() < 0.5 and not world.setting.still
        for home in world.homes.values():
            home.disk.disarm()
            home.dies_after = None
            home.disk.is_full = False
            home.skew_ms = home.usual_skew_ms
            if home.up and storm and home.number not in self._absent:
                home.crash()
        for home in world.homes.values():
            if not home.up and home.number not in self._absent:
                home.boot()
        self._healed_at_ms = world.now_ms
        if self.is_calm:
            world.progress.healed()

    def _mend(self) -> None:
        self.world.network.mend()
        self.world.network.set_faults(CALM)
        self.world.disk_ms = self.world.slow_work_ms = 0

    # Absences

    def _leave(self, height: int, draw: Random) -> None:
        world = self.world
        home = world.homes[draw.choice(sorted(world.homes))]
        heights = draw.randint(1, LONGEST_ABSENCE_HEIGHTS)
        if self._absent or not home.up or self.storming:
            return
        self.happened.append((height, ABSENCE))
        self._absent.add(home.number)
        world.progress.disturbed()
        home.crash()
        away_ms = heights * world.setting.interval_ms if world.can_do_without(home) else draw.randint(*STORM_MS)
        back_ms = min(world.now_ms + away_ms, world.last_storm_ms)
        world.note(f"home {home.number} goes away for {(back_ms - world.now_ms) // 1000} s")
        self.bands.append(("absent", home.number, world.now_ms, back_ms))
        world.at(back_ms, lambda: self._return(home))

    def _return(self, home: Home) -> None:
        self._absent.discard(home.number)
        if not home.up:
            home.boot()
        if self.is_calm:
            self.world.progress.healed()

    # What happens to homes

    def crashed(self, home: Home) -> None:
        """A home has gone dark; it comes back by itself."""
        self.crashes += 1
        generation = home.generation
        world = self.world
        down_ms = world.random.choice(DOWN_MS)
        self.bands.append(("dark", home.number, world.now_ms, world.now_ms + down_ms))

        def boot() -> None:
            if not home.up and home.generation == generation and home.number not in self._absent:
                home.boot()

        world.at(world.now_ms + down_ms, boot)

    def darken_street(self) -> None:
        self.world.note("the whole street goes dark")
        for home in self.world.homes.values():
            if home.up:
                home.crash()

    # What enemies can do to it, in a storm

    def mute(self, home: int, lasts_ms: int) -> None:
        """Nobody hears this home for a while."""
        if self.storming and not any(self.world.network.is_cut(home, other) for other in self.world.homes):
            links = {(home, other) for other in self.world.homes if other != home}
            self._cut(links, lasts_ms, f"nobody hears home {home}")

    def fuse(self, home: int) -> None:
        """The street goes dark as soon as this home has written down a finalize vote."""
        if self.storming:
            self.world.homes[home].disk.has_fuse = True

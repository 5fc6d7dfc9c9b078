"""A neighbourhood in virtual time: honest homes around the real engine, byzantine ones around one mind, and faults.

Everything is drawn from one seeded generator and all times are whole milliseconds, so a seed replays exactly. Faults
(loss, duplication, partitions also one-way, crashes, slow messages) last until ``heal_ms``; after that messages take
20 to 250 ms and one in a hundred is lost, and every honest home that sits in the committee must make progress.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from consensus.block import Block
from consensus.engine import Engine, JournalContents
from consensus.messages import Message
from consensus.verifier import Signer
from tests.simulation.adversary import Adversary
from tests.simulation.chain import ChainFacts, body_is_bound, node_key_of
from tests.simulation.checker import Checker
from tests.simulation.home import Home
from tests.simulation.signatures import StubSigner, StubVerifier

PROGRESS_MS = 120_000
"""After healing no honest home may be without a new block for longer."""


class Stuck(AssertionError):
    """After healing an honest home made no progress."""


@dataclass(frozen=True)
class Setting:
    """One run: how many homes, which faults, how long."""

    homes: int = 4
    seed: int = 0
    equal: bool = False
    byzantine: bool = True
    faults: bool = True
    heal_ms: int = 150_000
    end_ms: int = 330_000
    skew_ms: int = 500
    style: str | None = None  # the name of one adversary; None draws one
    offline: int = 0
    after_loss: float = 0.01


@dataclass
class Report:
    heights: int = 0
    crashes: int = 0
    messages: int = 0
    partitions: int = 0
    finality_ms: list[int] = field(default_factory=list)  # in calm times: from the opening to the commit, per home
    evidence: int = 0
    views: int = 0  # the highest view anyone was in
    longest_gap_ms: int = 0


class World:
    engine_type: type[Engine] = Engine
    chain_type: type[ChainFacts] = ChainFacts
    overwrites = False  # disks let a vote be overwritten, which storage never does

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.name = f"{type(self).__name__} {setting}"
        self.rng = rng = random.Random(f"{setting.homes}/{setting.seed}")
        self.now_ms = 0
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self.verifier = StubVerifier()
        suspend = rng.random() < 0.5
        self.chain = self.chain_type(
            setting.homes, rng, equal=setting.equal, byzantine=setting.byzantine, suspend=suspend
        )
        honest = [home for home in range(setting.homes) if home not in self.chain.byzantine]
        self.offline = frozenset(rng.sample(honest, setting.offline))
        self.homes = {number: Home(self, number) for number in honest if number not in self.offline}
        self.homes_by_key = {home.node_key: home for home in self.homes.values()}
        self._numbers = {node_key_of(number): number for number in range(setting.homes)}
        self.checker = Checker(self)
        self.report = Report()
        self.heal_ms = setting.heal_ms if setting.faults else 0
        self.loss = rng.choice((0, 0.05, 0.2, 0.35))
        self.duplication = rng.choice((0, 0.1))
        self.slowest_ms = rng.choice((300, 1_000, 3_000))
        self.disk_ms = rng.choice((0, 0, 10, 80))
        self.slow_work_ms = rng.choice((0, 20, 400))
        self.cut: set[tuple[int, int]] = set()
        self.extra_ms: dict[int, int] = {}  # sender → what its messages take longer
        self.commits: dict[int, list[int]] = {number: [] for number in self.homes}
        self.adversary = Adversary(self, setting.style)

    # Time

    def at(self, at_ms: int, call: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(at_ms, self.now_ms), self._count, call))

    def run(self) -> Report:
        """Raises Violation or Stuck; both name the setting, which replays it."""
        rng = self.rng
        for home in self.homes.values():
            home.skew_ms = rng.randint(-self.setting.skew_ms, self.setting.skew_ms)
            home.boot()
        self.adversary.begin()
        if self.setting.faults:
            self.at(rng.randint(5_000, 30_000), self._partition)
            self.at(rng.randint(3_000, 15_000), self._break_one)
            self.at(self.heal_ms, self._heal)
        self.run_until(self.setting.end_ms)
        self._check_progress()
        self.report.heights = max(self.checker.final)
        self.report.evidence = len(self.checker.evidence)
        self.report.views = max((view for _, _, view in self.checker.said), default=0)
        return self.report

    def run_until(self, end_ms: int) -> None:
        while self._events and self._events[0][0] <= end_ms:
            self.now_ms, _, call = heapq.heappop(self._events)
            call()
        self.now_ms = end_ms

    @property
    def is_calm(self) -> bool:
        return self.now_ms >= self.heal_ms

    def _check_progress(self) -> None:
        for number, times in self.commits.items():
            marks = [self.heal_ms, *(at_ms for at_ms in times if at_ms > self.heal_ms), self.setting.end_ms]
            gap_ms = max(later - earlier for earlier, later in pairwise(marks))
            self.report.longest_gap_ms = max(self.report.longest_gap_ms, gap_ms)
            if gap_ms > PROGRESS_MS:
                raise Stuck(f"home {number} made no progress for {gap_ms} ms [{self.name}]")

    # Faults

    def _partition(self) -> None:
        if self.is_calm:
            return
        rng = self.rng
        if self.cut:
            self.cut = set()
            self.at(self.now_ms + rng.randint(2_000, 30_000), self._partition)
            return
        self.report.partitions += 1
        groups = [rng.randrange(rng.choice((2, 2, 3))) for _ in range(self.setting.homes)]
        one_way = rng.random() < 0.3
        self.cut = {
            (one, other)
            for one in self.homes
            for other in self.homes
            if (groups[one] < groups[other] if one_way else groups[one] != groups[other])
        }
        self.at(self.now_ms + rng.randint(2_000, 25_000), self._partition)

    def _break_one(self) -> None:
        if self.is_calm:
            return
        power_cut = self.rng.random() < 0.1
        for home in self.homes.values() if power_cut else [self.homes[self.rng.choice(list(self.homes))]]:
            if home.up and self.rng.random() < 0.7:
                home.crash_at_write = True
            elif home.up:
                home.crash()
        self.at(self.now_ms + self.rng.randint(1_000, 12_000), self._break_one)

    def _heal(self) -> None:
        self.cut = set()
        storm = self.rng.random() < 0.5  # everyone goes on from what is on the disk, and from nothing else
        for home in self.homes.values():
            home.crash_at_write = False
            if home.up and storm:
                home.crash()
        for home in self.homes.values():
            if not home.up:
                home.boot()

    def crashed(self, home: Home) -> None:
        self.report.crashes += 1
        generation = home.generation

        def boot() -> None:
            if not home.up and home.generation == generation:
                home.boot()

        self.at(self.now_ms + self.rng.choice((200, 1_000, 5_000, 15_000)), boot)

    def fsync_ms(self) -> int:
        return self.rng.randint(0, self.disk_ms) if self.disk_ms else 0

    def work_ms(self) -> int:
        return self.rng.randint(0, self.slow_work_ms) if self.slow_work_ms else 0

    # What homes ask of it

    def make_engine(self, home: Home) -> Engine:
        signer: Signer = StubSigner(home.node_key)
        return self.engine_type(signer, self.verifier, body_is_bound)

    def load_journal(self, home: Home) -> JournalContents:
        return home.disk.journal(home.disk.height + 1)

    def number_of(self, node_key: bytes) -> int:
        return self._numbers[node_key]

    def committed(self, home: Home, block: Block) -> None:
        height = block.header.height
        self.chain.apply(block)
        self.commits[home.number].append(self.now_ms)
        if self.is_calm and self.now_ms > self.heal_ms + 40_000:
            self.report.finality_ms.append(self.now_ms - block.header.time_ms)
        self.adversary.hears_of_block(height, block)

    def keys_but(self, node_key: bytes) -> list[bytes]:
        return [key for key in self._numbers if key != node_key]

    def pick(self, node_keys: Sequence[bytes]) -> list[Home]:
        """Two at random; byzantine and absent ones do not answer."""
        asked = self.rng.sample(node_keys, min(2, len(node_keys)))
        return [self.homes_by_key[key] for key in asked if key in self.homes_by_key]

    # The network

    def broadcast(self, sender: Home, message: Message) -> None:
        for home in self.homes.values():
            if home is not sender:
                self._send(sender, home, partial(home.hear, message, sender.node_key))
        self.adversary.hears(message)

    def request(self, asking: Home, asked: Home, serve: Callable[[Home], object]) -> None:
        self._send(asking, asked, lambda: serve(asked))

    def reply(self, sender: Home, receiver: Home, call: Callable[[], object]) -> None:
        self._send(sender, receiver, call)

    def _send(self, sender: Home, receiver: Home, call: Callable[[], object]) -> None:
        self.report.messages += 1
        rng, calm = self.rng, self.is_calm
        if (sender.number, receiver.number) in self.cut:
            return
        if rng.random() < (self.setting.after_loss if calm else self.loss):
            return
        for _ in range(2 if not calm and rng.random() < self.duplication else 1):
            delay_ms = rng.randint(20, 250) if calm else rng.randint(10, self.slowest_ms)
            delay_ms += self.extra_ms.get(sender.number, 0)
            self.at(self.now_ms + delay_ms, lambda: call() if receiver.up else None)

    def tell(self, receiver: int, message: Message, source: bytes, delay_ms: int) -> None:
        """A byzantine message: nothing stops or delays it but its sender."""
        home = self.homes.get(receiver)
        if home is not None:
            self.at(self.now_ms + delay_ms, lambda: home.hear(message, source) if home.up else None)

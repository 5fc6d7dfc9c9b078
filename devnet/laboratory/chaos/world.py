"""A neighbourhood in virtual time: honest homes around the real node's parts, one enemy mind, bad weather.

1. Everything is drawn from random streams seeded by the setting, and all times are whole milliseconds: a setting
   replays exactly.
2. The run ends with the first fault that is found, or when its time is over. The last of it is calm, so that
   everything has to heal.
3. Should the enemies come to hold a third of the weight, which no rule can forbid, the run ends there and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from consensus.chain_rules import OpenHeight
from consensus.engine import FinalBlockInvalid, HeightContext
from consensus.messages import Message
from devnet.laboratory.chaos.byzantine import BEHAVIOURS, Actor, Mind
from devnet.laboratory.chaos.checker import REMEMBERED_HEIGHTS, Checker
from devnet.laboratory.chaos.committed import Committed
from devnet.laboratory.chaos.disk import PowerCut
from devnet.laboratory.chaos.faults import Fault, FaultKind, Found, Report
from devnet.laboratory.chaos.founding import EPOCH_BLOCKS, found
from devnet.laboratory.chaos.home import Home
from devnet.laboratory.chaos.mutants import parts_of
from devnet.laboratory.chaos.network import Network
from devnet.laboratory.chaos.notary import Notary
from devnet.laboratory.chaos.progress import PROGRESS_MS, Progress
from devnet.laboratory.chaos.scheduler import Scheduler
from devnet.laboratory.chaos.setting import DAY_MS, Setting
from devnet.laboratory.chaos.signatures import StubBeacon, StubVerifier
from devnet.laboratory.chaos.traffic import Traffic
from devnet.laboratory.chaos.weather import STORM_MS, Weather
from devnet.laboratory.chaos.words import message_words
from ledger.block import BrokenInvariant
from ledger.committee import find_committee
from ledger.evidence import EXPELLED_NOTE
from ledger.genesis import chain_id
from ledger.records import CANDIDATES, CandidateStatus
from ledger.state import State
from ledger.transactions import Kind
from node.gossip import SignatureCache
from storage.errors import StorageError

CALM_AT_THE_END_MS: Final = PROGRESS_MS + 60_000
BOOTED_WITHIN_MS: Final = 2_000


class World:
    """See the module's rules. ``story``: set to a list to have everything told, (ms, words). ``commits``: set to a list
    to have every commit noted, (ms, home, height, the block's time).
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.name = f"{setting.homes}/{setting.seed}"
        self.random = Random(self.name)  # noqa: S311 - reproducible on purpose
        self.parts = parts_of(setting)
        self.founding = found(setting, self.random)
        self.chain_id = chain_id(self.founding.genesis)
        self.story: list[tuple[int, str]] | None = None
        self.commits: list[tuple[int, int, int, int]] | None = None
        self.report = Report()
        self.delta_ms = self.founding.genesis.parameters.message_delay_ms
        self.end_ms = setting.end_ms
        self.last_storm_ms = self.end_ms - STORM_MS[1] - CALM_AT_THE_END_MS - setting.interval_ms
        self.verifier = StubVerifier()
        self.beacon = StubBeacon()
        self.signatures = SignatureCache()
        self.notary = Notary(self.founding)
        self.numbers = {member.node_key: member.number for member in self.founding.members}
        self.turns: dict[int, OpenHeight] = {}
        """Height → what the first home that opened it knows of it: committee and draw."""
        self.next_opening = (1, setting.interval_ms)
        self.disk_ms = 0
        self.slow_work_ms = 0
        self.is_new = True
        """Nobody has a block yet."""
        self._scheduler = Scheduler()
        self.network = Network(self._scheduler, self.name, self.founding.honest)
        self.homes = {number: Home(self, self.founding.members[number]) for number in self.founding.honest}
        self.checker = Checker(self)
        self.weather = Weather(self)
        self.progress = Progress(self)
        self.traffic = Traffic(self)
        self.mind = Mind(self, self._draw_behaviours())

    def _draw_behaviours(self) -> dict[int, type[Actor]]:
        random, style = self.random, self.setting.style
        names = sorted(BEHAVIOURS)
        common = random.choice(names) if random.random() < 0.5 else None
        return {home: BEHAVIOURS[style or common or random.choice(names)] for home in sorted(self.founding.byzantine)}

    # Time

    @property
    def now_ms(self) -> int:
        return self._scheduler.now_ms

    @property
    def wall_ms(self) -> int:
        """The true time."""
        return self.founding.genesis.time_ms + self.now_ms

    def at(self, at_ms: int, call: Callable[[], object]) -> None:
        self._scheduler.at(at_ms, call)

    def run(self) -> Report:
        """Runs to the end. What is found is in the report; an error that escapes is one of this package."""
        began_s = time.process_time()
        self.begin()
        self.run_until(self.end_ms)
        report = self.report
        report.heights = self.checker.height
        report.node_days = self.setting.homes * self.now_ms / DAY_MS
        report.partitions, report.crashes = self.weather.partitions, self.weather.crashes
        report.equivocations = self.mind.equivocations
        report.messages = self.network.messages
        report.weather = self.weather.happened
        report.highest_view = self.checker.highest_view
        report.longest_gap_ms = self.progress.longest_ms
        report.cpu_seconds = time.process_time() - began_s
        return report

    def begin(self, but: frozenset[int] = frozenset()) -> None:
        """Starts all homes, ``but`` some."""
        for home in self.homes.values():
            home.skew_ms = home.usual_skew_ms = self.random.randint(-self.setting.skew_ms, self.setting.skew_ms)
            home.drift_ppm = self.random.randint(-50, 50) if self.setting.skew_ms else 0
        for home in self.homes.values():
            if home.number not in but:
                home.boot()
        height, opens_at_ms = self.next_opening
        self._note_opening(height, opens_at_ms)

    def run_until(self, end_ms: int) -> None:
        """Stops early at a fault."""
        while self.report.fault is None and not self.report.ended_early:
            call = self._scheduler.step(end_ms)
            if call is None:
                self._finish(end_ms)
                return
            self._happen(call)

    def _happen(self, call: Callable[[], object]) -> None:
        try:
            call()
        except PowerCut as cut:
            self.note(f"the power of home {cut.home} goes {cut.point}")
            if cut.spreads:
                self.weather.darken_street()
            elif self.homes[cut.home].up:
                self.homes[cut.home].crash()
        except Found as found_:
            self._fail(found_.kind, found_.text)
        except FinalBlockInvalid as error:
            self._fail(FaultKind.VIOLATION, f"a home cannot execute what a quorum made final: {error}")
        except BrokenInvariant as error:
            self._fail(FaultKind.VIOLATION, f"the sums do not hold: {error}")
        except StorageError as error:
            self._fail(FaultKind.VIOLATION, f"a home stopped: {error}")

    def _finish(self, end_ms: int) -> None:
        if end_ms == self.end_ms:
            try:
                self.checker.check_transactions()
            except Found as found_:
                self._fail(found_.kind, found_.text)

    def _fail(self, kind: FaultKind, text: str) -> None:
        lowest = min(home.disk.height for home in self.homes.values())
        self.report.fault = Fault(kind, text, self.now_ms, lowest + 1)
        self.note(f"{kind.upper()}: {text}")

    def note(self, words: str) -> None:
        """For the story."""
        if self.story is not None:
            self.story.append((self.now_ms, words))

    # What homes tell

    def opened(self, home: Home, context: HeightContext) -> None:
        self.checker.opened(home, context)
        height = context.height
        if height not in self.turns:
            self.turns[height] = home.chain.open
            opens_at_ms = home.chain.open.earliest_ms - self.founding.genesis.time_ms
            self.mind.opened(height, opens_at_ms)
            if height % EPOCH_BLOCKS == 0:
                self.turns = {one: turn for one, turn in self.turns.items() if one > height - REMEMBERED_HEIGHTS}

    def committed(self, home: Home, committed: Committed) -> None:
        height = committed.header.height
        is_first = height > self.checker.height
        if self.commits is not None:
            time_ms = committed.header.time_ms - self.founding.genesis.time_ms
            self.commits.append((self.now_ms, home.number, height, time_ms))
        self.checker.committed(home, committed)
        self.progress.committed(height)
        if self.weather.is_calm:
            self.report.finality_ms.append(self.wall_ms - committed.header.time_ms)
        if is_first:
            self.is_new = False
            self.note(f"home {home.number} is the first to have height {height} final")
            self._learn_of_convictions(home, committed)
            if committed.is_tip:
                self._weigh_enemies(home, height)
            self.traffic.after(height)
            opens_at_ms = committed.header.time_ms - self.founding.genesis.time_ms + self.setting.interval_ms
            self._note_opening(height + 1, opens_at_ms)

    def crashed(self, home: Home) -> None:
        self.weather.crashed(home)

    def broadcast(self, sender: Home, message: Message) -> None:
        if self.story is not None:
            self.note(f"home {sender.number} {message_words(message)}")
        self.checker.sees(sender, message)
        network, node_key = self.network, sender.node_key
        for home in self.homes.values():
            if home is not sender:
                network.send(sender.number, home.number, partial(home.hear, message, node_key))
        self.mind.hears(message)

    def tell(self, home: int, call: Callable[[], object]) -> None:
        """A byzantine home's answer: nothing stops or delays it for long."""
        generation = self.homes[home].generation
        late_ms = self.random.randint(0, 300)
        self.at(
            self.now_ms + late_ms,
            lambda: call() if self.homes[home].up and self.homes[home].generation == generation else None,
        )

    def fsync_ms(self, home: Home) -> int:
        return self.random.randint(0, self.disk_ms) if self.disk_ms else 0

    def work_ms(self, home: Home) -> int:
        return self.random.randint(0, self.slow_work_ms) if self.slow_work_ms else 0

    def can_do_without(self, home: Home) -> bool:
        """Whether the enemies, those that are silent already, and this home hold less than a third of the weight."""
        turn = self.turns[max(self.turns)]
        silent = {number for number, one in self.homes.items() if not one.disk.journal.vouches_for(one.node_key)}
        silent |= {home.number} | self.founding.byzantine
        weights = {self.numbers[seat.node_key]: seat.weight for seat in turn.committee.seats}
        return 3 * sum(weights.get(number, 0) for number in sorted(silent)) < turn.committee.total_weight

    # What follows

    def _note_opening(self, height: int, opens_at_ms: int) -> None:
        self.next_opening = (height, opens_at_ms)
        self.progress.opening(height, opens_at_ms)
        self.weather.opening(height, opens_at_ms)

    def _learn_of_convictions(self, home: Home, committed: Committed) -> None:
        if any(receipt.note.startswith(EXPELLED_NOTE) for receipt in committed.receipts):
            state = State(home.disk.chain)
            for offender in sorted(self.founding.byzantine):
                candidate = CANDIDATES.get(state, self.founding.members[offender].id)
                if candidate is not None and candidate.status == CandidateStatus.EXPELLED:
                    self.note(f"home {offender} is expelled")
                    self.checker.settled(offender)
                    self.traffic.expelled(offender, committed.header.height)
            self.report.expulsions += 1
        if any(receipt.kind == Kind.REGISTER_MEMBER for receipt in committed.receipts):
            for offender in sorted(self.founding.byzantine):
                self.checker.settled(offender)

    def _weigh_enemies(self, home: Home, height: int) -> None:
        """Rule 3: at every snapshot, before it is in force."""
        if height % EPOCH_BLOCKS:
            return
        snapshot = find_committee(State(home.disk.chain), height + EPOCH_BLOCKS)
        assert snapshot is not None
        enemies = {self.founding.members[number].id for number in self.founding.byzantine}
        heavy = sum(member.weight for member in snapshot.members if member.account in enemies)
        if 3 * heavy >= sum(member.weight for member in snapshot.members):
            self.report.ended_early = f"the enemies hold a third of the weight from height {height} on"

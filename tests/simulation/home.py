"""One honest home of the simulated neighbourhood: the real engine, a disk that survives, a queue that does not."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consensus.block import Block, Certificate
from consensus.certificates import verify_certificate
from consensus.engine import (
    Action,
    Answer,
    Broadcast,
    Build,
    CatchUp,
    Commit,
    Engine,
    Evidence,
    Execute,
    FetchBody,
    FetchCertificates,
    Instant,
    JournalContents,
    Persist,
    Record,
    SetTimer,
)
from consensus.messages import Certificates, Message, Proposal, Vote
from ledger.statements import StatementKind
from tests.simulation.chain import GENESIS_HASH, node_key_of

if TYPE_CHECKING:
    from tests.simulation.world import World

BLOCKS_PER_ANSWER = 8


@dataclass
class Disk:
    """What is there after a crash. ``chain[h - 1]`` is the block of height h with the certificate stored with it."""

    overwrites: bool = False
    chain: list[tuple[Block, bytes, Certificate]] = field(default_factory=list)
    votes: dict[tuple[int, int, int], Vote] = field(default_factory=dict)
    certificates: dict[tuple[int, int, int], Certificate] = field(default_factory=dict)
    bodies: dict[tuple[int, bytes], Block] = field(default_factory=dict)
    proposals: dict[tuple[int, int], Proposal] = field(default_factory=dict)

    @property
    def height(self) -> int:
        return len(self.chain)

    @property
    def tip_hash(self) -> bytes:
        return self.chain[-1][1] if self.chain else GENESIS_HASH

    def write(self, records: tuple[Record, ...]) -> None:
        for record in records:
            if isinstance(record, Vote):
                statement = record.statement
                key = (statement.height, statement.view, statement.kind)
                assert self.overwrites or self.votes.get(key, record) == record, "a vote is never overwritten"
                self.votes[key] = record
            elif isinstance(record, Certificate):
                self.certificates[record.height, record.view, record.kind] = record
            elif isinstance(record, Proposal):
                self.proposals[record.height, record.view] = record
            else:
                self.bodies[record.header.height, record.hash] = record

    def journal(self, height: int) -> JournalContents:
        return JournalContents(
            tuple(record for key, record in self.votes.items() if key[0] == height),
            tuple(record for key, record in self.certificates.items() if key[0] == height),
            tuple(record for key, record in self.bodies.items() if key[0] == height),
            tuple(record for key, record in self.proposals.items() if key[0] == height),
        )

    def commit(self, block: Block, block_hash: bytes, certificate: Certificate) -> None:
        assert block.header.height == self.height + 1
        assert block.header.parent_hash == self.tip_hash
        self.chain.append((block, block_hash, certificate))
        self.votes.clear()
        self.certificates.clear()
        self.bodies.clear()
        self.proposals.clear()


class Home:
    """Drives an engine as a node would: actions in order, nothing after a ``Persist`` before it is on the disk."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.node_key = node_key_of(number)
        self.disk = Disk(world.overwrites)
        self.generation = 0
        self.up = False
        self.skew_ms = 0
        self.crash_at_write = False  # crash at the next journal or commit point
        self._actions_left: int | None = None
        self._monotonic_base = 0
        self._queue: deque[Action] = deque()
        self._writing = False
        self.engine: Engine

    # Life

    def boot(self) -> None:
        rng = self.world.rng
        self.generation += 1
        self.up = True
        self._monotonic_base = rng.randrange(10**6) - self.world.now_ms
        self._actions_left = None
        self._writing = False
        self._queue.clear()
        self.engine = self.world.make_engine(self)
        self._open(self.world.load_journal(self))

    def crash(self) -> None:
        assert self.up
        self.up = False
        self.crash_at_write = False
        self.generation += 1
        self._queue.clear()
        self.world.crashed(self)

    def now(self) -> Instant:
        return Instant(self.world.now_ms + self.skew_ms, self.world.now_ms + self._monotonic_base)

    def _open(self, journal: JournalContents | None) -> None:
        stored = self.disk.chain[-1][2] if self.disk.chain else None
        context = self.world.chain.context(self.disk.tip_hash, stored)
        self.do(self.engine.open_height(context, self.now(), journal))

    # Actions

    def do(self, actions: list[Action]) -> None:
        self._queue.extend(actions)
        while self._queue and self.up and not self._writing:
            action = self._queue.popleft()
            if self._actions_left is not None:
                if self._actions_left == 0:
                    self.crash()
                    return
                self._actions_left -= 1
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        world = self.world
        match action:
            case Persist(records=records):
                self._write(lambda: self.disk.write(records))
            case Commit(block=block, certificate=certificate):
                self._write(lambda: self._commit(block, certificate))
            case Broadcast(message=message):
                world.checker.sees(self, message)
                world.broadcast(self, message)
            case SetTimer(timer=timer, at_monotonic_ms=at_ms):
                at_ms = max(world.now_ms, at_ms - self._monotonic_base)
                self.later_at(at_ms, lambda: self.do(self.engine.on_timer(timer, self.now())))
            case Build(height=height, view=view, time_ms=time_ms, parent_certificate=certificate):
                block = world.chain.make_block(self.disk.tip_hash, view, time_ms, certificate, world.rng)
                self.later(lambda: self.do(self.engine.on_block_built(height, view, block, self.now())))
            case Execute(block=block, block_hash=block_hash):
                valid = world.chain.is_valid(block)
                self.later(
                    lambda: self.do(self.engine.on_block_executed(block.header.height, block_hash, valid, self.now()))
                )
            case FetchBody(height=height, block_hash=block_hash, node_keys=node_keys):
                for asked in world.pick(node_keys):
                    world.request(self, asked, lambda home: home.serve_body(self, height, block_hash))
            case FetchCertificates():
                for asked in world.pick(world.keys_but(self.node_key)):
                    world.request(self, asked, lambda home: home.serve_certificates(self))
            case Answer(node_key=node_key, from_height=from_height):
                asking = world.homes_by_key.get(node_key)
                if asking is not None:
                    self.serve_blocks(asking, from_height)
            case CatchUp(node_key=node_key):
                ahead = world.homes_by_key.get(node_key)
                from_height = self.disk.height + 1
                if ahead is not None:
                    world.request(self, ahead, lambda home: home.serve_blocks(self, from_height))
            case Evidence():
                world.checker.sees_evidence(self, action)

    def later(self, call: object) -> None:
        """After the time that work takes."""
        self.later_at(self.world.now_ms + self.world.work_ms(), call)

    def later_at(self, at_ms: int, call: object) -> None:
        generation = self.generation
        assert callable(call)
        self.world.at(at_ms, lambda: call() if self.generation == generation else None)

    def _write(self, write: object) -> None:
        """A disk that takes its time, and may fail to come back."""
        assert callable(write)
        if self.crash_at_write:
            rng = self.world.rng
            lived = rng.choice((0, 1, 1, 2, 3, 4))
            self.crash_at_write = False
            if lived == 0:
                self.crash()
                return
            self._actions_left = lived - 1
        delay_ms = self.world.fsync_ms()
        if delay_ms == 0:
            write()
            return

        def written() -> None:
            self._writing = False
            write()
            self.do([])

        self._writing = True
        self.later_at(self.world.now_ms + delay_ms, written)

    def _commit(self, block: Block, certificate: Certificate) -> None:
        self._store(block, block.hash, certificate)
        self._open(None)

    def _store(self, block: Block, block_hash: bytes, certificate: Certificate) -> None:
        self.world.checker.sees_commit(self, block, block_hash, certificate)
        self.disk.commit(block, block_hash, certificate)
        self.world.committed(self, block)

    # Messages

    def hear(self, message: Message, source: bytes | None) -> None:
        self.do(self.engine.on_message(message, source, self.now()))

    def hear_body(self, block: Block) -> None:
        self.do(self.engine.on_body(block, self.now()))

    def hear_blocks(self, blocks: list[tuple[Block, bytes, Certificate]]) -> None:
        """Catching up: each block verified against its committee, executed, stored; then the next height."""
        if self._writing:
            return  # a node would wait for the writer; here the blocks come again
        before = self.disk.height
        for block, block_hash, certificate in blocks:
            if block.header.height != self.disk.height + 1 or block.header.parent_hash != self.disk.tip_hash:
                continue
            committee = self.world.chain.committee(block.header.height)
            named = (certificate.kind, certificate.height, certificate.block_hash)
            if named != (StatementKind.FINALIZE, block.header.height, block_hash):
                return
            if not verify_certificate(certificate, committee, self.world.verifier):
                return
            if not self.world.chain.is_valid(block):
                return
            self._store(block, block_hash, certificate)
        if self.disk.height > before:
            self._queue.clear()  # what the engine still wanted concerns heights that are closed now
            self._open(None)

    def serve_body(self, asking: Home, height: int, block_hash: bytes) -> None:
        block = self.engine.body(block_hash) if height == self.engine.height else None
        if block is None and height <= self.disk.height and self.disk.chain[height - 1][1] == block_hash:
            block = self.disk.chain[height - 1][0]
        if block is not None:
            found = block
            self.world.reply(self, asking, lambda: asking.hear_body(found))

    def serve_certificates(self, asking: Home) -> None:
        held = self.engine.certificates()
        if held:
            message = Certificates(held)
            self.world.reply(self, asking, lambda: asking.hear(message, self.node_key))

    def serve_blocks(self, asking: Home, from_height: int) -> None:
        blocks = self.disk.chain[from_height - 1 : from_height - 1 + BLOCKS_PER_ANSWER]
        if blocks:
            self.world.reply(self, asking, lambda: asking.hear_blocks(blocks))

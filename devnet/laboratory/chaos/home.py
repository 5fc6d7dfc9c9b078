"""One honest home: what a node is made of, driven as ``node.driver`` drives it, in virtual time.

1. Real are the engine, the chain with ledger and state tree, the door for transactions with its mempool, the caretaker,
   the plan of downloads, and journal and store but for their faults (``disk``). Only what needs sockets, threads or a
   clock is done here instead.
2. Actions of the engine are carried out in order; nothing after a ``Persist`` before it is on the disk. A write may
   take its time, and while the disk is full it is tried again every two seconds; the home goes on listening meanwhile.
3. After a crash nothing is left but the disk. Whoever finds a journal that does not vouch for its key asks the others
   where they stand and follows without voting below the highest claim + 3 (``node.trust``).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from consensus.block import MAX_BLOCK_BYTES, Block, Certificate
from consensus.chain_rules import ExecutedBlock
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
    SetTimer,
)
from consensus.messages import Certificates, Message
from devnet.laboratory.chaos.catching_up import CatchingUp
from devnet.laboratory.chaos.committed import Committed
from devnet.laboratory.chaos.disk import Disk
from devnet.laboratory.chaos.founding import Member
from devnet.laboratory.chaos.signatures import StubSigner
from ledger.block import InvalidBlock
from ledger.encoding import decode
from ledger.refusal import TransactionRefused
from ledger.transactions import Transaction
from node.batches import Row
from node.caretaker import Caretaker
from node.chain import NodeChain
from node.driver import DISK_FULL_PAUSE_S
from node.intake import Intake
from node.journal import load_contents, to_record
from node.log import Log
from node.mempool import Mempool
from node.trust import ABSTAINED_HEIGHTS

if TYPE_CHECKING:
    from devnet.laboratory.chaos.world import World

CANDIDATES_TAKEN: Final = 256
KEPT_BLOCKS: Final = 512
PRUNED_EVERY: Final = 128
CLOCK_SET_EVERY_MS: Final = 3_600_000
DISK_FULL_PAUSE_MS: Final = round(DISK_FULL_PAUSE_S * 1000)

Step = Action | Callable[[], None]

_SILENT: Final[Log] = structlog.wrap_logger(
    structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
)


class Home:
    """See the module's rules. ``disk`` outlives crashes; everything made in ``boot`` does not."""

    chain: NodeChain
    engine: Engine
    intake: Intake

    def __init__(self, world: World, member: Member) -> None:
        self.world = world
        self.member = member
        self.number = member.number
        self.node_key = member.node_key
        self.disk = Disk(member.number, world.parts.journal_type)
        self.generation = 0
        self.up = False
        self.skew_ms = 0
        self.drift_ppm = 0
        self.usual_skew_ms = 0
        self.dies_after: int | None = None
        """Crash when so many actions after the next journal write have been carried out."""
        self.actions_left: int | None = None
        self.catching_up = CatchingUp(self)
        self._monotonic_base = 0
        self._queue: deque[Step] = deque()
        self._writing = False
        self._votes_from = 0
        self._told_height = 0

    # Life

    def boot(self) -> None:
        """Starts from what is on the disk."""
        world = self.world
        self.generation += 1
        self.up = True
        self._monotonic_base = world.random.randrange(10**6) - world.now_ms
        self.actions_left = None
        self._writing = False
        self._queue.clear()
        self._executed: dict[bytes, ExecutedBlock] = {}
        self._signer = StubSigner(self.node_key)
        self.chain = chain = world.parts.chain_type(
            self.disk.chain, world.founding.genesis, self.member.node, world.verifier, world.signatures
        )
        self.engine = world.parts.engine_type(self._signer, world.verifier, chain.body_is_bound)
        self.intake = Intake(
            chain_id=chain.chain_id,
            base=self.disk.chain,
            next_height=lambda: chain.height + 1,
            is_committed=lambda transaction_id: self.disk.chain.find_transaction(transaction_id) is not None,
            signatures=world.signatures,
            mempool=Mempool(),
            file=self.disk.waiting,
            wall=self.wall_ms,
            accepted=lambda transaction: None,
            log=_SILENT,
        )
        for raw in self.disk.waiting.load():
            self.intake.take_back(raw)
        self.intake.gossip = self
        self._caretaker = Caretaker(self.member.node, chain.chain_id)
        self.catching_up = CatchingUp(self)
        self.catching_up.ask_everyone()
        self._tell()
        if world.is_new:
            self.disk.journal.trust(self.node_key)
        if self.disk.journal.vouches_for(self.node_key):
            self._votes_from = 0
            self._open_next(load_contents(self.disk.journal.load(chain.height + 1)))
        else:
            self.later_at(world.now_ms + 2 * self.chain.open.parameters.message_delay_ms, self._settle)

    def crash(self) -> None:
        assert self.up
        self.up = False
        self.disk.disarm()
        self.dies_after = None
        self.generation += 1
        self._queue.clear()
        self.world.crashed(self)

    def wall_ms(self) -> int:
        """What this home's clock shows: it drifts, and is set right once an hour, but for its skew."""
        now_ms = self.world.now_ms
        drift_ms = now_ms % CLOCK_SET_EVERY_MS * self.drift_ppm // 1_000_000
        return self.world.founding.genesis.time_ms + now_ms + self.skew_ms + drift_ms

    def now(self) -> Instant:
        return Instant(self.wall_ms(), self.world.now_ms + self._monotonic_base)

    def later_at(self, at_ms: int, call: Callable[[], object]) -> None:
        """Unless the home has crashed meanwhile."""
        generation = self.generation
        self.world.at(at_ms, lambda: call() if self.generation == generation else None)

    def _settle(self) -> None:
        """Rule 3: the journal is new."""
        claims = self.catching_up.claims
        if not claims:
            self.catching_up.ask_everyone()
            self.later_at(self.world.now_ms + 2 * self.chain.open.parameters.message_delay_ms, self._settle)
            return
        self._votes_from = max(self.chain.height, *claims.values()) + ABSTAINED_HEIGHTS
        self.engine.abstain_until(self._votes_from)
        self._open_next(None)

    # Actions

    def do(self, actions: list[Action]) -> None:
        """Carries out what the engine wants, after what still waits."""
        self._queue.extend(actions)
        while self._queue and self.up and not self._writing:
            step = self._queue.popleft()
            if self.actions_left is not None:
                if self.actions_left == 0:
                    self.crash()
                    return
                self.actions_left -= 1
            if callable(step):
                step()
            else:
                self._carry_out(step)

    def first(self, *steps: Step) -> None:
        """Puts steps before all that waits."""
        self._queue.extendleft(reversed(steps))

    def last(self, *steps: Step) -> None:
        """Puts steps after all that waits, and goes on."""
        self._queue.extend(steps)
        self.do([])

    def _carry_out(self, action: Action) -> None:
        world = self.world
        match action:
            case Persist(records=records):
                rows = [to_record(record) for record in records]
                if self.dies_after is not None:
                    self.actions_left, self.dies_after = self.dies_after, None
                self.write(lambda: self.disk.journal.write(rows))
            case Broadcast(message=message):
                world.broadcast(self, message)
            case SetTimer(timer=timer, at_monotonic_ms=at_ms):
                due_ms = max(world.now_ms, at_ms - self._monotonic_base)
                self.later_at(due_ms, lambda: self.do(self.engine.on_timer(timer, self.now())))
            case Build():
                self.later_at(world.now_ms + world.work_ms(self), partial(self._build, action))
            case Execute():
                self.later_at(world.now_ms + world.work_ms(self), partial(self._execute, action))
            case FetchBody(block_hash=block_hash, node_keys=node_keys):
                self.catching_up.fetch_body(block_hash, node_keys)
            case FetchCertificates():
                self.catching_up.fetch_certificates()
            case Answer(node_key=node_key):
                self.catching_up.tell_status(world.numbers[node_key])
            case CatchUp(height=height):
                self.catching_up.heard_of(height)
            case Commit(block=block, certificate=certificate):
                executed = self._executed.get(block.hash)
                if block.header.height == self.chain.height + 1:
                    assert executed is not None, "the engine commits what it was told to be valid"
                    self.first(*self.committing(executed, certificate), lambda: self._open_next(None))
            case Evidence():
                world.checker.sees_evidence(self, action)
                self._caretaker.remember(world.notary.attest(action))

    def _build(self, build: Build) -> None:
        candidates = list(islice(self.intake.mempool, CANDIDATES_TAKEN))
        executed = self.chain.build(build.height, build.view, build.time_ms, build.parent_certificate, candidates)
        if executed is not None:
            self._executed[executed.hash] = executed
            self.do(self.engine.on_block_built(build.height, build.view, executed.block, self.now()))

    def _execute(self, execute: Execute) -> None:
        height = execute.block.header.height
        try:
            executed = self.chain.execute(execute.block)
        except InvalidBlock as error:
            if height <= self.chain.height:
                return  # it was fetched and stored meanwhile: this height is about to be closed
            self.world.note(f"home {self.number} finds block {execute.block_hash.hex()[:8]} invalid: {error}")
            valid = False
        else:
            self._executed[execute.block_hash] = executed
            valid = True
        self.do(self.engine.on_block_executed(height, execute.block_hash, valid, self.now()))

    def write(self, write: Callable[[], None]) -> None:
        """Rule 2."""
        delay_ms = self.world.fsync_ms(self)
        if delay_ms:
            self._writing = True
            self.later_at(self.world.now_ms + delay_ms, partial(self._written, write))
        else:
            self._try(write)

    def _written(self, write: Callable[[], None]) -> None:
        self._writing = False
        self._try(write)
        self.do([])

    def _try(self, write: Callable[[], None]) -> None:
        if self.disk.is_full:
            self.intake.disk_full = self._writing = True
            self.later_at(self.world.now_ms + DISK_FULL_PAUSE_MS, partial(self._written, write))
        else:
            self.intake.disk_full = False
            write()

    # Blocks

    def committing(self, executed: ExecutedBlock, certificate: Certificate) -> list[Step]:
        """The steps that store a block: two writes, between which the power may go."""
        height = executed.block.header.height
        return [
            lambda: self.write(partial(self.chain.commit, executed, certificate)),
            lambda: self.write(partial(self.disk.journal.clear_through, height)),
            lambda: self._committed(executed, certificate),
        ]

    def committing_row(self, row: Row) -> list[Step]:
        """The same for blocks that were caught up with."""
        return [
            lambda: self.write(partial(self.chain.commit_row, row)),
            lambda: self.write(partial(self.disk.journal.clear_through, row.last)),
            lambda: self._imported(row),
        ]

    def _committed(self, executed: ExecutedBlock, certificate: Certificate) -> None:
        self._executed.clear()
        self.intake.revise(executed)
        self._told_height = executed.block.header.height
        self.world.committed(self, Committed.of(executed, certificate))
        self._after_blocks()

    def _imported(self, row: Row) -> None:
        self._executed.clear()
        for executed in row.executed:
            self.intake.revise(executed)
        self._tell()
        self._after_blocks()

    def _tell(self) -> None:
        """Of every block on the disk that was not told of."""
        for height in range(self._told_height + 1, self.chain.height + 1):
            self._told_height = height
            self.world.committed(self, Committed.stored(self.disk.chain, height))

    def _after_blocks(self) -> None:
        height = self.chain.height
        self.catching_up.download.applied(height)
        if self._votes_from and height + 1 >= self._votes_from:
            self._votes_from = 0
            self.disk.journal.trust(self.node_key)
        if height % PRUNED_EVERY == 0 and height > KEPT_BLOCKS:
            self.disk.chain.prune(height - KEPT_BLOCKS)
        pending = len(self.intake.mempool.pending(self.node_key))
        for transaction in self._caretaker.due(self.disk.chain, height, pending, level=self.catching_up.is_level):
            self.submit(transaction)

    def _open_next(self, journal: JournalContents | None) -> None:
        """Opens the height after the tip."""
        if self.chain.height + 1 > self.engine.height:
            context = self.chain.height_context()
            self.world.opened(self, context)
            self.do(self.engine.open_height(context, self.now(), journal))
            self.catching_up.look_around_if_it_stands_still(context.height)

    def open_next(self) -> None:
        self._open_next(None)

    # Messages

    def hear(self, message: Message, source: bytes | None) -> None:
        if self.up and self.engine.height:
            self.do(self.engine.on_message(message, source, self.now()))

    def hear_body(self, block: Block) -> None:
        self.do(self.engine.on_body(block, self.now()))

    def hear_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        self.do(self.engine.on_message(Certificates(certificates), None, self.now()))

    def body(self, block_hash: bytes) -> Block | None:
        """Of the open height, or the tip's."""
        held = self.engine.body(block_hash)
        if held is not None or self.chain.tip_hash != block_hash or self.chain.height == 0:
            return held
        stored = self.disk.chain.block(self.chain.height)
        assert stored is not None, "the tip is kept"
        return decode(stored, Block, MAX_BLOCK_BYTES)

    # Transactions

    def submit(self, transaction: Transaction) -> bool:
        """True once it is accepted, and so must never be lost."""
        try:
            self.intake.take(transaction.raw)
        except TransactionRefused as refused:
            self.world.note(f"home {self.number} refuses its own {transaction.kind.word}: {refused}")
            return False
        self.world.checker.accepted(self, transaction)
        return True

    def send(self, transaction: Transaction) -> None:
        """Keeps ``node.intake.Outgoing``."""
        world = self.world
        for other in world.homes.values():
            if other is not self:
                world.network.send(self.number, other.number, partial(other.hear_transaction, transaction))

    def hear_transaction(self, transaction: Transaction) -> None:
        if self.up and not self.intake.is_known(transaction.id) and self.intake.may_send(transaction.sender):
            self.intake.take_gossiped(transaction)

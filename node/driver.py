"""Drives the consensus engine: feeds it what arrives and does what it asks, in the order it asks.

1. One task calls the engine; nothing else does. Inputs wait in one queue, bounded in number and bytes: messages,
   timers, results of work. What does not fit is dropped: peers say it again.
2. What the engine wants persisted is fsynced before anything it asked for afterwards leaves this node. Inputs that were
   waiting together are fed together and share one write.
3. What arrives is judged, and what of it is news is passed on, by ``node.relay``. What is neither right nor wrong
   reaches the engine too, so that it can answer or catch up.
4. Executing, building and committing run in a worker thread, one at a time.
5. A full disk stops nothing for good: what could not be written is tried again until there is room, and until then no
   vote leaves this node.
6. ``run`` begins from the disk, like a node that starts: with the committed tip, a new engine, and what the journal
   holds. So it can be run again after it failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from typing import Final, Protocol

import trio

from consensus.block import Block, Certificate
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
    HeightContext,
    Instant,
    Persist,
    SetTimer,
    Timer,
)
from consensus.messages import MAX_MESSAGE_BYTES, Certificates, Message, WireMessage, decode_message, encode_message
from consensus.verifier import Verifier
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError
from ledger.transactions import Transaction
from node.batches import Prepared, Row
from node.catch_up import ServedBlockInvalid
from node.chain import NodeChain
from node.clock import WallClock, monotonic_ms
from node.journal import load_contents, to_record
from node.judge import Judge
from node.log import Log
from node.protocol import node_key_of
from node.relay import FLUSH_S, Relay
from node.worker import Worker
from p2p.network import Network, PeerId, Verdict
from storage.errors import DiskFull
from storage.interface import JournalStore

INPUT_QUEUE: Final = 4_096
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
FED_TOGETHER: Final = 256
DISK_FULL_PAUSE_S: Final = 2.0
NEIGHBOURS_REVIEWED_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Heard:
    """``source`` is the node key of the peer that handed it over, None when it was asked for."""

    message: Message
    source: bytes | None
    size: int


@dataclass(frozen=True, slots=True)
class _Built:
    height: int
    view: int
    executed: ExecutedBlock


@dataclass(frozen=True, slots=True)
class _Executed:
    height: int
    block_hash: bytes
    executed: ExecutedBlock | None


@dataclass(frozen=True, slots=True)
class _Body:
    block: Block


@dataclass(frozen=True, slots=True)
class _Imported:
    prepared: Prepared
    done: trio.MemorySendChannel[ServedBlockInvalid | None]


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A neighbour is at another height."""

    action: Answer | CatchUp


class _Leave:
    """Asks ``run`` to return."""


_Input = _Heard | _Built | _Executed | _Body | _Imported | _Elsewhere | _Leave | Timer


class Helper(Protocol):
    """What the driver asks of the rest of the node; see ``node.node``."""

    def candidates(self) -> list[Transaction]:
        """Transactions that wait for a block."""

    async def fetch_body(self, block_hash: bytes, node_keys: Sequence[bytes]) -> Block | None: ...

    async def fetch_certificates(self, height: int) -> Sequence[Certificate]: ...

    async def tell_status(self, node_key: bytes) -> None: ...

    def heard_of_height(self, height: int) -> None: ...

    def equivocation(self, evidence: Evidence) -> None: ...

    def committed(
        self, executed: ExecutedBlock, certificate: Certificate, finality_ms: int, skipped: tuple[bytes, ...]
    ) -> None:
        """After each block that was agreed on here; ``skipped`` are the accounts of the leaders whose turns passed
        without a block.
        """

    def imported(self, row: Row) -> None:
        """After blocks that were fetched."""


class Driver:
    """See the module's rules. ``halt_height``: take no part in heights above it; 0 for no such end."""

    def __init__(
        self,
        *,
        chain: NodeChain,
        make_engine: Callable[[], Engine],
        verifier: Verifier,
        journal: JournalStore,
        network: Network,
        topic: str,
        helper: Helper,
        wall: WallClock,
        worker: Worker,
        log: Log,
        halt_height: int = 0,
    ) -> None:
        self._chain = chain
        self._make_engine = make_engine
        self._engine = make_engine()
        self._verifier = verifier
        self._relay = Relay(Judge(verifier, chain.body_is_bound), verifier)
        self._relay_woken = trio.Event()
        self._relay_urged = trio.Event()
        self._journal = journal
        self._network = network
        self._topic = topic
        self._helper = helper
        self._wall = wall
        self._log = log
        self._halt_height = halt_height
        self._send, self._receive = trio.open_memory_channel[_Input](INPUT_QUEUE)
        self._waiting_bytes = 0
        self._timers: list[tuple[int, int, Timer]] = []
        self._timer_count = 0
        self._executed: dict[bytes, ExecutedBlock] = {}
        self._fetching: set[bytes | int] = set()  # block hashes, and heights whose certificates are asked for
        self._context: HeightContext | None = None
        self._closed_at_ms = 0
        self._salt = wall()  # beyond every salt of an earlier run
        self._worker = worker
        network.subscribe(topic, self.validate)  # which takes everything: nothing is delivered
        self.disk_full = False

    # -- for the rest of the node

    @property
    def context(self) -> HeightContext | None:
        """The open height, None before ``run`` and after the halt height."""
        return self._context

    @property
    def view(self) -> int:
        return self._engine.view

    @property
    def is_voting(self) -> bool:
        return self._engine.is_voting

    def held_certificates(self, height: int) -> tuple[Certificate, ...]:
        return self._engine.certificates() if height == self._engine.height else ()

    def body(self, block_hash: bytes) -> Block | None:
        return self._engine.body(block_hash)

    async def import_blocks(self, prepared: Prepared) -> None:
        """Executes and commits blocks that follow the tip, all their signatures checked; others are passed over.
        Errors: ServedBlockInvalid; trio.EndOfChannel when the driver failed meanwhile.
        """
        done, result = trio.open_memory_channel[ServedBlockInvalid | None](1)
        async with result:
            await self._send.send(_Imported(prepared, done))
            failure = await result.receive()
        if failure is not None:
            raise failure

    async def leave(self) -> None:
        """Has ``run`` return, once it has done what waits."""
        await self._send.send(_Leave())

    def validate(self, peer: PeerId, data: bytes) -> Verdict:
        """The consensus topic's validator; rule 3."""
        try:
            message = decode_message(data)
        except EncodingError:
            return Verdict.REJECT
        self._relay.enter(self.view)
        heard = self._relay.hear(peer, message, self._closed_at_ms, monotonic_ms())
        for part in heard.messages:
            self._hear(part, peer, len(data))
        source = node_key_of(peer)
        if heard.height is not None and source is not None and self._context is not None:
            is_behind = heard.height < self._context.height
            self._try_to_send(_Elsewhere(Answer(source, heard.height) if is_behind else CatchUp(heard.height, source)))
        self._wake_relay()
        return heard.verdict

    # -- services

    async def run_relay(self) -> None:
        """Tells the neighbours what is news to them, for ever."""
        while True:
            with trio.move_on_after(NEIGHBOURS_REVIEWED_S):
                await self._relay_woken.wait()
            self._pass_on()
            self._relay_woken, self._relay_urged = trio.Event(), trio.Event()
            self._wake_relay()
            with trio.move_on_after(FLUSH_S):
                await self._relay_urged.wait()

    def _wake_relay(self) -> None:
        if self._relay.has_news:
            self._relay_woken.set()
        if self._relay.is_urgent:
            self._relay_urged.set()

    def _pass_on(self) -> None:
        self._relay.enter(self.view)
        for peer, message in self._relay.due(self._network.neighbours(self._topic), monotonic_ms()):
            data = self._encode(message)
            if data is not None:
                self._network.send(peer, self._topic, data)

    async def run(self, abstain_until: int = 0) -> None:
        """Agrees on heights, one after the other, until ``leave``; below the height ``abstain_until`` without voting.

        Errors: BrokenInvariant, FinalBlockInvalid, StorageError.
        """
        self._begin(abstain_until)
        async with trio.open_nursery() as nursery:
            await self._open_next(nursery)
            while True:
                inputs = await self._next_inputs()
                try:
                    await self._work_off(inputs, nursery)
                finally:
                    for item in inputs:
                        if isinstance(item, _Imported):
                            item.done.close()  # who waits for it must not wait for ever, whatever happened
                if any(isinstance(item, _Leave) for item in inputs):
                    nursery.cancel_scope.cancel()
                    return

    async def _work_off(self, inputs: Sequence[_Input], nursery: trio.Nursery) -> None:
        actions: list[Action] = []
        for item in inputs:
            actions += await self._feed(item, nursery)
            if any(isinstance(action, Commit) for action in actions):
                await self._perform(actions, nursery)
                actions = []
        await self._perform(actions, nursery)

    def _begin(self, abstain_until: int) -> None:
        """Rule 6: nothing of a former run counts but what is on the disk."""
        self._engine = self._make_engine()
        self._engine.abstain_until(abstain_until)
        self._context = None
        self._relay.close()
        self._timers.clear()
        self._executed.clear()
        self._fetching.clear()

    # -- inputs

    def _now(self) -> Instant:
        return Instant(self._wall(), monotonic_ms())

    def _hear(self, message: Message, peer: PeerId, size: int) -> None:
        if self._waiting_bytes + size > MAX_WAITING_BYTES:
            self._log.debug("message dropped: too much waits for the driver")
            return
        if self._try_to_send(_Heard(message, node_key_of(peer), size)):
            self._waiting_bytes += size

    def _try_to_send(self, item: _Input) -> bool:
        try:
            self._send.send_nowait(item)
        except trio.WouldBlock:
            self._log.debug("message dropped: the driver's queue is full")
            return False
        return True

    async def _next_inputs(self) -> list[_Input]:
        """At least one input: timers that are due, then what waits in the queue."""
        inputs: list[_Input] = self._due_timers()
        if not inputs:
            deadline_s = self._timers[0][0] / 1000 if self._timers else trio.current_time() + 3600
            with trio.move_on_at(deadline_s):
                inputs.append(await self._receive.receive())
            inputs += self._due_timers()
        while len(inputs) < FED_TOGETHER:
            try:
                inputs.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                break
        self._waiting_bytes -= sum(item.size for item in inputs if isinstance(item, _Heard))
        return inputs

    def _due_timers(self) -> list[_Input]:
        due: list[_Input] = []
        now_ms = monotonic_ms()
        while self._timers and self._timers[0][0] <= now_ms:
            due.append(heappop(self._timers)[2])
        return due

    async def _feed(self, item: _Input, nursery: trio.Nursery) -> list[Action]:
        engine, now = self._engine, self._now()
        match item:
            case Timer():
                return engine.on_timer(item, now)
            case _Heard(message=message, source=source):
                return engine.on_message(message, source, now)
            case _Built(height=height, view=view, executed=executed):
                self._executed[executed.hash] = executed
                return engine.on_block_built(height, view, executed.block, now)
            case _Executed(height=height, block_hash=block_hash, executed=result):
                if result is not None:
                    self._executed[block_hash] = result
                return engine.on_block_executed(height, block_hash, result is not None, now)
            case _Body(block=block):
                return engine.on_body(block, now)
            case _Imported(prepared=prepared, done=done):
                await self._import(prepared, done, nursery)
                return []
            case _Elsewhere(action=action):
                return [action]
            case _Leave():
                return []

    # -- actions

    async def _perform(self, actions: Sequence[Action], nursery: trio.Nursery) -> None:
        records = [record for action in actions if isinstance(action, Persist) for record in action.records]
        if records:
            await self.until_written(partial(self._journal.write, [to_record(record) for record in records]))
        await self._say([action.message for action in actions if isinstance(action, Broadcast)])
        for action in actions:
            match action:
                case SetTimer(timer=timer, at_monotonic_ms=at_ms):
                    self._timer_count += 1
                    heappush(self._timers, (at_ms, self._timer_count, timer))
                case Build():
                    nursery.start_soon(self._build, action)
                case Execute():
                    nursery.start_soon(self._execute, action)
                case FetchBody(block_hash=block_hash):
                    nursery.start_soon(self._once, block_hash, partial(self._fetch_body, action))
                case FetchCertificates(height=height):
                    nursery.start_soon(self._once, height, partial(self._fetch_certificates, height))
                case Answer(node_key=node_key):
                    nursery.start_soon(self._helper.tell_status, node_key)
                case CatchUp(height=height):
                    self._helper.heard_of_height(height)
                case Evidence():
                    self._helper.equivocation(action)
                case Commit(block=block, certificate=certificate):
                    await self._commit(block, certificate, nursery)
                case Persist() | Broadcast():
                    pass  # done above, together

    async def _say(self, messages: Sequence[Message]) -> None:
        for message in messages:
            to_every_peer = self._relay.say(message)
            data = None if to_every_peer is None else self._encode(to_every_peer)
            if data is not None:
                await self._network.publish(self._topic, data)
        self._wake_relay()

    def _encode(self, message: WireMessage) -> bytes | None:
        """The message as it travels; None if it is too large to."""
        self._salt += 1
        data = encode_message(message, self._salt)
        if len(data) > MAX_MESSAGE_BYTES:
            self._log.error("a message is too large to send", kind=type(message).__name__, bytes=len(data))
            return None
        return data

    async def _build(self, build: Build) -> None:
        candidates = self._helper.candidates()
        make = partial(self._chain.build, build.height, build.view, build.time_ms, build.parent_certificate, candidates)
        executed = await self._worker.do(make)
        if executed is not None:
            await self._send.send(_Built(build.height, build.view, executed))

    async def _execute(self, execute: Execute) -> None:
        try:
            executed = await self._worker.do(partial(self._chain.execute, execute.block))
        except InvalidBlock as error:
            if execute.block.header.height <= self._chain.height:
                return  # it was fetched and committed meanwhile: this height is about to be closed
            self._log.warning("invalid block", height=execute.block.header.height, reason=str(error))
            executed = None
        await self._send.send(_Executed(execute.block.header.height, execute.block_hash, executed))

    async def _once(self, name: bytes | int, fetch: Callable[[], Awaitable[None]]) -> None:
        """Fetches unless the same is being fetched: the engine asks again and again, and a peer may be slow."""
        if name not in self._fetching:
            self._fetching.add(name)
            try:
                await fetch()
            finally:
                self._fetching.discard(name)

    async def _fetch_body(self, fetch: FetchBody) -> None:
        block = await self._helper.fetch_body(fetch.block_hash, fetch.node_keys)
        if block is not None:
            await self._send.send(_Body(block))

    async def _fetch_certificates(self, height: int) -> None:
        certificates = await self._helper.fetch_certificates(height)
        if certificates:
            await self._send.send(_Heard(Certificates(tuple(certificates)), None, 0))

    async def _commit(self, block: Block, certificate: Certificate, nursery: trio.Nursery) -> None:
        executed = self._executed.get(block.hash)
        assert executed is not None, "the engine commits what it was told to be valid"
        await self._store(executed, certificate, max(0, self._wall() - block.header.time_ms))
        await self._open_next(nursery)

    async def _import(
        self,
        prepared: Prepared,
        done: trio.MemorySendChannel[ServedBlockInvalid | None],
        nursery: trio.Nursery,
    ) -> None:
        failure: ServedBlockInvalid | None = None
        before = self._chain.height
        highest = self._halt_height or prepared.blocks[-1].height
        while rest := [block for block in prepared.blocks if self._chain.height < block.height <= highest]:
            try:
                row = await self._worker.do(partial(self._chain.execute_row, rest))
            except (InvalidBlock, EncodingError) as error:
                failure = ServedBlockInvalid(str(error))
                break
            if row is None:
                break
            await self.until_written(partial(self._chain.commit_row, row))
            await self._stored(row.last)
            self._helper.imported(row)
        if self._chain.height > before:
            await self._open_next(nursery)
        with suppress(trio.BrokenResourceError):  # whoever waited for it has been stopped
            await done.send(failure)

    async def _store(self, executed: ExecutedBlock, certificate: Certificate, finality_ms: int) -> None:
        draw = self._chain.open.draw
        skipped = tuple(draw.leader_account(view) for view in range(executed.block.header.view))
        await self.until_written(partial(self._chain.commit, executed, certificate))
        await self._stored(executed.block.header.height)
        self._helper.committed(executed, certificate, finality_ms, skipped)

    async def _stored(self, height: int) -> None:
        await self.until_written(partial(self._journal.clear_through, height))
        self._executed.clear()
        self._closed_at_ms = monotonic_ms()

    async def _open_next(self, nursery: trio.Nursery) -> None:
        """Opens the height after the tip with what the journal holds of it."""
        height = self._chain.height + 1
        if self._halt_height and height > self._halt_height:
            if self._context is not None:
                self._log.info("halt height reached", height=self._chain.height)
            self._context = None
            self._relay.close()
            self._timers.clear()
            return
        self._context = context = self._chain.height_context()
        self._relay.open(context)
        contents = None
        if self._engine.height == 0:  # just started: what was said at this height before must not be contradicted
            contents = load_contents(await self._worker.do(partial(self._journal.load, height)))
        await self._perform(self._engine.open_height(context, self._now(), contents), nursery)

    async def until_written(self, write: Callable[[], None]) -> None:
        """Rule 5."""
        while True:
            try:
                await self._worker.do(write)
            except DiskFull as error:
                if not self.disk_full:
                    self._log.error("disk full", detail=str(error))
                self.disk_full = True
                await trio.sleep(DISK_FULL_PAUSE_S)
            else:
                if self.disk_full:
                    self._log.info("there is room on the disk again")
                self.disk_full = False
                return

"""How a home stays level with the others: ``node.sync`` without its tasks, around the same plan of downloads.

1. When a home starts, and whenever one of two may be behind, homes tell each other where they stand.
2. What is missing is fetched as ``node.download.Download`` plans it, from several at once, and executed and stored in
   rows (``node.batches``). A request that is not answered within ten seconds has failed.
3. A height that is open for longer than 2Δ has two others asked where they stand, every 2Δ, and so has a rumour of a
   height that nobody claims. (A node asks while it waits for the next height too; nothing can be missed then that is
   not missed later.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from devnet.laboratory.chaos.words import block_words
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError
from node.batches import PreparedBlock, prepare
from node.download import Ask, Download, Served
from node.protocol import StoredBlock

if TYPE_CHECKING:
    from devnet.laboratory.chaos.home import Home

REQUEST_TIMEOUT_MS: Final = 10_000
ASKED_AT_ONCE: Final = 2
LEVEL_WITHIN: Final = 2


class CatchingUp:
    """See the module's rules. ``claims``: home → the height it says it has."""

    def __init__(self, home: Home) -> None:
        self.claims: dict[int, int] = {}
        self._home = home
        self._world = home.world
        height = home.disk.height
        seed = f"{home.world.name}/{home.number}/{home.generation}"
        self.download: Download[StoredBlock] = Download(height, Random(seed))  # noqa: S311 - reproducible
        self._wakes_at_ms = 0

    @property
    def is_level(self) -> bool:
        return max(self.claims.values(), default=0) - self._home.chain.height < LEVEL_WITHIN

    # Who stands where

    def ask_everyone(self) -> None:
        for other in self._world.founding.members:
            if other.number != self._home.number:
                self.tell_status(other.number)

    def tell_status(self, other: int) -> None:
        """Tells another home where this one stands, and asks it the same."""
        home, world = self._home, self._world
        height = home.disk.height
        if other in world.homes:
            asked = world.homes[other]
            _post(home, asked, lambda: asked.catching_up.answer_status(home, height))
        else:
            claimed = world.mind.status_of(other)
            if claimed is not None:
                world.tell(home.number, partial(self.take_status, other, claimed))

    def answer_status(self, asking: Home, height: int) -> None:
        mine = self._home.disk.height
        _post(self._home, asking, lambda: asking.catching_up.take_status(self._home.number, mine))
        self.take_status(asking.number, height)

    def take_status(self, other: int, height: int) -> None:
        self.claims[other] = height
        self.download.claims(str(other), height)
        if height > self._home.disk.height:
            self.pump()

    def heard_of(self, height: int) -> None:
        """Somebody speaks of a later height."""
        if height - 1 > max(self._home.chain.height, *self.claims.values(), 0):
            self._ask_some()

    def look_around_if_it_stands_still(self, height: int) -> None:
        """Rule 3."""
        home = self._home
        parameters = home.chain.open.parameters
        waits_ms = max(0, home.chain.open.earliest_ms - home.wall_ms())
        due_ms = self._world.now_ms + waits_ms + 2 * parameters.message_delay_ms
        home.later_at(due_ms, partial(self._look_around, height))

    def _look_around(self, height: int) -> None:
        if self._home.chain.height < height:
            self._ask_some()
            delta_ms = self._home.chain.open.parameters.message_delay_ms
            self._home.later_at(self._world.now_ms + 2 * delta_ms, partial(self._look_around, height))

    def _ask_some(self) -> None:
        others = [one.number for one in self._world.founding.members if one.number != self._home.number]
        for other in self._world.random.sample(others, min(ASKED_AT_ONCE, len(others))):
            self.tell_status(other)

    # Blocks

    def pump(self) -> None:
        """Sends what the plan asks for, and wakes when it wants to be asked again."""
        world = self._world
        for ask in self.download.plan(world.now_ms):
            self._send(ask)
        wake_ms = self.download.wake_at_ms(world.now_ms)
        if wake_ms is not None and not world.now_ms < self._wakes_at_ms <= wake_ms:
            self._wakes_at_ms = wake_ms
            self._home.later_at(wake_ms, self.pump)

    def _send(self, ask: Ask) -> None:
        home, world, other = self._home, self._world, int(ask.peer)
        world.note(f"home {home.number} asks home {other} for blocks {ask.first} to {ask.last}")
        home.later_at(world.now_ms + REQUEST_TIMEOUT_MS, partial(self._timed_out, ask))
        if other in world.homes:
            asked = world.homes[other]
            _post(home, asked, lambda: asked.catching_up.serve(self, ask))
        else:
            served = world.mind.serve(other, ask.first, ask.count)
            if served is not None:
                world.tell(home.number, partial(self.take, ask, served))

    def serve(self, asking: CatchingUp, ask: Ask) -> None:
        """Answers with what is stored, which may be less than was asked for."""
        chain = self._home.chain
        stored = (chain.stored_block(height) for height in range(ask.first, min(ask.last, chain.height) + 1))
        blocks = tuple(block for block in stored if block is not None)
        _post(self._home, asking._home, lambda: asking.take(ask, blocks))

    def _timed_out(self, ask: Ask) -> None:
        self.download.failed(ask, self._world.now_ms)
        self.pump()

    def take(self, ask: Ask, blocks: tuple[StoredBlock, ...]) -> None:
        """An answer; it is nothing to a home that has restarted since it asked."""
        if self._home.catching_up is not self:
            return
        size_bytes = sum(len(stored.block) + len(stored.certificate) for stored in blocks)
        blame = self.download.answered(ask, blocks, size_bytes, self._world.now_ms)
        if blame is not None:
            self._world.note(f"home {self._home.number} blames home {blame.peer}: it {blame.misconduct}")
        while (served := self.download.take()) is not None:
            self._home.last(partial(self._import, served), self._home.open_next)
        self.pump()

    def _import(self, served: Served[StoredBlock]) -> None:
        signatures = self._world.signatures
        try:
            prepared = prepare(served.blocks, signatures)
        except (InvalidBlock, EncodingError) as error:
            self._was_wrong(served.first, str(error))
            return
        if all(signatures.check(transaction) for transaction in prepared.unverified):
            self._import_rows(prepared.blocks)
        else:
            self._was_wrong(served.first, "a transaction is not signed by its sender")

    def _import_rows(self, blocks: Sequence[PreparedBlock]) -> None:
        """As ``node.driver`` does: row by row, each in one write."""
        home = self._home
        rest = [block for block in blocks if block.height > home.chain.height]
        if not rest:
            return
        try:
            row = home.chain.execute_row(rest)
        except (InvalidBlock, EncodingError) as error:
            self._was_wrong(home.chain.height + 1, str(error))
            return
        if row is not None:
            home.first(*home.committing_row(row), partial(self._import_rows, rest))

    def _was_wrong(self, height: int, fault: str) -> None:
        blame = self.download.wrong(height, fault, self._world.now_ms)
        guilty = "nobody" if blame is None else f"home {blame.peer}"
        self._world.note(f"home {self._home.number} was served a wrong block {height} by {guilty}: {fault}")

    # Bodies and certificates

    def fetch_body(self, block_hash: bytes, node_keys: Sequence[bytes]) -> None:
        world, home = self._world, self._home
        signers = [world.numbers[key] for key in node_keys if key != home.node_key]
        for other in world.random.sample(signers, min(ASKED_AT_ONCE, len(signers))):
            if other in world.homes:
                asked = world.homes[other]
                _post(home, asked, partial(_serve_body, asked, home, block_hash))

    def fetch_certificates(self) -> None:
        world, home = self._world, self._home
        others = [number for number in world.homes if number != home.number]
        for other in world.random.sample(others, min(ASKED_AT_ONCE, len(others))):
            _post(home, world.homes[other], partial(_serve_certificates, world.homes[other], home))


def _post(sender: Home, receiver: Home, call: Callable[[], object]) -> None:
    """Has the receiver do something when the message arrives, if it is up then."""
    sender.world.network.send(sender.number, receiver.number, lambda: call() if receiver.up else None)


def _serve_body(asked: Home, asking: Home, block_hash: bytes) -> None:
    block = asked.body(block_hash)
    if block is not None:
        asked.world.note(f"home {asked.number} gives home {asking.number} {block_words(block)}")
        _post(asked, asking, partial(asking.hear_body, block))


def _serve_certificates(asked: Home, asking: Home) -> None:
    held = asked.engine.certificates()
    if held and asked.engine.height == asking.engine.height:
        _post(asked, asking, partial(asking.hear_certificates, held))

"""A stage for one real engine: the test plays everyone else, the clock, the disk and the application.

Seat i leads the views v with v mod n = i. The parent's block is at time 0, so view 0 opens at ``INTERVAL_MS``. The
application builds and executes at once unless told otherwise.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

from consensus.block import NO_HASH, VERSION, Block, Certificate, Header
from consensus.certificates import build_certificate
from consensus.committee import Committee
from consensus.engine import (
    Action,
    Broadcast,
    Build,
    Engine,
    Execute,
    HeightContext,
    Instant,
    JournalContents,
    Persist,
    SetTimer,
    Timer,
)
from consensus.messages import Certificates, Message, Proposal, Vote, Votes
from consensus.verifier import KeySigner, SignatureVerifier
from ledger.keys import SigningKey
from ledger.merkle import merkle_root
from ledger.records import CommitteeSnapshot, SnapshotMember
from ledger.statements import Statement, StatementKind

DELTA_MS = 1_000
INTERVAL_MS = 5_000
TOLERANCE_MS = 1_000
CHAIN_ID = sha256(b"stage").digest()
PARENT_HASH = sha256(b"parent").digest()
MONOTONIC_BASE_MS = 77_000

PROPOSAL, NOTARIZE, NULLIFY, FINALIZE = StatementKind

A = TypeVar("A")


class Stage:
    def __init__(
        self,
        *,
        size: int = 4,
        me: int | None = 0,
        weights: Sequence[int] | None = None,
        height: int = 1,
        at_ms: int = INTERVAL_MS,
        abstain_until: int = 0,
    ) -> None:
        """``me``: the engine's seat; ``size`` for a key that has none; None for no key at all."""
        self.size = size
        self.me = me
        self.keys = [SigningKey(sha256(bytes([index])).digest()) for index in range(size + 1)]
        self.signers = [KeySigner(key, CHAIN_ID) for key in self.keys]
        members = tuple(
            SnapshotMember(bytes([index + 1]) * 32, self.keys[index].public_key, 0, 0, weights[index] if weights else 1)
            for index in range(size)
        )
        self.committee = Committee(CommitteeSnapshot(members))
        self.height = height
        self.abstain_until = abstain_until
        self.now_ms = at_ms
        self.skew_ms = 0
        self.builds = self.executes = True
        self.parent_hash = PARENT_HASH
        self.invalid: set[bytes] = set()
        self.disk: dict[tuple[object, ...], Vote | Certificate | Block | Proposal] = {}
        self.blocks_made = 0
        self.start()

    # The engine's life

    def start(self, leader: Callable[[int], int] | None = None) -> None:
        """A new engine, as after a start of the node; not opened yet."""
        self._leader = leader or (lambda view: view % self.size)
        signer = None if self.me is None else self.signers[self.me]
        self.engine = Engine(signer, SignatureVerifier(CHAIN_ID), self.is_bound)
        self.engine.abstain_until(self.abstain_until)
        self.actions: list[Action] = []
        self._timers: list[tuple[int, int, Timer]] = []

    def context(self, height: int, parent_hash: bytes = PARENT_HASH, parent_time_ms: int = 0) -> HeightContext:
        self.parent_hash = parent_hash
        final = self.certificate(FINALIZE, 0, parent_hash, height=height - 1) if height > 1 else None
        return HeightContext(
            height=height,
            parent_hash=parent_hash,
            parent_time_ms=parent_time_ms,
            parent_certificate=final,
            parent_committee=self.committee if height > 1 else None,
            committee=self.committee,
            leader=self._leader,
            block_interval_ms=INTERVAL_MS,
            delta_ms=DELTA_MS,
            clock_tolerance_ms=TOLERANCE_MS,
        )

    def open(self) -> None:
        """Opens the height with what is on the disk."""
        records = self.disk.values()
        journal = JournalContents(
            tuple(record for record in records if isinstance(record, Vote)),
            tuple(record for record in records if isinstance(record, Certificate)),
            tuple(record for record in records if isinstance(record, Block)),
            tuple(record for record in records if isinstance(record, Proposal)),
        )
        self.do(self.engine.open_height(self.context(self.height), self.now, journal))

    def restart(self) -> None:
        """Loses all but the disk and opens the height again."""
        self.start(self._leader)
        self.open()

    @property
    def now(self) -> Instant:
        return Instant(self.now_ms + self.skew_ms, self.now_ms + MONOTONIC_BASE_MS)

    def do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self.actions.append(action)
            match action:
                case Persist(records=records):
                    for record in records:
                        self.disk[_key(record)] = record
                case SetTimer(timer=timer, at_monotonic_ms=at_ms):
                    heapq.heappush(self._timers, (at_ms, len(self.actions), timer))
                case Build(view=view, time_ms=time_ms) if self.builds:
                    self.do(self.engine.on_block_built(self.height, view, self.block(view, time_ms=time_ms), self.now))
                case Execute(block_hash=block_hash) if self.executes:
                    valid = block_hash not in self.invalid
                    self.do(self.engine.on_block_executed(self.height, block_hash, valid, self.now))

    def advance(self, milliseconds: int) -> None:
        """Lets time pass; timers go off when they are due."""
        end_ms = self.now_ms + milliseconds
        while self._timers and self._timers[0][0] - MONOTONIC_BASE_MS <= end_ms:
            at_ms, _, timer = heapq.heappop(self._timers)
            self.now_ms = max(self.now_ms, at_ms - MONOTONIC_BASE_MS)
            self.do(self.engine.on_timer(timer, self.now))
        self.now_ms = end_ms

    # What others make and say

    @staticmethod
    def is_bound(block: Block) -> bool:
        return block.header.transactions_root == merkle_root(block.transactions)

    def block(
        self,
        view: int,
        *,
        time_ms: int | None = None,
        producer: int | None = None,
        parent_hash: bytes | None = None,
    ) -> Block:
        """Another block at every call."""
        self.blocks_made += 1
        transactions = (self.blocks_made.to_bytes(4, "big"),)
        seat = self._leader(view) if producer is None else producer
        header = Header(
            version=VERSION,
            chain_id=CHAIN_ID,
            height=self.height,
            view=view,
            time_ms=INTERVAL_MS if time_ms is None else time_ms,
            parent_hash=self.parent_hash if parent_hash is None else parent_hash,
            producer=self.committee.seats[seat].account,
            beacon_proof=bytes(80),
            transactions_root=merkle_root(transactions),
            receipts_root=NO_HASH,
            state_root=NO_HASH,
            parent_certificate_hash=NO_HASH,
            committee_hash=self.committee.hash,
        )
        return Block(header, None, transactions)

    def signed(
        self, index: int, kind: StatementKind, view: int, block_hash: bytes | None = None, height: int | None = None
    ) -> Vote:
        statement = Statement(kind, height or self.height, view, block_hash)
        return Vote(statement, self.keys[index].public_key, self.signers[index].sign(statement))

    def certificate(
        self,
        kind: StatementKind,
        view: int,
        block_hash: bytes | None = None,
        members: Sequence[int] | None = None,
        height: int | None = None,
    ) -> Certificate:
        """By all but the engine's own seat unless told otherwise."""
        seats = [index for index in range(self.size) if index != self.me] if members is None else members
        votes = {index: self.signed(index, kind, view, block_hash, height) for index in seats}
        statement = Statement(kind, height or self.height, view, block_hash)
        return build_certificate(statement, {index: vote.signature for index, vote in votes.items()}, self.committee)

    def proposal(
        self, view: int, block: Block, justification: Iterable[Certificate] = (), leader: int | None = None
    ) -> Proposal:
        index = self._leader(view) if leader is None else leader
        signature = self.signers[index].sign(Statement(PROPOSAL, block.header.height, view, block.hash))
        node_key = self.keys[index].public_key
        return Proposal(block.header.height, view, block, tuple(justification), node_key, signature)

    # Handing it to the engine

    def hear(self, message: Message | Vote | Certificate, source: int | None = None) -> None:
        if isinstance(message, Vote):
            message = Votes((message,))
        elif isinstance(message, Certificate):
            message = Certificates((message,))
        key = None if source is None else self.keys[source].public_key
        self.do(self.engine.on_message(message, key, self.now))

    def hear_votes(
        self,
        kind: StatementKind,
        view: int,
        block_hash: bytes | None,
        members: Iterable[int],
        height: int | None = None,
    ) -> None:
        for index in members:
            self.hear(self.signed(index, kind, view, block_hash, height))

    # What the engine did

    def take(self) -> list[Action]:
        """All actions since the last time."""
        actions, self.actions = self.actions, []
        return actions

    def done(self, kind: type[A]) -> list[A]:
        return [action for action in self.actions if isinstance(action, kind)]

    def votes(self) -> list[tuple[StatementKind, int, bytes | None]]:
        """(kind, view, hash) of each vote sent, in order."""
        return [
            (StatementKind(vote.statement.kind), vote.statement.view, vote.statement.block_hash)
            for action in self.done(Broadcast)
            if isinstance(action.message, Votes)
            for vote in action.message.votes
        ]

    def proposals(self) -> list[Proposal]:
        return [action.message for action in self.done(Broadcast) if isinstance(action.message, Proposal)]

    def certificates(self) -> list[tuple[StatementKind, int, bytes | None]]:
        return [
            (StatementKind(certificate.kind), certificate.view, certificate.block_hash)
            for action in self.done(Broadcast)
            if isinstance(action.message, Certificates)
            for certificate in action.message.certificates
        ]


def _key(record: Vote | Certificate | Block | Proposal) -> tuple[object, ...]:
    if isinstance(record, Vote):
        return "vote", record.statement.height, record.statement.view, int(record.statement.kind)
    if isinstance(record, Certificate):
        return "certificate", record.height, record.view, int(record.kind)
    if isinstance(record, Proposal):
        return "proposal", record.height, record.view
    return "body", record.hash

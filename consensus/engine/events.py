"""What goes into the engine and what comes out of it.

Times are integers in milliseconds. ``wall`` is the clock people read and may jump; ``monotonic`` counts from anywhere
and never goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from consensus.block import Block, Certificate
from consensus.committee import Committee
from consensus.messages import Message, Proposal, Vote
from ledger.statements import SignedStatement

Record = Vote | Certificate | Block | Proposal
"""What the journal keeps. Keys: a vote's and a certificate's (height, view, kind); a block's (height, hash); a
proposal's (height, view). Writing a key again replaces what was there."""


def height_of(record: Record) -> int:
    if isinstance(record, Vote):
        return record.statement.height
    return record.header.height if isinstance(record, Block) else record.height


class Instant(NamedTuple):
    """Both clocks, read together."""

    wall_ms: int
    monotonic_ms: int


@dataclass(frozen=True, slots=True)
class HeightContext:
    """What the chain says about the height to be agreed on.

    ``leader``: view → index of the seat that leads it, the same at every node. ``parent_certificate`` is the finalize
    certificate stored with the parent, ``parent_committee`` the one that signed it; both None at height 1 only.
    """

    height: int
    parent_hash: bytes
    parent_time_ms: int
    parent_certificate: Certificate | None
    parent_committee: Committee | None
    committee: Committee
    leader: Callable[[int], int]
    block_interval_ms: int
    delta_ms: int
    clock_tolerance_ms: int

    def __post_init__(self) -> None:
        assert self.height >= 1
        assert (self.parent_certificate is None) == (self.height == 1)
        assert (self.parent_committee is None) == (self.height == 1)


@dataclass(frozen=True, slots=True)
class JournalContents:
    """All records of one height that were persisted before a restart, each kind in any order."""

    votes: tuple[Vote, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    bodies: tuple[Block, ...] = ()
    proposals: tuple[Proposal, ...] = ()


class TimerKind(IntEnum):
    OPEN = 1  # view 0 opens
    NULLIFY = 2  # the view has lasted too long
    LEAD = 3  # the leader has waited Δ for the previous view to finalize
    HOLD = 4  # an early proposal becomes valid
    RESEND = 5


class Timer(NamedTuple):
    kind: TimerKind
    height: int
    view: int


@dataclass(frozen=True, slots=True)
class Persist:
    """One transaction, all or nothing. What follows may only happen once it is on the disk."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """To everyone, at best effort. Waiting votes and certificates may be sent together."""

    message: Message


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Call ``on_timer`` once that time has come, never before. Timers are never cancelled: late ones are ignored."""

    timer: Timer
    at_monotonic_ms: int


@dataclass(frozen=True, slots=True)
class Build:
    """Make a block for this turn with exactly this time and certificate; answer with ``on_block_built``."""

    height: int
    view: int
    time_ms: int
    parent_certificate: Certificate | None


@dataclass(frozen=True, slots=True)
class Execute:
    """Check the block against every rule of the chain; answer with ``on_block_executed``."""

    block: Block
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class FetchBody:
    """Ask some of these nodes for the block; answer with ``on_body``. It is repeated as long as it is needed."""

    height: int
    block_hash: bytes
    node_keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FetchCertificates:
    """Ask some members for all certificates of the open height they hold; answer with ``on_message``."""

    height: int


@dataclass(frozen=True, slots=True)
class Answer:
    """This node speaks of a height long closed: send it committed blocks from there on, at most 8."""

    node_key: bytes
    from_height: int


@dataclass(frozen=True, slots=True)
class CatchUp:
    """This node speaks of a later height: ask it, or anyone, for the committed blocks up to there."""

    height: int
    node_key: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """The block is final and was executed. Store it with the certificate, then ``open_height`` the next."""

    block: Block
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Evidence:
    """The node has equivocated: whoever shows these two statements has it expelled."""

    node_key: bytes
    first: SignedStatement
    second: SignedStatement


Action = (
    Persist
    | Broadcast
    | SetTimer
    | Build
    | Execute
    | FetchBody
    | FetchCertificates
    | Answer
    | CatchUp
    | Commit
    | Evidence
)


class Outbox:
    """Collects what one input leads to. Everything to be persisted comes first, in one transaction, so nothing can
    leave before it.
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._actions: list[Action] = []

    def persist(self, record: Record) -> None:
        self._records.append(record)

    def add(self, action: Action) -> None:
        self._actions.append(action)

    def take(self) -> list[Action]:
        actions, self._actions = self._actions, []
        if self._records:
            actions.insert(0, Persist(tuple(self._records)))
            self._records = []
        return actions

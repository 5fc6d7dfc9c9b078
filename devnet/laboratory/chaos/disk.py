"""A home's disk: it survives the home, and fails it at every point at which something is written.

1. Chain, journal and mempool file are those of ``storage.memory``, unchanged but for what happens before and after a
   write. What was written stays; what was not is lost with the home.
2. An *armed* write point cuts the power there, once: before or after a journal write, before a commit, between a commit
   and the clearing of the journal, after that. A *fuse* cuts it for everybody after the journal write that holds a
   finalize vote.
3. While the disk is *full* every write raises ``DiskFull`` and changes nothing.
4. A journal that is *lost* is a new one, which vouches for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from ledger.statements import StatementKind
from ledger.transactions import decode_transaction
from storage.errors import DiskFull
from storage.interface import CommittedBlock, JournalContents, JournalRecord, VoteRecord
from storage.memory import MemoryChain, MemoryJournal

_NOTHING: Final = JournalContents()


class WritePoint(StrEnum):
    """Where the power may go; the words are for people."""

    BEFORE_JOURNAL = "before a journal write"
    AFTER_JOURNAL = "after a journal write, before anything of it was sent"
    BEFORE_COMMIT = "before a block was committed"
    BEFORE_CLEAR = "between committing a block and clearing the journal"
    AFTER_CLEAR = "after a block was committed and the journal cleared"


class PowerCut(Exception):
    """The home is dark from here on, or, if it ``spreads``, the whole street."""

    def __init__(self, home: int, point: WritePoint, *, spreads: bool) -> None:
        super().__init__(f"home {home}: {point}")
        self.home = home
        self.point = point
        self.spreads = spreads


class Disk:
    """See the module's rules. ``home`` is its number."""

    def __init__(self, home: int, journal_type: type[FaultyJournal]) -> None:
        self.home = home
        self.armed: WritePoint | None = None
        self.has_fuse = False
        self.is_full = False
        self.chain = FaultyChain(self)
        self.waiting = WaitingFile(self)
        self._journal_type = journal_type
        self.journal = journal_type(self)

    @property
    def height(self) -> int:
        tip = self.chain.tip()
        return 0 if tip is None else tip.height

    def lose_journal(self) -> None:
        self.journal = self._journal_type(self)

    def passes(self, point: WritePoint) -> None:
        """Errors: PowerCut."""
        if self.armed is point:
            self.disarm()
            raise PowerCut(self.home, point, spreads=False)

    def disarm(self) -> None:
        self.armed = None
        self.has_fuse = False

    def require_room(self) -> None:
        """Errors: DiskFull."""
        if self.is_full:
            raise DiskFull(f"home {self.home}", "simulated")


class FaultyChain(MemoryChain):
    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk

    def commit_many(self, blocks: Sequence[CommittedBlock]) -> None:
        self._disk.require_room()
        self._disk.passes(WritePoint.BEFORE_COMMIT)
        super().commit_many(blocks)


class FaultyJournal(MemoryJournal):
    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk

    def write(self, records: Sequence[JournalRecord]) -> None:
        self._disk.require_room()
        self._disk.passes(WritePoint.BEFORE_JOURNAL)
        super().write(records)
        if self._disk.has_fuse and any(_is_finalize(record) for record in records):
            self._disk.disarm()
            raise PowerCut(self._disk.home, WritePoint.AFTER_JOURNAL, spreads=True)
        self._disk.passes(WritePoint.AFTER_JOURNAL)

    def written(self, height: int) -> JournalContents:
        """What of a height is on the disk, not to be changed."""
        return self._heights.get(height, _NOTHING)

    def clear_through(self, height: int) -> None:
        self._disk.require_room()
        self._disk.passes(WritePoint.BEFORE_CLEAR)
        super().clear_through(height)
        self._disk.passes(WritePoint.AFTER_CLEAR)


class WaitingFile:
    """Keeps ``node.intake.Memory``: the transactions that wait, each once."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._raws: list[bytes] = []

    def load(self) -> list[bytes]:
        return list(self._raws)

    def holds(self, transaction_id: bytes) -> bool:
        return any(decode_transaction(raw).id == transaction_id for raw in self._raws)

    def append(self, raws: Iterable[bytes]) -> None:
        """Errors: OSError."""
        if self._disk.is_full:
            raise OSError("no room on the simulated disk")
        self._raws.extend(raws)

    def rewrite_if_grown(self, waiting_bytes: int, raws: Iterable[bytes]) -> None:
        """Small enough to be rewritten whenever half of it is done with."""
        if sum(map(len, self._raws)) > 2 * waiting_bytes:
            self._raws = list(raws)

    def has_room(self) -> bool:
        return not self._disk.is_full

    def close(self) -> None:
        """Nothing to let go of."""


def _is_finalize(record: JournalRecord) -> bool:
    return isinstance(record, VoteRecord) and record.kind == StatementKind.FINALIZE

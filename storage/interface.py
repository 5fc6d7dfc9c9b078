"""What the rooms above see of the disk, and nothing about how it is done.

Two implementations keep each contract and pass the same tests: LMDB (``storage.chain``, ``storage.journal``) and memory
(``storage.memory``), so that a simulation can lose writes and crash without a disk.

1. The chain is a row of blocks 0 … tip without a gap. ``commit`` adds one whole block or nothing: its bytes, its
   indices, its effect on the state and on the state tree. After it returns, the block is on the disk for good.
   ``commit_many`` adds several or nothing, in one write.
2. A reader sees whole blocks only. A ``snapshot`` sees one tip for as long as it is open; keep it short, the file grows
   meanwhile.
3. What is not there is None or empty. What was pruned raises ``Pruned``. What is there but altered raises ``Damaged``,
   never passes for good.
4. The journal holds what this node has said at open heights: a vote or proposal leaves the node only after ``write``
   has returned.
5. Writers are one at a time; readers may be in any thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from storage.errors import OutOfOrder

MAX_HISTORY_PAGE: Final = 1_000


class Tip(NamedTuple):
    """The newest block: its height, its hash and the root of the state after it."""

    height: int
    block_hash: bytes
    state_root: bytes


class TransactionPlace(NamedTuple):
    height: int
    position: int


class HistoryEntry(NamedTuple):
    """The transaction at ``position`` of the block touched ``account``; ``kind`` is the ledger's word for how, 0 …
    65535. At most one for each (account, position).
    """

    account: bytes
    position: int
    kind: int


class HistoryItem(NamedTuple):
    height: int
    position: int
    kind: int


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """One final block and all its effects. Hashes and roots are 32 bytes; ``parent_hash`` of height 0 is not looked at.

    ``block``: header and body; ``certificate``: the finalize certificate; ``transaction_ids``: in the order of the
    block; ``state_changes``: key → value, None deletes; ``tree_nodes``: ``state_tree.update(...).nodes`` for these
    changes.
    """

    height: int
    block_hash: bytes
    parent_hash: bytes
    state_root: bytes
    block: bytes
    receipts: bytes
    certificate: bytes
    transaction_ids: Sequence[bytes]
    history: Sequence[HistoryEntry]
    state_changes: Mapping[bytes, bytes | None]
    tree_nodes: Mapping[bytes, bytes | None]

    def __post_init__(self) -> None:
        assert 0 <= self.height < 1 << 64
        assert all(len(name) == 32 for name in (self.block_hash, self.parent_hash, self.state_root))


def require_follows(committed: CommittedBlock, tip: Tip | None) -> None:
    """Raise ``OutOfOrder`` unless the block is the one after ``tip`` (None: the genesis block)."""
    if tip is None:
        if committed.height != 0:
            raise OutOfOrder(f"block {committed.height} cannot be the first, the chain starts at 0")
    elif committed.height != tip.height + 1:
        raise OutOfOrder(f"block {committed.height} does not follow height {tip.height}")
    elif committed.parent_hash != tip.block_hash:
        raise OutOfOrder(
            f"block {committed.height} names parent {committed.parent_hash.hex()}, the tip is {tip.block_hash.hex()}"
        )


class ChainView(Protocol):
    """Reads. A snapshot answers all of them for one tip; the store itself answers each for the newest."""

    def tip(self) -> Tip | None:
        """None before the genesis block is committed."""
        ...

    def prune_floor(self) -> int:
        """The lowest height whose block is kept; 0 in an archive."""
        ...

    def block(self, height: int) -> bytes | None: ...

    def block_hash(self, height: int) -> bytes | None: ...

    def receipts(self, height: int) -> bytes | None: ...

    def certificate(self, height: int) -> bytes | None: ...

    def find_transaction(self, transaction_id: bytes) -> TransactionPlace | None: ...

    def history(self, account: bytes, before: tuple[int, int] | None, limit: int) -> list[HistoryItem]:
        """Newest first, at most ``limit`` (1 … 1000). For the next page pass the last item's (height, position) as
        ``before``.
        """
        ...

    def get(self, key: bytes) -> bytes | None:
        """The value of a state key."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """State records whose key begins with ``prefix``, in ascending key order, all of one tip."""
        ...

    def scan_above(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """State records whose key sorts after ``key``, in ascending key order, all of one tip."""
        ...

    def tree_node(self, path_key: bytes) -> bytes | None:
        """What ``state_tree`` takes as ``get``."""
        ...


class BlockStore(ChainView, Protocol):
    def snapshot(self) -> AbstractContextManager[ChainView]: ...

    def commit(self, committed: CommittedBlock) -> None:
        """Raises ``OutOfOrder`` unless the block follows the tip; ``DiskFull`` and ``DiskFailed`` leave everything as
        it was.
        """
        ...

    def commit_many(self, blocks: Sequence[CommittedBlock]) -> None:
        """``commit`` of all of them, in order, or of none; nobody sees a state in between. So what the blocks do to
        state and tree may be told by the last alone, as the net effect of all.
        """
        ...

    def adopt(self, committed: CommittedBlock) -> None:
        """Begin an empty store with this block instead of the genesis: its changes are the whole state and tree after
        it, and it is the prune floor. Raises ``OutOfOrder`` unless the store is empty, ``DiskFull``, ``DiskFailed``.
        """
        ...

    def replace_certificate(self, height: int, certificate: bytes) -> None:
        """Store a fuller certificate of a stored height. Raises ``OutOfOrder`` if there is no such block."""
        ...

    def prune(self, below_height: int) -> None:
        """Drop blocks, receipts and certificates below a height not above the tip. State, indices and tree stay."""
        ...

    def size_bytes(self) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class VoteRecord:
    """An own vote, as signed. A different one for the same (height, view, kind) is refused with ``VoteConflict``."""

    height: int
    view: int
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A certificate of the path; a later record for the same (height, view, kind) replaces it."""

    height: int
    view: int
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BodyRecord:
    """A block proposed for the height."""

    height: int
    block_hash: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """An own proposal; a later record for the same (height, view) replaces it."""

    height: int
    view: int
    data: bytes


JournalRecord = VoteRecord | CertificateRecord | BodyRecord | ProposalRecord


@dataclass(slots=True)
class JournalContents:
    """All that was written for one height."""

    votes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """(view, kind) → vote"""
    certificates: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """(view, kind) → certificate"""
    bodies: dict[bytes, bytes] = field(default_factory=dict)
    """block hash → block"""
    proposals: dict[int, bytes] = field(default_factory=dict)
    """view → proposal"""


class JournalStore(Protocol):
    def vouches_for(self, node_key: bytes) -> bool:
        """True if the journal holds all that this key has said above the heights that were cleared. False from the
        journal's creation until ``trust``, over restarts, and for any other key.
        """
        ...

    def trust(self, node_key: bytes) -> None:
        """From now on the journal is complete for this key: called when the key is made, or when the node has passed
        every height at which it may have voted with it before.
        """
        ...

    def cleared_through(self) -> int:
        """The highest height that was ever cleared, 0 if none: what was said there and below is not known here."""
        ...

    def write(self, records: Sequence[JournalRecord]) -> None:
        """All records or none, on the disk when this returns."""
        ...

    def load(self, height: int) -> JournalContents: ...

    def clear_through(self, height: int) -> None:
        """Forget everything of this height and those below; the block is committed."""
        ...

    def close(self) -> None: ...

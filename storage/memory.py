"""The same contracts in memory, for simulations: no disk, no bytes kept after the process.

``MemoryChain`` and ``MemoryJournal`` pass the contract tests of their namesakes. They copy nothing but what a snapshot
that is open during a commit must not see. A simulated crash is: drop the node, keep these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sortedcontainers import SortedDict

from storage.errors import OutOfOrder, Pruned, VoteConflict
from storage.interface import (
    MAX_HISTORY_PAGE,
    BodyRecord,
    CertificateRecord,
    CommittedBlock,
    HistoryItem,
    JournalContents,
    JournalRecord,
    ProposalRecord,
    Tip,
    TransactionPlace,
    VoteRecord,
    require_follows,
)


@dataclass(slots=True)
class _Tables:
    """What one snapshot sees. A height's record is (block hash, block, receipts)."""

    newest: Tip | None = None
    floor: int = 0
    blocks: dict[int, tuple[bytes, bytes, bytes]] = field(default_factory=dict)
    certificates: dict[int, bytes] = field(default_factory=dict)
    transactions: dict[bytes, TransactionPlace] = field(default_factory=dict)
    histories: dict[bytes, list[HistoryItem]] = field(default_factory=dict)
    state: SortedDict = field(default_factory=SortedDict)
    tree: dict[bytes, bytes] = field(default_factory=dict)

    def copy(self) -> _Tables:
        return replace(
            self,
            blocks=dict(self.blocks),
            certificates=dict(self.certificates),
            transactions=dict(self.transactions),
            histories={account: list(items) for account, items in self.histories.items()},
            state=self.state.copy(),
            tree=dict(self.tree),
        )


class MemorySnapshot:
    """Reads of ``storage.interface.ChainView``."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def tip(self) -> Tip | None:
        return self._tables.newest

    def prune_floor(self) -> int:
        return self._tables.floor

    def block(self, height: int) -> bytes | None:
        self._require_kept(height)
        return self._tables.blocks[height][1] if height in self._tables.blocks else None

    def block_hash(self, height: int) -> bytes | None:
        self._require_kept(height)
        return self._tables.blocks[height][0] if height in self._tables.blocks else None

    def receipts(self, height: int) -> bytes | None:
        self._require_kept(height)
        return self._tables.blocks[height][2] if height in self._tables.blocks else None

    def certificate(self, height: int) -> bytes | None:
        self._require_kept(height)
        return self._tables.certificates.get(height)

    def find_transaction(self, transaction_id: bytes) -> TransactionPlace | None:
        return self._tables.transactions.get(transaction_id)

    def history(self, account: bytes, before: tuple[int, int] | None = None, limit: int = 100) -> list[HistoryItem]:
        assert 0 < limit <= MAX_HISTORY_PAGE
        items = reversed(self._tables.histories.get(account, []))
        return [item for item in items if before is None or (item.height, item.position) < before][:limit]

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._tables.state.get(key)
        return value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in self._tables.state.irange(prefix):
            if not key.startswith(prefix):
                return
            yield key, self._tables.state[key]

    def scan_above(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        state = self._tables.state
        for above in state.irange(key, inclusive=(False, True)):
            yield above, state[above]

    def tree_node(self, path_key: bytes) -> bytes | None:
        return self._tables.tree.get(path_key)

    def _require_kept(self, height: int) -> None:
        if 0 <= height < self._tables.floor:
            raise Pruned(height, self._tables.floor)


class MemoryChain(MemorySnapshot):
    """Keeps ``storage.interface.BlockStore``."""

    def __init__(self) -> None:
        super().__init__(_Tables())
        self._open_snapshots = 0

    def close(self) -> None:
        """Nothing to let go of: what was committed stays for the next node that is given this object."""

    @contextmanager
    def snapshot(self) -> Iterator[MemorySnapshot]:
        tables = self._tables
        self._open_snapshots += 1
        try:
            yield MemorySnapshot(tables)
        finally:
            if self._tables is tables:
                self._open_snapshots -= 1

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self.snapshot() as view:
            yield from view.scan(prefix)

    def scan_above(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self.snapshot() as view:
            yield from view.scan_above(key)

    def adopt(self, committed: CommittedBlock) -> None:
        if self._tables.newest is not None:
            raise OutOfOrder("there is a chain already; a state is adopted only where nothing is")
        tables = self._writable()
        _apply(tables, committed)
        tables.floor = committed.height

    def commit(self, committed: CommittedBlock) -> None:
        self.commit_many((committed,))

    def commit_many(self, blocks: Sequence[CommittedBlock]) -> None:
        tip = self._tables.newest
        for committed in blocks:
            require_follows(committed, tip)
            tip = Tip(committed.height, committed.block_hash, committed.state_root)
        tables = self._writable()
        for committed in blocks:
            _apply(tables, committed)

    def replace_certificate(self, height: int, certificate: bytes) -> None:
        if self.block_hash(height) is None:
            raise OutOfOrder(f"no block at height {height} to certify")
        self._writable().certificates[height] = certificate

    def prune(self, below_height: int) -> None:
        tip = self._tables.newest
        if tip is None or below_height > tip.height:
            raise OutOfOrder(f"cannot prune below {below_height}: the tip itself must stay")
        tables = self._writable()
        for height in range(tables.floor, below_height):
            del tables.blocks[height], tables.certificates[height]
        tables.floor = max(tables.floor, below_height)

    def size_bytes(self) -> int:
        return sum(len(block) + len(receipts) for _, block, receipts in self._tables.blocks.values())

    def _writable(self) -> _Tables:
        """The current tables, or a copy if an open snapshot still looks at them."""
        if self._open_snapshots:
            self._tables = self._tables.copy()
            self._open_snapshots = 0
        return self._tables


def _apply(tables: _Tables, committed: CommittedBlock) -> None:
    tables.blocks[committed.height] = (committed.block_hash, committed.block, committed.receipts)
    tables.certificates[committed.height] = committed.certificate
    for position, transaction_id in enumerate(committed.transaction_ids):
        tables.transactions[transaction_id] = TransactionPlace(committed.height, position)
    latest = {(entry.account, entry.position): entry.kind for entry in committed.history}
    for (account, position), kind in sorted(latest.items()):
        tables.histories.setdefault(account, []).append(HistoryItem(committed.height, position, kind))
    for table, changes in ((tables.state, committed.state_changes), (tables.tree, committed.tree_nodes)):
        for key, value in changes.items():
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value
    tables.newest = Tip(committed.height, committed.block_hash, committed.state_root)


class MemoryJournal:
    """Keeps ``storage.interface.JournalStore``."""

    def __init__(self) -> None:
        self._heights: dict[int, JournalContents] = {}
        self._trusted_key: bytes | None = None
        self._cleared_through = 0

    def vouches_for(self, node_key: bytes) -> bool:
        return self._trusted_key == node_key

    def trust(self, node_key: bytes) -> None:
        self._trusted_key = node_key

    def cleared_through(self) -> int:
        return self._cleared_through

    def write(self, records: Sequence[JournalRecord]) -> None:
        written: dict[tuple[int, int, int], bytes] = {}
        for record in records:
            if isinstance(record, VoteRecord):
                place = (record.height, record.view, record.kind)
                stored = self.load(record.height).votes.get((record.view, record.kind))
                if written.setdefault(place, record.data if stored is None else stored) != record.data:
                    raise VoteConflict(*place)
        for record in records:
            contents = self._heights.setdefault(record.height, JournalContents())
            match record:
                case VoteRecord():
                    contents.votes[record.view, record.kind] = record.data
                case CertificateRecord():
                    contents.certificates[record.view, record.kind] = record.data
                case BodyRecord():
                    contents.bodies[record.block_hash] = record.data
                case ProposalRecord():
                    contents.proposals[record.view] = record.data

    def load(self, height: int) -> JournalContents:
        held = self._heights.get(height, JournalContents())
        return JournalContents(dict(held.votes), dict(held.certificates), dict(held.bodies), dict(held.proposals))

    def clear_through(self, height: int) -> None:
        self._cleared_through = max(self._cleared_through, height)
        for cleared in [held for held in self._heights if held <= height]:
            del self._heights[cleared]

    def close(self) -> None:
        """Nothing to let go of."""

"""``ChainDatabase``: the chain on the disk, one LMDB environment ``chain/`` inside the node's data directory.

1. Databases and their records; integers are big-endian, so that keys sort by number; every value is sealed
   (``storage.environment``):

   | database | key | value |
   | --- | --- | --- |
   | blocks | height u64 | block hash 32 ‖ length u32 ‖ block ‖ receipts |
   | certificates | height u64 | finalize certificate |
   | transactions | transaction id | height u64 ‖ position u32 |
   | history | length u8 ‖ account ‖ height u64 ‖ position u32 | kind u16 |
   | state | the ledger's key, 1 … 511 bytes | the ledger's value |
   | tree | path key of ``storage.state_tree`` | node |
   | meta | ``schema``, ``chain_id``, ``tip``, ``prune_floor`` | u32; bytes; height u64 ‖ hash ‖ state root; u64 |

2. One ``commit`` or ``commit_many`` = one write transaction over all of them, flushed before it returns. A process
   killed at any instant leaves a whole block.
3. Every height from the prune floor to the tip has a block. A height in between without one is damage, not absence.
4. A read opens a short read transaction of its own; several reads that must agree share a ``Snapshot``.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import lmdb

from storage.environment import Environment, open_environment, seal, sync_directory, unseal
from storage.errors import Damaged, DiskFull, OutOfOrder, Pruned, StorageError
from storage.interface import (
    MAX_HISTORY_PAGE,
    CommittedBlock,
    HistoryItem,
    Tip,
    TransactionPlace,
    require_follows,
)

SCHEMA: Final = 1
DIRECTORY: Final = "chain"

_DATABASES: Final = ("blocks", "certificates", "transactions", "history", "state", "tree")
_TIP_KEY: Final = b"tip"
_PRUNE_FLOOR_KEY: Final = b"prune_floor"
_PLACE: Final = struct.Struct(">QI")
_TIP: Final = struct.Struct(">Q32s32s")
_BLOCK_HEAD: Final = struct.Struct(">32sI")
_PRUNE_BATCH: Final = 1_000
_READER_CHECK_HEIGHTS: Final = 256

_Transaction = Any  # lmdb.Transaction is generic over what it returns; ours always returns bytes


def _height_key(height: int) -> bytes:
    return height.to_bytes(8, "big")


def _history_prefix(account: bytes) -> bytes:
    assert 0 < len(account) < 256
    return bytes((len(account),)) + account


class Snapshot:
    """All reads, of one tip. Valid inside the ``with`` that made it; may be used from any thread, one at a time."""

    def __init__(self, environment: Environment, transaction: _Transaction) -> None:
        self._environment = environment
        self._databases = environment.databases
        self._transaction = transaction

    def tip(self) -> Tip | None:
        """The newest block, or None before the genesis block is committed."""
        payload = self._read(self._environment.meta, _TIP_KEY, "the record of the tip")
        return None if payload is None else Tip(*_TIP.unpack(payload))

    def prune_floor(self) -> int:
        """The lowest height whose block is kept; 0 in an archive."""
        payload = self._read(self._environment.meta, _PRUNE_FLOOR_KEY, "the record of the prune floor")
        return 0 if payload is None else int.from_bytes(payload, "big")

    def block(self, height: int) -> bytes | None:
        """Header and body as committed; None above the tip. Raises ``Pruned`` below the floor, ``Damaged``."""
        record = self._at_height("blocks", height)
        return None if record is None else record[_BLOCK_HEAD.size : _BLOCK_HEAD.size + _block_length(record)]

    def block_hash(self, height: int) -> bytes | None:
        """The hash under which the block was committed, not recomputed; else like ``block``."""
        record = self._at_height("blocks", height)
        return None if record is None else record[:32]

    def receipts(self, height: int) -> bytes | None:
        """Like ``block``."""
        record = self._at_height("blocks", height)
        return None if record is None else record[_BLOCK_HEAD.size + _block_length(record) :]

    def certificate(self, height: int) -> bytes | None:
        """Like ``block``."""
        return self._at_height("certificates", height)

    def find_transaction(self, transaction_id: bytes) -> TransactionPlace | None:
        """Where a transaction is; its block may be pruned."""
        payload = self._read(
            self._databases["transactions"], transaction_id, f"the place of transaction {transaction_id.hex()}"
        )
        return None if payload is None else TransactionPlace(*_PLACE.unpack(payload))

    def history(self, account: bytes, before: tuple[int, int] | None = None, limit: int = 100) -> list[HistoryItem]:
        """Newest first, at most ``limit`` (1 … 1000) items older than ``before`` = (height, position)."""
        assert 0 < limit <= MAX_HISTORY_PAGE
        prefix = _history_prefix(account)
        # One byte longer than any key of this account, so that it sorts after them all.
        end = prefix + (b"\xff" * (_PLACE.size + 1) if before is None else _PLACE.pack(*before))
        items: list[HistoryItem] = []
        try:
            with self._transaction.cursor(self._databases["history"]) as cursor:
                found = cursor.prev() if cursor.set_range(end) else cursor.last()
                while found and len(items) < limit:
                    key, value = cursor.item()
                    if not key.startswith(prefix):
                        break
                    payload = self._unsealed(key, value, f"the history of account {account.hex()}")
                    height, position = _PLACE.unpack(key[len(prefix) :])
                    items.append(HistoryItem(height, position, int.from_bytes(payload, "big")))
                    found = cursor.prev()
        except lmdb.Error as error:
            raise self._environment.named(error) from error
        return items

    def get(self, key: bytes) -> bytes | None:
        """The value of a state key, or None."""
        return self._read(self._databases["state"], key, "a state record")

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of each state record whose key begins with ``prefix``, in ascending key order."""
        for key, value in self._scan_from(prefix):
            if not key.startswith(prefix):
                return
            yield key, value

    def scan_above(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of each state record whose key sorts after ``key``, in ascending key order."""
        return self._scan_from(key + b"\x00" if key else b"")

    def _scan_from(self, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._transaction.cursor(self._databases["state"]) as cursor:
                found = cursor.set_range(first)
                while found:
                    key, value = cursor.item()
                    yield key, self._unsealed(key, value, f"the state record {key.hex()}")
                    found = cursor.next()
        except lmdb.Error as error:
            raise self._environment.named(error) from error

    def tree_node(self, path_key: bytes) -> bytes | None:
        """A node of the state tree, or None: the ``get`` of ``storage.state_tree``."""
        return self._read(self._databases["tree"], path_key, "a node of the state tree")

    def _at_height(self, database: str, height: int) -> bytes | None:
        if not 0 <= height < 1 << 64:
            return None
        payload = self._read(self._databases[database], _height_key(height), f"its record in {database}", height)
        if payload is None and (floor := self.prune_floor()) > height:
            raise Pruned(height, floor)
        if payload is None and (tip := self.tip()) is not None and height <= tip.height:
            raise Damaged(self._environment.directory, f"it has no record in {database}", height=height)
        return payload

    def _read(self, database: object, key: bytes, what: str, height: int | None = None) -> bytes | None:
        try:
            value = self._transaction.get(key, db=database)
        except lmdb.BadValsizeError:
            return None  # an empty or overlong key: nothing is stored under it
        except lmdb.Error as error:
            raise self._environment.named(error, height) from error
        return None if value is None else self._unsealed(key, value, what, height)

    def _unsealed(self, key: bytes, value: bytes, what: str, height: int | None = None) -> bytes:
        payload = unseal(key, value)
        if payload is None:
            raise Damaged(self._environment.directory, f"{what} (key {key.hex()}) fails its checksum", height=height)
        return payload


def _records(blocks: Sequence[CommittedBlock]) -> dict[str, list[tuple[bytes, bytes]]]:
    """What the blocks add to each database that only grows, in ascending order of key."""
    rows: list[tuple[bytes, bytes]] = []
    certificates: list[tuple[bytes, bytes]] = []
    transactions: list[tuple[bytes, bytes]] = []
    history: list[tuple[bytes, bytes]] = []
    for committed in blocks:
        height = _height_key(committed.height)
        head = _BLOCK_HEAD.pack(committed.block_hash, len(committed.block))
        rows.append((height, head + committed.block + committed.receipts))
        certificates.append((height, committed.certificate))
        for position, transaction_id in enumerate(committed.transaction_ids):
            transactions.append((transaction_id, _PLACE.pack(committed.height, position)))
        for entry in committed.history:
            key = _history_prefix(entry.account) + _PLACE.pack(committed.height, entry.position)
            history.append((key, entry.kind.to_bytes(2, "big")))
    transactions.sort(key=itemgetter(0))
    history.sort(key=itemgetter(0))
    return {"blocks": rows, "certificates": certificates, "transactions": transactions, "history": history}


def _merged(changes: Iterable[Mapping[bytes, bytes | None]]) -> Mapping[bytes, bytes | None]:
    """The net effect of changes made one after the other."""
    first, *others = changes
    if not others:
        return first
    merged = dict(first)
    for following in others:
        merged.update(following)
    return merged


def _block_length(record: bytes) -> int:
    return int.from_bytes(record[32 : _BLOCK_HEAD.size], "big")


class ChainDatabase:
    """The chain on the disk; keeps ``storage.interface.BlockStore``. Writes: one thread at a time."""

    def __init__(self, environment: Environment) -> None:
        """Use ``open``."""
        self._environment = environment

    @classmethod
    def open(cls, directory: Path, *, chain_id: bytes, create: bool = False, read_only: bool = False) -> ChainDatabase:
        """Open ``directory``/chain. ``create`` makes it if need be. ``read_only`` may be used beside the process that
        owns the directory.

        Raises ``MissingDatabase``, ``DirectoryInUse``, ``NewerSchema``, ``WrongChain``, ``Damaged``, ``DiskFull``, or
        ``StorageError`` for missing permissions.
        """
        assert not (create and read_only)
        return cls(
            open_environment(
                directory / DIRECTORY, _DATABASES, schema=SCHEMA, chain_id=chain_id, create=create, read_only=read_only
            )
        )

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        self._environment.close()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A consistent view of the newest tip. Keep it short: the file grows by what is committed while it is open."""
        try:
            transaction: _Transaction = self._environment.lmdb.begin()
        except lmdb.Error as error:
            raise self._environment.named(error) from error
        try:
            yield Snapshot(self._environment, transaction)
        finally:
            transaction.abort()

    def tip(self) -> Tip | None:
        with self.snapshot() as view:
            return view.tip()

    def prune_floor(self) -> int:
        with self.snapshot() as view:
            return view.prune_floor()

    def block(self, height: int) -> bytes | None:
        with self.snapshot() as view:
            return view.block(height)

    def block_hash(self, height: int) -> bytes | None:
        with self.snapshot() as view:
            return view.block_hash(height)

    def receipts(self, height: int) -> bytes | None:
        with self.snapshot() as view:
            return view.receipts(height)

    def certificate(self, height: int) -> bytes | None:
        with self.snapshot() as view:
            return view.certificate(height)

    def find_transaction(self, transaction_id: bytes) -> TransactionPlace | None:
        with self.snapshot() as view:
            return view.find_transaction(transaction_id)

    def history(self, account: bytes, before: tuple[int, int] | None = None, limit: int = 100) -> list[HistoryItem]:
        with self.snapshot() as view:
            return view.history(account, before, limit)

    def get(self, key: bytes) -> bytes | None:
        with self.snapshot() as view:
            return view.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Holds a snapshot until it is exhausted or closed."""
        with self.snapshot() as view:
            yield from view.scan(prefix)

    def scan_above(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Holds a snapshot until it is exhausted or closed."""
        with self.snapshot() as view:
            yield from view.scan_above(key)

    def tree_node(self, path_key: bytes) -> bytes | None:
        with self.snapshot() as view:
            return view.tree_node(path_key)

    def commit(self, committed: CommittedBlock) -> None:
        """Store one block and all its effects, or nothing. On the disk when this returns.

        Raises ``OutOfOrder`` unless it follows the tip, ``DiskFull``, ``DiskFailed``.
        """
        self.commit_many((committed,))

    def commit_many(self, blocks: Sequence[CommittedBlock]) -> None:
        """Store all blocks and their effects in one write transaction, or nothing. Errors: as ``commit``."""
        if not blocks:
            return
        with self._writing() as (transaction, view):
            tip = view.tip()
            for committed in blocks:
                require_follows(committed, tip)
                tip = Tip(committed.height, committed.block_hash, committed.state_root)
            self._put(transaction, blocks)
        if any(committed.height % _READER_CHECK_HEIGHTS == 0 for committed in blocks):
            # A reading process that was killed would otherwise hold its snapshot, and the file would grow, for ever.
            self._environment.lmdb.reader_check()

    def adopt(self, committed: CommittedBlock) -> None:
        """Begin with a block other than the genesis, whose changes are the whole state; it becomes the prune floor.

        Raises ``OutOfOrder`` unless nothing is stored, ``DiskFull``, ``DiskFailed``.
        """
        with self._writing() as (transaction, view):
            if view.tip() is not None:
                raise OutOfOrder("there is a chain already; a state is adopted only where nothing is")
            self._put(transaction, (committed,))
            value = seal(_PRUNE_FLOOR_KEY, committed.height.to_bytes(8, "big"))
            transaction.put(_PRUNE_FLOOR_KEY, value, db=self._environment.meta)

    def _put(self, transaction: _Transaction, blocks: Sequence[CommittedBlock]) -> None:
        """Writes blocks that follow each other, and the tip."""
        for database, records in _records(blocks).items():
            with transaction.cursor(self._environment.databases[database]) as cursor:
                cursor.putmulti([(key, seal(key, payload)) for key, payload in records])
        for database, changes in (
            ("state", _merged(committed.state_changes for committed in blocks)),
            ("tree", _merged(committed.tree_nodes for committed in blocks)),
        ):
            handle = self._environment.databases[database]
            for key, payload in sorted(changes.items()):
                if payload is None:
                    transaction.delete(key, db=handle)
                else:
                    transaction.put(key, seal(key, payload), db=handle)
        last = blocks[-1]
        tip = _TIP.pack(last.height, last.block_hash, last.state_root)
        transaction.put(_TIP_KEY, seal(_TIP_KEY, tip), db=self._environment.meta)

    def replace_certificate(self, height: int, certificate: bytes) -> None:
        """Store a fuller finalize certificate of a stored height. Raises ``OutOfOrder`` if there is no such block,
        ``Pruned``, ``DiskFull``.
        """
        with self._writing() as (transaction, view):
            if view.block_hash(height) is None:
                raise OutOfOrder(f"no block at height {height} to certify")
            key = _height_key(height)
            transaction.put(key, seal(key, certificate), db=self._environment.databases["certificates"])

    def prune(self, below_height: int) -> None:
        """Drop blocks, receipts and certificates below a height not above the tip; state, tree, transaction places and
        history stay.

        In batches: a stop in between leaves a lower floor, and the next call goes on from there.
        """
        tip = self.tip()
        if tip is None or below_height > tip.height:
            raise OutOfOrder(f"cannot prune below {below_height}: the tip itself must stay")
        while (floor := self.prune_floor()) < below_height:
            end = min(below_height, floor + _PRUNE_BATCH)
            with self._writing() as (transaction, _):
                for height in range(floor, end):
                    for database in ("blocks", "certificates"):
                        transaction.delete(_height_key(height), db=self._environment.databases[database])
                value = seal(_PRUNE_FLOOR_KEY, end.to_bytes(8, "big"))
                transaction.put(_PRUNE_FLOOR_KEY, value, db=self._environment.meta)

    def size_bytes(self) -> int:
        """What the chain takes on the disk."""
        return self._environment.size_bytes()

    def backup(self, directory: Path) -> None:
        """Write a compacted copy of one tip to ``directory``/chain while the node runs; ``open(directory)`` opens it.

        Raises ``StorageError`` if there already is one, ``DiskFull``. A failed copy leaves nothing behind.
        """
        target, partial = directory / DIRECTORY, directory / f"{DIRECTORY}.partial"
        if target.exists():
            raise StorageError(f"{target} exists already; name an empty directory for the backup")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            self._environment.lmdb.copy(str(partial), compact=True)
            descriptor = os.open(partial / "data.mdb", os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_directory(partial)
            partial.rename(target)
            sync_directory(directory)
        except lmdb.Error as error:
            shutil.rmtree(partial, ignore_errors=True)
            named = self._environment.named(error)
            raise DiskFull(directory, str(error)) if isinstance(named, DiskFull) else named from error
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise StorageError(f"cannot write the backup to {directory}: {error.strerror}") from error

    @contextmanager
    def _writing(self) -> Iterator[tuple[_Transaction, Snapshot]]:
        """One write transaction and reads inside it: all of it is on the disk at the end, or none of it on any
        exception.
        """
        try:
            with self._environment.lmdb.begin(write=True) as transaction:
                yield transaction, Snapshot(self._environment, transaction)
        except lmdb.Error as error:
            raise self._environment.named(error) from error

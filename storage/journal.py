"""``Journal``: what this node has said at the open height, one LMDB environment ``journal/`` inside the node's data
directory.

A node that forgets a vote can be made to contradict it. So:

1. Before a vote or proposal leaves the node, ``write`` has put it, the path that justifies it and the block's body on
   the disk, in one transaction. After a crash ``load`` returns exactly what was written.
2. A vote is never overwritten by a different one: that is refused, not stored, because it must never be sent.
3. Records of a height are dropped once its block is committed (``clear_through``).
4. A journal that was just created, because the node is new or because its journal was lost, says so (``is_new``) over
   all restarts until ``trust`` is called. A lost journal beside an existing chain is therefore never mistaken for
   silence.

| database | key | value, sealed |
| --- | --- | --- |
| votes, certificates | height u64 ‖ view u64 ‖ kind u8 | bytes |
| bodies | height u64 ‖ block hash | bytes |
| proposals | height u64 ‖ view u64 | bytes |
| meta | ``schema``, ``chain_id``, ``trusted`` | u32; bytes; empty |
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import lmdb

from storage.environment import Environment, open_environment, seal, unseal
from storage.errors import Damaged, VoteConflict
from storage.interface import (
    BodyRecord,
    CertificateRecord,
    JournalContents,
    JournalRecord,
    ProposalRecord,
    VoteRecord,
)

SCHEMA: Final = 1
DIRECTORY: Final = "journal"

_VOTES: Final = "votes"
_CERTIFICATES: Final = "certificates"
_BODIES: Final = "bodies"
_PROPOSALS: Final = "proposals"
_DATABASES: Final = (_VOTES, _CERTIFICATES, _BODIES, _PROPOSALS)
_TRUSTED_KEY: Final = b"trusted"
_CLEARED_KEY: Final = b"cleared"
_HEIGHT: Final = struct.Struct(">Q")
_VIEW: Final = struct.Struct(">Q")
_VIEW_KIND: Final = struct.Struct(">QB")

_Transaction = Any  # lmdb.Transaction is generic over what it returns; ours always returns bytes


class Journal:
    """The journal on the disk; keeps ``storage.interface.JournalStore``."""

    def __init__(self, environment: Environment) -> None:
        """Use ``open``."""
        self._environment = environment

    @classmethod
    def open(cls, directory: Path, *, chain_id: bytes) -> Journal:
        """Open ``directory``/journal, made if it is missing; ask ``vouches_for`` then. Raises like
        ``ChainDatabase.open``.
        """
        return cls(open_environment(directory / DIRECTORY, _DATABASES, schema=SCHEMA, chain_id=chain_id, create=True))

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        self._environment.close()

    def vouches_for(self, node_key: bytes) -> bool:
        """Whether this journal is complete for the key; see ``trust``. Raises ``Damaged``."""
        return self._meta(_TRUSTED_KEY) == node_key

    def trust(self, node_key: bytes) -> None:
        """From now on the journal is complete for this key: it was just made, or the node is past every height at
        which it may have voted with it before.
        """
        with self._transaction(write=True) as transaction:
            transaction.put(_TRUSTED_KEY, seal(_TRUSTED_KEY, node_key), db=self._environment.meta)

    def cleared_through(self) -> int:
        """The highest height that was ever cleared, 0 if none. Raises ``Damaged``."""
        data = self._meta(_CLEARED_KEY)
        return 0 if data is None else int(_HEIGHT.unpack(data)[0])

    def write(self, records: Sequence[JournalRecord]) -> None:
        """All records or none, on the disk when this returns. Raises ``VoteConflict``, ``DiskFull``, ``DiskFailed``:
        then nothing may be sent.
        """
        with self._transaction(write=True) as transaction:
            for record in records:
                database, key = _place(record)
                value = seal(key, record.data)
                if not transaction.put(
                    key, value, db=self._environment.databases[database], overwrite=database != _VOTES
                ):
                    assert isinstance(record, VoteRecord)
                    if transaction.get(key, db=self._environment.databases[database]) != value:
                        raise VoteConflict(record.height, record.view, record.kind)

    def load(self, height: int) -> JournalContents:
        """All that was written for one height. Raises ``Damaged``."""
        contents = JournalContents()
        with self._transaction(write=False) as transaction:
            for rest, data in self._scan(transaction, _VOTES, height):
                view, kind = _VIEW_KIND.unpack(rest)
                contents.votes[view, kind] = data
            for rest, data in self._scan(transaction, _CERTIFICATES, height):
                view, kind = _VIEW_KIND.unpack(rest)
                contents.certificates[view, kind] = data
            for rest, data in self._scan(transaction, _BODIES, height):
                contents.bodies[rest] = data
            for rest, data in self._scan(transaction, _PROPOSALS, height):
                contents.proposals[_VIEW.unpack(rest)[0]] = data
        return contents

    def clear_through(self, height: int) -> None:
        """Forget this height and those below. Raises ``DiskFull``, ``DiskFailed``; calling it again later is as
        good.
        """
        end = _HEIGHT.pack(height)
        further = height > self.cleared_through()
        with self._transaction(write=True) as transaction:
            if further:
                transaction.put(_CLEARED_KEY, seal(_CLEARED_KEY, end), db=self._environment.meta)
            for database in self._environment.databases.values():
                with transaction.cursor(database) as cursor:
                    found = cursor.first()
                    while found and cursor.key()[:8] <= end:
                        found = cursor.delete()

    def _meta(self, key: bytes) -> bytes | None:
        with self._transaction(write=False) as transaction:
            value = transaction.get(key, db=self._environment.meta)
        if value is None:
            return None
        data = unseal(key, value)
        if data is None:
            raise Damaged(self._environment.directory, f"the mark {key.decode()!r} fails its checksum")
        return data

    def _scan(self, transaction: _Transaction, database: str, height: int) -> Iterator[tuple[bytes, bytes]]:
        """(key after the height, data) of each record of a height."""
        prefix = _HEIGHT.pack(height)
        with transaction.cursor(self._environment.databases[database]) as cursor:
            found = cursor.set_range(prefix)
            while found:
                key, value = cursor.item()
                if not key.startswith(prefix):
                    return
                data = unseal(key, value)
                if data is None:
                    raise Damaged(
                        self._environment.directory,
                        f"a record in {database} (key {key.hex()}) fails its checksum",
                        height=height,
                    )
                yield key[len(prefix) :], data
                found = cursor.next()

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[_Transaction]:
        try:
            with self._environment.lmdb.begin(write=write) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise self._environment.named(error) from error


def _place(record: JournalRecord) -> tuple[str, bytes]:
    """The database and key of a record."""
    height = _HEIGHT.pack(record.height)
    match record:
        case VoteRecord():
            return _VOTES, height + _VIEW_KIND.pack(record.view, record.kind)
        case CertificateRecord():
            return _CERTIFICATES, height + _VIEW_KIND.pack(record.view, record.kind)
        case BodyRecord():
            assert len(record.block_hash) == 32
            return _BODIES, height + record.block_hash
        case ProposalRecord():
            return _PROPOSALS, height + _VIEW.pack(record.view)

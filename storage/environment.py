"""One LMDB environment on the disk: opened safely, owned by one process, its errors named, its records sealed.

1. The map is 1 TiB of address space, less where the machine has less, and sparse: it is never resized. Never
   ``writemap``: a full disk would kill the process. ``sync`` and ``metasync`` always.
2. A process that opens an environment for writing holds an exclusive ``flock`` on ``owner.lock`` beside it; the kernel
   lets go of it when the process dies, however it dies.
3. A file shorter than its own last page would kill the process on the first read beyond its end. So it is looked at
   before: if a page of a tree is missing, ``Damaged``. Else what is missing are free pages, which LMDB may leave
   unwritten at the end, or the rest of a long value, which no tree shows: the file is made as long as it says it is, so
   that reading there finds zeros, and a checksum that fails, instead of the process's end.
4. A sealed value is CRC-32(key ‖ payload) ‖ payload. LMDB has no checksums: a flipped bit, or a value under another's
   key, is found here on each read and named. It guards against the disk, not against people: those face the hashes and
   signatures inside.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final
from zlib import crc32

import lmdb
import lmdb.verify

from storage.errors import (
    Damaged,
    DirectoryInUse,
    DiskFailed,
    DiskFull,
    MissingDatabase,
    NewerSchema,
    StorageError,
    WrongChain,
)

MAP_BYTES: Final = (1 << 40, 1 << 36, 1 << 30)
"""Tried in turn: kernels of small boards give a process only 256 GiB or less."""
PROBE_BYTES: Final = 1 << 20
MAX_READERS: Final = 512
DAMAGE: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.BadTxnError,  # how LMDB answers in a transaction that has met a damaged page before
)
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_SCHEMA_KEY: Final = b"schema"
_CHAIN_ID_KEY: Final = b"chain_id"


def seal(key: bytes, payload: bytes) -> bytes:
    return crc32(payload, crc32(key)).to_bytes(4, "big") + payload


def unseal(key: bytes, value: bytes) -> bytes | None:
    """The payload, or None if the value is not what ``seal`` made of this key."""
    payload = value[4:]
    return payload if value[:4] == crc32(payload, crc32(key)).to_bytes(4, "big") else None


class Environment:
    """An open LMDB environment with a ``meta`` database that names its schema and chain."""

    def __init__(self, directory: Path, databases: tuple[str, ...], *, read_only: bool) -> None:
        """``directory`` must exist and, to be read, hold an environment. Use ``open_environment``."""
        self.directory = directory
        self.read_only = read_only
        self._owner: int | None = None
        try:
            if not read_only:
                self._owner = _take_ownership(directory)
            self.lmdb = _open_lmdb(directory, len(databases) + 1, read_only=read_only)
        except BaseException:
            self._disown()
            raise
        try:
            _check_length(directory, self.lmdb)
            self.meta = self.lmdb.open_db(b"meta", create=not read_only)
            self.databases = {name: self.lmdb.open_db(name.encode(), create=not read_only) for name in databases}
        except lmdb.Error as error:
            self.close()
            raise self.named(error) from error
        except BaseException:
            self.close()
            raise

    def identify(self, schema: int, chain_id: bytes) -> None:
        """Check the schema and the chain of what is stored, or write them if nothing is."""
        try:
            with self.lmdb.begin() as transaction:
                found = {key: transaction.get(key, db=self.meta) for key in (_SCHEMA_KEY, _CHAIN_ID_KEY)}
            if found[_SCHEMA_KEY] is None and found[_CHAIN_ID_KEY] is None and not self.read_only:
                with self.lmdb.begin(write=True) as transaction:
                    for key, payload in ((_SCHEMA_KEY, schema.to_bytes(4, "big")), (_CHAIN_ID_KEY, chain_id)):
                        transaction.put(key, seal(key, payload), db=self.meta)
                return
        except lmdb.Error as error:
            raise self.named(error) from error
        if self.read_only and not any(found.values()):
            raise MissingDatabase(self.directory)
        stored: dict[bytes, bytes] = {}
        for key, value in found.items():
            opened = None if value is None else unseal(key, value)
            if opened is None:
                raise Damaged(self.directory, f"its record of {key.decode()} is unreadable")
            stored[key] = opened
        found_schema = int.from_bytes(stored[_SCHEMA_KEY], "big")
        if found_schema > schema:
            raise NewerSchema(self.directory, found_schema, schema)
        if stored[_CHAIN_ID_KEY] != chain_id:
            raise WrongChain(self.directory, stored[_CHAIN_ID_KEY], chain_id)

    def named(self, error: lmdb.Error, height: int | None = None) -> StorageError:
        """LMDB's error as one of this room's; ``height`` if it was met at one block's record."""
        text = str(error)
        if isinstance(error, lmdb.MapFullError | lmdb.DiskError | lmdb.TxnFullError) or _mentions(text, *NO_ROOM):
            return DiskFull(self.directory, text)
        if isinstance(error, DAMAGE):
            return Damaged(self.directory, text, height=height)
        if isinstance(error, lmdb.NotFoundError | lmdb.ReadonlyError) and self.read_only:
            return MissingDatabase(self.directory)
        if _mentions(text, errno.EIO):
            # LMDB calls a write that a full disk cut short an input/output error.
            return DiskFull(self.directory, text) if self._out_of_room() else DiskFailed(self.directory, text)
        if isinstance(error, lmdb.PanicError):
            return DiskFailed(self.directory, text)
        return StorageError(f"{self.directory}: {text}")

    def _out_of_room(self) -> bool:
        """Ask the disk for a little more behind the end of the file, which LMDB will use if it is granted."""
        descriptor = os.open(self.directory / "data.mdb", os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, PROBE_BYTES)
        except OSError as error:
            return error.errno in NO_ROOM
        else:
            return False
        finally:
            os.close(descriptor)

    def size_bytes(self) -> int:
        return (self.directory / "data.mdb").stat().st_size

    def close(self) -> None:
        """Idempotent. Open snapshots become invalid."""
        self.lmdb.close()
        self._disown()

    def _disown(self) -> None:
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None


def open_environment(
    directory: Path,
    databases: tuple[str, ...],
    *,
    schema: int,
    chain_id: bytes,
    create: bool,
    read_only: bool = False,
) -> Environment:
    """Open ``directory``, making it first if ``create``. Errors: all of ``storage.errors`` but those of blocks and
    votes.
    """
    data = directory / "data.mdb"
    try:
        if create:
            directory.mkdir(parents=True, exist_ok=True)
        elif not data.exists():
            raise MissingDatabase(directory)
        elif data.stat().st_size == 0:
            raise Damaged(directory, "data.mdb is empty")
        environment = Environment(directory, databases, read_only=read_only)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(directory, str(error)) from error
        raise StorageError(f"cannot open {directory}: {error.strerror}; check its owner and permissions") from error
    try:
        environment.identify(schema, chain_id)
        if create:
            sync_directory(directory)
            sync_directory(directory.parent)
    except BaseException:
        environment.close()
        raise
    return environment


def structural_problems(directory: Path) -> list[str]:
    """Every fault in the B-trees of a closed environment, found by reading the file without LMDB, so that no damage can
    kill the process. About 100 MB/s; an empty list means that it is safe to open.
    """
    try:
        problems: list[str] = lmdb.verify.verify(str(directory))  # type: ignore[no-untyped-call]
    except lmdb.verify.VerifyError as error:
        return [str(error)]
    return problems


def is_owned(directory: Path) -> bool:
    """True if a process holds the environment for writing now."""
    try:
        descriptor = os.open(directory / "owner.lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_ownership(directory: Path) -> int:
    descriptor = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        if error.errno != errno.EWOULDBLOCK:
            raise
        raise DirectoryInUse(directory, f"process {owner}" if owner else "another process") from None
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except OSError as error:
        # The name in the file only serves the message of the process that comes second; a full disk must not keep the
        # node from its reads.
        if error.errno not in NO_ROOM:
            os.close(descriptor)
            raise
    return descriptor


def _open_lmdb(directory: Path, max_databases: int, *, read_only: bool) -> lmdb.Environment:
    for size in MAP_BYTES:
        try:
            return lmdb.open(
                str(directory),
                map_size=size,
                max_dbs=max_databases,
                max_readers=MAX_READERS,
                readonly=read_only,
                readahead=False,
                sync=True,
                metasync=True,
                writemap=False,
                create=not read_only,
            )
        except lmdb.MemoryError:
            if size == MAP_BYTES[-1]:
                raise StorageError(f"{directory}: no address space for its map; raise the limit (ulimit -v)") from None
        except DAMAGE as error:
            raise Damaged(directory, str(error)) from error
        except lmdb.Error as error:
            if _mentions(str(error), *NO_ROOM):
                raise DiskFull(directory, str(error)) from error
            raise StorageError(f"cannot open {directory}: {error}") from error
    raise AssertionError("unreachable: the last size returns or raises")


def _check_length(directory: Path, environment: lmdb.Environment) -> None:
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    length = (directory / "data.mdb").stat().st_size
    if length >= needed:
        return
    if problems := structural_problems(directory):
        raise Damaged(directory, f"data.mdb has {length} of {needed} bytes, it was cut off ({problems[0]})")
    if not environment.flags()["readonly"] or not is_owned(directory):  # else its owner has seen to it
        os.truncate(directory / "data.mdb", needed)


def _mentions(text: str, *codes: int) -> bool:
    return any(os.strerror(code) in text for code in codes)

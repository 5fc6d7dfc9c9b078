"""The mempool's memory across restarts: an append-only file of accepted transactions.

1. A record is the length (u32 big endian), a CRC-32 of the bytes, and the transaction's bytes. It is handed to the
   operating system before the transaction is acknowledged, so a killed process loses none; a power cut may lose the
   newest few, which the other nodes hold.
2. Reading stops at the first torn or damaged record and the file is cut there.
3. ``rewrite`` replaces the file atomically by what still waits, when it has grown to twice that.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ledger.transactions import MAX_TRANSACTION_BYTES

_HEAD: Final = struct.Struct(">II")
REWRITE_SLACK_BYTES: Final = 1024 * 1024
PROBE_BYTES: Final = 64 * 1024


def split_records(data: bytes) -> tuple[list[bytes], int]:
    """The whole records at the beginning of ``data``, and where they end."""
    records: list[bytes] = []
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, offset)
        raw = data[offset + _HEAD.size : offset + _HEAD.size + length]
        if length > MAX_TRANSACTION_BYTES or len(raw) < length or zlib.crc32(raw) != checksum:
            break
        records.append(raw)
        offset += _HEAD.size + length
    return records, offset


class MempoolFile:
    """Errors: OSError when the disk refuses; the caller stops accepting transactions until it does not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._descriptor: int | None = None

    def load(self) -> list[bytes]:
        """The transactions written before, oldest first; cuts off a torn tail."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        records, end = split_records(data)
        if end < len(data):
            with self.path.open("r+b") as file:
                file.truncate(end)
        self.size = end
        return records

    def append(self, raws: Iterable[bytes]) -> None:
        data = b"".join(_HEAD.pack(len(raw), zlib.crc32(raw)) + raw for raw in raws)
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        if os.write(self._descriptor, data) != len(data):
            os.ftruncate(self._descriptor, end)
            raise OSError(errno.ENOSPC, "the disk took only part of a record")
        self.size = end + len(data)

    def has_room(self) -> bool:
        """Whether the disk takes a few records more; leaves the file as it was."""
        try:
            with self.path.open("ab") as file:
                end = file.tell()
                try:
                    file.write(bytes(PROBE_BYTES))
                    file.flush()
                finally:
                    os.ftruncate(file.fileno(), end)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Lets go of the file; the next ``append`` opens it again. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def rewrite_if_grown(self, waiting_bytes: int, raws: Iterable[bytes]) -> None:
        """Compacts the file when what no longer waits is the larger part of it."""
        if self.size <= 2 * waiting_bytes + REWRITE_SLACK_BYTES:
            return
        temporary = self.path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        fresh = MempoolFile(temporary)
        try:
            fresh.append(raws)
        finally:
            fresh.close()
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        self.close()
        os.replace(temporary, self.path)
        self.size = fresh.size

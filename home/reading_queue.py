"""Signed readings on their way to the chain, on disk, so that no crash and no outage loses or doubles one.

1. The file only grows, by whole lines, each fsynced before it counts: ``taken PERIOD RAW``, then one of
   ``final PERIOD`` and ``refused PERIOD``; every line ends in the CRC-32 of what is before it.
2. Periods are taken in rising order and settled in the same order. ``last_period`` outlives all settling: what was
   taken once is never taken again.
3. A last line that is cut short was never acknowledged and is cut off at the next opening. Any other wrong line is
   damage: the queue is not used, and says which line it is.
4. After ``COMPACT_AFTER`` settled readings the file is written anew, under another name, fsynced and moved into place.
5. One process at a time: the file is locked.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final
from zlib import crc32

MAX_WAITING: Final = 100_000
MAX_READING_BYTES: Final = 16 * 1024
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
COMPACT_AFTER: Final = 512

_TAKEN: Final = "taken"
_FINAL: Final = "final"
_REFUSED: Final = "refused"
_MARK: Final = "mark"  # the first line of a compacted file: the last period that was taken and settled


class QueueError(Exception):
    """The queue cannot be used; the message says what to do about it."""


class QueueInUse(QueueError):
    """Another process works with the queue."""


class QueueDamaged(QueueError):
    """A line of the file is not what this program wrote."""


class QueueFull(QueueError):
    """As many readings wait as may wait."""


@dataclass(frozen=True, slots=True)
class QueuedReading:
    """``raw`` is the signed transaction."""

    period: int
    raw: bytes


class ReadingQueue:
    """Use as a context manager. See the module's rules."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the queue. Errors: QueueInUse, QueueDamaged; OSError of the file system."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._waiting: deque[QueuedReading] = deque()
        self._settled = 0
        self._length = 0
        self.last_period: int | None = None
        try:
            self._lock()
            self._load()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> ReadingQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def __len__(self) -> int:
        """How many readings wait."""
        return len(self._waiting)

    def oldest(self) -> QueuedReading | None:
        """The reading that is next to be settled."""
        return self._waiting[0] if self._waiting else None

    def take(self, period: int, raw: bytes) -> None:
        """Keeps a new reading. Errors: QueueFull; OSError of the file system, and then it was not taken."""
        assert self.last_period is None or period > self.last_period
        assert 0 < len(raw) <= MAX_READING_BYTES
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFull(f"{MAX_WAITING} readings wait in {self._path}; see why the node takes none")
        self._append(_line(_TAKEN, period, raw))
        self.last_period = period
        self._waiting.append(QueuedReading(period, raw))

    def settle(self, period: int, accepted: bool) -> None:
        """The oldest reading, of this period, is final, or refused for good. Errors: OSError of the file system."""
        assert self._waiting
        assert self._waiting[0].period == period, "readings are settled in order"
        self._append(_line(_FINAL if accepted else _REFUSED, period))
        self._waiting.popleft()
        self._settled += 1
        if self._settled >= COMPACT_AFTER:
            self._compact()

    def _lock(self) -> None:
        in_use = QueueInUse(f"another meter works with {self._path}; stop it, or give this one a directory")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise in_use from error
        if not os.path.samestat(os.fstat(self._descriptor), self._path.stat()):
            raise in_use  # its owner put a compacted file in the place of the one opened here

    def _append(self, line: bytes) -> None:
        try:
            _write_all(self._descriptor, line, self._length)
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._length)
            raise
        self._length += len(line)

    def _load(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size > MAX_FILE_BYTES:
            raise QueueDamaged(f"{self._path} has {size} bytes, more than a queue can have: {MAX_FILE_BYTES}")
        content = os.pread(self._descriptor, size, 0) if size else b""
        lines = content.splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            words = _words(line)
            if words is None and number == len(lines):
                os.ftruncate(self._descriptor, self._length)
                os.fsync(self._descriptor)
                return
            if words is None or not self._replay(words):
                raise QueueDamaged(
                    f"{self._path}, line {number}, is damaged; move the file away: the meter then takes again what "
                    "it still can"
                )
            self._length += len(line)

    def _replay(self, words: list[str]) -> bool:
        """False if the line cannot follow those before it."""
        match words:
            case [kind, text, raw] if kind == _TAKEN:
                period = int(text)
                if self.last_period is not None and period <= self.last_period:
                    return False
                self.last_period = period
                self._waiting.append(QueuedReading(period, bytes.fromhex(raw)))
            case [kind, text] if kind in {_FINAL, _REFUSED}:
                if not self._waiting or self._waiting.popleft().period != int(text):
                    return False
                self._settled += 1
            case [kind, text] if kind == _MARK and self.last_period is None:
                self.last_period = int(text)
            case _:
                return False
        return True

    def _compact(self) -> None:
        """Writes what waits to a new file and takes it over, lock included."""
        assert self.last_period is not None
        before = self._waiting[0].period - 1 if self._waiting else self.last_period
        lines = [_line(_MARK, before), *(_line(_TAKEN, reading.period, reading.raw) for reading in self._waiting)]
        content = b"".join(lines)
        temporary = self._path.with_name(f".{self._path.name}.new")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_all(descriptor, content, 0)
            os.fsync(descriptor)
            temporary.replace(self._path)
            _sync_directory(self._path.parent)
        except OSError:
            os.close(descriptor)
            raise
        os.close(self._descriptor)
        self._descriptor, self._length, self._settled = descriptor, len(content), 0


def _line(kind: str, period: int, raw: bytes | None = None) -> bytes:
    text = f"{kind} {period}" if raw is None else f"{kind} {period} {raw.hex()}"
    return f"{text} {crc32(text.encode('ascii')):08x}\n".encode("ascii")


def _words(line: bytes) -> list[str] | None:
    """The words of a whole line, without its checksum; None if it is cut short or damaged."""
    if not line.endswith(b"\n"):
        return None
    text, _, checksum = line[:-1].rpartition(b" ")
    if checksum != f"{crc32(text):08x}".encode("ascii"):
        return None
    return text.decode("ascii").split(" ")


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

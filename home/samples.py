"""The telegrams a meter sent, kept so that one of them can be proven in a dispute.

1. One file for each period, ``PERIOD.samples``: records of time (8 bytes), length (4), CRC-32 of the telegram (4), all
   big-endian, and the telegram. A record that is cut short or damaged ends the file: what follows is not read, and is
   cut off before the next record is written.
2. The leaves of a reading's ``samples_root`` (``ledger.merkle``) are the telegrams of its period's file, in order, once
   ``seal`` has put the file on the disk; after that the file does not change.
3. A period holds at most MAX_SAMPLES; files of periods that ended ``keep_days`` ago are removed.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from home.p1 import MAX_TELEGRAM_BYTES
from ledger.merkle import inclusion_proof, merkle_root, verify_inclusion

SUFFIX: Final = ".samples"
MAX_SAMPLES: Final = 10_000

_HEADER: Final = struct.Struct(">QII")


@dataclass(frozen=True, slots=True)
class Sample:
    """``time_ms``: when it came, wall clock."""

    time_ms: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class SampleProof:
    """That ``telegram`` is number ``index`` of the ``size`` that are under ``root``."""

    telegram: bytes
    time_ms: int
    index: int
    size: int
    proof: tuple[bytes, ...]
    root: bytes

    def holds(self) -> bool:
        return verify_inclusion(self.root, self.telegram, self.index, self.size, self.proof)


class SampleStore:
    """``directory`` is made if missing. Methods raise OSError of the file system."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._open: tuple[int, int] | None = None  # period, descriptor
        self._count = 0

    def close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def periods(self) -> list[int]:
        """Those with a file, rising."""
        names = [path.name.removesuffix(SUFFIX) for path in self._directory.glob(f"*{SUFFIX}")]
        return sorted(int(name) for name in names if name.isdecimal())

    def append(self, period: int, sample: Sample) -> bool:
        """False if the period is full."""
        descriptor = self._descriptor(period)
        if self._count >= MAX_SAMPLES:
            return False
        end = os.lseek(descriptor, 0, os.SEEK_END)
        record = _HEADER.pack(sample.time_ms, len(sample.raw), crc32(sample.raw)) + sample.raw
        try:
            written = os.write(descriptor, record)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
        if written < len(record):
            os.ftruncate(descriptor, end)
            raise OSError(f"{self._path(period)} took {written} of {len(record)} bytes: the disk is full")
        self._count += 1
        return True

    def read(self, period: int) -> list[Sample]:
        """Empty where nothing is kept."""
        try:
            content = self._path(period).read_bytes()
        except FileNotFoundError:
            return []
        return _records(content)[0]

    def seal(self, period: int) -> list[Sample]:
        """Puts the period's file on the disk for good; its samples."""
        try:
            descriptor = os.open(self._path(period), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return self.read(period)

    def forget_before(self, period: int) -> None:
        for old in self.periods():
            if old >= period:
                return
            self._path(old).unlink(missing_ok=True)

    def prove(self, period: int, index: int) -> SampleProof:
        """Errors: IndexError if there is no such sample."""
        samples = self.read(period)
        if not 0 <= index < len(samples):
            raise IndexError(f"period {period} has {len(samples)} telegrams kept, there is no number {index}")
        leaves = [sample.raw for sample in samples]
        return SampleProof(
            telegram=samples[index].raw,
            time_ms=samples[index].time_ms,
            index=index,
            size=len(leaves),
            proof=inclusion_proof(leaves, index),
            root=merkle_root(leaves),
        )

    def _path(self, period: int) -> Path:
        return self._directory / f"{period}{SUFFIX}"

    def _descriptor(self, period: int) -> int:
        if self._open is not None and self._open[0] == period:
            return self._open[1]
        self.close()
        descriptor = os.open(self._path(period), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        samples, length = _records(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        os.ftruncate(descriptor, length)
        self._open, self._count = (period, descriptor), len(samples)
        return descriptor


def _records(content: bytes) -> tuple[list[Sample], int]:
    """The whole ones, and how many bytes they take."""
    samples: list[Sample] = []
    position = 0
    while position + _HEADER.size <= len(content):
        time_ms, length, checksum = _HEADER.unpack_from(content, position)
        raw = content[position + _HEADER.size : position + _HEADER.size + length]
        if length > MAX_TELEGRAM_BYTES or len(raw) < length or crc32(raw) != checksum:
            break
        samples.append(Sample(time_ms, raw))
        position += _HEADER.size + length
    return samples, position

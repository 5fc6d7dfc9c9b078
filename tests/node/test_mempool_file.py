"""The mempool's file through torn writes, bad disks and full ones."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.mempool_file import REWRITE_SLACK_BYTES, MempoolFile

RECORDS = [b"one", b"twoo", b"threee"]
HEAD_BYTES = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = MempoolFile(tmp_path / "mempool.log")
    assert file.load() == []
    file.append(RECORDS)
    return file.path


@pytest.fixture
def limited_to(path: Path) -> Iterator[None]:
    """The system lets no file grow beyond this one's size and five bytes: a disk that takes part of a record."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_what_was_appended_is_loaded_in_order(path: Path) -> None:
    file = MempoolFile(path)
    assert file.load() == RECORDS
    file.append([b"four"])
    assert MempoolFile(path).load() == [*RECORDS, b"four"]
    assert file.size == path.stat().st_size


@pytest.mark.parametrize("cut", range(1, HEAD_BYTES + len(RECORDS[-1])))
def test_a_torn_tail_is_cut_off_wherever_it_was_torn(path: Path, cut: int) -> None:
    # Given a last record of which some bytes are missing
    os.truncate(path, path.stat().st_size - cut)
    # When the file is loaded
    file = MempoolFile(path)
    # Then the whole ones are there, and what is appended next is found again
    assert file.load() == RECORDS[:-1]
    file.append([b"next"])
    assert MempoolFile(path).load() == [*RECORDS[:-1], b"next"]


@pytest.mark.parametrize("position", [0, 3, 4, 7, 8, 10])
def test_reading_stops_at_a_damaged_record(path: Path, position: int) -> None:
    # Given a flipped bit in the length, the checksum or the bytes of the second record
    data = bytearray(path.read_bytes())
    data[HEAD_BYTES + len(RECORDS[0]) + position] ^= 0x40
    path.write_bytes(bytes(data))
    assert MempoolFile(path).load() == RECORDS[:1]
    assert path.stat().st_size == HEAD_BYTES + len(RECORDS[0])


def test_a_record_longer_than_any_transaction_is_damage(path: Path) -> None:
    path.write_bytes(b"\xff\xff\xff\xff" + bytes(4) + bytes(100))
    assert MempoolFile(path).load() == []


@pytest.mark.usefixtures("limited_to")
def test_a_record_of_which_the_disk_takes_part_is_taken_back(path: Path) -> None:
    file = MempoolFile(path)
    file.load()
    with pytest.raises(OSError, match="only part"):
        file.append([b"a record that does not fit"])
    # Then the file ends where it ended, and so does what is loaded
    assert MempoolFile(path).load() == RECORDS
    assert file.size == path.stat().st_size


def test_a_file_that_has_grown_is_replaced_by_what_still_waits(path: Path) -> None:
    file = MempoolFile(path)
    file.load()
    file.append([bytes(16_000)] * (REWRITE_SLACK_BYTES // 16_000 + 2))
    # When most of it does not wait any more
    file.rewrite_if_grown(len(RECORDS[1]), [RECORDS[1]])
    # Then only what waits is left, and appending goes on behind it
    assert path.stat().st_size == HEAD_BYTES + len(RECORDS[1])
    file.append([b"next"])
    assert MempoolFile(path).load() == [RECORDS[1], b"next"]
    assert not path.with_suffix(".new").exists()


def test_a_file_that_is_mostly_in_use_is_left_alone(path: Path) -> None:
    file = MempoolFile(path)
    file.load()
    before = path.read_bytes()
    file.rewrite_if_grown(1, [])
    assert path.read_bytes() == before


def test_a_rewrite_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    file = MempoolFile(path)
    file.load()
    file.append([bytes(16_000)] * (REWRITE_SLACK_BYTES // 16_000 + 2))
    before = path.read_bytes()
    path.with_suffix(".new").mkdir()
    with pytest.raises(OSError, match="directory"):
        file.rewrite_if_grown(0, [])
    assert path.read_bytes() == before

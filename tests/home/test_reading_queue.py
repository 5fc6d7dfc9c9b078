"""A reading that was taken is never lost, never doubled, and settled in order, whatever stops the process."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from home.reading_queue import (
    COMPACT_AFTER,
    QueueDamaged,
    QueuedReading,
    QueueInUse,
    ReadingQueue,
)

CHILD = """
import sys
from pathlib import Path
from home.reading_queue import ReadingQueue
with ReadingQueue(Path(sys.argv[1])) as queue:
    period = -1 if queue.last_period is None else queue.last_period
    while True:
        period += 1
        queue.take(period, period.to_bytes(4, "big") * 40)
        print("taken", period, flush=True)
        if period % 3 == 2:
            oldest = queue.oldest()
            print("settling", oldest.period, flush=True)
            queue.settle(oldest.period, True)
"""


def raw(period: int) -> bytes:
    return b"reading of period %d" % period


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "readings.queue"


def test_a_new_queue_is_empty_and_its_owners_only(path: Path) -> None:
    with ReadingQueue(path) as queue:
        assert (len(queue), queue.oldest(), queue.last_period) == (0, None, None)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_waits_is_there_again_in_order(path: Path) -> None:
    # Given three readings, of which the first is final and the second refused
    with ReadingQueue(path) as queue:
        for period in (7, 8, 10):
            queue.take(period, raw(period))
        queue.settle(7, accepted=True)
        queue.settle(8, accepted=False)
    # When the queue is opened again
    with ReadingQueue(path) as queue:
        # Then the third waits, and is the last that was taken
        assert len(queue) == 1
        assert queue.oldest() == QueuedReading(10, raw(10))
        assert queue.last_period == 10
        queue.settle(10, accepted=True)
    with ReadingQueue(path) as queue:
        assert queue.oldest() is None
        assert queue.last_period == 10


def test_no_period_is_taken_twice_nor_settled_out_of_turn(path: Path) -> None:
    with ReadingQueue(path) as queue:
        queue.take(5, raw(5))
        queue.take(6, raw(6))
        for period in (4, 5, 6):
            with pytest.raises(AssertionError):
                queue.take(period, raw(period))
        with pytest.raises(AssertionError):
            queue.settle(6, accepted=True)


@pytest.mark.parametrize("cut", [1, 9, 30])
def test_a_last_line_that_was_cut_short_never_was(path: Path, cut: int) -> None:
    # Given a queue whose last line the machine did not finish
    with ReadingQueue(path) as queue:
        queue.take(1, raw(1))
        whole = path.stat().st_size
        queue.take(2, raw(2))
    os.truncate(path, path.stat().st_size - cut)
    # When it is opened and goes on
    with ReadingQueue(path) as queue:
        assert path.stat().st_size == whole
        assert queue.last_period == 1
        queue.take(2, raw(2))
    # Then nothing of the cut line is left
    with ReadingQueue(path) as queue:
        assert len(queue) == 2


@pytest.mark.parametrize("line", [1, 2])
def test_damage_before_the_last_line_is_named(path: Path, line: int) -> None:
    # Given a queue of three lines with one changed character
    with ReadingQueue(path) as queue:
        for period in (1, 2, 3):
            queue.take(period, raw(period))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b"taken", b"token")
    path.write_bytes(b"".join(lines))
    # When it is opened, then the line is named and nothing is changed
    with pytest.raises(QueueDamaged, match=f"line {line}"):
        ReadingQueue(path)
    assert path.read_bytes() == b"".join(lines)


def test_whole_lines_in_an_order_that_cannot_be_are_damage(path: Path) -> None:
    with ReadingQueue(path) as queue:
        queue.take(1, raw(1))
        queue.settle(1, accepted=True)
        queue.take(2, raw(2))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], lines[2]]))
    with pytest.raises(QueueDamaged, match="line 1"):
        ReadingQueue(path)


def test_two_processes_never_share_a_queue(path: Path) -> None:
    with ReadingQueue(path), pytest.raises(QueueInUse):
        ReadingQueue(path)
    with ReadingQueue(path):
        pass


def test_a_long_life_leaves_a_short_file(path: Path) -> None:
    # Given a queue in which two readings always wait
    with ReadingQueue(path) as queue:
        largest = 0
        for period in range(3 * COMPACT_AFTER):
            queue.take(period, raw(period))
            largest = max(largest, path.stat().st_size)
            if period >= 2:
                queue.settle(period - 2, accepted=True)
        # Then the file was written anew, is still locked, and knows all it must
        assert largest < 100 * COMPACT_AFTER
        with pytest.raises(QueueInUse):
            ReadingQueue(path)
    last = 3 * COMPACT_AFTER - 1
    with ReadingQueue(path) as queue:
        assert queue.last_period == last
        assert queue.oldest() == QueuedReading(last - 1, raw(last - 1))
        assert len(queue) == 2
    assert list(path.parent.iterdir()) == [path]


def test_what_the_disk_did_not_take_was_not_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a disk that is full after half a line
    with ReadingQueue(path) as queue:
        queue.take(1, raw(1))
        write = os.pwrite

        def half(descriptor: int, content: bytes, offset: int) -> int:
            write(descriptor, content[: len(content) // 2], offset)
            raise OSError(errno.ENOSPC, "no space left")

        monkeypatch.setattr(os, "pwrite", half)
        # When a reading is taken, then the error is said
        with pytest.raises(OSError, match="no space"):
            queue.take(2, raw(2))
        monkeypatch.undo()
        # And once there is room, the same reading can be taken
        assert queue.last_period == 1
        queue.take(2, raw(2))
    with ReadingQueue(path) as queue:
        assert len(queue) == 2


def test_a_process_killed_at_any_moment_keeps_what_it_said_it_had(path: Path) -> None:
    taken = settling = -1
    for round_number in range(6):
        # Given a process that takes and settles readings
        command = [sys.executable, "-c", CHILD, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            # When it is killed in the middle of it
            lines = [child.stdout.readline() for _ in range(10 + 7 * round_number)]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        assert child.returncode == -signal.SIGKILL
        for word, period in (line.split() for line in lines):
            taken = int(period) if word == "taken" else taken
            settling = int(period) if word == "settling" else settling
        # Then all it told of is there, with no gap, and only what it was settling may have left
        with ReadingQueue(path) as queue:
            assert queue.last_period is not None
            assert queue.last_period >= taken
            oldest = queue.oldest()
            assert oldest is not None
            assert oldest.period <= settling + 1
            assert len(queue) == queue.last_period - oldest.period + 1
            assert oldest.raw == oldest.period.to_bytes(4, "big") * 40

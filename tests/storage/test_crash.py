"""What real processes do to the disk: die at any instant, come twice, fill it."""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from storage.chain import ChainDatabase
from storage.environment import structural_problems
from storage.errors import DirectoryInUse
from storage.journal import Journal
from tests.storage.sample import CHAIN_ID, assert_whole, grow

ROOT = Path(__file__).parents[2]
KILLS = 25
PATIENCE_S = 60.0


@contextmanager
def child(command: str, directory: Path, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*before, sys.executable, str(Path(__file__).with_name("child.py")), command, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(PATIENCE_S), "the child said nothing"
    return _read_line(process.stdout)


def _read_line(stream: IO[bytes]) -> str:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(stream.fileno(), 1)
        if not byte:
            return line.decode()
        line += byte
    return line.decode().strip()


@pytest.mark.slow
def test_a_process_killed_at_any_instant_leaves_whole_blocks_and_all_it_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(20)
    unfinished = 0
    for _ in range(KILLS):
        # Given a process that journals and commits as fast as it can
        with child("commit_for_ever", tmp_path) as process:
            lines = [next_line(process) for _ in range(chance.randrange(1, 12))]
            # When it is killed at a random instant (the wait picks the instant, nothing is waited for)
            time.sleep(chance.random() * 0.01)
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate(timeout=PATIENCE_S)
            # Then it really died of it
            assert process.returncode == -signal.SIGKILL
        lines += rest.decode().splitlines()
        voted = [int(line.split()[1]) for line in lines if line.startswith("voted ")]
        committed = [int(line.split()[1]) for line in lines if line.startswith("committed ")]
        assert len(lines) == len(voted) + len(committed)
        # And its files are sound page by page, and reopen at a whole block: all bytes, indices, state, tree and root
        assert structural_problems(tmp_path / "chain") == []
        assert structural_problems(tmp_path / "journal") == []
        chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID)
        height = assert_whole(chain)
        chain.close()
        # And nothing acknowledged is lost
        assert height >= max(committed, default=-1)
        # And a vote that was acknowledged is in the journal, with its path and body, unless its height was committed
        journal = Journal.open(tmp_path, chain_id=CHAIN_ID)
        for open_height in (acknowledged for acknowledged in voted if acknowledged > height):
            contents = journal.load(open_height)
            assert contents.votes == {(0, 1): b"vote %d" % open_height}
            assert contents.certificates == {(0, 1): b"path %d" % open_height}
            assert len(contents.bodies) == 1
        journal.close()
        unfinished += lines[-1].startswith("voted ")
    # And some of the kills did fall between a vote and the acknowledgement of its block
    assert unfinished > 0


@pytest.mark.slow
def test_a_process_killed_while_it_writes_several_blocks_leaves_all_of_them_or_none(tmp_path: Path) -> None:
    chance = random.Random(21)
    cut_short = 0
    for _ in range(KILLS):
        # Given a process that commits several blocks in one write, as fast as it can
        with child("commit_many_for_ever", tmp_path) as process:
            lines = [next_line(process) for _ in range(chance.randrange(1, 12))]
            time.sleep(chance.random() * 0.01)
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == -signal.SIGKILL
        lines += [line for line in rest.decode().splitlines(keepends=False) if line]
        acknowledged = max((int(line.split()[1]) for line in lines if line.startswith("committed ")), default=-1)
        begun = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("committing ")]
        # Then what is there ends where one of its writes ended, and nothing acknowledged is lost
        assert structural_problems(tmp_path / "chain") == []
        chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID)
        height = assert_whole(chain)
        chain.close()
        assert height in {last for _, last in begun} | {first - 1 for first, _ in begun}
        assert height >= acknowledged
        cut_short += lines[-1].startswith("committing ")
    assert cut_short > 0


def test_a_process_that_dies_inside_the_write_transaction_leaves_no_trace_of_the_block(tmp_path: Path) -> None:
    chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True)
    grow(chain, 7)
    chain.close()
    with child("die_inside_a_commit", tmp_path) as process:
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == -signal.SIGKILL
    chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID)
    assert assert_whole(chain) == 6
    grow(chain, 1)
    assert assert_whole(chain) == 7
    chain.close()


def test_a_directory_held_by_another_process_is_refused_in_one_line_until_that_dies(tmp_path: Path) -> None:
    chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True)
    grow(chain, 2)
    chain.close()
    with child("hold", tmp_path) as process:
        assert next_line(process) == "held"
        with pytest.raises(DirectoryInUse) as caught:
            ChainDatabase.open(tmp_path, chain_id=CHAIN_ID)
        assert f"in use by process {process.pid}" in str(caught.value)
        assert "\n" not in str(caught.value)
        process.kill()
        process.wait(PATIENCE_S)
    chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID)
    assert assert_whole(chain) == 1
    # And one process cannot hold it twice either
    with pytest.raises(DirectoryInUse):
        ChainDatabase.open(tmp_path, chain_id=CHAIN_ID)
    chain.close()


def test_a_second_process_may_read_and_its_death_does_not_make_the_file_grow(tmp_path: Path) -> None:
    # Given an owner and a reader beside it that holds a snapshot
    chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True)
    grow(chain, 100)
    with child("read", tmp_path) as process:
        assert next_line(process) == "sees 99"
        grow(chain, 1)
        # When the reader is killed
        process.kill()
        process.wait(PATIENCE_S)
    # Then its place is given back before long, and pages are used again instead of the file growing with every block
    grow(chain, 260 - 101)
    settled = chain.size_bytes()
    grow(chain, 60)
    kept = sum(len(chain.block(height) or b"") for height in range(260, 320))
    assert chain.size_bytes() - settled < 4 * kept
    assert assert_whole(chain) == 319
    chain.close()


def test_a_full_disk_loses_nothing_and_the_next_commit_works_when_there_is_room(tmp_path: Path) -> None:
    """A real file system of 2 MiB, in a mount namespace of its own; skipped where the machine permits none."""
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    with child("fill_small_disk", tmp_path, *namespace) as process:
        if next_line(process) != "mounted":
            pytest.skip("this machine lets nobody mount a file system; the test with a file limit stands in")
        assert next_line(process).startswith("full after ")
        assert next_line(process) == "whole"


def test_a_write_beyond_the_file_limit_loses_nothing_and_works_when_the_limit_is_lifted(tmp_path: Path) -> None:
    with child("fill_to_file_limit", tmp_path) as process:
        assert next_line(process).startswith("full after ")
        assert next_line(process) == "whole"

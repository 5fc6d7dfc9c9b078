"""Processes for tests that need one: to be killed, to hold a directory, to meet a full disk. Run as ``python child.py
COMMAND DIRECTORY …``.

A line on standard output is written only after what it tells is done.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from storage.chain import ChainDatabase
from storage.errors import DiskFull
from storage.interface import BodyRecord, CertificateRecord, CommittedBlock, VoteRecord
from storage.journal import Journal
from tests.storage.sample import CHAIN_ID, assert_whole, mirror_of, sample_batch, sample_block


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def commit_for_ever(directory: Path) -> None:
    """Like a node: journal a vote, commit the block, clear the journal; say ``voted H`` and ``committed H`` after
    each.
    """
    chain = ChainDatabase.open(directory, chain_id=CHAIN_ID, create=True)
    journal = Journal.open(directory, chain_id=CHAIN_ID)
    while True:
        with chain.snapshot() as view:
            block = sample_block(view, body_bytes=20_000)
        height = block.height
        journal.write(
            [
                VoteRecord(height, 0, 1, b"vote %d" % height),
                CertificateRecord(height, 0, 1, b"path %d" % height),
                BodyRecord(height, block.block_hash, block.block),
            ]
        )
        say(f"voted {height}")
        chain.commit(block)
        say(f"committed {height}")
        journal.clear_through(height)


def commit_many_for_ever(directory: Path) -> None:
    """Like a node that catches up: several blocks in one write; say ``committing FIRST LAST`` before each and
    ``committed LAST`` after it.
    """
    chain = ChainDatabase.open(directory, chain_id=CHAIN_ID, create=True)
    with chain.snapshot() as view:
        tip = view.tip()
    mirror = mirror_of(-1 if tip is None else tip.height)
    for count in itertools.cycle((5, 1, 12, 3)):
        batch = sample_batch(mirror, count)
        say(f"committing {batch[0].height} {batch[-1].height}")
        chain.commit_many(batch)
        say(f"committed {batch[-1].height}")


class _Deadly(dict[bytes, bytes | None]):
    """State changes that kill the process, by SIGKILL, when the commit comes to read them."""

    def items(self) -> object:  # type: ignore[override]
        os.kill(os.getpid(), signal.SIGKILL)
        return super().items()


def die_inside_a_commit(directory: Path) -> None:
    """Die when the block, certificate, transactions and history of the next block are in the write transaction
    already.
    """
    chain = ChainDatabase.open(directory, chain_id=CHAIN_ID)
    with chain.snapshot() as view:
        block = sample_block(view)
    chain.commit(replace(block, state_changes=_Deadly(block.state_changes)))


def hold(directory: Path) -> None:
    """Own the directory until standard input closes."""
    ChainDatabase.open(directory, chain_id=CHAIN_ID)
    say("held")
    sys.stdin.read()


def read(directory: Path) -> None:
    """Hold an open snapshot beside the owner until standard input closes."""
    chain = ChainDatabase.open(directory, chain_id=CHAIN_ID, read_only=True)
    with chain.snapshot() as view:
        tip = view.tip()
        say(f"sees {-1 if tip is None else tip.height}")
        sys.stdin.read()


def fill_small_disk(directory: Path) -> None:
    """Make ``directory`` a disk of 2 MiB of its own (needs a private mount namespace), fill it, give it room, go on."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        say("not permitted")
        return
    say("mounted")
    larger = ["mount", "-o", "remount,size=32m", str(directory)]
    _fill(directory, lambda: subprocess.run(larger, check=True))


def fill_to_file_limit(directory: Path) -> None:
    """The same with a limit on the length of a file, which needs no rights."""
    limit = 2_000_000  # not a whole number of pages: the last write is cut short, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    _fill(directory, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2))


def _fill(directory: Path, make_room: Callable[[], object]) -> None:
    chain = ChainDatabase.open(directory, chain_id=CHAIN_ID, create=True)
    journal = Journal.open(directory, chain_id=CHAIN_ID)
    journal.write([VoteRecord(1, 0, 1, b"vote before")])

    def following() -> CommittedBlock:
        with chain.snapshot() as view:
            return sample_block(view, body_bytes=60_000)

    # When the disk fills up
    acknowledged = -1
    refused: CommittedBlock | None = None
    while refused is None:
        block = following()
        try:
            chain.commit(block)
            acknowledged = block.height
        except DiskFull:
            refused = block
        assert acknowledged < 1_000, "the disk never filled up"
    say(f"full after {acknowledged}")
    # Then all that was acknowledged is whole, and goes on being read
    assert assert_whole(chain) == acknowledged
    for _ in range(3):
        try:
            chain.commit(refused)
        except DiskFull as error:
            assert "free some space" in str(error)  # noqa: PT017
        else:
            raise AssertionError("committed without room")
    try:
        journal.write([VoteRecord(1, 0, 2, b"vote that must not leave"), BodyRecord(1, bytes(32), bytes(4_000_000))])
    except DiskFull:
        pass
    else:
        raise AssertionError("journaled without room")
    assert journal.load(1).votes == {(0, 1): b"vote before"}
    # And a restart without room serves reads
    chain.close()
    journal.close()
    chain = ChainDatabase.open(directory, chain_id=CHAIN_ID)
    journal = Journal.open(directory, chain_id=CHAIN_ID)
    assert assert_whole(chain) == acknowledged
    # And with room the same block and the same vote are taken
    make_room()
    chain.commit(refused)
    journal.write([VoteRecord(1, 0, 2, b"vote that may leave"), BodyRecord(1, bytes(32), bytes(4_000_000))])
    for _ in range(5):
        chain.commit(following())
    assert assert_whole(chain) == acknowledged + 6
    assert len(journal.load(1).votes) == 2
    say("whole")


COMMANDS = {
    command.__name__: command
    for command in (
        commit_for_ever,
        commit_many_for_ever,
        die_inside_a_commit,
        hold,
        read,
        fill_small_disk,
        fill_to_file_limit,
    )
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](Path(sys.argv[2]))

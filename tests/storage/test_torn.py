"""A journal whose file was cut off or overwritten: it is whole, or it is said to be damaged with what to do; it never
gives something else than what was written, and never takes the process with it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storage.environment import structural_problems
from storage.errors import Damaged
from storage.interface import BodyRecord, CertificateRecord, JournalContents, ProposalRecord, VoteRecord
from storage.journal import Journal
from tests.storage.sample import CHAIN_ID

PAGE = 4096
HEIGHT = 7
NODE_KEY = b"k" * 32
ROOT = Path(__file__).parents[2]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A journal in the middle of a height, closed."""
    directory = tmp_path / "whole"
    journal = Journal.open(directory, chain_id=CHAIN_ID)
    journal.trust(NODE_KEY)
    for height in range(1, HEIGHT + 1):
        journal.write([VoteRecord(height, view, 1, b"vote %d" % view * 20) for view in range(5)])
        journal.write(
            [CertificateRecord(height, 0, 2, b"certificate" * 50), ProposalRecord(height, 0, b"proposal" * 900)]
        )
        journal.write([BodyRecord(height, bytes([height]) * 32, b"body" * 5_000)])
        journal.clear_through(height - 1)
    journal.close()
    return directory


def read(directory: Path) -> JournalContents | None:
    """As a node does at its start; None from a journal that knows nothing and says so. Errors: StorageError."""
    journal = Journal.open(directory, chain_id=CHAIN_ID)
    try:
        return journal.load(HEIGHT) if journal.vouches_for(NODE_KEY) else None
    finally:
        journal.close()


def test_cut_off_anywhere_it_is_damaged_or_whole(whole: Path, tmp_path: Path) -> None:
    content = (whole / "journal" / "data.mdb").read_bytes()
    expected = read(whole)
    assert expected is not None
    assert len(expected.votes) == 5
    edges = range(0, len(content), PAGE)
    lengths = {0, 1, 100, len(content) // 2, len(content) - 1, *edges, *(edge + 1 for edge in edges)}
    damaged = 0
    for length in sorted(lengths):
        # When the file is cut off there
        directory = tmp_path / str(length)
        shutil.copytree(whole, directory)
        (directory / "journal" / "data.mdb").write_bytes(content[:length])
        # Then it says so, with what to do; or nothing was lost; or, of no file at all, it is a new one
        found, said = outcome(directory)
        if said:
            damaged += 1
            assert "move that directory away" in said
            assert "follows without voting" in said
        else:
            assert found == (expected if length else None)
    assert damaged > len(lengths) // 2


def outcome(directory: Path) -> tuple[JournalContents | None, str]:
    """What was read, and what was said of damage."""
    try:
        return read(directory), ""
    except Damaged as error:
        return None, str(error)


CHILD = """
import sys
from pathlib import Path
from storage.environment import structural_problems
from storage.errors import Damaged
from tests.storage.test_torn import read
directory, expected = Path(sys.argv[1]), read(Path(sys.argv[2]))
try:
    if structural_problems(directory / "journal"):
        print("damaged")
    else:
        print("same" if read(directory) == expected else "different")
except Damaged as error:
    assert "follows without voting" in str(error)
    print("damaged")
"""


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"\x5a"])
def test_a_page_overwritten_is_found_before_it_can_do_harm(whole: Path, tmp_path: Path, filling: bytes) -> None:
    content = (whole / "journal" / "data.mdb").read_bytes()
    pages = range(2, len(content) // PAGE)  # the first two are LMDB's own, each the other's spare
    chosen = list(pages)[:: max(1, len(pages) // 5)]
    said = []
    for page in chosen:
        directory = tmp_path / f"page{page}"
        shutil.copytree(whole, directory)
        overwritten = content[: page * PAGE] + filling * PAGE + content[(page + 1) * PAGE :]
        (directory / "journal" / "data.mdb").write_bytes(overwritten)
        command = [sys.executable, "-c", CHILD, str(directory), str(whole)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip())
    assert set(said) <= {"same", "damaged"}


def test_both_of_the_first_pages_overwritten_is_damage(whole: Path) -> None:
    file = whole / "journal" / "data.mdb"
    content = file.read_bytes()
    file.write_bytes(b"\0" * 2 * PAGE + content[2 * PAGE :])
    assert structural_problems(whole / "journal")
    with pytest.raises(Damaged, match="move that directory away"):
        read(whole)

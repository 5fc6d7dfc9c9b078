"""The contract of ``JournalStore``, kept by the disk and by memory alike; and what only the disk can show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import Damaged, DirectoryInUse, VoteConflict, WrongChain
from storage.interface import (
    BodyRecord,
    CertificateRecord,
    JournalContents,
    JournalRecord,
    JournalStore,
    ProposalRecord,
    VoteRecord,
)
from storage.journal import Journal
from storage.memory import MemoryJournal

CHAIN_ID = b"sample chain"
NODE_KEY = bytes(range(32))
HASH = bytes(range(32))

RECORDS: Sequence[JournalRecord] = (
    VoteRecord(7, 0, 1, b"vote"),
    VoteRecord(7, 0, 2, b"nullify"),
    VoteRecord(7, 1, 1, b"vote in view 1"),
    CertificateRecord(7, 0, 1, b"notarization"),
    BodyRecord(7, HASH, b"body"),
    ProposalRecord(7, 1, b"proposal"),
)


@pytest.fixture(params=["lmdb", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JournalStore]:
    opened: JournalStore = Journal.open(tmp_path, chain_id=CHAIN_ID) if request.param == "lmdb" else MemoryJournal()
    yield opened
    opened.close()


def test_what_was_written_is_loaded(journal: JournalStore) -> None:
    journal.write(RECORDS)
    assert journal.load(7) == JournalContents(
        votes={(0, 1): b"vote", (0, 2): b"nullify", (1, 1): b"vote in view 1"},
        certificates={(0, 1): b"notarization"},
        bodies={HASH: b"body"},
        proposals={1: b"proposal"},
    )


def test_heights_do_not_mix(journal: JournalStore) -> None:
    # Given records at neighbouring heights, also where the first byte of the key turns over
    for height in (0, 6, 7, 8, 255, 256, (1 << 64) - 1):
        journal.write([VoteRecord(height, 3, 1, b"%d" % height), BodyRecord(height, HASH, b"body %d" % height)])
    for height in (0, 6, 7, 8, 255, 256, (1 << 64) - 1):
        assert journal.load(height) == JournalContents({(3, 1): b"%d" % height}, {}, {HASH: b"body %d" % height}, {})
    assert journal.load(9) == JournalContents()


def test_clearing_forgets_the_height_and_those_below(journal: JournalStore) -> None:
    for height in range(5, 9):
        journal.write([VoteRecord(height, 0, 1, b"a"), CertificateRecord(height, 0, 1, b"b")])
        journal.write([BodyRecord(height, HASH, b"c"), ProposalRecord(height, 0, b"d")])
    journal.clear_through(7)
    journal.clear_through(7)
    for height in range(5, 8):
        assert journal.load(height) == JournalContents()
    assert journal.load(8) == JournalContents({(0, 1): b"a"}, {(0, 1): b"b"}, {HASH: b"c"}, {0: b"d"})
    journal.clear_through((1 << 64) - 1)
    assert journal.load(8) == JournalContents()


def test_another_vote_for_the_same_place_is_refused(journal: JournalStore) -> None:
    # Given a vote
    journal.write(RECORDS)
    # When the same vote comes again, it is as good; when another comes, nothing of that write is stored
    journal.write([VoteRecord(7, 0, 1, b"vote")])
    conflicts: list[list[JournalRecord]] = [
        [CertificateRecord(7, 9, 1, b"with it"), VoteRecord(7, 0, 1, b"another")],
        [VoteRecord(7, 4, 1, b"one"), VoteRecord(7, 4, 1, b"two")],
    ]
    for conflicting in conflicts:
        with pytest.raises(VoteConflict, match="report this as a defect"):
            journal.write(conflicting)
    contents = journal.load(7)
    assert contents.votes == {(0, 1): b"vote", (0, 2): b"nullify", (1, 1): b"vote in view 1"}
    assert (9, 1) not in contents.certificates


def test_certificates_proposals_and_bodies_may_be_replaced(journal: JournalStore) -> None:
    journal.write(RECORDS)
    journal.write(
        [CertificateRecord(7, 0, 1, b"fuller"), ProposalRecord(7, 1, b"other path"), BodyRecord(7, HASH, b"body")]
    )
    contents = journal.load(7)
    assert contents.certificates == {(0, 1): b"fuller"}
    assert contents.proposals == {1: b"other path"}
    assert contents.bodies == {HASH: b"body"}


def test_loaded_contents_are_a_copy(journal: JournalStore) -> None:
    journal.write(RECORDS)
    journal.load(7).votes.clear()
    assert len(journal.load(7).votes) == 3


places = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))
contents = st.binary(max_size=3)
records = st.one_of(
    places.map(lambda place: VoteRecord(*place, b"the one vote of %d %d %d" % place)),
    st.builds(lambda place, data: CertificateRecord(place[0], place[1], place[2], data), places, contents),
    st.builds(lambda place, data: ProposalRecord(place[0], place[1], data), places, contents),
    st.builds(lambda place, data: BodyRecord(place[0], bytes([place[1]]) * 32, data), places, contents),
)


@given(st.lists(st.lists(records, max_size=6) | st.integers(0, 3), max_size=10))
@settings(max_examples=60, deadline=None)
def test_disk_and_memory_agree(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[JournalRecord] | int]
) -> None:
    # Given the same writes and clearings on both, then both load the same
    disk: JournalStore = Journal.open(tmp_path_factory.mktemp("journal"), chain_id=CHAIN_ID)
    memory: JournalStore = MemoryJournal()
    for store in (disk, memory):
        for step in steps:
            if isinstance(step, int):
                store.clear_through(step)
            else:
                store.write(step)
    for height in range(4):
        assert disk.load(height) == memory.load(height)
    disk.close()


def test_a_new_journal_says_so_until_it_is_trusted(journal: JournalStore) -> None:
    assert not journal.vouches_for(NODE_KEY)
    journal.write(RECORDS)
    assert not journal.vouches_for(NODE_KEY)
    journal.trust(NODE_KEY)
    assert journal.vouches_for(NODE_KEY)
    assert not journal.vouches_for(bytes(32))


def test_it_remembers_through_which_height_it_was_cleared(journal: JournalStore) -> None:
    assert journal.cleared_through() == 0
    for height, highest in ((7, 7), (3, 7), (9, 9)):
        journal.clear_through(height)
        assert journal.cleared_through() == highest


def test_a_lost_journal_is_new_over_restarts(tmp_path: Path) -> None:
    # Given a trusted journal with a vote
    journal = Journal.open(tmp_path, chain_id=CHAIN_ID)
    journal.trust(NODE_KEY)
    journal.write(RECORDS)
    journal.close()
    reopened = Journal.open(tmp_path, chain_id=CHAIN_ID)
    assert reopened.vouches_for(NODE_KEY)
    assert len(reopened.load(7).votes) == 3
    reopened.close()
    # When its directory is lost
    shutil.rmtree(tmp_path / "journal")
    # Then the next one is new, also after the restart that follows, until it is trusted
    for _ in range(2):
        lost = Journal.open(tmp_path, chain_id=CHAIN_ID)
        assert not lost.vouches_for(NODE_KEY)
        lost.close()
    lost = Journal.open(tmp_path, chain_id=CHAIN_ID)
    lost.trust(NODE_KEY)
    lost.close()
    found = Journal.open(tmp_path, chain_id=CHAIN_ID)
    assert found.vouches_for(NODE_KEY)
    found.close()


def test_a_flipped_byte_in_the_journal_is_named(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, chain_id=CHAIN_ID)
    journal.write([VoteRecord(7, 0, 1, b"the vote that matters")])
    journal.close()
    data = tmp_path / "journal" / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"the vote that matters", b"the vote that mutters"))
    reopened = Journal.open(tmp_path, chain_id=CHAIN_ID)
    with pytest.raises(Damaged) as caught:
        reopened.load(7)
    assert caught.value.height == 7
    reopened.close()


def test_a_journal_belongs_to_one_node_and_chain(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, chain_id=CHAIN_ID)
    with pytest.raises(DirectoryInUse):
        Journal.open(tmp_path, chain_id=CHAIN_ID)
    journal.close()
    journal.close()
    with pytest.raises(WrongChain):
        Journal.open(tmp_path, chain_id=b"another chain")

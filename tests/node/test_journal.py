"""What the engine says is written down and read back the same."""

from __future__ import annotations

import pytest

from consensus.messages import Proposal, Vote
from ledger.encoding import EncodingError
from ledger.statements import Statement, StatementKind
from node.journal import load_contents, to_record
from storage import interface as disk
from storage.memory import MemoryJournal
from tests.support.chain import Chain

CHAIN = Chain()
BLOCK = CHAIN.build().block
VOTES = tuple(
    Vote(Statement(kind, 1, view, None if kind == StatementKind.NULLIFY else BLOCK.hash), bytes(32), bytes([kind] * 64))
    for kind in (StatementKind.NOTARIZE, StatementKind.NULLIFY, StatementKind.FINALIZE)
    for view in (0, 1)
)
CERTIFICATE = CHAIN.certify(BLOCK)
PROPOSAL = Proposal(1, 0, BLOCK, (CERTIFICATE,), bytes(32), bytes(64))


def test_every_record_is_read_back_as_it_was_written() -> None:
    journal = MemoryJournal()
    journal.write([to_record(record) for record in (*VOTES, CERTIFICATE, BLOCK, PROPOSAL)])
    contents = load_contents(journal.load(1))
    assert set(contents.votes) == set(VOTES)
    assert contents.certificates == (CERTIFICATE,)
    assert contents.bodies == (BLOCK,)
    assert contents.proposals == (PROPOSAL,)
    assert load_contents(journal.load(2)).votes == ()


def test_records_are_kept_where_the_journal_can_tell_them_apart() -> None:
    first, second = to_record(VOTES[0]), to_record(VOTES[2])
    assert isinstance(first, disk.VoteRecord)
    assert (first.height, first.view, first.kind) == (1, 0, StatementKind.NOTARIZE)
    assert isinstance(second, disk.VoteRecord)
    assert second.kind == StatementKind.NULLIFY
    body = to_record(BLOCK)
    assert isinstance(body, disk.BodyRecord)
    assert body.block_hash == BLOCK.hash


def test_a_journal_that_was_altered_is_refused() -> None:
    contents = disk.JournalContents(votes={(0, 1): b"\xff"})
    with pytest.raises(EncodingError):
        load_contents(contents)

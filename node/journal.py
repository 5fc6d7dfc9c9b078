"""Between the engine's journal records, which have meaning, and the disk's, which are bytes under a key."""

from __future__ import annotations

from consensus.block import MAX_BLOCK_BYTES, MAX_CERTIFICATE_BYTES, Block, Certificate
from consensus.engine import JournalContents, Record
from consensus.messages import MAX_MESSAGE_BYTES, Proposal, Vote
from ledger.encoding import decode, encode
from storage import interface as disk

MAX_VOTE_BYTES = 1024


def to_record(record: Record) -> disk.JournalRecord:
    """How one record is written down."""
    data = encode(record)
    match record:
        case Vote(statement=statement):
            return disk.VoteRecord(statement.height, statement.view, statement.kind, data)
        case Certificate(height=height, view=view, kind=kind):
            return disk.CertificateRecord(height, view, kind, data)
        case Block():
            return disk.BodyRecord(record.header.height, record.hash, data)
        case Proposal(height=height, view=view):
            return disk.ProposalRecord(height, view, data)


def load_contents(contents: disk.JournalContents) -> JournalContents:
    """What was written down for one height. Errors: EncodingError if the journal was altered."""
    return JournalContents(
        votes=tuple(decode(data, Vote, MAX_VOTE_BYTES) for data in contents.votes.values()),
        certificates=tuple(decode(data, Certificate, MAX_CERTIFICATE_BYTES) for data in contents.certificates.values()),
        bodies=tuple(decode(data, Block, MAX_BLOCK_BYTES) for data in contents.bodies.values()),
        proposals=tuple(decode(data, Proposal, MAX_MESSAGE_BYTES) for data in contents.proposals.values()),
    )

"""What leaves together fits its messages, and nothing of it is lost."""

from __future__ import annotations

from consensus.block import MAX_COMMITTEE, Certificate
from consensus.messages import (
    MAX_CERTIFICATES,
    MAX_MESSAGE_BYTES,
    MAX_VOTES,
    Certificates,
    Proposal,
    Vote,
    Votes,
    decode_message,
    encode_message,
)
from ledger.statements import Statement, StatementKind
from node.parcels import pack
from tests.support.chain import Chain


def vote(view: int) -> Vote:
    return Vote(Statement(StatementKind.NULLIFY, 1, view, None), bytes(32), bytes(64))


def certificate(view: int, signers: int = 4) -> Certificate:
    octets = -(-signers // 8)
    return Certificate(StatementKind.NOTARIZE, 2**40, view, bytes(32), bytes(octets), bytes(64 * signers))


def test_proposals_come_first_then_certificates_then_votes_each_once() -> None:
    proposal = Proposal(1, 0, Chain().build().block, (), bytes(32), bytes(64))
    packed = list(
        pack(
            [
                Votes((vote(1),)),
                Certificates((certificate(1), certificate(2))),
                proposal,
                Votes((vote(2), vote(1))),
                Certificates((certificate(2), certificate(3))),
            ]
        )
    )
    assert packed == [
        proposal,
        Certificates((certificate(1), certificate(2), certificate(3))),
        Votes((vote(1), vote(2))),
    ]


def test_nothing_makes_nothing() -> None:
    assert list(pack([])) == []


def test_more_than_a_message_may_hold_takes_several() -> None:
    votes = tuple(vote(view) for view in range(2 * MAX_VOTES + 1))
    certificates = tuple(certificate(view) for view in range(2 * MAX_CERTIFICATES + 1))
    packed = list(pack([Certificates(certificates), Votes(votes)]))
    # Then every message is one that others decode, and all is in them
    decoded = [decode_message(encode_message(message, 7)) for message in packed]
    assert [one for message in decoded if isinstance(message, Votes) for one in message.votes] == list(votes)
    assert [one for message in decoded if isinstance(message, Certificates) for one in message.certificates] == list(
        certificates
    )
    assert len(packed) == 6


def test_certificates_of_a_large_committee_are_parted_by_their_bytes() -> None:
    large = tuple(certificate(view, signers=MAX_COMMITTEE) for view in range(7))
    packed = list(pack([Certificates(large)]))
    assert all(len(encode_message(message, 2**60)) <= MAX_MESSAGE_BYTES for message in packed)
    assert [one for message in packed if isinstance(message, Certificates) for one in message.certificates] == list(
        large
    )

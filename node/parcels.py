"""Consensus messages that leave together.

1. Proposals go first, one by one; then all certificates; then all votes. Each certificate and vote once.
2. Certificates and votes share messages, as many as a message may hold, in number and in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from consensus.block import Certificate
from consensus.messages import (
    MAX_CERTIFICATES,
    MAX_MESSAGE_BYTES,
    MAX_VOTES,
    Certificates,
    Message,
    Proposal,
    Vote,
    Votes,
)

CERTIFICATE_OVERHEAD_BYTES: Final = 128
"""More than the encoding of a certificate adds to its signers and signatures."""
MESSAGE_OVERHEAD_BYTES: Final = 64


def pack(messages: Iterable[Message]) -> Iterator[Message]:
    """The same, in few messages."""
    votes: dict[Vote, None] = {}
    certificates: dict[Certificate, None] = {}
    for message in messages:
        match message:
            case Proposal():
                yield message
            case Votes():
                votes.update(dict.fromkeys(message.votes))
            case Certificates():
                certificates.update(dict.fromkeys(message.certificates))
    yield from _certificates(certificates)
    distinct = tuple(votes)
    for start in range(0, len(distinct), MAX_VOTES):
        yield Votes(distinct[start : start + MAX_VOTES])


def _certificates(certificates: Iterable[Certificate]) -> Iterator[Certificates]:
    parcel: list[Certificate] = []
    size = MESSAGE_OVERHEAD_BYTES
    for certificate in certificates:
        octets = len(certificate.signatures) + len(certificate.signers) + CERTIFICATE_OVERHEAD_BYTES
        if parcel and (size + octets > MAX_MESSAGE_BYTES or len(parcel) == MAX_CERTIFICATES):
            yield Certificates(tuple(parcel))
            parcel, size = [], MESSAGE_OVERHEAD_BYTES
        parcel.append(certificate)
        size += octets
    if parcel:
        yield Certificates(tuple(parcel))

"""Proposals without the signatures that the receiver has.

A block carries its parent's finalize certificate with every signature its leader held: 64 bytes a member, most of an
empty block. Its receivers have heard nearly all of them as votes.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from consensus.block import Certificate
from consensus.messages import Abridged, Proposal
from node.seats import from_octets, mask_of, seats_in, to_octets

SIGNATURE_BYTES = 64


def abridge(proposal: Proposal, signatures: Mapping[int, bytes], known: int) -> Proposal | Abridged:
    """The proposal for somebody who holds ``known`` of these signatures (by seat) on its block's parent."""
    parent = proposal.block.parent_certificate
    if parent is None:
        return proposal
    carried = dict(zip(seats_in(from_octets(parent.signers)), _cut(parent.signatures), strict=True))
    left_out = {seat for seat, signature in carried.items() if known >> seat & 1 and signatures.get(seat) == signature}
    if not left_out:
        return proposal
    rest = b"".join(signature for seat, signature in carried.items() if seat not in left_out)
    return Abridged(_with_signatures(proposal, parent, rest), to_octets(mask_of(left_out)))


def complete(abridged: Abridged, signatures: Mapping[int, bytes]) -> Proposal | None:
    """The whole proposal; None if these signatures do not make its parent certificate the one its header names."""
    parent = abridged.proposal.block.parent_certificate
    if parent is None:
        return None
    left_out, sent = from_octets(abridged.left_out), iter(_cut(parent.signatures))
    found = b"".join(
        signatures.get(seat, b"") if left_out >> seat & 1 else next(sent, b"")
        for seat in seats_in(from_octets(parent.signers))
    )
    whole = _with_signatures(abridged.proposal, parent, found)
    certificate = whole.block.parent_certificate
    assert certificate is not None
    return whole if certificate.hash == whole.block.header.parent_certificate_hash else None


def _cut(signatures: bytes) -> list[bytes]:
    return [signatures[start : start + SIGNATURE_BYTES] for start in range(0, len(signatures), SIGNATURE_BYTES)]


def _with_signatures(proposal: Proposal, parent: Certificate, signatures: bytes) -> Proposal:
    certificate = msgspec.structs.replace(parent, signatures=signatures)
    block = msgspec.structs.replace(proposal.block, parent_certificate=certificate)
    return msgspec.structs.replace(proposal, block=block)

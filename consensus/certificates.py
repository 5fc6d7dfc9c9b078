"""Certificates: a quorum's signatures on one statement.

1. ``signers`` has ⌈n/8⌉ bytes for a committee of n; seat i is bit i mod 8 (least significant first) of byte i div 8;
   bits at n and above are zero.
2. ``signatures`` holds the signers' 64-byte signatures on ``Statement(kind, height, view, block_hash)``, concatenated
   in seat order.
3. The signers are a quorum. Beyond that a certificate may carry any further signatures: it is never less true for it.
4. ``kind`` is NOTARIZE, NULLIFY or FINALIZE; ``block_hash`` is None for NULLIFY and only for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from consensus.block import Certificate
from consensus.committee import Committee
from consensus.verifier import Verifier
from ledger.statements import Statement, StatementKind

_SIGNATURE_BYTES: Final = 64
_KINDS: Final = frozenset((StatementKind.NOTARIZE, StatementKind.NULLIFY, StatementKind.FINALIZE))


def statement_of(certificate: Certificate) -> Statement:
    """What each signer of the certificate signed."""
    return Statement(certificate.kind, certificate.height, certificate.view, certificate.block_hash)


def build_certificate(statement: Statement, signatures: Mapping[int, bytes], committee: Committee) -> Certificate:
    """The certificate of these signatures (by seat, each verified before), which need not be a quorum yet."""
    size = len(committee)
    assert statement.kind in _KINDS
    assert all(0 <= index < size and len(signature) == _SIGNATURE_BYTES for index, signature in signatures.items())
    mask = 0
    for index in signatures:
        mask |= 1 << index
    return Certificate(
        statement.kind,
        statement.height,
        statement.view,
        statement.block_hash,
        mask.to_bytes(-(-size // 8), "little"),
        b"".join(signatures[index] for index in sorted(signatures)),
    )


def signers(certificate: Certificate, committee: Committee) -> tuple[int, ...] | None:
    """The seats that signed, ascending; None if the certificate is not well formed for this committee (1, 2, 4)."""
    size = len(committee)
    if certificate.kind not in _KINDS or (certificate.block_hash is None) != (
        certificate.kind == StatementKind.NULLIFY
    ):
        return None
    if len(certificate.signers) != -(-size // 8):
        return None
    mask = int.from_bytes(certificate.signers, "little")
    if mask >> size:
        return None
    seats = tuple(index for index in range(size) if mask >> index & 1)
    return seats if len(certificate.signatures) == _SIGNATURE_BYTES * len(seats) else None


def signatures_of(certificate: Certificate, committee: Committee) -> dict[int, bytes] | None:
    """The signatures by seat; None if the certificate is not well formed."""
    seats = signers(certificate, committee)
    if seats is None:
        return None
    held = certificate.signatures
    return {index: held[place * 64 : place * 64 + 64] for place, index in enumerate(seats)}


def signed_weight(certificate: Certificate, committee: Committee) -> int:
    """The weight of the seats that signed; 0 if the certificate is not well formed."""
    return sum(committee.weights[index] for index in signers(certificate, committee) or ())


def verify_certificate(certificate: Certificate, committee: Committee, verifier: Verifier) -> bool:
    """True if the certificate keeps rules 1 to 4 and every signature in it is good."""
    signatures = signatures_of(certificate, committee)
    if signatures is None or not committee.is_quorum(sum(committee.weights[index] for index in signatures)):
        return False
    statement = statement_of(certificate)
    seats = committee.seats
    return all(
        verifier.statement(seats[index].node_key, statement, signature) for index, signature in signatures.items()
    )


def extend_certificate(certificate: Certificate, more: Mapping[int, bytes], committee: Committee) -> Certificate:
    """The certificate with further signatures (by seat, verified before) on the same statement."""
    signatures = signatures_of(certificate, committee)
    assert signatures is not None
    missing = {index: signature for index, signature in more.items() if index not in signatures}
    if not missing:
        return certificate
    return build_certificate(statement_of(certificate), {**signatures, **missing}, committee)

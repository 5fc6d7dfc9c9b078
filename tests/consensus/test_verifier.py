"""Signatures on statements, and the memory of good ones."""

from __future__ import annotations

import pytest

from consensus.verifier import REMEMBERED_STATEMENTS, KeySigner, SignatureVerifier
from ledger.keys import SigningKey
from ledger.statements import SignedStatement, Statement, StatementKind

CHAIN_ID = bytes(range(32))
KEY = SigningKey(bytes(32))
SIGNER = KeySigner(KEY, CHAIN_ID)


def statement(view: int, kind: int = StatementKind.NOTARIZE) -> Statement:
    return Statement(kind, 1, view, None if kind == StatementKind.NULLIFY else bytes(32))


@pytest.mark.parametrize("kind", list(StatementKind))
def test_what_a_signer_signs_verifies_and_convicts(kind: StatementKind) -> None:
    signature = SIGNER.sign(statement(3, kind))
    assert SIGNER.node_key == KEY.public_key
    assert SignatureVerifier(CHAIN_ID).statement(KEY.public_key, statement(3, kind), signature)
    assert SignedStatement(statement(3, kind), signature).verify(KEY.public_key, CHAIN_ID)


def test_a_decoded_kind_is_the_same_as_a_named_one() -> None:
    assert statement(3, 1) == statement(3, StatementKind.NOTARIZE)
    assert hash(statement(3, 1)) == hash(statement(3, StatementKind.NOTARIZE))
    assert SIGNER.sign(statement(3, 1)) == SIGNER.sign(statement(3, StatementKind.NOTARIZE))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    assert not SignatureVerifier(CHAIN_ID).statement(KEY.public_key, statement(3), signature)


def test_a_signature_is_worth_nothing_elsewhere() -> None:
    subject = SignatureVerifier(CHAIN_ID)
    signature = SIGNER.sign(statement(3))
    assert subject.statement(KEY.public_key, statement(3), signature)
    assert not subject.statement(KEY.public_key, statement(4), signature)
    assert not subject.statement(SigningKey(b"\x01" * 32).public_key, statement(3), signature)
    assert not subject.statement(KEY.public_key, statement(3, StatementKind.FINALIZE), signature)
    assert not SignatureVerifier(bytes(32)).statement(KEY.public_key, statement(3), signature)


def test_more_signatures_than_are_remembered_still_verify() -> None:
    subject = SignatureVerifier(CHAIN_ID, remembered=4)
    views = range(REMEMBERED_STATEMENTS + 10)
    signed = [(statement(view), SIGNER.sign(statement(view))) for view in views]
    for _ in range(2):
        assert all(subject.statement(KEY.public_key, one, signature) for one, signature in signed)
    assert not subject.statement(KEY.public_key, statement(0), signed[1][1])

"""Committees, statements and certificates against golden vectors, and how certificates are made and extended."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.block import Certificate
from consensus.certificates import (
    build_certificate,
    extend_certificate,
    signatures_of,
    signed_weight,
    signers,
    statement_of,
    verify_certificate,
)
from consensus.committee import Committee
from consensus.verifier import KeySigner, SignatureVerifier
from ledger.encoding import decode, encode
from ledger.keys import SigningKey
from ledger.records import CommitteeSnapshot, SnapshotMember
from ledger.statements import Statement, StatementKind

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "certificates.json").read_text(encoding="utf-8")
)
CHAIN_ID = bytes.fromhex(VECTORS["chain_id"])
BLOCK_HASH = sha256(b"block").digest()


def committee_of(entry: dict[str, Any]) -> Committee:
    return Committee(
        CommitteeSnapshot(
            tuple(
                SnapshotMember(
                    bytes.fromhex(one["account"]),
                    bytes.fromhex(one["node_key"]),
                    one["pool_mvote"],
                    one["reputation_milli"],
                    one["weight"],
                )
                for one in entry["members"]
            )
        )
    )


COMMITTEES = {entry["name"]: committee_of(entry) for entry in VECTORS["committees"]}


def key_of(committee: str, seat: int) -> SigningKey:
    return SigningKey(sha256(f"{committee}/{seat}".encode()).digest())


class TestVectors:
    @pytest.mark.parametrize("entry", VECTORS["committees"], ids=[entry["name"] for entry in VECTORS["committees"]])
    def test_committee_hash_is_the_golden_one(self, entry: dict[str, Any]) -> None:
        assert COMMITTEES[entry["name"]].hash.hex() == entry["hash"]

    @pytest.mark.parametrize("entry", VECTORS["statements"], ids=range(len(VECTORS["statements"])))
    def test_statement_is_encoded_and_signed_as_written(self, entry: dict[str, Any]) -> None:
        encoded, signature = bytes.fromhex(entry["encoded"]), bytes.fromhex(entry["signature"])
        statement = decode(encoded, Statement, 1_000)
        assert encode(statement) == encoded
        key = key_of(entry["committee"], entry["seat"])
        assert KeySigner(key, CHAIN_ID).sign(statement) == signature
        assert SignatureVerifier(CHAIN_ID).statement(key.public_key, statement, signature)

    @pytest.mark.parametrize("entry", VECTORS["certificates"], ids=[entry["why"] for entry in VECTORS["certificates"]])
    def test_certificate_is_judged_as_written(self, entry: dict[str, Any]) -> None:
        encoded = bytes.fromhex(entry["encoded"])
        certificate = decode(encoded, Certificate, 100_000)
        assert encode(certificate) == encoded
        assert certificate.hash.hex() == entry["hash"]
        committee = COMMITTEES[entry["committee"]]
        assert verify_certificate(certificate, committee, SignatureVerifier(CHAIN_ID)) == entry["valid"]
        if entry["valid"]:
            assert signers(certificate, committee) == tuple(entry["signers"])
            built = build_certificate(statement_of(certificate), signatures_of(certificate, committee) or {}, committee)
            assert built == certificate


def signatures(committee: str, statement: Statement, seats: list[int]) -> dict[int, bytes]:
    return {seat: KeySigner(key_of(committee, seat), CHAIN_ID).sign(statement) for seat in seats}


class TestBuilding:
    @given(st.sets(st.integers(0, 8)), st.sampled_from([1, 2, 3]))
    def test_what_is_built_says_who_signed(self, seats: set[int], kind: int) -> None:
        block_hash = None if kind == StatementKind.NULLIFY else BLOCK_HASH
        statement = Statement(kind, 5, 1, block_hash)
        given_signatures = {seat: bytes([seat]) * 64 for seat in seats}
        certificate = build_certificate(statement, given_signatures, COMMITTEES["nine"])
        assert signers(certificate, COMMITTEES["nine"]) == tuple(sorted(seats))
        assert signatures_of(certificate, COMMITTEES["nine"]) == given_signatures
        assert statement_of(certificate) == statement
        assert signed_weight(certificate, COMMITTEES["nine"]) == len(seats)

    def test_late_signatures_extend_a_certificate(self) -> None:
        # Given a certificate of three of four
        statement = Statement(StatementKind.FINALIZE, 5, 1, BLOCK_HASH)
        three = build_certificate(statement, signatures("four", statement, [0, 1, 3]), COMMITTEES["four"])
        # When the fourth comes, with one that is there already
        four = extend_certificate(three, signatures("four", statement, [1, 2]), COMMITTEES["four"])
        # Then all four are in it, in order, and it still verifies
        assert signers(four, COMMITTEES["four"]) == (0, 1, 2, 3)
        assert verify_certificate(four, COMMITTEES["four"], SignatureVerifier(CHAIN_ID))

    def test_nothing_new_leaves_a_certificate_as_it_is(self) -> None:
        statement = Statement(StatementKind.FINALIZE, 5, 1, BLOCK_HASH)
        three = build_certificate(statement, signatures("four", statement, [0, 1, 3]), COMMITTEES["four"])
        assert extend_certificate(three, signatures("four", statement, [3]), COMMITTEES["four"]) is three

    def test_a_seat_without_weight_adds_nothing_to_a_quorum(self) -> None:
        members = tuple(
            SnapshotMember(bytes([seat + 1]) * 32, key_of("four", seat).public_key, 0, 0, weight)
            for seat, weight in enumerate([1, 1, 1, 0])
        )
        committee = Committee(CommitteeSnapshot(members))
        statement = Statement(StatementKind.FINALIZE, 5, 1, BLOCK_HASH)
        two = build_certificate(statement, signatures("four", statement, [0, 1, 3]), committee)
        assert signed_weight(two, committee) == 2
        assert not verify_certificate(two, committee, SignatureVerifier(CHAIN_ID))


class TestMalformed:
    def test_the_signers_of_a_malformed_certificate_are_none(self) -> None:
        certificate = Certificate(3, 5, 1, BLOCK_HASH, b"\xff", bytes(8 * 64))
        assert signers(certificate, COMMITTEES["four"]) is None
        assert signed_weight(certificate, COMMITTEES["four"]) == 0

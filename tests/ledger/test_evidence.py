"""Reports of equivocation: who is convicted, of what, and how often."""

from __future__ import annotations

import pytest

from ledger.committee import committee_at
from ledger.evidence import EXPELLED_NOTE
from ledger.keys import Domain, SigningKey
from ledger.pools import worth_mvote
from ledger.records import STAKES, CandidateStatus
from ledger.refusal import Refusal
from ledger.statements import SignedStatement, Statement, StatementKind
from ledger.transactions import DelegateNodeKey, RegisterMember, ReportEquivocation
from tests.ledger.neighbourhood import (
    NAMES,
    PARAMETERS,
    Neighbourhood,
    account_key,
    node_key,
    seeded_key,
)

A, B = b"\x0a" * 32, b"\x0b" * 32


def signed(
    street: Neighbourhood, key: SigningKey, kind: int, block_hash: bytes | None, height: int, view: int = 0
) -> SignedStatement:
    made = Statement(kind=int(kind), height=height, view=view, block_hash=block_hash)
    return SignedStatement(statement=made, signature=key.sign(made.domain(), street.chain_id, made.message()))


def report(street: Neighbourhood, key: SigningKey, height: int = 1, kind: int = 1) -> ReportEquivocation:
    return ReportEquivocation(
        node_key=key.public_key,
        first=signed(street, key, kind, A, height),
        second=signed(street, key, kind, B, height),
    )


def rotate(street: Neighbourhood, name: str, key: SigningKey) -> None:
    proof = key.sign(Domain.NODE_KEY, street.chain_id, account_key(name).public_key)
    payload = DelegateNodeKey(node_key=key.public_key, proof=proof)
    assert street.refusal(street.sign(name, payload)) is None


@pytest.mark.parametrize(
    ("kinds", "hashes"),
    [
        ((StatementKind.NOTARIZE, StatementKind.NOTARIZE), (A, B)),
        ((StatementKind.FINALIZE, StatementKind.FINALIZE), (A, B)),
        ((StatementKind.PROPOSAL, StatementKind.PROPOSAL), (A, B)),
        ((StatementKind.NULLIFY, StatementKind.FINALIZE), (None, A)),
        ((StatementKind.FINALIZE, StatementKind.NULLIFY), (A, None)),
    ],
)
def test_the_guilty_loses_pool_and_pots_and_is_expelled(
    kinds: tuple[int, int], hashes: tuple[bytes | None, bytes | None]
) -> None:
    street = Neighbourhood()
    street.block(producer="bob")
    worth, burned = worth_mvote(street.candidate("bob")), street.supply().votes_burned_mvote
    first, second = (
        signed(street, node_key("bob"), kind, block_hash, 1) for kind, block_hash in zip(kinds, hashes, strict=True)
    )
    payload = ReportEquivocation(node_key=node_key("bob").public_key, first=first, second=second)
    (receipt,) = street.block(street.sign("carla", payload), producer="anne")

    assert receipt.refusal is None
    assert receipt.note == f"{EXPELLED_NOTE} {street.supply().votes_burned_mvote - burned}"
    bob = street.candidate("bob")
    assert (bob.status, bob.pool_mvote, bob.shares, bob.frozen) == (CandidateStatus.EXPELLED, 0, 0, ())
    assert list(STAKES.scan(street.state, account_key("bob").public_key)) == []
    ante = PARAMETERS.initial_ballot_mvote // PARAMETERS.ante_divisor
    assert burned + worth - ante <= street.supply().votes_burned_mvote <= burned + worth
    assert account_key("bob").public_key in {entry.account for entry in street.last_result.history}


def test_another_node_reports_with_its_node_key() -> None:
    street = Neighbourhood()
    street.block()
    transaction = street.sign("carla", report(street, node_key("bob")), key=node_key("carla"))
    assert street.refusal(transaction) is None


def test_the_expelled_are_not_in_the_next_snapshot() -> None:
    street = Neighbourhood()
    street.block()
    street.block(street.sign("carla", report(street, node_key("bob"))))
    while street.height < PARAMETERS.epoch_blocks:
        street.block()
    members = committee_at(street.reader, street.height + PARAMETERS.committee_delay_blocks).members
    assert account_key("bob").public_key not in {member.account for member in members}


def test_one_deed_convicts_once() -> None:
    street = Neighbourhood()
    street.block()
    street.block(street.sign("carla", report(street, node_key("bob"))))
    assert street.refusal(street.sign("carla", report(street, node_key("bob")))) is Refusal.CANDIDATE_EXPELLED


def test_registered_anew_nobody_is_convicted_of_what_was_before() -> None:
    street = Neighbourhood()
    street.block()
    street.block(street.sign("carla", report(street, node_key("bob"))))
    anew = RegisterMember(account=account_key("bob").public_key, name="bob", roles=0, feeder="feeder-1")
    street.block(street.sign("anne", anew))
    registered = street.height
    for height in (1, registered):
        assert street.refusal(street.sign("carla", report(street, node_key("bob"), height))) is Refusal.NO_EQUIVOCATION
    assert street.refusal(street.sign("carla", report(street, node_key("bob"), registered + 1))) is None


def test_the_future_convicts_nobody() -> None:
    street = Neighbourhood()
    for height, expected in ((2, Refusal.NO_EQUIVOCATION), (2**62, Refusal.NO_EQUIVOCATION), (3, None)):
        transaction = street.sign("carla", report(street, node_key("bob"), height))
        assert street.admission(transaction) is expected
        assert street.refusal(transaction) is expected


class TestWhoseKeyItWas:
    def test_a_key_given_up_still_names_its_holder_while_the_committee_is_kept(self) -> None:
        street = Neighbourhood()
        rotate(street, "bob", seeded_key("fresh node"))
        assert street.refusal(street.sign("carla", report(street, node_key("bob"), 1))) is None
        assert street.candidate("bob").status == CandidateStatus.EXPELLED

    def test_a_key_new_since_the_snapshot_names_its_holder(self) -> None:
        street = Neighbourhood()
        fresh = seeded_key("fresh node")
        rotate(street, "bob", fresh)
        assert street.refusal(street.sign("carla", report(street, fresh, 1))) is None

    def test_a_key_given_up_long_ago_names_nobody(self) -> None:
        street = Neighbourhood()
        rotate(street, "bob", seeded_key("fresh node"))
        for _ in range(4 * PARAMETERS.epoch_blocks):
            street.block(producer=NAMES[street.height % 4])
        payload = report(street, node_key("bob"), street.height)
        assert street.refusal(street.sign("carla", payload)) is Refusal.NOT_A_CANDIDATE

    def test_an_unknown_key_names_nobody(self) -> None:
        street = Neighbourhood()
        street.block()
        payload = report(street, seeded_key("no node"), 1)
        assert street.refusal(street.sign("carla", payload)) is Refusal.NOT_A_CANDIDATE


class TestNoEvidence:
    """What proves nothing can never be valid, and has no place in a block."""

    def assert_refused(self, street: Neighbourhood, payload: ReportEquivocation) -> None:
        transaction = street.sign("carla", payload)
        assert street.admission(transaction) is Refusal.NO_EQUIVOCATION
        assert street.is_invalid(transaction)

    def test_statements_that_agree(self) -> None:
        street = Neighbourhood()
        one = signed(street, node_key("bob"), StatementKind.NOTARIZE, A, 1)
        other = signed(street, node_key("bob"), StatementKind.FINALIZE, A, 1)
        for second in (one, other):
            payload = ReportEquivocation(node_key=node_key("bob").public_key, first=one, second=second)
            self.assert_refused(street, payload)

    def test_statements_of_different_views(self) -> None:
        street = Neighbourhood()
        payload = ReportEquivocation(
            node_key=node_key("bob").public_key,
            first=signed(street, node_key("bob"), StatementKind.NOTARIZE, A, 1, view=0),
            second=signed(street, node_key("bob"), StatementKind.NOTARIZE, B, 1, view=1),
        )
        self.assert_refused(street, payload)

    def test_a_signature_of_somebody_else(self) -> None:
        street = Neighbourhood()
        mixed = ReportEquivocation(
            node_key=node_key("bob").public_key,
            first=signed(street, node_key("bob"), StatementKind.NOTARIZE, A, 1),
            second=signed(street, node_key("carla"), StatementKind.NOTARIZE, B, 1),
        )
        swapped = ReportEquivocation(node_key=node_key("bob").public_key, first=mixed.second, second=mixed.first)
        for payload in (mixed, swapped):
            self.assert_refused(street, payload)

    def test_signatures_for_another_chain(self) -> None:
        street = Neighbourhood()
        elsewhere = Neighbourhood()
        elsewhere.chain_id = bytes(32)
        self.assert_refused(street, report(elsewhere, node_key("bob")))

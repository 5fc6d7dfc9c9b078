"""What contradicts what: only that convicts."""

from __future__ import annotations

from itertools import product

import pytest

from ledger.keys import Domain
from ledger.statements import SignedStatement, Statement, StatementKind, contradict
from tests.ledger.neighbourhood import node_key

A, B = b"\x0a" * 32, b"\x0b" * 32
CHAIN = bytes(32)


def statement(kind: int, block_hash: bytes | None = None, height: int = 5, view: int = 2) -> Statement:
    return Statement(kind=int(kind), height=height, view=view, block_hash=block_hash)


EVERY = [statement(StatementKind.NULLIFY), *(statement(kind, one) for kind in (0, 1, 3) for one in (A, B))]


def is_equivocation(first: Statement, second: Statement) -> bool:
    """The rule once more, as a list of what convicts."""
    pair = {(first.kind, first.block_hash), (second.kind, second.block_hash)}
    convicting = [{(kind, A), (kind, B)} for kind in (0, 1, 3)]
    convicting += [{(2, None), (3, one)} for one in (A, B)]
    return pair in convicting


@pytest.mark.parametrize(("first", "second"), product(EVERY, EVERY))
def test_exactly_the_listed_pairs_contradict(first: Statement, second: Statement) -> None:
    assert contradict(first, second) == is_equivocation(first, second)


@pytest.mark.parametrize(("height", "view"), [(6, 2), (5, 3)])
def test_statements_about_different_views_never_contradict(height: int, view: int) -> None:
    assert not contradict(statement(1, A), statement(1, B, height, view))


@pytest.mark.parametrize(
    "odd", [statement(4, A), statement(1, None), statement(2, A), statement(0, None), statement(3, None)]
)
@pytest.mark.parametrize("other", [*EVERY, statement(4, B)])
def test_what_no_node_would_sign_contradicts_nothing(odd: Statement, other: Statement) -> None:
    assert not contradict(odd, other)
    assert not contradict(other, odd)


def test_proposals_and_votes_are_signed_under_tags_of_their_own() -> None:
    key = node_key("anne")
    proposal = statement(StatementKind.PROPOSAL, A)
    good = key.sign(Domain.PROPOSAL, CHAIN, proposal.message())
    bad = key.sign(Domain.VOTE, CHAIN, proposal.message())

    assert SignedStatement(statement=proposal, signature=good).verify(key.public_key, CHAIN)
    assert not SignedStatement(statement=proposal, signature=bad).verify(key.public_key, CHAIN)
    assert not SignedStatement(statement=statement(1, A), signature=good).verify(key.public_key, CHAIN)
    assert not SignedStatement(statement=proposal, signature=good).verify(key.public_key, b"\x01" * 32)

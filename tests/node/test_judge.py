"""Which proposals and votes are right, which are ignored, and which cost whoever handed them over."""

from __future__ import annotations

import msgspec
import pytest

from consensus.block import Certificate
from consensus.messages import Proposal, Vote, Votes
from ledger.keys import SigningKey
from ledger.statements import Statement, StatementKind
from node.judge import VIEWS_AHEAD, Judge
from p2p.network import Verdict
from storage.memory import MemoryChain
from tests.support.chain import Chain, key_for
from tests.support.disk import copy_chain
from tests.support.transactions import payment

pytestmark = pytest.mark.trio
NOTARIZE, NULLIFY, FINALIZE, PROPOSAL = (
    StatementKind.NOTARIZE,
    StatementKind.NULLIFY,
    StatementKind.FINALIZE,
    StatementKind.PROPOSAL,
)


class Court:
    """A node at height 2, which judges. ``just_closed``: whether height 1 closed in the last 2Δ."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.chain.produce()
        self.node = copy_chain(self.chain, MemoryChain())
        self.context = self.node.height_context()
        self.block = self.chain.build([payment(self.chain, "anne")]).block
        self.later_block = self.chain.build(view=1).block
        self.judge = Judge(self.chain.verifier, self.node.body_is_bound)

    def verdict(self, message: Proposal | Votes, *, view: int = 0, just_closed: bool = True) -> Verdict:
        if isinstance(message, Proposal):
            return self.judge.proposal(message, self.context, view)
        return self.judge.votes(message.votes, self.context, just_closed=just_closed)

    def sign(self, key: SigningKey, statement: Statement) -> bytes:
        return key.sign(statement.domain(), self.chain.chain_id, statement.message())

    def vote(
        self,
        who: str | SigningKey = "anne",
        kind: StatementKind = NOTARIZE,
        height: int = 2,
        view: int = 0,
    ) -> Vote:
        key = self.chain.home(who).node if isinstance(who, str) else who
        statement = Statement(kind, height, view, None if kind == NULLIFY else self.block.hash)
        return Vote(statement, key.public_key, self.sign(key, statement))

    def proposal(self, *justification: Certificate, view: int = 0, key: SigningKey | None = None) -> Proposal:
        block = self.block if view == 0 else self.later_block
        key = key or self.chain.leader(view).node
        statement = Statement(PROPOSAL, 2, view, block.hash)
        return Proposal(2, view, block, justification, key.public_key, self.sign(key, statement))

    def nullification(self, view: int = 0, *, signers: tuple[str, ...] | None = None) -> Certificate:
        from consensus.certificates import build_certificate

        committee = self.context.committee
        votes = {
            committee.index_of_node_key(home.node.public_key): self.vote(name, NULLIFY, view=view).signature
            for name, home in self.chain.homes.items()
            if signers is None or name in signers
        }
        return build_certificate(Statement(NULLIFY, 2, view, None), votes, committee)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def court() -> Court:
    return Court()


async def test_the_leaders_proposal_is_right(court: Court) -> None:
    assert court.verdict(court.proposal()) is Verdict.ACCEPT
    assert court.verdict(court.proposal(court.nullification(), view=1)) is Verdict.ACCEPT


async def test_a_proposal_of_anyone_else_is_wrong(court: Court) -> None:
    leader = court.chain.leader()
    for home in court.chain.homes.values():
        if home is not leader:
            assert court.verdict(court.proposal(key=home.node)) is Verdict.REJECT
    assert court.verdict(court.proposal(key=key_for("node", "a stranger"))) is Verdict.REJECT


async def test_a_proposal_that_was_altered_is_wrong(court: Court) -> None:
    good = court.proposal()
    block = good.block
    stripped = msgspec.structs.replace(block, transactions=())
    other_header = msgspec.structs.replace(block, header=msgspec.structs.replace(block.header, time_ms=1))
    for changes in (
        {"signature": bytes(64)},
        {"block": stripped},
        {"block": other_header},
        {"view": 1, "justification": (court.nullification(),)},
    ):
        assert court.verdict(msgspec.structs.replace(good, **changes)) is Verdict.REJECT


async def test_a_leader_that_signs_the_block_of_another_height_is_wrong(court: Court) -> None:
    block = court.chain.blocks[0].block  # of height 1
    key = court.chain.leader().node
    signature = court.sign(key, Statement(PROPOSAL, 2, 0, block.hash))
    assert court.verdict(Proposal(2, 0, block, (), key.public_key, signature)) is Verdict.REJECT


async def test_a_justification_that_is_forged_makes_the_proposal_wrong(court: Court) -> None:
    few = court.nullification(signers=("anne", "bob"))
    forged = msgspec.structs.replace(court.nullification(), signatures=bytes(4 * 64))
    for certificate in (few, forged):
        assert court.verdict(court.proposal(certificate, view=1)) is Verdict.REJECT


async def test_proposals_of_other_heights_and_far_views_are_ignored(court: Court) -> None:
    good = court.proposal()
    for changes in ({"height": 1}, {"height": 3}, {"view": VIEWS_AHEAD + 1}, {"view": 2**63}):
        assert court.verdict(msgspec.structs.replace(good, **changes)) is Verdict.IGNORE


@pytest.mark.parametrize("kind", [NOTARIZE, NULLIFY, FINALIZE])
async def test_a_members_vote_is_right(court: Court, kind: StatementKind) -> None:
    assert court.verdict(Votes((court.vote(kind=kind),))) is Verdict.ACCEPT
    # And of the next height, which others may have reached before
    assert court.verdict(Votes((court.vote(kind=kind, height=3),))) is Verdict.ACCEPT


async def test_late_votes_of_the_height_before_are_right_for_two_deltas(court: Court) -> None:
    late = Votes((court.vote(kind=FINALIZE, height=1),))
    assert court.verdict(late, just_closed=True) is Verdict.ACCEPT
    assert court.verdict(late, just_closed=False) is Verdict.IGNORE


async def test_a_vote_with_another_signature_is_wrong(court: Court) -> None:
    good = court.vote()
    for changes in (
        {"signature": bytes(64)},
        {"signature": court.vote("bob").signature},
        {"statement": court.vote(view=1).statement},
        {"node_key": court.vote("bob").node_key},
    ):
        assert court.verdict(Votes((msgspec.structs.replace(good, **changes),))) is Verdict.REJECT


async def test_votes_of_strangers_and_of_far_heights_are_ignored_unchecked(court: Court) -> None:
    stranger = court.vote(key_for("node", "a stranger"))
    for vote in (
        stranger,
        msgspec.structs.replace(stranger, signature=bytes(64)),
        court.vote(height=4),
        court.vote(height=0),
        court.vote(height=2**63),
    ):
        assert court.verdict(Votes((vote,))) is Verdict.IGNORE


async def test_one_part_that_cannot_be_checked_keeps_the_whole_from_being_right(court: Court) -> None:
    stranger, good = court.vote(key_for("node", "a stranger")), court.vote()
    assert court.verdict(Votes((good, court.vote("bob")))) is Verdict.ACCEPT
    assert court.verdict(Votes((good, stranger))) is Verdict.IGNORE
    # And one that is wrong makes the whole wrong
    bad = msgspec.structs.replace(court.vote("bob"), signature=bytes(64))
    assert court.verdict(Votes((good, stranger, bad))) is Verdict.REJECT


async def test_who_says_the_same_twice_in_a_message_is_wrong(court: Court) -> None:
    assert court.verdict(Votes((court.vote(), court.vote()))) is Verdict.REJECT

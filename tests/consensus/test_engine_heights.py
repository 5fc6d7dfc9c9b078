"""Old and later heights (rule 9), the closing certificate, and the limits on what peers can make a node keep."""

from __future__ import annotations

import pytest

from consensus.certificates import signers
from consensus.engine import Answer, Build, CatchUp, Commit, Evidence
from consensus.engine.neighbours import (
    EARLY_MESSAGES_PER_MEMBER,
    REMEMBERED_PEERS,
    EarlyMessages,
    Pace,
)
from consensus.messages import Proposal, Vote
from tests.consensus.stage import DELTA_MS, FINALIZE, INTERVAL_MS, NOTARIZE, NULLIFY, PARENT_HASH, Stage


def commit_one(stage: Stage, members: list[int] | None = None) -> bytes:
    """Lets the open height close in view 0 by the given members' finalization. Returns the block's hash."""
    block = stage.block(0)
    stage.hear(stage.proposal(0, block))
    stage.hear(stage.certificate(FINALIZE, 0, block.hash, members))
    assert stage.done(Commit)
    return block.hash


def open_next(stage: Stage, block_hash: bytes) -> None:
    stage.height += 1
    commit = stage.done(Commit)[-1]
    context = stage.context(stage.height, block_hash, commit.block.header.time_ms)
    stage.do(stage.engine.open_height(context, stage.now))


class TestClosing:
    def test_votes_that_come_late_fill_up_the_certificate_for_the_next_block(self) -> None:
        # Given a height closed by three, me among them; I lead the next
        stage = Stage(me=0)
        stage.builds = False
        stage.open()
        stage.do(stage.engine.on_block_built(1, 0, stage.block(0), stage.now))
        block_hash = stage.proposals()[0].block.hash
        stage.hear_votes(NOTARIZE, 0, block_hash, [1, 2])
        stage.hear_votes(FINALIZE, 0, block_hash, [1, 2])
        (commit,) = stage.done(Commit)
        assert signers(commit.certificate, stage.committee) == (0, 1, 2)
        # When the fourth's vote comes, before or after the next height has opened
        open_next(stage, block_hash)
        stage.hear(stage.signed(3, FINALIZE, 0, block_hash, height=1))
        # Then the block I build carries all four
        stage.advance(INTERVAL_MS)
        (build,) = [build for build in stage.done(Build) if build.height == 2]
        assert build.parent_certificate is not None
        assert signers(build.parent_certificate, stage.committee) == (0, 1, 2, 3)

    def test_certificates_that_come_late_fill_it_up_too(self) -> None:
        stage = Stage(me=None)
        stage.open()
        block_hash = commit_one(stage, [0, 1, 2])
        stage.hear(stage.certificate(FINALIZE, 0, block_hash, [1, 2, 3]))
        closing = stage.engine.closing_certificate()
        assert closing is not None
        assert signers(closing, stage.committee) == (0, 1, 2, 3)

    def test_what_is_not_the_closing_statement_does_not(self) -> None:
        stage = Stage(me=None)
        stage.open()
        block_hash = commit_one(stage, [0, 1, 2])
        genuine = stage.signed(3, FINALIZE, 0, block_hash)
        for false in (
            stage.signed(3, NOTARIZE, 0, block_hash),
            stage.signed(3, FINALIZE, 1, block_hash),
            stage.signed(3, FINALIZE, 0, bytes(32)),
            stage.signed(4, FINALIZE, 0, block_hash),
            Vote(genuine.statement, genuine.node_key, bytes(64)),
        ):
            stage.hear(false)
        closing = stage.engine.closing_certificate()
        assert closing is not None
        assert signers(closing, stage.committee) == (0, 1, 2)

    def test_after_a_start_it_is_the_one_stored_with_the_parent(self) -> None:
        stage = Stage(me=0, height=7)
        assert stage.engine.closing_certificate() is None
        stage.open()
        closing = stage.engine.closing_certificate()
        assert closing == stage.context(7).parent_certificate
        # And it grows like any other
        stage.hear(stage.signed(0, FINALIZE, 0, PARENT_HASH, height=6))
        stage.hear(stage.signed(1, FINALIZE, 0, PARENT_HASH, height=6))

    def test_the_first_height_has_none(self) -> None:
        stage = Stage(me=0)
        stage.open()
        assert [build.parent_certificate for build in stage.done(Build)] == [None]


class TestOldHeights:
    def test_a_vote_of_a_height_closed_long_ago_is_answered_once_per_half_delta(self) -> None:
        stage = Stage(me=0, height=9)
        stage.open()
        stage.hear(stage.signed(2, NULLIFY, 0, height=3))
        stage.hear(stage.signed(2, NULLIFY, 0, height=4))
        assert stage.done(Answer) == [Answer(stage.keys[2].public_key, 3)]
        stage.hear(stage.signed(1, NULLIFY, 0, height=5))
        assert stage.done(Answer)[1:] == [Answer(stage.keys[1].public_key, 5)]
        stage.advance(DELTA_MS // 2)
        stage.hear(stage.signed(2, NULLIFY, 0, height=4))
        assert stage.done(Answer)[2:] == [Answer(stage.keys[2].public_key, 4)]

    def test_even_someone_who_has_no_seat_now_is_answered(self) -> None:
        stage = Stage(me=0, height=9)
        stage.open()
        stage.hear(stage.signed(4, NULLIFY, 0, height=3))
        assert stage.done(Answer) == [Answer(stage.keys[4].public_key, 3)]

    def test_for_two_delta_after_the_closing_late_votes_are_only_collected(self) -> None:
        stage = Stage(me=None)
        stage.open()
        block_hash = commit_one(stage, [0, 1, 2])
        open_next(stage, block_hash)
        stage.advance(2 * DELTA_MS)
        stage.hear(stage.signed(3, FINALIZE, 0, block_hash, height=1))
        assert not stage.done(Answer)
        stage.advance(1)
        stage.hear(stage.signed(3, NOTARIZE, 0, block_hash, height=1))
        assert stage.done(Answer) == [Answer(stage.keys[3].public_key, 1)]

    def test_a_proposal_is_answered_and_a_certificate_is_not(self) -> None:
        stage = Stage(me=0, height=9)
        stage.open()
        stage.hear(stage.certificate(NULLIFY, 0, height=3), source=2)
        assert not stage.done(Answer)
        stage.height = 3
        stage.hear(stage.proposal(1, stage.block(1)))
        assert stage.done(Answer) == [Answer(stage.keys[1].public_key, 3)]

    def test_nobody_is_answered_for_what_another_forged(self) -> None:
        stage = Stage(me=0, height=9)
        stage.open()
        genuine = stage.signed(2, NULLIFY, 0, height=3)
        stage.hear(Vote(genuine.statement, stage.keys[1].public_key, genuine.signature))
        assert not stage.done(Answer)

    def test_ones_own_echo_is_not_answered(self) -> None:
        stage = Stage(me=0, height=9)
        stage.open()
        stage.hear(stage.signed(0, NULLIFY, 0, height=3))
        stage.hear(stage.signed(0, NULLIFY, 0, height=12))
        assert not stage.done(Answer)
        assert not stage.done(CatchUp)


class TestLaterHeights:
    @pytest.mark.parametrize("height", [6, 9, 2**40])
    def test_a_vote_of_a_later_height_starts_catching_up(self, height: int) -> None:
        stage = Stage(me=0, height=5)
        stage.open()
        stage.hear(stage.signed(2, NOTARIZE, 0, bytes(32), height=height))
        stage.hear(stage.signed(2, NOTARIZE, 1, bytes(32), height=height))
        assert stage.done(CatchUp) == [CatchUp(height, stage.keys[2].public_key)]

    def test_a_certificate_of_a_later_height_starts_it_at_whoever_passed_it_on(self) -> None:
        stage = Stage(me=0, height=5)
        stage.open()
        certificate = stage.certificate(NULLIFY, 0, height=7)
        stage.hear(certificate)
        assert not stage.done(CatchUp)
        stage.hear(certificate, source=3)
        assert stage.done(CatchUp) == [CatchUp(7, stage.keys[3].public_key)]

    def test_what_came_early_for_the_next_height_counts_when_it_opens(self) -> None:
        # Given notarize votes of three, a proposal and a certificate for height 2 that came while height 1 was open
        stage = Stage(me=3)
        stage.open()
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.height = 2
        next_block = stage.block(0, parent_hash=block.hash, time_ms=2 * INTERVAL_MS)
        stage.hear(stage.proposal(0, next_block))
        stage.hear_votes(NOTARIZE, 0, next_block.hash, [0, 1, 2])
        stage.hear(stage.certificate(NULLIFY, 1), source=2)
        stage.height = 1
        assert stage.votes() == [(NOTARIZE, 0, block.hash)]
        # When height 1 closes and height 2 opens by a clock that is there already
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        stage.now_ms += INTERVAL_MS
        stage.take()
        stage.height = 2
        stage.do(stage.engine.open_height(stage.context(2, block.hash, INTERVAL_MS), stage.now))
        # Then they are taken as if they had just come
        assert (NOTARIZE, 0, next_block.hash) in stage.certificates()
        assert (NULLIFY, 1, None) in stage.certificates()
        assert (FINALIZE, 0, next_block.hash) in stage.votes()

    def test_between_closing_and_opening_nobody_has_to_catch_up(self) -> None:
        stage = Stage(me=3)
        stage.open()
        commit_one(stage)
        stage.hear(stage.signed(0, NOTARIZE, 0, bytes(32), height=2))
        assert not stage.done(CatchUp)
        stage.hear(stage.signed(0, NOTARIZE, 0, bytes(32), height=3))
        assert stage.done(CatchUp)

    def test_a_height_reached_by_catching_up_opens_without_a_commit_here(self) -> None:
        stage = Stage(me=3, height=2)
        stage.open()
        stage.height = 30
        stage.do(stage.engine.open_height(stage.context(30), stage.now))
        assert stage.engine.height == 30
        assert not stage.done(Evidence)
        with pytest.raises(AssertionError, match="ascending"):
            stage.engine.open_height(stage.context(30), stage.now)

    def test_before_the_first_opening_everything_is_dropped(self) -> None:
        stage = Stage(me=3)
        stage.hear(stage.signed(0, NOTARIZE, 0, bytes(32)))
        assert not stage.actions
        assert stage.engine.certificates() == ()
        assert stage.engine.body(bytes(32)) is None
        assert (stage.engine.height, stage.engine.is_closed) == (0, True)


class TestLimits:
    def test_of_each_member_a_dozen_messages_wait_and_one_proposal(self) -> None:
        stage = Stage(me=3)
        subject = EarlyMessages()
        votes = [stage.signed(0, NOTARIZE, view, bytes(32), height=2) for view in range(40)]
        proposals = [stage.proposal(view, stage.block(view), leader=0) for view in range(3)]
        everything: list[Vote | Proposal] = [*proposals, *votes, votes[0]]
        for message in everything:
            subject.keep(0, message)
        subject.keep(1, votes[0])
        kept = subject.take()
        assert len([one for index, one in kept if index == 0]) == EARLY_MESSAGES_PER_MEMBER
        assert [one for _, one in kept if one in proposals] == [proposals[-1]]
        assert (1, votes[0]) in kept
        assert len(subject) == 0

    def test_nothing_waits_for_strangers_or_for_heights_beyond_the_next(self) -> None:
        stage = Stage(me=3)
        stage.open()
        stage.hear(stage.signed(4, NOTARIZE, 0, bytes(32), height=2))
        stage.hear(stage.signed(0, NOTARIZE, 0, bytes(32), height=3))
        genuine = stage.signed(0, NOTARIZE, 0, bytes(32), height=2)
        stage.hear(Vote(genuine.statement, genuine.node_key, bytes(64)))
        assert len(stage.engine._early) == 0
        stage.hear(genuine)
        assert len(stage.engine._early) == 1

    def test_pace_forgets_the_oldest_peer(self) -> None:
        subject = Pace()
        keys = [number.to_bytes(32, "big") for number in range(REMEMBERED_PEERS + 1)]
        assert all(subject.may(key, 1_000, 500) for key in keys)
        assert subject.may(keys[0], 1_000, 500), "forgotten"
        assert not subject.may(keys[-1], 1_499, 500)
        assert subject.may(keys[-1], 1_500, 500)

"""Journal first (rule 8): what is on the disk before anything leaves, and what a restart makes of it."""

from __future__ import annotations

from consensus.block import Block, Certificate
from consensus.engine import Action, Broadcast, Build, Commit, Execute, Persist, view_timeout_ms
from consensus.messages import Proposal, Vote, Votes
from tests.consensus.stage import DELTA_MS, FINALIZE, INTERVAL_MS, NOTARIZE, NULLIFY, Stage


def records(actions: list[Action]) -> list[object]:
    return [record for action in actions if isinstance(action, Persist) for record in action.records]


class TestBeforeAnythingLeaves:
    def test_what_is_persisted_comes_first_and_holds_every_own_vote_and_proposal_sent(self) -> None:
        # Given a leader, alone in its committee: it proposes, notarizes and finalizes
        stage = Stage(size=1)
        stage.builds = False
        stage.open()
        stage.take()
        # When its block is built, then all comes from one input: one Persist, before all else
        actions = stage.engine.on_block_built(1, 0, stage.block(0), stage.now)
        assert [index for index, action in enumerate(actions) if isinstance(action, Persist)] == [0]
        written = records(actions)
        for action in actions:
            if isinstance(action, Broadcast) and isinstance(action.message, Votes):
                assert set(action.message.votes) <= set(written)
            elif isinstance(action, Broadcast) and isinstance(action.message, Proposal):
                assert action.message in written

    def test_a_notarize_vote_is_written_with_the_body_and_the_path(self) -> None:
        # Given view 0 nullified, and a fresh proposal in view 1
        stage = Stage(me=3)
        stage.open()
        nullification = stage.certificate(NULLIFY, 0)
        block = stage.block(1)
        stage.hear(stage.proposal(1, block, [nullification]))
        written = records(stage.actions)
        assert nullification in written
        assert block in written
        assert [record.statement.kind for record in written if isinstance(record, Vote)] == [NOTARIZE]

    def test_a_proposal_is_written_with_its_path_and_carries_its_body(self) -> None:
        stage = Stage(me=1)
        stage.open()
        nullification = stage.certificate(NULLIFY, 0)
        stage.hear(nullification)
        written = records(stage.actions)
        (proposal,) = stage.proposals()
        assert proposal in written
        assert nullification in written
        assert not [record for record in written if isinstance(record, Block)]

    def test_a_proposal_that_leaves_before_any_vote_is_written_with_its_path_too(self) -> None:
        # Given that I lead view 1 and repeat a block I have not executed yet
        stage = Stage(me=1)
        stage.executes = False
        stage.open()
        block = stage.block(0)
        notarization = stage.certificate(NOTARIZE, 0, block.hash)
        stage.advance(view_timeout_ms(0, DELTA_MS))
        stage.hear(stage.proposal(0, block))
        stage.take()
        stage.hear(notarization)
        stage.advance(DELTA_MS)
        # Then the proposal is on the disk with the notarization it rests on, though no vote was cast since
        assert stage.proposals()[0].block == block
        assert not stage.votes()
        assert notarization in records(stage.actions)

    def test_a_finalize_vote_is_written_with_its_notarization(self) -> None:
        # Given a notarization of a view that no path of mine leads over any more
        stage = Stage(me=3)
        stage.open()
        block, later = stage.block(0), stage.block(1)
        stage.hear(stage.certificate(NULLIFY, 0))
        stage.hear(stage.certificate(NOTARIZE, 1, later.hash))
        stage.take()
        notarization = stage.certificate(NOTARIZE, 0, block.hash)
        stage.hear(notarization)
        assert stage.votes() == [(FINALIZE, 0, block.hash)]
        assert notarization in records(stage.actions)

    def test_a_finalize_vote_on_a_finalization_is_written_with_it(self) -> None:
        stage = Stage(me=3)
        stage.open()
        finalization = stage.certificate(FINALIZE, 0, stage.block(0).hash)
        stage.hear(finalization)
        assert finalization in records(stage.actions)

    def test_nothing_is_written_twice(self) -> None:
        stage = Stage(me=3)
        stage.open()
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        stage.hear(stage.proposal(1, block))
        stage.advance(60_000)
        written = records(stage.actions)
        assert len(written) == len(set(written))
        assert block in written
        assert sum(isinstance(record, Certificate) for record in written) == 1


class TestAfterARestart:
    def test_a_leader_killed_between_proposal_and_vote_says_the_same_again(self) -> None:
        # Given a leader whose proposal was written and sent, but not its vote; the application would build another
        stage = Stage(me=0)
        stage.open()
        (proposal,) = stage.proposals()
        stage.disk = {key: record for key, record in stage.disk.items() if isinstance(record, Proposal)}
        # When it restarts
        stage.restart()
        # Then it sends the very same proposal and its vote for it, and builds nothing
        assert stage.proposals()[0] == proposal
        assert set(stage.votes()) == {(NOTARIZE, 0, proposal.block.hash)}
        assert not stage.done(Build)
        # And the application is asked to execute it again: it forgot
        assert [execute.block for execute in stage.done(Execute)] == [proposal.block]

    def test_a_finalize_vote_written_but_unsent_is_sent_with_its_path_and_never_nullified(self) -> None:
        # Given a crash right after the disk had the finalize vote
        stage = Stage(me=3)
        stage.open()
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        # When the node restarts, then vote and path leave at once
        stage.restart()
        assert (FINALIZE, 0, block.hash) in stage.votes()
        assert (NOTARIZE, 0, block.hash) in stage.certificates()
        assert stage.engine.view == 1
        # And whatever happens then, it never nullifies that view
        stage.advance(60_000)
        assert (NULLIFY, 0, None) not in stage.votes()

    def test_the_journal_is_counted(self) -> None:
        # Given my own notarize vote from before, and one from another
        stage = Stage(me=3)
        stage.open()
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.restart()
        # When two more come, then with mine they are a quorum
        stage.hear_votes(NOTARIZE, 0, block.hash, [0, 1])
        assert (NOTARIZE, 0, block.hash) in stage.certificates()

    def test_the_body_voted_for_is_still_there(self) -> None:
        stage = Stage(me=3)
        stage.open()
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.restart()
        assert stage.engine.body(block.hash) == block
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        assert [commit.block for commit in stage.done(Commit)] == [block]

    def test_the_view_and_its_time_begin_again(self) -> None:
        stage = Stage(me=2)
        stage.open()
        stage.hear(stage.certificate(NULLIFY, 2))
        stage.advance(view_timeout_ms(3, DELTA_MS) - 500)
        stage.restart()
        # Given no vote in view 3 yet, nothing but votes was worth writing: the node is back at the start
        assert stage.engine.view == 0
        stage.hear(stage.certificate(NULLIFY, 2))
        stage.advance(view_timeout_ms(3, DELTA_MS))
        assert (NULLIFY, 3, None) in stage.votes()
        # When it restarts after having voted in view 3, then it is there again, and its time runs anew
        stage.restart()
        assert stage.engine.view == 3
        stage.take()
        stage.advance(view_timeout_ms(3, DELTA_MS) + 1)
        assert set(stage.votes()) == {(NULLIFY, 3, None)}

    def test_a_notarization_written_without_a_finalize_vote_is_still_voted_on(self) -> None:
        stage = Stage(me=3)
        notarization = stage.certificate(NOTARIZE, 0, stage.block(0).hash)
        stage.disk = {("certificate",): notarization}
        stage.open()
        assert stage.votes() == [(FINALIZE, 0, notarization.block_hash)]

    def test_a_finalization_written_is_still_final(self) -> None:
        stage = Stage(me=3)
        stage.open()
        block = stage.block(0)
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        stage.restart()
        stage.do(stage.engine.on_body(block, stage.now))
        assert [commit.block for commit in stage.done(Commit)] == [block]

    def test_a_committee_of_one_finishes_what_it_began(self) -> None:
        # Given a home alone that crashed with all its votes on the disk, uncommitted
        stage = Stage(size=1)
        stage.open()
        (commit,) = stage.done(Commit)
        # When it restarts, then the same block becomes final
        stage.restart()
        assert [again.block for again in stage.done(Commit)] == [commit.block]

    def test_a_restart_before_the_opening_waits_for_it(self) -> None:
        stage = Stage(me=3, at_ms=INTERVAL_MS - 500)
        stage.open()
        stage.restart()
        stage.advance(500 + view_timeout_ms(0, DELTA_MS) - 1)
        assert not stage.votes()
        stage.advance(1)
        assert stage.votes() == [(NULLIFY, 0, None)]


class TestALostJournal:
    def test_until_the_given_height_the_node_follows_without_a_word(self) -> None:
        # Given a leader that lost its journal while its peers stand at height 3
        stage = Stage(me=0, height=4, abstain_until=5)
        stage.open()
        block = stage.block(0)
        stage.advance(10_000)
        assert not stage.done(Build)
        assert not stage.votes()
        assert not stage.engine.is_voting
        # When the height closes, then it follows; and at height 5 it speaks again
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        stage.do(stage.engine.on_body(block, stage.now))
        assert stage.done(Commit)
        stage.height = 5
        stage.do(stage.engine.open_height(stage.context(5, block.hash, block.header.time_ms), stage.now))
        assert stage.engine.is_voting
        assert stage.done(Build)

"""Agreement at one height, rule by rule (``consensus.engine``): opening, proposals, votes, views, commit, resend."""

from __future__ import annotations

import pytest

from consensus.block import Block
from consensus.engine import (
    Broadcast,
    Build,
    Commit,
    Evidence,
    Execute,
    FetchBody,
    FetchCertificates,
    FinalBlockInvalid,
    Persist,
    SetTimer,
    view_timeout_ms,
)
from consensus.messages import Certificates, Proposal, Vote
from ledger.statements import contradict
from tests.consensus.stage import DELTA_MS, FINALIZE, INTERVAL_MS, NOTARIZE, NULLIFY, PROPOSAL, Stage


def opened(**changed: int) -> Stage:
    stage = Stage(**changed)  # type: ignore[arg-type]
    stage.open()
    return stage


def nullified(stage: Stage, *views: int) -> None:
    for view in views:
        stage.hear(stage.certificate(NULLIFY, view))


class TestOpening:
    def test_before_the_opening_the_leader_waits(self) -> None:
        # Given a height whose first view I lead, two seconds before it opens
        stage = opened(me=0, at_ms=INTERVAL_MS - 2_000)
        # When half of that has passed, then nothing is built; when all has, then a block of exactly the opening time
        stage.advance(1_000)
        assert not stage.done(Build)
        stage.advance(1_000)
        assert [build.time_ms for build in stage.done(Build)] == [INTERVAL_MS]

    def test_a_late_height_opens_at_once_and_its_block_carries_the_leaders_clock(self) -> None:
        stage = opened(me=0, at_ms=INTERVAL_MS + 700)
        assert [build.time_ms for build in stage.done(Build)] == [INTERVAL_MS + 700]

    def test_before_the_opening_a_node_notarizes_but_does_not_nullify(self) -> None:
        # Given a follower whose clock says that the opening is 900 ms away
        stage = opened(me=1, at_ms=INTERVAL_MS - 900)
        # When the leader's block comes, then it is within the tolerance and gets its vote
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        assert stage.votes() == [(NOTARIZE, 0, block.hash)]
        # And the view's time begins only with the opening
        stage.advance(900 + view_timeout_ms(0, DELTA_MS) - 1)
        assert (NULLIFY, 0, None) not in stage.votes()
        stage.advance(1)
        assert (NULLIFY, 0, None) in stage.votes()

    def test_opening_reads_the_wall_clock_and_views_the_monotonic_one(self) -> None:
        # Given a follower whose wall clock jumps a minute back after the opening
        stage = opened(me=1)
        stage.skew_ms = -60_000
        # When the view lasts too long all the same, then it nullifies
        stage.advance(view_timeout_ms(0, DELTA_MS))
        assert stage.votes()[0] == (NULLIFY, 0, None)

    def test_an_early_proposal_is_held_and_not_refused(self) -> None:
        # Given a block five seconds ahead of my clock: four more than tolerated
        stage = opened(me=1)
        block = stage.block(0, time_ms=INTERVAL_MS + 5_000)
        stage.hear(stage.proposal(0, block))
        assert stage.done(Execute)
        stage.advance(3_999)
        assert (NOTARIZE, 0, block.hash) not in stage.votes()
        # When my clock comes within the tolerance, then I notarize, though I have nullified meanwhile
        stage.advance(1)
        assert stage.votes()[0] == (NULLIFY, 0, None)
        assert (NOTARIZE, 0, block.hash) in stage.votes()

    def test_a_held_proposal_waits_longer_if_the_clock_is_set_back(self) -> None:
        stage = opened(me=1)
        block = stage.block(0, time_ms=INTERVAL_MS + 2_000)
        stage.hear(stage.proposal(0, block))
        stage.skew_ms = -500
        stage.advance(1_499)
        assert not stage.votes()
        stage.advance(1)
        assert stage.votes() == [(NOTARIZE, 0, block.hash)]


class TestProposing:
    def test_the_first_leader_proposes_what_was_built_and_votes_for_it(self) -> None:
        stage = opened(me=0)
        (proposal,) = stage.proposals()
        assert proposal.view == 0
        assert proposal.justification == ()
        assert stage.votes() == [(NOTARIZE, 0, proposal.block.hash)]
        assert not stage.done(Execute), "the application has executed what it built"

    def test_a_block_that_is_built_too_late_is_dropped(self) -> None:
        stage = Stage(me=0)
        stage.builds = False
        stage.open()
        nullified(stage, 0)
        stage.do(stage.engine.on_block_built(1, 0, stage.block(0), stage.now))
        assert not stage.proposals()

    def test_after_nullifications_the_leader_goes_fresh_and_shows_them(self) -> None:
        # Given that I lead view 1, and view 0 is nullified
        stage = opened(me=1)
        nullified(stage, 0)
        (proposal,) = stage.proposals()
        assert (proposal.view, proposal.block.header.view) == (1, 1)
        assert [(one.kind, one.view) for one in proposal.justification] == [(NULLIFY, 0)]

    def test_a_notarized_block_is_repeated_after_waiting_delta(self) -> None:
        # Given that view 0's block is notarized and I lead view 1
        stage = opened(me=1)
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear_votes(NOTARIZE, 0, block.hash, [0, 2])
        assert stage.engine.view == 1
        # When less than Δ has passed, then I still wait for its finalization; then I repeat it
        stage.advance(DELTA_MS - 1)
        assert not stage.proposals()
        stage.advance(1)
        (proposal,) = stage.proposals()
        assert proposal.block == block
        assert [(one.kind, one.view) for one in proposal.justification] == [(NOTARIZE, 0)]

    def test_a_notarized_block_is_repeated_at_once_if_its_view_is_nullified_too(self) -> None:
        stage = opened(me=1)
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear_votes(NOTARIZE, 0, block.hash, [0, 2])
        nullified(stage, 0)
        (proposal,) = stage.proposals()
        assert proposal.block == block

    def test_the_highest_notarized_block_is_repeated_with_the_nullifications_since(self) -> None:
        # Given notarizations of views 0 and 1, a nullification of view 2, and that I lead view 3
        stage = opened(me=3)
        first, second = stage.block(0), stage.block(1)
        stage.hear(stage.proposal(0, first))
        nullified(stage, 0)
        stage.hear(stage.proposal(1, second))
        stage.hear(stage.certificate(NOTARIZE, 0, first.hash))
        stage.hear(stage.certificate(NOTARIZE, 1, second.hash))
        nullified(stage, 2)
        (proposal,) = stage.proposals()
        assert proposal.block == second
        assert [(one.kind, one.view) for one in proposal.justification] == [(NOTARIZE, 1), (NULLIFY, 2)]

    def test_without_the_body_and_without_a_nullification_the_leader_fetches_and_repeats(self) -> None:
        # Given a notarization whose body I miss, of a view that is not nullified
        stage = opened(me=1)
        block = stage.block(0)
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        assert stage.done(FetchBody)[0].block_hash == block.hash
        assert stage.done(FetchBody)[0].node_keys == tuple(stage.keys[index].public_key for index in (0, 2, 3))
        stage.advance(2 * DELTA_MS)
        assert not stage.proposals()
        # When the body comes, then it is repeated
        stage.do(stage.engine.on_body(block, stage.now))
        assert [proposal.block for proposal in stage.proposals()] == [block]

    def test_without_the_body_but_with_the_nullification_the_leader_goes_fresh_at_once(self) -> None:
        stage = opened(me=1)
        stage.hear(stage.certificate(NOTARIZE, 0, stage.block(0).hash))
        nullified(stage, 0)
        assert [proposal.block.header.view for proposal in stage.proposals()] == [1]

    def test_with_a_gap_the_leader_proposes_nothing_and_asks(self) -> None:
        # Given view 1's nullification, but nothing of view 0, and that I lead view 2
        stage = opened(me=2)
        nullified(stage, 1)
        assert stage.engine.view == 2
        stage.advance(2 * DELTA_MS)
        assert not stage.proposals()
        assert stage.done(FetchCertificates)
        # When the gap is filled, then I propose at once
        nullified(stage, 0)
        assert [proposal.view for proposal in stage.proposals()] == [2]

    def test_a_leader_proposes_once_per_view(self) -> None:
        stage = opened(me=0)
        stage.advance(20 * DELTA_MS)
        assert len({proposal.block.hash for proposal in stage.proposals()}) == 1
        assert len(stage.done(Build)) == 1


class TestTakingProposals:
    @pytest.fixture
    def stage(self) -> Stage:
        return opened(me=3)

    def refused(self, stage: Stage, proposal: Proposal) -> bool:
        stage.hear(proposal)
        return not stage.done(Execute) and not stage.votes()

    def test_a_valid_one_is_executed_and_gets_one_vote(self, stage: Stage) -> None:
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.proposal(0, block))
        assert [execute.block for execute in stage.done(Execute)] == [block]
        assert stage.votes() == [(NOTARIZE, 0, block.hash)]

    def test_nobody_but_the_leader(self, stage: Stage) -> None:
        assert self.refused(stage, stage.proposal(0, stage.block(0), leader=1))

    def test_nobody_outside_the_committee(self, stage: Stage) -> None:
        assert self.refused(stage, stage.proposal(0, stage.block(0), leader=4))

    def test_not_without_the_leaders_signature(self, stage: Stage) -> None:
        genuine = stage.proposal(0, stage.block(0))
        forged = Proposal(1, 0, stage.block(0), (), genuine.node_key, genuine.signature)
        assert self.refused(stage, forged)

    def test_not_a_block_of_another_parent(self, stage: Stage) -> None:
        assert self.refused(stage, stage.proposal(0, stage.block(0, parent_hash=bytes(32))))

    def test_not_a_block_of_a_later_view(self, stage: Stage) -> None:
        assert self.refused(stage, stage.proposal(0, stage.block(1, producer=0)))

    def test_not_a_block_of_another_producer(self, stage: Stage) -> None:
        assert self.refused(stage, stage.proposal(0, stage.block(0, producer=2)))

    def test_not_a_block_before_the_interval_has_passed(self, stage: Stage) -> None:
        assert self.refused(stage, stage.proposal(0, stage.block(0, time_ms=INTERVAL_MS - 1)))

    def test_not_with_another_body_than_its_header_names_and_the_right_one_is_still_taken(self, stage: Stage) -> None:
        # Given a relay that put other transactions under the leader's header
        block = stage.block(0)
        false = Block(block.header, None, (b"false",))
        assert self.refused(stage, stage.proposal(0, false))
        # When the leader's own message comes, then it is as welcome as ever
        stage.hear(stage.proposal(0, block))
        assert stage.votes() == [(NOTARIZE, 0, block.hash)]

    def test_no_vote_for_a_block_that_cannot_be_executed(self, stage: Stage) -> None:
        block = stage.block(0)
        stage.invalid.add(block.hash)
        stage.hear(stage.proposal(0, block))
        assert stage.done(Execute)
        assert not stage.votes()

    def test_fresh_needs_all_nullifications_below(self, stage: Stage) -> None:
        # Given a notarization of view 0, which moved me to view 1
        stage.hear(stage.certificate(NOTARIZE, 0, stage.block(0).hash))
        fresh = stage.block(1)
        stage.hear(stage.proposal(1, fresh))
        assert (NOTARIZE, 1, fresh.hash) not in stage.votes()
        # When the nullification of view 0 turns up, then the proposal is justified after all
        nullified(stage, 0)
        assert (NOTARIZE, 1, fresh.hash) in stage.votes()

    def test_repeating_needs_the_notarization_and_the_nullifications_since(self, stage: Stage) -> None:
        block = stage.block(0)
        stage.hear(stage.certificate(NULLIFY, 1))
        stage.hear(stage.proposal(2, block))
        assert not stage.votes()
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        assert (NOTARIZE, 2, block.hash) in stage.votes()

    def test_a_justification_counts_as_received_and_moves_the_view(self, stage: Stage) -> None:
        # Given that I am in view 0 and heard of nothing
        fresh = stage.block(2)
        stage.hear(stage.proposal(2, fresh, [stage.certificate(NULLIFY, 0), stage.certificate(NULLIFY, 1)]))
        assert stage.engine.view == 2
        assert stage.votes() == [(NOTARIZE, 2, fresh.hash)]
        assert {(NULLIFY, 0, None), (NULLIFY, 1, None)} == set(stage.certificates())

    def test_a_false_justification_is_not_believed(self, stage: Stage) -> None:
        false = stage.certificate(NULLIFY, 0, members=[0, 1])
        stage.hear(stage.proposal(1, stage.block(1), [false]))
        assert stage.engine.view == 0
        assert not stage.votes()

    def test_a_stripped_justification_does_not_keep_the_whole_one_out(self, stage: Stage) -> None:
        fresh = stage.block(1)
        stage.hear(stage.proposal(1, fresh))
        stage.hear(stage.proposal(1, fresh, [stage.certificate(NULLIFY, 0)]))
        assert stage.votes() == [(NOTARIZE, 1, fresh.hash)]

    def test_the_second_of_two_proposals_gets_no_vote_and_convicts(self, stage: Stage) -> None:
        first, second = stage.block(0), stage.block(0)
        stage.hear(stage.proposal(0, first))
        stage.hear(stage.proposal(0, second))
        assert stage.votes() == [(NOTARIZE, 0, first.hash)]
        (evidence,) = stage.done(Evidence)
        assert evidence.node_key == stage.keys[0].public_key
        assert (evidence.first.statement.kind, evidence.second.statement.block_hash) == (PROPOSAL, second.hash)


class TestVoting:
    def test_a_view_that_lasts_too_long_is_nullified_once_notarized_or_not(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.advance(view_timeout_ms(0, DELTA_MS))
        votes = stage.votes()
        assert set(votes) == {(NOTARIZE, 0, block.hash), (NULLIFY, 0, None)}

    def test_a_nullified_view_may_still_be_notarized(self) -> None:
        stage = opened(me=3)
        stage.advance(view_timeout_ms(0, DELTA_MS))
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        assert stage.votes()[-1] == (NOTARIZE, 0, block.hash)

    @pytest.mark.parametrize(
        ("view", "timeout_ms"), [(0, 3_000), (1, 3_750), (2, 4_687), (6, 11_444), (7, 12_000), (2**16, 12_000)]
    )
    def test_time_grows_by_a_quarter_up_to_four_times(self, view: int, timeout_ms: int) -> None:
        assert view_timeout_ms(view, DELTA_MS) == timeout_ms

    def test_each_view_has_its_time_from_its_entry(self) -> None:
        stage = opened(me=3)
        stage.advance(2_000)
        nullified(stage, 0)
        stage.advance(view_timeout_ms(1, DELTA_MS) - 1)
        assert (NULLIFY, 1, None) not in stage.votes()
        stage.advance(1)
        assert (NULLIFY, 1, None) in stage.votes()

    def test_on_a_notarization_finalize_without_its_body(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        assert stage.votes() == [(FINALIZE, 0, block.hash)]

    def test_on_the_notarization_of_an_earlier_view_finalize_there(self) -> None:
        stage = opened(me=3)
        nullified(stage, 0, 1)
        block = stage.block(0)
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        assert stage.votes() == [(FINALIZE, 0, block.hash)]

    def test_own_nullify_wins(self) -> None:
        # Given that I nullified view 0, restarted and moved on
        stage = opened(me=3)
        stage.advance(view_timeout_ms(0, DELTA_MS))
        stage.restart()
        nullified(stage, 0)
        stage.take()
        # When its notarization arrives, then it is stored and passed on, and not finalized
        block = stage.block(0)
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        assert stage.certificates() == [(NOTARIZE, 0, block.hash)]
        assert stage.engine.certificates()[0].block_hash == block.hash
        assert FINALIZE not in [kind for kind, _, _ in stage.votes()]

    def test_what_was_finalized_is_never_nullified(self) -> None:
        # Given a finalize vote in view 0, and a restart that lost the certificates
        stage = opened(me=3)
        stage.hear(stage.certificate(NOTARIZE, 0, stage.block(0).hash))
        stage.disk = {key: record for key, record in stage.disk.items() if isinstance(record, Vote)}
        stage.restart()
        assert stage.engine.view == 0
        stage.advance(10 * DELTA_MS)
        assert (NULLIFY, 0, None) not in stage.votes()

    def test_on_a_finalization_finalize_too_so_as_to_be_counted_present(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        assert stage.votes()[-1] == (FINALIZE, 0, block.hash)
        (commit,) = stage.done(Commit)
        assert commit.certificate.signers == b"\x0f"

    def test_votes_are_counted_by_weight_and_once(self) -> None:
        # Given weights 6, 1, 1, 1 and a quorum of more than 6
        stage = Stage(me=3, weights=[6, 1, 1, 1])
        stage.open()
        block = stage.block(0)
        stage.hear_votes(NOTARIZE, 0, block.hash, [1, 1, 2, 2])
        assert not stage.certificates()
        stage.hear_votes(NOTARIZE, 0, block.hash, [0])
        assert stage.certificates() == [(NOTARIZE, 0, block.hash)]

    def test_a_vote_needs_a_seat_a_signature_and_sense(self) -> None:
        stage = opened(me=3)
        genuine = stage.signed(0, NULLIFY, 0)
        for false in (
            stage.signed(4, NULLIFY, 0),
            Vote(genuine.statement, stage.keys[1].public_key, genuine.signature),
            stage.signed(0, NULLIFY, 0, bytes(32)),
            stage.signed(0, NOTARIZE, 0, None),
            stage.signed(0, PROPOSAL, 0, bytes(32)),
        ):
            stage.hear(false)
            stage.hear_votes(NULLIFY, 0, None, [1])
        assert not stage.certificates()
        stage.hear_votes(NULLIFY, 0, None, [0, 2])
        assert stage.certificates() == [(NULLIFY, 0, None)]

    def test_votes_more_than_four_views_ahead_are_dropped(self) -> None:
        stage = opened(me=3)
        stage.hear_votes(NULLIFY, 5, None, [0, 1, 2])
        assert stage.engine.view == 0
        stage.hear_votes(NULLIFY, 4, None, [0, 1, 2])
        assert stage.engine.view == 5

    @pytest.mark.parametrize("me", [None, 4])
    def test_who_has_no_seat_follows_without_a_word(self, me: int | None) -> None:
        stage = Stage(me=me)
        stage.open()
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash, [0, 1, 2]))
        stage.hear(stage.certificate(FINALIZE, 0, block.hash, [0, 1, 2]))
        assert [commit.block for commit in stage.done(Commit)] == [block]
        assert not stage.votes()
        assert not stage.done(Persist)
        assert not stage.engine.is_voting

    def test_a_seat_without_weight_follows_without_a_word(self) -> None:
        stage = Stage(me=3, weights=[1, 1, 1, 0])
        stage.open()
        stage.advance(10 * DELTA_MS)
        assert not stage.votes()

    def test_a_committee_of_one_finalizes_alone(self) -> None:
        stage = opened(size=1)
        (commit,) = stage.done(Commit)
        assert [kind for kind, _, _ in stage.votes()] == [NOTARIZE, FINALIZE]
        assert commit.certificate.signers == b"\x01"


class TestViewsAndCommit:
    def test_a_certificate_moves_on_and_is_passed_on_once(self) -> None:
        stage = opened(me=3)
        certificate = stage.certificate(NULLIFY, 2)
        stage.hear(certificate)
        stage.hear(certificate)
        assert stage.engine.view == 3
        assert stage.certificates() == [(NULLIFY, 2, None)]

    def test_a_false_certificate_moves_nobody(self) -> None:
        stage = opened(me=3)
        stage.hear(stage.certificate(NULLIFY, 0, members=[0, 1]))
        stage.hear(stage.certificate(NULLIFY, 0, height=2))
        assert stage.engine.view == 0
        assert not stage.certificates()

    def test_votes_of_all_make_a_block_final(self) -> None:
        # Given a proposal that I notarized
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        # When two more notarize it and two more finalize it
        stage.hear_votes(NOTARIZE, 0, block.hash, [0, 1])
        stage.hear_votes(FINALIZE, 0, block.hash, [0, 1])
        # Then it is committed with a certificate of three, and the height is closed
        (commit,) = stage.done(Commit)
        assert (commit.block, commit.certificate.signers) == (block, b"\x0b")
        assert stage.engine.is_closed
        assert [kind for kind, _, _ in stage.certificates()] == [NOTARIZE, FINALIZE]

    def test_a_closed_height_does_nothing_more(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        stage.take()
        stage.advance(60_000)
        stage.hear(stage.certificate(NULLIFY, 0))
        assert not [action for action in stage.take() if not isinstance(action, SetTimer)]

    def test_a_final_block_without_a_body_is_fetched_executed_and_committed(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        assert stage.done(FetchBody)[0].block_hash == block.hash
        assert not stage.done(Commit)
        # When it does not come, then it is asked for again; a false or an unasked body is not taken
        stage.take()
        stage.advance(2 * DELTA_MS)
        assert stage.done(FetchBody)
        stage.do(stage.engine.on_body(Block(block.header, None, (b"false",)), stage.now))
        stage.do(stage.engine.on_body(stage.block(0), stage.now))
        assert not stage.done(Execute)
        # When it comes, then it is executed and committed
        stage.do(stage.engine.on_body(block, stage.now))
        assert [execute.block for execute in stage.done(Execute)] == [block]
        assert [commit.block for commit in stage.done(Commit)] == [block]

    def test_the_body_may_come_with_a_late_proposal(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        nullified(stage, 0)
        stage.hear(stage.proposal(0, block))
        assert [commit.block for commit in stage.done(Commit)] == [block]

    def test_nothing_is_committed_before_it_is_executed(self) -> None:
        stage = Stage(me=3)
        stage.executes = False
        stage.open()
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        stage.advance(5 * DELTA_MS)
        assert len(stage.done(Execute)) == 1
        assert not stage.done(Commit)
        stage.do(stage.engine.on_block_executed(1, block.hash, True, stage.now))
        assert stage.done(Commit)

    def test_a_final_block_that_cannot_be_executed_stops_the_node(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.invalid.add(block.hash)
        stage.hear(stage.proposal(0, block))
        with pytest.raises(FinalBlockInvalid, match="height 1"):
            stage.hear(stage.certificate(FINALIZE, 0, block.hash))

    def test_a_repeated_block_is_final_by_a_later_views_votes(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        stage.hear(stage.proposal(1, block))
        stage.hear(stage.certificate(NOTARIZE, 1, block.hash))
        stage.hear(stage.certificate(FINALIZE, 1, block.hash))
        (commit,) = stage.done(Commit)
        assert (commit.block.header.view, commit.certificate.view) == (0, 1)


class TestResending:
    def test_every_two_delta_votes_path_and_proposal_go_out_again(self) -> None:
        # Given views 0 and 1 behind me: one notarized and finalized by me, one nullified by me; and a proposal
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.certificate(NOTARIZE, 0, block.hash))
        stage.advance(view_timeout_ms(1, DELTA_MS))
        nullified(stage, 1)
        stage.hear(stage.proposal(2, block))
        stage.take()
        # When the next resend is due
        stage.advance(2 * DELTA_MS)
        # Then this view's votes go out and earlier finalize votes, the path, and this view's proposal
        assert set(stage.votes()) == {(FINALIZE, 0, block.hash), (NOTARIZE, 2, block.hash)}
        assert stage.certificates() == [(NOTARIZE, 0, block.hash), (NULLIFY, 1, None)]
        assert [proposal.view for proposal in stage.proposals()] == [2]
        assert not stage.done(FetchCertificates)

    def test_what_no_longer_leads_to_my_view_is_not_sent_again(self) -> None:
        stage = opened(me=3)
        nullified(stage, 0)
        block = stage.block(1)
        stage.hear(stage.certificate(NOTARIZE, 1, block.hash))
        stage.take()
        stage.advance(2 * DELTA_MS)
        assert stage.certificates() == [(NOTARIZE, 1, block.hash)]

    def test_with_a_gap_all_is_sent_and_the_rest_asked_for(self) -> None:
        stage = opened(me=3)
        nullified(stage, 0, 2)
        stage.take()
        stage.advance(2 * DELTA_MS)
        assert stage.certificates() == [(NULLIFY, 0, None), (NULLIFY, 2, None)]
        assert [fetch.height for fetch in stage.done(FetchCertificates)] == [1]

    def test_a_long_path_is_cut_to_what_a_message_holds(self) -> None:
        stage = opened(me=3)
        for view in range(70):
            nullified(stage, view)
        stage.take()
        stage.advance(2 * DELTA_MS)
        sent = [action.message for action in stage.done(Broadcast) if isinstance(action.message, Certificates)]
        assert [certificate.view for certificate in sent[0].certificates] == list(range(6, 70))


class TestEvidence:
    def test_each_contradiction_convicts_once_per_offender(self) -> None:
        stage = opened(me=3)
        one, other = stage.block(0).hash, stage.block(0).hash
        for vote in (
            stage.signed(0, NOTARIZE, 0, one),
            stage.signed(0, NOTARIZE, 0, other),
            stage.signed(0, FINALIZE, 0, one),
            stage.signed(0, FINALIZE, 0, other),
            stage.signed(1, NULLIFY, 0),
            stage.signed(1, FINALIZE, 0, one),
        ):
            stage.hear(vote)
        evidence = stage.done(Evidence)
        assert [one.node_key for one in evidence] == [stage.keys[0].public_key, stage.keys[1].public_key]
        assert all(contradict(one.first.statement, one.second.statement) for one in evidence)

    def test_what_is_allowed_convicts_nobody(self) -> None:
        stage = opened(me=3)
        one, other = stage.block(0).hash, stage.block(1).hash
        for vote in (
            stage.signed(0, NOTARIZE, 0, one),
            stage.signed(0, NULLIFY, 0),
            stage.signed(0, NOTARIZE, 1, other),
            stage.signed(0, FINALIZE, 1, other),
            stage.signed(0, NOTARIZE, 0, one),
        ):
            stage.hear(vote)
        assert not stage.done(Evidence)

    def test_a_contradiction_after_the_commit_still_convicts(self) -> None:
        stage = opened(me=3)
        block = stage.block(0)
        stage.hear(stage.proposal(0, block))
        stage.hear(stage.certificate(FINALIZE, 0, block.hash))
        stage.hear(stage.proposal(0, stage.block(0)))
        assert [one.node_key for one in stage.done(Evidence)] == [stage.keys[0].public_key]

    def test_nobody_convicts_itself_by_what_is_said_in_its_name(self) -> None:
        # Given that my own key spoke elsewhere: a second node by mistake, or I before I lost my journal
        stage = opened(me=3)
        for _ in range(2):
            stage.hear(stage.signed(3, NOTARIZE, 0, stage.block(0).hash))
            stage.hear(stage.proposal(3, stage.block(3)))
        assert not stage.done(Evidence)

    def test_a_third_hash_is_not_kept(self) -> None:
        stage = opened(me=3)
        hashes = [stage.block(0).hash for _ in range(3)]
        for block_hash in hashes:
            stage.hear(stage.signed(0, NOTARIZE, 0, block_hash))
            stage.hear_votes(NOTARIZE, 0, block_hash, [1])
        stage.hear_votes(NOTARIZE, 0, hashes[2], [2])
        assert not stage.certificates()

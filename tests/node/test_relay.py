"""What neighbours are told, what they are not told twice, and what a wrong message costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

import msgspec
import pytest

from consensus.certificates import build_certificate, signatures_of
from consensus.draw import MAX_VIEW
from consensus.messages import (
    MAX_HOLDINGS,
    Abridged,
    Certificates,
    Holdings,
    Proposal,
    Vote,
    Votes,
    WireMessage,
    encode_message,
)
from ledger.encoding import MAX_INTEGER
from ledger.statements import Statement, StatementKind
from node.judge import VIEWS_AHEAD, Judge
from node.relay import LONGEST_PATIENCE_MS, MAX_HELD, Relay
from p2p.network import Verdict
from storage.memory import MemoryChain
from tests.support.chain import Chain
from tests.support.disk import copy_chain

NAMES = ("anne", "bob", "carla", "george")
NOTARIZE, NULLIFY, FINALIZE = StatementKind.NOTARIZE, StatementKind.NULLIFY, StatementKind.FINALIZE


class Street:
    """Relays at height 3, each a neighbour of all others unless said. What is sent arrives in ``settle``."""

    def __init__(self, *names: str) -> None:
        self.chain = Chain()
        self.chain.produce()
        self.chain.produce(signers=("anne", "bob", "carla"))
        self.node = copy_chain(self.chain, MemoryChain())
        self.context = self.node.height_context()
        self.committee = self.context.committee
        self.block = self.chain.build().block
        self.now_ms = 1_000_000
        self.closed_at_ms = 1_000_000
        self.told: list[tuple[str, str, WireMessage]] = []
        self.loses: Callable[[str, str, WireMessage], bool] = lambda _sender, _receiver, _message: False
        self.relays = {name: self.relay() for name in names}
        self.settle()
        self.told.clear()

    def relay(self) -> Relay:
        relay = Relay(Judge(self.chain.verifier, self.node.body_is_bound), self.chain.verifier)
        relay.open(self.context)
        return relay

    def seat(self, name: str) -> int:
        seat = self.committee.index_of_node_key(self.chain.home(name).node.public_key)
        assert seat is not None
        return seat

    def vote(
        self, name: str, kind: StatementKind = NOTARIZE, view: int = 0, height: int = 3, block: bytes = b""
    ) -> Vote:
        statement = Statement(kind, height, view, None if kind == NULLIFY else block or self.block.hash)
        key = self.chain.home(name).node
        return Vote(statement, key.public_key, key.sign(statement.domain(), self.chain.chain_id, statement.message()))

    def certificate(self, *names: str, kind: StatementKind = NOTARIZE, view: int = 0, height: int = 3) -> Certificates:
        votes = {self.seat(name): self.vote(name, kind, view, height) for name in names}
        signatures = {seat: vote.signature for seat, vote in votes.items()}
        statement = next(iter(votes.values())).statement
        return Certificates((build_certificate(statement, signatures, self.committee),))

    def proposal(self) -> Proposal:
        leader = self.chain.leader().node
        statement = Statement(StatementKind.PROPOSAL, 3, 0, self.block.hash)
        signature = leader.sign(statement.domain(), self.chain.chain_id, statement.message())
        return Proposal(3, 0, self.block, (), leader.public_key, signature)

    def hear(self, name: str, message: WireMessage, sender: str = "someone") -> Verdict:
        return self.relays[name].hear(sender, message, self.closed_at_ms, self.now_ms).verdict

    def due(self, name: str) -> Iterator[tuple[str, WireMessage]]:
        return self.relays[name].due([other for other in self.relays if other != name], self.now_ms)

    def settle(self) -> None:
        """Everyone sends what is due until nobody has anything to say."""
        for _ in range(20):
            sent = [(name, *told) for name in self.relays for told in self.due(name)]
            if not sent:
                return
            self.told += sent
            for sender, receiver, message in sent:
                if not self.loses(sender, receiver, message):
                    assert self.hear(receiver, message, sender) is not Verdict.REJECT
        raise AssertionError("they talk for ever")

    def held(self, name: str) -> dict[tuple[int, int], int]:
        return {
            (each.kind, each.view): tally.mask for each, tally in self.relays[name]._held.items() if each.height == 3
        }

    def told_of(self, kind: type[WireMessage]) -> list[tuple[str, str]]:
        return [(sender, receiver) for sender, receiver, message in self.told if isinstance(message, kind)]


def test_a_vote_goes_to_each_neighbour_once_and_not_back() -> None:
    street = Street("anne", "bob")
    street.relays["anne"].say(Votes((street.vote("anne"),)))
    assert street.relays["anne"].is_urgent
    street.settle()
    assert street.told_of(Certificates) == [("anne", "bob")]
    assert street.held("bob") == {(NOTARIZE, 0): 1 << street.seat("anne")}
    # And what bob hears from elsewhere reaches anne without what she has
    assert street.hear("bob", Votes((street.vote("carla"),))) is Verdict.KEEP
    assert not street.relays["bob"].is_urgent
    street.told.clear()
    street.settle()
    [(sender, receiver, message)] = street.told
    assert (sender, receiver) == ("bob", "anne")
    assert isinstance(message, Certificates)
    assert signatures_of(message.certificates[0], street.committee) == {
        street.seat("carla"): street.vote("carla").signature
    }


def test_votes_that_waited_leave_in_one_message() -> None:
    street = Street("anne", "bob")
    for name in ("carla", "george"):
        street.hear("anne", Votes((street.vote(name), street.vote(name, NULLIFY))))
    street.settle()
    assert len(street.told) == 1


def test_of_a_notarization_a_quorum_is_told_and_of_a_finalization_all() -> None:
    street = Street("anne", "bob")
    street.hear("anne", street.certificate(*NAMES))
    street.hear("anne", street.certificate(*NAMES, kind=FINALIZE))
    street.settle()
    assert street.held("bob")[NOTARIZE, 0].bit_count() == 3
    assert street.held("bob")[FINALIZE, 0].bit_count() == 4


def test_what_completes_a_quorum_reaches_the_engine_as_a_certificate_of_what_was_verified() -> None:
    street = Street("anne")
    engine_hears = street.relays["anne"].hear("bob", street.certificate("bob"), street.closed_at_ms, street.now_ms)
    assert engine_hears.messages == (Votes((street.vote("bob"),)),)
    [whole] = street.certificate(*NAMES[:3]).certificates
    spoilt = {**(signatures_of(whole, street.committee) or {}), street.seat("bob"): bytes(64)}
    told = Certificates((build_certificate(street.vote("bob").statement, spoilt, street.committee),))
    heard = street.relays["anne"].hear("bob", told, street.closed_at_ms, street.now_ms)
    assert heard.messages == (Certificates((whole,)),)


def test_a_proposal_leaves_out_the_signatures_that_the_neighbour_has() -> None:
    street = Street("anne", "bob")
    street.relays["anne"].say(street.proposal())
    street.settle()
    [(_, _, message)] = street.told
    assert isinstance(message, Abridged)
    parent = message.proposal.block.parent_certificate
    assert parent is not None
    assert parent.signatures == b""
    assert len(encode_message(message, 1)) < len(encode_message(street.proposal(), 1)) - 2 * 64
    # And bob's engine hears the whole
    assert [tally.proposal for tally in street.relays["bob"]._held.values() if tally.proposal] == [street.proposal()]


def test_who_cannot_complete_a_proposal_is_given_it_in_full_once() -> None:
    street = Street("anne", "bob")
    # Given bob has lost the signatures on the parent
    bob = street.relays["bob"]
    bob._held.clear()
    street.relays["anne"].say(street.proposal())
    street.settle()
    assert street.told_of(Abridged) == [("anne", "bob")]
    assert street.told_of(Proposal) == [("anne", "bob")]
    assert any(tally.proposal for tally in bob._held.values())
    # When he claims so again, he is not given it again
    street.told.clear()
    again = Holdings(3, 0, (), (street.proposal().statement,))
    street.hear("anne", again, "bob")
    street.settle()
    assert street.told_of(Proposal) == []


def test_an_abridged_proposal_of_anyone_but_the_leader_is_wrong() -> None:
    street = Street("anne", "bob")
    good = street.proposal()
    other = next(home for home in street.chain.homes.values() if home is not street.chain.leader())
    for changes in ({"signature": bytes(64)}, {"node_key": other.node.public_key}):
        assert street.hear("anne", Abridged(msgspec.structs.replace(good, **changes), b"")) is Verdict.REJECT


def test_an_abridged_proposal_of_a_view_far_ahead_costs_no_draw() -> None:
    # Given
    street = Street("anne", "bob")
    for view in (VIEWS_AHEAD + 1, MAX_VIEW + 1, MAX_INTEGER):
        # When
        far = msgspec.structs.replace(street.proposal(), view=view)
        # Then it is not judged: nobody draws the leaders of all the views before
        assert street.hear("anne", Abridged(far, b"")) is Verdict.IGNORE


def test_what_was_lost_is_told_again_when_the_neighbour_says_what_it_holds() -> None:
    street = Street("anne", "bob", "carla")
    # Given everything to bob is lost
    street.loses = lambda _sender, receiver, _message: receiver == "bob"
    street.relays["anne"].say(street.proposal())
    street.relays["anne"].say(Votes((street.vote("anne"),)))
    street.settle()
    assert street.held("bob") == {}
    # When the lines are good again and the engines say the same once more
    street.loses = lambda _sender, _receiver, _message: False
    street.now_ms += 2 * street.context.delta_ms
    assert street.relays["anne"].say(Votes((street.vote("anne"),))) is None
    street.told.clear()
    street.settle()
    # Then anne says what she holds, bob that he lacks it, and he gets it; carla gets nothing twice from her
    assert street.held("bob") == street.held("anne")
    assert ("anne", "bob") in street.told_of(Certificates)
    assert ("anne", "carla") not in street.told_of(Certificates)


def test_a_new_neighbour_is_told_what_it_lacks() -> None:
    street = Street("anne", "bob")
    street.hear("anne", street.certificate("anne", "bob"))
    street.settle()
    street.relays["carla"] = street.relay()
    street.settle()
    assert street.held("carla") == street.held("anne")


def test_votes_said_again_go_to_every_peer_at_the_second_fourth_and_eighth_time() -> None:
    street = Street("anne", "bob")
    votes = Votes((street.vote("anne"),))
    said = [street.relays["anne"].say(votes) for _ in range(10)]
    assert [time for time, one in enumerate(said) if one is not None] == [2, 4, 8]
    assert said[2] == votes


def test_what_is_asked_for_again_and_again_is_sent_ever_more_rarely() -> None:
    street = Street("anne", "bob")
    street.hear("anne", street.certificate(*NAMES, kind=FINALIZE))
    street.settle()
    sent_at_ms: list[int] = []
    start_ms = street.now_ms
    nothing = Holdings(3, 0, (), ())
    for _ in range(400):
        street.now_ms += 500
        street.hear("anne", nothing, "bob")
        if any(isinstance(message, Certificates) for _, message in street.due("anne")):
            sent_at_ms.append(street.now_ms - start_ms)
    gaps = [after - before for before, after in pairwise(sent_at_ms)]
    assert 3 <= len(sent_at_ms) <= 12, "of 400 times"
    assert gaps == sorted(gaps)
    assert max(gaps) <= LONGEST_PATIENCE_MS + 500


def test_holdings_of_another_height_tell_who_is_behind_once_per_two_deltas() -> None:
    street = Street("anne", "bob")
    anne = street.relays["anne"]
    street.now_ms += 3 * street.context.delta_ms
    heard = [anne.hear("bob", Holdings(height, 0, (), ()), 0, street.now_ms).height for height in (2, 1, 9)]
    assert heard == [2, None, None]
    street.now_ms += 2 * street.context.delta_ms
    assert anne.hear("bob", Holdings(9, 0, (), ()), 0, street.now_ms).height == 9
    # And not who has only just not closed the last one, nor a stranger
    street.now_ms += 2 * street.context.delta_ms
    assert anne.hear("bob", Holdings(2, 0, (), ()), street.now_ms, street.now_ms).height is None
    assert anne.hear("stranger", Holdings(9, 0, (), ()), 0, street.now_ms).height is None


def test_a_bad_signature_is_wrong_and_leaves_nothing_behind() -> None:
    street = Street("anne", "bob")
    [good] = street.certificate("anne", "bob").certificates
    for changes in (
        {"signatures": bytes(2 * 64)},
        {"signatures": good.signatures[:-64]},
        {"signers": b"\xff"},
        {"signers": good.signers + b"\x00"},
        {"view": 1},
        {"kind": FINALIZE},
    ):
        assert street.hear("anne", Certificates((msgspec.structs.replace(good, **changes),))) is Verdict.REJECT
    assert street.hear("anne", Certificates((good, good))) is Verdict.REJECT
    assert (
        street.hear("anne", Votes((msgspec.structs.replace(street.vote("bob"), signature=bytes(64)),)))
        is Verdict.REJECT
    )
    assert street.held("anne") == {}


def test_what_cannot_be_judged_reaches_the_engine_and_nobody_else() -> None:
    street = Street("anne", "bob")
    [far] = street.certificate("bob", height=9).certificates
    [shapeless] = street.certificate("bob").certificates
    shapeless = msgspec.structs.replace(shapeless, kind=StatementKind.PROPOSAL)
    for certificate in (far, shapeless):
        heard = street.relays["anne"].hear("bob", Certificates((certificate,)), 0, street.now_ms)
        assert heard.verdict is Verdict.IGNORE
        assert heard.messages == (Certificates((certificate,)),)
    # And the next height's committee may be another: a signature that does not fit is no offence
    [next_one] = street.certificate("bob", height=4).certificates
    bad = msgspec.structs.replace(next_one, signatures=bytes(64))
    assert street.hear("anne", Certificates((bad,))) is Verdict.IGNORE
    assert street.hear("anne", Certificates((next_one,))) is Verdict.KEEP
    street.settle()
    assert all("bob" in (sender, receiver) for sender, receiver in street.told_of(Certificates))


def test_a_vote_of_a_kind_that_does_not_exist_is_passed_over() -> None:
    street = Street("anne", "bob")
    vote = street.vote("bob")
    for kind, block_hash in ((StatementKind.PROPOSAL, bytes(32)), (NOTARIZE, None), (NULLIFY, bytes(32)), (17, None)):
        statement = Statement(kind, 3, 0, block_hash)
        key = street.chain.home("bob").node
        signature = key.sign(statement.domain(), street.chain.chain_id, statement.message())
        street.hear("anne", Votes((Vote(statement, vote.node_key, signature),)))
    assert street.held("anne") == {}


def test_views_far_ahead_are_held_only_as_whole_certificates() -> None:
    street = Street("anne", "bob")
    street.hear("anne", street.certificate("bob", kind=NULLIFY, view=9))
    street.hear("anne", Votes((street.vote("bob", NULLIFY, 9),)))
    assert street.held("anne") == {}
    street.hear("anne", street.certificate(*NAMES[:3], kind=NULLIFY, view=9))
    assert set(street.held("anne")) == {(NULLIFY, 9)}


def test_a_seat_is_held_with_two_hashes_of_a_kind_and_view() -> None:
    street = Street("anne", "bob")
    for number in range(5):
        street.hear("anne", Votes((street.vote("bob", block=bytes([number + 1]) * 32),)))
    assert len(street.relays["anne"]._held) == 2 + 1  # and the parent's finalization


def test_what_is_held_is_bounded_and_the_open_view_stays() -> None:
    street = Street("anne", "bob")
    anne = street.relays["anne"]
    street.hear("anne", Votes((street.vote("bob"),)))
    for view in range(MAX_HELD + 50):
        anne.enter(view)
        anne._tally(Statement(NULLIFY, 3, view, None), street.committee)
    anne.enter(0)
    anne._tally(Statement(NULLIFY, 4, 3, None), street.committee)
    assert len(anne._held) == MAX_HELD
    # And what is said of it is bounded too, the latest views first
    anne.enter(MAX_HELD + 49)
    holdings = anne._holdings(street.context, ())
    assert len(holdings.holdings) <= MAX_HOLDINGS
    assert holdings.from_view > MAX_HELD - MAX_HOLDINGS


def test_a_new_height_forgets_the_old_but_the_votes_for_its_parent() -> None:
    street = Street("anne", "bob")
    anne = street.relays["anne"]
    for name in NAMES:
        street.hear("anne", Votes((street.vote(name, FINALIZE),)))
        street.hear("anne", Votes((street.vote(name, NOTARIZE),)))
    executed = street.chain.build()
    street.chain.commit(executed, street.chain.certify(executed.block, signers=NAMES[:3]))
    context = copy_chain(street.chain, MemoryChain()).height_context()
    anne.open(context)
    assert {(each.height, each.kind, tally.mask.bit_count()) for each, tally in anne._held.items()} == {
        (3, FINALIZE, 4)
    }
    # And late ones are still taken, for the engine as a certificate once they are very late
    anne.close()
    anne.open(context)
    late = street.certificate("george", kind=FINALIZE)
    heard = anne.hear("bob", late, 0, 10**9)
    assert heard.verdict is Verdict.KEEP
    assert isinstance(heard.messages[0], Certificates)


def test_without_an_open_height_nothing_is_judged_or_said() -> None:
    street = Street("anne", "bob")
    anne = street.relays["anne"]
    anne.close()
    assert street.hear("anne", Votes((street.vote("bob"),))) is Verdict.IGNORE
    assert street.hear("anne", Holdings(3, 0, (), ())) is Verdict.IGNORE
    assert anne.say(Votes((street.vote("anne"),))) is None
    assert list(street.due("anne")) == []


@pytest.mark.parametrize("lost", [0.1, 0.4])
def test_a_street_of_many_comes_to_hold_the_same_whatever_is_lost(lost: float) -> None:
    random = Random(f"loss {lost}")
    street = Street(*NAMES)
    street.loses = lambda _sender, _receiver, _message: random.random() < lost
    for name in NAMES:
        street.relays[name].say(Votes((street.vote(name, FINALIZE),)))
    street.relays["anne"].say(street.proposal())
    for _ in range(12):
        street.settle()
        street.now_ms += 2 * street.context.delta_ms
        for name in NAMES:
            street.relays[name].say(Votes((street.vote(name, FINALIZE),)))
    street.settle()
    assert len({tuple(sorted(street.held(name).items())) for name in NAMES}) == 1
    assert street.held("anne")[FINALIZE, 0].bit_count() == 4

"""What a household sees of faults: who has no vote and why, who signs too little, who was convicted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from ledger.records import CandidateStatus
from ledger.statements import SignedStatement, Statement, StatementKind
from ledger.transactions import Rejoin, ReportEquivocation, Transaction
from node.client import models
from node.client.events import LowParticipation, NodeEvent
from node.observer import Observer
from node.views.accounts import candidate_list
from node.views.evidence import evidence_list
from node.views.reader import Reader
from node.views.standing import household_warning
from storage.memory import MemoryChain
from tests.support.chain import PARAMETERS, Chain
from tests.support.disk import node_chain, stored

T = TypeVar("T")
TWELVE = tuple(f"home{number:02}" for number in range(12))
EPOCH = PARAMETERS.epoch_blocks
DELAY = PARAMETERS.committee_delay_blocks


class Watched:
    """A chain, a node that follows it, and what it tells. ``signers``: names, all by default."""

    def __init__(self, names: Collection[str] = ("anne", "bob", "carla", "george")) -> None:
        self.made = Chain(tuple(names))
        self.node = node_chain(self.made, MemoryChain())
        self.observer = Observer(self.node.store)

    def finality_ms(self, _height: int) -> int | None:
        return None

    def produce(
        self, *transactions: Transaction, view: int = 0, signers: Collection[str] | None = None
    ) -> list[NodeEvent]:
        self.made.produce(transactions, view=view, signers=signers)
        found = self.node.execute_stored(stored(self.made, self.made.height), self.made.verifier)
        assert found is not None
        self.node.commit(*found)
        return self.read(lambda reader: self.observer.block(reader, found[0], (), None))

    def read(self, question: Callable[[Reader], T]) -> T:
        with self.node.store.snapshot() as view:
            return question(Reader(view, self))

    def candidate(self, name: str) -> models.Candidate:
        listed = self.read(candidate_list).candidates
        return next(one for one in listed if one.account.name == name)

    def warning(self, name: str) -> str | None:
        return self.read(lambda reader: household_warning(reader, self.made.home(name).node.public_key))

    def report(
        self, name: str, by: str, kinds: tuple[StatementKind, StatementKind] = (StatementKind.NOTARIZE,) * 2
    ) -> Transaction:
        """Of what the home signed at the newest height, view 3."""
        key = self.made.home(name).node
        hashes = [None if kind is StatementKind.NULLIFY else bytes([number] * 32) for number, kind in enumerate(kinds)]
        statements = [
            Statement(kind, self.made.height, 3, block_hash) for kind, block_hash in zip(kinds, hashes, strict=True)
        ]
        first, second = (
            SignedStatement(one, key.sign(one.domain(), self.made.chain_id, one.message())) for one in statements
        )
        return self.made.sign(by, ReportEquivocation(key.public_key, first, second))


def test_who_does_everything_right_has_a_vote_and_no_warning() -> None:
    watched = Watched()
    for _ in range(5):
        watched.produce()
    anne = watched.candidate("anne")
    assert anne.committee_weight > 0
    assert (anne.out_reason, anne.participation_bps, anne.low_participation) == (None, 10_000, False)
    assert watched.warning("anne") is None
    # And the list says when everybody is weighed again
    listed = watched.read(candidate_list)
    assert (listed.weighed_height, listed.weights_delay_blocks) == (EPOCH, DELAY)


def test_before_there_is_a_block_to_sign_participation_is_not_known() -> None:
    watched = Watched()
    watched.produce()
    anne = watched.candidate("anne")
    assert (anne.epoch_counted, anne.participation_bps, anne.low_participation) == (0, None, False)


def test_who_signs_too_little_is_told_at_the_epochs_end_and_has_no_vote_for_an_epoch() -> None:
    # Given twelve homes, of which one signs nothing
    watched = Watched(TWELVE)
    absent, others = TWELVE[4], [name for name in TWELVE if name != TWELVE[4]]
    told: list[NodeEvent] = []
    while watched.made.height < EPOCH - 1:
        told += watched.produce(signers=others)
    # When the epoch is nearly over, then its record says so
    assert watched.candidate(absent).low_participation
    assert watched.candidate(absent).participation_bps == 0
    assert not any(isinstance(event, LowParticipation) for event in told)
    # When it is over, then that is told once, with how many blocks there were
    (low,) = (event for event in watched.produce(signers=others) if isinstance(event, LowParticipation))
    assert (low.account.name, low.height, low.signed, low.counted) == (absent, EPOCH, 0, EPOCH - 1)
    assert (low.leaves, low.weights_height) == (True, EPOCH + DELAY)
    # And from the height it names on the home has no vote, and sees why
    while watched.made.height < EPOCH + DELAY - 1:
        assert watched.candidate(absent).committee_weight > 0
        assert watched.warning(absent) is None
        watched.produce()
    out = watched.candidate(absent)
    assert (out.status, out.committee_weight, out.out_reason) == ("active", 0, "low_participation")
    warning = watched.warning(absent)
    assert warning is not None
    assert "signed fewer than half" in warning
    assert f"block {2 * EPOCH}" in warning
    assert all(watched.candidate(name).out_reason is None for name in others)
    # And once it has been weighed again it has its vote back
    while watched.made.height < 2 * EPOCH + DELAY - 1:
        watched.produce()
    assert watched.candidate(absent).committee_weight > 0
    assert watched.warning(absent) is None


def test_who_goes_on_signing_nothing_is_left_out_again() -> None:
    watched = Watched(TWELVE)
    absent, others = TWELVE[4], [name for name in TWELVE if name != TWELVE[4]]
    while watched.made.height < 2 * EPOCH + DELAY - 1:
        watched.produce(signers=others)
    assert watched.candidate(absent).out_reason == "left_out"
    assert watched.warning(absent) is not None


def test_where_too_much_weight_would_leave_the_low_one_stays_and_that_is_told() -> None:
    watched = Watched()
    told: list[NodeEvent] = []
    while watched.made.height < EPOCH:
        told += watched.produce(signers=("anne", "bob", "carla"))
    (low,) = (event for event in told if isinstance(event, LowParticipation))
    assert (low.account.name, low.leaves) == ("george", False)
    while watched.made.height < EPOCH + DELAY:
        watched.produce()
    assert watched.candidate("george").committee_weight > 0


def test_the_suspended_sees_since_when_and_that_it_rejoins() -> None:
    watched = Watched(TWELVE)
    name = ""
    while not name:
        leader = watched.made.leader().name
        watched.produce(view=1)
        if watched.made.candidate(leader).status == CandidateStatus.SUSPENDED:
            name = leader
    suspended = watched.candidate(name)
    assert (suspended.status, suspended.missed_in_row, suspended.suspended_height) == (
        "suspended",
        2,
        watched.made.height,
    )
    warning = watched.warning(name)
    assert warning is not None
    assert f"suspended since block {watched.made.height}" in warning
    # When it is still suspended at the next weighing, then it has no vote, and that is why
    weighed = (watched.made.height // EPOCH + 1) * EPOCH
    while watched.made.height < weighed + DELAY - 1:
        watched.produce()
    assert watched.candidate(name).out_reason == "suspended"
    # And also after it has rejoined, until it is weighed again
    watched.produce(watched.made.sign(name, Rejoin()))
    again = watched.candidate(name)
    assert (again.status, again.committee_weight, again.out_reason) == ("active", 0, "suspended")


def test_a_conviction_says_who_signed_what_who_reported_it_and_what_was_burned() -> None:
    watched = Watched()
    for _ in range(3):
        watched.produce()
    assert watched.read(evidence_list) == models.EvidenceList(height=3, convictions=[], complete=True)
    worth = watched.made.candidate("bob")
    report = watched.report("bob", by="carla", kinds=(StatementKind.NULLIFY, StatementKind.FINALIZE))
    # When the report is in a block
    watched.produce(report)
    # Then
    (one,) = watched.read(evidence_list).convictions
    assert (one.account.name, one.reporter.name) == ("bob", "carla")
    assert (one.height, one.signed_height, one.signed_view) == (4, 3, 3)
    assert (one.first.kind, one.first.block_hash) == ("nullify", None)
    assert (one.second.kind, one.second.block_hash) == ("finalize", "01" * 32)
    assert one.transaction_id == report.id.hex()
    assert one.node_key == watched.made.home("bob").node.public_key.hex()
    assert one.burned_mvote is not None
    # whose turn the reporting block was may have gained antes by it before it burned
    antes_mvote = worth.pool_mvote // 100
    assert 0 < one.burned_mvote <= worth.pool_mvote + sum(pot.amount_mvote for pot in worth.frozen) + antes_mvote
    bob = watched.candidate("bob")
    assert (bob.status, bob.pool_mvote, bob.out_reason) == ("expelled", 0, None if bob.committee_weight else "expelled")
    warning = watched.warning("bob")
    assert warning is not None
    assert "expelled" in warning


def test_a_report_without_effect_and_the_reporters_own_history_are_no_convictions() -> None:
    watched = Watched()
    for _ in range(2):
        watched.produce()
    first = watched.report("bob", by="carla")
    second = watched.report("bob", by="george")
    # When two homes report the same deed
    watched.produce(first, second)
    # Then there is one conviction, of the one who did it
    convictions = watched.read(evidence_list).convictions
    assert [one.account.name for one in convictions] == ["bob"]
    # And a second member's deed is a second one, newest first
    watched.produce(watched.report("george", by="anne"))
    assert [one.account.name for one in watched.read(evidence_list).convictions] == ["george", "bob"]

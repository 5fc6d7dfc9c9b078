"""Agreement at one height: the rules of ``consensus.engine``, by number.

The state changes by hearing (votes, certificates, proposals, bodies, timers, answers of the application). Whenever it
has changed, ``_settle`` applies the rules until none of them has anything left to do:

    finalize votes (4) → commit (6) → move to the next view (5) → lead (2) → notarize (3)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus.block import Block, Certificate
from consensus.certificates import build_certificate, extend_certificate, statement_of, verify_certificate
from consensus.engine.ballots import Ballots, Witness
from consensus.engine.bodies import Bodies
from consensus.engine.events import (
    Broadcast,
    Build,
    Commit,
    Evidence,
    FetchCertificates,
    HeightContext,
    Instant,
    JournalContents,
    Outbox,
    Record,
    SetTimer,
    Timer,
    TimerKind,
    height_of,
)
from consensus.engine.path import CertificatePath, newest
from consensus.engine.records import Records
from consensus.messages import MAX_JUSTIFICATION, MAX_VOTES, Certificates, Proposal, Vote, Votes
from consensus.verifier import Signer, Verifier
from ledger.statements import Statement, StatementKind

VOTE_VIEWS_AHEAD: Final = 4
PROPOSAL_VIEWS_AHEAD: Final = MAX_JUSTIFICATION
MISSING_BODIES_ASKED: Final = 4

_VOTE_KINDS: Final = (StatementKind.NOTARIZE, StatementKind.NULLIFY, StatementKind.FINALIZE)


class FinalBlockInvalid(Exception):
    """A quorum made a block final that this node cannot execute: either a third of the weight is faulty or this
    program is. Going on is not possible; the operator has to look.
    """


def view_timeout_ms(view: int, delta_ms: int) -> int:
    """3Δ · min(1.25^view, 4), rounded down."""
    full = 12 * delta_ms
    return full if view >= 7 else min(full, 3 * delta_ms * 5**view // 4**view)


class Agreement:
    """One node's part in one height. Every method adds what it leads to to the outbox."""

    def __init__(
        self,
        context: HeightContext,
        signer: Signer | None,
        verifier: Verifier,
        body_is_bound: Callable[[Block], bool],
        parent_certificate: Callable[[], Certificate | None],
        outbox: Outbox,
    ) -> None:
        """``signer`` is None for a node that follows without voting."""
        node_key = None if signer is None else signer.node_key
        self.context = context
        self.height = context.height
        self.committee = context.committee
        self.index = None if node_key is None else context.committee.index_of_voter(node_key)
        self.view = 0
        self.closed = False
        self.held = CertificatePath()
        self.finalization: Certificate | None = None
        self.bodies = Bodies(context.committee, node_key, body_is_bound, outbox)
        self._signer = signer
        self._verifier = verifier
        self._parent_certificate = parent_certificate
        self._outbox = outbox
        self._records = Records(outbox)
        self._ballots = Ballots(context.committee)
        self._witness = Witness()
        self._leaders: dict[int, int] = {}
        self._proposals: dict[int, tuple[Proposal, bytes]] = {}  # view → the first acceptable one, its block's hash
        self._mine: dict[tuple[int, int], Vote] = {}  # (view, kind) → what I have voted
        self._proposed: set[int] = set()  # views I have proposed in
        self._to_finalize: list[tuple[int, bytes]] = []
        self._to_pass_on: list[Certificate] = []
        self._opened = False
        self._building: int | None = None
        self._lead_at_ms: tuple[int, int] | None = None  # (view, when I repeat a block that may yet be finalized)
        self._hold_until_ms: tuple[int, int] | None = None  # (view, when its early proposal becomes valid)
        self._changed = False

    # Opening

    def open(self, now: Instant, journal: JournalContents) -> None:
        """Starts the height, with what was journaled of it before a restart."""
        self._replay(journal)
        earliest_ms = self.context.parent_time_ms + self.context.block_interval_ms
        opens_at_ms = now.monotonic_ms + max(0, earliest_ms - now.wall_ms)
        self._set_timer(TimerKind.RESEND, 0, opens_at_ms + 2 * self.context.delta_ms)
        if self.view > 0:
            self._enter(self.view, now)
        elif opens_at_ms > now.monotonic_ms:
            self._set_timer(TimerKind.OPEN, 0, opens_at_ms)
        else:
            self._open_first_view(now)
        if self._mine or self._proposed:
            self._resend()
        self._changed = True
        self._settle(now)

    def _replay(self, journal: JournalContents) -> None:
        """Takes back what this node knew and said. The journal is its own: nothing in it is verified again."""
        records: tuple[Record, ...] = (
            *journal.votes,
            *journal.certificates,
            *journal.bodies,
            *journal.proposals,
        )
        for record in records:
            assert height_of(record) == self.height, "a journal is replayed at its own height only"
        self._records.restore(journal)
        for certificate in journal.certificates:
            self._take(certificate)
        self.view = self.held.highest_view + 1
        for block in journal.bodies:
            self.bodies.restore(block, block.hash)
        for proposal in journal.proposals:
            self.bodies.restore(proposal.block, proposal.block.hash)
            if self._signer is not None and proposal.node_key == self._signer.node_key:
                self._proposed.add(proposal.view)
                self._proposals[proposal.view] = proposal, proposal.block.hash
        for vote in journal.votes:
            if self._signer is not None and vote.node_key == self._signer.node_key and self.index is not None:
                self._mine[vote.statement.view, vote.statement.kind] = vote
                self._count(self.index, vote.statement, vote.signature)

    def _open_first_view(self, now: Instant) -> None:
        self._opened = True
        self._enter(0, now)

    # Hearing

    def on_vote(self, vote: Vote, now: Instant) -> None:
        statement = vote.statement
        if statement.view > self.view + VOTE_VIEWS_AHEAD:
            return
        index = self._hear_vote(vote)
        if index is not None:
            self._count(index, statement, vote.signature)
            self._settle(now)

    def on_certificate(self, certificate: Certificate, now: Instant) -> None:
        self._receive(certificate)
        self._settle(now)

    def on_proposal(self, proposal: Proposal, now: Instant) -> None:
        index = self.committee.index_of_node_key(proposal.node_key)
        view = proposal.view
        if index is None or index == self.index or view > self.view + PROPOSAL_VIEWS_AHEAD:
            return
        if self.leader(view) != index:
            return
        block, block_hash = proposal.block, proposal.block.hash
        statement = Statement(StatementKind.PROPOSAL, self.height, view, block_hash)
        if not self._hear(index, statement, proposal.signature):
            return
        for certificate in proposal.justification:
            if not self._receive(certificate):
                break
        # A justification ends with a certificate of the view before, so what it justifies is not ahead of it.
        if view == max(self.view, self.held.highest_view + 1) and view not in self._proposals:
            if self._is_acceptable(proposal) and self.bodies.offer(block, block_hash):
                self._proposals[view] = proposal, block_hash
                self._changed = True
        elif view <= self.view and block_hash in self._missing_bodies():
            self._changed |= self.bodies.offer(block, block_hash)
        self._settle(now)

    def on_body(self, block: Block, now: Instant) -> None:
        """A body that was asked for. Only that a certificate names it makes it welcome."""
        block_hash = block.hash
        if block_hash in self._missing_bodies():
            self._changed |= self.bodies.offer(block, block_hash)
            self._settle(now)

    def on_block_built(self, view: int, block: Block, now: Instant) -> None:
        if self._building == view:
            self._building = None
        if view != self.view or view in self._proposed:
            return
        header = block.header
        assert (header.height, header.view, header.parent_hash) == (self.height, view, self.context.parent_hash)
        block_hash = block.hash
        self.bodies.add_built(block, block_hash)
        self._propose(block, block_hash, list(self.held.nullifications.values()))
        self._settle(now)

    def on_block_executed(self, block_hash: bytes, valid: bool, now: Instant) -> None:
        self._changed |= self.bodies.set_verdict(block_hash, valid)
        self._settle(now)

    def on_timer(self, timer: Timer, now: Instant) -> None:
        if timer.kind == TimerKind.OPEN and self.view == 0 and not self._opened:
            self._open_first_view(now)
        elif timer.kind == TimerKind.NULLIFY and timer.view == self.view:
            self._cast(StatementKind.NULLIFY, self.view, None)
        elif timer.kind == TimerKind.RESEND:
            self._resend()
            self._set_timer(TimerKind.RESEND, 0, now.monotonic_ms + 2 * self.context.delta_ms)
        self._changed = True
        self._settle(now)

    def hear_late(self, message: Vote | Proposal) -> None:
        """Once closed, a message can still convict whoever sent it."""
        if isinstance(message, Vote):
            self._hear_vote(message)
        else:
            index = self.committee.index_of_node_key(message.node_key)
            if index is not None and index != self.index:
                self._hear(index, message.statement, message.signature)

    # Rules

    def _settle(self, now: Instant) -> None:
        while self._changed and not self.closed:
            self._changed = False
            self._vote_finalize()
            self._commit()
            if not self.closed:
                if self.held.highest_view >= self.view:
                    self._enter(self.held.highest_view + 1, now)
                self._lead(now)
                self._vote_notarize(now)
        if self._to_pass_on:
            passed_on, self._to_pass_on = self._to_pass_on, []
            self._outbox.add(Broadcast(Certificates(newest(passed_on))))

    def _enter(self, view: int, now: Instant) -> None:
        self.view = view
        self._changed = True
        self._set_timer(TimerKind.NULLIFY, view, now.monotonic_ms + view_timeout_ms(view, self.context.delta_ms))

    def _vote_finalize(self) -> None:
        """Rule 4."""
        waiting, self._to_finalize = self._to_finalize, []
        for view, block_hash in waiting:
            self._cast(StatementKind.FINALIZE, view, block_hash)

    def _commit(self) -> None:
        """Rule 6."""
        if self.finalization is None:
            return
        block_hash = self.finalization.block_hash
        assert block_hash is not None
        block = self.bodies.get(block_hash)
        if block is None:
            return
        valid = self.bodies.is_valid(block_hash)
        if valid is False:
            raise FinalBlockInvalid(f"height {self.height}: block {block_hash.hex()} is final but cannot be executed")
        if valid:
            self.closed = True
            signatures = self._ballots.signatures(statement_of(self.finalization))
            self.finalization = extend_certificate(self.finalization, signatures, self.committee)
            self._outbox.add(Commit(block, self.finalization))

    def _lead(self, now: Instant) -> None:
        """Rule 2, the leader's half."""
        view = self.view
        if self.index is None or view in self._proposed or view == self._building or self.leader(view) != self.index:
            return
        if (view == 0 and not self._opened) or (view, StatementKind.NOTARIZE) in self._mine:
            return
        if view - 1 in self.held.notarizations and view - 1 not in self.held.nullifications:
            if self._lead_at_ms is None or self._lead_at_ms[0] != view:
                self._lead_at_ms = view, now.monotonic_ms + self.context.delta_ms
                self._set_timer(TimerKind.LEAD, view, self._lead_at_ms[1])
            if now.monotonic_ms < self._lead_at_ms[1]:
                return
        repeatable = self.held.repeatable(view, self.bodies.get)
        if repeatable is not None:
            block, justification = repeatable
            self._propose(block, block.hash, justification)
        elif self.held.justifies_fresh(view):
            self._building = view
            time_ms = max(now.wall_ms, self.context.parent_time_ms + self.context.block_interval_ms)
            self._outbox.add(Build(self.height, view, time_ms, self._parent_certificate()))

    def _vote_notarize(self, now: Instant) -> None:
        """Rule 2, the voter's half, and rule 3. Having nullified the view does not forbid it."""
        view = self.view
        found = self._proposals.get(view)
        if found is None or (view, StatementKind.NOTARIZE) in self._mine:
            return
        proposal, block_hash = found
        if not self._is_justified(proposal, block_hash):
            return
        valid = self.bodies.is_valid(block_hash)
        header = proposal.block.header
        early_ms = header.time_ms - self.context.clock_tolerance_ms - now.wall_ms if header.view == view else 0
        if early_ms > 0:
            held = self._hold_until_ms
            if held is None or held[0] != view or held[1] <= now.monotonic_ms:
                self._hold_until_ms = view, now.monotonic_ms + early_ms
                self._set_timer(TimerKind.HOLD, view, self._hold_until_ms[1])
        elif valid:
            self._cast(StatementKind.NOTARIZE, view, block_hash)

    def _is_justified(self, proposal: Proposal, block_hash: bytes) -> bool:
        """What came with the proposal was received before; what was held already counts as well."""
        if proposal.block.header.view == proposal.view:
            return self.held.justifies_fresh(proposal.view)
        return self.held.justifies_repeating(proposal.view, block_hash)

    def _is_acceptable(self, proposal: Proposal) -> bool:
        """What can be told of a proposal without its justification, its body, the clock and the state."""
        header, context = proposal.block.header, self.context
        if (header.height, header.parent_hash) != (self.height, context.parent_hash):
            return False
        if header.view != proposal.view:
            return True  # repeating: its notarization vouches for the rest
        producer = self.committee.seats[self.leader(proposal.view)].account
        return header.producer == producer and header.time_ms >= context.parent_time_ms + context.block_interval_ms

    # Speaking

    def _may_cast(self, kind: StatementKind, view: int) -> bool:
        """Once per kind and view, and never both nullify and finalize in one view."""
        if (view, kind) in self._mine:
            return False
        if kind == StatementKind.NULLIFY:
            return (view, StatementKind.FINALIZE) not in self._mine
        return kind != StatementKind.FINALIZE or (view, StatementKind.NULLIFY) not in self._mine

    def _cast(self, kind: StatementKind, view: int, block_hash: bytes | None) -> None:
        if self.index is None or not self._may_cast(kind, view):
            return
        assert self._signer is not None
        statement = Statement(kind, self.height, view, block_hash)
        vote = Vote(statement, self._signer.node_key, self._signer.sign(statement))
        self._mine[view, kind] = vote
        self._record_path()
        body = None if block_hash is None else self.bodies.get(block_hash)
        if block_hash is not None and body is not None:
            self._records.body(body, block_hash)
        self._records.vote(vote)
        self._outbox.add(Broadcast(Votes((vote,))))
        self._count(self.index, statement, vote.signature)

    def _propose(self, block: Block, block_hash: bytes, justification: list[Certificate]) -> None:
        assert self._signer is not None
        assert self.view not in self._proposed
        view = self.view
        signature = self._signer.sign(Statement(StatementKind.PROPOSAL, self.height, view, block_hash))
        proposal = Proposal(self.height, view, block, newest(justification), self._signer.node_key, signature)
        self._proposed.add(view)
        self._proposals[view] = proposal, block_hash
        self._record_path()
        self._records.proposal(proposal, block_hash)
        self._outbox.add(Broadcast(proposal))
        self._changed = True

    def _record_path(self) -> None:
        """Rule 8: all that this node's view and finalize votes rest on."""
        path, _ = self.held.path(self.held.highest_view + 1)
        self._records.certificates(path)
        voted = (self.held.notarizations.get(view) for view, kind in self._mine if kind == StatementKind.FINALIZE)
        self._records.certificates(certificate for certificate in (*voted, self.finalization) if certificate)

    def _resend(self) -> None:
        """Rule 7."""
        votes = [
            vote
            for (view, kind), vote in self._mine.items()
            if view == self.view or (kind == StatementKind.FINALIZE and view < self.view)
        ]
        if votes:
            self._outbox.add(Broadcast(Votes(tuple(votes[-MAX_VOTES:]))))
        path, complete = self.held.path(self.view)
        if self.finalization is not None:
            path.append(self.finalization)
        if path:
            self._outbox.add(Broadcast(Certificates(newest(path))))
        if self.view in self._proposals:
            self._outbox.add(Broadcast(self._proposals[self.view][0]))
        if not complete:
            self._outbox.add(FetchCertificates(self.height))
        for certificate in list(self._missing_bodies().values())[-MISSING_BODIES_ASKED:]:
            self.bodies.fetch(certificate)

    # Votes and certificates

    def leader(self, view: int) -> int:
        """The seat that leads a view."""
        leader = self._leaders.get(view)
        if leader is None:
            leader = self._leaders[view] = self.context.leader(view)
        return leader

    def _hear_vote(self, vote: Vote) -> int | None:
        """The seat of a vote that is well formed, news and genuine."""
        statement = vote.statement
        index = self.committee.index_of_voter(vote.node_key)
        if index is None or index == self.index or statement.kind not in _VOTE_KINDS:
            return None
        if (statement.block_hash is None) != (statement.kind == StatementKind.NULLIFY):
            return None
        is_news = self._witness.is_news(index, statement)
        return index if is_news and self._hear(index, statement, vote.signature) else None

    def _hear(self, index: int, statement: Statement, signature: bytes) -> bool:
        """True if the seat has truly said this. What it had not said before may convict it."""
        node_key = self.committee.seats[index].node_key
        if not self._verifier.statement(node_key, statement, signature):
            return False
        if self._witness.is_news(index, statement):
            contradiction = self._witness.hear(index, statement, signature)
            if contradiction is not None:
                self._outbox.add(Evidence(node_key, *contradiction))
        return True

    def _count(self, index: int, statement: Statement, signature: bytes) -> None:
        if self._ballots.count(index, statement, signature):
            self._accept(build_certificate(statement, self._ballots.signatures(statement), self.committee))

    def _receive(self, certificate: Certificate) -> bool:
        """False if the certificate is not a true one of this height."""
        if certificate.height != self.height:
            return False
        if self._is_held(certificate):
            return True
        if not verify_certificate(certificate, self.committee, self._verifier):
            return False
        self._accept(certificate)
        return True

    def _is_held(self, certificate: Certificate) -> bool:
        if certificate.kind == StatementKind.FINALIZE:
            return self.finalization is not None
        return self.held.holds(certificate.kind, certificate.view)

    def _accept(self, certificate: Certificate) -> None:
        """Takes a true certificate, passes it on if it is new (5), and asks for the body it names (6)."""
        if not self._is_held(certificate):
            self._take(certificate)
            self._to_pass_on.append(certificate)
            if certificate.block_hash is not None and certificate.block_hash not in self.bodies:
                self.bodies.fetch(certificate)

    def _take(self, certificate: Certificate) -> None:
        if certificate.kind == StatementKind.FINALIZE:
            self.finalization = certificate
        else:
            self.held.add(certificate)
        if certificate.block_hash is not None:
            self._to_finalize.append((certificate.view, certificate.block_hash))
        self._changed = True

    def _missing_bodies(self) -> dict[bytes, Certificate]:
        """Blocks that certificates name and that are not here; the final one last."""
        final = () if self.finalization is None else (self.finalization,)
        return self.bodies.missing((*self.held.notarizations.values(), *final))

    def _set_timer(self, kind: TimerKind, view: int, at_ms: int) -> None:
        self._outbox.add(SetTimer(Timer(kind, self.height, view), at_ms))

"""Agreement at one height: the rules of ``consensus.engine``, by number.

The state changes by hearing (votes, certificates, proposals, bodies, timers, answers of the application). Whenever it
has changed, ``_settle`` applies the rules until none of them has anything left to do:

    finalize votes (4) → commit (6) → move to the next view (5) → lead (2) → notarize (3)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from consensus.block import Block, Certificate
from consensus.certificates import build_certificate, extend_certificate, signers, verify_certificate
from consensus.engine.ballots import Ballots, Witness
from consensus.engine.events import (
    Broadcast,
    Build,
    Commit,
    Evidence,
    Execute,
    FetchBody,
    FetchCertificates,
    HeightContext,
    Instant,
    JournalContents,
    Outbox,
    SetTimer,
    Timer,
    TimerKind,
)
from consensus.engine.path import CertificatePath
from consensus.messages import MAX_CERTIFICATES, MAX_JUSTIFICATION, MAX_VOTES, Certificates, Proposal, Vote, Votes
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
        self.context = context
        self.height = context.height
        self.committee = context.committee
        self.view = 0
        self.closed = False
        self.index = None if signer is None else context.committee.index_of_voter(signer.node_key)
        self.held = CertificatePath()
        self.finalization: Certificate | None = None
        self.bodies: dict[bytes, Block] = {}
        self._signer = signer
        self._verifier = verifier
        self._body_is_bound = body_is_bound
        self._parent_certificate = parent_certificate
        self._outbox = outbox
        self._leaders: dict[int, int] = {}
        self._ballots = Ballots(context.committee)
        self._witness = Witness()
        self._proposals: dict[int, tuple[Proposal, bytes]] = {}  # view → the first acceptable one, its block's hash
        self._verdicts: dict[bytes, bool | None] = {}  # block hash → valid; None while it is being executed
        self._mine: dict[tuple[int, int], Vote] = {}  # (view, kind) → what I have voted
        self._proposed: set[int] = set()  # views I have proposed in
        self._to_finalize: list[tuple[int, bytes]] = []
        self._journaled: set[tuple[int, int] | bytes] = set()  # (kind, view) of certificates, hashes of bodies
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
        for certificate in journal.certificates:
            if certificate.height == self.height:
                self._journaled.add((certificate.kind, certificate.view))
                self._take(certificate)
        for block in journal.bodies:
            if block.header.height == self.height:
                self._journaled.add(block.hash)
                self.bodies[block.hash] = block
        node_key = None if self._signer is None else self._signer.node_key
        for proposal in journal.proposals:
            if proposal.height == self.height and proposal.node_key == node_key:
                block_hash = proposal.block.hash
                self._journaled.add(block_hash)
                self.bodies[block_hash] = proposal.block
                self._proposed.add(proposal.view)
                self._proposals[proposal.view] = proposal, block_hash
        self.view = self.held.highest_view + 1
        for vote in journal.votes:
            if vote.statement.height == self.height and vote.node_key == node_key and self.index is not None:
                self._mine[vote.statement.view, vote.statement.kind] = vote
                self._count(self.index, vote.statement, vote.signature)

    def _open_first_view(self, now: Instant) -> None:
        self._opened = True
        self._enter(0, now)

    # Hearing

    def on_vote(self, vote: Vote, now: Instant) -> None:
        statement = vote.statement
        index = self.committee.index_of_voter(vote.node_key)
        if index is None or index == self.index or statement.kind not in _VOTE_KINDS:
            return
        if (statement.block_hash is None) != (statement.kind == StatementKind.NULLIFY):
            return
        if statement.view > self.view + VOTE_VIEWS_AHEAD or not self._hear(index, statement, vote.signature):
            return
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
        block_hash = proposal.block.hash
        statement = Statement(StatementKind.PROPOSAL, self.height, view, block_hash)
        if not self._hear_proposal(index, statement, proposal.signature):
            return
        for certificate in proposal.justification:
            if not self._receive(certificate):
                break
        # A justification ends with a certificate of the view before, so what it justifies is not ahead of it.
        if view == max(self.view, self.held.highest_view + 1) and view not in self._proposals:
            if self._is_acceptable(proposal):
                self._proposals[view] = proposal, block_hash
                self._take_body(proposal.block, block_hash)
        elif view <= self.view and block_hash in self._missing_bodies() and self._body_is_bound(proposal.block):
            self._take_body(proposal.block, block_hash)
        self._settle(now)

    def on_body(self, block: Block, now: Instant) -> None:
        """A body that was asked for. Only its hash, and that the rest of it is bound to the hash, make it welcome."""
        block_hash = block.hash
        if block_hash in self._missing_bodies() and self._body_is_bound(block):
            self._take_body(block, block_hash)
            self._settle(now)

    def on_block_built(self, view: int, block: Block, now: Instant) -> None:
        if self._building == view:
            self._building = None
        if self.closed or view != self.view or view in self._proposed:
            return
        header = block.header
        assert (header.height, header.view, header.parent_hash) == (self.height, view, self.context.parent_hash)
        block_hash = block.hash
        self._take_body(block, block_hash)
        self._verdicts[block_hash] = True
        self._propose(block, block_hash, list(self.held.nullifications.values()))
        self._settle(now)

    def on_block_executed(self, block_hash: bytes, valid: bool, now: Instant) -> None:
        if self._verdicts.get(block_hash, valid) is None:
            self._verdicts[block_hash] = valid
            self._changed = True
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

    # Rules

    def _settle(self, now: Instant) -> None:
        while self._changed and not self.closed:
            self._changed = False
            self._vote_finalize()
            self._commit()
            if self.closed:
                return
            if self.held.highest_view >= self.view:
                self._enter(self.held.highest_view + 1, now)
            self._lead(now)
            self._vote_notarize(now)

    def _enter(self, view: int, now: Instant) -> None:
        self.view = view
        self._changed = True
        self._set_timer(TimerKind.NULLIFY, view, now.monotonic_ms + view_timeout_ms(view, self.context.delta_ms))

    def _vote_finalize(self) -> None:
        """Rule 4."""
        waiting, self._to_finalize = self._to_finalize, []
        for view, block_hash in waiting:
            self._cast(StatementKind.FINALIZE, view, block_hash)

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
        repeatable = self.held.repeatable(view, self.bodies)
        if repeatable is not None:
            block, justification = repeatable
            self._propose(block, block.hash, justification)
        elif self.held.justifies_fresh(view):
            self._building = view
            time_ms = max(now.wall_ms, self.context.parent_time_ms + self.context.block_interval_ms)
            self._outbox.add(Build(self.height, view, time_ms, self._parent_certificate()))

    def _propose(self, block: Block, block_hash: bytes, justification: list[Certificate]) -> None:
        assert self._signer is not None
        assert self.view not in self._proposed
        view = self.view
        signature = self._signer.sign(Statement(StatementKind.PROPOSAL, self.height, view, block_hash))
        newest = sorted(justification, key=lambda certificate: certificate.view)[-MAX_JUSTIFICATION:]
        proposal = Proposal(self.height, view, block, tuple(newest), self._signer.node_key, signature)
        self._proposed.add(view)
        self._proposals[view] = proposal, block_hash
        self._journaled.add(block_hash)
        self._journal_path()
        self._outbox.persist(proposal)
        self._outbox.add(Broadcast(proposal))
        self._changed = True

    def _vote_notarize(self, now: Instant) -> None:
        """Rule 2, the voter's half, and rule 3. Having nullified the view does not forbid it."""
        view = self.view
        found = self._proposals.get(view)
        if found is None or (view, StatementKind.NOTARIZE) in self._mine:
            return
        proposal, block_hash = found
        if not self._is_justified(proposal, block_hash):
            return
        valid = self._execute(proposal.block, block_hash)
        if self.index is None:
            return
        early_ms = proposal.block.header.time_ms - self.context.clock_tolerance_ms - now.wall_ms
        if early_ms > 0 and proposal.block.header.view == view:
            due_ms = now.monotonic_ms + early_ms
            if (
                self._hold_until_ms is None
                or self._hold_until_ms[0] != view
                or self._hold_until_ms[1] <= now.monotonic_ms
            ):
                self._hold_until_ms = view, due_ms
                self._set_timer(TimerKind.HOLD, view, due_ms)
        elif valid:
            self._cast(StatementKind.NOTARIZE, view, block_hash)

    def _is_justified(self, proposal: Proposal, block_hash: bytes) -> bool:
        """What came with the proposal was received before; what was held already counts as well."""
        if proposal.block.header.view == proposal.view:
            return self.held.justifies_fresh(proposal.view)
        return self.held.justifies_repeating(proposal.view, block_hash)

    def _commit(self) -> None:
        """Rule 6."""
        if self.finalization is None:
            return
        block_hash = self.finalization.block_hash
        assert block_hash is not None
        block = self.bodies.get(block_hash)
        if block is None:
            return
        valid = self._execute(block, block_hash)
        if valid is False:
            raise FinalBlockInvalid(f"height {self.height}: block {block_hash.hex()} is final but cannot be executed")
        if valid:
            self.closed = True
            self._outbox.add(Commit(block, self._fullest(self.finalization)))

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
        self._journal_path()
        if block_hash is not None and block_hash in self.bodies and block_hash not in self._journaled:
            self._journaled.add(block_hash)
            self._outbox.persist(self.bodies[block_hash])
        self._outbox.persist(vote)
        self._outbox.add(Broadcast(Votes((vote,))))
        self._count(self.index, statement, vote.signature)

    def _journal_path(self) -> None:
        """Rule 8: all that this node's view and votes rest on, as far as it is not in the journal yet."""
        path, _ = self.held.path(self.held.highest_view + 1)
        voted = (self.held.notarizations.get(view) for view, kind in self._mine if kind == StatementKind.FINALIZE)
        for certificate in (*path, *voted, self.finalization):
            if certificate is not None and (certificate.kind, certificate.view) not in self._journaled:
                self._journaled.add((certificate.kind, certificate.view))
                self._outbox.persist(certificate)

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
            self._outbox.add(Broadcast(Certificates(tuple(path[-MAX_CERTIFICATES:]))))
        if self.view in self._proposals:
            self._outbox.add(Broadcast(self._proposals[self.view][0]))
        if not complete:
            self._outbox.add(FetchCertificates(self.height))
        for certificate in list(self._missing_bodies().values())[-MISSING_BODIES_ASKED:]:
            self._fetch_body(certificate)

    # Certificates, bodies, helpers

    def leader(self, view: int) -> int:
        """The seat that leads a view."""
        leader = self._leaders.get(view)
        if leader is None:
            leader = self._leaders[view] = self.context.leader(view)
        return leader

    def finalize_signatures(self) -> Mapping[int, bytes]:
        """All votes counted for the statement that became final, by seat."""
        if self.finalization is None:
            return {}
        final = self.finalization
        return self._ballots.signatures(Statement(final.kind, final.height, final.view, final.block_hash))

    def _fullest(self, finalization: Certificate) -> Certificate:
        return extend_certificate(finalization, self.finalize_signatures(), self.committee)

    def _hear(self, index: int, statement: Statement, signature: bytes) -> bool:
        """True if this is news, and truly from that seat."""
        if not self._witness.is_news(index, statement):
            return False
        node_key = self.committee.seats[index].node_key
        if not self._verifier.statement(node_key, statement, signature):
            return False
        contradiction = self._witness.hear(index, statement, signature)
        if contradiction is not None:
            self._outbox.add(Evidence(node_key, *contradiction))
        return True

    def _hear_proposal(self, index: int, statement: Statement, signature: bytes) -> bool:
        """True if it is truly from that seat: it is worth looking at again with another justification or body."""
        if self._witness.is_news(index, statement):
            return self._hear(index, statement, signature)
        return self._verifier.statement(self.committee.seats[index].node_key, statement, signature)

    def _count(self, index: int, statement: Statement, signature: bytes) -> None:
        if self._ballots.count(index, statement, signature):
            self._accept(build_certificate(statement, self._ballots.signatures(statement), self.committee))

    def _receive(self, certificate: Certificate) -> bool:
        """False if the certificate is not one of this height and committee."""
        if certificate.height != self.height:
            return False
        if self._is_held(certificate.kind, certificate.view):
            return True
        if not verify_certificate(certificate, self.committee, self._verifier):
            return False
        self._accept(certificate)
        return True

    def _is_held(self, kind: int, view: int) -> bool:
        return self.finalization is not None if kind == StatementKind.FINALIZE else self.held.holds(kind, view)

    def _accept(self, certificate: Certificate) -> None:
        """Takes a true certificate, passes it on if it is new (5), and asks for the body it names (6)."""
        if self._is_held(certificate.kind, certificate.view):
            return
        self._take(certificate)
        self._outbox.add(Broadcast(Certificates((certificate,))))
        if certificate.block_hash is not None and certificate.block_hash not in self.bodies:
            self._fetch_body(certificate)

    def _take(self, certificate: Certificate) -> None:
        if certificate.kind == StatementKind.FINALIZE:
            self.finalization = certificate
        else:
            self.held.add(certificate)
        if certificate.block_hash is not None:
            self._to_finalize.append((certificate.view, certificate.block_hash))
        self._changed = True

    def _take_body(self, block: Block, block_hash: bytes) -> None:
        self.bodies[block_hash] = block
        self._changed = True

    def _missing_bodies(self) -> dict[bytes, Certificate]:
        """Blocks that certificates name and that are not there, in view order, the final one last."""
        named = [*self.held.notarizations.values(), *([self.finalization] if self.finalization else [])]
        missing = (certificate for certificate in named if certificate.block_hash not in self.bodies)
        return {certificate.block_hash: certificate for certificate in missing if certificate.block_hash is not None}

    def _fetch_body(self, certificate: Certificate) -> None:
        assert certificate.block_hash is not None
        seats = signers(certificate, self.committee) or ()
        keys = tuple(self.committee.seats[index].node_key for index in seats if index != self.index)
        self._outbox.add(FetchBody(self.height, certificate.block_hash, keys))

    def _execute(self, block: Block, block_hash: bytes) -> bool | None:
        """Whether the block is valid; None until the application has said so. It is asked once."""
        if block_hash not in self._verdicts:
            self._verdicts[block_hash] = None
            self._outbox.add(Execute(block, block_hash))
        return self._verdicts[block_hash]

    def _is_acceptable(self, proposal: Proposal) -> bool:
        """What can be told of a proposal without its justification, the clock and the state."""
        header = proposal.block.header
        if (header.height, header.parent_hash) != (
            self.height,
            self.context.parent_hash,
        ) or header.view > proposal.view:
            return False
        if header.view == proposal.view:
            if header.producer != self.committee.seats[self.leader(proposal.view)].account:
                return False
            if header.time_ms < self.context.parent_time_ms + self.context.block_interval_ms:
                return False
        return self._body_is_bound(proposal.block)

    def _set_timer(self, kind: TimerKind, view: int, at_ms: int) -> None:
        self._outbox.add(SetTimer(Timer(kind, self.height, view), at_ms))

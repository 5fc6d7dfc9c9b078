"""The engine: which height a message belongs to, and what is done about old and later ones (rule 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus.block import Block, Certificate
from consensus.certificates import build_certificate, signatures_of, statement_of
from consensus.committee import Committee
from consensus.engine.agreement import Agreement
from consensus.engine.events import (
    Action,
    Answer,
    CatchUp,
    HeightContext,
    Instant,
    JournalContents,
    Outbox,
    Timer,
    height_of,
)
from consensus.engine.neighbours import Early, EarlyMessages, Pace
from consensus.messages import Message, Proposal, Vote, Votes
from consensus.verifier import Signer, Verifier
from ledger.statements import StatementKind

CLOSINGS_REMEMBERED: Final = 16


class Closing:
    """The finalize certificate of the last closed height, growing while late votes come in."""

    def __init__(self, certificate: Certificate, committee: Committee) -> None:
        signatures = signatures_of(certificate, committee)
        assert certificate.kind == StatementKind.FINALIZE
        assert signatures is not None
        self.statement = statement_of(certificate)
        self._certificate = certificate
        self._committee = committee
        self._signatures = signatures
        self._has_grown = False

    @property
    def certificate(self) -> Certificate:
        if self._has_grown:
            self._certificate = build_certificate(self.statement, self._signatures, self._committee)
            self._has_grown = False
        return self._certificate

    def add_vote(self, vote: Vote, verifier: Verifier) -> None:
        if vote.statement == self.statement:
            index = self._committee.index_of_voter(vote.node_key)
            if index is not None:
                self._add(index, vote.signature, verifier)

    def add_certificate(self, certificate: Certificate, verifier: Verifier) -> None:
        if len(self._signatures) < len(self._committee) and statement_of(certificate) == self.statement:
            for index, signature in (signatures_of(certificate, self._committee) or {}).items():
                self._add(index, signature, verifier)

    def _add(self, index: int, signature: bytes, verifier: Verifier) -> None:
        node_key = self._committee.seats[index].node_key
        if index not in self._signatures and verifier.statement(node_key, self.statement, signature):
            self._signatures[index] = signature
            self._has_grown = True


class Engine:
    """One node's agreement, height after height. See ``consensus.engine`` for the protocol and for how to drive it."""

    agreement_type: type[Agreement] = Agreement

    def __init__(self, signer: Signer | None, verifier: Verifier, body_is_bound: Callable[[Block], bool]) -> None:
        """``signer`` is None for a node that only follows.

        ``body_is_bound`` tells whether a block's parent certificate and transactions are those its header names, and
        the transactions' signatures good: whatever the hash does not cover. A body that fails is dropped as if it had
        never come; one that passes and then cannot be executed condemns its hash for good, and with it whoever made it.
        It must be quick and raise nothing.
        """
        self._signer = signer
        self._verifier = verifier
        self._body_is_bound = body_is_bound
        self._outbox = Outbox()
        self._agreement: Agreement | None = None
        self._previous: Agreement | None = None  # the last one that closed here, for late contradictions
        self._closing: Closing | None = None
        self._early = EarlyMessages()
        self._answered = Pace()
        self._caught_up = Pace()
        self._closed_at_ms: dict[int, int] = {}  # height → when it closed here, for the last few
        self._abstain_until_height = 0

    # Inputs

    def abstain_until(self, height: int) -> None:
        """Heights below this one, opened from now on, are followed without voting: for a node that lost its journal,
        two above the highest tip that its peers report.
        """
        self._abstain_until_height = height

    def open_height(self, context: HeightContext, now: Instant, journal: JournalContents | None = None) -> list[Action]:
        """Starts agreement on a height above the last one, whether that was committed here or got by catching up.

        ``journal``: after a start of the node, the records persisted of this height; else None.
        """
        last = self._agreement
        assert last is None or context.height > last.height, "a height is opened once, in ascending order"
        self._previous = last if last is not None and last.closed else None
        self._note_closed(context.height - 1, now)
        self._open_closing(context)
        signer = self._signer if context.height >= self._abstain_until_height else None
        agreement = self.agreement_type(
            context, signer, self._verifier, self._body_is_bound, self.closing_certificate, self._outbox
        )
        self._agreement = agreement
        agreement.open(now, journal or JournalContents())
        early, self._early = self._early, EarlyMessages()
        for _, message in early.take():
            if agreement.closed:
                break
            if height_of(message) == context.height:
                self._deliver(agreement, message, now)
        return self._finish(now)

    def on_message(self, message: Message, source: bytes | None, now: Instant) -> list[Action]:
        """A decoded message. ``source``: the node key of the peer that handed it over, if known."""
        if isinstance(message, Proposal):
            self._route(message, message.height, message.node_key, now)
        elif isinstance(message, Votes):
            for vote in message.votes:
                self._route(vote, vote.statement.height, vote.node_key, now)
        else:
            for certificate in message.certificates:
                self._route(certificate, certificate.height, source, now)
        return self._finish(now)

    def on_body(self, block: Block, now: Instant) -> list[Action]:
        """A block that ``FetchBody`` asked for, from anyone."""
        agreement = self._open_agreement(block.header.height)
        if agreement is not None:
            agreement.on_body(block, now)
        return self._finish(now)

    def on_block_built(self, height: int, view: int, block: Block, now: Instant) -> list[Action]:
        """The answer to ``Build``. The application has executed the block; it is not asked to again."""
        agreement = self._open_agreement(height)
        if agreement is not None:
            agreement.on_block_built(view, block, now)
        return self._finish(now)

    def on_block_executed(self, height: int, block_hash: bytes, valid: bool, now: Instant) -> list[Action]:
        """The answer to ``Execute``. Errors: FinalBlockInvalid; the node has to stop."""
        agreement = self._open_agreement(height)
        if agreement is not None:
            agreement.on_block_executed(block_hash, valid, now)
        return self._finish(now)

    def on_timer(self, timer: Timer, now: Instant) -> list[Action]:
        """The time of a ``SetTimer`` has come."""
        agreement = self._open_agreement(timer.height)
        if agreement is not None:
            agreement.on_timer(timer, now)
        return self._finish(now)

    # Queries

    @property
    def height(self) -> int:
        """The height last opened; 0 before the first."""
        return 0 if self._agreement is None else self._agreement.height

    @property
    def view(self) -> int:
        return 0 if self._agreement is None else self._agreement.view

    @property
    def is_closed(self) -> bool:
        """True from ``Commit`` to the next ``open_height``."""
        return self._agreement is None or self._agreement.closed

    @property
    def is_voting(self) -> bool:
        """True if this node votes at the height last opened."""
        return self._agreement is not None and self._agreement.index is not None

    def certificates(self) -> tuple[Certificate, ...]:
        """All certificates held of the height last opened: what ``FetchCertificates`` asks a peer for."""
        if self._agreement is None:
            return ()
        final = self._agreement.finalization
        return (*self._agreement.held.all(), *(() if final is None else (final,)))

    def body(self, block_hash: bytes) -> Block | None:
        """A block of the height last opened: what ``FetchBody`` asks a peer for."""
        return None if self._agreement is None else self._agreement.bodies.get(block_hash)

    def closing_certificate(self) -> Certificate | None:
        """The fullest finalize certificate known of the height closed last; None before height 1 has closed."""
        return None if self._closing is None else self._closing.certificate

    # Routing

    def _route(self, message: Early, height: int, node_key: bytes | None, now: Instant) -> None:
        agreement = self._agreement
        if agreement is None:
            return
        if height == agreement.height and not agreement.closed:
            self._deliver(agreement, message, now)
        elif height > agreement.height:
            self._hear_of_later(agreement, message, height, node_key, now)
        else:
            self._hear_of_closed(agreement, message, height, node_key, now)

    def _deliver(self, agreement: Agreement, message: Early, now: Instant) -> None:
        if isinstance(message, Vote):
            agreement.on_vote(message, now)
        elif isinstance(message, Proposal):
            agreement.on_proposal(message, now)
        else:
            agreement.on_certificate(message, now)
        if agreement.closed:
            self._close(agreement, now)

    def _hear_of_later(
        self, agreement: Agreement, message: Early, height: int, node_key: bytes | None, now: Instant
    ) -> None:
        if node_key is None or self._is_mine(node_key) or not self._is_genuine(message):
            return
        index = agreement.committee.index_of_node_key(node_key)
        if height == agreement.height + 1 and index is not None:
            self._early.keep(index, message)
            if agreement.closed:
                return
        if self._caught_up.may(node_key, now.monotonic_ms, agreement.context.delta_ms // 2):
            self._outbox.add(CatchUp(height, node_key))

    def _hear_of_closed(
        self, agreement: Agreement, message: Early, height: int, node_key: bytes | None, now: Instant
    ) -> None:
        if self._closing is not None and height == self._closing.statement.height:
            if isinstance(message, Vote):
                self._closing.add_vote(message, self._verifier)
            elif isinstance(message, Certificate):
                self._closing.add_certificate(message, self._verifier)
        for closed in (agreement, self._previous):
            if closed is not None and closed.height == height and not isinstance(message, Certificate):
                closed.hear_late(message)
        delta_ms = agreement.context.delta_ms
        closed_at_ms = self._closed_at_ms.get(height)
        if closed_at_ms is not None and now.monotonic_ms - closed_at_ms <= 2 * delta_ms:
            return
        # A certificate has no author: whoever passed it on need not be behind.
        if node_key is None or isinstance(message, Certificate) or self._is_mine(node_key):
            return
        if self._is_genuine(message) and self._answered.may(node_key, now.monotonic_ms, delta_ms // 2):
            self._outbox.add(Answer(node_key, height))

    def _is_genuine(self, message: Early) -> bool:
        """False if the message has an author and is not its author's."""
        if isinstance(message, Certificate):
            return True
        return self._verifier.statement(message.node_key, message.statement, message.signature)

    def _is_mine(self, node_key: bytes) -> bool:
        return self._signer is not None and node_key == self._signer.node_key

    # Heights

    def _open_agreement(self, height: int) -> Agreement | None:
        agreement = self._agreement
        return agreement if agreement is not None and agreement.height == height and not agreement.closed else None

    def _open_closing(self, context: HeightContext) -> None:
        certificate, committee = context.parent_certificate, context.parent_committee
        if certificate is None or committee is None:
            self._closing = None
        elif self._closing is None or self._closing.statement.block_hash != context.parent_hash:
            self._closing = Closing(certificate, committee)

    def _close(self, agreement: Agreement, now: Instant) -> None:
        final = agreement.finalization
        assert final is not None
        if self._closing is None or self._closing.statement.height < final.height:
            self._closing = Closing(final, agreement.committee)
            self._note_closed(agreement.height, now)

    def _finish(self, now: Instant) -> list[Action]:
        agreement = self._agreement
        if agreement is not None and agreement.closed:
            self._close(agreement, now)
        return self._outbox.take()

    def _note_closed(self, height: int, now: Instant) -> None:
        self._closed_at_ms.setdefault(height, now.monotonic_ms)
        while len(self._closed_at_ms) > CLOSINGS_REMEMBERED:
            del self._closed_at_ms[next(iter(self._closed_at_ms))]

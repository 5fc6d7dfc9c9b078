"""What of one height is in the journal, so that each record is written once (rule 8)."""

from __future__ import annotations

from collections.abc import Iterable

from consensus.block import Block, Certificate
from consensus.engine.events import JournalContents, Outbox
from consensus.messages import Proposal, Vote


class Records:
    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._certificates: set[tuple[int, int]] = set()  # kind, view
        self._bodies: set[bytes] = set()

    def restore(self, journal: JournalContents) -> None:
        self._certificates.update((certificate.kind, certificate.view) for certificate in journal.certificates)
        self._bodies.update(block.hash for block in journal.bodies)
        self._bodies.update(proposal.block.hash for proposal in journal.proposals)

    def certificates(self, certificates: Iterable[Certificate]) -> None:
        for certificate in certificates:
            key = (certificate.kind, certificate.view)
            if key not in self._certificates:
                self._certificates.add(key)
                self._outbox.persist(certificate)

    def body(self, block: Block, block_hash: bytes) -> None:
        if block_hash not in self._bodies:
            self._bodies.add(block_hash)
            self._outbox.persist(block)

    def proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        """A proposal carries its body."""
        self._bodies.add(block_hash)
        self._outbox.persist(proposal)

    def vote(self, vote: Vote) -> None:
        self._outbox.persist(vote)

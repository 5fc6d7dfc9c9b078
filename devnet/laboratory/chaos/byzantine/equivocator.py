"""A leader of two minds."""

from __future__ import annotations

from consensus.messages import Proposal
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import NOTARIZE, Place


class Equivocator(Actor):
    """Shows one half another block than the other, or repeats an old one to one half and a fresh one to the other, or
    shows both to all; and votes for whatever it sees.
    """

    def leads(self, place: Place) -> None:
        one, other = self.mind.halves() if self.random.random() < 0.7 else (self.mind.honest, self.mind.honest)
        first = self.mind.repeated(self.home, place) if self.random.random() < 0.4 else None
        self.show(one, first or self.mind.fresh(self.home, place))
        self.show(other, self.mind.fresh(self.home, place, early_ms=self.random.choice((1, 300))))

    def sees_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        place = (proposal.height, proposal.view)
        self.mind.send(self.home, self.mind.some(), self.mind.vote(self.home, NOTARIZE, place, block_hash))

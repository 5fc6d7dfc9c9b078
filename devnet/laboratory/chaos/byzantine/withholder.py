"""A home that knows more than it says."""

from __future__ import annotations

from consensus.block import Certificate
from consensus.engine import view_timeout_ms
from consensus.messages import Certificates, Proposal
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import Place


class Withholder(Actor):
    """Votes only in secret: it completes certificates alone and lets one home know, late or at an awkward moment; as
    leader it shows its block to some, or as the view is about to be nullified.
    """

    def sees_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        pass

    def learns(self, certificate: Certificate) -> None:
        if self.random.random() < 0.6:
            late_ms = self.random.choice((0, 500, 2_000, 2_900, 6_000))
            self.mind.send(self.home, self.mind.one(), Certificates((certificate,)), late_ms)

    def leads(self, place: Place) -> None:
        proposal = self.best(place)
        if self.random.random() < 0.5:
            self.show(self.mind.halves()[0], proposal)
        else:
            late_ms = view_timeout_ms(place[1], self.mind.world.delta_ms) - self.random.randint(50, 1_000)
            self.show(self.mind.some(), proposal, late_ms)

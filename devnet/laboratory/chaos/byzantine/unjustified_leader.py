"""A leader that ignores what was agreed on before its turn."""

from __future__ import annotations

from consensus.block import Certificate
from consensus.messages import Certificates, Proposal
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import FINALIZE, NOTARIZE, NULLIFY, Place


class UnjustifiedLeader(Actor):
    """Proposes fresh blocks whatever was notarized before, while only one home, which nobody hears, knows what is final
    already: that one is told every finalization, the others every notarization, and finalize votes for its own block.
    """

    def _favourite(self, height: int) -> int:
        return self.mind.honest[height % len(self.mind.honest)]

    def sees_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        place = (proposal.height, proposal.view)
        self.mind.send(self.home, self.mind.honest, self.mind.vote(self.home, NOTARIZE, place, block_hash))
        favourite = self._favourite(proposal.height)
        vote = self.mind.vote(self.home, FINALIZE, place, block_hash)
        if proposal.node_key == self.mind.signers[self.home].node_key:
            self.mind.send(self.home, [home for home in self.mind.honest if home != favourite], vote)
        elif self.random.random() < 0.7:
            self.mind.world.weather.mute(favourite, self.random.randint(4_000, 9_000))
            self.mind.send(self.home, [favourite], vote)

    def learns(self, certificate: Certificate) -> None:
        targets = self.mind.honest if certificate.kind == NOTARIZE else [self._favourite(certificate.height)]
        if certificate.kind != NULLIFY:
            self.mind.send(self.home, targets, Certificates((certificate,)), 10)

    def leads(self, place: Place) -> None:
        self.show(self.mind.honest, self.mind.fresh(self.home, place), self.random.choice((0, 200, 1_000)))

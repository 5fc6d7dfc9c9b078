"""A home that speaks to a few only."""

from __future__ import annotations

from consensus.block import Certificate
from consensus.messages import Certificates, Proposal
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import NOTARIZE, Mind, Place


class SelectiveSender(Actor):
    """Chooses at every height whom it knows, and keeps to it: these get its block, its votes and all certificates at
    once, the others nothing.
    """

    def __init__(self, mind: Mind, home: int) -> None:
        super().__init__(mind, home)
        self._friends: tuple[int, list[int]] = (0, [])

    def _friends_at(self, height: int) -> list[int]:
        if self._friends[0] != height:
            self._friends = height, self.mind.halves()[0]
        return self._friends[1]

    def sees_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        vote = self.mind.vote(self.home, NOTARIZE, (proposal.height, proposal.view), block_hash)
        self.mind.send(self.home, self._friends_at(proposal.height), vote)

    def learns(self, certificate: Certificate) -> None:
        self.mind.send(self.home, self._friends_at(certificate.height), Certificates((certificate,)), 10)

    def leads(self, place: Place) -> None:
        self.show(self._friends_at(place[0]), self.best(place))

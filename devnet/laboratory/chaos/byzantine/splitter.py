"""A leader with a hand on the fuse."""

from __future__ import annotations

from consensus.block import Certificate
from consensus.messages import Proposal
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import NOTARIZE, Mind, Place


class Splitter(Actor):
    """Shows its block to no more homes than a quorum needs, and its vote to one of them: that one alone can finalize.
    As soon as it has written that down the whole street goes dark, and from then on this home is silent. What is not in
    the journal then is lost for ever. Otherwise it never says anything.
    """

    def __init__(self, mind: Mind, home: int) -> None:
        super().__init__(mind, home)
        self._split_height = 0

    def sees_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        pass

    def learns(self, certificate: Certificate) -> None:
        pass

    def leads(self, place: Place) -> None:
        if place[0] == self._split_height or not self.mind.is_justified(place):
            return
        self._split_height = place[0]
        committee = self.mind.world.turns[place[0]].committee
        proposal = self.mind.fresh(self.home, place)
        if proposal is None:
            return
        allies = [*self.mind.signers]
        chosen: list[int] = []
        for home in self.random.sample(self.mind.honest, len(self.mind.honest)):
            keys = [self.mind.world.founding.members[number].node_key for number in (*allies, *chosen)]
            seats = [seat for key in keys if (seat := committee.index_of_voter(key)) is not None]
            if committee.is_quorum(sum(committee.weights[seat] for seat in seats)):
                break
            chosen.append(home)
        witness = chosen[0]
        self.mind.world.weather.fuse(witness)
        self.mind.send(self.home, chosen, proposal, 50)
        for ally in allies:
            vote = self.mind.vote(ally, NOTARIZE, place, proposal.block.hash)
            self.mind.send(ally, [witness], vote, 500)

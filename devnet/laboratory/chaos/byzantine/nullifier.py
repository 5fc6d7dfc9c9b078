"""A home that is against everything."""

from __future__ import annotations

from consensus.messages import Message, Votes
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import FINALIZE, NOTARIZE, NULLIFY, Mind, Place


class Nullifier(Actor):
    """Nullifies every view as soon as it hears of it, and finalizes it too where that may help to split."""

    def __init__(self, mind: Mind, home: int) -> None:
        super().__init__(mind, home)
        self._nullified: set[Place] = set()

    def hears(self, message: Message) -> None:
        if not isinstance(message, Votes):
            return
        statement = message.votes[0].statement
        for view in (statement.view, statement.view + 1):
            place = (statement.height, view)
            if place not in self._nullified:
                self._nullified = {one for one in self._nullified if one[0] >= place[0] - 2} | {place}
                self.mind.send(self.home, self.mind.honest, self.mind.vote(self.home, NULLIFY, place, None))
        if statement.kind == NOTARIZE and self.random.random() < 0.3:
            vote = self.mind.vote(self.home, FINALIZE, (statement.height, statement.view), statement.block_hash)
            self.mind.send(self.home, self.mind.some(), vote)

    def leads(self, place: Place) -> None:
        pass

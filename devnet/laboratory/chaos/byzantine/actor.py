"""What every byzantine home does unless its behaviour says otherwise: vote for what it is shown, lead as it should."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.block import Certificate
from consensus.messages import Certificates, Message, Proposal
from devnet.laboratory.chaos.byzantine.mind import NOTARIZE, Mind, Place
from node.protocol import StoredBlock


class Actor:
    """One home of the enemy's; each behaviour departs from this one in its own way."""

    def __init__(self, mind: Mind, home: int) -> None:
        self.mind = mind
        self.home = home
        self.random = mind.random

    def hears(self, message: Message) -> None:
        """Any honest message."""

    def sees_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        chance = self.random.random()
        if chance >= 0.3:
            targets = self.mind.some() if chance < 0.7 else self.mind.honest
            place = (proposal.height, proposal.view)
            self.mind.send(self.home, targets, self.mind.vote(self.home, NOTARIZE, place, block_hash))

    def learns(self, certificate: Certificate) -> None:
        """A certificate that nobody else may know yet."""
        late_ms = self.random.choice((0, 100, 1_000, 2_900, 4_000, 8_000))
        if self.random.random() < 0.7:
            targets = self.mind.one() if self.random.random() < 0.5 else self.mind.some()
            self.mind.send(self.home, targets, Certificates((certificate,)), late_ms)

    def leads(self, place: Place) -> None:
        """It is this home's turn."""
        self.show(self.mind.honest, self.best(place))

    def claims(self) -> int | None:
        """The height it says it has when asked; None for no answer."""
        return None

    def serves(self, first: int, count: int) -> tuple[StoredBlock, ...] | None:
        """The blocks it serves when asked; None for no answer."""
        return None

    def best(self, place: Place) -> Proposal | None:
        if self.mind.is_justified(place):
            return self.mind.fresh(self.home, place, candidates=self.mind.waiting())
        return self.mind.repeated(self.home, place) or self.mind.fresh(self.home, place)

    def show(self, targets: Sequence[int], proposal: Proposal | None, delay_ms: int = 0) -> None:
        if proposal is not None:
            self.mind.send(self.home, targets, proposal, delay_ms + self.random.randint(10, 200))
            self.mind.sees_proposal(proposal)

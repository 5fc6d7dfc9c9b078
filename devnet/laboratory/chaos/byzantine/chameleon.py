"""A home that is never the same."""

from __future__ import annotations

from consensus.block import Certificate
from consensus.messages import Message, Proposal
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.double_voter import DoubleVoter
from devnet.laboratory.chaos.byzantine.equivocator import Equivocator
from devnet.laboratory.chaos.byzantine.false_maker import FalseMaker
from devnet.laboratory.chaos.byzantine.forger import Forger
from devnet.laboratory.chaos.byzantine.mind import Mind, Place
from devnet.laboratory.chaos.byzantine.nullifier import Nullifier
from devnet.laboratory.chaos.byzantine.selective_sender import SelectiveSender
from devnet.laboratory.chaos.byzantine.stale_replayer import StaleReplayer
from devnet.laboratory.chaos.byzantine.unjustified_leader import UnjustifiedLeader
from devnet.laboratory.chaos.byzantine.withholder import Withholder


class Chameleon(Actor):
    """Another behaviour at every occasion."""

    def __init__(self, mind: Mind, home: int) -> None:
        super().__init__(mind, home)
        kinds = (
            Equivocator,
            DoubleVoter,
            SelectiveSender,
            Withholder,
            StaleReplayer,
            Nullifier,
            UnjustifiedLeader,
            FalseMaker,
            Forger,
        )
        self._all = [kind(mind, home) for kind in kinds]

    def hears(self, message: Message) -> None:
        self.random.choice(self._all).hears(message)

    def sees_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        self.random.choice(self._all).sees_proposal(proposal, block_hash)

    def learns(self, certificate: Certificate) -> None:
        self.random.choice(self._all).learns(certificate)

    def leads(self, place: Place) -> None:
        self.random.choice(self._all).leads(place)

"""A home that never says anything."""

from __future__ import annotations

from consensus.block import Certificate
from consensus.messages import Proposal
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import Place


class SilentLeader(Actor):
    def sees_proposal(self, proposal: Proposal, block_hash: bytes) -> None:
        pass

    def learns(self, certificate: Certificate) -> None:
        pass

    def leads(self, place: Place) -> None:
        pass

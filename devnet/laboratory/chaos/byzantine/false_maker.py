"""A maker of blocks that are not what they should be."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from consensus.block import Block
from consensus.messages import Proposal
from consensus.vrf import PROOF_BYTES
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import Place
from devnet.laboratory.chaos.signatures import StubBeacon
from ledger.keys import SigningKey, digest


class _ChosenBeacon(StubBeacon):
    """Proves nothing: its maker takes whatever number it likes."""

    def __init__(self, random: Random) -> None:
        self._proof = random.randbytes(PROOF_BYTES)

    def prove(self, key: SigningKey, alpha: bytes) -> bytes:
        return self._proof


class FalseMaker(Actor):
    """Blocks with a false state root or a beacon it chose itself, blocks of the future, and another body under the same
    header.
    """

    def leads(self, place: Place) -> None:
        choice = self.random.randrange(4)
        early_ms = self.random.choice((900, 1_100, 3_000)) if choice == 0 else 0
        beacon = _ChosenBeacon(self.random) if choice == 2 else None
        proposal = self.mind.fresh(self.home, place, early_ms=early_ms, beacon=beacon)
        if proposal is None:
            return
        header = proposal.block.header
        if choice == 1:
            header = replace(header, state_root=digest(header.state_root))
        elif choice == 3:
            other = Block(header, proposal.block.parent_certificate, (b"another",))
            forged = Proposal(*place, other, proposal.justification, proposal.node_key, proposal.signature)
            self.mind.send(self.home, self.mind.some(), forged, 0)
        block = Block(header, proposal.block.parent_certificate, proposal.block.transactions)
        self.show(self.mind.honest, self.mind.proposal(self.home, place, block, proposal.justification), 100)

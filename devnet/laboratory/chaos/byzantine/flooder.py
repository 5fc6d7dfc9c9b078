"""A home that talks without end."""

from __future__ import annotations

from typing import Final

from consensus.messages import Certificates, Message, Votes
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import FINALIZE, NOTARIZE, NULLIFY

BURST: Final = 12


class Flooder(Actor):
    """Votes for blocks that do not exist, in views and heights to come, and the same certificates again and again; more
    than anybody has room for.
    """

    def hears(self, message: Message) -> None:
        if not isinstance(message, Votes) or self.random.random() >= 0.05:
            return
        height = message.votes[0].statement.height
        target = self.mind.one()
        for _ in range(BURST):
            place = (height + self.random.randint(0, 3), self.random.randint(0, 40))
            kind = self.random.choice((NOTARIZE, NULLIFY, FINALIZE))
            block_hash = None if kind == NULLIFY else self.random.randbytes(32)
            self.mind.send(self.home, target, self.mind.vote(self.home, kind, place, block_hash))
        held = [certificate for key, certificate in self.mind.certificates.items() if key[1] == height]
        for _ in range(BURST if held else 0):
            self.mind.send(self.home, target, Certificates((self.random.choice(held),)))
        self.mind.world.checker.check_buffers(self.mind.world.homes[target[0]])

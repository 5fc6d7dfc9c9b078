"""A voter that is for everything."""

from __future__ import annotations

from consensus.messages import Message, Votes
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import FINALIZE, NOTARIZE, NULLIFY


class DoubleVoter(Actor):
    """Votes every way at once: notarize, nullify and finalize in one view, to different homes."""

    def hears(self, message: Message) -> None:
        if isinstance(message, Votes) and self.random.random() < 0.25:
            statement = message.votes[0].statement
            place = (statement.height, statement.view)
            delay_ms = self.random.choice((10, 200, 1_000, 3_000))
            for kind in (NOTARIZE, NULLIFY, FINALIZE):
                block_hash = None if kind == NULLIFY else statement.block_hash
                if self.random.random() < 0.6 and (kind == NULLIFY or block_hash is not None):
                    vote = self.mind.vote(self.home, kind, place, block_hash)
                    self.mind.send(self.home, self.mind.some(), vote, delay_ms)

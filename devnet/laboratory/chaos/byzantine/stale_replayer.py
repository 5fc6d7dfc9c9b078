"""A home with a long memory."""

from __future__ import annotations

from typing import Final

from consensus.messages import Message
from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.mind import Mind

REMEMBERED: Final = 2_000


class StaleReplayer(Actor):
    """Remembers what honest homes said and says it again, to anyone, when it is old."""

    def __init__(self, mind: Mind, home: int) -> None:
        super().__init__(mind, home)
        self._heard: list[Message] = []

    def hears(self, message: Message) -> None:
        if len(self._heard) < REMEMBERED:
            self._heard.append(message)
        else:
            self._heard[self.random.randrange(REMEMBERED)] = message
        if self.random.random() < 0.3:
            late_ms = self.random.choice((0, 500, 5_000))
            self.mind.send(self.home, self.mind.some(), self.random.choice(self._heard), late_ms)

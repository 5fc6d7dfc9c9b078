"""The wires between honest homes, every one of them lossy, slow and cuttable, in virtual time.

1. A *link* is an ordered pair of homes. Each draws its delays and faults from a random stream of its own, so that what
   one link does never changes what another draws. ``p2p.simulated.Faults`` says how bad they all are.
2. Whatever is sent arrives once, twice or never, after a delay drawn anew each time: so messages overtake each other.
   ``reordering`` is the chance that one is held up for as long as ten others take.
3. A cut link carries nothing. Links are cut in one direction at a time.
4. Byzantine homes are not on these wires: the enemy hears everything at once and is never delayed (``byzantine.mind``).

Messages travel as objects: that bytes decode is tested elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from devnet.laboratory.chaos.scheduler import Scheduler
from p2p.simulated import Faults

CALM: Final = Faults(delay_min_s=0.02, delay_max_s=0.25, loss=0.01)

Link = tuple[int, int]


@dataclass(slots=True)
class _Rates:
    """``Faults`` in whole milliseconds."""

    least_ms: int
    spread_ms: int
    loss: float
    duplication: float
    reordering: float

    @classmethod
    def of(cls, faults: Faults) -> _Rates:
        least_ms = round(faults.delay_min_s * 1000)
        spread_ms = round(faults.delay_max_s * 1000) - least_ms + 1
        return cls(least_ms, spread_ms, faults.loss, faults.duplication, faults.reordering)


class Network:
    """Carries calls from home to home, by number."""

    def __init__(self, scheduler: Scheduler, seed: str, homes: Iterable[int]) -> None:
        self.messages = 0
        self.late_ms: dict[int, int] = {}
        """Sender → what all its messages take longer."""
        self._scheduler = scheduler
        numbers = list(homes)
        self._random: dict[Link, Random] = {
            (one, other): Random(f"{seed}/{one}/{other}")  # noqa: S311 - reproducible on purpose
            for one in numbers
            for other in numbers
            if one != other
        }
        self._rates = _Rates.of(CALM)
        self._cut: set[Link] = set()

    def set_faults(self, faults: Faults) -> None:
        """From now on, on every link."""
        self._rates = _Rates.of(faults)

    def cut(self, links: Iterable[Link]) -> None:
        self._cut.update(links)

    def mend(self) -> None:
        """Every link carries again."""
        self._cut.clear()

    def is_cut(self, sender: int, receiver: int) -> bool:
        return (sender, receiver) in self._cut

    def send(self, sender: int, receiver: int, arrive: Callable[[], object]) -> None:
        """``arrive`` is called when the message does, whether or not somebody is there to take it."""
        self.messages += 1
        link = (sender, receiver)
        if link in self._cut:
            return
        rates, chance = self._rates, self._random[link].random
        if chance() < rates.loss:
            return
        copies = 2 if rates.duplication and chance() < rates.duplication else 1
        for _ in range(copies):
            delay_ms = rates.least_ms + int(chance() * rates.spread_ms)
            if rates.reordering and chance() < rates.reordering:
                delay_ms += 10 * rates.spread_ms
            if self.late_ms:
                delay_ms += self.late_ms.get(sender, 0)
            self._scheduler.at(self._scheduler.now_ms + delay_ms, arrive)

"""A car that is to be full enough when it leaves: when it charges.

1. It needs ``needed_wh`` at the connection before the period ``departure`` begins, and charges with at most
   ``charge_w``. It gives nothing back.
2. Cheapest first: in each period the house's own expected surplus costs what it would earn elsewhere, the rest what
   energy is expected to cost there. Among equals the earliest, for what is charged early cannot be missed.
3. If the time is too short it charges in every period there is: being late is dearer than any price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MS_PER_HOUR: Final = 3_600_000


class Offer(NamedTuple):
    """What a period has for the car: own surplus at ``surplus_price``, anything beyond it at ``price``."""

    period: int
    surplus_wh: int
    surplus_price: int
    price: int


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Raises ValueError with what is wrong: it is configured."""

    needed_wh: int
    charge_w: int
    departure: int

    def __post_init__(self) -> None:
        if self.needed_wh < 0:
            raise ValueError(f"needed_wh must not be negative, it is {self.needed_wh}")
        if self.charge_w <= 0:
            raise ValueError(f"charge_w must be above 0, not {self.charge_w}")

    def plan(self, offers: Sequence[Offer], metered_ms: int) -> Mapping[int, int]:
        """Wh to charge by period, of the periods of ``offers`` before departure, each once."""
        per_period_wh = self.charge_w * metered_ms // MS_PER_HOUR
        steps: list[tuple[int, int, int]] = []  # price, period, Wh
        for offer in offers:
            if offer.period >= self.departure:
                continue
            own_wh = min(max(0, offer.surplus_wh), per_period_wh)
            steps.append((offer.surplus_price, offer.period, own_wh))
            steps.append((offer.price, offer.period, per_period_wh - own_wh))
        left_wh = self.needed_wh
        charged_wh: dict[int, int] = {}
        for _, period, step_wh in sorted(steps):
            part_wh = min(left_wh, step_wh)
            if part_wh:
                charged_wh[period] = charged_wh.get(period, 0) + part_wh
                left_wh -= part_wh
        return charged_wh

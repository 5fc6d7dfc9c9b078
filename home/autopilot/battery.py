"""A battery behind the meter, kept simple: it takes what the roof has over and gives what the household lacks.

1. In each period it charges with a surplus and discharges into a lack, as far as power and content allow, whatever the
   prices: each Wh kept at home saves retail and earns no less than feed-in. It neither buys nor sells.
2. The losses of a whole cycle are taken at charging: of 100 Wh taken in, ``efficiency_bps`` / 100 Wh are stored.
3. Below ``reserve_wh`` it does not discharge: that is kept for a power cut. From below it, it charges like ever.
4. What ages it, temperature and standing losses are not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

ALL_BPS: Final = 10_000
MS_PER_HOUR: Final = 3_600_000


class Step(NamedTuple):
    """After a period: what is stored, and what is over (or lacking, negative) behind the battery."""

    stored_wh: int
    surplus_wh: int


@dataclass(frozen=True, slots=True)
class Battery:
    """``charge_w`` and ``discharge_w`` at the connection. Raises ValueError with what is wrong: it is configured."""

    capacity_wh: int
    charge_w: int
    discharge_w: int
    efficiency_bps: int = 9_000
    reserve_wh: int = 0

    def __post_init__(self) -> None:
        if self.capacity_wh <= 0:
            raise ValueError(f"capacity_wh must be above 0, not {self.capacity_wh}")
        if min(self.charge_w, self.discharge_w) < 0:
            raise ValueError("charge_w and discharge_w must not be negative")
        if not 0 < self.efficiency_bps <= ALL_BPS:
            raise ValueError(f"efficiency_bps must be 1 … {ALL_BPS}, not {self.efficiency_bps}")
        if not 0 <= self.reserve_wh <= self.capacity_wh:
            raise ValueError(f"reserve_wh must be 0 … {self.capacity_wh}, not {self.reserve_wh}")

    def step(self, stored_wh: int, surplus_wh: int, metered_ms: int) -> Step:
        """One period of ``metered_ms``. ``surplus_wh``: production less load, before the battery."""
        assert 0 <= stored_wh <= self.capacity_wh
        if surplus_wh >= 0:
            room_wh = (self.capacity_wh - stored_wh) * ALL_BPS // self.efficiency_bps
            taken_wh = min(surplus_wh, room_wh, self.charge_w * metered_ms // MS_PER_HOUR)
            return Step(stored_wh + taken_wh * self.efficiency_bps // ALL_BPS, surplus_wh - taken_wh)
        usable_wh = max(0, stored_wh - self.reserve_wh)
        given_wh = min(-surplus_wh, usable_wh, self.discharge_w * metered_ms // MS_PER_HOUR)
        return Step(stored_wh - given_wh, surplus_wh + given_wh)

"""What one run is. The same setting gives the same figures, times of computing aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from home.profiles.archive import SAMPLES_PER_DAY, SAMPLES_PER_YEAR
from ledger.market.grid_fee import Mechanism
from ledger.parameters import Parameters

BLOCK_INTERVAL_MS: Final = 300_000
MAX_HOMES: Final = 200
MAX_DAYS: Final = 366
DAYS_PER_YEAR: Final = SAMPLES_PER_YEAR // SAMPLES_PER_DAY
FIRST_DAY: Final = 105  # 15 April: neither the best nor the worst of the year


class SettingError(ValueError):
    """There is no such neighbourhood; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Setting:
    """``homes`` households, of which ``pv`` have a roof, from day ``first_day`` (0 … 365) of the year on.

    ``pooled``: whether the homes share by a pool what is left after trades, if there is a roof at all; ``traded``:
    whether autopilots trade.
    """

    homes: int = 37
    pv: int = 27
    days: int = 7
    seed: int = 1
    first_day: int = FIRST_DAY
    mechanism: Mechanism = Mechanism.CONTINUOUS
    traded: bool = True
    pooled: bool = True

    @property
    def periods(self) -> int:
        return self.days * SAMPLES_PER_DAY

    @property
    def has_pool(self) -> bool:
        return self.pooled and self.pv > 0

    @property
    def parameters(self) -> Parameters:
        return Parameters(block_interval_ms=BLOCK_INTERVAL_MS, market_mechanism=int(self.mechanism))


def check_setting(setting: Setting) -> None:
    """Errors: SettingError for the first thing that cannot be."""
    if not 2 <= setting.homes <= MAX_HOMES:
        raise SettingError(f"homes must be 2 … {MAX_HOMES}, not {setting.homes}: one alone has nobody to trade with")
    if not 0 <= setting.pv <= setting.homes:
        raise SettingError(f"pv must be 0 … {setting.homes}, the number of homes, not {setting.pv}")
    if not 1 <= setting.days <= MAX_DAYS:
        raise SettingError(f"days must be 1 … {MAX_DAYS}, not {setting.days}")
    if setting.seed < 0:
        raise SettingError(f"seed must be 0 or more, not {setting.seed}")
    if not 0 <= setting.first_day < DAYS_PER_YEAR:
        raise SettingError(f"the first day must be 0 … {DAYS_PER_YEAR - 1}, not {setting.first_day}")

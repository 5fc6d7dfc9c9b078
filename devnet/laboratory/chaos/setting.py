"""What one run is: how many homes, how long, which faults, which enemies. A setting replays exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.parameters import BOUNDS

DAY_MS: Final = 86_400_000
SMALLEST: Final = 4
LARGEST: Final = 64
LONGEST_DAYS: Final = 3_650.0
SHORTEST_INTERVAL_MS: Final = 5_000
LONGEST_INTERVAL_MS: Final = BOUNDS["block_interval_ms"][1]

FaultId = tuple[int, int]
"""(height before which the storm or absence was drawn, number within it). 0 stands for an absence."""


class SettingError(ValueError):
    """Nobody can run that; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One run of ``days`` of virtual time, with ``interval_ms`` from block to block.

    ``storminess`` is the share of heights that begin in a storm; in a ``still`` one nothing happens by chance, only
    what enemies do to wires and fuses. ``style`` names the behaviour of all enemies, None draws them; of ``most``
    there are as many as less than a third allows. Where the neighbourhood ``forgives``, the expelled are registered
    anew. ``mutant`` names the rule that is broken, ``traffic`` is the number of transactions per height, ``skew_ms``
    how far clocks are off at the most. ``skipped`` faults do not happen: that is how a story is made shorter.
    """

    homes: int = 4
    days: float = 1.0
    seed: int = 0
    interval_ms: int = LONGEST_INTERVAL_MS
    storminess: float = 0.06
    still: bool = False
    forgives: bool = True
    enemies: bool = True
    most: bool = False
    style: str | None = None
    mutant: str | None = None
    traffic: float = 0.25
    skew_ms: int = 400
    skipped: frozenset[FaultId] = frozenset()

    @property
    def end_ms(self) -> int:
        return int(self.days * DAY_MS)


def check_setting(setting: Setting) -> None:
    """Errors: SettingError for the first thing that cannot be."""
    if not SMALLEST <= setting.homes <= LARGEST:
        raise SettingError(
            f"nodes must be {SMALLEST} … {LARGEST}, not {setting.homes}: among fewer than {SMALLEST} no home may fail"
        )
    if not 0 < setting.days <= LONGEST_DAYS:
        raise SettingError(f"days must be above 0 and at most {LONGEST_DAYS:g}, not {setting.days:g}")
    if setting.seed < 0:
        raise SettingError(f"seed must be 0 or more, not {setting.seed}")
    if not SHORTEST_INTERVAL_MS <= setting.interval_ms <= LONGEST_INTERVAL_MS:
        raise SettingError(
            f"the block interval must be {SHORTEST_INTERVAL_MS // 1000} … {LONGEST_INTERVAL_MS // 1000} s, not "
            f"{setting.interval_ms / 1000:g}"
        )

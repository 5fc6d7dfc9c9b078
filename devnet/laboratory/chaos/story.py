"""The shortest story of a failing run: which faults it takes, and what was said and done, in plain words.

1. A failing setting is run again with fewer faults, as long as it fails in the same way: first without traffic, then
   without halves, quarters … of its storms and of what happens in them. Every try is a whole run, so there are at most
   ``TRIES``, and no new one is begun after ``SECONDS`` of computing.
2. What is left is told once more: its weather, and of the height that failed who said what. Long stories lose their
   middle.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from devnet.laboratory.chaos.faults import Fault, FaultKind, Report
from devnet.laboratory.chaos.setting import DAY_MS, FaultId, Setting
from devnet.laboratory.chaos.world import World

TRIES: Final = 60
SECONDS: Final = 15.0
MAX_LINES: Final = 60
_LAST_LINES: Final = 40
_SPEECH: Final = (" votes ", " proposes ", " passes on ", " tells ")
_WEATHER: Final = (
    "storm",
    "cut off",
    "goes dark",
    "goes away",
    "the power of",
    "is full",
    "the clock of",
    "nobody hears",
)


def shorten(setting: Setting, report: Report) -> tuple[Setting, Report]:
    """The same failure with as few faults as are needed, as far as could be found."""
    tries = _Tries(setting, report)
    tries.attempt(replace(tries.setting, traffic=0.0))
    for size_of in (_storms, _each):
        groups = size_of(tries.report.weather)
        part = max(1, len(groups) // 2)
        while groups and not tries.is_over:
            left = [
                group for start in range(0, len(groups), part) for group in _kept(tries, groups[start : start + part])
            ]
            if part == 1:
                break
            groups, part = left, max(1, part // 2)
    return tries.setting, tries.report


def tell(setting: Setting) -> list[str]:
    """The story of a failing run, line by line."""
    world = World(setting)
    world.story = []
    report = world.run()
    fault = report.fault
    assert fault is not None, "a setting replays exactly"
    enemies = ", ".join(f"home {home} ({type(actor).__name__})" for home, actor in world.mind.actors.items())
    lines = [
        f"{setting.homes} homes, seed {setting.seed}; enemies: {enemies or 'none'}",
        *_told(world.story, fault, world),
    ]
    if len(lines) <= MAX_LINES:
        return lines
    left_out = len(lines) - MAX_LINES
    return [*lines[: MAX_LINES - _LAST_LINES], f"… {left_out} lines left out …", *lines[-_LAST_LINES:]]


def _told(story: list[tuple[int, str]], fault: Fault, world: World) -> list[str]:
    """The weather; and since the failing height opened what happened, and what was said by or to the homes that the
    fault names; by all if nobody goes on. Nothing is said twice.
    """
    opened_ms = 0
    for at_ms, words in story:
        if f"is the first to have height {fault.height - 1} final" in words:
            opened_ms = at_ms
    concerned = [f"home {number}" for number in world.homes if f"home {number} " in f"{fault.text} "]
    if fault.kind is FaultKind.HALT:
        concerned = []
    lines: list[str] = []
    told: set[str] = set()
    for at_ms, words in story:
        is_speech = any(verb in words for verb in _SPEECH)
        is_weather = any(word in words for word in _WEATHER)
        if at_ms < opened_ms and not is_weather:
            continue
        if is_speech and (words in told or (concerned and not _concerns(words, concerned))):
            continue
        told.add(words)
        lines.append(f"{_clock(at_ms)}  {words}")
    return lines


def _concerns(words: str, homes: list[str]) -> bool:
    if not words.startswith("byzantine"):
        return any(words.startswith(f"{home} ") for home in homes)
    targets = words.split(" tells ")[1].partition(":")[0].split(", ")
    return any(home.removeprefix("home ") in targets for home in homes)


def _clock(at_ms: int) -> str:
    """Day and time of day, to the millisecond."""
    days, rest_ms = divmod(at_ms, DAY_MS)
    seconds, ms = divmod(rest_ms, 1_000)
    return f"{days}d {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


class _Tries:
    """The best so far, and what it may still cost."""

    def __init__(self, setting: Setting, report: Report) -> None:
        self.setting = setting
        self.report = report
        self._left = TRIES
        self._until_s = time.process_time() + SECONDS

    @property
    def is_over(self) -> bool:
        return self._left == 0 or time.process_time() > self._until_s

    def attempt(self, setting: Setting) -> bool:
        """True, and taken, if it fails in the same way."""
        if self.is_over:
            return False
        self._left -= 1
        report = World(setting).run()
        fault, wanted = report.fault, self.report.fault
        assert wanted is not None
        if fault is None or (fault.kind, _gist(fault)) != (wanted.kind, _gist(wanted)) or fault.height > wanted.height:
            return False
        self.setting, self.report = setting, report
        return True


def _gist(fault: Fault) -> str:
    """The fault's words without names and numbers."""
    return " ".join(word for word in fault.text.split() if word.isalpha())


def _kept(tries: _Tries, groups: Sequence[frozenset[FaultId]]) -> list[frozenset[FaultId]]:
    """Tries without these; returns those that are needed."""
    skipped = tries.setting.skipped.union(*groups)
    return [] if tries.attempt(replace(tries.setting, skipped=skipped)) else list(groups)


def _storms(weather: Sequence[FaultId]) -> list[frozenset[FaultId]]:
    return [frozenset({fault}) for fault in weather if fault[1] == 0 or fault[1] >= 1_000_000]


def _each(weather: Sequence[FaultId]) -> list[frozenset[FaultId]]:
    return [frozenset({fault}) for fault in weather if 0 < fault[1] < 1_000_000]

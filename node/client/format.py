"""Amounts, energies, moments and names as people read and write them: the same in the command line and the terminal.

1. Integers in, text out; no float on the way, so that what is shown is exactly what the chain holds.
2. WATT and GRID have 2 to 6 decimals, VOTE and kWh 2 to 3: zeros beyond the second decimal are left out. Thousands are
   separated by a comma, the decimals by a point, a minus is U+2212.
3. ``aligned=True`` pads the missing decimals with spaces, so that right-aligned columns agree on the point.
4. Reading is strict: digits and one point, nothing else; more decimals than the unit has are refused, not rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

WATT_DECIMALS: Final = 6
GRID_DECIMALS: Final = 6
VOTE_DECIMALS: Final = 3
ENERGY_DECIMALS: Final = 3
SHOWN_DECIMALS: Final = 2

_AMOUNT: Final = re.compile(r"(\d{1,16})(?:\.(\d{1,9}))?")
_MAX_AMOUNT: Final = 2**63 - 1
_MINUS: Final = "−"
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class AmountError(ValueError):
    """The text is no amount of the unit; the message says what would be right."""


def decimal(value: int, decimals: int, *, aligned: bool = False) -> str:
    """``value`` counts units of 10^−decimals: ``decimal(1500000, 6)`` is ``1.50``."""
    assert decimals >= SHOWN_DECIMALS
    whole, fraction = divmod(abs(value), 10**decimals)
    digits = f"{fraction:0{decimals}d}"
    shown = digits[:SHOWN_DECIMALS] + digits[SHOWN_DECIMALS:].rstrip("0")
    sign = _MINUS if value < 0 else ""
    padding = " " * (decimals - len(shown)) if aligned else ""
    return f"{sign}{whole:,}.{shown}{padding}"


def watt(amount_uwatt: int, *, unit: bool = True, aligned: bool = False) -> str:
    """``12.50 WATT``."""
    return decimal(amount_uwatt, WATT_DECIMALS, aligned=aligned) + (" WATT" if unit else "")


def grid(amount_ugrid: int, *, unit: bool = True, aligned: bool = False) -> str:
    """``1,000.00 GRID``."""
    return decimal(amount_ugrid, GRID_DECIMALS, aligned=aligned) + (" GRID" if unit else "")


def vote(amount_mvote: int, *, unit: bool = True, aligned: bool = False) -> str:
    """``100.00 VOTE``."""
    return decimal(amount_mvote, VOTE_DECIMALS, aligned=aligned) + (" VOTE" if unit else "")


def energy(energy_wh: int, *, unit: bool = True, aligned: bool = False) -> str:
    """``1.25 kWh``."""
    return decimal(energy_wh, ENERGY_DECIMALS, aligned=aligned) + (" kWh" if unit else "")


def reputation(reputation_milli: int) -> str:
    """Reputation in whole points with two decimals, rounded down: 1000 per block produced."""
    return decimal(reputation_milli // 10, 2)


def count(value: int) -> str:
    """``12,345``."""
    return f"{value:,}".replace("-", _MINUS)


def percent(bps: int) -> str:
    """Basis points as a percentage with one decimal, half rounded up: ``24.9 %``."""
    tenths = (bps + 5) // 10
    return f"{tenths // 10}.{tenths % 10} %"


def part_bps(part: int, whole: int) -> int:
    """``part`` of ``whole`` in basis points, rounded down; 0 of nothing."""
    return part * 10_000 // whole if whole else 0


OUT_REASONS: Final = {
    "low_participation": "signed too little",
    "pool_too_small": "pool too small",
    "not_weighed_yet": "not weighed yet",
    "left_out": "left out when weighed",
}


def out_reason(word: str) -> str:
    """Why a candidate has no vote, for people; see ``models.Candidate``."""
    return OUT_REASONS.get(word, words(word))


def participation(signed: int, counted: int) -> str:
    """Blocks signed of those that could have been: ``47/48``; ``–`` before the first."""
    return f"{signed}/{counted}" if counted else "–"


def contradiction(first_kind: str, second_kind: str, height: int, view: int) -> str:
    """What somebody signed: ``notarize twice at block 12, view 0``."""
    kinds = f"{first_kind} twice" if first_kind == second_kind else f"{first_kind} and {second_kind}"
    return f"{kinds} at block {count(height)}, view {view}"


def size(size_bytes: int) -> str:
    """``1.5 KiB``, rounded down."""
    value, unit = size_bytes * 10, 0
    while value >= 10_240 and unit < len(_SIZES) - 1:
        value, unit = value // 1024, unit + 1
    return f"{value // 10:,} {_SIZES[unit]}" if unit == 0 else f"{value // 10:,}.{value % 10} {_SIZES[unit]}"


def duration(duration_ms: int | None) -> str:
    """Two places at the most, rounded down: ``820 ms``, ``3.4 s``, ``2 min 5 s``, ``3 h 12 min``, ``2 d 4 h``; ``–``
    for None.
    """
    if duration_ms is None:
        return "–"
    if duration_ms < 1_000:
        return f"{duration_ms} ms"
    seconds = duration_ms // 1_000
    if seconds < 60:
        return f"{seconds}.{duration_ms % 1_000 // 100} s"
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    if minutes < 60:
        return f"{minutes} min {seconds % 60} s"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days:,} d {hours % 24} h"


def latency(latency_us: int | None) -> str:
    """``0.8 ms``, ``12 ms``; ``–`` where it is not known."""
    if latency_us is None:
        return "–"
    if latency_us < 10_000:
        return f"{latency_us // 1_000}.{latency_us % 1_000 // 100} ms"
    return f"{latency_us // 1_000:,} ms"


def clock_time(time_ms: int, utc_offset_minutes: int = 0) -> str:
    """``14:03:22``, in the chain's local time if its offset is given."""
    return f"{_moment(time_ms, utc_offset_minutes):%H:%M:%S}"


def date_time(time_ms: int, utc_offset_minutes: int = 0) -> str:
    """``2026-05-01 14:03:22``."""
    return f"{_moment(time_ms, utc_offset_minutes):%Y-%m-%d %H:%M:%S}"


UNITS: Final[tuple[tuple[str, Callable[[int], str]], ...]] = (
    ("_uwatt_per_kwh", lambda value: f"{watt(value)}/kWh"),
    ("_uwatt", watt),
    ("_ugrid", grid),
    ("_mvote", vote),
    ("_wh", energy),
    ("_w", lambda value: f"{count(value)} W"),
    ("_bps", percent),
    ("_mv", lambda value: f"{decimal(value, 3)} V"),
    ("_mhz", lambda value: f"{decimal(value, 3)} Hz"),
)
"""The suffix of a field's name → how its value is written; moments and durations are the caller's."""
TOKENS: Final[dict[str, Callable[[int], str]]] = {"watt": watt, "grid": grid}
"""The token named beside an ``amount`` → how the amount is written."""


def words(word: str) -> str:
    """A word of the API for people: ``submit_reading`` is ``submit reading``."""
    return word.replace("_", " ")


def short(text: str, characters: int = 12) -> str:
    """A hash or an address by its beginning and end: ``3f9a01…c2d1``; texts that fit stay whole."""
    assert characters >= 5
    if len(text) <= characters:
        return text
    tail = (characters - 1) * 2 // 5
    return f"{text[: characters - 1 - tail]}…{text[-tail:]}"


def parse_watt(text: str) -> int:
    """uwatt. Errors: AmountError."""
    return parse_decimal(text, WATT_DECIMALS, "WATT")


def parse_grid(text: str) -> int:
    """ugrid. Errors: AmountError."""
    return parse_decimal(text, GRID_DECIMALS, "GRID")


def parse_vote(text: str) -> int:
    """mvote. Errors: AmountError."""
    return parse_decimal(text, VOTE_DECIMALS, "VOTE")


def parse_decimal(text: str, decimals: int, unit: str) -> int:
    """Reads ``12``, ``12.5`` or ``12.50``, with or without the unit's name behind. Errors: AmountError."""
    plain = text.strip().removesuffix(unit).strip()
    match = _AMOUNT.fullmatch(plain) if plain.isascii() else None
    if match is None:
        raise AmountError(f"{plain[:24]!r} is no amount of {unit}: write digits and a point, for instance 12.50")
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > decimals:
        raise AmountError(f"{unit} has {decimals} decimals at the most; {plain} has {len(fraction)}")
    value: int = int(whole) * 10**decimals + int(fraction.ljust(decimals, "0"))
    if value > _MAX_AMOUNT:
        raise AmountError(f"{plain} {unit} is more than there can be")
    return value


def _moment(time_ms: int, utc_offset_minutes: int) -> datetime:
    return datetime.fromtimestamp(time_ms // 1_000, UTC) + timedelta(minutes=utc_offset_minutes)

"""The only place where a node reads time."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

WallClock = Callable[[], int]
"""Milliseconds since 1970-01-01 UTC."""


def system_wall_ms() -> int:
    return time.time_ns() // 1_000_000


def skewed(clock: WallClock, skew_ms: int) -> WallClock:
    """A clock that is wrong by ``skew_ms``: what an operator gives a node to see it cope."""
    return lambda: clock() + skew_ms


def monotonic_ms() -> int:
    """Milliseconds on trio's clock: never set back, and virtual where trio's is.

    Rounded, not cut off: whoever slept until ``n / 1000`` seconds must find that it is ``n`` milliseconds, or it would
    sleep no time at all, again and again.
    """
    return round(trio.current_time() * 1000)

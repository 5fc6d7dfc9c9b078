"""Days as a meter would have seen them, and views on them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from home.autopilot.types import Limits, Measured, Terms, Totals, View, terms_of
from ledger.parameters import Parameters

PARAMETERS = Parameters()
TERMS: Terms = terms_of(PARAMETERS)
DAY = TERMS.periods_per_day
FIRST = 1_000 * DAY - 4  # local midnight: the chain's clock is an hour behind the homes'
ABUNDANT = Totals(export_wh=9_000, import_wh=1_000)
SCARCE = Totals(export_wh=1_000, import_wh=9_000)


def history_of(
    periods: int, load_wh: Callable[[int], int], production_wh: Callable[[int], int]
) -> tuple[Measured, ...]:
    """From local midnight on; both functions get the number of the quarter hour of the day."""
    rows = []
    for number in range(periods):
        load, production = load_wh(number), production_wh(number)
        drawn_wh, fed_in_wh = max(0, load - production), max(0, production - load)
        rows.append(Measured(FIRST + number, drawn_wh, fed_in_wh, production))
    return tuple(rows)


def sun(number: int) -> int:
    """A clear day: a parabola between six and eighteen o'clock, 900 Wh at noon."""
    quarter = number % DAY
    return max(0, 900 * (quarter - 24) * (72 - quarter) // 576)


def jagged(number: int) -> int:
    """A load that jumps between 60 and 180 Wh without any order."""
    return 60 + Random(number).randrange(121)


def view_of(history: tuple[Measured, ...], totals: Totals | None, **changes: object) -> View:
    """Right after the last measured period has ended; ``totals`` for each period of the day before."""
    now = history[-1].period + 1
    known = {} if totals is None else dict.fromkeys(range(now - DAY, now - 8), totals)
    facts: dict[str, object] = {
        "time_ms": now * TERMS.period_ms,
        "terms": TERMS,
        "limits": Limits(),
        "history": history,
        "export_limit_wh": 2_500,
        "balance_uwatt": 100_000_000,
        "neighbourhood": known,
    }
    return View(**(facts | changes))  # type: ignore[arg-type]  # the names are checked by View itself

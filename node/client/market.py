"""The market for programs that trade: which periods are meant, what an order locks, what it costs at the most.

A period is said as its number (``1963584``), a range of numbers (``1963584-1963587``), ``next``, or by the chain's
local clock: ``18:00``, ``tomorrow 18:00``, ``2026-05-01 18:00``, and strips of them: ``18:00-20:00``, ``18:00-20:00
for 7 days``. A time means the period that is running then; a range ends before its second time; ``24:00`` is midnight.
Without a day the next one is meant whose book is still open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from ledger.market.grid_fee import LOT_WH, TICK_UWATT_PER_KWH, FeeModel, Mechanism, amount_uwatt, highest_fee_rate
from ledger.market.grid_fee import Tariff as LedgerTariff
from ledger.market.matching import Side
from ledger.transactions import MAX_STRIP_PERIODS
from node.client.format import ENERGY_DECIMALS, WATT_DECIMALS, AmountError, count, parse_decimal
from node.client.models import AccountEffect, Market, Tariff

MAX_DAYS: Final = 31
_MS_PER_DAY: Final = 86_400_000
_NUMBERS: Final = re.compile(r"(\d{1,15})(?:-(\d{1,15}))?")
_CLOCK: Final = re.compile(
    r"(?:(today|tomorrow|\d{4}-\d{2}-\d{2}) +)?(\d{1,2}:\d{2}(?::\d{2})?)(?:-(\d{1,2}:\d{2}(?::\d{2})?))?"
    r"(?: +for +(\d{1,2}) +days?)?"
)
_EXAMPLES: Final = "a number, next, 18:00, 'tomorrow 18:00', or '18:00-20:00 for 7 days'"


class PeriodError(ValueError):
    """The text names no periods that can be ordered; the message says what would be right."""


def parse_energy(text: str) -> int:
    """Wh, in whole lots, from kWh. Errors: AmountError."""
    energy_wh = parse_decimal(text, ENERGY_DECIMALS, "kWh")
    if not energy_wh or energy_wh % LOT_WH:
        raise AmountError(f"energy is traded in lots of {LOT_WH} Wh: say it in steps of 0.01 kWh, not {text!r}")
    return energy_wh


def parse_price(text: str) -> int:
    """uwatt per kWh, in whole ticks, from WATT per kWh. Errors: AmountError."""
    price = parse_decimal(text.strip().removesuffix("/kWh"), WATT_DECIMALS, "WATT")
    if price % TICK_UWATT_PER_KWH:
        raise AmountError(f"prices are in steps of 0.0001 WATT per kWh, not {text!r}")
    return price


def parse_periods(text: str, market: Market) -> tuple[int, ...]:
    """The periods meant, ascending; at most ``MAX_STRIP_PERIODS``. Errors: PeriodError."""
    plain = " ".join(text.lower().split())
    numbers, clock = _NUMBERS.fullmatch(plain), _CLOCK.fullmatch(plain)
    if plain == "next":
        periods: Sequence[int] = (market.first_open_period,)
    elif numbers is not None:
        first = int(numbers[1])
        periods = range(first, int(numbers[2] or first) + 1)
    elif clock is not None:
        periods = _by_clock(clock, market)
    else:
        raise PeriodError(f"{text!r} is no period: say {_EXAMPLES}")
    if not 1 <= len(periods) <= MAX_STRIP_PERIODS:
        raise PeriodError(f"{text!r} are {count(len(periods))} periods; one order is for 1 to {MAX_STRIP_PERIODS}")
    if periods[-1] > market.last_open_period:
        raise PeriodError(
            f"the book of period {periods[-1]} is not open yet; the last that is is {market.last_open_period}"
        )
    return tuple(periods)


def _by_clock(match: re.Match[str], market: Market) -> list[int]:
    """Errors: PeriodError."""
    day, first, last, days = match.groups()
    begin_ms = _time_ms(first)
    length_ms = None if last is None else _time_ms(last) - begin_ms
    if begin_ms == _MS_PER_DAY or (length_ms is not None and length_ms <= 0):
        raise PeriodError(f"{match[0]!r} ends before it begins; say the day's end as 24:00")
    if days is not None and not 1 <= int(days) <= MAX_DAYS:
        raise PeriodError(f"for 1 to {MAX_DAYS} days, not {days}")
    offset_ms = market.utc_offset_minutes * 60_000
    midnight_ms = (market.now_ms + offset_ms) // _MS_PER_DAY * _MS_PER_DAY - offset_ms
    if day == "tomorrow":
        midnight_ms += _MS_PER_DAY
    elif day is not None and day != "today":
        midnight_ms = _midnight_ms(day) - offset_ms
    elif day is None and (midnight_ms + begin_ms) // market.period_ms < market.first_open_period:
        midnight_ms += _MS_PER_DAY
    found: set[int] = set()
    for later in range(int(days or 1)):
        start = (midnight_ms + later * _MS_PER_DAY + begin_ms) // market.period_ms
        end = start if length_ms is None else start + -(-length_ms // market.period_ms) - 1
        if end - start >= MAX_STRIP_PERIODS:
            raise PeriodError(f"{match[0]!r} are more than the {MAX_STRIP_PERIODS} periods one order is for")
        found.update(range(start, end + 1))
    return sorted(found)


def _time_ms(text: str) -> int:
    """Since midnight. Errors: PeriodError."""
    hours, minutes, seconds = (*map(int, text.split(":")), 0)[:3]
    time_ms = ((hours * 60 + minutes) * 60 + seconds) * 1_000
    if minutes > 59 or seconds > 59 or time_ms > _MS_PER_DAY:
        raise PeriodError(f"{text!r} is no time of day")
    return time_ms


def _midnight_ms(text: str) -> int:
    """Errors: PeriodError."""
    try:
        return int(datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC).timestamp()) * 1_000
    except ValueError as error:
        raise PeriodError(f"{text!r} is no day") from error


def period_text(period: int, period_ms: int, utc_offset_minutes: int, now_ms: int) -> str:
    """``18:00``, ``tomorrow 18:00`` or ``2026-05-01 18:00``; with seconds where periods are shorter than a minute."""
    offset = timedelta(minutes=utc_offset_minutes)
    start = datetime.fromtimestamp(period * period_ms / 1_000, UTC) + offset
    today = (datetime.fromtimestamp(now_ms / 1_000, UTC) + offset).date()
    clock = f"{start:%H:%M:%S}" if period_ms % 60_000 else f"{start:%H:%M}"
    if start.date() == today:
        return clock
    return f"tomorrow {clock}" if start.date() == today + timedelta(days=1) else f"{start:%Y-%m-%d} {clock}"


def ledger_tariff(tariff: Tariff) -> LedgerTariff:
    """The same, as the ledger reckons with it."""
    return LedgerTariff(
        mechanism=Mechanism[tariff.mechanism.upper()],
        retail=tariff.retail_uwatt_per_kwh,
        feed_in=tariff.feed_in_uwatt_per_kwh,
        fee_model=FeeModel[tariff.fee_model.upper()],
        fee_base=tariff.fee_base_uwatt_per_kwh,
        same_feeder_discount_bps=tariff.same_feeder_discount_bps,
        same_substation_discount_bps=tariff.same_substation_discount_bps,
        distance_surcharge_bps=tariff.distance_surcharge_bps,
        congestion_surcharge_bps=tariff.congestion_surcharge_bps,
        congestion_threshold_bps=tariff.congestion_threshold_bps,
        fee_of_value_bps=tariff.fee_of_value_bps,
    )


def lock_uwatt(tariff: Tariff, side: Side, energy_wh: int, limit: int) -> int:
    """What an order holds while it is open. For a purchase that is also the most that it can cost, grid fee included;
    for a sale the deposit that a shortfall would be paid from.
    """
    if side is Side.BUY:
        return amount_uwatt(energy_wh, limit + highest_fee_rate(ledger_tariff(tariff), limit))
    return amount_uwatt(energy_wh, tariff.retail_uwatt_per_kwh - limit)


class Outcome(NamedTuple):
    """What became of one order so far. ``rests_wh`` of it is in the book; value and fee are of what was filled."""

    period: int
    number: int
    side: str
    energy_wh: int
    limit_uwatt_per_kwh: int
    filled_wh: int
    rests_wh: int
    locked_uwatt: int
    value_uwatt: int
    fee_uwatt: int
    fills: list[AccountEffect]


def outcomes(effects: Sequence[AccountEffect], note: str | None, address: str) -> list[Outcome]:
    """The orders an account placed with a transaction, from that transaction's effects and its receipt's note."""
    own = [effect for effect in effects if effect.account.address == address]
    found = []
    for placed in (effect for effect in own if effect.kind == "order_placed"):
        assert placed.order is not None
        assert placed.side is not None
        fills = [one for one in own if one.kind == "order_filled" and one.order == placed.order]
        filled_wh = sum(one.energy_wh for one in fills)
        rests = placed.balance_uwatt != 0 or not note
        found.append(
            Outcome(
                period=placed.period,
                number=placed.order,
                side=placed.side,
                energy_wh=placed.energy_wh,
                limit_uwatt_per_kwh=placed.price_uwatt_per_kwh or 0,
                filled_wh=filled_wh,
                rests_wh=placed.energy_wh - filled_wh if rests else 0,
                locked_uwatt=-placed.balance_uwatt,
                value_uwatt=sum(amount_uwatt(one.energy_wh, one.price_uwatt_per_kwh or 0) for one in fills),
                fee_uwatt=sum(amount_uwatt(one.energy_wh, one.rate_uwatt_per_kwh or 0) for one in fills),
                fills=fills,
            )
        )
    return found

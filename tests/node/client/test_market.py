"""Which periods a text means, and what an order locks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.market.matching import Side
from ledger.market.open_orders import lock_uwatt as ledger_lock
from ledger.market.terms import tariff_of_parameters
from ledger.parameters import Parameters
from node.api.examples import MARKET, TARIFF
from node.client.format import AmountError
from node.client.market import (
    PeriodError,
    ledger_tariff,
    lock_uwatt,
    outcomes,
    parse_energy,
    parse_periods,
    parse_price,
    period_text,
)
from node.client.models import AccountEffect, Market, Party
from node.views.market import tariff_view

NOON_MS = 1_767_265_200_000  # 2026-01-01 12:00, where clocks are an hour ahead of UTC
PERIOD_MS = 900_000
NOW = NOON_MS // PERIOD_MS


def market(period_ms: int = PERIOD_MS, now_ms: int = NOON_MS + 60_000) -> Market:
    return replace(
        MARKET,
        now_ms=now_ms,
        period_ms=period_ms,
        utc_offset_minutes=60,
        first_open_period=now_ms // period_ms + 1,
        last_open_period=now_ms // period_ms + 672,
    )


@pytest.mark.parametrize(
    ("text", "first", "count"),
    [
        (str(NOW + 5), NOW + 5, 1),
        (f"{NOW}-{NOW + 3}", NOW, 4),
        ("next", NOW + 1, 1),
        ("18:00", NOW + 24, 1),
        ("18:07", NOW + 24, 1),
        ("Today  18:00", NOW + 24, 1),
        ("tomorrow 18:00", NOW + 24 + 96, 1),
        ("2026-01-03 00:00", NOW + 48 + 96, 1),
        ("18:00-20:00", NOW + 24, 8),
        ("23:30-24:00", NOW + 46, 2),
        ("18:00-18:20", NOW + 24, 2),
        ("12:00", NOW + 96, 1),  # this one's book is closed: tomorrow's
        ("today 12:00", NOW, 1),  # who says the day gets it, and the ledger's refusal
        ("7:00", NOW - 20 + 96, 1),
    ],
)
def test_periods_by_number_and_by_the_clock(text: str, first: int, count: int) -> None:
    assert parse_periods(text, market()) == tuple(range(first, first + count))


def test_a_strip_is_the_same_hours_of_several_days() -> None:
    periods = parse_periods("18:00-20:00 for 6 days", market())
    assert len(periods) == 48
    assert periods[:8] == tuple(range(NOW + 24, NOW + 32))
    assert periods[8:16] == tuple(range(NOW + 24 + 96, NOW + 32 + 96))
    assert parse_periods("tomorrow 18:00 for 2 days", market()) == (NOW + 24 + 96, NOW + 24 + 192)


def test_compressed_time_has_seconds() -> None:
    squeezed = market(10_000)
    (period,) = parse_periods("12:05:20", squeezed)
    assert period * 10_000 == NOON_MS + 320_000
    assert period_text(period, 10_000, 60, squeezed.now_ms) == "12:05:20"


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "-1", "18:60", "25:00", "24:00", "20:00-18:00", "18:00-18:00", "18:00 for 0 days"),
        *(
            "18:00 for 32 days",
            "2026-02-30 18:00",
            "0-96",
            "00:00-24:00 for 2 days",
            str(2**63),
            "18:00-20:00 for 7 days x",
        ),
        *("5-4", str(NOW + 673), "2099-01-01 18:00"),
    ],
)
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(PeriodError):
        parse_periods(text, market())


@pytest.mark.parametrize(
    ("ahead", "text"),
    [(24, "18:00"), (24 + 96, "tomorrow 18:00"), (24 + 192, "2026-01-03 18:00"), (-96, "2025-12-31 12:00")],
)
def test_periods_as_people_say_them(ahead: int, text: str) -> None:
    assert period_text(NOW + ahead, PERIOD_MS, 60, NOON_MS) == text


def test_energy_in_lots_and_prices_in_ticks() -> None:
    assert (parse_energy("1.5"), parse_energy("0.01 kWh")) == (1_500, 10)
    assert (parse_price("0.15"), parse_price("0.1234 WATT/kWh"), parse_price("0")) == (150_000, 123_400, 0)
    for text in ("0", "0.001", "1.2345", "-1", "1,5", "much"):
        with pytest.raises(AmountError):
            parse_energy(text)
    for text in ("0.00001", "0.12345", "-0.1", "€ 1"):
        with pytest.raises(AmountError):
            parse_price(text)


@pytest.mark.parametrize("model", [1, 2])
@pytest.mark.parametrize("side", list(Side))
def test_locks_are_the_ledgers(model: int, side: Side) -> None:
    tariff = tariff_of_parameters(replace(Parameters(), grid_fee_model=model))
    shown = tariff_view(0, tariff)
    assert ledger_tariff(shown) == tariff
    for energy_wh, limit in ((10, 80_000), (12_340, 123_400), (10**6, 300_000)):
        assert lock_uwatt(shown, side, energy_wh, limit) == ledger_lock(tariff, side, limit, energy_wh)
    assert lock_uwatt(TARIFF, Side.BUY, 700, 220_000) == 198_800


def effect(kind: str, who: str, energy_wh: int, balance_uwatt: int, order: int = 7) -> AccountEffect:
    return AccountEffect(
        height=3,
        index=1,
        time_ms=0,
        time="",
        kind=kind,
        transaction="aa",
        account=Party(address=who),
        other=Party(address="other"),
        period=NOW,
        side="buy",
        order=order,
        trade=1 if kind == "order_filled" else None,
        energy_wh=energy_wh,
        price_uwatt_per_kwh=200_000,
        rate_uwatt_per_kwh=10_000 if kind == "order_filled" else None,
        balance_uwatt=balance_uwatt,
    )


def test_outcomes_of_an_order_that_is_filled_in_part() -> None:
    effects = [
        effect("order_filled", "seller", 300, 0, order=2),
        effect("order_filled", "me", 300, -63_000),
        effect("order_placed", "me", 500, -52_800),
    ]
    (one,) = outcomes(effects, "", "me")
    assert (one.number, one.energy_wh, one.filled_wh, one.rests_wh, one.locked_uwatt) == (7, 500, 300, 200, 52_800)
    assert (one.value_uwatt, one.fee_uwatt) == (60_000, 3_000)
    # And where it met an order of its own, the rest was cancelled
    (cut,) = outcomes([*effects[:2], effect("order_placed", "me", 500, 0)], "own_order_met", "me")
    assert (cut.filled_wh, cut.rests_wh) == (300, 0)

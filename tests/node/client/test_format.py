"""Amounts and times as people see them: exact, and read back strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.client import format as text

AMOUNTS = st.integers(min_value=0, max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("uwatt", "shown"),
    [
        (0, "0.00 WATT"),
        (1, "0.000001 WATT"),
        (1_000, "0.001 WATT"),
        (12_500_000, "12.50 WATT"),
        (1_234_567_890_123, "1,234,567.890123 WATT"),
        (-115_600, "−0.1156 WATT"),
    ],
)
def test_watt_has_two_to_six_decimals(uwatt: int, shown: str) -> None:
    assert text.watt(uwatt) == shown


def test_aligned_amounts_agree_on_the_point() -> None:
    column = [text.watt(amount, unit=False, aligned=True).rjust(16) for amount in (1, 12_500_000, 1_234_560_000)]
    assert len({line.index(".") for line in column}) == 1
    assert len({len(line) for line in column}) == 1


def test_other_units() -> None:
    assert text.grid(1_000_000_000) == "1,000.00 GRID"
    assert text.vote(100_000) == "100.00 VOTE"
    assert text.vote(1_234) == "1.234 VOTE"
    assert text.energy(1_250) == "1.25 kWh"
    assert text.energy(7) == "0.007 kWh"
    assert text.reputation(7_999) == "7.99"
    assert text.percent(2_494) == "24.9 %"
    assert text.percent(2_495) == "25.0 %"
    assert text.percent(10_000) == "100.0 %"
    assert text.part_bps(1, 3) == 3_333
    assert text.part_bps(1, 0) == 0


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (None, "–"),
        (0, "0 ms"),
        (999, "999 ms"),
        (3_456, "3.4 s"),
        (125_000, "2 min 5 s"),
        (11_520_000, "3 h 12 min"),
        (187_200_000, "2 d 4 h"),
    ],
)
def test_durations(ms: int | None, shown: str) -> None:
    assert text.duration(ms) == shown


def test_latency_size_and_moments() -> None:
    assert text.latency(None) == "–"
    assert text.latency(840) == "0.8 ms"
    assert text.latency(12_400) == "12 ms"
    assert text.size(1_023) == "1,023 B"
    assert text.size(1_536) == "1.5 KiB"
    assert text.size(512 * 1024) == "512.0 KiB"
    assert text.clock_time(0, 60) == "01:00:00"
    assert text.date_time(1_767_225_599_999) == "2025-12-31 23:59:59"


def test_short_keeps_both_ends() -> None:
    assert text.short("ab" * 32) == "abababa…abab"
    assert text.short("short") == "short"
    assert len(text.short("x" * 64, 9)) == 9


@given(AMOUNTS)
def test_what_is_shown_reads_back_as_the_same_amount(amount: int) -> None:
    assert text.parse_watt(text.watt(amount).replace(",", "")) == amount
    assert text.parse_vote(text.vote(amount).replace(",", "")) == amount


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "no amount"),
        ("12,50", "no amount"),
        ("1,234.50", "no amount"),
        ("-5", "no amount"),
        ("1e6", "no amount"),
        (".5", "no amount"),
        ("5.", "no amount"),
        ("١٢", "no amount"),
        ("0.0000001", "6 decimals"),
        ("9999999999999999", "more than there can be"),
        ("5 GRID", "no amount"),
    ],
)
def test_what_is_no_amount_is_refused_with_what_would_be_right(written: str, complaint: str) -> None:
    with pytest.raises(text.AmountError, match=complaint):
        text.parse_watt(written)

"""Amounts in words."""

from __future__ import annotations

import pytest

from ledger.units import grid_text, vote_text, watt_text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (watt_text(0), "0 WATT"),
        (watt_text(1), "0.000001 WATT"),
        (watt_text(12_500_000), "12.5 WATT"),
        (watt_text(100_000_000_000), "100,000 WATT"),
        (grid_text(1_000_010), "1.00001 GRID"),
        (vote_text(1), "0.001 VOTE"),
        (vote_text(1_000), "1 VOTE"),
    ],
)
def test_an_amount_is_exact_and_without_needless_zeros(text: str, says: str) -> None:
    assert text == says

"""Amounts in words, for refusals: exact, in the unit people count in."""

from __future__ import annotations


def watt_text(amount_uwatt: int) -> str:
    """For instance ``12.5 WATT`` for 12,500,000 uwatt."""
    return f"{_decimal(amount_uwatt, 6)} WATT"


def grid_text(amount_ugrid: int) -> str:
    return f"{_decimal(amount_ugrid, 6)} GRID"


def vote_text(amount_mvote: int) -> str:
    """For instance ``0.001 VOTE`` for 1 mvote."""
    return f"{_decimal(amount_mvote, 3)} VOTE"


def _decimal(amount: int, decimals: int) -> str:
    assert amount >= 0
    whole, rest = divmod(amount, 10**decimals)
    fraction = f"{rest:0{decimals}d}".rstrip("0")
    return f"{whole:,}.{fraction}" if fraction else f"{whole:,}"

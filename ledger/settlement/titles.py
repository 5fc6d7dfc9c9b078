"""Why somebody owes somebody."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Title(IntEnum):
    """The last four are owed by or to the gateway. Numbers are never reused."""

    CONTRACT = 1
    TRADE = 2
    PROPERTY = 3
    POOL = 4
    RETAIL = 5
    FEED_IN = 6
    SHORTFALL = 7
    EXCESS = 8


PAID_FROM_ESCROW: Final = frozenset({Title.TRADE, Title.SHORTFALL})
"""Lines of these were paid when the period settled; all others wait for the bill."""

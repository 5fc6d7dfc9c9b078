"""What is stored beside a block: its receipts, what it did to accounts, and the facts by which its draw can be shown
again.
"""

from __future__ import annotations

from typing import Final

from ledger.block import Receipt
from ledger.effects import Effect, SettledLine
from ledger.encoding import Wire, decode
from node.draw_facts import DrawFacts

MAX_EFFECTS_BYTES: Final = 64 * 1024 * 1024
"""Strips enter many books at once: a block full of them has some 50,000 effects of 100 bytes each, and their fills."""


class Effects(Wire, frozen=True):
    """``accounts`` and ``lines`` are empty where the block was adopted with its state: nothing vouches for them."""

    receipts: tuple[Receipt, ...]
    draw: DrawFacts
    accounts: tuple[Effect, ...]
    lines: tuple[SettledLine, ...]


def decode_effects(data: bytes) -> Effects:
    """Errors: EncodingError."""
    return decode(data, Effects, MAX_EFFECTS_BYTES)

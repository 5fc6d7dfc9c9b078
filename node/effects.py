"""What is stored beside a block: its receipts, and the facts by which its draw can be shown again."""

from __future__ import annotations

from typing import Final

from ledger.block import Receipt
from ledger.encoding import Wire, decode
from node.draw_facts import DrawFacts

MAX_EFFECTS_BYTES: Final = 4 * 1024 * 1024


class Effects(Wire, frozen=True):
    receipts: tuple[Receipt, ...]
    draw: DrawFacts


def decode_effects(data: bytes) -> Effects:
    """Errors: EncodingError."""
    return decode(data, Effects, MAX_EFFECTS_BYTES)

"""Sets of committee seats as integers: seat i is bit i. As bytes they are bitmaps like a certificate's signers
(``consensus.certificates``, rule 1), here without trailing zero bytes.
"""

from __future__ import annotations

from collections.abc import Iterable


def mask_of(seats: Iterable[int]) -> int:
    mask = 0
    for seat in seats:
        mask |= 1 << seat
    return mask


def seats_in(mask: int) -> list[int]:
    """Ascending."""
    return [seat for seat in range(mask.bit_length()) if mask >> seat & 1]


def to_octets(mask: int) -> bytes:
    return mask.to_bytes(-(-mask.bit_length() // 8), "little")


def from_octets(octets: bytes) -> int:
    return int.from_bytes(octets, "little")

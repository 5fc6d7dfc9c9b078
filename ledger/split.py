"""Divides a whole number without losing any of it.

Largest remainder: each gets the floor of its exact part, and the units left over go one by one to those whose exact
part was cut the most, ties to the smaller id. So the result depends on the weights alone, not on their order.
"""

from __future__ import annotations

from collections.abc import Mapping


def split(quantity: int, weights: Mapping[bytes, int]) -> dict[bytes, int]:
    """Parts of ``quantity`` in proportion to ``weights``, by ascending id; they sum to ``quantity``, or are all zero
    when all weights are. No part exceeds its weight where ``quantity`` is at most their sum.
    """
    assert quantity >= 0
    assert all(weight >= 0 for weight in weights.values())
    total = sum(weights.values())
    ids = sorted(weights)
    if total == 0:
        return dict.fromkeys(ids, 0)
    parts = {key: quantity * weights[key] // total for key in ids}
    left_over = quantity - sum(parts.values())
    by_remainder = sorted(ids, key=lambda key: (-(quantity * weights[key] % total), key))
    for key in by_remainder[:left_over]:
        parts[key] += 1
    return parts

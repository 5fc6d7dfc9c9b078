"""Dividing a whole number: nothing lost, nobody wronged by more than one, the order of no matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.split import split

ids = st.binary(min_size=1, max_size=2)


def test_the_largest_remainder_gets_the_unit_left_over() -> None:
    # exact parts of 10: 1.67, 3.33, 5 → floors 1, 3, 5; one unit left, the first was cut the most
    assert split(10, {b"a": 1, b"b": 2, b"c": 3}) == {b"a": 2, b"b": 3, b"c": 5}


def test_ties_go_to_the_smaller_id() -> None:
    assert split(2, {b"c": 1, b"b": 1, b"a": 1}) == {b"a": 1, b"b": 1, b"c": 0}


def test_nothing_is_divided_where_all_weights_are_zero() -> None:
    assert split(7, {b"a": 0, b"b": 0}) == {b"a": 0, b"b": 0}
    assert split(7, {}) == {}


@given(st.integers(0, 10**15), st.dictionaries(ids, st.integers(0, 10**12), max_size=8))
def test_parts_sum_and_are_within_one_of_exact(quantity: int, weights: dict[bytes, int]) -> None:
    parts = split(quantity, weights)
    total = sum(weights.values())
    if total == 0:
        assert sum(parts.values()) == 0
        return
    assert sum(parts.values()) == quantity
    assert list(parts) == sorted(weights)
    for key, part in parts.items():
        assert abs(part * total - quantity * weights[key]) < total
        assert weights[key] or not part
    if quantity <= total:
        assert all(parts[key] <= weights[key] for key in parts)


@given(st.integers(0, 1000), st.dictionaries(ids, st.integers(0, 50), max_size=8), st.randoms())
def test_the_order_of_the_weights_does_not_matter(quantity: int, weights: dict[bytes, int], chance: object) -> None:
    items = list(weights.items())
    chance.shuffle(items)  # type: ignore[attr-defined]
    assert split(quantity, dict(items)) == split(quantity, weights)

"""Committees: seats, votes without weight, and what a quorum is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.committee import Committee, Seat
from ledger.records import CommitteeSnapshot, SnapshotMember


def member(number: int, weight: int) -> SnapshotMember:
    return SnapshotMember(bytes([number]) * 32, bytes([100 + number]) * 32, weight, 0, weight)


def committee(*weights: int) -> Committee:
    return Committee(CommitteeSnapshot(tuple(member(number, weight) for number, weight in enumerate(weights, 1))))


def test_seats_are_found_by_node_key() -> None:
    subject = committee(5, 7)
    assert len(subject) == 2
    assert subject.seats[1] == Seat(bytes([2]) * 32, bytes([102]) * 32, 7)
    assert subject.index_of_node_key(bytes([102]) * 32) == 1
    assert subject.index_of_node_key(bytes([2]) * 32) is None


def test_a_seat_without_weight_is_no_voter() -> None:
    subject = committee(5, 0)
    assert subject.index_of_node_key(bytes([102]) * 32) == 1
    assert subject.index_of_voter(bytes([102]) * 32) is None
    assert subject.index_of_voter(bytes([101]) * 32) == 0


@pytest.mark.parametrize(("weight", "enough"), [(0, False), (20, False), (21, True), (30, True)])
def test_a_quorum_is_more_than_two_thirds(weight: int, enough: bool) -> None:
    assert committee(10, 10, 10).is_quorum(weight) == enough


def test_nobody_is_no_quorum_of_nothing() -> None:
    assert not committee(0, 0).is_quorum(0)


@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=9), st.data())
def test_two_quorums_share_more_than_a_third(weights: list[int], data: st.DataObject) -> None:
    subject = committee(*weights)
    one, other = (data.draw(st.sets(st.sampled_from(range(len(weights))))) for _ in range(2))
    if all(subject.is_quorum(sum(weights[index] for index in seats)) for seats in (one, other)):
        assert 3 * sum(weights[index] for index in one & other) > sum(weights)


def test_seats_must_be_in_order_and_keys_unique() -> None:
    with pytest.raises(AssertionError, match="sorted"):
        Committee(CommitteeSnapshot((member(2, 1), member(1, 1))))
    twice = SnapshotMember(bytes([3]) * 32, bytes([101]) * 32, 1, 0, 1)
    with pytest.raises(AssertionError, match="one seat"):
        Committee(CommitteeSnapshot((member(1, 1), twice)))

"""Places are shared out among addresses."""

from __future__ import annotations

import pytest

from p2p.places import Places, group_of


def test_a_group_has_its_part_and_no_more() -> None:
    # Given four places, of which one group has two
    places = Places(4, 2)
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    # Then others have theirs, until all are taken
    assert [places.take(group) for group in "bcd"] == [True, True, False]
    assert places.taken == 4
    # And a place given back is free for anyone who has room
    places.give_back("b")
    assert not places.take("a")
    assert places.take("d")


def test_what_was_not_taken_cannot_be_given_back() -> None:
    with pytest.raises(AssertionError):
        Places(1, 1).give_back("a")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("circuit of alice", "circuit of alice", True),
    ],
)
def test_groups(one: str, other: str, same: bool) -> None:
    assert (group_of(one) == group_of(other)) is same

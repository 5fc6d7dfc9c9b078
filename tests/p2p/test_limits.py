"""Budgets and prices."""

from __future__ import annotations

import pytest

from p2p.limits import Limits, TokenBucket
from p2p.network import Offence


def test_a_bucket_holds_its_burst_and_refills_at_its_rate() -> None:
    # Given a bucket of five that gains two a second
    bucket = TokenBucket(rate=2, burst=5, now_s=100)
    # Then it gives five at once and no sixth
    assert [bucket.take(1, 100) for _ in range(6)] == [True] * 5 + [False]
    # And after a second two more, and after an hour not more than five
    assert [bucket.take(1, 101) for _ in range(3)] == [True, True, False]
    assert bucket.take(5, 3_700)
    assert not bucket.take(1, 3_700)


def test_what_does_not_fit_is_not_taken() -> None:
    bucket = TokenBucket(rate=0, burst=5, now_s=0)
    assert not bucket.take(6, 0)
    assert bucket.take(5, 0)


def test_every_offence_has_a_price() -> None:
    assert set(Limits().prices) == set(Offence)
    with pytest.raises(AssertionError):
        Limits(prices={Offence.FLOOD: 1})

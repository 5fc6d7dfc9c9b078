"""The breaker and the order of shedding, from facts alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from home.breaker import Facts, decide

ORDER = ("non_essential", "heating_and_cooling", "essential")


def facts(overdue_uwatt: int = 0, used_wh: int = 0, threshold_wh: int = 8_000, limit_wh: int = 10_000) -> Facts:
    return Facts(overdue_uwatt, used_wh, threshold_wh, limit_wh, ORDER)


def test_who_owes_nothing_on_a_feeder_with_room_has_power() -> None:
    found = decide(facts(used_wh=7_999))
    assert (found.is_open, found.shed) == (False, ())


def test_an_overdue_debt_opens_the_breaker_until_it_is_paid_whole() -> None:
    found = decide(facts(overdue_uwatt=1))
    assert (found.is_open, found.shed) == (True, ORDER)
    assert "0.000001 WATT" in found.reason
    assert not decide(facts(overdue_uwatt=0)).is_open


@pytest.mark.parametrize(
    ("used_wh", "shed"),
    [(8_000, ORDER[:1]), (8_999, ORDER[:1]), (9_000, ORDER[:2]), (10_000, ORDER[:2]), (50_000, ORDER[:2])],
)
def test_a_congested_feeder_sheds_in_the_templates_order(used_wh: int, shed: tuple[str, ...]) -> None:
    found = decide(facts(used_wh=used_wh))
    assert (found.is_open, found.shed) == (False, shed)
    assert "congested" in found.reason


def test_a_feeder_without_a_limit_is_never_congested() -> None:
    assert decide(facts(used_wh=10**9, threshold_wh=0, limit_wh=0)).shed == ()


@given(
    overdue_uwatt=st.integers(0, 10**12),
    used_wh=st.integers(0, 10**9),
    limit_wh=st.integers(0, 10**9),
    threshold_bps=st.integers(0, 10_000),
    order=st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), unique=True).map(tuple),
)
def test_more_congestion_never_sheds_less_and_never_what_is_essential(
    overdue_uwatt: int, used_wh: int, limit_wh: int, threshold_bps: int, order: tuple[str, ...]
) -> None:
    one = Facts(overdue_uwatt, used_wh, limit_wh * threshold_bps // 10_000, limit_wh, order)
    found = decide(one)
    more = decide(Facts(overdue_uwatt, 2 * used_wh, one.threshold_wh, limit_wh, order))
    assert found.shed == order[: len(found.shed)]
    assert more.shed[: len(found.shed)] == found.shed
    assert found.is_open == (overdue_uwatt > 0)
    assert found.is_open or not order or order[-1] not in found.shed

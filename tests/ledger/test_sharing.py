"""Sharing pools on the chain: who may do what, from when it counts, and who gets what of what was produced."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.agreements import POOL_MEMBERSHIPS, POOL_TERMS, SHARING_POOLS, PoolShare
from ledger.records import Role
from ledger.refusal import Refusal
from ledger.settlement.settle import PoolRule
from ledger.settlement.titles import Title
from ledger.sharing import pools_in, standing_membership
from ledger.transactions import (
    JoinPool,
    LeavePool,
    OpenPool,
    Payload,
    RegisterMember,
    SetPoolRule,
    Transfer,
)
from tests.ledger.agreed import NEXT, do, do_at_gate, key, lines, meter, pool, settle_up_to, street
from tests.ledger.neighbourhood import UTILITY, Neighbourhood

SHARES = (("anne", 5_000), ("bob", 3_000), ("carla", 2_000))
PRODUCES, CONSUMES, BOTH = 1, 2, 3


def join(roles: int = CONSUMES, lowest: int = 0, highest: int = 300_000, number: int = 1) -> JoinPool:
    return JoinPool(pool=number, roles=roles, lowest_uwatt_per_kwh=lowest, highest_uwatt_per_kwh=highest)


def set_rule(rule: int = 1, price: int = 100_000, *shares: tuple[str, int], number: int = 1) -> SetPoolRule:
    named = tuple(PoolShare(account=key(name), share_bps=bps) for name, bps in shares)
    return SetPoolRule(pool=number, rule=rule, price_uwatt_per_kwh=price, shares=named)


def with_pool(*consumers: str, **terms: Any) -> Neighbourhood:
    """George's, and who joined it."""
    made = street()
    assert do(made, "george", pool(*SHARES, **terms)) is None
    for name in consumers:
        assert do(made, name, join()) is None
    return made


def members_in(made: Neighbourhood, period: int) -> set[str]:
    found = pools_in(made.state, period)
    return {name for name in ("anne", "bob", "carla", "george") for one in found if key(name) in _all(one)}


def _all(one: Any) -> set[bytes]:
    return set(one.producers) | set(one.shares_bps)


class TestSharing:
    def test_george_generates_anne_gets_half_bob_a_third_part_and_carla_the_rest(self) -> None:
        # Given E-Cloud's own example
        made = with_pool("anne", "bob", "carla", rule=PoolRule.FIXED)
        # When george feeds in 1 kWh and all need more than their share
        meter(made, NEXT, george=(1_000, 0), anne=(0, 700), bob=(0, 400), carla=(0, 500))
        # Then each has its share at the pool's price, pays the grid, and buys what it still needs
        assert lines(made, Title.POOL) == [
            (Title.POOL, "anne", "george", 500, 50_000, 12_000),
            (Title.POOL, "bob", "george", 300, 30_000, 7_200),
            (Title.POOL, "carla", "george", 200, 20_000, 4_800),
        ]
        assert {line[1:4] for line in lines(made, Title.RETAIL)} == {
            ("anne", UTILITY, 200),
            ("bob", UTILITY, 100),
            ("carla", UTILITY, 300),
        }
        assert not lines(made, Title.FEED_IN)

    def test_what_fixed_shares_leave_over_goes_to_the_grid_and_with_both_to_who_needs_it(self) -> None:
        for rule, carla_wh, fed_in_wh in ((PoolRule.FIXED, 200, 400), (PoolRule.BOTH, 500, 100)):
            made = with_pool("anne", "bob", "carla", rule=rule)
            meter(made, NEXT, george=(1_000, 0), anne=(0, 100), bob=(0, 300), carla=(0, 500))
            assert [line[3] for line in lines(made, Title.POOL) if line[1] == "carla"] == [carla_wh]
            assert [line[3] for line in lines(made, Title.FEED_IN)] == [fed_in_wh]

    def test_the_share_of_who_has_not_joined_is_left_over(self) -> None:
        made = with_pool("anne", rule=PoolRule.FIXED)
        meter(made, NEXT, george=(1_000, 0), anne=(0, 700), bob=(0, 400))
        assert [line[1:4] for line in lines(made, Title.POOL)] == [("anne", "george", 500)]

    def test_a_prosumer_is_each_period_that_of_which_it_has_more_and_never_pays_itself(self) -> None:
        made = street()
        assert do(made, "george", pool(rule=PoolRule.PROPORTIONAL, roles=BOTH)) is None
        assert do(made, "anne", join(BOTH)) is None
        meter(made, NEXT, george=(1_000, 50), anne=(30, 600))
        assert [line[1:4] for line in lines(made, Title.POOL)] == [("anne", "george", 600)]
        assert {line[1:4] for line in lines(made, Title.RETAIL)} == {("george", UTILITY, 50)}

    def test_who_is_silent_takes_no_part(self) -> None:
        made = with_pool("anne", "bob")
        meter(made, NEXT, george=(1_000, 0), anne=(0, 700))
        assert {line[1] for line in lines(made, Title.POOL)} == {"anne"}


class TestConsent:
    def test_nobody_pays_more_or_gets_less_than_it_agreed_to(self) -> None:
        made = with_pool()
        assert do(made, "anne", join(CONSUMES, 0, 100_000)) is None
        assert do(made, "bob", join(CONSUMES, 0, 120_000)) is None
        assert do(made, "carla", join(PRODUCES, 90_000, 300_000)) is None
        for price, taking_part in (
            (100_000, {"anne", "bob", "carla", "george"}),
            (120_000, {"bob", "carla", "george"}),
            (120_100, {"carla", "george"}),
            (80_000, {"anne", "bob", "george"}),
        ):
            assert do(made, "george", set_rule(1, price)) is None
            assert members_in(made, NEXT) == taking_part, price

    def test_only_the_founder_sets_the_rule(self) -> None:
        made = with_pool("anne")
        assert do(made, "anne", set_rule(1, 0, ("anne", 10_000))) is Refusal.NOT_FOUNDER
        assert do(made, "george", set_rule(2, 90_000, ("anne", 10_000))) is None
        (one,) = pools_in(made.state, NEXT)
        assert (one.rule, one.price, one.shares_bps) == (PoolRule.PROPORTIONAL, 90_000, {key("anne"): 10_000})


class TestFreezing:
    @pytest.mark.parametrize(("early_ms", "counts"), [(1, True), (0, False)])
    def test_who_joins_before_the_gate_closes_is_in_and_who_joins_after_it_is_not(
        self, early_ms: int, counts: bool
    ) -> None:
        made = with_pool("bob")
        assert do_at_gate(made, "anne", join(), early_ms) is None
        assert (members_in(made, NEXT) == {"anne", "bob", "george"}) is counts
        assert members_in(made, NEXT + 1) == {"anne", "bob", "george"}
        meter(made, NEXT, george=(1_000, 0), anne=(0, 700), bob=(0, 100))
        assert bool([line for line in lines(made, Title.POOL) if line[1] == "anne"]) is counts

    @pytest.mark.parametrize(("early_ms", "counts"), [(1, False), (0, True)])
    @pytest.mark.parametrize("leaver", ["anne", "george"])
    def test_who_leaves_after_the_gate_has_closed_is_still_in(self, early_ms: int, counts: bool, leaver: str) -> None:
        made = with_pool("anne", "bob")
        made.block(after_ms=1)
        assert do_at_gate(made, leaver, LeavePool(pool=1), early_ms) is None
        gone = {"anne"} if leaver == "anne" else {"anne", "bob", "george"}
        assert members_in(made, NEXT) == ({"anne", "bob", "george"} if counts else {"anne", "bob", "george"} - gone)
        assert members_in(made, NEXT + 1) == {"anne", "bob", "george"} - gone

    @pytest.mark.parametrize(("early_ms", "price"), [(1, 200_000), (0, 100_000)])
    def test_a_rule_set_after_the_gate_has_closed_holds_from_the_next_period_on(
        self, early_ms: int, price: int
    ) -> None:
        made = with_pool("anne")
        assert do_at_gate(made, "george", set_rule(1, 200_000), early_ms) is None
        assert [one.price for one in pools_in(made.state, NEXT)] == [price]
        assert [one.price for one in pools_in(made.state, NEXT + 1)] == [200_000]

    def test_one_may_leave_a_pool_and_join_another_without_being_in_both(self) -> None:
        made = with_pool("anne")
        assert do(made, "bob", OpenPool("barn", PRODUCES, 1, 90_000, ())) is None
        assert do_at_gate(made, "anne", LeavePool(pool=1), 0) is None
        assert do(made, "anne", join(number=2)) is None
        for period, number in ((NEXT, 1), (NEXT + 1, 2)):
            assert [one.number for one in pools_in(made.state, period) if key("anne") in _all(one)] == [number]

    def test_who_leaves_before_it_counted_leaves_nothing_behind(self) -> None:
        made = with_pool("anne")
        assert do(made, "anne", LeavePool(pool=1)) is None
        assert [place[:32] for place, _ in POOL_MEMBERSHIPS.scan(made.state)] == [key("george")]
        assert do(made, "anne", join()) is None


class TestForgetting:
    def test_what_ended_goes_with_the_last_period_in_which_it_counted(self) -> None:
        made = with_pool("anne", "bob")
        assert do_at_gate(made, "george", set_rule(1, 200_000), 0) is None
        assert do_at_gate(made, "anne", LeavePool(pool=1), 0, NEXT + 1) is None
        settle_up_to(made, NEXT)
        assert len(list(POOL_TERMS.scan(made.state))) == 1
        assert standing_membership(made.state, key("anne")) is None
        assert len(list(POOL_MEMBERSHIPS.scan(made.state, key("anne")))) == 1
        settle_up_to(made, NEXT + 1)
        assert not list(POOL_MEMBERSHIPS.scan(made.state, key("anne")))

    def test_when_the_founder_leaves_nothing_remains(self) -> None:
        made = with_pool("anne", "bob")
        made.block()
        assert do(made, "george", LeavePool(pool=1)) is None
        assert {entry.account for entry in made.last_result.history} >= {key("george"), key("anne"), key("bob")}
        assert do(made, "carla", join()) is Refusal.UNKNOWN_POOL
        settle_up_to(made, NEXT)
        for table in (SHARING_POOLS, POOL_TERMS, POOL_MEMBERSHIPS):
            assert not list(table.scan(made.state))
        # a new one has a new number
        assert do(made, "george", pool()) is None
        assert [int.from_bytes(place, "big") for place, _ in SHARING_POOLS.scan(made.state)] == [2]


class TestRefused:
    @pytest.mark.parametrize(
        ("payload", "refusal"),
        [
            (OpenPool("Roof!", 1, 1, 0, ()), Refusal.BAD_NAME),
            (OpenPool("roof", 0, 1, 0, ()), Refusal.MALFORMED),
            (OpenPool("roof", 4, 1, 0, ()), Refusal.MALFORMED),
            (OpenPool("roof", 1, 4, 0, ()), Refusal.MALFORMED),
            (OpenPool("roof", 1, 1, 50, ()), Refusal.OFF_TICK),
            (OpenPool("roof", 1, 1, 10**8 + 100, ()), Refusal.AMOUNT_OVERFLOW),
            (pool(("anne", 6_000), ("bob", 4_001)), Refusal.BAD_SHARES),
            (pool(("anne", 1), ("anne", 1)), Refusal.BAD_SHARES),
            (set_rule(1, 100_000, ("anne", 10_000), ("bob", 1)), Refusal.BAD_SHARES),
            (join(0), Refusal.MALFORMED),
            (join(2, 100, 0), Refusal.MALFORMED),
        ],
    )
    def test_what_no_state_can_mend_has_no_place_in_a_block(self, payload: Payload, refusal: Refusal) -> None:
        made = street()
        transaction = made.sign("bob", payload)
        assert made.admission(transaction) is refusal
        assert made.is_invalid(transaction, after_ms=1)

    @pytest.mark.parametrize(
        ("name", "payload", "refusal"),
        [
            ("bob", pool(), Refusal.NAME_TAKEN),
            ("bob", OpenPool("barn", 1, 1, 0, (PoolShare(b"x" * 32, 1),)), Refusal.NOT_A_MEMBER),
            ("anne", OpenPool("barn", 1, 1, 0, ()), Refusal.ALREADY_IN_POOL),
            ("anne", join(), Refusal.ALREADY_IN_POOL),
            ("bob", join(number=9), Refusal.UNKNOWN_POOL),
            ("bob", LeavePool(1), Refusal.NOT_IN_POOL),
            ("anne", LeavePool(2), Refusal.NOT_IN_POOL),
            ("george", set_rule(number=9), Refusal.UNKNOWN_POOL),
            ("bob", set_rule(), Refusal.NOT_FOUNDER),
            (UTILITY, join(), Refusal.GATEWAY_DOES_NOT_TRADE),
            (UTILITY, OpenPool("barn", 1, 1, 0, ()), Refusal.GATEWAY_DOES_NOT_TRADE),
        ],
    )
    def test_what_the_state_forbids_changes_nothing(self, name: str, payload: Payload, refusal: Refusal) -> None:
        made = with_pool("anne")
        before = list(POOL_MEMBERSHIPS.scan(made.state)), list(SHARING_POOLS.scan(made.state))
        assert do(made, name, payload) is refusal
        assert (list(POOL_MEMBERSHIPS.scan(made.state)), list(SHARING_POOLS.scan(made.state))) == before

    def test_who_is_no_member_has_no_meter_or_no_gateway(self) -> None:
        made = with_pool()
        dora = key("dora")
        do(made, "anne", Transfer(recipient=dora, token=1, amount=10**8, memo=""))
        assert do(made, "dora", join()) is Refusal.NOT_A_MEMBER
        do(made, "anne", RegisterMember(account=dora, name="dora", roles=int(Role(0)), feeder="feeder-1"))
        assert do(made, "dora", join()) is Refusal.NO_CONNECTION_METER
        assert do(street(with_gateway=False), "bob", pool()) is Refusal.NO_GATEWAY

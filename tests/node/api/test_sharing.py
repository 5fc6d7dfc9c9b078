"""Pools and contracts over the API: what it says of a street that shares, and of what is not there."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from ledger.agreements import PoolShare, PreferredPrice
from ledger.contracts.templates import TEMPLATES, delivers_in
from ledger.market.terms import first_open_period
from ledger.settlement.lines import next_period
from ledger.state import State
from ledger.transactions import (
    AttestMember,
    ChangeContractPrice,
    EndContract,
    JoinPool,
    LeavePool,
    OfferContract,
    OpenPool,
    Payload,
    SetPoolRule,
    SubscribeContract,
)
from node.client.errors import ApiProblem
from node.client.events import ContractChanged, NodeEvent, PoolChanged, Warned
from node.client.models import Problem
from tests.node.api.household import Household, household, served

pytestmark = pytest.mark.trio

PERIODS = 8


def do(home: Household, who: str, *payloads: Payload) -> None:
    home.produce([home.made.sign(who, payload, ahead=ahead) for ahead, payload in enumerate(payloads)])


def first_delivering(home: Household) -> int:
    """The first period that is open in which a residential contract delivers."""
    parameters = home.made.open.parameters
    period = first_open_period(parameters, home.now_ms)
    return next(one for one in range(period, period + 96) if delivers_in(TEMPLATES[1], parameters, one))


def sharing(home: Household) -> int:
    """George's pool and his offer at 0.15, for bob at 0.14; bob and carla are in both. Returns the offer's first
    period.
    """
    made = home.made
    home.produce()
    shares = tuple(PoolShare(made.home(name).id, bps) for name, bps in (("bob", 3_000), ("anne", 5_000)))
    do(home, "george", OpenPool("sunny-side", 1, 3, 100_000, shares))
    start = first_delivering(home)
    preferred = (PreferredPrice(made.home("bob").id, 140_000),)
    do(home, "george", OfferContract(1, 500, start, start + PERIODS, 150_000, preferred))
    for name in ("bob", "carla"):
        do(home, name, JoinPool(1, 2, 0, 100_000), SubscribeContract(1, 300, 150_000))
    return start


def settle(home: Household, period: int) -> None:
    """Blocks until the period, which has ended or is to end now, is settled."""
    end_ms = (period + 1) * home.made.open.parameters.period_ms
    home.produce(time_ms=max(end_ms, home.made.open.earliest_ms))
    while True:
        with home.chain.snapshot() as view:
            if next_period(State(view)) > period:
                return
        home.produce()


async def problem_of(question: Awaitable[Any]) -> Problem:
    with pytest.raises(ApiProblem) as caught:
        await question
    return caught.value.problem


async def test_pools_with_members_shares_and_who_is_willing(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        sharing(home)
        do(home, "george", SetPoolRule(1, 1, 110_000, (PoolShare(home.made.home("bob").id, 3_000),)))
        do(home, "bob", LeavePool(1), JoinPool(1, 3, 0, 120_000))
        async with served(tmp_path, home) as serving:
            # When
            pools = await serving.client.pools()
            # Then
            (pool,) = pools.pools
            assert (pool.pool, pool.name, pool.founder.name, pool.rule) == (1, "sunny-side", "george", "fixed")
            assert (pool.price_uwatt_per_kwh, pool.until_period) == (110_000, None)
            assert pool.from_period <= pools.next_open_period
            assert [(share.member.name, share.share_bps) for share in pool.shares] == [("bob", 3_000)]
            members = {one.member.name: (one.roles, one.share_bps, one.willing) for one in pool.members}
            assert members == {
                "george": (["producer"], 0, True),
                "bob": (["producer", "consumer"], 3_000, True),
                "carla": (["consumer"], 0, False),
            }
            # And one, by number and by name
            assert await serving.client.pool(1) == await serving.client.pool("sunny-side") == pool
            for unknown in (2, "shady-side"):
                assert (await problem_of(serving.client.pool(unknown))).status == 404


async def test_contracts_with_subscriptions_and_what_ending_them_costs(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        start = sharing(home)
        do(home, "george", ChangeContractPrice(1, 160_000, (PreferredPrice(home.made.home("bob").id, 130_000),)))
        async with served(tmp_path, home) as serving:
            # When
            contract = await serving.client.contract(1)
            # Then
            assert (contract.seller.name, contract.template, contract.limit_wh) == ("george", "residential", 500)
            assert (contract.from_period, contract.end_period, contract.until_period) == (
                start,
                start + PERIODS,
                start + PERIODS,
            )
            assert (contract.price_uwatt_per_kwh, contract.stake_ugrid) == (160_000, 10_000_000)
            assert [(one.member.name, one.price_uwatt_per_kwh) for one in contract.preferred] == [("bob", 130_000)]
            found = {one.buyer.name: one for one in contract.subscriptions}
            assert {name: (one.price_uwatt_per_kwh, one.agreed_uwatt_per_kwh) for name, one in found.items()} == {
                "bob": (130_000, 140_000),
                "carla": (160_000, 150_000),
            }
            # 300 Wh at 0.14 are 42,000 uwatt; of eight periods five are within the template's hours of a week
            assert (found["bob"].collateral_uwatt, found["bob"].early_uwatt, found["bob"].late_uwatt) == (
                21_000,
                4_200,
                10_500,
            )
            assert (await serving.client.contracts()).contracts == [contract]
            assert (await problem_of(serving.client.contract(2))).status == 404


async def test_contracts_in_pages(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce()
        start = first_delivering(home)
        do(home, "george", *(OfferContract(1, 100, start, start + 1, 150_000, ()) for _ in range(5)))
        async with served(tmp_path, home) as serving:
            first = await serving.client.contracts(limit=2)
            second = await serving.client.contracts(before=first.next_before, limit=2)
            third = await serving.client.contracts(before=second.next_before, limit=2)
            pages = [[one.offer for one in page.contracts] for page in (first, second, third)]
            assert pages == [[5, 4], [3, 2], [1]]
            assert third.next_before is None


async def test_templates_are_all_there_with_every_field(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            residential, commercial = (await serving.client.templates()).templates
            assert (residential.template, commercial.template) == ("residential", "commercial")
            assert commercial.licences == ["commercial_energy_license", "grid_code_compliance"]
            assert (residential.first_hour, residential.last_hour, commercial.weekdays) == (6, 22, [0, 1, 2, 3, 4])
            assert [(one.from_hour, one.price_bps) for one in residential.time_of_use] == [
                (6, 10_000),
                (12, 12_000),
                (18, 15_000),
                (22, 8_000),
            ]
            assert (residential.deliveries_by, commercial.deliveries_by) == ("hour", "period")
            assert (residential.arbitration, residential.escalation_hours) == ("oracle", 24)


async def test_deliveries_follow_what_was_settled(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        start = sharing(home)
        made, period_ms = home.made, home.made.open.parameters.period_ms
        grown = {"george": (0, 400), "bob": (150, 0), "carla": (250, 0)}
        home.produce([made.read(name, 0, 0, period=start - 1) for name in grown], time_ms=start * period_ms)
        readings = [made.read(name, *energies, period=start) for name, energies in grown.items()]
        home.produce(readings, time_ms=(start + 1) * period_ms)
        settle(home, start)
        async with served(tmp_path, home) as serving:
            # When
            page = await serving.client.deliveries(1)
            # Then: bob's preferred price goes first; carla gets what is left
            assert {one.buyer.name: (one.energy_wh, one.amount_uwatt) for one in page.deliveries} == {
                "bob": (150, 21_000),
                "carla": (250, 37_500),
            }
            assert {one.start_ms for one in page.deliveries} == {page.deliveries[0].period * period_ms}
            assert start - 4 < page.deliveries[0].period <= start
            assert page.next_before is None
            assert (await serving.client.deliveries(1, before=page.deliveries[0].period)).deliveries == []
            assert (await problem_of(serving.client.deliveries(9))).status == 404


async def test_an_account_s_own_agreements(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        sharing(home)
        do(home, "anne", AttestMember(home.made.home("bob").id, 3))
        async with served(tmp_path, home) as serving:
            bob, anne = await serving.client.agreements("bob"), await serving.client.agreements("anne")
            george = await serving.client.agreements("george")
            # Then
            assert bob.licences == ["commercial_energy_license", "grid_code_compliance"]
            assert [pool.name for pool in bob.pools] == ["sunny-side"]
            assert ([one.offer for one in bob.selling], [one.offer for one in bob.buying]) == ([], [1])
            assert ([one.offer for one in george.selling], [one.offer for one in george.buying]) == ([1], [])
            assert (anne.licences, anne.pools, anne.selling, anne.buying) == ([], [], [], [])
            assert (await problem_of(serving.client.agreements("nobody"))).status == 404


async def test_payloads_are_shown_in_words(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce()
        made = home.made
        opened = made.sign("george", OpenPool("barn", 3, 2, 100_000, (PoolShare(made.home("bob").id, 3_000),)))
        attested = made.sign("anne", AttestMember(made.home("bob").id, 1))
        home.produce([opened, attested])
        async with served(tmp_path, home) as serving:
            payload = (await serving.client.transaction(opened.id.hex())).payload
            assert (payload["roles"], payload["rule"]) == (["producer", "consumer"], "proportional")
            assert payload["shares"][0]["account"]["name"] == "bob"
            payload = (await serving.client.transaction(attested.id.hex())).payload
            assert payload["licences"] == ["commercial_energy_license"]


async def test_what_happens_is_told_once(tmp_path: Path) -> None:
    with household(tmp_path) as home, home.events.subscribe() as events:
        start = sharing(home)
        do(home, "george", ChangeContractPrice(1, 150_000, ()), SetPoolRule(1, 1, 90_000, ()))
        do(home, "carla", LeavePool(1), EndContract(1))
        do(home, "george", LeavePool(1), EndContract(1))
        settle(home, start)
        # Then
        end = Warned(text="that was all", cleared=False)
        home.events.publish(end)
        told: list[NodeEvent] = []
        while end not in told:
            event = await events.next()
            assert event is not None
            told.append(event)
        pools = [(one.change, one.member.name) for one in told if isinstance(one, PoolChanged)]
        assert pools == [
            ("opened", "george"),
            ("joined", "bob"),
            ("joined", "carla"),
            ("rule_set", "george"),
            ("left", "carla"),
            ("ended", "george"),
        ]
        assert {(one.pool, one.name) for one in told if isinstance(one, PoolChanged)} == {(1, "sunny-side")}
        contracts = [(one.change, one.member.name) for one in told if isinstance(one, ContractChanged)]
        assert contracts == [
            ("offered", "george"),
            ("subscribed", "bob"),
            ("subscribed", "carla"),
            ("price_changed", "george"),
            ("ended", "carla"),
            ("ended", "george"),
            ("over", "george"),
        ]
        assert {one.seller.name for one in told if isinstance(one, ContractChanged)} == {"george"}

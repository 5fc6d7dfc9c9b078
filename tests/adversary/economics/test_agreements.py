"""Pools and contracts as a way round: no grid fee saved by a price on paper, nothing joined or ended once a period is
seen, nothing escaped by silence, nothing sold twice.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ledger.agreements import PoolRole, PreferredPrice
from ledger.contracts.templates import TemplateKind
from ledger.market.grid_fee import FeeModel
from ledger.refusal import Refusal
from ledger.settlement.settle import PoolRule
from ledger.transactions import (
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
from tests.adversary.economics.world import (
    FEE_UWATT,
    FEED_IN,
    RETAIL,
    SAME_FEEDER_FEE,
    SELL,
    SIX_IN_THE_MORNING,
    World,
    kwh,
)
from tests.ledger.neighbourhood import PERIOD_MS, account_key

CHEAPEST, DEAREST = 50_000, 500_000
"""A residential contract's prices."""
GIVES, TAKES = int(PoolRole.PRODUCER), int(PoolRole.CONSUMER)
PERIODS = 20
KWH = 1_000


def open_pool(price: int) -> OpenPool:
    return OpenPool(name="two", roles=GIVES, rule=PoolRule.PROPORTIONAL, price_uwatt_per_kwh=price, shares=())


def join(highest: int = RETAIL) -> JoinPool:
    return JoinPool(pool=1, roles=TAKES, lowest_uwatt_per_kwh=0, highest_uwatt_per_kwh=highest)


def offer(world: World, price: int, *, to: str | None = None, limit_wh: int = KWH) -> OfferContract:
    named = () if to is None else (PreferredPrice(account=account_key(to).public_key, price_uwatt_per_kwh=price),)
    return OfferContract(
        template=TemplateKind.RESIDENTIAL,
        limit_wh=limit_wh,
        start_period=world.running + 1,
        end_period=world.running + 1 + PERIODS,
        price_uwatt_per_kwh=None if to else price,
        preferred=named,
    )


def subscribe(limit_wh: int = KWH) -> SubscribeContract:
    return SubscribeContract(offer=1, limit_wh=limit_wh, limit_uwatt_per_kwh=DEAREST)


def world_with(
    *deeds: tuple[str, Payload | Callable[[World], Payload]], fee_model: FeeModel = FeeModel.DISTANCE
) -> World:
    """In whose next period all of it counts."""
    world = World(parameters=SIX_IN_THE_MORNING, grid_fee_model=int(fee_model))
    for name, deed in deeds:
        world.done(name, deed(world) if callable(deed) else deed)
    world.pass_period()
    return world


def money_after(world: World, *names: str, energies: dict[str, tuple[int, int]] | None = None) -> int:
    """After one period in which bob feeds in a kWh and carla takes out one."""
    period = world.pass_period(energies or {"bob": (0, KWH), "carla": (KWH, 0)})
    world.settle(period)
    world.settle(world.running - 1)
    return world.purse_uwatt(*names)


class TestFees:
    """Bob's energy goes to carla; what they pay each other for it is their business, the grid's fee is not."""

    @pytest.mark.parametrize("price", [0, FEED_IN, 200_000])
    def test_a_pool_of_two_pays_what_the_market_pays(self, price: int) -> None:
        world = world_with(("bob", open_pool(price)), ("carla", join()))
        money_after(world, "bob", "carla")
        assert world.grid_fees_uwatt() == kwh(KWH, SAME_FEEDER_FEE)

    @pytest.mark.parametrize("price", [0, 40_000, FEED_IN])
    def test_nor_does_a_gift_escape_a_fee_of_the_value(self, price: int) -> None:
        world = world_with(("bob", open_pool(price)), ("carla", join()), fee_model=FeeModel.PERCENTAGE)
        money_after(world, "bob", "carla")
        assert world.grid_fees_uwatt() == kwh(KWH, FEED_IN * 500 // 10_000)

    def test_a_contract_for_nothing_is_none(self) -> None:
        world = World(parameters=SIX_IN_THE_MORNING)
        with pytest.raises(Exception, match="outside_template"):
            world.act("bob", offer(world, 0, to="carla"))

    @pytest.mark.parametrize("fee_model", FeeModel)
    def test_a_contract_at_the_lowest_price_pays_the_fee_of_feed_in_at_least(self, fee_model: FeeModel) -> None:
        world = world_with(
            ("bob", lambda at: offer(at, CHEAPEST, to="carla")),
            ("carla", subscribe()),
            fee_model=fee_model,
        )
        world.settle(world.pass_period({"bob": (0, KWH), "carla": (KWH, 0)}))
        least = SAME_FEEDER_FEE if fee_model is FeeModel.DISTANCE else FEED_IN * 500 // 10_000
        assert world.grid_fees_uwatt() >= kwh(KWH, least)

    @pytest.mark.parametrize("price", [0, 150_000])
    def test_energy_that_circles_through_a_pool_costs_the_fee(self, price: int) -> None:
        plain = world_with()
        before = money_after(plain, "bob", "carla", energies={"anne": (0, 0)})
        world = world_with(("bob", open_pool(price)), ("carla", join()))
        assert before - money_after(world, "bob", "carla") == kwh(KWH, SAME_FEEDER_FEE) + 2 * FEE_UWATT


class TestSeeingFirst:
    """Whoever waits until the gate has closed, or the period is over, is too late for it."""

    @pytest.mark.parametrize("wait_ms", [PERIOD_MS - 2_000, PERIOD_MS, 2 * PERIOD_MS - 200])
    @pytest.mark.parametrize("deed", ["join", "leave", "reprice", "subscribe", "end", "change", "cancel"])
    def test_nothing_changes_for_a_period_whose_gate_has_closed(self, deed: str, wait_ms: int) -> None:
        """``wait_ms`` from the beginning of the period before."""

        def story(*, late: bool) -> tuple[tuple[int, int, int], ...]:
            world = World(parameters=SIX_IN_THE_MORNING)
            world.done("bob", open_pool(100_000))
            world.done("george", offer(world, 200_000))
            if deed in ("end", "change"):
                world.done("carla", subscribe())
            if deed in ("leave", "reprice"):
                world.done("carla", join())
            world.pass_period()
            period = world.running + 1
            if deed == "cancel":
                assert world.order("bob", SELL, period, KWH, 150_000) is None
            if late:
                if wait_ms >= PERIOD_MS:
                    world.pass_period()
                world.street.time_ms = max(world.street.time_ms, (period - 1) * PERIOD_MS + wait_ms)
                deeds: dict[str, tuple[str, Payload]] = {
                    "join": ("carla", join()),
                    "leave": ("carla", LeavePool(pool=1)),
                    "reprice": ("bob", SetPoolRule(1, PoolRule.PROPORTIONAL, 250_000, ())),
                    "subscribe": ("carla", subscribe()),
                    "end": ("carla", EndContract(offer=1)),
                    "change": ("george", ChangeContractPrice(1, 240_000, ())),
                }
                if deed == "cancel":
                    assert world.order("carla", 1, period, KWH, 150_000) is Refusal.BOOK_CLOSED
                else:
                    world.done(*deeds[deed])
            energies = {"bob": (0, KWH), "george": (0, KWH), "carla": (KWH, 0)}
            while world.running <= period:
                world.pass_period(energies if world.running == period else None)
            world.settle(period)
            return tuple(
                sorted(
                    (int(title), line.energy_wh, line.amount_uwatt)
                    for _, _, title, kind, line in world.lines()
                    if kind == 1
                )
            )

        assert story(late=True) == story(late=False)


class TestSilence:
    """Who regrets a contract lets its meter say nothing."""

    @pytest.mark.parametrize(("who", "price"), [("bob", CHEAPEST), ("carla", 270_000), ("bob", 270_000)])
    @pytest.mark.parametrize("gap", [False, True])
    def test_silence_escapes_no_contract(self, who: str, price: int, gap: bool) -> None:
        def story(*, silent: bool) -> int:
            world = world_with(("bob", lambda at: offer(at, price)), ("carla", subscribe()))
            for _ in range(2 if gap else 1):
                world.pass_period({"bob": (0, KWH), "carla": (KWH, 0)}, withhold=(who,) if silent else ())
            world.settle(world.running - 1)
            if silent:
                world.bring_to_light(who)
            world.settle(world.pass_period())
            return world.purse_uwatt(who)

        assert story(silent=True) <= story(silent=False)


class TestSoldTwice:
    def test_a_contract_and_the_market_are_within_one_nameplate(self) -> None:
        world = World(parameters=SIX_IN_THE_MORNING)
        world.done("bob", offer(world, 200_000, limit_wh=1_500))
        assert world.order("bob", SELL, world.running + 2, 510, RETAIL) is Refusal.BEYOND_NAMEPLATE
        assert world.order("bob", SELL, world.running + 2, 500, RETAIL) is None
        assert world.act("bob", offer(world, 200_000, limit_wh=100)) is Refusal.BEYOND_NAMEPLATE

    def test_who_sells_the_same_energy_under_a_contract_and_on_the_market_pays_retail_for_it(self) -> None:
        def story(*, twice: bool) -> int:
            world = World(parameters=SIX_IN_THE_MORNING)
            world.done("bob", offer(world, 200_000))
            world.done("carla", subscribe())
            if twice:
                world.trade("bob", "george", world.running + 1, KWH, 250_000)
            world.pass_period()
            world.settle(world.pass_period({"bob": (0, KWH), "carla": (KWH, 0), "george": (KWH, 0)}))
            return world.purse_uwatt("bob")

        assert story(twice=False) - story(twice=True) == kwh(KWH, RETAIL - 250_000) + FEE_UWATT

    def test_nobody_is_in_two_pools(self) -> None:
        world = World()
        world.done("bob", open_pool(100_000))
        world.done("carla", join())
        again = OpenPool(name="other", roles=GIVES, rule=PoolRule.FIXED, price_uwatt_per_kwh=0, shares=())
        assert world.act("carla", again) is Refusal.ALREADY_IN_POOL
        assert world.act("bob", again) is Refusal.ALREADY_IN_POOL


class TestPrices:
    def test_a_founder_who_raises_the_price_loses_who_did_not_agree_to_it(self) -> None:
        world = world_with(("bob", open_pool(100_000)), ("carla", join(highest=120_000)))
        world.done("bob", SetPoolRule(1, PoolRule.PROPORTIONAL, 276_000, ()))
        world.pass_period()
        money_after(world, "bob")
        assert world.grid_fees_uwatt() == 0, "carla buys of the utility"

    def test_to_end_a_contract_and_offer_it_dearer_costs_the_penalty(self) -> None:
        """A price may change by a fifth; who ends the contract to ask for more pays its buyer first."""
        world = world_with(("bob", lambda at: offer(at, 100_000)), ("carla", subscribe()))
        assert world.act("bob", ChangeContractPrice(1, 130_000, ())) is Refusal.PRICE_CHANGE_TOO_LARGE
        bob, carla = (world.street.account(name).watt_uwatt for name in ("bob", "carla"))
        world.done("bob", EndContract(offer=1))
        paid = bob - world.street.account("bob").watt_uwatt - FEE_UWATT
        assert paid > 0
        assert world.street.account("carla").watt_uwatt >= carla + paid

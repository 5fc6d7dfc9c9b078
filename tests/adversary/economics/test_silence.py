"""Silence: whoever holds a reading back gains nothing, whatever it says and whatever became known meanwhile."""

from __future__ import annotations

from itertools import product

import pytest

from tests.adversary.economics.world import FEE_UWATT, FEED_IN, RETAIL, SAME_FEEDER_FEE, World, kwh

ON_TIME, LATE = "on time", "late"
DEAR, CHEAP = 280_000, 80_000


def after_a_trade(role: str, price: int, energy: tuple[int, int], when: str) -> int:
    """What bob has after he bought (sold) 500 Wh at the price, metered (import, export), and his reading came ``when``;
    the neighbour did as agreed.
    """
    world = World()
    for _ in range(2):
        world.pass_period({"bob": (300, 0)})  # so that there is a history
    period = world.running + 1
    world.pass_period()
    seller, buyer = ("carla", "bob") if role == "buyer" else ("bob", "carla")
    assert world.running == period
    world.trade(seller, buyer, period + 1, 500, price)
    world.pass_period()
    energies = {"bob": energy, "carla": (0, 500) if role == "buyer" else (500, 0)}
    assert world.pass_period(energies, withhold=() if when == ON_TIME else ("bob",)) == period + 1
    world.settle(period + 1)
    if when == LATE:
        world.bring_to_light("bob")
    world.settle(period + 2)
    return world.purse_uwatt("bob")


@pytest.mark.parametrize("role", ["buyer", "seller"])
@pytest.mark.parametrize("price", [CHEAP, DEAR])
@pytest.mark.parametrize("energy", [(0, 0), (500, 0), (900, 0), (0, 500), (0, 900)])
def test_silence_does_not_escape_a_trade(role: str, price: int, energy: tuple[int, int]) -> None:
    """Somebody bought dear, or sold cheap, and would rather not have: it lets its meter say nothing of the period."""
    on_time = after_a_trade(role, price, energy, ON_TIME)
    assert after_a_trade(role, price, energy, LATE) <= on_time


def test_a_reading_that_never_comes_is_paid_for_by_the_next_one() -> None:
    """Who is taken to use little, since it was away for three days, uses much and says nothing: it owes all of it as
    soon as its meter is read, at no less than it would have paid.
    """

    def story(*, silent: bool) -> tuple[int, int]:
        world = World()
        world.pass_period()
        for _ in range(4):
            world.pass_period({"bob": (2_000, 0)}, withhold=("bob",) if silent else ())
        world.settle(world.running - 2)
        meanwhile = world.purse_uwatt("bob")
        last = world.pass_period()
        world.settle(last)
        return meanwhile, world.purse_uwatt("bob")

    honest, told = story(silent=False)
    hidden, found_out = story(silent=True)
    assert hidden > honest, "this is what tempts it"
    assert found_out <= told


def bought_here_used_there(bought_wh: tuple[int, int], imports_wh: tuple[int, int], *, silent: bool) -> int:
    """What bob has after he bought energy in two periods and took energy out in them; silent in the first of them."""
    world = World()
    world.pass_period({"bob": (1_000, 0)})
    world.pass_period({"bob": (1_000, 0)})
    first = world.running + 1
    for index, energy_wh in enumerate(bought_wh):
        if energy_wh:
            world.trade("carla", "bob", first + index, energy_wh, CHEAP)
    world.pass_period()
    for bought, imported in zip(bought_wh, imports_wh, strict=True):
        world.pass_period({"bob": (imported, 0), "carla": (0, bought)}, withhold=("bob",) if silent else ())
    if silent:
        world.bring_to_light("bob")
    world.settle(world.running - 1)
    return world.purse_uwatt("bob")


@pytest.mark.parametrize("bought_wh", [(1_000, 0), (0, 1_000), (1_000, 1_000), (2_000, 0)])
@pytest.mark.parametrize("imports_wh", [(0, 2_000), (2_000, 0), (1_000, 1_000), (0, 0)])
def test_a_gap_is_no_battery(bought_wh: tuple[int, int], imports_wh: tuple[int, int]) -> None:
    """Energy is bought where it is cheap, at noon, and used in the evening; one reading after both hides when it was
    used. It would turn what comes back at feed-in into what need not be bought at retail.
    """
    assert bought_here_used_there(bought_wh, imports_wh, silent=True) <= bought_here_used_there(
        bought_wh, imports_wh, silent=False
    )


def test_what_a_gap_costs_who_is_honest() -> None:
    """Nobody can tell the two apart, so who is silent for two periods and used what it bought loses the difference of
    retail and feed-in on it; a home queues its readings so as not to.
    """
    honest = bought_here_used_there((1_000, 1_000), (1_000, 1_000), silent=False)
    unlucky = bought_here_used_there((1_000, 1_000), (1_000, 1_000), silent=True)
    assert honest - unlucky == kwh(2_000, RETAIL - FEED_IN)
    saved = bought_here_used_there((0, 0), (1_000, 1_000), silent=False)
    assert honest - saved == kwh(2_000, RETAIL - CHEAP - SAME_FEEDER_FEE) - 2 * FEE_UWATT


def test_which_readings_of_several_are_held_back_makes_no_difference_for_the_better() -> None:
    """When the prices of all periods are known, the one that holds back its readings picks those to hide."""

    def story(hidden: tuple[bool, ...]) -> int:
        world = World()
        world.pass_period({"bob": (400, 0)})
        first = world.running + 1
        for index, (side, price) in enumerate((("buy", DEAR), ("sell", CHEAP), ("buy", CHEAP))):
            parties = ("carla", "bob") if side == "buy" else ("bob", "carla")
            world.trade(*parties, first + index, 600, price)
        world.pass_period()
        for hide, energy in zip(hidden, ((100, 0), (0, 900), (800, 0)), strict=True):
            world.pass_period({"bob": energy}, withhold=("bob",) if hide else ())
        world.settle(world.running - 1)
        last = world.pass_period()
        world.settle(last)
        return world.purse_uwatt("bob")

    honest = story((False, False, False))
    assert all(story(hidden) <= honest for hidden in product((False, True), repeat=3))


def test_silence_of_an_accomplice_does_not_pay_either() -> None:
    """The one that sells and the one that buys are one purse; one, the other or both say nothing."""

    def story(withhold: tuple[str, ...]) -> int:
        world = World()
        world.pass_period({"bob": (500, 0), "carla": (0, 500)})
        period = world.running + 1
        world.trade("carla", "bob", period, 800, 150_000)
        world.pass_period()
        world.pass_period({"bob": (600, 0), "carla": (0, 300)}, withhold=withhold)
        for name in withhold:
            world.bring_to_light(name)
        world.settle(world.running - 1)
        return world.purse_uwatt("bob", "carla")

    honest = story(())
    assert all(story(withhold) <= honest for withhold in (("bob",), ("carla",), ("bob", "carla")))

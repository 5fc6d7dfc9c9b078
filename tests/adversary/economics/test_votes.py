"""Voting tokens are for energy produced: whoever moves the same energy to and fro earns none."""

from __future__ import annotations

import pytest

from ledger.records import MeterKind, MeterRole
from ledger.transactions import RegisterMember, RegisterMeter
from tests.adversary.economics.world import FEED_IN, RETAIL, SAME_FEEDER_FEE, World, kwh
from tests.ledger.neighbourhood import account_key, seeded_key

CAPACITY_WH = 1_000
FILL, EMPTY, BOTH = (1_000, 0), (0, 1_000), (1_000, 1_000)


def minted(energies: list[tuple[int, int]], *, capacity_wh: int = CAPACITY_WH, at_once: bool = False) -> int:
    """What bob mints with these (import, export) periods; ``at_once``: one reading covers them all."""
    world = World(storage_wh=capacity_wh)
    world.pass_period()
    for energy in energies:
        world.pass_period({"bob": energy}, withhold=("bob",) if at_once else ())
    if at_once:
        world.bring_to_light("bob")
    world.settle(world.running - 1)
    return world.votes_mvote("bob")


def test_a_battery_that_is_cycled_mints_nothing() -> None:
    assert minted([FILL, EMPTY] * 5) == 0


def test_nor_one_that_is_emptied_and_filled_within_one_reading() -> None:
    """The full battery gives back and takes in again before the reading: what is in it afterwards was all imported."""
    assert minted([FILL, BOTH, EMPTY] * 3) == 0
    assert minted([FILL, *[BOTH] * 8, EMPTY]) == 0


def test_nor_one_that_is_cycled_in_silence() -> None:
    """One reading after many cycles: the capacity says how much a battery holds, not how much went through it."""
    assert minted([FILL, EMPTY] * 4, at_once=True) == 0


def test_what_the_roof_makes_mints_beside_a_battery() -> None:
    assert minted([FILL, (0, 1_500), (0, 700)]) == 1_200
    assert minted([(0, 700), FILL, (0, 1_500)]) == 1_200
    assert minted([(0, 700)] * 3, at_once=True) == 2_100


def test_a_battery_is_one_of_all_the_meters_of_its_owner() -> None:
    """The battery has a meter of its own, and the connection says it has none."""
    world = World()
    meter = RegisterMeter(
        meter=seeded_key("battery").public_key,
        owner=account_key("bob").public_key,
        kind=MeterKind.BATTERY,
        role=MeterRole.SUB,
        import_nameplate_w=4_000,
        export_nameplate_w=4_000,
        storage_capacity_wh=CAPACITY_WH,
        import_wh=0,
        export_wh=0,
    )
    world.done("anne", meter)
    world.pass_period()
    for energy in [FILL, EMPTY] * 3:
        world.pass_period({"bob": energy})
    world.settle(world.running - 1)
    assert world.votes_mvote("bob") == 0


def cycled_unseen(*, accomplice: bool) -> tuple[int, int]:
    """Votes and money of bob and carla after bob cycled a battery the approver does not know of, ten times; with an
    accomplice they sell each other what goes in and out.
    """
    world = World()
    world.pass_period()
    for _ in range(10):
        period = world.running + 1
        if accomplice:
            world.trade("carla", "bob", period, 1_000, FEED_IN)
            world.trade("bob", "carla", period + 1, 1_000, FEED_IN)
        world.pass_period()
        world.pass_period({"bob": FILL, "carla": EMPTY} if accomplice else {"bob": FILL})
        world.pass_period({"bob": EMPTY, "carla": FILL} if accomplice else {"bob": EMPTY})
    world.settle(world.running - 1)
    assert world.votes_mvote("carla") == (10_000 if accomplice else 0)
    return world.votes_mvote("bob"), world.purse_uwatt("bob", "carla")


def test_an_unregistered_battery_pays_for_every_vote() -> None:
    """No reading tells such a battery from a roof: it is the approver who looks. What it mints costs retail less
    feed-in per kWh, and at most what the export nameplate lets out.
    """
    votes, money = cycled_unseen(accomplice=False)
    idle = World()
    idle.pass_period()
    idle.settle(idle.running - 1)
    assert votes == 10_000
    lost = idle.purse_uwatt("bob", "carla") - money
    assert lost >= kwh(10_000, RETAIL - FEED_IN)


def test_and_with_an_accomplice_the_grid_fee_each_way() -> None:
    _, money = cycled_unseen(accomplice=True)
    idle = World()
    idle.pass_period()
    idle.settle(idle.running - 1)
    assert idle.purse_uwatt("bob", "carla") - money >= kwh(20_000, SAME_FEEDER_FEE)


@pytest.mark.parametrize("kind", [MeterKind.BATTERY, MeterKind.LOAD])
def test_a_connection_that_is_a_battery_or_a_load_mints_nothing(kind: MeterKind) -> None:
    world = World(homes=("anne", "bob", "carla"))
    member, meter = account_key("dora"), seeded_key("meter", "dora")
    world.done("anne", RegisterMember(account=member.public_key, name="dora", roles=0, feeder="feeder-1"))
    payload = RegisterMeter(
        meter=meter.public_key,
        owner=member.public_key,
        kind=kind,
        role=MeterRole.CONNECTION,
        import_nameplate_w=8_000,
        export_nameplate_w=8_000,
        storage_capacity_wh=0,
        import_wh=50_000,
        export_wh=20_000,
    )
    world.done("anne", payload)
    world.homes = (*world.homes, "dora")
    world.registers["dora"], world.withheld["dora"] = (0, 0), []
    for energy in (FILL, EMPTY):
        world.pass_period({"dora": energy})
    world.settle(world.running - 1)
    assert world.votes_mvote("dora") == 0

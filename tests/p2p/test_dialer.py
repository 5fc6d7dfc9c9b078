"""Redialling, in virtual time."""

from __future__ import annotations

from random import Random

import pytest
import trio
import trio.testing

from p2p.dialer import MAX_ADDRESSES, Dialer
from p2p.limits import Limits
from p2p.network import NetworkError


class World:
    """Which addresses answer, which peers are connected or banned, and what was dialled when."""

    def __init__(self) -> None:
        self.up: set[str] = set()
        self.connected: set[str] = set()
        self.banned: set[str] = set()
        self.dialled: list[tuple[float, str]] = []
        limits = Limits(redial_first_s=1, redial_longest_s=8)
        self.dialer = Dialer(
            limits, lambda _: Random(1), self.dial, self.connected.__contains__, self.banned.__contains__
        )

    async def dial(self, peer: str, address: str) -> None:
        self.dialled.append((trio.current_time(), address))
        await trio.sleep(0.01)
        if address not in self.up:
            raise NetworkError("nobody there")
        self.connected.add(peer)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.trio
async def test_an_absent_peer_is_dialled_ever_more_seldom(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world.dialer.want("bob", "a")
    nursery.start_soon(world.dialer.run)
    await trio.sleep(60)
    waits = [later[0] - earlier[0] for earlier, later in zip(world.dialled, world.dialled[1:], strict=False)]
    bounds = [1, 2, 4] + [8] * (len(waits) - 3)
    assert len(waits) >= 8
    assert all(bound / 2 <= wait <= bound + 0.1 for wait, bound in zip(waits, bounds, strict=True))


@pytest.mark.trio
async def test_all_addresses_are_tried_the_latest_first(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    for address in ("a", "b", "c", "b"):
        world.dialer.want("bob", address)
    world.up.add("a")
    nursery.start_soon(world.dialer.run)
    await trio.sleep(0.5)
    assert [address for _, address in world.dialled] == ["b", "c", "a"]


@pytest.mark.trio
async def test_a_connected_peer_is_left_alone_and_a_lost_one_dialled_again(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world.up.add("a")
    nursery.start_soon(world.dialer.run)
    await trio.testing.wait_all_tasks_blocked()
    world.dialer.want("bob", "a")
    await trio.sleep(100)
    assert len(world.dialled) == 1
    world.connected.clear()
    world.dialer.lost("bob")
    await trio.sleep(1.1)
    assert len(world.dialled) == 2


@pytest.mark.trio
async def test_a_banned_peer_is_not_dialled_until_its_ban_is_over(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world.up.add("a")
    world.banned.add("bob")
    world.dialer.want("bob", "a")
    nursery.start_soon(world.dialer.run)
    await trio.sleep(100)
    assert world.dialled == []
    world.banned.clear()
    await trio.sleep(10)
    assert len(world.dialled) == 1


@pytest.mark.trio
async def test_after_hours_of_absence_a_peer_is_found_within_the_longest_wait(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world.dialer.want("bob", "a")
    nursery.start_soon(world.dialer.run)
    await trio.sleep(12 * 3600)
    assert len(world.dialled) < 12 * 3600 / 4 + 10
    world.up.add("a")
    await trio.sleep(8.1)
    assert world.connected == {"bob"}


@pytest.mark.trio
async def test_what_a_peer_announces_of_itself_is_tried_first_and_replaced_by_what_it_announces_next(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    # Given a peer with a configured address, which moved twice and said so
    world.dialer.want("bob", "configured")
    world.dialer.learn("bob", ["first", "second"])
    world.dialer.learn("bob", ["third"])
    world.dialer.learn("stranger", ["elsewhere"])
    nursery.start_soon(world.dialer.run)
    await trio.sleep(0.5)
    # Then the latest is tried, and what was configured after it
    assert [address for _, address in world.dialled] == ["third", "configured"]
    # And nobody is wanted only because it announced itself
    await trio.sleep(20)
    assert "elsewhere" not in {address for _, address in world.dialled}


@pytest.mark.trio
async def test_addresses_of_one_peer_are_bounded(
    world: World, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    for number in range(100):
        world.dialer.want("bob", str(number))
    world.dialer.learn("bob", [f"learnt {number}" for number in range(100)])
    nursery.start_soon(world.dialer.run)
    await trio.sleep(0.5)
    assert len(world.dialled) == 2 * MAX_ADDRESSES

"""Looking for more peers, in virtual time."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_interface
from random import Random

import pytest
import trio
import trio.testing

from p2p.addresses import Address, CircuitAddress, TcpAddress
from p2p.neighbourhood import Neighbourhood
from p2p.network import NetworkError
from p2p.peer_record import seal
from p2p.seeker import DIAL_REFILL_S, DIALS_BURST, Seeker
from p2p.surroundings import Surroundings
from tests.p2p.hostile import peer_id, seed

VICTIM = "8.8.8.8"


class World:
    """Peers by name at addresses; those in ``up`` answer."""

    def __init__(self, wanted: int) -> None:
        self.up: set[str] = set()
        self.connected: set[str] = set()
        self.knocked: list[tuple[float, str]] = []
        around = Surroundings([TcpAddress("ip4", "0.0.0.0", 4001)], lambda: [ip_interface("192.168.1.7/24")])
        self.neighbourhood = Neighbourhood(peer_id("me"), around, trio.current_time, Random(1))
        self.seeker = Seeker(
            self.neighbourhood,
            wanted,
            self.dial,
            lambda: len(self.connected),
            lambda peer: peer not in self.connected,
        )

    def hear(self, name: str, sequence: int, *addresses: Address) -> None:
        self.neighbourhood.hear(seal(seed(name), sequence, addresses).envelope, peer_id(f"teller of {name}"))
        self.seeker.wake()

    async def dial(self, peer: str, address: Address) -> None:
        target = address.relay if isinstance(address, CircuitAddress) else address
        self.knocked.append((trio.current_time(), target.host))
        await trio.sleep(0.1)
        if peer not in self.up:
            raise NetworkError("nobody there")
        self.connected.add(peer)


@pytest.mark.trio
async def test_it_looks_until_there_are_enough_and_again_when_one_is_lost(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    # Given ten peers that can be reached, of which three are wanted
    world = World(wanted=3)
    for number in range(10):
        world.up.add(peer_id(f"peer {number}"))
        world.hear(f"peer {number}", 1, TcpAddress("ip4", f"8.8.8.{number}", 4001))
    nursery.start_soon(world.seeker.run)
    await trio.sleep(60)
    assert len(world.connected) == 3
    assert len(world.knocked) == 3
    # When one is lost
    world.connected.pop()
    world.seeker.wake()
    # Then another is found at once
    await trio.sleep(1)
    assert len(world.connected) == 3


@pytest.mark.trio
async def test_nobody_can_aim_it_at_a_victim(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    # Given a hundred made-up peers that all claim to be at one address, at other ports, some behind a relay there
    world = World(wanted=8)
    for number in range(100):
        address = TcpAddress("ip4", VICTIM, 2_000 + number)
        relay = CircuitAddress(TcpAddress("ip4", VICTIM, 9_000 + number, peer_id("relay")))
        world.hear(f"sybil {number}", 1, address if number % 2 else relay)
    nursery.start_soon(world.seeker.run)
    # When half an hour goes by
    await trio.sleep(1_800)
    # Then the victim was knocked at no more often than the budget of one address allows
    assert Counter(host for _, host in world.knocked)[VICTIM] <= DIALS_BURST + 1_800 / DIAL_REFILL_S + 1


@pytest.mark.trio
async def test_a_peer_is_found_again_after_hours_and_at_its_new_address(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    # Given a peer that went away, and a node that gave it up after a while
    world = World(wanted=1)
    world.hear("alice", 1, TcpAddress("ip4", "8.8.8.8", 4001))
    nursery.start_soon(world.seeker.run)
    await trio.sleep(10 * 1_800)
    knocked = len(world.knocked)
    assert knocked < 20
    # When others tell of it again, with another address and its word that this one is newer
    world.up.add(peer_id("alice"))
    world.hear("alice", 2, TcpAddress("ip4", "9.9.9.9", 4001))
    # Then it is dialled there within seconds
    await trio.sleep(5)
    assert world.connected == {peer_id("alice")}
    assert [host for _, host in world.knocked[knocked:]] == ["9.9.9.9"]


@pytest.mark.trio
async def test_hints_are_dialled_first_one_at_a_time_within_the_budget_and_few_wait(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    # Given someone on the local network who says of a thousand peers that they are at one address
    world = World(wanted=8)
    nursery.start_soon(world.seeker.run)
    for number in range(1_000):
        world.seeker.hint(peer_id(f"sybil {number % 50}"), TcpAddress("ip4", VICTIM, 4_001 + number))
    # And a neighbour who is there
    await trio.sleep(30)
    world.up.add(peer_id("neighbour"))
    world.seeker.hint(peer_id("neighbour"), TcpAddress("ip4", "192.168.1.9", 4001))
    await trio.sleep(1)
    # Then the neighbour is found, and the address was left alone
    assert world.connected == {peer_id("neighbour")}
    assert Counter(host for _, host in world.knocked)[VICTIM] <= DIALS_BURST + 2
    # And whoever is connected is not dialled for a hint
    world.seeker.hint(peer_id("neighbour"), TcpAddress("ip4", "192.168.1.9", 4001))
    await trio.sleep(1)
    assert [host for _, host in world.knocked].count("192.168.1.9") == 1

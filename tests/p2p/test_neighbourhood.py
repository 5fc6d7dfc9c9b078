"""What a node takes in of what others tell, passes on, and dials."""

from __future__ import annotations

from ipaddress import ip_interface
from random import Random

import pytest

from p2p.addresses import CircuitAddress, TcpAddress
from p2p.neighbourhood import (
    MAX_FAILURES,
    MAX_KNOWN,
    MAX_TOLD,
    PASSED_ON_S,
    RETRY_FIRST_S,
    RETRY_LONGEST_S,
    Neighbourhood,
)
from p2p.peer_record import InvalidRecord, PeerRecord, seal
from p2p.surroundings import Surroundings
from tests.p2p.hostile import peer_id, seed

SOMEWHERE = TcpAddress("ip4", "8.8.8.8", 4001)


class World:
    def __init__(self) -> None:
        self.now_s = 1_000.0
        around = Surroundings([TcpAddress("ip4", "0.0.0.0", 4001)], lambda: [ip_interface("192.168.1.7/24")])
        self.neighbourhood = Neighbourhood(peer_id("me"), around, lambda: self.now_s, Random(1))

    def hear(self, name: str, sequence: int = 1, teller: str = "teller", *addresses: TcpAddress) -> PeerRecord | None:
        record = seal(seed(name), sequence, addresses or [SOMEWHERE])
        return self.neighbourhood.hear(record.envelope, peer_id(teller))

    def candidate(self) -> str | None:
        record = self.neighbourhood.candidate(lambda _: True)
        return None if record is None else record.peer


@pytest.fixture
def world() -> World:
    return World()


def test_news_is_news_once(world: World) -> None:
    assert world.hear("alice") is not None
    assert world.hear("alice") is None
    assert world.hear("alice", sequence=2) is not None
    assert world.hear("alice", sequence=1) is None
    assert world.hear("me") is None
    assert len(world.neighbourhood) == 1


def test_a_peer_that_moved_is_dialled_where_it_is_now(world: World) -> None:
    # Given a peer at one address, and then a later word of its own about another
    world.hear("alice", 1)
    moved = TcpAddress("ip4", "9.9.9.9", 4001)
    world.hear("alice", 2, "teller", moved)
    # Then the later one holds, and an old record that comes again changes nothing
    world.hear("alice", 1)
    assert [str(route) for route in world.neighbourhood.routes_of(peer_id("alice"))] == [
        f"/ip4/9.9.9.9/tcp/4001/p2p/{peer_id('alice')}"
    ]


def test_only_of_peers_that_were_met_is_anything_passed_on_and_not_for_ever(world: World) -> None:
    world.hear("alice")
    asker = peer_id("asker")
    assert world.neighbourhood.sample(10, asker) == []
    world.neighbourhood.met(peer_id("alice"))
    assert len(world.neighbourhood.sample(10, asker)) == 1
    assert world.neighbourhood.sample(10, peer_id("alice")) == []
    world.now_s += PASSED_ON_S + 1
    assert world.neighbourhood.sample(10, asker) == []


def test_one_teller_cannot_fill_the_table_nor_drive_out_what_others_told(world: World) -> None:
    world.hear("honest", teller="bob")
    for number in range(MAX_TOLD + 20):
        world.hear(f"sybil {number}", teller="mallory")
    assert len(world.neighbourhood) == MAX_TOLD + 1
    assert world.neighbourhood.routes_of(peer_id("honest"))


def test_the_table_is_bounded_and_the_busiest_teller_pays(world: World) -> None:
    world.hear("honest", teller="bob")
    for number in range(MAX_KNOWN + 10):
        world.hear(f"sybil {number}", teller=f"mallory {number % 9}")
    assert len(world.neighbourhood) == MAX_KNOWN
    assert world.neighbourhood.routes_of(peer_id("honest"))


def test_who_cannot_be_reached_is_tried_ever_more_seldom_and_then_forgotten(world: World) -> None:
    world.hear("alice")
    waits = []
    for _ in range(MAX_FAILURES - 1):
        assert world.candidate() == peer_id("alice")
        world.neighbourhood.failed(peer_id("alice"))
        began_s = world.now_s
        while world.candidate() is None:
            world.now_s += 1
        waits.append(world.now_s - began_s)
    bounds = [min(RETRY_FIRST_S * 2**number, RETRY_LONGEST_S) for number in range(len(waits))]
    assert all(bound / 2 <= wait <= bound + 1 for wait, bound in zip(waits, bounds, strict=True))
    world.neighbourhood.failed(peer_id("alice"))
    assert len(world.neighbourhood) == 0


def test_those_met_before_are_tried_first(world: World) -> None:
    for number in range(20):
        world.hear(f"stranger {number}")
    world.hear("friend")
    world.neighbourhood.met(peer_id("friend"))
    assert {world.candidate() for _ in range(10)} == {peer_id("friend")}


def test_addresses_that_may_not_be_dialled_make_no_candidate_but_are_passed_on(world: World) -> None:
    # Given a peer in a private network of its own
    world.hear("alice", 1, "teller", TcpAddress("ip4", "10.0.0.1", 4001))
    world.neighbourhood.met(peer_id("alice"))
    # Then it is not dialled, and those who share that network hear of it
    assert world.candidate() is None
    assert len(world.neighbourhood.sample(10, peer_id("asker"))) == 1


def test_direct_routes_come_first_and_no_circuit_leads_through_its_own_ends(world: World) -> None:
    relay, me, alice = peer_id("relay"), peer_id("me"), peer_id("alice")
    circuits = [CircuitAddress(TcpAddress("ip4", "8.8.4.4", 4001, one)) for one in (me, alice, relay)]
    record = seal(seed("alice"), 1, [*circuits, SOMEWHERE])
    world.neighbourhood.hear(record.envelope, peer_id("teller"))
    assert [str(route) for route in world.neighbourhood.routes_of(alice)] == [
        f"/ip4/8.8.8.8/tcp/4001/p2p/{alice}",
        f"/ip4/8.8.4.4/tcp/4001/p2p/{relay}/p2p-circuit/p2p/{alice}",
    ]


def test_a_record_that_is_none_is_refused(world: World) -> None:
    with pytest.raises(InvalidRecord):
        world.neighbourhood.hear(b"garbage", peer_id("teller"))

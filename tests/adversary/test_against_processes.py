"""Waves of enemies against one of four real nodes: they are banned where they should be, memory and files stay bounded,
and the street goes on. ``make enemies`` sends each alone, and then all at once for longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import trio

from tests.adversary import above, below
from tests.adversary.enemy import Enemy
from tests.adversary.street import Street, observed, street

# One street for all of them: in one process of the test run, then
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("enemies"), pytest.mark.timeout(300)]

SECONDS = 1.5
MEMORY_KIB = 64 * 1024
FILES = 12
PEERS = 3
WAVES: dict[str, tuple[type[Enemy], ...]] = {
    "half in the door": (below.HalfOpen,),
    "in all the places": (below.ManyFaces,),
    "in every layer": (
        *(below.Garbage, below.SlowLoris, below.BadNegotiator, below.LibraryPest, below.BrokenMultiplexer),
        *(below.StreamFlood, below.RapidReset, below.DeafPinger, below.FrameTorrent),
    ),
    "in gossip": (
        *(above.GossipGarbage, above.Oversize, above.BadEnvelopes, above.BombThrower, above.ControlStorm),
        *(above.Subscriber, above.Replayer, above.Flooder),
    ),
    "in requests": (
        *(below.DeafGlutton, above.StrangeChain, above.BadRequests, above.UnfinishedRequests),
        *(above.EndlessSync, above.HalfClosed),
    ),
    "on the chain": (above.Forger, above.Nobody, above.FalseNeighbour, above.RichNeighbour),
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with street(tmp_path_factory.mktemp("street")) as homes:
        yield homes


@pytest.mark.parametrize("kinds", WAVES.values(), ids=WAVES)
def test_a_wave_of_enemies(homes: Street, kinds: Sequence[type[Enemy]]) -> None:
    # Given four homes that agree, and enemies of one of them
    enemies = [kind(SECONDS) for kind in kinds]

    async def attack() -> None:
        async with trio.open_nursery() as nursery:
            for enemy in enemies:
                nursery.start_soon(enemy.attack, watch.victim)

    with observed(homes, "bob") as watch:
        # When they do what they can
        trio.run(attack)
    # Then all four went on, with bob among them
    assert watch.last_height >= watch.first_height + 2
    assert watch.victim.node.process.poll() is None
    # And it cost bob nothing that lasts
    assert watch.memory_grown_kib < MEMORY_KIB
    assert watch.files_settle(spare=FILES)
    # And those are banned, in a way that a restart remembers, who should be
    for enemy in enemies:
        assert enemy.connections > 0, enemy.name
        assert watch.victim.bans(enemy.peer) == enemy.is_banned, enemy.name


def test_every_enemy_comes_in_a_wave() -> None:
    assert {kind for kinds in WAVES.values() for kind in kinds} == {*below.BELOW, *above.ABOVE}


def test_nobody_honest_was_banned(homes: Street) -> None:
    bob = homes.victim("bob")
    assert not any(bob.bans(homes.victim(name).peer_id) for name in homes.nodes)
    assert len(bob.node.get("/v1/peers")["peers"]) >= PEERS


def test_a_ban_outlives_a_restart_and_an_enemy_under_its_old_name_gets_nowhere(homes: Street) -> None:
    # Given an enemy that bob has banned, in this test or before
    victim = homes.victim("bob")
    enemy = above.StrangeChain(SECONDS)
    if not victim.bans(enemy.peer):
        trio.run(enemy.attack, victim)
    assert victim.bans(enemy.peer)
    # When bob's node is killed and started again
    homes.restart("bob")
    # Then it hangs up as soon as the enemy has proved who it is

    async def come_back() -> None:
        async with enemy.connected(homes.victim("bob")) as connection:
            await connection.hung_up(10)

    trio.run(come_back)

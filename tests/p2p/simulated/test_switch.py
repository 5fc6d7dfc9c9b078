"""The simulated network's own promises: faults as asked for, and the same history for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

from p2p.limits import Limits
from p2p.network import Connected, Disconnected, NetworkError, RequestFailed, Verdict
from p2p.simulated import Arrival, Faults, SimulatedNetwork, SimulatedSwitch
from p2p.simulated.switch import DEAD_AFTER_S
from tests.p2p.hostile import peer_id

TOPIC = "topic"
NAMES = ("anna", "ben", "clara", "dora")
PEERS = [peer_id(name) for name in NAMES]
FAULTY = Faults(delay_min_s=0.01, delay_max_s=0.2, loss=0.1, duplication=0.1, reordering=0.2)


async def echo(_: str, data: bytes) -> bytes:
    return data


class Neighbourhood:
    """Everyone connected with everyone, each noting what it hears."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.switch = SimulatedSwitch(seed, faults)
        self.switch.history = []
        self.heard: dict[str, list[bytes]] = {peer: [] for peer in PEERS}
        self.networks: dict[str, SimulatedNetwork] = {}

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self.switch.run)
        for peer in PEERS:
            bootstrap = [self.switch.address(other) for other in PEERS if other != peer]
            network = SimulatedNetwork(self.switch, peer, bootstrap, limits=Limits(redial_longest_s=2))
            self.networks[peer] = network
            network.serve("echo", echo)
            nursery.start_soon(self._listen, peer, network)
            await nursery.start(network.run)
        await trio.sleep(10)
        assert all(len(network.peers()) == 3 for network in self.networks.values())

    async def _listen(self, peer: str, network: SimulatedNetwork) -> None:
        async for message in network.subscribe(TOPIC, lambda *_: Verdict.ACCEPT):
            self.heard[peer].append(message.data)


def history(seed: int, faults: Faults = FAULTY) -> tuple[list[Arrival], dict[str, list[bytes]]]:
    """A lively minute, all of it."""

    async def live() -> tuple[list[Arrival], dict[str, list[bytes]]]:
        street = Neighbourhood(seed, faults)
        async with trio.open_nursery() as nursery:
            await street.start(nursery)

            async def chatter(peer: str) -> None:
                for number in range(50):
                    await street.networks[peer].publish(TOPIC, f"{peer} {number}".encode())
                    await trio.sleep(1)

            for peer in PEERS:
                nursery.start_soon(chatter, peer)
            await trio.sleep(20.5)  # not at the instant somebody speaks: see rule 2
            street.switch.partition(PEERS[:2], PEERS[2:])
            await trio.sleep(20)
            street.switch.heal()
            await trio.sleep(30)
            nursery.cancel_scope.cancel()
        assert street.switch.history is not None
        return street.switch.history, street.heard

    return trio.run(live, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_same_seed_gives_the_same_history() -> None:
    first, second, other = history(1), history(1), history(2)
    assert len(first[0]) > 400
    assert first == second
    assert first[0] != other[0]


def test_without_delay_the_history_is_still_the_same() -> None:
    still = Faults(delay_min_s=0, delay_max_s=0)
    assert history(1, still) == history(1, still)


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


async def one_way(faults: Faults, messages: int, clock: trio.testing.MockClock) -> list[Arrival]:
    """What arrives of ``messages`` sent over one link, each a millisecond after the other."""
    switch = SimulatedSwitch(3, faults)
    switch.history = []
    async with trio.open_nursery() as nursery:
        await nursery.start(switch.run)
        for number in range(messages):
            switch.carry(PEERS[0], PEERS[1], TOPIC, number, lambda: None, reliable=False)
            await trio.sleep(0.001)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    return switch.history


@pytest.mark.trio
async def test_delay_is_within_its_bounds_and_keeps_order(clock: trio.testing.MockClock) -> None:
    arrivals = await one_way(Faults(delay_min_s=0.1, delay_max_s=0.3), 1_000, clock)
    assert [arrival.octets for arrival in arrivals] == list(range(1_000))
    delays = [arrival.time_s - arrival.octets * 0.001 for arrival in arrivals]
    assert min(delays) >= 0.099
    assert max(delays) <= 0.301


@pytest.mark.trio
async def test_loss_duplication_and_reordering_happen_as_often_as_asked(clock: trio.testing.MockClock) -> None:
    arrivals = await one_way(Faults(loss=0.3), 2_000, clock)
    assert 0.26 < 1 - len(arrivals) / 2_000 < 0.34
    arrivals = await one_way(Faults(duplication=0.3), 2_000, clock)
    assert 0.26 < sum(count == 2 for count in Counter(each.octets for each in arrivals).values()) / 2_000 < 0.34
    arrivals = await one_way(Faults(reordering=0.3), 2_000, clock)
    order = [arrival.octets for arrival in arrivals]
    assert sorted(order) == list(range(2_000))
    assert order != sorted(order)


@pytest.mark.trio
async def test_a_partition_silences_and_healing_reconnects(
    nursery: trio.Nursery, clock: trio.testing.MockClock
) -> None:
    # Given a street that is cut in two
    street = Neighbourhood(5, Faults())
    await street.start(nursery)
    anna, clara = PEERS[0], PEERS[2]
    events = street.networks[anna].events()
    street.switch.partition(PEERS[:2], PEERS[2:])
    await street.networks[anna].publish(TOPIC, b"to our side only")
    with pytest.raises(RequestFailed):
        await street.networks[anna].request(clara, "echo", b"hello", timeout_s=5)
    # Then it falls apart when pings would have given up
    began_s = trio.current_time()
    with trio.fail_after(100):
        assert isinstance(await anext(events), Disconnected)
    assert DEAD_AFTER_S - 6 < trio.current_time() - began_s < DEAD_AFTER_S + 1
    await trio.sleep(5)
    assert [info.peer for info in street.networks[anna].peers()] == [PEERS[1]]
    assert street.heard == {PEERS[0]: [], PEERS[1]: [b"to our side only"], PEERS[2]: [], PEERS[3]: []}
    # And finds together again
    street.switch.heal()
    await trio.sleep(5)
    assert len(street.networks[anna].peers()) == 3
    assert await street.networks[anna].request(clara, "echo", b"hello") == b"hello"


@pytest.mark.trio
async def test_a_link_cut_in_one_direction_carries_the_other_and_gossip_goes_round(
    nursery: trio.Nursery, clock: trio.testing.MockClock
) -> None:
    street = Neighbourhood(6, Faults())
    await street.start(nursery)
    anna, ben = PEERS[0], PEERS[1]
    street.switch.block(anna, ben)
    await street.networks[anna].publish(TOPIC, b"round the corner")
    await street.networks[ben].publish(TOPIC, b"straight")
    await trio.sleep(1)
    assert street.heard[ben] == [b"round the corner"]
    assert street.heard[anna] == [b"straight"]
    arrivals = {(each.sender, each.receiver) for each in street.switch.history or [] if each.kind == TOPIC}
    assert (anna, ben) not in arrivals
    assert (ben, anna) in arrivals


@pytest.mark.trio
async def test_a_link_that_heals_in_time_keeps_its_connection(
    nursery: trio.Nursery, clock: trio.testing.MockClock
) -> None:
    street = Neighbourhood(6, Faults())
    await street.start(nursery)
    events = street.networks[PEERS[0]].events()
    street.switch.block(PEERS[0], PEERS[1])
    await trio.sleep(DEAD_AFTER_S / 2)
    street.switch.heal()
    await trio.sleep(DEAD_AFTER_S * 2)
    with trio.move_on_after(1):
        raise AssertionError(await anext(events))


@pytest.mark.trio
async def test_streams_survive_loss(nursery: trio.Nursery, clock: trio.testing.MockClock) -> None:
    street = Neighbourhood(7, Faults())
    await street.start(nursery)
    street.switch.set_faults(Faults(loss=0.5))
    for number in range(100):
        data = b"%d" % number
        assert await street.networks[PEERS[0]].request(PEERS[1], "echo", data) == data


@pytest.mark.trio
async def test_a_peer_lives_once_at_a_time_and_again(nursery: trio.Nursery, clock: trio.testing.MockClock) -> None:
    switch = SimulatedSwitch(8)
    await nursery.start(switch.run)
    first = SimulatedNetwork(switch, PEERS[0])
    await nursery.start(first.run)
    with pytest.raises(NetworkError, match="already running"):
        await SimulatedNetwork(switch, PEERS[0]).run()
    async with trio.open_nursery() as life:
        second = SimulatedNetwork(switch, PEERS[1], first.addresses())
        events = second.events()
        await life.start(second.run)
        assert isinstance(await anext(events), Connected)
        life.cancel_scope.cancel()
    assert first.peers() == []
    again = SimulatedNetwork(switch, PEERS[1], first.addresses())
    await nursery.start(again.run)
    await trio.sleep(1)
    assert [info.peer for info in first.peers()] == [PEERS[1]]


def test_faults_that_make_no_sense_are_refused() -> None:
    for faults in ({"loss": 1.5}, {"delay_min_s": 2.0, "delay_max_s": 1.0}, {"duplication": -0.1}):
        with pytest.raises(AssertionError):
            Faults(**faults)

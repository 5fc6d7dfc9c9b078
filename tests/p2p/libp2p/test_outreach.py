"""Nodes that know one address come to know the others, over real sockets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from p2p.joining import Joining, RelayRole
from p2p.libp2p import LibP2PNetwork
from p2p.limits import Limits
from p2p.network import Verdict
from tests.p2p.conftest import LOOPBACK, NO_RECOVERY, eventually
from tests.p2p.hostile import seed

NETWORK = "0123456789abcdef"


class Street:
    """Nodes that join by addresses; each runs until it is stopped."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: dict[str, tuple[trio.CancelScope, trio.Event]] = {}

    async def start(
        self,
        name: str,
        bootstrap: Sequence[str] = (),
        listen: str = LOOPBACK,
        limits: Limits = NO_RECOVERY,
        network_name: str = NETWORK,
        wanted_peers: int = 8,
        relay: RelayRole = RelayRole.AUTO,
    ) -> LibP2PNetwork:
        joining = Joining(network_name=network_name, wanted_peers=wanted_peers, relay=relay)
        network = LibP2PNetwork(seed(name), [listen], bootstrap, None, limits, joining)
        scope, stopped = trio.CancelScope(), trio.Event()
        self._scopes[network.peer_id] = (scope, stopped)

        async def run(task_status: trio.TaskStatus[None]) -> None:  # type: ignore[name-defined]
            with scope:
                await network.run(task_status=task_status)
            stopped.set()

        await self._nursery.start(run)
        return network

    async def stop(self, network: LibP2PNetwork) -> None:
        scope, stopped = self._scopes[network.peer_id]
        scope.cancel()
        with trio.fail_after(2):
            await stopped.wait()


@pytest.fixture
async def street(nursery: trio.Nursery) -> Street:
    return Street(nursery)


def know_each_other(*networks: LibP2PNetwork) -> bool:
    return all(
        {info.peer for info in one.peers()} == {other.peer_id for other in networks if other is not one}
        for one in networks
    )


@pytest.mark.trio
async def test_who_knows_one_address_comes_to_know_the_street_and_stays_when_that_one_goes(street: Street) -> None:
    # Given five nodes that each know the first one's address and nothing else
    first = await street.start("first")
    others = [await street.start(f"home {number}", first.addresses()) for number in range(4)]
    # Then all of them come to know each other
    await eventually(lambda: know_each_other(first, *others), within_s=30)
    # And when the first is gone, they are still together, and one that comes back finds them by another's address
    await street.stop(first)
    await eventually(lambda: know_each_other(*others), within_s=10)
    await street.stop(others[0])
    again = await street.start("home 0", others[1].addresses())
    await eventually(lambda: know_each_other(again, *others[1:]), within_s=30)


@pytest.mark.trio
async def test_nodes_look_for_no_more_peers_than_they_want(street: Street) -> None:
    # Given nodes that want two peers
    first = await street.start("first", wanted_peers=2)
    others = [await street.start(f"home {number}", first.addresses(), wanted_peers=2) for number in range(5)]
    # Then each of them has two, and dials no more
    await eventually(lambda: all(len(one.peers()) >= 2 for one in others), within_s=30)
    dialled = [sum(not info.inbound for info in one.peers()) for one in others]
    assert max(dialled) <= 3


@pytest.mark.trio
async def test_networks_of_different_names_do_not_exchange_peers(street: Street) -> None:
    first = await street.start("first")
    stranger = await street.start("stranger", first.addresses(), network_name="fedcba9876543210")
    await eventually(lambda: len(first.peers()) == 1)
    neighbour = await street.start("neighbour", first.addresses())
    await eventually(lambda: first.metrics()["known_peers"] == 1, within_s=10)
    await eventually(lambda: neighbour.metrics()["known_peers"] == 1, within_s=10)
    assert stranger.metrics()["known_peers"] == 0


@pytest.mark.trio
async def test_what_is_gossiped_reaches_peers_that_were_found(street: Street) -> None:
    first = await street.start("first")
    one = await street.start("one", first.addresses())
    two = await street.start("two", first.addresses())
    heard = two.subscribe("/ecloud/test/1", lambda *_: Verdict.ACCEPT)
    one.subscribe("/ecloud/test/1", lambda *_: Verdict.ACCEPT)
    await eventually(lambda: know_each_other(first, one, two), within_s=20)
    await street.stop(first)
    await eventually(lambda: any(info.mesh for info in one.peers()), within_s=10)
    await one.publish("/ecloud/test/1", b"hello")
    with trio.fail_after(5):
        async for message in heard:
            assert message.data == b"hello"
            break


@pytest.mark.trio
async def test_a_circuit_through_a_relay_carries_requests_and_gives_way_to_a_direct_connection(street: Street) -> None:
    # Given a relay, and a node that keeps a reservation there
    relay = await street.start("relay", relay=RelayRole.SERVE)
    reached = await street.start("reached", relay.addresses(), wanted_peers=1)
    await eventually(lambda: len(relay.peers()) == len(reached.peers()) == 1)
    assert reached.outreach is not None
    assert await reached.outreach.circuits.reserve(relay.peer_id)

    async def echo(peer: str, data: bytes) -> bytes:
        return data + peer.encode()

    reached.serve("/echo/1", echo)
    circuit = f"{relay.addresses()[0]}/p2p-circuit/p2p/{reached.peer_id}"
    assert circuit in reached.announced()
    # When another dials the circuit
    dialler = await street.start("dialler", [circuit], wanted_peers=1)
    await eventually(lambda: any("/p2p-circuit" in info.address for info in dialler.peers()), within_s=10)
    # Then they talk to each other as themselves, both ways in large and small
    answer = await dialler.request(reached.peer_id, "/echo/1", b"x" * 60_000)
    assert answer == b"x" * 60_000 + dialler.peer_id.encode()
    # And soon without the relay, because nothing is between them that needs it
    await eventually(
        lambda: (
            [info.address for info in dialler.peers() if info.peer == reached.peer_id and "circuit" in info.address]
            == []
        ),
        within_s=10,
    )
    await eventually(lambda: relay.metrics()["relay_circuits"] == 0, within_s=10)
    assert await dialler.request(reached.peer_id, "/echo/1", b"y") == b"y" + dialler.peer_id.encode()


@pytest.mark.trio
async def test_a_peer_that_moved_is_found_at_its_new_address_through_another(street: Street) -> None:
    # Given a node that was told a neighbour's address, and both know a third
    hub = await street.start("hub")
    neighbour = await street.start("neighbour", hub.addresses())
    old = neighbour.addresses()[0]
    node = await street.start("node", [*hub.addresses(), old])
    await eventually(lambda: know_each_other(hub, neighbour, node), within_s=20)
    # When the neighbour moves, and tells the third
    await street.stop(neighbour)
    await eventually(lambda: know_each_other(hub, node), within_s=10)
    moved = await street.start("neighbour", hub.addresses(), wanted_peers=1)
    assert moved.peer_id == neighbour.peer_id
    assert moved.addresses()[0] != old
    # Then the node finds it where it is now
    await eventually(lambda: know_each_other(hub, moved, node), within_s=40)

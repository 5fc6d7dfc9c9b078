"""The real network's own promises: sockets, restarts, bursts, and what an operator sees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cbor2
import pytest
import trio

from p2p.libp2p import LibP2PNetwork
from p2p.libp2p.pings import PROTOCOL as PING
from p2p.limits import Limits
from p2p.network import Disconnected, NetworkError, Verdict
from tests.p2p.conftest import LOOPBACK, StartNode, connected, eventually
from tests.p2p.hostile import hostile, peer_id, raw_socket, seed

TOPIC = "/ecloud/test/consensus/1"


def joined(network: LibP2PNetwork) -> None:
    network.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)


async def hear_each_other(*networks: LibP2PNetwork) -> None:
    await eventually(
        lambda: all(sum(bool(info.mesh) for info in each.peers()) == len(networks) - 1 for each in networks)
    )


def test_the_peer_id_follows_from_the_seed() -> None:
    assert LibP2PNetwork(seed("name"), []).peer_id == peer_id("name")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        LibP2PNetwork(bytes(size), [])


def test_bad_addresses_are_refused_at_once() -> None:
    with pytest.raises(NetworkError, match="not an address"):
        LibP2PNetwork(seed("name"), ["0.0.0.0:4001"])
    with pytest.raises(NetworkError, match="lacks the peer's id"):
        LibP2PNetwork(seed("name"), [LOOPBACK], ["/ip4/127.0.0.1/tcp/4001"])


def test_a_remembered_address_that_cannot_be_used_keeps_no_node_from_starting(tmp_path: Path) -> None:
    state = {"format": 1, "bans": [], "peers": [[peer_id("bob"), ["/tcp/1"]]]}
    (tmp_path / "peers").write_bytes(cbor2.dumps(state))
    assert LibP2PNetwork(seed("name"), [], state_path=tmp_path / "peers").peer_id == peer_id("name")


@pytest.mark.trio
async def test_a_port_in_use_is_said(start_node: StartNode) -> None:
    first = await start_node("first")
    address = first.addresses()[0].split("/p2p/")[0]
    with pytest.raises(NetworkError, match="cannot listen on"):
        await LibP2PNetwork(seed("second"), [LOOPBACK, address]).run()


@pytest.mark.trio
async def test_a_node_stops_within_a_second_whatever_is_open(start_node: StartNode) -> None:
    # Given a node with a peer, a silent stranger, a flooded gossip queue and an unanswered request
    async def sleep(_: str, __: bytes) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    other = await start_node("other", prepare=joined)
    other.serve("/ecloud/sleep/1", sleep)
    network = LibP2PNetwork(seed("node"), [LOOPBACK], other.addresses())
    joined(network)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        await hear_each_other(network, other)
        address = network.addresses()[0]
        async with raw_socket(network), hostile(network) as mallory:
            mallory.deaf = True
            await eventually(lambda: len(network.peers()) == 2)
            for number in range(30):
                await network.publish(TOPIC, number.to_bytes(4, "big") * 200_000)
            nursery.start_soon(network.request, other.peer_id, "/ecloud/sleep/1", b"")
            await trio.sleep(0.2)
            began_s = trio.current_time()
            # When it is stopped
            nursery.cancel_scope.cancel()
    # Then it is gone, and so is its socket
    assert trio.current_time() - began_s < 1.0
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", int(address.split("/")[4]))


@pytest.mark.trio
async def test_a_restarted_node_is_heard_at_once(start_node: StartNode, nursery: trio.Nursery) -> None:
    # Given a node that published, and starts again within the same second (trap: sequence numbers of whole seconds)
    other = await start_node("other", prepare=joined)
    for life in range(2):
        network = LibP2PNetwork(seed("node"), [LOOPBACK], other.addresses())
        joined(network)
        scope = trio.CancelScope()

        async def live(
            task_status: trio.TaskStatus[None],  # type: ignore[name-defined]
            network: LibP2PNetwork = network,
            scope: trio.CancelScope = scope,
        ) -> None:
            with scope:
                await network.run(task_status=task_status)

        await nursery.start(live)
        await hear_each_other(network, other)
        for number in range(5):
            await network.publish(TOPIC, b"life %d, message %d" % (life, number))
        await eventually(lambda life=life: other.metrics().get(f"accept {TOPIC}") == 5 * (life + 1))
        scope.cancel()
        await eventually(lambda: not other.peers())
    # Then every message of both lives arrived, and none looked like a repetition
    assert other.metrics().get(f"duplicate {TOPIC}") is None
    assert other.metrics().get("offence_invalid_message") is None


@pytest.mark.trio
async def test_a_burst_arrives_whole_and_is_forwarded_whole(start_node: StartNode) -> None:
    # Given three nodes in a row (traps: ten messages a second, queues of 32, both without a word)
    first = await start_node("first", prepare=joined)
    second = await start_node("second", [first], prepare=joined)
    third = await start_node("third", [second], prepare=joined)
    await eventually(lambda: sum(bool(info.mesh) for info in second.peers()) == 2)
    # When the first publishes a thousand messages at once
    for number in range(1_000):
        await first.publish(TOPIC, b"message %d" % number)
    # Then all of them arrive behind the second, though nothing was read from its own subscription
    await eventually(lambda: third.metrics().get(f"accept {TOPIC}") == 1_000, within_s=20)
    assert {f"unsent {TOPIC}", f"dropped {TOPIC}"} & third.metrics().keys() == set()


@pytest.mark.trio
async def test_a_first_message_counts(start_node: StartNode) -> None:
    # Given a node that publishes the moment it is connected, before any subscription has arrived
    first = await start_node("first", prepare=joined)
    second = LibP2PNetwork(seed("second"), [LOOPBACK], first.addresses())
    joined(second)
    async with trio.open_nursery() as nursery:
        await nursery.start(second.run)
        await connected(second, first.peer_id)
        await second.publish(TOPIC, b"the first message")
        # Then it arrives all the same: what was published too early is announced and asked for
        await eventually(lambda: first.metrics().get(f"accept {TOPIC}") == 1)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_an_empty_mesh_raises_the_alarm(start_node: StartNode) -> None:
    network = await start_node("node", prepare=joined)
    assert network.metrics()["empty_mesh"] == 1
    await eventually(lambda: network.metrics().get("empty_mesh_heartbeats", 0) >= 1)
    other = await start_node("other", [network], prepare=joined)
    await hear_each_other(network, other)
    assert network.metrics()["empty_mesh"] == 0


@pytest.mark.trio
async def test_a_peer_that_answers_no_ping_is_disconnected(start_node: StartNode) -> None:
    # Given a peer that holds its connection and answers nothing
    network = await start_node("node", limits=Limits(ping_interval_s=0.1))
    events = network.events()
    async with hostile(network) as mallory:
        await eventually(lambda: bool(network.peers()))
        await mallory.hung_up()
    with trio.fail_after(5):
        async for event in events:
            if isinstance(event, Disconnected):
                break


@pytest.mark.trio
async def test_a_foreign_ping_is_answered(start_node: StartNode) -> None:
    network = await start_node("node")
    async with hostile(network) as mallory:
        stream = await mallory.open(PING)
        await mallory.write(stream, bytes(range(32)))
        await mallory.until(lambda: mallory.received[stream] == bytes(range(32)))


@pytest.mark.trio
async def test_counters_of_bytes_grow(start_node: StartNode) -> None:
    first = await start_node("first", prepare=joined)
    second = await start_node("second", [first], prepare=joined)
    await hear_each_other(first, second)
    await second.publish(TOPIC, bytes(100_000))
    await eventually(lambda: first.peers()[0].bytes_received > 100_000)
    await eventually(lambda: second.peers()[0].bytes_sent > 100_000)


@pytest.mark.slow
def test_two_processes_gossip_and_a_killed_one_is_missed(tmp_path: Path) -> None:
    # Given a node in another process
    command, house = [sys.executable, "-c", CHILD], Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=house) as child:
        assert child.stdout is not None
        addresses = json.loads(child.stdout.readline())

        async def main() -> None:
            network = LibP2PNetwork(seed("parent"), [LOOPBACK], addresses, tmp_path / "peers")
            received, events = network.subscribe(TOPIC, lambda *_: Verdict.ACCEPT), network.events()
            async with trio.open_nursery() as nursery:
                await nursery.start(network.run)
                with trio.fail_after(20):
                    assert (await anext(received)).data == b"from the child"
                    # When it is killed
                    child.kill()
                    async for event in events:
                        if isinstance(event, Disconnected):
                            break
                nursery.cancel_scope.cancel()

        try:
            trio.run(main)
        finally:
            child.kill()
        assert child.wait(5) < 0


CHILD = f"""
import json, trio
from p2p.libp2p import LibP2PNetwork
from p2p.network import Verdict

async def main():
    network = LibP2PNetwork(b"c" * 32, ["{LOOPBACK}"])
    network.subscribe("{TOPIC}", lambda *_: Verdict.ACCEPT)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        print(json.dumps(network.addresses()), flush=True)
        while not any(info.mesh for info in network.peers()):
            await trio.sleep(0.01)
        await network.publish("{TOPIC}", b"from the child")
        await trio.sleep(60)

trio.run(main)
"""

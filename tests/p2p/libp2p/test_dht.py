"""Homes that know nobody but a DHT server find each other by it, over real sockets; and what bad servers achieve."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID

from p2p.addresses import pack_address, parse_address
from p2p.joining import Joining
from p2p.libp2p import LibP2PNetwork
from p2p.libp2p.dht import MAX_DIALS, MAX_NAMED, PROTOCOL, Dht, key_of, trimmed
from p2p.libp2p.streams import encode_varint, frame, read_frame
from tests.p2p.conftest import LOOPBACK, NO_RECOVERY, StartNode, connected, eventually
from tests.p2p.hostile import MULTISTREAM, SYN, WINDOW_UPDATE, data_frames, hostile, line, peer_id, seed, yamux

NETWORK = "0123456789abcdef"
Answer = Callable[[bytes], bytes]


@asynccontextmanager
async def home(
    name: str, server: LibP2PNetwork, dht: bool = True, network: str = NETWORK
) -> AsyncIterator[LibP2PNetwork]:
    """A home that knows the server and nobody else; it has to stop within two seconds."""
    node = LibP2PNetwork(
        seed(name), [LOOPBACK], server.addresses(), None, NO_RECOVERY, Joining(network_name=network, dht=dht)
    )
    stopped = trio.Event()
    scope = trio.CancelScope()

    async def run(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        with scope:
            await node.run(task_status=task_status)
        stopped.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield node
        scope.cancel()
        with trio.fail_after(2):
            await stopped.wait()


def dht_of(node: LibP2PNetwork) -> Dht:
    assert node.outreach is not None
    assert node.outreach.dht is not None
    return node.outreach.dht


def serve(node: LibP2PNetwork, answer: Answer) -> None:
    """Has a node answer lookups: one request, then what ``answer`` makes of it, as it is."""

    async def handle(stream: Any) -> None:
        await stream.write(answer(await read_frame(stream, 1 << 20)))
        await stream.close()

    node._host.set_stream_handler(TProtocol(PROTOCOL), handle)


def reply(request: bytes, peers: list[tuple[bytes, bytes]]) -> bytes:
    asked, message = Message(), Message()
    asked.ParseFromString(request)
    message.type = asked.type
    for identity, address in peers:
        message.closerPeers.add(id=identity, addrs=[address])
        message.providerPeers.add(id=identity, addrs=[address])
    return bytes(message.SerializeToString())


@pytest.mark.trio
async def test_homes_that_know_a_dht_server_only_find_each_other(start_node: StartNode) -> None:
    # Given a DHT server that is of no network, and a home that said there where it is
    server = await start_node("server")
    table = KadDHT(server._host, DHTMode.SERVER)
    async with home("first", server) as first:
        await eventually(lambda: dht_of(first).tellings == 1, within_s=10)
        await eventually(lambda: len(table.provider_store.get_providers(key_of(NETWORK))) == 1)
        # When another comes that knows the server, and one of another network
        async with home("second", server) as second, home("stranger", server, network="fedcba9876543210") as stranger:
            # Then it finds the first and connects; the other does not
            with trio.fail_after(10):
                await connected(second, first.peer_id)
            await eventually(lambda: dht_of(stranger).rounds == 1)
            assert {info.peer for info in stranger.peers()} == {server.peer_id}


@pytest.mark.trio
async def test_with_the_setting_off_nothing_is_told_asked_or_served(start_node: StartNode) -> None:
    requests: list[bytes] = []
    server = await start_node("server")

    def note(request: bytes) -> bytes:
        requests.append(request)
        return b""

    serve(server, note)
    async with home("first", server, dht=False) as first:
        with trio.fail_after(5):
            await connected(first, server.peer_id)
        assert first.outreach is not None
        assert first.outreach.dht is None
        assert TProtocol(PROTOCOL) not in first._host.get_mux().get_protocols()
        assert requests == []


def test_with_the_setting_off_the_module_is_not_loaded() -> None:
    program = "import node.run, sys; sys.exit('p2p.libp2p.dht' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.trio
async def test_nobody_is_served_and_garbage_leaves_the_node_alive(start_node: StartNode) -> None:
    # Given a home that uses the DHT, and a stranger who throws garbage at the protocol's name
    server = await start_node("server")
    serve(server, lambda request: frame(reply(request, [])))
    async with home("first", server) as first:
        await eventually(lambda: dht_of(first).rounds == 1, within_s=10)
        async with hostile(first, "stranger") as stranger:
            greeting = MULTISTREAM + line(PROTOCOL)
            await stranger.send(yamux(WINDOW_UPDATE, SYN, 1, 0) + data_frames(1, greeting))
            await stranger.until(lambda: line("na") in stranger.received.get(1, b""))
            await stranger.pester(data_frames(1, b"\xff" * 1000))
            await eventually(lambda: first.is_connected(stranger.peer))
        # Then it goes on: others connect
        assert TProtocol(PROTOCOL) not in first._host.get_mux().get_protocols()
        visitor = await start_node("visitor", [first])
        assert visitor.is_connected(first.peer_id)


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [
        lambda _: b"",
        lambda _: frame(b"\xff" * 300),
        lambda _: b"\xff" * 300,
        lambda _: encode_varint(4 * 1024 * 1024 - 1) + bytes(100_000),
        lambda request: frame(reply(request, [(b"", b"")])),
        lambda request: frame(reply(request, [(b"\x12" * 60_000, b"\x04\x7f\x00\x00\x01\x06\x10\x00")])),
        lambda request: frame(reply(request, [(b"\xff" * 40, b"\x04\x7f\x00\x00\x01\x06\x10\x00")])),
        frame,
    ],
    ids=["end", "no message", "no length", "too long", "empty peer", "long id", "wrong id", "echo"],
)
async def test_a_server_that_answers_garbage_is_passed_over(start_node: StartNode, answer: Answer) -> None:
    server = await start_node("server")
    serve(server, answer)
    async with home("first", server) as first:
        await eventually(lambda: dht_of(first).rounds == 1, within_s=20)
        assert [info.peer for info in first.peers()] == [server.peer_id]
        visitor = await start_node("visitor", [first])
        assert visitor.is_connected(first.peer_id)


@pytest.mark.trio
async def test_a_home_stops_at_once_while_a_server_is_silent(start_node: StartNode) -> None:
    asked = trio.Event()
    server = await start_node("server")

    async def keep_silent(stream: Any) -> None:
        await read_frame(stream, 1 << 20)
        asked.set()
        await trio.sleep_forever()

    server._host.set_stream_handler(TProtocol(PROTOCOL), keep_silent)
    async with home("first", server) as first:
        with trio.fail_after(5):
            await asked.wait()
        assert dht_of(first).rounds == 0


@pytest.mark.trio
async def test_a_server_that_names_many_strangers_gets_few_of_them_dialled(start_node: StartNode) -> None:
    # Given a server that names ever new peers at one address
    dialled: list[trio.SocketStream] = []
    names = iter(range(1_000_000))

    async def victim(stream: trio.SocketStream) -> None:
        dialled.append(stream)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            trio.serve_tcp,
            victim,
            0,
        )
        port = listeners[0].socket.getsockname()[1]
        address = pack_address(parse_address(f"/ip4/127.0.0.1/tcp/{port}"))
        server = await start_node("server")

        def name_strangers(request: bytes) -> bytes:
            identities = [ID.from_base58(peer_id(f"stranger {next(names)}")).to_bytes() for _ in range(50)]
            return frame(reply(request, [(identity, address) for identity in identities]))

        serve(server, name_strangers)
        # When a home asks it
        async with home("first", server) as first:
            await eventually(lambda: dht_of(first).rounds == 1, within_s=30)
            # Then it dials within the round's bound, and what it takes as hints within that of its Seeker
            assert 0 < len(dialled) <= MAX_DIALS + MAX_NAMED
            assert [info.peer for info in first.peers()] == [server.peer_id]
        nursery.cancel_scope.cancel()


@given(st.binary(max_size=2_000))
@example(Message(type=Message.MessageType.FIND_NODE, key=b"k" * 1000).SerializeToString())
def test_whatever_is_answered_the_library_gets_little_of_it(answer: bytes) -> None:
    try:
        kept = trimmed(answer, lambda _: True)
    except DecodeError:
        return
    assert len(kept) <= len(answer) + 2
    message = Message()
    message.ParseFromString(kept)
    assert not message.key


def test_only_what_may_be_dialled_reaches_the_library() -> None:
    good, bad = (
        pack_address(parse_address("/ip4/192.0.2.1/tcp/4001")),
        pack_address(parse_address("/ip4/10.0.0.1/tcp/4001")),
    )
    message = Message(type=Message.MessageType.FIND_NODE)
    message.closerPeers.add(id=b"private", addrs=[bad])
    message.closerPeers.add(id=b"both", addrs=[b"junk", bad, good], signedRecord=b"signed")
    message.closerPeers.add(id=b"x" * 65, addrs=[good])
    for number in range(50):
        message.closerPeers.add(id=b"%d" % number, addrs=[good])
    kept = Message()
    kept.ParseFromString(trimmed(message.SerializeToString(), lambda address: "192" in str(address)))
    first = kept.closerPeers[0]
    assert (first.id, list(first.addrs), first.signedRecord) == (b"both", [good], b"")
    assert len(kept.closerPeers) == MAX_NAMED - 2

"""A peer that means harm, byte by byte over TCP, against a node on the real network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from ledger.encoding import encode
from ledger.genesis import chain_id
from node import clock
from node.configuration import Configuration
from node.node import Node, Parts
from node.protocol import BLOCKS, BODY, CERTIFICATES, STATUS, BlockRange, Status, topic
from node.worker import ThreadWorker
from p2p.libp2p import LibP2PNetwork
from p2p.libp2p.gossip import PROTOCOL as GOSSIP
from p2p.libp2p.gossip_wire import MAX_RPC_BYTES, Signer, publish_frame
from p2p.libp2p.streams import encode_varint, frame
from p2p.limits import Limits
from storage.memory import MemoryChain, MemoryJournal
from tests.p2p.hostile import DATA, FIN, RST, Hostile, data_frames, hostile, seed, yamux
from tests.support.chain import make_home
from tests.support.processes import lone_genesis

pytestmark = [pytest.mark.trio, pytest.mark.slow]

WITHIN_S = 30.0


class RealNode:
    """anne's node, agreeing with herself several times a second."""

    def __init__(self, node: Node, network: LibP2PNetwork) -> None:
        self.node = node
        self.network = network
        self.chain = chain_id_of(node)

    @property
    def height(self) -> int:
        return self.node.status().height

    def score(self, enemy: Hostile) -> int:
        """0 where it is banned."""
        return {info.peer: info.score for info in self.network.peers()}.get(enemy.peer, 0)

    async def until_banned(self, enemy: Hostile) -> None:
        with trio.fail_after(WITHIN_S):
            while self.network.metrics().get("bans", 0) == 0:  # noqa: ASYNC110 - counters have no event
                await trio.sleep(0.02)
        await enemy.hung_up(WITHIN_S)
        assert self.score(enemy) == 0

    async def goes_on(self) -> None:
        height = self.height
        with trio.fail_after(WITHIN_S):
            while self.height < height + 3:  # noqa: ASYNC110 - as above
                await trio.sleep(0.02)
        assert self.node._restarts() == {}


def chain_id_of(node: Node) -> bytes:
    return node.status().chain_id


@asynccontextmanager
async def real_node(directory: Path) -> AsyncIterator[RealNode]:
    genesis, home = lone_genesis(), make_home("anne")
    limits = Limits(score_recovery_per_minute=0)
    network = LibP2PNetwork(home.node.seed, ["/ip4/127.0.0.1/tcp/0"], limits=limits)
    parts = Parts(
        name="anne",
        genesis=genesis,
        node_key=home.node,
        store=MemoryChain(),
        journal=MemoryJournal(),
        network=network,
        mempool_path=directory / "mempool.log",
        wall=clock.system_wall_ms,
        worker=ThreadWorker(),
        random=Random(1),
    )
    node = Node(parts, Configuration())
    assert chain_id_of(node) == chain_id(genesis)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)  # type: ignore[arg-type]
        await nursery.start(node.run)
        made = RealNode(node, network)
        yield made
        await made.goes_on()
        nursery.cancel_scope.cancel()


async def ask(enemy: Hostile, protocol: str, request: bytes) -> bytes:
    """What comes back until the node ends the stream."""
    stream = await enemy.open(protocol)
    await enemy.pester(data_frames(stream, request) + yamux(DATA, FIN, stream, 0))
    await enemy.until(lambda: enemy.closed.is_set() or enemy.flags.get(stream, 0) & (FIN | RST), WITHIN_S)
    return bytes(enemy.received.get(stream, b""))


GARBAGE = [b"", b"\x00", b"\xff" * 100, b"\x9f" * 100, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", bytes(60_000)]


@pytest.mark.parametrize("name", ["transactions", "consensus", "blocks"])
async def test_garbage_on_our_topics(tmp_path: Path, name: str) -> None:
    async with real_node(tmp_path) as anne, hostile(anne.network) as mallory:
        stream = await mallory.open(GOSSIP)
        signer = Signer(seed("mallory"))
        for number in range(12):
            content = GARBAGE[number % len(GARBAGE)] + bytes([number])
            await mallory.pester(data_frames(stream, publish_frame(signer.envelope(topic(anne.chain, name), content))))
        await anne.until_banned(mallory)


async def test_an_oversized_message_on_our_topic(tmp_path: Path) -> None:
    async with real_node(tmp_path) as anne, hostile(anne.network) as mallory:
        for _ in range(4):
            stream = await mallory.open(GOSSIP)
            await mallory.write(stream, encode_varint(MAX_RPC_BYTES + 1))
            await mallory.until(lambda stream=stream: mallory.flags.get(stream, 0) & RST or mallory.closed.is_set())
        await anne.until_banned(mallory)


@pytest.mark.parametrize("protocol", [STATUS, BLOCKS, BODY, CERTIFICATES])
async def test_garbage_as_requests(tmp_path: Path, protocol: str) -> None:
    async with real_node(tmp_path) as anne, hostile(anne.network) as mallory:
        number = 0
        while not mallory.closed.is_set():
            number += 1
            await ask(mallory, protocol, frame(b"\xff" * (33 + number)))
        assert number <= 12
        await anne.until_banned(mallory)


async def test_another_chain(tmp_path: Path) -> None:
    async with real_node(tmp_path) as anne, hostile(anne.network) as mallory:
        stream = await mallory.open(STATUS)
        await mallory.write(stream, frame(encode(Status(1, bytes(32), 1, bytes(32), 0))))
        await anne.until_banned(mallory)


async def test_endless_requests_for_blocks(tmp_path: Path) -> None:
    async with real_node(tmp_path) as anne, hostile(anne.network) as mallory:
        await anne.goes_on()
        request = frame(encode(BlockRange(first=1, count=64)))
        for _ in range(40):
            assert (await ask(mallory, BLOCKS, request))[:1] == b"\x00"
        # Then it was answered, and the node has time for its own
        await anne.goes_on()
        assert anne.score(mallory) == 100

"""Our yamux, GossipSub and streams against js-libp2p's: one connection under load, whoever dialled."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
import trio

from p2p.libp2p import LibP2PNetwork
from p2p.network import MAX_MESSAGE_BYTES, Connected, Disconnected, Received, Verdict
from tests.interop.conftest import HERE

TOPIC = "/interop/1"
GROW = "/interop/grow/1"
GROWTH = 128
MESSAGES = 5
WITHIN_S = 90

pytestmark = [pytest.mark.trio, pytest.mark.slow]


async def grow(peer: str, request: bytes) -> bytes:
    return request * GROWTH


class Lines:
    """What a process says, one JSON object a line."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self._unread = b""

    async def next(self) -> Any:
        while b"\n" not in self._unread:
            chunk = await self._stdout.receive_some()
            assert chunk, f"it ended, having said {self._unread!r}"
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return json.loads(line)


@asynccontextmanager
async def js_peer(node_program: str, address: str | None) -> AsyncIterator[Lines]:
    settings = {"topic": TOPIC, "messages": MESSAGES, "message_bytes": MAX_MESSAGE_BYTES}
    if address is not None:
        settings["address"] = address
    async with trio.open_nursery() as nursery:
        command = [node_program, str(HERE / "transport.mjs"), json.dumps(settings)]
        process = await nursery.start(
            partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=True)
        )
        yield Lines(process)
        await process.stdin.aclose()
        await process.wait()
        await process.stdout.aclose()


def message(index: int) -> bytes:
    """The peer publishes those from 0 on, we those from 100 on."""
    return bytes([index]) * MAX_MESSAGE_BYTES


async def take(heard: AsyncIterator[Received], count: int) -> list[Received]:
    return [await anext(heard) for _ in range(count)]


@pytest.mark.parametrize("dials", ["js", "ours"])
async def test_a_connection_under_load(js_libp2p: str, nursery: trio.Nursery, dials: str) -> None:
    # Given a network of ours that answers and listens, and a peer of js-libp2p
    network = LibP2PNetwork(sha256(b"interop").digest(), ["/ip4/127.0.0.1/tcp/0"])
    network.serve(GROW, grow)
    heard = network.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)
    events = network.events()
    await nursery.start(network.run)  # type: ignore[arg-type]  # trio-typing's stubs know no other TaskStatus
    with trio.fail_after(WITHIN_S):
        async with js_peer(js_libp2p, network.addresses()[0] if dials == "js" else None) as says:
            if dials == "ours":
                await network.connect((await says.next())["listening"])
            event = await anext(events)
            assert isinstance(event, Connected)
            peer = event.peer
            # When both publish the largest messages there may be, ask for the largest answers, and for many at once
            while not network.peers()[0].topics:  # noqa: ASYNC110 - what a peer listens to is no event
                await trio.sleep(0.01)
            for index in range(100, 100 + MESSAGES):
                await network.publish(TOPIC, message(index))
            request = bytes(range(256)) * 256
            assert await network.request(peer, GROW, request, timeout_s=30) == request * GROWTH
            received = await take(heard, MESSAGES)
            report = await says.next()
            (info,) = network.peers()
        gone = await anext(events)
    # Then every byte arrived, on both sides
    assert report.pop("heard") == list(range(100, 100 + MESSAGES))
    assert sorted(one.data[0] for one in received) == list(range(MESSAGES))
    assert all(one.data == message(one.data[0]) for one in received)
    assert report == {
        "direction": "outbound" if dials == "js" else "inbound",
        "multiplexer": "/yamux/1.0.0",
        "encryption": "/noise",
        "pings": 2,
        "large": True,
        "together": 16,
        "small": 100,
        "mesh": [network.peer_id],
    }
    # And we hold nothing against it, measured its latency, had it in our mesh, and heard it leave
    assert (info.peer, info.score, info.mesh) == (peer, 100, (TOPIC,))
    assert info.latency_ms is not None
    assert gone == Disconnected(peer)
    assert not [name for name in network.metrics() if name.startswith("offence")]

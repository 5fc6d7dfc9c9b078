"""What a message weighs on a real connection, and what the simulation of slow lines says it weighs."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from devnet.laboratory.slow_links.lines import stream_octets
from devnet.laboratory.slow_links.world import frame_octets
from p2p.libp2p import LibP2PNetwork
from p2p.network import Verdict
from tests.p2p.conftest import LOOPBACK, StartNode, eventually
from tests.p2p.hostile import seed

TOPIC = "/ecloud/0123456789abcdef/consensus/1"
SILENCE_S = 0.3


class Line:
    """A TCP relay that counts the octets of the dialling side."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.octets = 0

    async def serve(self, incoming: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as outgoing, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, incoming, outgoing, True)
            await self._pass(outgoing, incoming, False)
            nursery.cancel_scope.cancel()

    async def _pass(self, source: trio.SocketStream, sink: trio.SocketStream, count: bool) -> None:
        try:
            async for chunk in source:
                self.octets += len(chunk) * count
                await sink.send_all(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one side has ended: the test is over


@pytest.mark.trio
@pytest.mark.parametrize("size", [120, 500, 3_000, 15_000])
async def test_a_message_weighs_what_the_simulation_says(
    start_node: StartNode, nursery: trio.Nursery, size: int
) -> None:
    # Given two nodes with a counted line between them
    heard: list[bytes] = []

    def hear(_peer: str, data: bytes) -> Verdict:
        heard.append(data)
        return Verdict.KEEP

    anne = await start_node("anne", prepare=lambda network: network.subscribe(TOPIC, hear))
    line = Line(int(anne.addresses()[0].split("/")[4]))
    [listener] = await nursery.start(partial(trio.serve_tcp, line.serve, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    bob = LibP2PNetwork(seed("bob"), [LOOPBACK], [f"/ip4/127.0.0.1/tcp/{port}/p2p/{anne.peer_id}"])
    bob.subscribe(TOPIC, lambda *_: Verdict.KEEP)
    await nursery.start(bob.run)
    await eventually(lambda: bob.neighbours(TOPIC) == [anne.peer_id])
    await until_silent(line)
    # When one tells the other something, one message after the other
    before, count = line.octets, 10
    for number in range(count):
        assert bob.send(anne.peer_id, TOPIC, bytes([number]) * size)
        await eventually(lambda number=number: len(heard) == number + 1)  # type: ignore[misc]
    await until_silent(line)
    # Then the line has carried what the simulation counts, to a few per cent: a window update now and then
    assert line.octets - before == pytest.approx(count * stream_octets(frame_octets(size)), rel=0.05)


async def until_silent(line: Line) -> None:
    """Waits until nothing has passed for a while: what was sent may still be on its way."""
    with trio.fail_after(10):
        octets = -1
        while octets != line.octets:
            octets = line.octets
            await trio.sleep(SILENCE_S)

"""What a peer may send as a request, and as an answer."""

from __future__ import annotations

import pytest
import trio

from p2p.libp2p import LibP2PNetwork, requests
from p2p.libp2p.streams import encode_varint, frame
from p2p.limits import Limits
from p2p.network import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Handler, RequestFailed, RequestRefused
from tests.p2p.conftest import StartNode, eventually
from tests.p2p.hostile import DATA, FIN, RST, WINDOW_UPDATE, hostile, yamux

PROTOCOL = "/ecloud/echo/1"
OK, REFUSED = b"\x00", b"\x01"


async def echo(_: str, data: bytes) -> bytes:
    return data


async def refuse(_: str, data: bytes) -> bytes:
    raise RequestRefused("no")


def serving(network: LibP2PNetwork) -> None:
    network.serve(PROTOCOL, echo)


async def score(network: LibP2PNetwork) -> int:
    return network.peers()[0].score


@pytest.mark.trio
async def test_a_request_over_the_limit_is_refused_before_it_is_read(start_node: StartNode) -> None:
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        await mallory.write(stream, encode_varint(MAX_REQUEST_BYTES + 1))
        await mallory.until(lambda: mallory.flags.get(stream, 0) & RST)
        assert network.metrics()["offence_oversize"] == 1
        assert await score(network) == 75


@pytest.mark.trio
@pytest.mark.parametrize(
    "octets",
    [b"\xff" * 6, b"\x80\x00", b"\x05abc", b""],
    ids=["an endless length", "a length that is not minimal", "less than announced", "nothing"],
)
async def test_a_broken_request_costs_only_the_stream(start_node: StartNode, octets: bytes) -> None:
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        await mallory.send(yamux(DATA, FIN, stream, len(octets), octets))
        await mallory.until(lambda: mallory.flags.get(stream, 0) & (RST | FIN))
        assert mallory.received.get(stream, b"") == b""
        assert await score(network) == 100
        assert network.metrics()[f"cut {PROTOCOL}"] == 1
        assert "stream_handler_failed" not in network.metrics()


@pytest.mark.trio
@pytest.mark.parametrize("handler", [echo, refuse])
async def test_an_answered_stream_is_not_reset_before_the_peer_ends_it(start_node: StartNode, handler: Handler) -> None:
    # Given a peer that reads slowly: a reset would make it drop what it has not read
    network = await start_node("node", prepare=lambda network: network.serve(PROTOCOL, handler))
    async with hostile(network) as slow:
        stream = await slow.open(PROTOCOL)
        await slow.write(stream, frame(b"hi"))
        await slow.until(lambda: slow.flags.get(stream, 0) & FIN)
        # When it has done other things since
        other = await slow.open(PROTOCOL)
        await slow.write(other, frame(b"hi"))
        await slow.until(lambda: slow.flags.get(other, 0) & FIN)
        # Then the stream was not reset, nor is it when the peer ends it
        await slow.send(yamux(WINDOW_UPDATE, FIN, stream, 0))
        third = await slow.open(PROTOCOL)
        assert not any(slow.flags[each] & RST for each in (stream, other, third))


@pytest.mark.trio
@pytest.mark.parametrize("more", [b"", b"more"], ids=["silence", "more than a request"])
async def test_an_answered_stream_that_the_peer_does_not_end_is_reset(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch, more: bytes
) -> None:
    monkeypatch.setattr(requests, "LINGER_S", 60.0 if more else 0.2)
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        await mallory.write(stream, frame(b"hi"))
        await mallory.until(lambda: mallory.flags.get(stream, 0) & FIN)
        if more:
            await mallory.write(stream, more)
        await mallory.until(lambda: mallory.flags.get(stream, 0) & RST)
        assert f"cut {PROTOCOL}" not in network.metrics()


@pytest.mark.trio
async def test_a_slow_request_is_cut_off(start_node: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "READ_REQUEST_S", 0.3)
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        await mallory.write(stream, b"\x05a")
        await mallory.until(lambda: mallory.flags.get(stream, 0) & RST)
        assert network.metrics()[f"cut {PROTOCOL}"] == 1


@pytest.mark.trio
async def test_requests_over_the_budget_are_a_flood(start_node: StartNode) -> None:
    network = await start_node(
        "node", limits=Limits(messages_per_second=0.1, messages_burst=5, score_recovery_per_minute=0), prepare=serving
    )
    async with hostile(network) as mallory:
        answered = 0
        for _ in range(10):
            stream = await mallory.open(PROTOCOL)
            await mallory.write(stream, frame(b"hi"))
            await mallory.until(lambda stream=stream: mallory.flags.get(stream, 0) & (RST | FIN))
            answered += mallory.received.get(stream, b"") == OK + frame(b"hi")
        assert answered == 5
        assert network.metrics()["offence_flood"] == 5


@pytest.mark.trio
async def test_an_exception_in_a_handler_ends_only_its_stream(start_node: StartNode) -> None:
    async def broken(_: str, __: bytes) -> bytes:
        raise RuntimeError("a defect of ours")

    network = await start_node("node", prepare=serving)
    network.serve("/ecloud/broken/1", broken)
    async with hostile(network) as mallory:
        stream = await mallory.open("/ecloud/broken/1")
        await mallory.write(stream, frame(b""))
        await mallory.until(lambda: mallory.flags.get(stream, 0) & RST)
        assert network.metrics()["stream_handler_failed"] == 1
        stream = await mallory.open(PROTOCOL)
        await mallory.write(stream, frame(b"hi"))
        await mallory.until(lambda: mallory.received[stream] == OK + frame(b"hi"))
        assert await score(network) == 100


ANSWERS = {
    "an unknown status": (b"\x07" + frame(b"hi"), RequestFailed),
    "an early end": (OK + b"\x05abc", RequestFailed),
    "nothing": (b"", RequestFailed),
    "an endless length": (OK + b"\xff" * 6, RequestFailed),
    "a refusal": (REFUSED + frame(b"another chain"), RequestRefused),
    "a refusal that is not UTF-8": (REFUSED + frame(b"\xff\xfe"), RequestRefused),
    "a refusal without end": (REFUSED + encode_varint(100_000), RequestFailed),
}


@pytest.mark.trio
@pytest.mark.parametrize(("octets", "error"), ANSWERS.values(), ids=ANSWERS)
async def test_a_broken_answer_is_a_failed_request(
    start_node: StartNode, octets: bytes, error: type[Exception]
) -> None:
    network = await start_node("node")
    async with hostile(network) as mallory, trio.open_nursery() as nursery:

        async def answer() -> None:
            stream = await mallory.accept(PROTOCOL)
            await mallory.until(lambda: mallory.received[stream] == frame(b"question"))
            await mallory.send(yamux(DATA, FIN, stream, len(octets), octets))

        nursery.start_soon(answer)
        await eventually(lambda: bool(network.peers()))
        with pytest.raises(error):
            await network.request(mallory.peer, PROTOCOL, b"question", timeout_s=5)


@pytest.mark.trio
async def test_an_answer_over_the_limit_costs_the_peer(start_node: StartNode) -> None:
    network = await start_node("node")
    async with hostile(network) as mallory, trio.open_nursery() as nursery:

        async def answer() -> None:
            stream = await mallory.accept(PROTOCOL)
            await mallory.write(stream, OK + encode_varint(MAX_RESPONSE_BYTES + 1))

        nursery.start_soon(answer)
        await eventually(lambda: bool(network.peers()))
        with pytest.raises(RequestFailed, match="sent too much"):
            await network.request(mallory.peer, PROTOCOL, b"", timeout_s=5)
        assert await score(network) == 75


@pytest.mark.trio
async def test_a_request_given_up_in_the_middle_leaves_the_connection_whole(start_node: StartNode) -> None:
    # Given a peer that takes nothing for a while, so that a large request stands half written
    network = await start_node("node")
    other = await start_node("other", [network], prepare=serving)
    await eventually(lambda: bool(network.peers()))
    for _ in range(20):
        # When requests are given up at whatever point they are
        with trio.move_on_after(0.005):
            await network.request(other.peer_id, PROTOCOL, bytes(MAX_REQUEST_BYTES))
    # Then the connection still carries whole frames
    large = bytes(range(256)) * 200
    assert await network.request(other.peer_id, PROTOCOL, large) == large
    assert other.metrics().get("offence_protocol_violation") is None

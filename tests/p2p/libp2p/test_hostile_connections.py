"""What a stranger may do with a socket, and a peer with the multiplexer, before any protocol of ours is spoken."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
import trio

from p2p.libp2p import LibP2PNetwork
from p2p.libp2p.streams import encode_varint, frame
from p2p.libp2p.yamux import MAX_QUEUED_ANSWERS, WINDOW_BYTES
from p2p.limits import Limits
from tests.p2p.conftest import NO_RECOVERY, StartNode, connected, eventually
from tests.p2p.hostile import (
    ACK,
    DATA,
    MULTISTREAM,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    hostile,
    line,
    raw_socket,
    wait_closed,
    yamux,
)

PATIENCE_S = 0.5
IMPATIENT = Limits(handshake_timeout_s=PATIENCE_S, max_handshakes=4, score_recovery_per_minute=0)


async def echo(_: str, data: bytes) -> bytes:
    return data


def serving(network: LibP2PNetwork) -> None:
    network.serve("/echo/1", echo)


async def still_works(network: LibP2PNetwork, start_node: StartNode) -> None:
    honest = await start_node("honest", [network])
    assert await honest.request(network.peer_id, "/echo/1", b"hello") == b"hello"


GARBAGE = {
    "nothing but noise": os.urandom(4_096),
    "zeros": bytes(4_096),
    "a web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("160301020001000200") + bytes(508),
    "a line that promises 2**62 bytes": b"\xff\xff\xff\xff\xff\xff\xff\xff\x3f" + bytes(65_536),
    "a line that promises 4 GiB": encode_varint(2**32 - 1) + bytes(65_536),
    "a line that is not UTF-8": frame(b"\xff\xfe\n"),
    "a line without an end": frame(b"/multistream/1.0.0"),
    "an empty line": b"\x00",
    "another multistream": line("/multistream/9.9.9"),
    "noise that is none": MULTISTREAM + line("/noise") + b"\x00\x20" + bytes(32) + b"\xff\xff" + bytes(1_000),
    "a noise message of no bytes": MULTISTREAM + line("/noise") + b"\x00\x00" * 100,
}


@pytest.mark.trio
@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_hung_up_on(start_node: StartNode, octets: bytes) -> None:
    network = await start_node("node", limits=IMPATIENT, prepare=serving)
    async with raw_socket(network) as stranger:
        await stranger.send_all(octets)
        await wait_closed(stranger, within_s=10 * PATIENCE_S)
    await eventually(lambda: network.metrics()["handshakes"] == 0)
    assert network.metrics()["refused_connections"] == 1
    await still_works(network, start_node)


@pytest.mark.trio
@pytest.mark.parametrize("offer", ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0"])
async def test_only_noise_is_a_secure_channel(start_node: StartNode, offer: str) -> None:
    network = await start_node("node", limits=IMPATIENT, prepare=serving)
    async with raw_socket(network) as stranger:
        await stranger.send_all(MULTISTREAM + line(offer))
        answer = await wait_closed(stranger, within_s=10 * PATIENCE_S)
    assert answer == MULTISTREAM + line("na")


@pytest.mark.trio
async def test_a_silent_stranger_is_hung_up_on(start_node: StartNode) -> None:
    network = await start_node("node", limits=IMPATIENT, prepare=serving)
    async with raw_socket(network) as stranger:
        began_s = trio.current_time()
        await wait_closed(stranger, within_s=10 * PATIENCE_S)
        assert trio.current_time() - began_s >= PATIENCE_S * 0.9


@pytest.mark.trio
async def test_a_slow_stranger_gains_no_time(start_node: StartNode) -> None:
    # Given a stranger that sends a byte now and then, each in good time
    network = await start_node("node", limits=IMPATIENT, prepare=serving)
    async with raw_socket(network) as stranger:
        # Then it is hung up on all the same
        with trio.fail_after(20 * PATIENCE_S), suppress(trio.BrokenResourceError):
            while True:
                await stranger.send_all(b"\xff")
                await trio.sleep(PATIENCE_S / 10)
    await still_works(network, start_node)


@pytest.mark.trio
async def test_handshakes_are_few_and_their_places_are_given_back(start_node: StartNode) -> None:
    # Given more silent strangers than there are places for handshakes
    network = await start_node("node", limits=IMPATIENT, prepare=serving)
    async with trio.open_nursery() as nursery:

        async def be_silent() -> None:
            async with raw_socket(network) as stranger:
                await wait_closed(stranger, within_s=20 * PATIENCE_S)

        for _ in range(10):
            nursery.start_soon(be_silent)
        # Then the others are turned away at once
        await eventually(lambda: network.metrics()["refused_connections"] == 6)
        assert network.metrics()["handshakes"] == 4
    # And when their time is over, there is room for an honest peer
    await still_works(network, start_node)


@pytest.mark.trio
async def test_places_of_inbound_connections_are_given_back(start_node: StartNode) -> None:
    # Given a node with two places
    network = await start_node("node", limits=Limits(max_inbound=2), prepare=serving)
    # When peers come and go
    for number in range(5):
        async with hostile(network, f"visitor {number}"):
            await eventually(lambda: network.metrics()["peers"] == 1)
        await eventually(lambda: network.metrics()["peers"] == 0)
    # Then there is still room; and when both places are taken, a third is turned away
    async with hostile(network, "a"), hostile(network, "b"):
        await eventually(lambda: network.metrics()["peers"] == 2)
        async with raw_socket(network) as stranger:
            assert await wait_closed(stranger, within_s=2) == b""


@pytest.mark.trio
async def test_one_peer_has_few_connections(start_node: StartNode) -> None:
    network = await start_node("node", prepare=serving)
    async with hostile(network) as first, hostile(network), hostile(network) as third:
        await third.hung_up()
        assert not first.closed.is_set()


@pytest.mark.trio
async def test_an_address_with_another_peers_id_is_not_connected(start_node: StartNode) -> None:
    network = await start_node("node", prepare=serving)
    other = await start_node("other")
    wrong = network.addresses()[0].replace(network.peer_id, other.peer_id)
    dialler = await start_node("dialler")
    await dialler.connect(wrong)
    await eventually(lambda: network.metrics()["refused_connections"] >= 1)
    assert dialler.peers() == []


VIOLATIONS = {
    "another version": yamux(DATA, 0, 1, 0, version=1),
    "an unknown type": yamux(4, 0, 1, 0),
    "unknown flags": yamux(DATA, 16, 1, 0),
    "more data than the window": yamux(WINDOW_UPDATE, SYN, 1, 0) + yamux(DATA, 0, 1, WINDOW_BYTES + 1),
    "4 GiB for a stream": yamux(WINDOW_UPDATE, SYN, 1, 0) + yamux(DATA, 0, 1, 2**32 - 1),
    "4 GiB for no stream": yamux(DATA, 0, 77, 2**32 - 1),
    "a stream twice": yamux(WINDOW_UPDATE, SYN, 1, 0) * 2,
    "a stream of ours": yamux(WINDOW_UPDATE, SYN, 2, 0),
    "stream zero": yamux(WINDOW_UPDATE, SYN, 0, 0),
}


@pytest.mark.trio
@pytest.mark.parametrize("octets", VIOLATIONS.values(), ids=VIOLATIONS)
async def test_a_broken_multiplexer_ends_the_connection_and_costs_the_peer(
    start_node: StartNode, octets: bytes
) -> None:
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        await mallory.send(octets)
        await mallory.hung_up()
    assert network.metrics()["offence_protocol_violation"] == 1
    await still_works(network, start_node)


@pytest.mark.trio
async def test_what_yamux_allows_is_allowed(start_node: StartNode) -> None:
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        await mallory.send(yamux(PING, SYN, 0, 7) + yamux(PING, ACK, 0, 9))
        await mallory.send(yamux(DATA, RST, 99, 3, b"abc") + yamux(WINDOW_UPDATE, RST, 99, 5))
        await mallory.send(yamux(DATA, SYN, 1, len(MULTISTREAM), MULTISTREAM) + yamux(WINDOW_UPDATE, 0, 1, 2**32 - 1))
        await mallory.until(lambda: mallory.received.get(1) == MULTISTREAM)
        mallory.next_stream = 3
        stream = await mallory.open("/echo/1")
        await mallory.write(stream, frame(b"hi"))
        await mallory.until(lambda: mallory.received[stream] == b"\x00" + frame(b"hi"))
    assert "offence_protocol_violation" not in network.metrics()


@pytest.mark.trio
async def test_more_streams_than_allowed_are_reset_and_cost_the_peer(start_node: StartNode) -> None:
    # Given a peer that opens streams and says nothing on them
    network = await start_node("node", limits=Limits(streams_per_peer=8, score_recovery_per_minute=0), prepare=serving)
    async with hostile(network) as mallory:
        for stream in range(1, 2 * 12, 2):
            await mallory.send(yamux(WINDOW_UPDATE, SYN, stream, 0))
        # Then those beyond the limit are reset, each for the price of a flood
        await mallory.until(lambda: sum(bool(flags & RST) for flags in mallory.flags.values()) == 4)
        assert network.metrics()["offence_flood"] == 4
        # And going on that way ends in a ban
        for stream in range(101, 101 + 2 * 20, 2):
            await mallory.send(yamux(WINDOW_UPDATE, SYN, stream, 0))
        await mallory.hung_up()
        assert network.metrics()["bans"] == 1
    await still_works(network, start_node)


@pytest.mark.trio
async def test_who_asks_for_answers_and_does_not_take_them_is_cut_off(start_node: StartNode) -> None:
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        # Given a peer whose receive side stands still: the socket's buffers fill, then the node's queue of answers
        mallory.deaf = True
        pings = yamux(PING, SYN, 0, 1) * 5_000
        with trio.fail_after(30):
            while network.metrics().get("offence_protocol_violation") is None:
                await mallory.pester(pings)
        await eventually(lambda: network.metrics()["peers"] == 0)
    assert MAX_QUEUED_ANSWERS < 5_000


@pytest.mark.trio
async def test_a_torrent_of_frames_does_not_occupy_the_node(start_node: StartNode) -> None:
    # Given a peer that sends empty frames as fast as it can
    network = await start_node("node", prepare=serving)
    honest = await start_node("honest", [network])
    async with hostile(network) as mallory, trio.open_nursery() as nursery:

        async def torrent() -> None:
            while True:
                await mallory.send(yamux(DATA, 0, 99, 0) * 5_000)

        nursery.start_soon(torrent)
        # Then others are answered meanwhile
        with trio.fail_after(20):
            for number in range(10):
                assert await honest.request(network.peer_id, "/echo/1", b"%d" % number) == b"%d" % number
        nursery.cancel_scope.cancel()


BAD_LINES = {
    "not UTF-8": frame(b"\xff\xfe\n"),
    "a long promise": encode_varint(2**31),
    "an unknown protocol": MULTISTREAM + line("/unknown/1"),
    "another multistream": line("/multistream/9"),
    "an empty line": b"\x00",
}


@pytest.mark.trio
@pytest.mark.parametrize("octets", BAD_LINES.values(), ids=BAD_LINES)
async def test_a_bad_negotiation_costs_only_the_stream(start_node: StartNode, octets: bytes) -> None:
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        await mallory.send(yamux(WINDOW_UPDATE, SYN, 1, 0) + yamux(DATA, 0, 1, len(octets), octets))
        await mallory.until(lambda: mallory.flags.get(1, 0) & RST or line("na") in mallory.received.get(1, b""))
        mallory.next_stream = 3
        stream = await mallory.open("/echo/1")
        await mallory.write(stream, frame(b"hi"))
        await mallory.until(lambda: mallory.received[stream] == b"\x00" + frame(b"hi"))
    await still_works(network, start_node)


@pytest.mark.trio
@pytest.mark.parametrize("protocol", ["/ipfs/id/push/1.0.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"])
async def test_junk_for_the_librarys_own_handlers_is_harmless(start_node: StartNode, protocol: str) -> None:
    network = await start_node("node", prepare=serving)
    async with hostile(network) as mallory:
        for octets in (b"\xff" * 40, frame(b"\xff\xff\xff"), frame(b"\x0a\xff\xff\xff\xff\x0f"), os.urandom(500)):
            stream = await mallory.open(protocol)
            await mallory.write(stream, octets)
            await mallory.send(yamux(DATA, 4, stream, 0))
            await mallory.until(lambda stream=stream: mallory.flags.get(stream, 0) & (4 | RST), within_s=15)
    await still_works(network, start_node)


@pytest.mark.trio
async def test_a_banned_peer_may_not_come_back_by_dialling_or_being_dialled(start_node: StartNode) -> None:
    network = await start_node("node", limits=NO_RECOVERY, prepare=serving)
    other = await start_node("other", [network])
    await connected(network, other.peer_id)
    await network.ban(other.peer_id, 60, "a test")
    await eventually(lambda: network.metrics()["peers"] == 0)
    await network.connect(other.addresses()[0])
    async with hostile(network, "other") as returning:
        await returning.hung_up()
    assert network.metrics()["peers"] == 0


@pytest.mark.trio
@pytest.mark.parametrize("octets", [b"", MULTISTREAM[:5], MULTISTREAM], ids=["nothing", "half a line", "a line"])
async def test_who_connects_and_leaves_frees_its_place_at_once(start_node: StartNode, octets: bytes) -> None:
    # Given a node that would wait five seconds for a handshake, at work all the time if it took an end for a pause
    network = await start_node("node")
    async with raw_socket(network) as stranger:
        await stranger.send_all(octets)
    await eventually(lambda: network.metrics()["refused_connections"] == 1, within_s=2)
    assert network.metrics()["handshakes"] == 0

"""Peers that lie, flood and talk nonsense in the protocols by which nodes find and reach each other."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from p2p import exchange, reachability
from p2p.addresses import CircuitAddress, TcpAddress, parse_address
from p2p.exchange import Answer, encode_answer
from p2p.joining import Joining, RelayRole
from p2p.libp2p import LibP2PNetwork
from p2p.libp2p.streams import encode_varint, frame, read_frame
from p2p.limits import Limits
from p2p.network import Offence
from p2p.peer_record import PeerRecord, seal
from p2p.protobuf import field_bytes, field_number
from p2p.relay_wire import (
    HOLE_PUNCH,
    HOP,
    STOP,
    HopType,
    Message,
    PunchType,
    Status,
    StopType,
    decode_hop,
    decode_stop,
    encode_hop,
    encode_punch,
    encode_stop,
)
from tests.p2p.conftest import LOOPBACK, eventually
from tests.p2p.hostile import RST, Hostile, hostile, peer_id, raw_socket, seed, wait_closed

NETWORK = "0123456789abcdef"
PEERS = exchange.protocol(NETWORK)
DIAL_BACK = reachability.protocol(NETWORK)
Start = Callable[..., Awaitable[LibP2PNetwork]]


@pytest.fixture
async def start(nursery: trio.Nursery) -> Start:
    async def start(name: str, limits: Limits | None = None, relay: RelayRole = RelayRole.SERVE) -> LibP2PNetwork:
        joining = Joining(network_name=NETWORK, relay=relay)
        limits = limits or Limits(score_recovery_per_minute=0)
        network = LibP2PNetwork(seed(name), [LOOPBACK], (), None, limits, joining)
        await nursery.start(network.run)
        return network

    return start


@asynccontextmanager
async def asked(mallory: Hostile, protocol: str, octets: bytes) -> AsyncIterator[int]:
    stream = await mallory.open(protocol)
    await mallory.write(stream, octets)
    yield stream


def known(network: LibP2PNetwork) -> int:
    return int(network.metrics()["known_peers"])


def circuit(name: str, relay: str = "relay") -> PeerRecord:
    through = CircuitAddress(TcpAddress("ip4", "127.0.0.1", 4001, peer_id(relay)))
    return seal(seed(name), 1, [through])


# Peer exchange

NO_RECORDS = {
    "nothing": b"",
    "garbage": os.urandom(200),
    "an empty record": field_bytes(1, b""),
    "a record that is none": field_bytes(1, os.urandom(300)),
    "a long one": field_bytes(1, bytes(60_000)),
    "two": field_bytes(1, seal(seed("a"), 1, []).envelope) + field_bytes(1, seal(seed("b"), 1, []).envelope),
    "a field that ends early": b"\x0a\xff\x7f",
    "a record with a bit changed": field_bytes(1, seal(seed("a"), 1, []).envelope[:-1] + b"\x00"),
}


@pytest.mark.trio
@pytest.mark.parametrize("octets", NO_RECORDS.values(), ids=NO_RECORDS)
async def test_a_request_without_a_record_is_refused_and_costs_the_peer(start: Start, octets: bytes) -> None:
    network = await start("node")
    async with hostile(network) as mallory, asked(mallory, PEERS, frame(octets)) as stream:
        await mallory.until(lambda: mallory.received[stream][:1] == b"\x01")
        assert network.metrics()["offence_invalid_message"] == 1
        assert known(network) == 0


@pytest.mark.trio
async def test_asking_too_often_is_refused(start: Start) -> None:
    network = await start("node")
    request = frame(field_bytes(1, seal(seed("mallory"), 1, []).envelope))
    async with hostile(network) as mallory:
        answers = []
        for _ in range(exchange.ASKS_BURST + 3):
            async with asked(mallory, PEERS, request) as stream:
                await mallory.until(lambda stream=stream: mallory.received[stream])
                answers.append(mallory.received[stream][0])
        assert answers == [0] * exchange.ASKS_BURST + [1] * 3
    assert known(network) == 1


@pytest.mark.trio
async def test_a_peers_lies_in_an_answer_cost_it_and_are_not_taken_in(start: Start) -> None:
    # Given a peer that answers with records of its own making
    network = await start("node")
    async with hostile(network) as mallory:
        stream = await mallory.accept(PEERS)
        lie = seal(seed("victim"), 5, []).envelope
        own = seal(seed("mallory"), 1, []).envelope
        answer = encode_answer(Answer(own, (lie[:-1] + b"\x00",), parse_address("/ip4/8.8.8.8/tcp/1")))
        await mallory.write(stream, b"\x00" + frame(answer))
        await eventually(lambda: network.metrics().get("offence_invalid_message") == 1)
        assert known(network) == 1


@pytest.mark.trio
async def test_an_answer_beyond_the_limits_is_not_read(start: Start) -> None:
    network = await start("node")
    async with hostile(network) as mallory:
        stream = await mallory.accept(PEERS)
        own = seal(seed("mallory"), 1, []).envelope
        many = field_bytes(1, own) + field_bytes(2, own) * (exchange.MAX_ENVELOPES + 1)
        await mallory.write(stream, b"\x00" + frame(many))
        await eventually(lambda: network.metrics().get("offence_invalid_message") == 1)
        assert known(network) == 0


@pytest.mark.trio
async def test_made_up_peers_are_not_passed_on(start: Start) -> None:
    # Given a peer that tells of peers nobody has met
    network = await start("node")
    async with hostile(network) as mallory, hostile(network, "honest") as honest:
        stream = await mallory.accept(PEERS)
        made_up = tuple(circuit(f"sybil {number}").envelope for number in range(exchange.MAX_ENVELOPES))
        answer = Answer(seal(seed("mallory"), 1, []).envelope, made_up, None)
        await mallory.write(stream, b"\x00" + frame(encode_answer(answer)))
        await eventually(lambda: known(network) == exchange.MAX_ENVELOPES + 1)
        # Then another who asks hears of those that were met, and of nobody else
        request = frame(field_bytes(1, seal(seed("honest"), 1, []).envelope))
        async with asked(honest, PEERS, request) as question:
            await honest.until(lambda: len(honest.received[question]) > 100)
            for envelope in made_up:
                assert envelope not in honest.received[question]
            assert seal(seed("mallory"), 1, []).envelope in honest.received[question]


# Dialling back


@pytest.mark.trio
@pytest.mark.parametrize("octets", [b"", b"\x10", b"\x00\x50", b"\x03\xff", b"\x10\x00\x00", bytes(1_000)])
async def test_only_a_port_that_may_be_dialled_is_dialled_back(start: Start, octets: bytes) -> None:
    network = await start("node")
    async with hostile(network) as mallory, asked(mallory, DIAL_BACK, frame(octets)) as stream:
        await mallory.until(lambda: mallory.received[stream][:1] == b"\x01")


@pytest.mark.trio
async def test_dialling_back_goes_to_the_asking_peer_only_and_finds_out_who_is_there(start: Start) -> None:
    network = await start("node")
    other = await start("other")
    port = parse_address(other.addresses()[0]).port
    async with hostile(network) as mallory:
        # Given a peer that gives another's port for its own: dialled, and found to be another
        async with asked(mallory, DIAL_BACK, frame(port.to_bytes(2, "big"))) as stream:
            await mallory.until(lambda: len(mallory.received[stream]) == 3, within_s=10)
            assert mallory.received[stream] == b"\x00" + frame(b"\x00")
        # And asking on and on is refused
        answers = []
        for _ in range(reachability.ASKS_BURST + 2):
            async with asked(mallory, DIAL_BACK, frame(b"\xff\xfe")) as stream:
                await mallory.until(lambda stream=stream: mallory.received[stream], within_s=10)
                answers.append(mallory.received[stream][0])
        assert answers[-1] == 1


# Relays


async def answered(mallory: Hostile, stream: int) -> Message:
    await mallory.until(lambda: len(mallory.received[stream]) > 1)
    return decode_hop(bytes(mallory.received[stream][1:]))


NO_HOPS = {
    "garbage": frame(os.urandom(100)),
    "an endless length": b"\xff" * 20,
    "4 GiB": encode_varint(2**32 - 1),
    "more than a message": frame(bytes(5_000)),
    "a peer that is none": frame(field_number(1, 1) + field_bytes(2, field_bytes(1, b"nobody"))),
    "nothing": frame(b""),
}


@pytest.mark.trio
@pytest.mark.parametrize("protocol", [HOP, STOP])
@pytest.mark.parametrize("octets", NO_HOPS.values(), ids=NO_HOPS)
async def test_nonsense_to_a_relay_or_from_one_costs_the_peer(start: Start, protocol: str, octets: bytes) -> None:
    network = await start("relay")
    async with hostile(network) as mallory, asked(mallory, protocol, octets) as stream:
        await mallory.until(lambda: mallory.flags.get(stream, 0) & RST)
        assert network.metrics()["offence_protocol_violation"] == 1


@pytest.mark.trio
@pytest.mark.parametrize(
    ("message", "status"),
    [
        (Message(HopType.CONNECT, peer_id("nobody")), Status.NO_RESERVATION),
        (Message(HopType.CONNECT, peer_id("mallory")), Status.NO_RESERVATION),
        (Message(HopType.CONNECT), Status.UNEXPECTED_MESSAGE),
        (Message(HopType.STATUS, status=Status.OK), Status.UNEXPECTED_MESSAGE),
        (Message(77), Status.UNEXPECTED_MESSAGE),
    ],
)
async def test_what_a_relay_cannot_do_it_says(start: Start, message: Message, status: Status) -> None:
    network = await start("relay")
    async with hostile(network) as mallory, asked(mallory, HOP, frame(encode_hop(message))) as stream:
        assert (await answered(mallory, stream)).status == status


@pytest.mark.trio
async def test_who_is_no_relay_says_so(start: Start) -> None:
    network = await start("home", relay=RelayRole.AUTO)
    question = frame(encode_hop(Message(HopType.RESERVE)))
    async with hostile(network) as mallory, asked(mallory, HOP, question) as stream:
        assert (await answered(mallory, stream)).status == Status.PERMISSION_DENIED


@pytest.mark.trio
async def test_a_flood_of_questions_to_a_relay_ends_in_a_ban(start: Start) -> None:
    prices = dict.fromkeys(Offence, 50)
    network = await start("relay", Limits(prices=prices, score_recovery_per_minute=0))
    async with hostile(network) as mallory:
        with suppress(Exception):  # the node hangs up on the way
            for _ in range(40):
                async with asked(mallory, HOP, frame(encode_hop(Message(HopType.RESERVE)))):
                    pass
        await mallory.hung_up()
        assert network.metrics()["bans"] == 1


@pytest.mark.trio
async def test_reservations_and_circuits_are_so_many_and_no_more(start: Start) -> None:
    # Given a relay with room for two reservations and one circuit
    limits = Limits(reservations=2, circuits=1, circuits_per_peer=1, score_recovery_per_minute=0)
    relay = await start("relay", limits)
    reserve = frame(encode_hop(Message(HopType.RESERVE)))
    async with hostile(relay, "a") as a, hostile(relay, "b") as b, hostile(relay, "c") as c:
        statuses = []
        for one in (a, b, c):
            async with asked(one, HOP, reserve) as stream:
                statuses.append((await answered(one, stream)).status)
        assert statuses == [Status.OK, Status.OK, Status.RESERVATION_REFUSED]
        # When a circuit stands
        connect = frame(encode_hop(Message(HopType.CONNECT, peer_id("b"))))
        async with asked(a, HOP, connect) as stream:
            onward = await b.accept(STOP)
            await b.until(lambda: len(b.received[onward]) > 1)
            brought = decode_stop(bytes(b.received[onward][1:]))
            assert (brought.kind, brought.peer) == (StopType.CONNECT, peer_id("a"))
            await b.write(onward, frame(encode_stop(Message(StopType.STATUS, status=Status.OK))))
            assert (await answered(a, stream)).status == Status.OK
            # Then there is no other, for nobody
            async with asked(c, HOP, connect) as refused:
                assert (await answered(c, refused)).status == Status.RESOURCE_LIMIT_EXCEEDED
            # And what goes in comes out
            del a.received[stream][:], b.received[onward][:]
            await a.write(stream, b"there")
            await b.until(lambda: b.received[onward] == b"there")
            await b.write(onward, b"and back")
            await a.until(lambda: a.received[stream] == b"and back")
        assert relay.metrics()["relay_circuits"] == 1
    # And when an end is gone the place is given back, and the reservations of those who left
    await eventually(lambda: relay.metrics()["relay_circuits"] == relay.metrics()["relay_reservations"] == 0)


@asynccontextmanager
async def joined(relay: LibP2PNetwork) -> AsyncIterator[tuple[Hostile, int, Hostile, int]]:
    """Two ends of a circuit that stands, with their streams."""
    async with hostile(relay, "a") as a, hostile(relay, "b") as b:
        async with asked(b, HOP, frame(encode_hop(Message(HopType.RESERVE)))) as stream:
            await answered(b, stream)
        stream = await a.open(HOP)
        await a.write(stream, frame(encode_hop(Message(HopType.CONNECT, peer_id("b")))))
        onward = await b.accept(STOP)
        await b.until(lambda: len(b.received[onward]) > 1)
        await b.write(onward, frame(encode_stop(Message(StopType.STATUS, status=Status.OK))))
        await answered(a, stream)
        del a.received[stream][:], b.received[onward][:]
        yield a, stream, b, onward


@pytest.mark.trio
async def test_a_circuit_ends_with_its_bytes(start: Start) -> None:
    relay = await start("relay", Limits(circuit_bytes=100_000, score_recovery_per_minute=0))
    async with joined(relay) as (a, stream, b, onward):
        await a.write(stream, bytes(60_000))
        await b.until(lambda: len(b.received[onward]) == 60_000)
        await b.write(onward, bytes(60_000))
        await a.until(lambda: a.flags[stream] & RST)
        assert len(a.received[stream]) <= 40_000
        assert relay.metrics()["circuits_over_their_bytes"] == 1


@pytest.mark.trio
async def test_a_circuit_ends_with_its_time(start: Start) -> None:
    relay = await start("relay", Limits(circuit_s=0.5, score_recovery_per_minute=0))
    async with joined(relay) as (a, stream, _, _):
        await a.until(lambda: a.flags[stream] & RST, within_s=5)


@pytest.mark.trio
async def test_a_circuit_is_paced(start: Start) -> None:
    # Given a relay that carries 100 kB a second after a burst of 1 MiB
    relay = await start("relay", Limits(circuit_bytes_per_second=100_000, score_recovery_per_minute=0))
    async with joined(relay) as (a, stream, b, onward):
        began_s = trio.current_time()
        for _ in range(12):
            await a.write(stream, bytes(100_000))
            await b.until(lambda: len(b.received[onward]) >= 100_000, within_s=20)
            del b.received[onward][:]
            await b.send(window(onward, 100_000))
        assert trio.current_time() - began_s > 1


def window(stream: int, increment: int) -> bytes:
    from tests.p2p.hostile import WINDOW_UPDATE, yamux

    return yamux(WINDOW_UPDATE, 0, stream, increment)


@pytest.mark.trio
async def test_a_circuit_from_one_that_is_not_our_relay_is_not_taken(start: Start) -> None:
    network = await start("home")
    brought = frame(encode_stop(Message(StopType.CONNECT, peer_id("friend"))))
    async with hostile(network) as mallory, asked(mallory, STOP, brought) as stream:
        await mallory.until(lambda: len(mallory.received[stream]) > 1)
        assert decode_stop(bytes(mallory.received[stream][1:])).status == Status.PERMISSION_DENIED
    assert {info.peer for info in network.peers()} <= {peer_id("mallory")}


@pytest.mark.trio
async def test_a_relay_that_brings_another_than_it_says_brings_nobody(start: Start) -> None:
    # Given a home that trusts a relay to bring it peers, and a relay that talks Noise itself in a friend's name
    home = await start("home")
    relay = await start("mallory")
    await home.connect(relay.addresses()[0])
    await eventually(lambda: len(home.peers()) == len(relay.peers()) == 1)
    assert home.outreach is not None
    assert await home.outreach.circuits.reserve(relay.peer_id)
    stream = await relay._open_stream(home.peer_id, STOP)
    await stream.write(frame(encode_stop(Message(StopType.CONNECT, peer_id("friend")))))
    from libp2p.network.connection.raw_connection import RawConnection
    from libp2p.peer.id import ID

    from p2p.libp2p.circuits import CircuitStream

    assert decode_stop(await read_frame(stream, 100)).status == Status.OK
    with suppress(Exception):  # whatever the library raises when the home hangs up
        with trio.fail_after(5):
            raw = RawConnection(CircuitStream(stream), True)
            await relay._host.swarm.upgrader.upgrade_security(raw, True, ID.from_base58(home.peer_id))
    # Then nobody of that name is connected
    await eventually(lambda: home.metrics()["handshakes"] == 0, within_s=10)
    assert [info.peer for info in home.peers()] == [relay.peer_id]


# Hole punching


@pytest.mark.trio
async def test_a_hole_is_punched_over_relayed_connections_only(start: Start) -> None:
    network = await start("home")
    told = frame(encode_punch(PunchType.CONNECT, [TcpAddress("ip4", "8.8.8.8", 4001)]))
    async with hostile(network) as mallory, asked(mallory, HOLE_PUNCH, told) as stream:
        await mallory.until(lambda: mallory.flags.get(stream, 0) & RST)
        assert mallory.received[stream] == b""


# One address among many


@pytest.mark.trio
async def test_one_address_cannot_have_all_handshakes(start: Start) -> None:
    # Given a node whose places for handshakes are six, three for one address
    limits = Limits(max_handshakes=6, max_handshakes_per_address=3, handshake_timeout_s=3)
    network = await start("node", limits)
    async with trio.open_nursery() as nursery:

        async def be_silent() -> None:
            async with raw_socket(network) as stranger:
                await wait_closed(stranger, within_s=20)

        # When strangers from one address are silent
        for _ in range(10):
            nursery.start_soon(be_silent)
        await eventually(lambda: network.metrics()["refused_connections"] == 7)
        assert network.metrics()["handshakes"] == 3
        # Then one from another address is heard at once
        address = parse_address(network.addresses()[0])
        with trio.fail_after(2):
            stream = await trio.open_tcp_stream(address.host, address.port, local_address="127.0.0.2")
            async with stream:
                from tests.p2p.hostile import MULTISTREAM, line

                await stream.send_all(MULTISTREAM + line("/noise"))
                assert await stream.receive_some(1_000)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_one_address_cannot_have_all_connections(start: Start) -> None:
    limits = Limits(max_inbound=4, max_inbound_per_address=2, score_recovery_per_minute=0)
    network = await start("node", limits)
    async with hostile(network, "a"), hostile(network, "b"):
        await eventually(lambda: network.metrics()["inbound"] == 2)
        async with raw_socket(network) as third:
            assert await wait_closed(third, within_s=2) == b""
        address = parse_address(network.addresses()[0])
        elsewhere = await trio.open_tcp_stream(address.host, address.port, local_address="127.0.0.2")
        async with elsewhere:
            from tests.p2p.hostile import MULTISTREAM, line

            await elsewhere.send_all(MULTISTREAM + line("/noise"))
            with trio.fail_after(2):
                assert await elsewhere.receive_some(1_000)

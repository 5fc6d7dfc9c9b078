"""The messages of relays and of hole punching, against the library's protobufs."""

from __future__ import annotations

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.addresses import TcpAddress
from p2p.protobuf import MalformedProtobuf
from p2p.relay_wire import (
    MAX_PUNCHED_ADDRESSES,
    HopType,
    Message,
    PunchType,
    Status,
    StopType,
    decode_hop,
    decode_punch,
    decode_stop,
    encode_hop,
    encode_punch,
    encode_stop,
)
from tests.p2p.hostile import peer_id

MESSAGES = [
    Message(HopType.RESERVE),
    Message(HopType.CONNECT, peer_id("bob")),
    Message(HopType.STATUS, expire_s=1_795_000_000, duration_s=120, data_bytes=1 << 30, status=Status.OK),
    Message(HopType.STATUS, status=Status.NO_RESERVATION),
]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_hop_messages_are_those_of_the_specification(message: Message) -> None:
    from p2p.libp2p import fastecdsa_stub

    fastecdsa_stub.install()
    from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage

    read = HopMessage()
    read.ParseFromString(encode_hop(message))
    assert (read.type, read.status) == (message.kind, message.status)
    assert read.peer.id == (b"" if message.peer is None else base58.b58decode(message.peer))
    assert (read.reservation.expire, read.limit.duration) == (message.expire_s, message.duration_s)
    assert read.limit.data == message.data_bytes
    assert decode_hop(read.SerializeToString()) == message == decode_hop(encode_hop(message))


@pytest.mark.parametrize(
    "message",
    [
        Message(StopType.CONNECT, peer_id("bob"), duration_s=120, data_bytes=9),
        Message(StopType.STATUS, status=Status.OK),
    ],
    ids=str,
)
def test_stop_messages_are_those_of_the_specification(message: Message) -> None:
    from p2p.libp2p import fastecdsa_stub

    fastecdsa_stub.install()
    from libp2p.relay.circuit_v2.pb.circuit_pb2 import StopMessage

    read = StopMessage()
    read.ParseFromString(encode_stop(message))
    assert (read.type, read.status, read.limit.duration) == (message.kind, message.status, message.duration_s)
    assert decode_stop(read.SerializeToString()) == message


def test_hole_punch_messages_are_those_of_the_specification() -> None:
    from p2p.libp2p import fastecdsa_stub

    fastecdsa_stub.install()
    from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
    from multiaddr import Multiaddr

    addresses = [TcpAddress("ip4", "8.8.8.8", 4001), TcpAddress("ip6", "2001:db8::1", 4001)]
    read = HolePunch()
    read.ParseFromString(encode_punch(PunchType.CONNECT, addresses))
    assert read.type == HolePunch.CONNECT
    assert [str(Multiaddr(packed)) for packed in read.ObsAddrs] == [str(address) for address in addresses]
    read.ObsAddrs.append(Multiaddr("/ip4/8.8.8.8/udp/1/quic-v1").to_bytes())
    assert decode_punch(read.SerializeToString()) == (PunchType.CONNECT, addresses)
    assert decode_punch(encode_punch(PunchType.SYNC)) == (PunchType.SYNC, [])


def test_so_many_addresses_are_punched_and_no_more() -> None:
    addresses = [TcpAddress("ip4", "8.8.8.8", port) for port in range(4001, 4100)]
    assert len(decode_punch(encode_punch(PunchType.CONNECT, addresses))[1]) == MAX_PUNCHED_ADDRESSES


@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused(octets: bytes) -> None:
    for decode in (decode_hop, decode_stop, decode_punch):
        try:
            decode(octets)
        except MalformedProtobuf:
            continue

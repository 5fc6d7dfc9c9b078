"""The messages of circuit relay v2 and of its hole punching. Sources: libp2p specs, ``relay/circuit-v2.md`` and
``relay/DCUtR.md``.

A message is a varint length, at most MAX_MESSAGE_BYTES, and that much protobuf (``p2p.protobuf``). Peers are peer ids
in binary; only those of Ed25519 keys are known here. The reservation voucher, which the specification makes optional,
is neither sent nor read: the relay itself remembers to whom it gave its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import base58

from p2p.addresses import TcpAddress, pack_address, unpack_address
from p2p.network import PeerId
from p2p.peer_identity import public_key_from_peer_id
from p2p.protobuf import MalformedProtobuf, field_bytes, field_number, read_fields

HOP = "/libp2p/circuit/relay/0.2.0/hop"
STOP = "/libp2p/circuit/relay/0.2.0/stop"
HOLE_PUNCH = "/libp2p/dcutr"
MAX_MESSAGE_BYTES = 4_096
MAX_PUNCHED_ADDRESSES = 8
_MAX_FOREIGN_ADDRESSES = 64


class HopType(IntEnum):
    RESERVE = 0
    CONNECT = 1
    STATUS = 2


class StopType(IntEnum):
    CONNECT = 0
    STATUS = 1


class PunchType(IntEnum):
    CONNECT = 100
    SYNC = 300


class Status(IntEnum):
    OK = 100
    RESERVATION_REFUSED = 200
    RESOURCE_LIMIT_EXCEEDED = 201
    PERMISSION_DENIED = 202
    CONNECTION_FAILED = 203
    NO_RESERVATION = 204
    MALFORMED_MESSAGE = 400
    UNEXPECTED_MESSAGE = 401


@dataclass(frozen=True, slots=True)
class Message:
    """A hop or a stop message: of ``kind`` as its protocol numbers them. ``expire_s`` is in seconds of Unix time,
    ``duration_s`` and ``data_bytes`` are limits of a circuit, 0 for none; ``status`` is 0 where there is none.
    """

    kind: int
    peer: PeerId | None = None
    expire_s: int = 0
    duration_s: int = 0
    data_bytes: int = 0
    status: int = 0


def encode_hop(message: Message) -> bytes:
    return _encode(message, reservation_tag=3, limit_tag=4, status_tag=5)


def decode_hop(octets: bytes) -> Message:
    """Error: MalformedProtobuf."""
    return _decode(octets, reservation_tag=3, limit_tag=4, status_tag=5)


def encode_stop(message: Message) -> bytes:
    return _encode(message, reservation_tag=0, limit_tag=3, status_tag=4)


def decode_stop(octets: bytes) -> Message:
    """Error: MalformedProtobuf."""
    return _decode(octets, reservation_tag=0, limit_tag=3, status_tag=4)


def _encode(message: Message, reservation_tag: int, limit_tag: int, status_tag: int) -> bytes:
    octets = field_number(1, message.kind)
    if message.peer is not None:
        octets += field_bytes(2, field_bytes(1, base58.b58decode(message.peer)))
    if message.expire_s:
        assert reservation_tag
        octets += field_bytes(reservation_tag, field_number(1, message.expire_s))
    if message.duration_s or message.data_bytes:
        limit = field_number(1, message.duration_s) + field_number(2, message.data_bytes)
        octets += field_bytes(limit_tag, limit)
    if message.status:
        octets += field_number(status_tag, message.status)
    return octets


def _decode(octets: bytes, reservation_tag: int, limit_tag: int, status_tag: int) -> Message:
    fields = read_fields(octets, octets={2: 1, reservation_tag: 1, limit_tag: 1}, numbers={1: 1, status_tag: 1})
    peer = None
    if 2 in fields.octets:
        inner = read_fields(fields.one(2), octets={1: 1})
        peer = _peer(inner.one(1))
    reservation = read_fields(fields.octets.get(reservation_tag, [b""])[0], numbers={1: 1})
    limit = read_fields(fields.octets.get(limit_tag, [b""])[0], numbers={1: 1, 2: 1})
    return Message(
        kind=fields.number(1),
        peer=peer,
        expire_s=reservation.number(1, 0),
        duration_s=limit.number(1, 0),
        data_bytes=limit.number(2, 0),
        status=fields.number(status_tag, 0),
    )


def _peer(octets: bytes) -> PeerId:
    peer = base58.b58encode(octets[:64]).decode("ascii")
    try:
        public_key_from_peer_id(peer)
    except ValueError as error:
        raise MalformedProtobuf("not the id of an Ed25519 key") from error
    return peer


def encode_punch(kind: PunchType, addresses: Sequence[TcpAddress] = ()) -> bytes:
    packed = [pack_address(address) for address in addresses[:MAX_PUNCHED_ADDRESSES]]
    return field_number(1, kind) + b"".join(field_bytes(2, address) for address in packed)


def decode_punch(octets: bytes) -> tuple[int, list[TcpAddress]]:
    """The type and the TCP addresses; those of other kinds are passed over. Error: MalformedProtobuf."""
    fields = read_fields(octets, octets={2: _MAX_FOREIGN_ADDRESSES}, numbers={1: 1})
    addresses: list[TcpAddress] = []
    for packed in fields.octets.get(2, []):
        try:
            address = unpack_address(packed)
        except ValueError:  # another transport
            continue
        if isinstance(address, TcpAddress):
            addresses.append(address)
    return fields.number(1), addresses[:MAX_PUNCHED_ADDRESSES]

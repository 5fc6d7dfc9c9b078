"""A peer's own word on where it can be reached: libp2p's peer record in a signed envelope.

1. The record names the peer, a *sequence* and addresses; the envelope is signed with the peer's key. Whoever passes it
   on can neither change it nor make one up. Of two records of a peer the one with the higher sequence holds; a peer's
   sequence is the wall clock's milliseconds when it made the record.
2. Protobuf on the wire (``p2p.protobuf``). What is passed on is the envelope as it came, byte for byte.
3. At most MAX_ENVELOPE_BYTES and MAX_ADDRESSES; addresses carry no peer of their own (rule 1 names it). An address of a
   kind that is not known here is passed over: others may speak more transports than we do.

Sources: libp2p specs, ``RFC/0002-signed-envelopes.md`` and ``RFC/0003-routing-records.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import base58
import nacl.exceptions
import nacl.signing

from p2p.addresses import Address, pack_address, unpack_address, without_peer
from p2p.network import PeerId
from p2p.peer_identity import peer_id_from_public_key
from p2p.protobuf import MalformedProtobuf, field_bytes, field_number, read_fields, varint

MAX_ENVELOPE_BYTES = 2_048
MAX_ADDRESSES = 8
_MAX_FOREIGN_ADDRESSES = 32
_MAX_SEQUENCE = 2**53
_DOMAIN = b"libp2p-peer-record"
_PAYLOAD_TYPE = bytes.fromhex("0301")
_KEY_PREFIX = bytes.fromhex("08011220")


class InvalidRecord(ValueError):
    """Not a peer record within the rules, or not signed by the peer it speaks of."""


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """``envelope`` is what is passed on; the rest is what it says."""

    peer: PeerId
    sequence: int
    addresses: tuple[Address, ...]
    envelope: bytes


def seal(node_key_seed: bytes, sequence: int, addresses: Iterable[Address]) -> PeerRecord:
    """Our own record, with the first MAX_ADDRESSES addresses."""
    key = nacl.signing.SigningKey(node_key_seed)
    public_key = bytes(key.verify_key)
    peer = peer_id_from_public_key(public_key)
    kept = tuple(without_peer(address) for address in addresses)[:MAX_ADDRESSES]
    payload = field_bytes(1, base58.b58decode(peer)) + field_number(2, sequence)
    payload += b"".join(field_bytes(3, field_bytes(1, pack_address(address))) for address in kept)
    envelope = (
        field_bytes(1, _KEY_PREFIX + public_key)
        + field_bytes(2, _PAYLOAD_TYPE)
        + field_bytes(3, payload)
        + field_bytes(5, key.sign(_signed(payload)).signature)
    )
    assert len(envelope) <= MAX_ENVELOPE_BYTES
    return PeerRecord(peer, sequence, kept, envelope)


def unseal(envelope: bytes) -> PeerRecord:
    """Reads and verifies a record. Error: InvalidRecord."""
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise InvalidRecord(f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes")
    try:
        return _unseal(envelope)
    except (MalformedProtobuf, nacl.exceptions.CryptoError) as error:
        raise InvalidRecord(f"not a signed peer record: {error!r}") from error


def _unseal(envelope: bytes) -> PeerRecord:
    outer = read_fields(envelope, octets={1: 1, 2: 1, 3: 1, 5: 1})
    key, payload, signature = outer.one(1), outer.one(3), outer.one(5)
    if outer.one(2) != _PAYLOAD_TYPE or not key.startswith(_KEY_PREFIX) or len(key) != len(_KEY_PREFIX) + 32:
        raise InvalidRecord("another kind of envelope, or of key")
    public_key = key[len(_KEY_PREFIX) :]
    if len(signature) != 64:
        raise InvalidRecord("not a signature")
    nacl.signing.VerifyKey(public_key).verify(_signed(payload), signature)
    inner = read_fields(payload, octets={1: 1, 3: _MAX_FOREIGN_ADDRESSES}, numbers={2: 1})
    peer = peer_id_from_public_key(public_key)
    sequence = inner.number(2)
    if inner.one(1) != base58.b58decode(peer) or not 0 < sequence < _MAX_SEQUENCE:
        raise InvalidRecord("speaks of another peer, or has no sequence")
    addresses: list[Address] = []
    for entry in inner.octets.get(3, []):
        try:
            addresses.append(without_peer(unpack_address(read_fields(entry, octets={1: 1}).one(1))))
        except ValueError:  # a transport this node does not speak: rule 3
            continue
    return PeerRecord(peer, sequence, tuple(addresses[:MAX_ADDRESSES]), envelope)


def _signed(payload: bytes) -> bytes:
    parts = (_DOMAIN, _PAYLOAD_TYPE, payload)
    return b"".join(varint(len(part)) + part for part in parts)

"""Peer records: what a peer signs of itself, and what nobody else can change."""

from __future__ import annotations

import base58
import nacl.signing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.addresses import CircuitAddress, TcpAddress
from p2p.peer_record import MAX_ADDRESSES, MAX_ENVELOPE_BYTES, InvalidRecord, seal, unseal
from p2p.protobuf import field_bytes, field_number
from tests.p2p.hostile import peer_id, seed

ADDRESSES = [
    TcpAddress("ip4", "192.0.2.1", 4001),
    TcpAddress("ip6", "2001:db8::1", 4001),
    CircuitAddress(TcpAddress("ip4", "192.0.2.9", 4001, peer_id("relay"))),
]


def test_a_record_is_read_as_it_was_sealed() -> None:
    record = seal(seed("alice"), 7, ADDRESSES)
    assert unseal(record.envelope) == record
    assert (record.peer, record.sequence, list(record.addresses)) == (peer_id("alice"), 7, ADDRESSES)


def test_other_implementations_read_it_and_we_read_theirs() -> None:
    from p2p.libp2p import fastecdsa_stub

    fastecdsa_stub.install()
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.envelope import consume_envelope, seal_record
    from libp2p.peer.id import ID
    from libp2p.peer.peer_record import PeerRecord as LibraryRecord
    from multiaddr import Multiaddr

    _, read = consume_envelope(seal(seed("alice"), 7, ADDRESSES).envelope, "libp2p-peer-record")
    assert (str(read.peer_id), read.seq) == (peer_id("alice"), 7)
    assert [str(address) for address in read.addrs] == [str(address) for address in ADDRESSES]
    keys = create_new_key_pair(seed("bob"))
    addresses = [Multiaddr("/ip4/192.0.2.1/tcp/4001"), Multiaddr("/ip4/192.0.2.1/udp/4001/quic-v1")]
    theirs = LibraryRecord(ID.from_pubkey(keys.public_key), addresses, 9)
    record = unseal(seal_record(theirs, keys.private_key).marshal_envelope())
    assert (record.peer, record.sequence) == (peer_id("bob"), 9)
    assert record.addresses == (TcpAddress("ip4", "192.0.2.1", 4001),)  # the other transport is passed over


def test_a_record_has_so_many_addresses_and_so_many_bytes() -> None:
    longest = CircuitAddress(TcpAddress("dns4", "h" * 120, 65_535, peer_id("relay")))
    record = seal(seed("alice"), 2**53 - 1, [longest] * 20)
    assert len(record.addresses) == MAX_ADDRESSES
    assert len(unseal(record.envelope).envelope) <= MAX_ENVELOPE_BYTES


def test_a_record_sealed_by_another_is_refused() -> None:
    # Given a record that speaks of alice and is signed by mallory
    mallory = nacl.signing.SigningKey(seed("mallory"))
    payload = field_bytes(1, base58.b58decode(peer_id("alice"))) + field_number(2, 99)
    signed = b"".join(bytes([len(part)]) + part for part in (b"libp2p-peer-record", b"\x03\x01", payload))
    for key in (mallory, nacl.signing.SigningKey(seed("alice"))):
        envelope = (
            field_bytes(1, bytes.fromhex("08011220") + bytes(key.verify_key))
            + field_bytes(2, b"\x03\x01")
            + field_bytes(3, payload)
            + field_bytes(5, mallory.sign(signed).signature)
        )
        # Then it is nobody's word
        with pytest.raises(InvalidRecord):
            unseal(envelope)


def test_every_bit_counts() -> None:
    envelope = seal(seed("alice"), 7, ADDRESSES).envelope
    for position in range(len(envelope)):
        broken = bytearray(envelope)
        broken[position] ^= 1
        try:
            record = unseal(bytes(broken))
        except InvalidRecord:
            continue
        raise AssertionError(f"byte {position} can be changed: {record}")


@given(st.binary(max_size=400))
def test_garbage_is_refused(octets: bytes) -> None:
    with pytest.raises(InvalidRecord):
        unseal(octets)


@pytest.mark.parametrize("size", [MAX_ENVELOPE_BYTES + 1, 1_000_000])
def test_what_is_too_long_is_refused_unread(size: int) -> None:
    with pytest.raises(InvalidRecord, match="at most"):
        unseal(bytes(size))


@pytest.mark.parametrize("sequence", [0, 2**53])
def test_a_sequence_has_bounds(sequence: int) -> None:
    with pytest.raises(InvalidRecord):
        unseal(seal(seed("alice"), sequence, ADDRESSES).envelope)

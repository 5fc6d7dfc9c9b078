"""Peer ids without libp2p: importing libp2p costs a second or more and 85 MB, naming a peer costs neither.

The id of an Ed25519 key is the identity multihash (code 0x00) of the key's protobuf record ``08 01 12 20 ‖ key``, in
base58 (Bitcoin alphabet). It always starts with ``12D3KooW``. Source: libp2p specs, ``peer-ids/peer-ids.md``.
"""

from __future__ import annotations

import base58

from p2p.network import PeerId

_PROTOBUF_ED25519 = bytes.fromhex("08011220")
_IDENTITY_MULTIHASH_36 = bytes.fromhex("0024")
_PREFIX = _IDENTITY_MULTIHASH_36 + _PROTOBUF_ED25519
_PEER_ID_BYTES = len(_PREFIX) + 32
_LONGEST_TEXT = 60


def peer_id_from_public_key(public_key: bytes) -> PeerId:
    """The peer id of a 32-byte Ed25519 public key. Error: ValueError for any other length."""
    if len(public_key) != 32:
        raise ValueError(f"an Ed25519 public key has 32 bytes, not {len(public_key)}")
    return base58.b58encode(_PREFIX + public_key).decode("ascii")


def public_key_from_peer_id(peer: PeerId) -> bytes:
    """The Ed25519 key (32 bytes) inside a peer id. Error: ValueError for anything that is not an Ed25519 peer id."""
    if len(peer) > _LONGEST_TEXT or not peer.isascii():
        raise ValueError("not an Ed25519 peer id")
    raw = base58.b58decode(peer)
    if len(raw) != _PEER_ID_BYTES or not raw.startswith(_PREFIX) or base58.b58encode(raw).decode("ascii") != peer:
        raise ValueError(f"{peer!r} is not the id of an Ed25519 key")  # b58decode also takes white space around one
    return bytes(raw[len(_PREFIX) :])

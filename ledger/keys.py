"""Ed25519 keys (RFC 8032), signatures under domain tags, hashes, and addresses.

1. Every signature covers ``tag ‖ chain id ‖ message``, so that what was signed for one purpose or chain is worth
   nothing elsewhere.
2. An address is what people see of a public key: ``ec`` followed by the key's base58check form (version byte 0x45).
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Final

import base58
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError

ADDRESS_PREFIX: Final = "ec"
ADDRESS_VERSION: Final = b"\x45"


class Domain(bytes, Enum):
    """What a signature is for. A tag ends in its version; none is a prefix of another."""

    TRANSACTION = b"ecloud/transaction/1"
    PROPOSAL = b"ecloud/proposal/1"
    VOTE = b"ecloud/vote/1"
    NODE_KEY = b"ecloud/node-key/1"
    INVITE = b"ecloud/invite/1"
    JOIN_REQUEST = b"ecloud/join-request/1"
    JOIN_DENIAL = b"ecloud/join-denial/1"
    METER_KEY = b"ecloud/meter-key/1"


class AddressError(ValueError):
    """The text is not an address."""


class SigningKey:
    """An Ed25519 key pair made from its 32-byte seed."""

    __slots__ = ("_secret", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
        self.seed = seed
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, domain: Domain, chain_id: bytes, message: bytes) -> bytes:
        """Returns the 64-byte signature over ``domain ‖ chain_id ‖ message``."""
        return crypto_sign(domain.value + chain_id + message, self._secret)[:64]


def verify_signature(public_key: bytes, domain: Domain, chain_id: bytes, message: bytes, signature: bytes) -> bool:
    """True if ``signature`` (64 bytes) is the key's (32 bytes) over ``domain ‖ chain_id ‖ message``; False for any
    other input.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + domain.value + chain_id + message, public_key)
    except CryptoError:
        return False
    return True


def digest(*parts: bytes) -> bytes:
    """SHA-256 of the parts' concatenation, 32 bytes."""
    return sha256(b"".join(parts)).digest()


@lru_cache(maxsize=4096)
def address_text(public_key: bytes) -> str:
    """The address of a 32-byte public key, for people."""
    assert len(public_key) == 32
    return ADDRESS_PREFIX + base58.b58encode_check(ADDRESS_VERSION + public_key).decode("ascii")


def parse_address(text: str) -> bytes:
    """The public key an address stands for. Errors: AddressError, saying what is wrong with the text."""
    if not text.startswith(ADDRESS_PREFIX):
        raise AddressError(f"an address begins with {ADDRESS_PREFIX!r}")
    try:
        payload = base58.b58decode_check(text[len(ADDRESS_PREFIX) :])
    except ValueError as error:
        raise AddressError("the address has a typing error: its checksum does not match") from error
    if len(payload) != 33 or payload[:1] != ADDRESS_VERSION or address_text(payload[1:]) != text:
        raise AddressError("the text is base58check, but not an address of this kind")  # or has white space at its end
    return payload[1:]

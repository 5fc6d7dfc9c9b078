"""An invite to a network: one line of text that a member hands to a newcomer.

1. An invite says which chain it is of, where nodes of it are, a block to trust (height and hash, so that a chain forged
   from old keys is seen to be one), the name the newcomer may wish, until when it is good, and which member vouches.
2. It travels as ``ecloud1`` ‖ data ‖ checksum in the 32 characters of Bech32 (BIP-173), the checksum that of Bech32m
   (BIP-350, 6 characters over prefix and data); white space is ignored. Its bytes are canonical CBOR of
   ``[body, signature]``, the signature the member's account key's under ``Domain.INVITE``.
3. ``decode_invite`` says which of these is wrong: prefix, a character, cut off, mistyped, no invite, another version, a
   signature that is not the member's. Whether the member is one, only the chain can say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final

import msgspec

from ledger.encoding import Bytes32, Bytes64, EncodingError, Unsigned, Wire, convert, decode, decode_plain, encode
from ledger.genesis import MAX_TITLE_CHARACTERS
from ledger.keys import Domain, SigningKey, address_text, digest, verify_signature
from ledger.transactions import MAX_NAME_CHARACTERS
from p2p.addresses import TcpAddress, parse_address, parse_peer_address
from p2p.network import NetworkError
from p2p.peer_identity import peer_id_from_public_key, public_key_from_peer_id

VERSION: Final = 1
PREFIX: Final = "ecloud1"
MAX_ADDRESSES: Final = 8
MAX_HOST_CHARACTERS: Final = 128
MAX_INVITE_BYTES: Final = 1024
MAX_INVITE_CHARACTERS: Final = 4096
"""Of the text, white space included."""
LONGEST_INVITE_MS: Final = 31 * 86_400_000

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M: Final = 0x2BC830A3
_CHECKSUM_CHARACTERS: Final = 6
_SIGNATURE_PART_BYTES: Final = 2 + 64


class InviteError(ValueError):
    """The text is no invite that can be used; the message says why and what to do."""


class InviteExpired(InviteError):
    """The invite was good once."""


class InviteAddress(Wire, frozen=True):
    """Where a node is: the multiaddr ``/protocol/host/tcp/port/p2p/…`` of its node key."""

    protocol: Annotated[str, msgspec.Meta(max_length=4)]
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_HOST_CHARACTERS)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    node_key: Bytes32

    def __str__(self) -> str:
        return str(TcpAddress(self.protocol, self.host, self.port, peer_id_from_public_key(self.node_key)))


class InviteBody(Wire, frozen=True):
    """``network`` is the genesis' name, for people; ``name`` the one the newcomer may wish, possibly empty; ``member``
    the account that vouches; ``height`` and ``block_hash`` a final block, at height 0 the chain id.
    """

    version: Unsigned
    chain_id: Bytes32
    network: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE_CHARACTERS)]
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARACTERS)]
    member: Bytes32
    addresses: Annotated[tuple[InviteAddress, ...], msgspec.Meta(min_length=1, max_length=MAX_ADDRESSES)]
    height: Unsigned
    block_hash: Bytes32
    expires_ms: Unsigned


class SignedInvite(Wire, frozen=True):
    body: bytes
    signature: Bytes64


@dataclass(frozen=True)
class Invite:
    """A decoded invite whose signature is good. ``raw`` is the encoded ``SignedInvite``."""

    raw: bytes
    body: InviteBody

    @cached_property
    def id(self) -> bytes:
        return digest(self.raw)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Full multiaddrs."""
        return tuple(str(address) for address in self.body.addresses)

    def text(self) -> str:
        """What is handed over."""
        data = _to_base32(self.raw)
        return PREFIX + "".join(_ALPHABET[value] for value in (*data, *_checksum(data)))

    def require_current(self, now_ms: int) -> None:
        """Errors: InviteExpired."""
        if now_ms > self.body.expires_ms:
            raise InviteExpired("the invite has expired; ask whoever sent it for a new one")


def sign_invite(
    key: SigningKey,
    *,
    chain_id: bytes,
    network: str,
    name: str,
    addresses: tuple[str, ...],
    height: int,
    block_hash: bytes,
    expires_ms: int,
) -> Invite:
    """An invite by the member whose account key this is. ``addresses``: full multiaddrs. Errors: InviteError."""
    if not 1 <= len(addresses) <= MAX_ADDRESSES:
        raise InviteError(f"an invite names 1 to {MAX_ADDRESSES} addresses of nodes, not {len(addresses)}")
    body = InviteBody(
        version=VERSION,
        chain_id=chain_id,
        network=network,
        name=name,
        member=key.public_key,
        addresses=tuple(map(_address, addresses)),
        height=height,
        block_hash=block_hash,
        expires_ms=expires_ms,
    )
    encoded = encode(body)
    raw = encode(SignedInvite(body=encoded, signature=key.sign(Domain.INVITE, chain_id, encoded)))
    if len(raw) > MAX_INVITE_BYTES:
        raise InviteError(f"the invite would have {len(raw)} bytes; at most {MAX_INVITE_BYTES}: name fewer addresses")
    return decode_signed(raw)


def decode_invite(text: str) -> Invite:
    """Errors: InviteError by rule 3."""
    return decode_signed(_bytes_in(text))


def decode_signed(raw: bytes) -> Invite:
    """The invite in the bytes of a ``SignedInvite``. Errors: InviteError."""
    try:
        signed = decode(raw, SignedInvite, MAX_INVITE_BYTES)
        plain = decode_plain(signed.body, MAX_INVITE_BYTES)
        version = plain[0] if isinstance(plain, list) and plain else None
        if isinstance(version, int) and version != VERSION:
            raise InviteError(f"the invite is of version {version}, this program knows {VERSION}: update the program")
        body = convert(plain, InviteBody)
    except EncodingError as error:
        raise InviteError(f"the text is well written, but holds no invite: {error}; ask for a new one") from error
    if not verify_signature(body.member, Domain.INVITE, body.chain_id, signed.body, signed.signature):
        raise InviteError(
            f"the invite is forged: the signature is not that of {address_text(body.member)}; ask for a new one"
        )
    try:
        for address in body.addresses:
            parse_peer_address(str(address))
    except NetworkError as error:
        raise InviteError(f"the invite names an address that cannot be used: {error}; ask for a new one") from error
    return Invite(raw, body)


def _address(text: str) -> InviteAddress:
    """Errors: InviteError."""
    try:
        address = parse_address(text)
    except NetworkError as error:
        raise InviteError(str(error)) from error
    if address.peer is None or address.port == 0:
        raise InviteError(f"{text} lacks the peer's id or port: a right one is /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…")
    return InviteAddress(address.protocol, address.host, address.port, public_key_from_peer_id(address.peer))


def _bytes_in(text: str) -> bytes:
    """The bytes in an invite's characters. Errors: InviteError."""
    if len(text) > MAX_INVITE_CHARACTERS:
        raise InviteError(f"an invite has at most {MAX_INVITE_CHARACTERS} characters, not {len(text)}")
    joined = "".join(text.split())
    if joined.lower() != joined and joined.upper() != joined:
        raise InviteError("the invite mixes small and capital letters: copy it again")
    joined = joined.lower()
    if not joined.startswith(PREFIX):
        shown = joined[: len(PREFIX)]
        raise InviteError(f"an invite begins with {PREFIX!r}, not with {shown!r}: copy all of it")
    characters = joined[len(PREFIX) :]
    for place, character in enumerate(characters, len(PREFIX) + 1):
        if character not in _ALPHABET:
            raise InviteError(f"character {place} of the invite, {character!r}, occurs in none: copy it again")
    values = [_ALPHABET.index(character) for character in characters]
    missing = _missing(values)
    if missing > 0:
        raise InviteError(f"the invite is cut off: {missing} characters are missing at its end; copy all of it")
    data, checksum = values[:-_CHECKSUM_CHARACTERS], values[-_CHECKSUM_CHARACTERS:]
    if _checksum(data) != checksum:
        raise InviteError("the invite has been changed or mistyped: its checksum does not match; copy it again")
    raw = _from_base32(data)
    if raw is None:
        raise InviteError("the invite ends in the middle of a byte; ask for a new one")
    return raw


def _missing(values: list[int]) -> int:
    """How many characters are missing by the length that the first bytes announce; 0 where they announce none."""
    head = _from_base32(values[:8], whole=False) or b""
    if head[:2] == b"\x82\x58" and len(head) > 2:
        size = 3 + head[2] + _SIGNATURE_PART_BYTES
    elif head[:2] == b"\x82\x59" and len(head) > 3:
        size = 4 + int.from_bytes(head[2:4], "big") + _SIGNATURE_PART_BYTES
    else:
        return max(0, _CHECKSUM_CHARACTERS + 8 - len(values))
    if size > MAX_INVITE_BYTES:
        return 0  # the announcement itself is damaged
    return max(0, -(-8 * size // 5) + _CHECKSUM_CHARACTERS - len(values))


def _to_base32(data: bytes) -> list[int]:
    """Five bits a value, the last one filled up with zeros."""
    count = -(-8 * len(data) // 5)
    number = int.from_bytes(data, "big") << (5 * count - 8 * len(data))
    return [(number >> (5 * (count - 1 - place))) & 31 for place in range(count)]


def _from_base32(values: list[int], *, whole: bool = True) -> bytes | None:
    """The bytes; None if bits are left over that are not the zeros of ``_to_base32``, unless not ``whole``."""
    size, rest = divmod(5 * len(values), 8)
    number = 0
    for value in values:
        number = number << 5 | value
    if whole and (rest >= 5 or number & ((1 << rest) - 1)):
        return None
    return (number >> rest).to_bytes(size, "big")


def _checksum(data: list[int]) -> list[int]:
    """BIP-350 over the prefix' letters and the data."""
    letters = PREFIX[:-1]
    expanded = [ord(letter) >> 5 for letter in letters] + [0] + [ord(letter) & 31 for letter in letters]
    polymod = 1
    for value in (*expanded, *data, *[0] * _CHECKSUM_CHARACTERS):
        top = polymod >> 25
        polymod = (polymod & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            polymod ^= generator if top >> bit & 1 else 0
    polymod ^= _BECH32M
    return [polymod >> 5 * (_CHECKSUM_CHARACTERS - 1 - place) & 31 for place in range(_CHECKSUM_CHARACTERS)]

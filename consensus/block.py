"""Blocks: a header, the certificate of the parent, and transactions.

1. The block hash is SHA-256 over a tag and the header; the header binds everything else by hash.
2. A block carries its parent's finalize certificate with every signature its producer held, so that participation can
   be read from the chain. The block at height 1 carries none.
3. ``view`` is the view in which the block was made. A later leader may repeat it unchanged.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

import msgspec

from ledger.encoding import Bytes32, Unsigned, Wire, encode
from ledger.keys import digest
from ledger.transactions import MAX_TRANSACTION_BYTES

HEADER_TAG: Final = b"ecloud/header/1"
CERTIFICATE_TAG: Final = b"ecloud/certificate/1"
VERSION: Final = 1
MAX_HEADER_BYTES: Final = 1024
MAX_COMMITTEE: Final = 4096
MAX_CERTIFICATE_BYTES: Final = 64 * MAX_COMMITTEE + 1024
MAX_BLOCK_BYTES: Final = 512 * 1024 + MAX_CERTIFICATE_BYTES
HASHES_REMEMBERED: Final = 64

NO_HASH: Final = bytes(32)


class Header(Wire, frozen=True):
    """All that a light client needs of a block. ``producer`` is the account id; proof is an 80-byte ECVRF proof."""

    version: Unsigned
    chain_id: Bytes32
    height: Unsigned
    view: Unsigned
    time_ms: Unsigned
    parent_hash: Bytes32
    producer: Bytes32
    beacon_proof: Annotated[bytes, msgspec.Meta(min_length=80, max_length=80)]
    transactions_root: Bytes32  # Merkle root (RFC 6962) of the transaction ids in block order
    receipts_root: Bytes32  # Merkle root of the encoded receipts in block order
    state_root: Bytes32
    parent_certificate_hash: Bytes32  # NO_HASH at height 1
    committee_hash: Bytes32  # of the committee of the next height

    @property
    def hash(self) -> bytes:
        return _header_hash(self)


class Certificate(Wire, frozen=True):
    """A quorum's signatures on one statement; ``signers`` is a bitmap over the committee, bit 0 of byte 0 first.

    ``signatures`` holds 64 bytes per set bit, in committee order. ``kind`` is a ``StatementKind`` other than PROPOSAL;
    ``block_hash`` is None for NULLIFY and only for it.
    """

    kind: Unsigned
    height: Unsigned
    view: Unsigned
    block_hash: Bytes32 | None
    signers: Annotated[bytes, msgspec.Meta(max_length=MAX_COMMITTEE // 8)]
    signatures: Annotated[bytes, msgspec.Meta(max_length=64 * MAX_COMMITTEE)]

    @property
    def hash(self) -> bytes:
        return _certificate_hash(self)


class Block(Wire, frozen=True):
    """``transactions`` are raw ``Signed`` bytes in the prescribed order."""

    header: Header
    parent_certificate: Certificate | None
    transactions: tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_TRANSACTION_BYTES)], ...]

    @property
    def hash(self) -> bytes:
        return self.header.hash


class CommittedBlock(Wire, frozen=True):
    """A block and the certificate that made it final: what is stored, served and synchronised."""

    block: Block
    certificate: Certificate


# The same few headers and certificates are hashed again and again while a height is open.


@lru_cache(maxsize=HASHES_REMEMBERED)
def _header_hash(header: Header) -> bytes:
    return digest(HEADER_TAG, encode(header))


@lru_cache(maxsize=HASHES_REMEMBERED)
def _certificate_hash(certificate: Certificate) -> bytes:
    return digest(CERTIFICATE_TAG, encode(certificate))

"""What nodes say to each other besides consensus: topics, streams and their messages.

Topics, per chain (``<chain>`` is the first 16 hex digits of the chain id):

    /ecloud/<chain>/transactions/1    TransactionBatch
    /ecloud/<chain>/consensus/1       consensus.messages
    /ecloud/<chain>/blocks/1          [header, finalize certificate]

Streams, one request and one answer each:

    /ecloud/status/2         Status → Status: exchanged at connection, and whenever someone may be behind
    /ecloud/blocks/1         BlockRange → [committed block bytes, …]
    /ecloud/body/1           block hash → block
    /ecloud/committee/1      height → CommitteePath: the committee of that height, and how others followed it
    /ecloud/state/1          StateRequest → StatePart: the whole state at one height, piece by piece
    /ecloud/certificates/1   height → [certificate, …] held for the open height
    /ecloud/genesis/1        chain id → genesis, for who has only an invite
    /ecloud/join/1           node.joining's JoinMessage → [denial's JoinMessage] or []
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

import msgspec

from consensus.block import MAX_BLOCK_BYTES, MAX_CERTIFICATE_BYTES, Certificate, Header
from ledger.encoding import Bytes32, Unsigned, Wire
from ledger.records import CommitteeSnapshot
from ledger.transactions import MAX_TRANSACTION_BYTES
from p2p.network import PeerId
from p2p.peer_identity import public_key_from_peer_id

PROTOCOL_VERSION: Final = 2

STATUS: Final = "/ecloud/status/2"
BLOCKS: Final = "/ecloud/blocks/1"
BODY: Final = "/ecloud/body/1"
CERTIFICATES: Final = "/ecloud/certificates/1"
COMMITTEE: Final = "/ecloud/committee/1"
STATE: Final = "/ecloud/state/1"
GENESIS: Final = "/ecloud/genesis/1"
JOIN: Final = "/ecloud/join/1"

MAX_BATCH_BYTES: Final = 64 * 1024
MAX_BATCH_TRANSACTIONS: Final = 1024
MAX_BATCH_MESSAGE_BYTES: Final = MAX_BATCH_BYTES + MAX_TRANSACTION_BYTES + 3 * MAX_BATCH_TRANSACTIONS + 64
MAX_RANGE: Final = 64
MAX_RANGE_BYTES: Final = 1024 * 1024
MAX_HELD_CERTIFICATES: Final = 256
MAX_STEPS: Final = 64
MAX_STATE_PART_BYTES: Final = 512 * 1024
MAX_STATE_PART_RECORDS: Final = 8_192
MAX_KEY_BYTES: Final = 511
MAX_ANNOUNCEMENT_BYTES: Final = MAX_CERTIFICATE_BYTES + 2048
MAX_SMALL_BYTES: Final = 1024


@lru_cache(maxsize=1024)
def node_key_of(peer: PeerId) -> bytes | None:
    """The node key behind a peer id; None for a peer whose key is of another kind, which no member's is."""
    try:
        return public_key_from_peer_id(peer)
    except ValueError:
        return None


def topic(chain_id: bytes, name: str) -> str:
    """``name`` is transactions, consensus or blocks."""
    return f"/ecloud/{chain_id.hex()[:16]}/{name}/1"


class TransactionBatch(Wire, frozen=True):
    """Raw transactions that leave together. ``salt`` is any number: gossip passes every message on once, and what is
    sent again must be a new one.
    """

    transactions: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=MAX_BATCH_TRANSACTIONS)]
    salt: Unsigned


class Status(Wire, frozen=True):
    """Where a node stands. Another chain or version ends the acquaintance; a greater height is worth asking for.
    ``floor``: the lowest height whose block it serves.
    """

    version: Unsigned
    chain_id: Bytes32
    height: Unsigned
    block_hash: Bytes32
    wall_ms: Unsigned
    floor: Unsigned = 0


class BlockRange(Wire, frozen=True):
    """Blocks ``first`` … ``first + count − 1``; the answer ends early at the tip or at MAX_RANGE_BYTES."""

    first: Unsigned
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_RANGE)]


class StoredBlock(Wire, frozen=True):
    """A committed block as it is served: the encodings of a ``Block`` and of its finalize ``Certificate``."""

    block: Annotated[bytes, msgspec.Meta(max_length=MAX_BLOCK_BYTES)]
    certificate: Annotated[bytes, msgspec.Meta(max_length=MAX_CERTIFICATE_BYTES)]


class Announcement(Wire, frozen=True):
    """A block that has become final: all that a light client needs to follow."""

    header: Header
    certificate: Certificate


StoredBlocks = Annotated[tuple[StoredBlock, ...], msgspec.Meta(max_length=MAX_RANGE)]
HeldCertificates = Annotated[tuple[Certificate, ...], msgspec.Meta(max_length=MAX_HELD_CERTIFICATES)]


class CommitteeStep(Wire, frozen=True):
    """One committee handing over to the next: the last header of the old one, which names the hash of ``committee``,
    and the certificate by which the old one made it final.
    """

    header: Header
    certificate: Certificate
    committee: CommitteeSnapshot


class CommitteePath(Wire, frozen=True):
    """The committee in force at the height asked for, and the steps from there on, as many as fit."""

    committee: CommitteeSnapshot
    steps: Annotated[tuple[CommitteeStep, ...], msgspec.Meta(max_length=MAX_STEPS)]


class StateRequest(Wire, frozen=True):
    """State records in ascending order of key, those above ``after``. ``height`` 0: of whatever height the answerer
    chooses, which it then keeps at hand for a while.
    """

    height: Unsigned
    after: Annotated[bytes, msgspec.Meta(max_length=MAX_KEY_BYTES)]


class StateHead(Wire, frozen=True):
    """The block after which the state stands, and what is stored beside it (``node.effects``), but for ``accounts`` and
    ``lines``.
    """

    stored: StoredBlock
    effects: bytes


class StatePart(Wire, frozen=True):
    """``head`` comes with the first part; ``more``: there are records above the last one here."""

    height: Unsigned
    head: StateHead | None
    records: Annotated[tuple[tuple[bytes, bytes], ...], msgspec.Meta(max_length=MAX_STATE_PART_RECORDS)]
    more: bool

"""One value of everything nodes say to each other, as full as it can be: what the golden bytes are of.

``python -m tests.node.wire_examples`` writes tests/vectors/node_wire.json anew. Do so only when a format is meant to
change: nodes of before and after do not understand each other, and ``PROTOCOL_VERSION`` has to say so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from consensus.block import Block, Certificate, CommittedBlock, Header
from consensus.messages import (
    Abridged,
    Certificates,
    Holding,
    Holdings,
    Proposal,
    Vote,
    Votes,
    WireMessage,
    encode_message,
)
from ledger.encoding import Wire, encode
from ledger.keys import digest
from ledger.records import CommitteeSnapshot, SnapshotMember
from ledger.statements import Statement, StatementKind
from node.protocol import (
    BLOCKS,
    BODY,
    CERTIFICATES,
    COMMITTEE,
    PROTOCOL_VERSION,
    STATE,
    STATUS,
    Announcement,
    BlockRange,
    CommitteePath,
    CommitteeStep,
    StateHead,
    StatePart,
    StateRequest,
    Status,
    StoredBlock,
    TransactionBatch,
    topic,
)

VECTORS_FILE: Final = Path(__file__).parent.parent / "vectors" / "node_wire.json"
EXPLANATION: Final = {
    "format": "Byte strings are lower-case hexadecimal. Every type is a canonical CBOR array of its fields in order.",
    "names": "Topics of this chain id, and stream protocols.",
    "types": "The encoding of one value of every type that nodes exchange. Certificate signatures are not true ones.",
    "hashes": "Of the header and the certificate in types.",
    "messages": "Messages of the consensus topic: [tag, payload, salt] with tag 1 Proposal, 2 Votes, 3 Certificates, "
    "4 Abridged, 5 Holdings.",
    "streams": "A request and an answer of each stream: a status; a range of blocks; a body by its hash; certificates; "
    "how committees followed each other; a part of the state.",
}
CHAIN_ID: Final = digest(b"chain")
SALT: Final = 1_750_000_000_123


def _bytes(name: str, count: int = 32) -> bytes:
    found = b""
    while len(found) < count:
        found += digest(name.encode(), found)
    return found[:count]


HEADER: Final = Header(
    version=1,
    chain_id=CHAIN_ID,
    height=70_000,
    view=3,
    time_ms=1_750_000_500_123,
    parent_hash=_bytes("parent"),
    producer=_bytes("producer"),
    beacon_proof=_bytes("proof", 80),
    transactions_root=_bytes("transactions"),
    receipts_root=_bytes("receipts"),
    state_root=_bytes("state"),
    parent_certificate_hash=_bytes("certificate"),
    committee_hash=_bytes("committee"),
)
CERTIFICATE: Final = Certificate(
    StatementKind.FINALIZE, 70_000, 4, HEADER.hash, b"\x0b\x01", _bytes("signatures", 4 * 64)
)
NULLIFICATION: Final = Certificate(StatementKind.NULLIFY, 70_000, 2, None, b"\x07\x00", _bytes("signatures", 3 * 64))
BLOCK: Final = Block(HEADER, CERTIFICATE, (_bytes("one", 100), _bytes("two", 300)))
VOTE: Final = Vote(
    Statement(StatementKind.NOTARIZE, 70_000, 3, HEADER.hash), _bytes("node key"), _bytes("signature", 64)
)
PROPOSAL: Final = Proposal(70_000, 3, BLOCK, (NULLIFICATION,), _bytes("node key"), _bytes("signature", 64))
ABRIDGED: Final = Abridged(
    Proposal(
        70_000,
        3,
        Block(
            HEADER,
            Certificate(StatementKind.FINALIZE, 69_999, 4, HEADER.hash, b"\x0b\x01", _bytes("signatures", 64)),
            (_bytes("one", 100),),
        ),
        (),
        _bytes("node key"),
        _bytes("signature", 64),
    ),
    b"\x0a\x01",
)
HOLDING: Final = Holding(VOTE.statement, b"\x0b\x01")
HOLDINGS: Final = Holdings(70_000, 2, (HOLDING,), (PROPOSAL.statement,))
STORED: Final = StoredBlock(block=encode(BLOCK), certificate=encode(CERTIFICATE))
STATUS_EXAMPLE: Final = Status(PROTOCOL_VERSION, CHAIN_ID, 70_000, HEADER.hash, 1_750_000_500_999, 64_241)
COMMITTEE_EXAMPLE: Final = CommitteeSnapshot(
    members=(
        SnapshotMember(
            account=_bytes("account"), node_key=_bytes("node key"), pool_mvote=100_000, reputation_milli=2_000, weight=7
        ),
    )
)
STEP: Final = CommitteeStep(HEADER, CERTIFICATE, COMMITTEE_EXAMPLE)
PATH: Final = CommitteePath(COMMITTEE_EXAMPLE, (STEP,))
STATE_REQUEST: Final = StateRequest(70_000, b"\x01key")
HEAD: Final = StateHead(StoredBlock(block=encode(BLOCK), certificate=encode(CERTIFICATE)), b"\x80")
PART: Final = StatePart(70_000, HEAD, ((b"\x01key", b"\x80"),), True)
RANGE: Final = BlockRange(first=69_990, count=64)

EXAMPLES: Final[tuple[Wire, ...]] = (
    HEADER,
    CERTIFICATE,
    BLOCK,
    CommittedBlock(BLOCK, CERTIFICATE),
    VOTE,
    PROPOSAL,
    Votes((VOTE,)),
    Certificates((CERTIFICATE, NULLIFICATION)),
    ABRIDGED,
    HOLDING,
    HOLDINGS,
    TransactionBatch((_bytes("one", 100), _bytes("two", 300)), SALT),
    STATUS_EXAMPLE,
    RANGE,
    STORED,
    Announcement(HEADER, CERTIFICATE),
    COMMITTEE_EXAMPLE,
    STEP,
    PATH,
    STATE_REQUEST,
    HEAD,
    PART,
)
MESSAGES: Final[dict[str, WireMessage]] = {
    "proposal": PROPOSAL,
    "votes": Votes((VOTE,)),
    "certificates": Certificates((CERTIFICATE, NULLIFICATION)),
    "abridged": ABRIDGED,
    "holdings": HOLDINGS,
}


def wire_vectors() -> dict[str, Any]:
    """What nodes say now, in the shape of the golden file."""
    return {
        "explanation": EXPLANATION,
        "protocol_version": PROTOCOL_VERSION,
        "chain_id": CHAIN_ID.hex(),
        "names": {
            "topics": {name: topic(CHAIN_ID, name) for name in ("transactions", "consensus", "blocks")},
            "streams": {
                "status": STATUS,
                "blocks": BLOCKS,
                "body": BODY,
                "certificates": CERTIFICATES,
                "committee": COMMITTEE,
                "state": STATE,
            },
        },
        "types": {type(example).__name__: encode(example).hex() for example in EXAMPLES},
        "hashes": {"header": HEADER.hash.hex(), "certificate": CERTIFICATE.hash.hex()},
        "messages": {name: encode_message(message, SALT).hex() for name, message in MESSAGES.items()},
        "streams": {
            "status": {"request": encode(STATUS_EXAMPLE).hex(), "answer": encode(STATUS_EXAMPLE).hex()},
            "blocks": {"request": encode(RANGE).hex(), "answer": encode((STORED,)).hex()},
            "body": {"request": HEADER.hash.hex(), "answer": encode(BLOCK).hex()},
            "certificates": {"request": encode(70_000).hex(), "answer": encode((CERTIFICATE, NULLIFICATION)).hex()},
            "committee": {"request": encode(70_000).hex(), "answer": encode(PATH).hex()},
            "state": {"request": encode(STATE_REQUEST).hex(), "answer": encode(PART).hex()},
        },
    }


if __name__ == "__main__":
    VECTORS_FILE.write_text(json.dumps(wire_vectors(), indent=1) + "\n", encoding="utf-8")

"""Golden bytes of what nodes say to each other, and the bounds of it. The file is compared with, never written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consensus.messages import decode_message
from ledger.encoding import EncodingError, Wire, decode, encode
from node import protocol
from node.protocol import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGE_BYTES,
    MAX_BATCH_TRANSACTIONS,
    MAX_HELD_CERTIFICATES,
    MAX_RANGE,
    BlockRange,
    HeldCertificates,
    StoredBlocks,
    TransactionBatch,
    node_key_of,
)
from p2p.network import MAX_MESSAGE_BYTES, MAX_RESPONSE_BYTES
from p2p.peer_identity import peer_id_from_public_key
from tests.node.wire_examples import CERTIFICATE, EXAMPLES, MESSAGES, STORED, VECTORS_FILE, wire_vectors

GOLDEN: dict[str, Any] = json.loads(VECTORS_FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_every_type_has_its_golden_bytes(example: Wire) -> None:
    golden = bytes.fromhex(GOLDEN["types"][type(example).__name__])
    assert encode(example).hex() == golden.hex()
    assert decode(golden, type(example), len(golden)) == example


def test_a_truth_value_is_no_tag() -> None:
    """Python takes True for 1: the message would have two encodings."""
    golden = bytes.fromhex(GOLDEN["messages"]["proposal"])
    assert golden[1] == 1
    with pytest.raises(EncodingError, match="not a consensus message"):
        decode_message(golden[:1] + b"\xf5" + golden[2:])


@pytest.mark.parametrize("name", MESSAGES)
def test_every_consensus_message_has_its_golden_bytes(name: str) -> None:
    assert decode_message(bytes.fromhex(GOLDEN["messages"][name])) == MESSAGES[name]


def test_the_file_is_what_nodes_say() -> None:
    assert wire_vectors() == GOLDEN


def test_no_type_is_left_out() -> None:
    public = {
        name
        for name, one in vars(protocol).items()
        if isinstance(one, type) and issubclass(one, Wire) and one is not Wire
    }
    assert public <= set(GOLDEN["types"])


def test_the_answers_of_streams_decode() -> None:
    streams = GOLDEN["streams"]
    assert decode(bytes.fromhex(streams["blocks"]["answer"]), StoredBlocks, MAX_RESPONSE_BYTES) == (STORED,)
    held = decode(bytes.fromhex(streams["certificates"]["answer"]), HeldCertificates, MAX_RESPONSE_BYTES)
    assert held[0] == CERTIFICATE


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ((1, 0), BlockRange),
        ((1, MAX_RANGE + 1), BlockRange),
        ((-1, 1), BlockRange),
        (((), 0), TransactionBatch),
        (((b"",) * (MAX_BATCH_TRANSACTIONS + 1), 0), TransactionBatch),
        (((b"",), -1), TransactionBatch),
        ((STORED,) * (MAX_RANGE + 1), StoredBlocks),
        ((CERTIFICATE,) * (MAX_HELD_CERTIFICATES + 1), HeldCertificates),
    ],
)
def test_what_is_beyond_a_bound_is_refused(value: Any, type_: Any) -> None:
    with pytest.raises(EncodingError):
        decode(encode(value), type_, MAX_RESPONSE_BYTES)


def test_the_fullest_batch_fits_its_bound() -> None:
    # Given as many transactions as are taken before the bytes are full, and then the largest one
    from ledger.transactions import MAX_TRANSACTION_BYTES

    small = (MAX_BATCH_BYTES - 1) // (MAX_BATCH_TRANSACTIONS - 1)
    raws = (bytes(small),) * (MAX_BATCH_TRANSACTIONS - 1) + (bytes(MAX_TRANSACTION_BYTES),)
    message = encode(TransactionBatch(raws, 2**63 - 1))
    assert len(message) <= MAX_BATCH_MESSAGE_BYTES < MAX_MESSAGE_BYTES
    assert decode(message, TransactionBatch, MAX_BATCH_MESSAGE_BYTES).transactions == raws


def test_a_peers_node_key_is_in_its_name() -> None:
    assert node_key_of(peer_id_from_public_key(bytes(range(32)))) == bytes(range(32))
    for other in ("", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "12D3KooW", "0" * 10_000, "ß"):
        assert node_key_of(other) is None

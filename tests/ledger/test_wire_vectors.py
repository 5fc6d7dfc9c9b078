"""Golden bytes: a change of any format is seen at once. The file is compared with, never written by a test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.encoding import Wire, decode, encode
from ledger.transactions import Kind, decode_transaction
from tests.ledger.wire_examples import EXAMPLES, VECTORS_FILE, wire_vectors

GOLDEN: dict[str, Any] = json.loads(VECTORS_FILE.read_text(encoding="utf-8"))


def wire_types(base: type[Wire] = Wire) -> set[str]:
    """Every wire type of the ledger that others can see."""
    found = set()
    for one in base.__subclasses__():
        if one.__module__.startswith("ledger.") and not one.__name__.startswith("_"):
            found.add(one.__name__)
        found |= wire_types(one)
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_every_type_has_its_golden_bytes(example: Wire) -> None:
    golden = bytes.fromhex(GOLDEN["types"][type(example).__name__])
    assert encode(example).hex() == golden.hex()
    assert decode(golden, type(example), len(golden)) == example


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_transaction_has_its_golden_bytes(kind: Kind) -> None:
    golden = GOLDEN["transactions"][kind.word]
    decoded = decode_transaction(bytes.fromhex(golden["raw"]))
    assert (decoded.kind, int(decoded.kind), decoded.id.hex()) == (kind, golden["kind"], golden["id"])
    assert decoded.has_valid_signature()


def test_no_type_is_left_out() -> None:
    assert set(GOLDEN["types"]) == wire_types()


def test_the_file_is_what_the_ledger_encodes() -> None:
    assert wire_vectors() == GOLDEN

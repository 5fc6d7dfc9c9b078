"""What ``docs/protocol.md`` states of bytes and numbers is what the code does."""

from __future__ import annotations

import re

import pytest

from consensus.messages import _TAGS
from ledger import agreements, records
from ledger.encoding import EncodingError, Wire, decode_plain
from ledger.keys import Domain
from ledger.parameters import BOUNDS, Parameters
from ledger.refusal import RETRY_MAY_HELP, Refusal
from ledger.state import Table
from ledger.transactions import PAYLOADS, Kind, decode_transaction
from node import protocol
from tests.docs.documents import ROOT, table_rows, worked_examples
from tests.docs.protocol_examples import EXAMPLES

PROTOCOL = ROOT / "docs" / "protocol.md"
WORKED = worked_examples(PROTOCOL)


def test_every_example_of_the_document_is_computed_and_every_one_computed_is_there() -> None:
    assert set(WORKED) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_worked_example_is_what_the_code_gives(name: str) -> None:
    # Given an example as the document shows it; when the code computes it; then both are the same, line by line
    assert WORKED[name] == EXAMPLES[name]()


def test_the_transactions_shown_are_signed_and_decode() -> None:
    for name in ("transfer", "reading"):
        transaction = decode_transaction(bytes.fromhex(WORKED[name]["raw"]))
        assert transaction.has_valid_signature()
        assert transaction.id.hex() == WORKED[name]["id"]


@pytest.mark.parametrize("data", ["1801", "9f01ff", "a0", "c001", "f90000", "f7", "0101", "1b8000000000000000"])
def test_what_the_document_says_is_refused_is_refused(data: str) -> None:
    # Given a long form, an indefinite length, a map, a tag, a float, undefined, bytes after the value, 64 bits and more
    with pytest.raises(EncodingError):
        decode_plain(bytes.fromhex(data), 100)


def test_the_kinds_and_their_fields() -> None:
    rows = {int(number): (word, fields) for number, word, fields in table_rows(PROTOCOL, "Kinds and payloads")}
    assert set(rows) == {int(kind) for kind in Kind}
    for kind, payload in PAYLOADS.items():
        word, fields = rows[int(kind)]
        named = [field.split()[0] for field in fields.split(", ") if field]
        assert word == kind.word
        assert tuple(named) == payload.__struct_fields__, word


def test_the_records_and_their_fields() -> None:
    rows = {int(prefix, 16): (name, fields) for prefix, name, _, fields in table_rows(PROTOCOL, "Records")}
    kept = vars(records) | vars(agreements)
    tables = [table for table in kept.values() if isinstance(table, Table)]
    assert set(rows) == {table.prefix[0] for table in tables}
    for table in tables:
        name, fields = rows[table.prefix[0]]
        assert name == table.record.__name__
        if table.record is not Parameters:
            assert tuple(fields.split(", ")) == table.record.__struct_fields__, name


def test_the_header_s_fields() -> None:
    from consensus.block import Header

    text = PROTOCOL.read_text("utf-8")
    shown = re.search(r"header = \[(.*?)\]", text, re.DOTALL)
    assert shown is not None
    assert tuple(part.split()[0] for part in shown[1].split(",")) == Header.__struct_fields__


def test_the_domains() -> None:
    shown = {row[0] for row in table_rows(PROTOCOL, "Keys, signatures, addresses")}
    assert {domain.value.decode() for domain in Domain} <= shown


def test_the_topics_streams_and_tags() -> None:
    topics = [row[0] for row in table_rows(PROTOCOL, "Topics")]
    assert topics == [f"/ecloud/<chain>/{name}/1" for name in ("transactions", "consensus", "blocks")]
    streams = [row[0] for row in table_rows(PROTOCOL, "Streams")]
    blocks = (protocol.STATUS, protocol.BLOCKS, protocol.BODY, protocol.CERTIFICATES)
    asked = (*blocks, protocol.COMMITTEE, protocol.STATE, protocol.GENESIS, protocol.JOIN)
    assert streams == list(asked)
    tags = {int(row[0]): row[1].split()[0] for row in table_rows(PROTOCOL, "Agreement")}
    assert tags == {tag: type_.__name__.lower() for tag, type_ in _TAGS.items()}


def test_the_refusals() -> None:
    rows = {word: again for word, _, again in table_rows(PROTOCOL, "Refusals")}
    assert set(rows) == {refusal.value for refusal in Refusal}
    assert {word for word, again in rows.items() if again == "may help"} == {one.value for one in RETRY_MAY_HELP}


def test_the_parameters_with_their_bounds() -> None:
    from devnet.neighbourhood import PARAMETERS

    real = Parameters()
    expected = [
        [name, f"{getattr(real, name):,}", f"{getattr(PARAMETERS, name):,}", f"{smallest:,} … {largest:,}"]
        for name, (smallest, largest) in ((name, BOUNDS[name]) for name in Parameters.__struct_fields__)
    ]
    assert table_rows(PROTOCOL, "Parameters") == expected


def test_every_vector_file_is_listed() -> None:
    listed = {
        match for row in table_rows(PROTOCOL, "Golden vectors") for match in re.findall(r"vectors/(\S+\.json)", row[0])
    }
    assert listed == {path.name for path in (ROOT / "tests" / "vectors").glob("*.json")}


def test_a_wire_type_is_an_array_of_its_fields() -> None:
    assert Wire.__struct_config__.array_like
    assert Wire.__struct_config__.forbid_unknown_fields

"""One accepted encoding of every value: what ``encode`` would not have written is refused."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import (
    MAX_DEPTH,
    MAX_INTEGER,
    EncodingError,
    NotCanonical,
    Unsigned,
    Wire,
    decode,
    decode_plain,
    encode,
)


class Pair(Wire, frozen=True):
    number: Unsigned
    flag: bool = False


plain_values = st.recursive(
    st.integers(-MAX_INTEGER, MAX_INTEGER) | st.binary(max_size=40) | st.text(max_size=20) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


@given(plain_values)
def test_what_was_encoded_decodes_to_itself(value: Any) -> None:
    assert decode_plain(encode(value), 10_000) == value


@given(st.binary(max_size=60))
def test_any_bytes_either_decode_to_what_encodes_back_or_are_refused(data: bytes) -> None:
    try:
        value = decode_plain(data, 100)
    except EncodingError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("8201f400", id="trailing byte"),
        pytest.param("821801f4", id="one-byte form of a small integer"),
        pytest.param("82190001f4", id="two-byte form of a small integer"),
        pytest.param("821b0000000000000001f4", id="eight-byte form of a small integer"),
        pytest.param("980201f4", id="long form of an array's length"),
        pytest.param("82580101f4", id="long form of a string's length"),
    ],
)
def test_a_longer_form_of_the_same_value_is_not_canonical(data: str) -> None:
    with pytest.raises(NotCanonical):
        decode_plain(bytes.fromhex(data), 100)
    with pytest.raises(EncodingError):  # the long string is no number either
        decode(bytes.fromhex(data), Pair, 100)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("", id="nothing"),
        pytest.param("8201", id="cut short"),
        pytest.param("9f01f4ff", id="indefinite array"),
        pytest.param("825f4101ff00", id="indefinite bytes"),
        pytest.param("9b7fffffffffffffff", id="array of a huge declared length"),
        pytest.param("5b7fffffffffffffff", id="bytes of a huge declared length"),
        pytest.param("7bffffffffffffffff", id="text of a huge declared length"),
        pytest.param("a0", id="map"),
        pytest.param("a2616101616102", id="duplicate keys"),
        pytest.param("82c24101f4", id="tag: big integer"),
        pytest.param("c249010000000000000000", id="tag: integer beyond 64 bits"),
        pytest.param("c11a00000000", id="tag: time"),
        pytest.param("c074323031332d30332d32315432303a30343a30305a", id="tag: date"),
        pytest.param("c48221196ab3", id="tag: decimal"),
        pytest.param("d823632e2a2b", id="tag: regular expression"),
        pytest.param("d81c81d81d00", id="tags: an array that contains itself"),
        pytest.param("d9d9f701", id="tag: self-described CBOR"),
        pytest.param("d8634101", id="tag: unknown"),
        pytest.param("82f97e00f4", id="NaN"),
        pytest.param("82f93c00f4", id="float that is whole"),
        pytest.param("82fb3ff0000000000000f4", id="float in long form"),
        pytest.param("82f97c00f4", id="infinity"),
        pytest.param("82f7f4", id="undefined"),
        pytest.param("82e0f4", id="simple value"),
        pytest.param("62ffff", id="text that is not UTF-8"),
        pytest.param("1b8000000000000000", id="above 63 bits"),
        pytest.param("3b7fffffffffffffff", id="below 63 bits"),
        pytest.param("ff", id="break alone"),
        pytest.param("1c", id="reserved additional information"),
    ],
)
def test_what_is_not_plain_is_refused(data: str) -> None:
    with pytest.raises(EncodingError):
        decode_plain(bytes.fromhex(data), 100)


def test_nesting_is_bounded() -> None:
    deepest = b"\x81" * (MAX_DEPTH - 1) + b"\x00"
    assert encode(decode_plain(deepest, 1_000)) == deepest
    with pytest.raises(EncodingError):
        decode_plain(b"\x81" * (MAX_DEPTH + 1) + b"\x00", 1_000)
    with pytest.raises(EncodingError):
        decode_plain(b"\x81" * 100_000 + b"\x00", 1_000_000)


def test_length_is_bounded_before_anything_is_decoded() -> None:
    assert decode_plain(b"\x43abc", 4) == b"abc"
    with pytest.raises(EncodingError, match="4 bytes exceed the limit of 3"):
        decode_plain(b"\x43abc", 3)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([1], id="a field left out that has a default"),
        pytest.param([1, False, 0], id="a field too many"),
        pytest.param([-1, False], id="negative"),
        pytest.param([True, False], id="boolean for integer"),
        pytest.param(["1", False], id="text for integer"),
        pytest.param([1, 0], id="integer for boolean"),
        pytest.param([None, False], id="null for integer"),
        pytest.param(1, id="no array"),
        pytest.param([[1], False], id="array for integer"),
    ],
)
def test_nothing_is_coerced_to_a_wire_type(value: Any) -> None:
    with pytest.raises(EncodingError):
        decode(cbor2.dumps(value, canonical=True), Pair, 100)


def test_a_wire_type_is_the_array_of_its_fields() -> None:
    assert encode(Pair(number=7, flag=True)) == bytes.fromhex("8207f5")
    assert decode(bytes.fromhex("8207f5"), Pair, 100) == Pair(number=7, flag=True)

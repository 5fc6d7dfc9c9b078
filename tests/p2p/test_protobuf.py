"""Small protobuf messages, read with limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.protobuf import MalformedProtobuf, field_bytes, field_number, read_fields, varint


def test_fields_are_read_and_unknown_ones_passed_over() -> None:
    message = field_number(1, 300) + field_bytes(2, b"a") + field_bytes(9, b"new") + field_bytes(2, b"b")
    fields = read_fields(message + field_number(10, 7), octets={2: 2}, numbers={1: 1})
    assert (fields.number(1), fields.octets[2], fields.number(3, 5)) == (300, [b"a", b"b"], 5)
    with pytest.raises(MalformedProtobuf, match="missing"):
        fields.number(3)
    with pytest.raises(MalformedProtobuf, match="missing"):
        fields.one(3)


@pytest.mark.parametrize(
    "message",
    [
        field_bytes(2, b"a") * 3,
        field_number(1, 1) * 2,
        b"\x12\xff",
        b"\x12\x05abc",
        b"\x08",
        b"\x08" + b"\xff" * 11,
        b"\x0d\x00\x00\x00\x00",
        b"\x00\x00",
        field_number(15, 0) * 257,
    ],
)
def test_what_is_too_much_or_too_little_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedProtobuf):
        read_fields(message, octets={2: 2}, numbers={1: 1})


@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused(message: bytes) -> None:
    try:
        read_fields(message, octets={1: 3, 2: 3}, numbers={1: 3, 3: 3})
    except MalformedProtobuf:
        return


@given(st.integers(0, 2**64 - 1))
def test_numbers_come_back(value: int) -> None:
    assert read_fields(field_number(5, value), numbers={5: 1}).number(5) == value
    assert len(varint(value)) <= 10

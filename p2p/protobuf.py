"""The little of protobuf that libp2p's small messages need, read with limits and without the library.

A message is fields of a number and a type: varint (0), or bytes with their length (2). ``read_fields`` is told which
fields there are and how often each may occur. Unknown fields are passed over, as protobuf wants it: newer peers send
them. Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

_MAX_VARINT_BYTES = 10
_MAX_FIELDS = 256
_VARINT, _LENGTH_DELIMITED = 0, 2


class MalformedProtobuf(ValueError):
    """Bytes that are not such a message, or that say a thing more often than they may."""


@dataclass(slots=True)
class Fields:
    """What was read, by field number."""

    numbers: dict[int, list[int]] = field(default_factory=dict)
    octets: dict[int, list[bytes]] = field(default_factory=dict)

    def number(self, tag: int, default: int | None = None) -> int:
        """A field that occurs once. Error: MalformedProtobuf when it is missing and has no default."""
        if tag in self.numbers:
            return self.numbers[tag][0]
        if default is None:
            raise MalformedProtobuf(f"field {tag} is missing")
        return default

    def one(self, tag: int) -> bytes:
        """As above, for bytes."""
        if tag not in self.octets:
            raise MalformedProtobuf(f"field {tag} is missing")
        return self.octets[tag][0]


def varint(value: int) -> bytes:
    assert 0 <= value < 1 << 64
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def field_number(tag: int, value: int) -> bytes:
    return varint(tag << 3 | _VARINT) + varint(value)


def field_bytes(tag: int, octets: bytes) -> bytes:
    return varint(tag << 3 | _LENGTH_DELIMITED) + varint(len(octets)) + octets


def read_fields(
    message: bytes, octets: Mapping[int, int] | None = None, numbers: Mapping[int, int] | None = None
) -> Fields:
    """Reads a message; ``octets`` and ``numbers`` name the fields and the most of each. Error: MalformedProtobuf."""
    octets, numbers = octets or {}, numbers or {}
    fields = Fields()
    position = 0
    for _ in range(_MAX_FIELDS):
        if position == len(message):
            return fields
        key, position = _read_varint(message, position)
        tag, kind = key >> 3, key & 7
        if kind not in (_VARINT, _LENGTH_DELIMITED) or tag == 0:
            raise MalformedProtobuf(f"a field of type {kind}")
        value, position = _read_varint(message, position)
        if kind == _VARINT:
            if tag in numbers:
                _add(fields.numbers.setdefault(tag, []), value, numbers[tag])
            continue
        if value > len(message) - position:
            raise MalformedProtobuf("a field that ends early")
        if tag in octets:
            _add(fields.octets.setdefault(tag, []), message[position : position + value], octets[tag])
        position += value
    raise MalformedProtobuf(f"more than {_MAX_FIELDS} fields")


def _add(values: list[T], value: T, most: int) -> None:
    if len(values) >= most:
        raise MalformedProtobuf(f"a field more than {most} times")
    values.append(value)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position >= len(message):
            raise MalformedProtobuf("a number that ends early")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position
    raise MalformedProtobuf("a number of more than ten bytes")

"""Inputs that nearly make sense: golden bytes, bent in the ways in which parsers break.

An input is a function of a target's golden bytes and a seed, and of nothing else, so that a finding can be made again.

1. ``any_bytes``: bits flipped, pieces cut, doubled, swapped with another golden value's, numbers set to the edges of
   their range, lengths made to lie; or no golden bytes at all.
2. ``any_cbor``: the value inside is changed (a number, a length, an item more, one less, one level deeper) and encoded
   canonically again, so that what is behind the decoder is reached; sometimes encoded otherwise, or bent as bytes.
3. ``any_protobuf``: fields doubled, dropped, reordered, given other numbers and wire types, and packed again.
4. ``any_text``: characters, lines and values replaced by awkward ones.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final

import cbor2

Mutate = Callable[[Random, Sequence[bytes]], bytes]

MAX_INPUT_BYTES: Final = 20_000
EDGES: Final = (
    *(0, 1, 2, 23, 24, 63, 64, 127, 128, 255, 256, 1023, 10_000, 10_001, 65_535, 65_536),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(-1, -24, -25, -256, -(2**31), -(2**63) + 1, -(2**63), -(2**64)),
)
LENGTHS: Final = (0, 1, 31, 32, 33, 63, 64, 65, 79, 80, 81, 512, 4_096)
NESTED: Final = (15, 16, 17, 18, 100, 1_000)
AWKWARD: Final = (
    "",
    " ",
    "\0",
    "\n",
    "ß",
    "\ud7ff",
    "\u202e",
    "é",
    "e\u0301",
    "𝔸",
    "0",
    "-1",
    "1e9",
    "../..",
    "x" * 5_000,
)
_ANY_ITEM: Final = (
    None,
    True,
    False,
    b"",
    "",
    [],
    0,
    -1,
    2**63,
    1.5,
    float("nan"),
    {},
    {1: 2},
    cbor2.CBORTag(2, b"\1"),
)


def any_bytes(random: Random, golden: Sequence[bytes]) -> bytes:
    """Rule 1."""
    if random.random() < 0.05 or not golden:
        return random.randbytes(random.choice((0, 1, 2, 8, 64, 500)))
    data = bytearray(random.choice(golden))
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        _bend(random, data, golden)
    return bytes(data[:MAX_INPUT_BYTES])


def any_cbor(random: Random, golden: Sequence[bytes]) -> bytes:
    """Rule 2."""
    if random.random() < 0.15:
        return any_bytes(random, golden)
    value = change(random, cbor2.loads(random.choice(golden)), [cbor2.loads(random.choice(golden))])
    try:
        encoded = cbor2.dumps(value, canonical=random.random() < 0.95)
    except (ValueError, OverflowError, TypeError, RecursionError, cbor2.CBOREncodeError):
        return any_bytes(random, golden)  # a value that has no encoding
    return encoded if random.random() < 0.95 else any_bytes(random, [encoded])


def change(random: Random, value: Any, others: Sequence[Any]) -> Any:
    """A plain value with one to three changes somewhere inside; what is cut out of ``others`` may take its place."""
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _change_somewhere(random, value, others)
    return value


def any_protobuf(random: Random, golden: Sequence[bytes]) -> bytes:
    """Rule 3."""
    if random.random() < 0.3:
        return any_bytes(random, golden)
    return _change_fields(random, random.choice(golden), 3)[:MAX_INPUT_BYTES]


def any_text(random: Random, golden: Sequence[bytes]) -> bytes:
    """Rule 4."""
    if random.random() < 0.2:
        return any_bytes(random, golden)
    lines = random.choice(golden).decode().splitlines(keepends=True)
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(lines) + 1)
        choice = random.randrange(5)
        if choice == 0 and lines:
            del lines[min(at, len(lines) - 1)]
        elif choice == 1:
            lines.insert(at, random.choice(lines) if lines else "x = 1\n")
        elif choice == 2 and lines:
            line = lines[min(at, len(lines) - 1)]
            cut, end = sorted((random.randrange(len(line) + 1), random.randrange(len(line) + 1)))
            lines[min(at, len(lines) - 1)] = line[:cut] + random.choice(AWKWARD) + line[end:]
        else:
            name, separator, _ = (lines[min(at, len(lines) - 1)] if lines else "x =").partition("=")
            awkward = random.choice(
                (*AWKWARD, str(random.choice(EDGES)), "[[1, 2], {}]", "1979-05-27", '"\\u0000"', "nan")
            )
            lines.insert(at, f"{name}{separator} {awkward}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")[:MAX_INPUT_BYTES]


# -- bytes


def _bend(random: Random, data: bytearray, golden: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.choice((1, 1, 2, 4, 8, 32, 200)))
    choice = random.randrange(9)
    if choice == 0 and at < len(data):
        data[at] ^= 1 << random.randrange(8)
    elif choice == 1 and at < len(data):
        data[at] = random.choice(
            (0, 1, 0x7F, 0x80, 0xFF, 0x1F, 0x5F, 0x9F, 0xBF, 0xC2, 0xF9, 0xFB, random.randrange(256))
        )
    elif choice == 2:
        del data[at:end]
    elif choice == 3:
        data[at:at] = data[at:end]
    elif choice == 4:
        data[at:at] = random.randbytes(random.choice((1, 2, 8, 64)))
    elif choice == 5:
        other = random.choice(golden)
        start = random.randrange(len(other) + 1)
        data[at:end] = other[start : start + random.choice((1, 8, 32, 200))]
    elif choice == 6:
        width, edge = random.choice((1, 2, 4, 8)), random.choice(EDGES)
        data[at : at + width] = struct.pack(">Q", edge % 2**64)[-width:]
    elif choice == 7:
        del data[at:]
    else:
        data[at:end] = bytes([random.choice((0, 0xFF, 0x80, 0x81))]) * random.choice((1, 4, 9, 1_000))


# -- plain values


def _change_somewhere(random: Random, value: Any, others: Sequence[Any]) -> Any:
    """Goes down into lists with some luck, and changes what it then stands at."""
    if isinstance(value, list | tuple) and value and random.random() < 0.85:
        items = list(value)
        at = random.randrange(len(items))
        items[at] = _change_somewhere(random, items[at], others)
        return items
    return _changed(random, value, others)


def _changed(random: Random, value: Any, others: Sequence[Any]) -> Any:
    if random.random() < 0.05:
        return random.choice(_ANY_ITEM)
    if random.random() < 0.07:
        return _somewhere(random, random.choice(others))
    match value:
        case bool() | None:
            return random.choice((True, False, None, 0, bytes(32)))
        case int():
            return random.choice((random.choice(EDGES), value + random.choice((-1, 1)), random.getrandbits(63)))
        case bytes():
            return _other_bytes(random, value)
        case str():
            return random.choice((*AWKWARD, value.upper(), value + random.choice(AWKWARD), value[:-1]))
        case list() | tuple():
            return _other_list(random, list(value))
        case _:
            return value


def _other_bytes(random: Random, value: bytes) -> bytes:
    inside = _cbor_inside(value)
    if inside is not None and random.random() < 0.7:
        with suppress(ValueError, OverflowError, TypeError, RecursionError, cbor2.CBOREncodeError):
            return cbor2.dumps(_change_somewhere(random, inside, [inside]), canonical=True)
    choice = random.randrange(6)
    if choice == 0:
        return bytes([random.choice((0, 0xFF))]) * random.choice(LENGTHS)
    if choice == 1:
        return bytes([random.choice((0, 0xFF))]) * len(value)
    if choice == 2:
        return random.randbytes(len(value))
    if choice <= 4 and value:
        at = random.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << random.randrange(8)]) + value[at + 1 :]
    bent = bytearray(value)
    _bend(random, bent, [value])
    return bytes(bent)


def _cbor_inside(value: bytes) -> list[Any] | None:
    """What a byte string holds that is itself the encoding of a structure, as a transaction's body is."""
    if not value or value[0] >> 5 != 4:
        return None
    try:
        inside = cbor2.loads(value)
    except (cbor2.CBORError, ValueError, TypeError):
        return None
    return inside if isinstance(inside, list) else None


def _other_list(random: Random, items: list[Any]) -> Any:
    at = random.randrange(len(items) + 1)
    choice = random.randrange(6)
    if choice == 0 and items:
        del items[min(at, len(items) - 1)]
    elif choice == 1 and items:
        items.insert(at, random.choice(items))
    elif choice == 2:
        items.insert(at, random.choice(_ANY_ITEM))
    elif choice == 3:
        random.shuffle(items)
    elif choice == 4 and items:
        items *= random.choice((2, 70, 600))
    else:
        nested: Any = items
        for _ in range(random.choice(NESTED)):
            nested = [nested]
        return nested
    return items


def _somewhere(random: Random, value: Any) -> Any:
    while isinstance(value, list) and value and random.random() < 0.7:
        value = random.choice(value)
    return value


# -- protobuf (https://protobuf.dev/programming-guides/encoding/)

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_Field = tuple[int, int, bytes]  # number, wire type, encoded value without its length


def _change_fields(random: Random, data: bytes, depth: int) -> bytes:
    fields = _fields(data)
    if not fields:
        return any_bytes(random, [data]) if random.random() < 0.5 else data
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(fields))
        number, wire_type, value = fields[at]
        choice = random.randrange(7)
        if choice == 0:
            fields.insert(at, fields[at])
        elif choice == 1 and len(fields) > 1:
            del fields[at]
        elif choice == 2:
            fields[at] = (random.choice((number, 1, 2, 3, 5, 15, 16, 536_870_911)), wire_type, value)
        elif choice == 3:
            fields[at] = (number, random.choice((_VARINT, _FIXED64, _LENGTH, _FIXED32, 3, 4, 6, 7)), value)
        elif choice == 4:
            random.shuffle(fields)
        elif choice == 5:
            fields += [fields[at]] * random.choice((2, 65, 1_001))
        elif wire_type == _LENGTH and depth > 0 and random.random() < 0.7:
            fields[at] = (number, wire_type, _change_fields(random, value, depth - 1))
        else:
            fields[at] = (number, wire_type, _other_bytes(random, value))
    return b"".join(_packed(field) for field in fields)


def _fields(data: bytes) -> list[_Field]:
    """The fields of a message; empty for bytes that are none."""
    found: list[_Field] = []
    offset = 0
    while offset < len(data):
        key, offset = _read_varint(data, offset)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            start = offset
            _, offset = _read_varint(data, offset)
            value = data[start:offset]
        elif wire_type == _LENGTH:
            length, offset = _read_varint(data, offset)
            value, offset = data[offset : offset + length], offset + length
        elif wire_type in {_FIXED64, _FIXED32}:
            width = 8 if wire_type == _FIXED64 else 4
            value, offset = data[offset : offset + width], offset + width
        else:
            return []
        if number == 0 or offset > len(data):
            return []
        found.append((number, wire_type, value))
    return found


def _packed(field: _Field) -> bytes:
    number, wire_type, value = field
    head = _varint(number << 3 | wire_type)
    return head + (_varint(len(value)) if wire_type == _LENGTH else b"") + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """The number and where it ends; beyond the data if it does not."""
    value = shift = 0
    while offset < len(data) and shift < 70:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset
    return 0, len(data) + 1

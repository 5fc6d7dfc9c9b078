"""Canonical CBOR, the one encoding of everything that is signed, hashed, stored or sent.

1. A wire type is a ``msgspec.Struct`` declared with ``WIRE`` and is encoded as an array of its fields in order (RFC
   8949, section 4.2.1).
2. There is exactly one accepted encoding of a value. ``decode`` refuses whatever ``encode`` would not have produced:
   trailing bytes, long-form integers, indefinite lengths, duplicate keys, tags, floats, undefined.
3. Nothing is decoded before its length is bounded, nothing nests deeper than ``MAX_DEPTH``, no integer leaves 64 bits.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import cbor2
import msgspec

MAX_DEPTH: Final = 16
MAX_INTEGER: Final = 2**63 - 1

Unsigned = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Integer = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
BasisPoints = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]

T = TypeVar("T")


class EncodingError(ValueError):
    """The bytes are not the canonical encoding of the type asked for. Sending them again cannot help."""


class Wire(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Base of every wire type and state record: an immutable struct encoded as an array of its fields."""


def encode(value: Any) -> bytes:
    """Encodes a wire type, or plain integers, bytes, text, tuples and None, to canonical CBOR."""
    return cbor2.dumps(msgspec.to_builtins(value, builtin_types=(bytes,)), canonical=True)


def decode_plain(data: bytes, max_bytes: int) -> Any:
    """Decodes canonical CBOR to plain lists, integers, bytes and text. Errors: EncodingError."""
    if len(data) > max_bytes:
        raise EncodingError(f"{len(data)} bytes exceed the limit of {max_bytes}")
    try:
        value = cbor2.loads(
            data,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        canonical = cbor2.dumps(value, canonical=True) == data
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise EncodingError(f"not CBOR: {error}") from error
    if not canonical:
        raise EncodingError("not in canonical form")
    return value


def convert(value: Any, type_: type[T]) -> T:
    """Converts what ``decode_plain`` returned to a wire type, coercing nothing. Errors: EncodingError."""
    try:
        return msgspec.convert(value, type_, strict=True, builtin_types=(bytes,))
    except (msgspec.ValidationError, OverflowError) as error:
        raise EncodingError(f"not a {type_.__name__}: {error}") from error


def decode(data: bytes, type_: type[T], max_bytes: int) -> T:
    """Decodes exactly one ``type_`` of at most ``max_bytes``. Errors: EncodingError."""
    return convert(decode_plain(data, max_bytes), type_)

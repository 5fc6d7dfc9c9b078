"""Canonical CBOR, the one encoding of everything that is signed, hashed, stored or sent.

1. A wire type is a ``msgspec.Struct`` declared with ``WIRE`` and is encoded as an array of its fields in order (RFC
   8949, section 4.2.1).
2. There is exactly one accepted encoding of a value. ``decode`` refuses whatever ``encode`` would not have produced:
   trailing bytes, long-form integers, indefinite lengths, duplicate keys, tags, floats, undefined.
3. Nothing is decoded before its length is bounded, nothing nests deeper than ``MAX_DEPTH``, no integer leaves 64 bits.
4. Only arrays, integers, byte strings, text, booleans and null exist: no maps, no tags. Tags are refused before their
   content is interpreted, since interpreting some of them (regular expressions, big fractions) costs time.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, NoReturn, TypeVar

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

# every tag cbor2 interprets by itself; all others reach ``tag_hook``
_INTERPRETED_TAGS: Final = (
    *(0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54),
    *(100, 256, 258, 260, 261, 1004, 43000, 55799),
)


class EncodingError(ValueError):
    """The bytes are not the canonical encoding of the type asked for. Sending them again cannot help."""


class NotCanonical(EncodingError):
    """The bytes decode, but ``encode`` would have written them otherwise."""


def _refuse_tag(*_: object) -> NoReturn:
    raise EncodingError("tags are not used here")


_REFUSE_TAGS: Final = dict.fromkeys(_INTERPRETED_TAGS, _refuse_tag)


class Wire(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Base of every wire type and state record: an immutable struct encoded as an array of its fields."""


def encode(value: Any) -> bytes:
    """Encodes a wire type, or plain integers, bytes, text, tuples and None, to canonical CBOR."""
    return cbor2.dumps(msgspec.to_builtins(value, builtin_types=(bytes,)), canonical=True)


def decode_plain(data: bytes, max_bytes: int) -> Any:
    """Decodes canonical CBOR to plain lists, integers, bytes and text. Errors: EncodingError."""
    value = _load(data, max_bytes)
    try:
        _require_plain(value)
        canonical = cbor2.dumps(value, canonical=True) == data
    except EncodingError:
        raise
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise EncodingError(f"not CBOR: {error}") from error
    if not canonical:
        raise NotCanonical("not in canonical form")
    return value


def _load(data: bytes, max_bytes: int) -> Any:
    """Decodes within the limits; says nothing of canonical form, nor of what plain values are. Errors:
    EncodingError.
    """
    if len(data) > max_bytes:
        raise EncodingError(f"{len(data)} bytes exceed the limit of {max_bytes}")
    try:
        return cbor2.loads(
            data,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            semantic_decoders=_REFUSE_TAGS,
            tag_hook=_refuse_tag,
        )
    except EncodingError:
        raise
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise EncodingError(f"not CBOR: {error}") from error


def _require_plain(value: Any) -> None:
    """Errors: EncodingError for anything but lists of integers of 64 bits, bytes, text, booleans and None."""
    kind = type(value)
    if kind is list:
        for item in value:
            _require_plain(item)
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise EncodingError(f"integer {value} is beyond 64 bits")
    elif not (kind is bytes or kind is str or kind is bool or value is None):
        raise EncodingError(f"no {kind.__name__} may occur")


def convert(value: Any, type_: type[T]) -> T:
    """Converts what ``decode_plain`` returned to a wire type, coercing nothing and filling in nothing: a field that has
    a default must be there all the same, or a value would have two encodings. Errors: EncodingError.
    """
    converted = convert_loosely(value, type_)
    if not _same(msgspec.to_builtins(converted, builtin_types=(bytes,)), value):
        raise NotCanonical(f"not all of a {type_.__name__}")
    return converted


def _same(left: Any, right: Any) -> bool:
    """Equal, lists and tuples being the same thing."""
    if left == right:
        return True
    if not (isinstance(left, list | tuple) and isinstance(right, list | tuple)) or len(left) != len(right):
        return False
    return all(map(_same, left, right))


def decode(data: bytes, type_: type[T], max_bytes: int) -> T:
    """Decodes exactly one ``type_`` of at most ``max_bytes``. Errors: EncodingError."""
    named: object = type_  # an annotated tuple, for instance, is no class
    if not (isinstance(named, type) and issubclass(named, Wire)):
        return convert(decode_plain(data, max_bytes), type_)
    converted = convert_loosely(_load(data, max_bytes), type_)
    require_encoding(converted, data)
    return converted


def decode_loosely(data: bytes, type_: type[T], max_bytes: int) -> T:
    """``decode`` of a type with parts of any type (``list[Any]``), which the caller converts; then it must require that
    the whole is encoded as ``data`` (``require_encoding``). Errors: EncodingError.
    """
    return convert_loosely(_load(data, max_bytes), type_)


def require_encoding(value: Any, data: bytes) -> None:
    """``data`` is what ``encode`` makes of ``value``, each part of which has a type of its own: so nothing was coerced,
    filled in, left over, or written in a longer form. Errors: NotCanonical.
    """
    if encode(value) != data:
        raise NotCanonical("not in canonical form")


def convert_loosely(value: Any, type_: type[T]) -> T:
    """Converts a part of what ``decode_loosely`` returned. Errors: EncodingError."""
    try:
        return msgspec.convert(value, type_, strict=True, builtin_types=(bytes,))
    except (msgspec.ValidationError, OverflowError) as error:
        raise EncodingError(f"not a {type_.__name__}: {error}") from error

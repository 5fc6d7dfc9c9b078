"""The format of `quarter_hours.bin`, and nothing of what its numbers mean.

1. The first line is JSON, UTF-8, ended by a line feed: `Header`. It names source and licence and lists the columns in
   the order in which they follow.
2. Each column is an xz stream of its own, so that reading one does not unpack the others. Inside are `samples`
   unsigned 16-bit integers, little endian: each value less the one before it (the first less 0), modulo 2¹⁶.
3. A value is a mean power over one quarter hour in ten-thousandths of the nominal power, 0 … 10,000.
4. The sum of a column's values stands in the header, so that a damaged file is found.
"""

import itertools
import lzma
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec

RESOLUTION: Final = 10_000
SAMPLES_PER_DAY: Final = 96
SAMPLES_PER_YEAR: Final = 366 * SAMPLES_PER_DAY

_MAX_HEADER_BYTES: Final = 64 * 1024
_MAX_COLUMN_BYTES: Final = 1024 * 1024


class ProfilesDamaged(Exception):
    """The file of profiles is not as it was shipped: install the package anew."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One series: its name in the source, the length of its xz stream, the sum of its values."""

    name: str
    compressed_bytes: Annotated[int, msgspec.Meta(gt=0, le=_MAX_COLUMN_BYTES)]
    sum: Annotated[int, msgspec.Meta(gt=0, le=RESOLUTION * SAMPLES_PER_YEAR)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says of itself."""

    format: Literal["quarter-hour profiles, version 1"]
    source: str
    licence: str
    encoding: str
    unit: str
    first_sample: str
    samples: Literal[35_136]
    columns: tuple[Column, ...]


def pack(columns: Mapping[str, Sequence[int]], source: str, licence: str, first_sample: str) -> bytes:
    """The file's bytes. Each column has SAMPLES_PER_YEAR values between 0 and RESOLUTION."""
    streams = [_compress(values) for values in columns.values()]
    header = Header(
        format="quarter-hour profiles, version 1",
        source=source,
        licence=licence,
        encoding="after this line an xz stream a column: differences of neighbours modulo 65536, uint16 little endian",
        unit="mean power over a quarter hour in ten-thousandths of the nominal power",
        first_sample=first_sample,
        samples=SAMPLES_PER_YEAR,
        columns=tuple(
            Column(name, len(stream), sum(values))
            for (name, values), stream in zip(columns.items(), streams, strict=True)
        ),
    )
    return msgspec.json.encode(header) + b"\n" + b"".join(streams)


def unpack(content: bytes, name: str) -> "array[int]":
    """One column's SAMPLES_PER_YEAR values. Errors: ProfilesDamaged."""
    line, _, body = content.partition(b"\n")
    if len(line) > _MAX_HEADER_BYTES:
        raise ProfilesDamaged("the file has no header")
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProfilesDamaged(f"the header is damaged: {error}") from error
    position = 0
    for column in header.columns:
        if column.name == name:
            values = _decompress(body[position : position + column.compressed_bytes], name)
            if sum(values) != column.sum or max(values) > RESOLUTION:
                raise ProfilesDamaged(f"the values of {name} do not add up")
            return values
        position += column.compressed_bytes
    raise ProfilesDamaged(f"there is no column {name}")


def _compress(values: Sequence[int]) -> bytes:
    assert len(values) == SAMPLES_PER_YEAR
    assert min(values) >= 0
    assert max(values) <= RESOLUTION
    differences = (value - before & 0xFFFF for before, value in itertools.pairwise(itertools.chain((0,), values)))
    return lzma.compress(_little_endian(differences).tobytes(), check=lzma.CHECK_CRC64, preset=9 | lzma.PRESET_EXTREME)


def _decompress(stream: bytes, name: str) -> "array[int]":
    try:
        raw = lzma.LZMADecompressor().decompress(stream, max_length=2 * SAMPLES_PER_YEAR + 1)
    except lzma.LZMAError as error:
        raise ProfilesDamaged(f"the values of {name} are damaged: {error}") from error
    if len(raw) != 2 * SAMPLES_PER_YEAR:
        raise ProfilesDamaged(f"{name} has {len(raw)} bytes instead of {2 * SAMPLES_PER_YEAR}")
    differences = array("H", raw)
    if sys.byteorder == "big":
        differences.byteswap()
    return array("H", (value & 0xFFFF for value in itertools.accumulate(differences)))


def _little_endian(values: Iterable[int]) -> "array[int]":
    packed = array("H", values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed

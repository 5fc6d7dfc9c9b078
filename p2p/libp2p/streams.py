"""Requests and answers on a libp2p stream: one request, one answer, then the stream ends.

    request   length (unsigned varint) ‖ that many bytes
    answer    status (one byte: 0 ok, 1 refused) ‖ length (unsigned varint) ‖ that many bytes; a refusal carries UTF-8
    text

A length over the limit ends the stream before a byte of the body is read. Varints are minimal and at most 5 bytes.
"""

from __future__ import annotations

from typing import Any

from p2p.network import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, RequestFailed, RequestRefused

_OK = 0
_REFUSED = 1
_MAX_VARINT_BYTES = 5
_MAX_REFUSAL_BYTES = 1024
_CHUNK_BYTES = 64 * 1024


class FramingError(Exception):
    """The other side broke the framing: a length that is not a minimal varint, over the limit, or an early end."""


class OversizeFrame(FramingError):
    """The other side announced more than the limit."""


def encode_varint(value: int) -> bytes:
    """Unsigned LEB128, minimal."""
    assert 0 <= value < 1 << 32
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def frame(payload: bytes) -> bytes:
    return encode_varint(len(payload)) + payload


async def read_exactly(stream: Any, count: int) -> bytes:
    """Exactly ``count`` bytes. Error: FramingError when the stream ends early: libp2p's multiplexed streams raise an
    EOFError then, its sockets return nothing, for ever.
    """
    received = bytearray()
    while len(received) < count:
        try:
            chunk = await stream.read(min(count - len(received), _CHUNK_BYTES))
        except EOFError as end:
            raise FramingError(f"the stream ended after {len(received)} of {count} bytes") from end
        if not chunk:
            raise FramingError(f"the connection ended after {len(received)} of {count} bytes")
        received += chunk
    return bytes(received)


async def read_varint(stream: Any) -> int:
    """Error: FramingError for a varint that is too long or not minimal, or an early end."""
    value = 0
    for position in range(_MAX_VARINT_BYTES):
        byte = (await read_exactly(stream, 1))[0]
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            if byte == 0 and position > 0:
                raise FramingError("a length is not a minimal varint")
            return value
    raise FramingError("a length has more than five bytes")


async def read_frame(stream: Any, limit: int) -> bytes:
    """One framed payload. Errors: OversizeFrame before the payload is read, FramingError."""
    length = await read_varint(stream)
    if length > limit:
        raise OversizeFrame(f"{length} bytes announced, {limit} allowed")
    return await read_exactly(stream, length)


async def write_request(stream: Any, request: bytes) -> None:
    assert len(request) <= MAX_REQUEST_BYTES
    await stream.write(frame(request))


async def read_request(stream: Any) -> bytes:
    return await read_frame(stream, MAX_REQUEST_BYTES)


async def write_answer(stream: Any, answer: bytes) -> None:
    assert len(answer) <= MAX_RESPONSE_BYTES
    await stream.write(bytes([_OK]) + frame(answer))


async def write_refusal(stream: Any, reason: str) -> None:
    await stream.write(bytes([_REFUSED]) + frame(reason.encode("utf-8", "replace")[:_MAX_REFUSAL_BYTES]))


async def read_answer(stream: Any) -> bytes:
    """The answer. Errors: RequestRefused with the peer's reason; RequestFailed for an unknown status; FramingError."""
    status = (await read_exactly(stream, 1))[0]
    if status == _OK:
        return await read_frame(stream, MAX_RESPONSE_BYTES)
    if status == _REFUSED:
        raise RequestRefused((await read_frame(stream, _MAX_REFUSAL_BYTES)).decode("utf-8", "replace"))
    raise RequestFailed(f"the answer has the unknown status {status}")

"""Asking one peer and answering one peer: the streams of ``request`` and ``serve``.

1. A request is at most MAX_REQUEST_BYTES, an answer at most MAX_RESPONSE_BYTES; more ends the stream before it is read
   and costs ``OVERSIZE``.
2. A request costs its bytes and one message of the asking peer's budget; over it, ``FLOOD`` and no answer.
3. A peer has READ_REQUEST_S to send a request and ANSWER_S to be answered. Slowness costs it nothing but the stream.
4. An answered stream is reset only when the peer has ended its side, LINGER_S later, or when it sends more: whoever is
   told of a reset drops what it has not read yet.
5. A handler that raises anything but ``RequestRefused`` resets the stream; that is this node's own fault and costs
   nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from libp2p.io.exceptions import IOException

from p2p.libp2p.streams import (
    FramingError,
    OversizeFrame,
    read_answer,
    read_request,
    write_answer,
    write_refusal,
    write_request,
)
from p2p.network import MAX_RESPONSE_BYTES, Handler, Offence, PeerId, RequestFailed, RequestRefused
from p2p.peer_book import PeerBook
from p2p.reception import Penalise

READ_REQUEST_S = 10.0
ANSWER_S = 60.0
LINGER_S = 10.0

OpenStream = Callable[[PeerId, str], Awaitable[Any]]
"""A negotiated stream to a connected peer; any exception means: not now, or never."""


async def discard(stream: Any) -> None:
    """Frees a stream in whatever state it is; sends RST if the other side may still send."""
    with trio.CancelScope(shield=True):
        await stream.reset()


async def _linger(stream: Any) -> None:
    """Rule 4."""
    with trio.move_on_after(LINGER_S), suppress(EOFError, IOException):
        await stream.read(1)


async def ask(open_stream: OpenStream, penalise: Penalise, peer: PeerId, protocol: str, data: bytes) -> bytes:
    """One request, one answer, without a time limit of its own. Errors: RequestFailed, RequestRefused."""
    try:
        stream = await open_stream(peer, protocol)
    except Exception as error:
        # Every layer of the library has its own exceptions for a peer that is gone or does not know the protocol.
        raise RequestFailed(f"{peer} does not take {protocol}: {error}") from error
    try:
        await write_request(stream, data)
        return await read_answer(stream)
    except (RequestRefused, RequestFailed):
        raise
    except OversizeFrame as error:
        penalise(peer, Offence.OVERSIZE, f"answer to {protocol}: {error}")
        raise RequestFailed(f"{peer} sent too much: {error}") from error
    except Exception as error:
        # As above: the stream or the connection ended under us, in one of a dozen ways.
        raise RequestFailed(f"{peer} broke off {protocol}: {error}") from error
    finally:
        await discard(stream)


class Responder:
    """The stream handler of one protocol."""

    def __init__(self, protocol: str, handler: Handler, book: PeerBook, penalise: Penalise) -> None:
        self._protocol = protocol
        self._handler = handler
        self._book = book
        self._penalise = penalise

    async def __call__(self, stream: Any) -> None:
        peer = str(stream.muxed_conn.peer_id)
        try:
            with trio.fail_after(READ_REQUEST_S):
                request = await read_request(stream)
            if self._book.spend(peer, len(request)):
                with trio.fail_after(ANSWER_S):
                    await self._answer(peer, request, stream)
                    await stream.close()
                await _linger(stream)
            else:
                self._penalise(peer, Offence.FLOOD, f"requests over its budget, {self._protocol}")
        except OversizeFrame as error:
            self._penalise(peer, Offence.OVERSIZE, f"{self._protocol}: {error}")
        except (FramingError, IOException, trio.TooSlowError):
            # A broken request, a peer that went away, one that is too slow to ask or to take the answer.
            self._book.counters[f"cut {self._protocol}"] += 1
        finally:
            await discard(stream)

    async def _answer(self, peer: PeerId, request: bytes, stream: Any) -> None:
        try:
            answer = await self._handler(peer, request)
        except RequestRefused as refusal:
            self._book.counters[f"refused {self._protocol}"] += 1
            await write_refusal(stream, str(refusal))
            return
        if len(answer) > MAX_RESPONSE_BYTES:
            raise ValueError(f"the handler of {self._protocol} answered {len(answer)} bytes")
        self._book.counters[f"served {self._protocol}"] += 1
        await write_answer(stream, answer)

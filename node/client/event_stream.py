"""Following a node's events through its absences.

1. The first item is ``Back`` (connected) or ``Away``. After ``Away`` the client tries again: after 0.25 s, then twice
   as long each time, at most 10 s.
2. It resumes after the last block it has handed out, so that no final block is missing or doubled between ``Away`` and
   ``Back``.
3. What it does not know, it skips: a newer node may say more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import anyio
import httpx
import msgspec
from httpx_sse import EventSource, ServerSentEvent, SSEError

from node.client.connection import Connection
from node.client.errors import ApiProblem, ClientError, UnexpectedAnswer
from node.client.events import Away, Back, BlockFinal, ClientEvent, Dropped, Missed, NodeEvent, decode_event

FIRST_RETRY_MS: Final = 250
LAST_RETRY_MS: Final = 10_000
HEIGHT_HEADER: Final = "ecloud-height"


async def follow_events(connection: Connection, after_height: int | None) -> AsyncGenerator[ClientEvent, None]:
    """See ``NodeClient.events``."""
    retry_ms, seen, was_away = FIRST_RETRY_MS, after_height, False
    while True:
        try:
            async with aclosing(_one_connection(connection, seen)) as events:
                async for event in events:
                    retry_ms, was_away = FIRST_RETRY_MS, False
                    seen = _last_seen(event, seen)
                    yield event
            lost: Exception = ClientError(f"the node at {connection.where} ended the stream")
        except ApiProblem as problem:
            if not problem.retry_may_help:
                raise
            lost = problem
        except (SSEError, msgspec.DecodeError) as error:
            lost = UnexpectedAnswer(f"{connection.where} does not send events as a node does ({error})")
        except UnexpectedAnswer as error:
            lost = error
        except (httpx.TransportError, httpx.InvalidURL, OSError) as error:
            lost = connection.away(error)
        if not was_away:
            yield Away(detail=str(lost), retry_in_ms=retry_ms)
        was_away = True
        await anyio.sleep(retry_ms / 1000)
        retry_ms = min(2 * retry_ms, LAST_RETRY_MS)


async def _one_connection(connection: Connection, seen: int | None) -> AsyncGenerator[ClientEvent, None]:
    headers = {"accept": "text/event-stream"} | ({} if seen is None else {"last-event-id": str(seen)})
    async with connection.stream("/v1/events", headers) as response:
        yield Back(height=_height(response))
        async with aclosing(EventSource(response).aiter_sse()) as messages:
            try:
                async for message in messages:
                    event = _event(message)
                    if event is not None:
                        yield event
                    if isinstance(event, Dropped):
                        return
            finally:
                await _unwind(messages)


async def _unwind(messages: AsyncGenerator[ServerSentEvent, None]) -> None:
    """Ends httpx's own generators below, which it leaves to the garbage collector when an answer is not read to its
    end: a read that is cancelled unwinds them all.
    """
    with anyio.CancelScope() as scope:
        scope.cancel()
        async for _ in messages:
            pass


def _event(message: ServerSentEvent) -> NodeEvent | None:
    return decode_event(message.data) if message.data else None


def _last_seen(event: ClientEvent, seen: int | None) -> int | None:
    """``Back`` at the very first connection fixes where to resume, should the node go away before its first block."""
    if isinstance(event, BlockFinal):
        return event.height
    if isinstance(event, Missed):
        return event.up_to_height
    if isinstance(event, Back) and seen is None:
        return event.height
    return seen


def _height(response: httpx.Response) -> int:
    text = response.headers.get(HEIGHT_HEADER, "")
    if not text.isdecimal():
        raise SSEError(f"no {HEIGHT_HEADER} header")
    return int(text)

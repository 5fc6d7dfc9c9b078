"""Reading the chain for a request: one short snapshot, in a worker thread, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import trio
from fastapi import Response

from node.client.models import Model
from node.service import NodeService
from node.views.reader import Reader

READS_AT_ONCE: Final = 4
"""More would only wait for each other, and take the machine from the consensus."""

T = TypeVar("T")


class ChainAccess:
    """Runs questions to the chain where they hold nobody up."""

    def __init__(self, service: NodeService) -> None:
        self._service = service
        self._limiter = trio.CapacityLimiter(READS_AT_ONCE)

    async def read(self, question: Callable[[Reader], T]) -> T:
        """The answer from the newest block. Errors: those of the question."""

        def run() -> T:
            with self._service.chain.snapshot() as view:
                return question(Reader(view, self._service))

        return await trio.to_thread.run_sync(run, limiter=self._limiter)

    async def answer(self, question: Callable[[Reader], Model]) -> Response:
        """The same, as a response."""
        return as_response(await self.read(question))


def as_response(model: Model, status: int = 200) -> Response:
    return Response(msgspec.json.encode(model), status, media_type="application/json")

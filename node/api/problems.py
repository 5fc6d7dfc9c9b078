"""Every error as an RFC 9457 problem document.

1. ``type`` is ``urn:ecloud:problem:`` and a word; ``detail`` says in a sentence what would be right.
2. A transaction that is refused carries the ledger's word in ``refusal``: 422 if it cannot be accepted as it is, 503
   with ``Retry-After`` if the node cannot take it now.
3. What goes wrong inside the node says that it did, not how: the log has that.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from ledger.refusal import Refusal, TransactionRefused
from node.client.models import Problem
from node.event_hub import TooManySubscribers
from node.log import Log
from node.views.reader import NotFound
from p2p.network import NetworkError
from storage.errors import Damaged, Pruned, StorageError

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
MAX_TRACE_LINES: Final = 30
UNAVAILABLE: Final = frozenset({Refusal.MEMPOOL_FULL, Refusal.SENDER_QUEUE_FULL, Refusal.DISK_FULL})
_TITLES: Final = {
    400: ("invalid_request", "The request is not valid"),
    401: ("token_needed", "The administrator's token is needed"),
    403: ("forbidden", "The request is not allowed from there"),
    404: ("not_found", "There is no such thing"),
    405: ("method_not_allowed", "The method is not allowed here"),
    408: ("too_slow", "The request took too long to arrive"),
    413: ("too_large", "The request is too large"),
    415: ("media_type", "The content type is not one of those understood"),
    422: ("refused", "The transaction is refused"),
    500: ("internal", "The node failed"),
    503: ("unavailable", "The node cannot do this now"),
}


class ApiError(Exception):
    """A request that is answered with a problem document of this HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def make_problem(
    status: int, detail: str, *, refusal: Refusal | None = None, retry_may_help: bool = False
) -> tuple[bytes, dict[str, str]]:
    """The document, and its headers."""
    word, title = _TITLES[status]
    problem = Problem(
        type=f"urn:ecloud:problem:{word}",
        title=title,
        status=status,
        detail=detail,
        refusal=None if refusal is None else refusal.value,
        retry_may_help=retry_may_help,
    )
    headers = {"content-type": MEDIA_TYPE}
    if status == 503:
        headers["retry-after"] = str(RETRY_AFTER_S)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return msgspec.json.encode(problem), headers


def answer(status: int, detail: str, *, refusal: Refusal | None = None, retry_may_help: bool = False) -> Response:
    """The document as a response."""
    body, headers = make_problem(status, detail, refusal=refusal, retry_may_help=retry_may_help)
    return Response(body, status, headers)


def _methods_at(request: Request) -> set[str]:
    """Every method that the document has for the path: the framework names only those of one route."""
    return {
        method.upper()
        for template, operations in request.app.openapi()["paths"].items()
        if compile_path(template)[0].fullmatch(request.url.path)
        for method in operations
    }


async def _http(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(404, f"there is nothing at {request.url.path}; GET /openapi.json lists what there is")
    if error.status_code not in _TITLES:
        return answer(400, str(error.detail))
    answered = answer(error.status_code, str(error.detail))
    answered.headers.update(error.headers or {})
    if error.status_code == 405:
        allowed = _methods_at(request) | set(filter(None, answered.headers.get("allow", "").split(", ")))
        answered.headers["allow"] = ", ".join(sorted(allowed))  # RFC 9110, 15.5.6
    return answered


def install(app: FastAPI, log: Log, damaged: Callable[[Damaged], None]) -> None:
    """Answers each error that a request may end in with its problem document; ``damaged`` is told of what a read has
    met on the disk.
    """

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, TransactionRefused)
        status = 503 if error.refusal in UNAVAILABLE else 422
        return answer(status, error.detail, refusal=error.refusal, retry_may_help=error.retry_may_help)

    async def api_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return answer(error.status, error.detail)

    async def not_found(_: Request, error: Exception) -> Response:
        return answer(404, str(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(400, "; ".join(f"{part['loc'][-1]}: {part['msg']}" for part in error.errors()))

    async def network(_: Request, error: Exception) -> Response:
        return answer(400, str(error))

    async def busy(_: Request, error: Exception) -> Response:
        return answer(503, str(error), retry_may_help=True)

    async def storage(request: Request, error: Exception) -> Response:
        log.error("storage", path=request.url.path, detail=str(error))
        if isinstance(error, Damaged):
            damaged(error)
        return answer(500, str(error))

    async def internal(request: Request, error: Exception) -> Response:
        trace = "".join(traceback.format_exception(error)[-MAX_TRACE_LINES:])
        log.error("request failed", path=request.url.path, trace=trace)
        return answer(500, f"{type(error).__name__}; the node's log says more", retry_may_help=True)

    async def gone(_: Request, __: Exception) -> Response:
        return answer(400, "the request broke off")  # nobody is there to read it

    app.add_exception_handler(TransactionRefused, refused)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(NotFound, not_found)
    app.add_exception_handler(Pruned, not_found)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(NetworkError, network)
    app.add_exception_handler(TooManySubscribers, busy)
    app.add_exception_handler(StorageError, storage)
    app.add_exception_handler(Exception, internal)

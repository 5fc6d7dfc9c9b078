"""Where a node's API is, and one request to it.

1. A node is reached by its unix socket, which only its owner can open, or by a loopback URL.
2. Answers of 2xx decode to the type asked for; a problem document raises ``ApiProblem``; a connection that fails raises
   ``NodeAway``; anything else ``UnexpectedAnswer``.
3. Works under trio and asyncio alike.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import httpx
import msgspec

from node.client.errors import ApiProblem, NodeAway, UnexpectedAnswer
from node.client.models import Problem

SOCKET_NAME: Final = "api.sock"
TOKEN_NAME: Final = "api.token"  # noqa: S105 (a file's name)
URL_NAME: Final = "api.url"
DEFAULT_URL: Final = "http://127.0.0.1:4080"
TIMEOUT_S: Final = 10.0
PROBLEM_TYPE: Final = "application/problem+json"
SILENCE_S: Final = 30.0
"""The node sends something on an open event stream at least every ten seconds; after this it is taken for gone."""

T = TypeVar("T")


class Connection:
    """Kept-alive HTTP to one node. Use as an async context manager."""

    def __init__(
        self, base_url: str | None = None, *, unix_socket: Path | None = None, token: str | None = None
    ) -> None:
        if base_url is not None and unix_socket is not None:
            raise ValueError("a node is reached by its URL or by its unix socket, not both")
        self.where = str(unix_socket) if unix_socket is not None else (base_url or DEFAULT_URL)
        # The API is plain HTTP here. A context that trusts nobody refuses https, and spares every command the
        # tenth of a second that reading the authorities' certificates takes.
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        transport = None if unix_socket is None else httpx.AsyncHTTPTransport(uds=str(unix_socket), verify=trust)
        self._http = httpx.AsyncClient(
            base_url="http://localhost" if unix_socket is not None else self.where,
            transport=transport,
            verify=trust,
            timeout=TIMEOUT_S,
            headers={} if token is None else {"authorization": f"Bearer {token}"},
            trust_env=False,  # a proxy of the household has no business between a program and its own node
        )

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, type_: type[T], **query: Any) -> T:
        """Errors: see the module's rules. Query parameters that are None are left out."""
        return self._decoded(await self._request("GET", path, query=query), type_)

    async def get_text(self, path: str) -> str:
        response = await self._request("GET", path)
        if not response.is_success:
            raise self._problem(response)
        return response.text

    async def post(self, path: str, type_: type[T], *, content: bytes, content_type: str) -> T:
        headers = {"content-type": content_type}
        return self._decoded(await self._request("POST", path, content=content, headers=headers), type_)

    @asynccontextmanager
    async def stream(self, path: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """An open answer. Errors: as for ``get``; those of reading from it are httpx's."""
        timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
        async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                await response.aread()
                raise self._problem(response)
            yield response

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            return await self._http.request(method, path, params=parameters, content=content, headers=headers)
        except (httpx.TransportError, httpx.InvalidURL, OSError) as error:
            raise self.away(error) from error

    def away(self, error: Exception) -> NodeAway:
        """The sentence for a connection that failed."""
        if isinstance(error, httpx.ConnectError):
            return NodeAway(f"no node answers at {self.where}; start it with: ecloud node run")
        if isinstance(error, httpx.TimeoutException):
            return NodeAway(f"the node at {self.where} does not answer in time; see its log")
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return NodeAway(f"{self.where!r} is not the address of a node; it looks like {DEFAULT_URL}")
        return NodeAway(f"the connection to the node at {self.where} broke ({type(error).__name__})")

    def _decoded(self, response: httpx.Response, type_: type[T]) -> T:
        if not response.is_success:
            raise self._problem(response)
        try:
            return msgspec.json.decode(response.content, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnexpectedAnswer(
                f"{self.where} answers, but not as a node of this version does ({error}); compare: ecloud --version"
            ) from error

    def _problem(self, response: httpx.Response) -> ApiProblem | UnexpectedAnswer:
        if response.headers.get("content-type", "").startswith(PROBLEM_TYPE):
            try:
                return ApiProblem(msgspec.json.decode(response.content, type=Problem))
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # falls through: it is no problem document of ours, whatever it says it is
        return UnexpectedAnswer(f"{self.where} answers {response.status_code}, and not as a node does; is it one?")

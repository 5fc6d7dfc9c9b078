"""What every request passes before anything else looks at it.

1. *Host* names a loopback host, so that a web page cannot reach the node under a name of its own (DNS rebinding).
2. A request that may change something and that a browser made (*Origin*, *Sec-Fetch-Site*) is from the node's own page.
3. A body has at most ``MAX_BODY_BYTES``, announced or not, in at most ``MAX_BODY_PARTS``, and arrives whole within
   ``BODY_TIMEOUT_S``: neither drops nor crumbs keep the node busy.
4. What is under ``/v1/admin`` carries the token of ``api.token``, compared in constant time.
5. There are no WebSockets: an upgrade is refused.
"""

from __future__ import annotations

import re
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.transactions import MAX_TRANSACTION_BYTES
from node.api.metrics import ApiMetrics
from node.api.problems import ApiError, make_problem
from node.log import get

MAX_BODY_BYTES: Final = 2 * MAX_TRANSACTION_BYTES + 1024
"""The largest transaction in hex, as JSON."""
MAX_BODY_PARTS: Final = 1_024
BODY_TIMEOUT_S: Final = 10.0
ADMIN_PATH: Final = "/v1/admin/"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
HOST_FORM: Final = re.compile(r"(\[(?P<ip6>[0-9a-fA-F:.]+)\]|(?P<name>[0-9a-zA-Z.-]+))(:[0-9]{1,5})?")
"""RFC 9110, 7.2; names of the letters that host names have."""
OWN_SITES: Final = frozenset({"same-origin", "none"})


class Gate:
    """ASGI middleware; see the module's rules."""

    def __init__(self, app: ASGIApp, token: str, metrics: ApiMetrics) -> None:
        self._app = app
        self._token = token.encode()
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_upgrade(receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests[f"{message['status'] // 100}xx"] += 1
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        try:
            self._check(scope)
        except ApiError as refused:
            body, headers = make_problem(refused.status, refused.detail)
            headers |= {"content-length": str(len(body)), "connection": "close"}
            raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
            await counted_send({"type": "http.response.start", "status": refused.status, "headers": raw_headers})
            await counted_send({"type": "http.response.body", "body": body})
        else:
            await self._app(scope, _bounded(receive), counted_send)

    def _check(self, scope: Scope) -> None:
        headers = {}
        for name, value in scope["headers"]:
            if name in headers and name in {b"host", b"origin", b"authorization", b"content-length"}:
                raise ApiError(400, f"{name.decode('latin-1')} is given twice")
            headers[name] = value.decode("latin-1")
        host = headers.get(b"host", "")
        if not _is_loopback(host):
            raise ApiError(403, f"Host {host!r}: this API answers only as 127.0.0.1, [::1] or localhost")
        if scope["method"] not in SAFE_METHODS:
            origin = headers.get(b"origin")
            if origin is not None and origin != f"http://{host}":
                raise ApiError(403, f"Origin {origin!r}: web pages of other sites may not change anything here")
            if headers.get(b"sec-fetch-site", "none") not in OWN_SITES:
                raise ApiError(403, "web pages of other sites may not change anything here")
        length = headers.get(b"content-length", "0")
        if length.isdecimal() and int(length) > MAX_BODY_BYTES:
            raise ApiError(413, _too_large(f"{length} bytes are"))
        if scope["path"].startswith(ADMIN_PATH):
            self._check_token(headers.get(b"authorization", ""))

    def _check_token(self, authorization: str) -> None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not compare_digest(given.strip().encode("latin-1"), self._token):
            raise ApiError(
                401, "send 'Authorization: Bearer …' with the content of api.token in the node's data directory"
            )


async def _refuse_upgrade(receive: Receive, send: Send) -> None:
    try:
        await receive()
        await send({"type": "websocket.close", "code": 1008})
    except Exception as error:
        # whoever garbles the upgrade leaves hypercorn in a state in which it cannot even refuse; the guard ends it
        get("api").debug("upgrade not answered", error=type(error).__name__)


def _bounded(receive: Receive) -> Receive:
    received, parts, complete = 0, 0, False
    deadline_s = trio.current_time() + BODY_TIMEOUT_S

    async def bounded() -> Message:
        nonlocal received, parts, complete
        if complete:
            return await receive()  # the end of the connection, which may be long in coming
        with trio.move_on_at(deadline_s) as waiting:
            message = await receive()
        if waiting.cancelled_caught:
            raise ApiError(408, f"the request's body did not arrive within {BODY_TIMEOUT_S:.0f} s")
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            parts += 1
            complete = not message.get("more_body", False)
            if parts > MAX_BODY_PARTS:
                raise ApiError(413, f"a request's body comes in at most {MAX_BODY_PARTS} parts")
            if received > MAX_BODY_BYTES:
                raise ApiError(413, _too_large("more is"))
        return message

    return bounded


def _too_large(what: str) -> str:
    return f"{what} too much: a request's body has at most {MAX_BODY_BYTES} bytes"


def _is_loopback(host: str) -> bool:
    form = HOST_FORM.fullmatch(host)
    if form is None:
        return False
    try:
        if form["ip6"] is not None:
            return IPv6Address(form["ip6"]).is_loopback
        return form["name"].lower() == "localhost" or IPv4Address(form["name"]).is_loopback
    except ValueError:
        return False

"""Serves a ``Neighbourhood`` as a node's API would, over real HTTP on loopback, with an event stream.

``stop`` cuts every connection, as a node that dies does; ``start`` comes back on the same port.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from ledger.refusal import Refusal, TransactionRefused
from node.client import events, models
from tests.tui.bills import RecordedBills
from tests.tui.market import RecordedMarket
from tests.tui.neighbourhood import Neighbourhood

_STOP = b""


class RecordedNode:
    """Use as a context manager. ``refuse_next`` makes the next submission fail with that refusal; ``vanish_on_submit``
    makes the node go away with it, unanswered.
    """

    def __init__(self, neighbourhood: Neighbourhood) -> None:
        self.neighbourhood = neighbourhood
        self.refuse_next: TransactionRefused | None = None
        self.vanish_on_submit = False
        self.submitted: list[bytes] = []
        self._lock = threading.Lock()
        self._streams: list[queue.Queue[bytes]] = []
        self._sockets: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._market: RecordedMarket | None = None
        self._bills: RecordedBills | None = None

    def __enter__(self) -> RecordedNode:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        server.daemon_threads = True
        self._port = server.server_address[1]
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with self._lock:
            for stream in self._streams:
                stream.put(_STOP)
            self._streams.clear()
            for open_socket in self._sockets:
                try:
                    open_socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the other side has closed it already
            self._sockets.clear()

    def advance(self, blocks: int = 1) -> None:
        """Makes blocks final and tells those who listen."""
        for _ in range(blocks):
            with self._lock:
                happened = self.neighbourhood.advance()
            for event in happened:
                self.tell(event)

    def tell(self, event: events.NodeEvent) -> None:
        line = f"id: {event.height}\n" if isinstance(event, events.BlockFinal) else ""
        text = f"{line}event: {events.event_tag(event)}\ndata: {events.encode_event(event).decode()}\n\n"
        with self._lock:
            for stream in self._streams:
                stream.put(text.encode())

    def listen(self) -> queue.Queue[bytes]:
        stream: queue.Queue[bytes] = queue.Queue()
        with self._lock:
            self._streams.append(stream)
        return stream

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(connection)

    def answer(self, path: str, query: dict[str, str]) -> msgspec.Struct | None:
        """The struct for a GET, None where nothing is."""
        there = self.neighbourhood
        limit = int(query.get("limit", "50"))
        with self._lock:
            match path.strip("/").split("/")[1:]:
                case ["status"]:
                    return there.status()
                case ["genesis"]:
                    return there.genesis()
                case ["parameters"]:
                    return there.parameters()
                case ["peers"]:
                    return there.peers()
                case ["evidence"]:
                    return there.evidence()
                case ["join-requests"]:
                    return there.join_requests()
                case ["candidates"]:
                    return there.candidates()
                case ["meters"]:
                    return there.meters()
                case ["readings"]:
                    return there.reading_list(query["meter"], limit)
                case ["blocks"]:
                    return there.block_page(int(query["before"]) if "before" in query else None, limit)
                case ["blocks", which]:
                    return _find_block(there, which)
                case ["market", *what]:
                    return self.market().answer([unquote(one) for one in what], query, there.height)
                case ["bills", *what]:
                    return self.bills().answer([unquote(one) for one in what], query, there.height)
                case ["draws", which]:
                    height = there.height + 1 if which == "next" else int(which)
                    if not 1 <= height <= there.height + 1:
                        return None
                    return there.draw(height, int(query["view"]) if "view" in query else None)
                case ["transactions", "pending"]:
                    return there.pending_page()
                case ["transactions", which]:
                    return there.transactions.get(which) or there.pending_transaction(which)
                case ["accounts", who]:
                    return there.account(unquote(who))
                case ["accounts", who, "history"]:
                    account = there.account(unquote(who))
                    if account is None:
                        return None
                    return there.history(account.account.address, query.get("before"), limit)
        return None

    def market(self) -> RecordedMarket:
        """Made when the first asks for it."""
        if self._market is None:
            self._market = RecordedMarket().lived()
        return self._market

    def bills(self) -> RecordedBills:
        """Made when the first asks for them."""
        if self._bills is None:
            self._bills = RecordedBills().lived()
        return self._bills

    def take(self, raw: bytes) -> msgspec.Struct:
        """A submission. Errors: TransactionRefused, as told beforehand."""
        self.submitted.append(raw)
        if self.refuse_next is not None:
            refused, self.refuse_next = self.refuse_next, None
            raise refused
        with self._lock:
            transaction = self.neighbourhood.submit(raw)
        return models.Accepted(id=transaction.id.hex())

    def take_join(self, raw: bytes) -> msgspec.Struct:
        """A denial."""
        with self._lock:
            request_id = self.neighbourhood.deny(raw)
        return models.Accepted(id=request_id)


def _find_block(there: Neighbourhood, which: str) -> models.Block | None:
    if which.isdecimal() and len(which) < 64:
        return there.blocks[int(which) - 1] if 1 <= int(which) <= there.height else None
    return next((block for block in there.blocks if block.summary.hash == which), None)


def _handler(node: RecordedNode) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            node.opened(self.connection)

        def finish(self) -> None:
            node.closed(self.connection)
            super().finish()

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/v1/events":
                self._stream()
                return
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            found = node.answer(parts.path, query)
            if found is None:
                self._problem(404, "not found", f"there is no {parts.path}", None)
            else:
                self._json(200, "application/json", found)

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            if node.vanish_on_submit:
                node.vanish_on_submit = False
                node.submitted.append(raw)
                node.stop()
                self.close_connection = True
                return
            try:
                accepted = node.take_join(raw) if self.path == "/v1/join-requests" else node.take(raw)
            except TransactionRefused as refused:
                self._problem(422, "transaction refused", refused.detail, refused.refusal)
            else:
                self._json(202, "application/json", accepted)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (named by the base class)
            """Nothing: the tests' output is theirs."""

        def _stream(self) -> None:
            stream = node.listen()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("ecloud-height", str(node.neighbourhood.height))
            self.send_header("connection", "close")
            self.end_headers()
            try:
                while (text := stream.get()) != _STOP:
                    self.wfile.write(text)
                    self.wfile.flush()
            except OSError:
                pass  # the listener has gone, as it may at any time
            self.close_connection = True

        def _json(self, status: int, content_type: str, content: msgspec.Struct) -> None:
            body = msgspec.json.encode(content)
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _problem(self, status: int, title: str, detail: str, refusal: Refusal | None) -> None:
            problem = models.Problem(
                type="about:blank",
                title=title,
                status=status,
                detail=detail,
                refusal=None if refusal is None else refusal.value,
            )
            self._json(status, "application/problem+json", problem)

    return Handler

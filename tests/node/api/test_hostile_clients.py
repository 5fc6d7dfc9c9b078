"""Programs on the same machine, and web pages in a browser on it, that mean the API harm."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import trio
from hypercorn.config import Config

from node.api import hypercorn_guard, server
from node.client.client import NodeClient
from node.event_hub import MAX_SUBSCRIBERS
from tests.node.api.household import Served, household, served

pytestmark = pytest.mark.trio

HEAD = b"Host: localhost\r\n"
GET = b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n"
POST = b"POST /v1/transactions HTTP/1.1\r\n" + HEAD + b"Content-Type: application/cbor\r\n"
EVENTS = b"GET /v1/events HTTP/1.1\r\n" + HEAD + b"\r\n"


async def exchange(serving: Served, sent: bytes, within_s: float = 5.0) -> bytes:
    """All that comes until the server closes the connection. Error: trio.TooSlowError if it does not."""
    received = b""
    with trio.fail_after(within_s):
        async with await trio.open_tcp_stream("127.0.0.1", serving.port) as stream:
            try:
                await stream.send_all(sent)
                while chunk := await stream.receive_some(65_536):
                    received += chunk
            except trio.BrokenResourceError:
                pass  # closed in the middle of what we sent
    return received


async def still_answers(serving: Served) -> None:
    with trio.fail_after(5):
        assert (await serving.client.status()).height == 0


async def test_names_that_only_look_like_this_machine(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            for host in (
                *("localhost.evil.example", "localhost.", "evil-localhost", "localhost@evil.example"),
                *("evil.example@localhost", "localhost#evil.example", "localhost/evil.example", "localhost\\evil"),
                *("localhost:80:80", "localhost:port", "localhost,evil.example", "localhost evil.example"),
                *("127.1", "2130706433", "0x7f.1", "0.0.0.0", "127.0.0.1.", "[127.0.0.1]", "::1", "[::1", "[::1%lo]"),
                *("[fe80::1]", "[2001:db8::1]", "192.168.1.20", "ecloud.local"),
            ):
                # When
                answer = await http.get("/v1/status", headers={"host": host})
                # Then
                assert answer.status_code in {400, 403}, host
                assert "height" not in answer.text
            for host in ("127.0.0.2", "[::1]", "[0:0:0:0:0:0:0:1]:4080", "localhost:1"):
                assert (await http.get("/v1/status", headers={"host": host})).status_code == 200, host


async def test_a_name_in_the_request_line_is_not_believed_either(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            close = b"Connection: close\r\n\r\n"
            for sent in (
                b"GET http://evil.example/v1/status HTTP/1.1\r\nHost: evil.example\r\n" + close,
                b"GET /v1/status HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n" + close,
                b"GET /v1/status HTTP/1.0\r\n\r\n",
            ):
                answer = await exchange(serving, sent)
                assert answer.split(b" ")[1] in {b"400", b"403"}, answer


async def test_the_unix_socket_asks_for_a_host_too(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            assert serving.address.unix_socket is not None
            transport = httpx.AsyncHTTPTransport(uds=str(serving.address.unix_socket))
            async with httpx.AsyncClient(transport=transport) as http:
                assert (await http.get("http://evil.example/v1/status")).status_code == 403
                assert (await http.get("http://localhost/v1/status")).status_code == 200


async def test_nobody_is_led_on_to_http2(tmp_path: Path) -> None:
    """Its streams and tables are bounded by nothing here."""
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            async with await trio.open_tcp_stream("127.0.0.1", serving.port) as stream:
                # When
                await stream.send_all(b"GET /health HTTP/1.1\r\n" + HEAD + upgrade)
                # Then it is answered as if it had not asked
                with trio.fail_after(5):
                    assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 200")
            settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
            answer = await exchange(serving, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings * 100)
            assert settings not in answer
            await still_answers(serving)


async def test_who_does_not_finish_a_request_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = server._hypercorn_config

    def impatient() -> Config:
        config = make()
        config.keep_alive_timeout = 0.5
        return config

    monkeypatch.setattr(server, "_hypercorn_config", impatient)
    monkeypatch.setattr("node.api.gate.BODY_TIMEOUT_S", 0.5)
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, trio.open_nursery() as nursery:

            async def drip(octets: bytes) -> None:
                with trio.fail_after(10):
                    async with await trio.open_tcp_stream("127.0.0.1", serving.port) as stream:
                        try:
                            for byte in octets:
                                await stream.send_all(bytes([byte]))
                                await trio.sleep(0.1)
                        except trio.BrokenResourceError:
                            return
                raise AssertionError(f"it waited for all of {octets[:40]!r}")

            # When requests come a byte at a time: the line, a header, a body, a chunk
            slow = b"a" * 200
            nursery.start_soon(drip, slow)
            nursery.start_soon(drip, GET[:-2] + b"X: " + slow)
            nursery.start_soon(drip, POST + b"Content-Length: 200\r\n\r\n" + slow)
            nursery.start_soon(drip, POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 40)
        # Then each is hung up on, and nothing else had to wait


async def test_chunks_of_every_bad_kind(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            chunked = POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            for sent in (
                chunked + b"1\r\na\r\n" * 20_000,
                chunked + b"FFFFFFFFFFFFFFFF\r\n" + bytes(40_000),
                chunked + b"-1\r\n",
                chunked + b"1;" + b"x" * 50_000 + b"\r\na\r\n0\r\n\r\n",
                chunked + b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
                chunked.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n",
                chunked.replace(b"chunked", b"identity") + b"0\r\n\r\n",
                POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
                POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            ):
                answer = await exchange(serving, sent, within_s=20)
                assert answer[:10] in {b"HTTP/1.1 4", b"HTTP/1.1 5", b""}, answer
                await still_answers(serving)


async def test_a_thousand_requests_in_one_breath(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            answers = await exchange(serving, GET * 300 + last, within_s=60)
            assert answers.count(b"HTTP/1.1 200") == 301


async def test_headers_beyond_all_measure(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            for sent in (
                b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
                b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
                b"GET / HTTP/1.1\r\n" + HEAD + b"X: y\r\n" * 100_000 + b"\r\n",
            ):
                assert (await exchange(serving, sent))[:10] in {b"HTTP/1.1 4", b""}
                await still_answers(serving)


async def test_event_streams_are_counted(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, AsyncExitStack() as stack:
            # Given as many listeners as there may be
            for _ in range(MAX_SUBSCRIBERS):
                stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", serving.port))
                await stream.send_all(EVENTS)
                with trio.fail_after(5):
                    assert b" 200 " in await stream.receive_some(4096)
            # When one more comes
            async with await trio.open_tcp_stream("127.0.0.1", serving.port) as stream:
                await stream.send_all(EVENTS)
                # Then it is told to come again, and all else is answered
                with trio.fail_after(5):
                    assert b" 503 " in await stream.receive_some(4096)
            await still_answers(serving)


async def test_a_full_port_does_not_keep_the_owner_from_the_unix_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypercorn_guard, "MAX_CONNECTIONS", 4)
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, AsyncExitStack() as stack:
            # Given somebody else on this machine who takes all there is to take
            for _ in range(4):
                stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", serving.port))
                await stream.send_all(EVENTS)
                with trio.fail_after(5):
                    await stream.receive_some(4096)
            async with await trio.open_tcp_stream("127.0.0.1", serving.port) as stream:
                with trio.fail_after(5):
                    assert await stream.receive_some(4096) == b""
            # Then the owner is answered
            async with NodeClient(unix_socket=serving.address.unix_socket) as owner:
                with trio.fail_after(5):
                    assert (await owner.status()).height == 0


async def _unread(serving: Served) -> trio.SocketStream:
    """A connection whose client asks and asks, and reads nothing, until the server can send no more."""
    stream = await trio.open_tcp_stream("127.0.0.1", serving.port)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    ask = b"GET /openapi.json HTTP/1.1\r\n" + HEAD + b"\r\n"
    with trio.move_on_after(1.0):
        while await _takes(stream, ask * 100):
            pass
    return stream


async def _takes(stream: trio.SocketStream, octets: bytes) -> bool:
    """False once the other side has closed the connection."""
    try:
        await stream.send_all(octets)
    except trio.BrokenResourceError:
        return False
    return True


async def test_who_reads_nothing_does_not_keep_the_node_from_stopping(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            stream = await _unread(serving)
            stopping_s = trio.current_time()
        assert trio.current_time() - stopping_s < 3
        await stream.aclose()


async def test_who_reads_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn_guard, "SEND_TIMEOUT_S", 0.5)
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            stream = await _unread(serving)
            with trio.fail_after(10):
                while await _takes(stream, GET):  # noqa: ASYNC110 - a socket has no event for this
                    await trio.sleep(0.05)
            await stream.aclose()
            await still_answers(serving)

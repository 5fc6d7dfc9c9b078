"""Whatever a client sends, the server answers the next one."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
import trio

from node.api import hypercorn_guard
from tests.node.api.household import household, served

pytestmark = pytest.mark.trio

UPGRADE = (
    b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bKdPyn3u98cTfZJSh4TNeQ==\r\n\r\n"
)
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
H2C = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: !!!!\r\n\r\n"
)
CASES = {
    "upgrade with trailing bytes": UPGRADE + b"x\r\n",
    "upgrade": UPGRADE,
    "upgrade with a bad key": UPGRADE.replace(b"bKdPyn3u98cTfZJSh4TNeQ==", b"!"),
    "upgrade of another version": UPGRADE.replace(b"13", b"99"),
    "upgrade and a bad frame": UPGRADE + b"\xff\xff\xff\xff",
    "upgrade and an unmasked frame": UPGRADE + b"\x81\x02hi",
    "zeros": bytes(100),
    "no such version": b"GET / HTTP/9.9\r\n\r\n",
    "http2 and junk": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
    "http2 upgrade": H2C,
    "length and chunks": (
        b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    ),
    "bad chunk": (
        b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    ),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "pipelined junk": GET + GET + b"\x00\x01",
    "not ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: \xff\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
    "negative length": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
}
DEADLY = "upgrade with trailing bytes"


async def answers(port: int) -> bool:
    with trio.fail_after(5):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(GET)
            return (await stream.receive_some(4096)).startswith(b"HTTP/1.1 200")


async def send_until_closed(port: int, sent: bytes) -> None:
    """Sends, and reads what comes until the other side closes or says nothing more."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        try:
            await stream.send_all(sent)
            with trio.move_on_after(0.2):
                while await stream.receive_some(4096):
                    pass
        except trio.BrokenResourceError:
            pass  # closed in the middle of what we sent: as good as an answer


async def test_garbage_ends_its_own_connection_only(tmp_path: Path) -> None:
    before = sum(hypercorn_guard.escaped.values())
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            for name, sent in CASES.items():
                # When
                await send_until_closed(serving.port, sent)
                # Then
                assert await answers(serving.port), name
    assert sum(hypercorn_guard.escaped.values()) > before, "the guard was not needed: does the deadly case still kill?"


async def test_a_connection_reset_in_an_event_stream(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            stream = await trio.open_tcp_stream("127.0.0.1", serving.port)
            await stream.send_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with trio.fail_after(5):
                assert b"text/event-stream" in await stream.receive_some(4096)
            assert len(home.events) == 1
            # When
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
            # Then: the node notices, at the latest when it next has something to say
            with trio.fail_after(5):
                while len(home.events):
                    home.produce()
                    await trio.lowlevel.checkpoint()
            assert await answers(serving.port)


async def test_without_the_guard_one_client_kills_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the guard is for. When this fails, hypercorn is mended: take the guard out."""
    monkeypatch.setattr(hypercorn_guard, "install", lambda: None)
    monkeypatch.setattr("hypercorn.trio.run.TCPServer", hypercorn_guard.TCPServer)
    with household(tmp_path) as home, pytest.RaisesGroup(Exception, allow_unwrapped=True, flatten_subgroups=True):
        async with served(tmp_path, home) as serving:
            await send_until_closed(serving.port, CASES[DEADLY])
            with trio.fail_after(5):
                await trio.sleep_forever()


async def test_connections_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn_guard, "MAX_CONNECTIONS", 4)
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            held = [await trio.open_tcp_stream("127.0.0.1", serving.port) for _ in range(4)]
            for stream in held:
                await stream.send_all(GET)
                with trio.fail_after(5):
                    assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 200")
            # When
            async with await trio.open_tcp_stream("127.0.0.1", serving.port) as one_more:
                # Then
                with trio.fail_after(5):
                    assert await one_more.receive_some(4096) == b""
            for stream in held:
                await stream.aclose()
            with trio.fail_after(5):
                while not await _served_again(serving.port):
                    await trio.lowlevel.checkpoint()


async def _served_again(port: int) -> bool:
    try:
        return await answers(port)
    except trio.BrokenResourceError:
        return False

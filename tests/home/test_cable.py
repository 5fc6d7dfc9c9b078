"""Bytes from a file, a socket, and a serial device (a pseudo-terminal, which is one to the system)."""

from __future__ import annotations

import os
import tty
from contextlib import aclosing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from devnet.making import free_ports
from home.cable import CableBroken, chunks
from tests.home.telegrams import KAIFA

WITHIN_S = 20


async def take(cable: str, directory: Path, length: int) -> bytes:
    """So many bytes of what comes."""
    found = b""
    with trio.fail_after(WITHIN_S):
        async with aclosing(chunks(cable, directory, 115_200)) as pieces:
            async for piece in pieces:
                found += piece
                if len(found) >= length:
                    break
    return found


@pytest.mark.trio
async def test_a_captured_file_is_read_once_and_then_is_silent(tmp_path: Path) -> None:
    (tmp_path / "captured").write_bytes(KAIFA * 10)
    assert await take("file:captured", tmp_path, 10 * len(KAIFA)) == KAIFA * 10
    with trio.move_on_after(0.2) as waited:
        await take("file:captured", tmp_path, 10 * len(KAIFA) + 1)
    assert waited.cancelled_caught


@pytest.mark.trio
async def test_a_serial_device_is_read_raw(tmp_path: Path) -> None:
    # Given a device that echoes and translates, as a terminal does
    ours, theirs = os.openpty()
    tty.setcbreak(theirs)
    device = os.ttyname(theirs)
    async with trio.open_nursery() as nursery:
        # When a meter speaks, with its line's ends and with bytes that a terminal would take for commands
        said = KAIFA + b"\x03\x04\x11\x13\x1a\r\n"

        async def speak() -> None:
            await trio.testing.wait_all_tasks_blocked(0.05)
            os.write(ours, said)

        nursery.start_soon(speak)
        found = await take(f"serial:{device}", tmp_path, len(said))
    # Then every byte comes as it was said
    assert found == said
    os.close(ours)
    os.close(theirs)


@pytest.mark.trio
async def test_what_is_no_serial_device_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for cable in (f"serial:{tmp_path / 'file'}", f"serial:{tmp_path / 'missing'}", "file:missing"):
        with pytest.raises(CableBroken, match=cable.partition(":")[0]):
            await take(cable, tmp_path, 1)


@pytest.mark.trio
async def test_a_socket_that_is_closed_or_not_there_is_said(tmp_path: Path) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.send_all(KAIFA)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        assert await take(f"tcp:127.0.0.1:{port}", tmp_path, len(KAIFA)) == KAIFA
        with pytest.raises(CableBroken, match="closed at its other end"):
            await take(f"tcp:127.0.0.1:{port}", tmp_path, len(KAIFA) + 1)
        nursery.cancel_scope.cancel()
    with pytest.raises(CableBroken, match=r"tcp:127\.0\.0\.1"):
        await take(f"tcp:127.0.0.1:{free_ports(1)[0]}", tmp_path, 1)


async def say_nothing(_: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.mark.trio
async def test_a_line_that_says_nothing_is_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("home.cable.SILENCE_S", 0.2)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, say_nothing, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(CableBroken, match="silent"):
            await take(f"tcp:127.0.0.1:{port}", tmp_path, 1)
        nursery.cancel_scope.cancel()

"""Where telegrams come from that are not MQTT's: a serial cable, a TCP socket, a file. Bytes in, bytes out.

1. A serial device is opened raw, 8 data bits, no parity, 1 stop bit (DSMR P1, section 4.6); nobody else's terminal
   settings are changed but that device's.
2. A stream that ends or fails raises CableBroken: whoever runs it opens it again. A file is read to its end once, then
   there is silence: a captured file is for trying things out.
"""

from __future__ import annotations

import os
import termios
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import trio

from home.configuration import BAUDS, endpoint

CHUNK: Final = 4_096
SILENCE_S: Final = 60.0
"""Meters send every second, or every ten: after this the line is taken for dead."""
CONNECT_WITHIN_S: Final = 10.0
_SPEEDS: Final = {speed: getattr(termios, f"B{speed}") for speed in BAUDS}


class CableBroken(Exception):
    """The device, the connection or the file is not there (any more); trying again may help."""


async def chunks(cable: str, directory: Path, baud: int) -> AsyncGenerator[bytes, None]:
    """What comes in over ``serial:DEVICE``, ``tcp:HOST:PORT`` or ``file:PATH``. Errors: CableBroken."""
    kind, _, place = cable.partition(":")
    try:
        if kind == "file":
            async with await trio.open_file(directory / place, "rb") as file:
                while content := await file.read(CHUNK):
                    yield content
            await trio.sleep_forever()
        stream = await (_serial(place, baud) if kind == "serial" else _tcp(place))
        async with stream:
            while True:
                with trio.fail_after(SILENCE_S):
                    content = await stream.receive_some(CHUNK)
                if not content:
                    raise CableBroken(f"{cable} was closed at its other end")
                yield content
    except trio.TooSlowError as error:
        raise CableBroken(f"{cable} is silent for {SILENCE_S:.0f} s; is the cable in, is the port enabled?") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise CableBroken(f"{cable}: {error}") from error


async def _tcp(place: str) -> trio.abc.ReceiveStream:
    host, port = endpoint(place)
    with trio.fail_after(CONNECT_WITHIN_S):
        return await trio.open_tcp_stream(host, port)


async def _serial(device: str, baud: int) -> trio.abc.ReceiveStream:
    """Errors: OSError."""
    descriptor = os.open(device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _make_raw(descriptor, baud)
    except termios.error as error:
        os.close(descriptor)
        raise OSError(f"no serial device: {error.args[-1]}") from error
    except BaseException:
        os.close(descriptor)
        raise
    return trio.lowlevel.FdStream(descriptor)


def _make_raw(descriptor: int, baud: int) -> None:
    """Errors: termios.error."""
    speed = _SPEEDS[baud]
    control_characters = termios.tcgetattr(descriptor)[6]
    control = termios.CS8 | termios.CREAD | termios.CLOCAL
    termios.tcsetattr(descriptor, termios.TCSANOW, [0, 0, control, 0, speed, speed, control_characters])
    termios.tcflush(descriptor, termios.TCIFLUSH)

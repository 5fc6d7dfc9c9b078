"""Hypercorn 0.18's trio worker, made to survive its clients.

An exception that escapes one connection's ``TCPServer.run`` cancels the whole server: a malformed WebSocket upgrade
does that (h11 raises ``LocalProtocolError``), and so may other garbage. ``install`` puts a guard around it:

1. Whatever escapes one connection ends that connection only, is counted, and logged in one line.
2. At most ``MAX_CONNECTIONS`` are open at a time to each kind of socket; further ones are closed at once. So whoever
   else uses this machine may fill the TCP port, but cannot keep the owner from the unix socket.
3. A connection its client has closed is gone at once, not after the keep-alive time-out of five seconds.
4. A client that takes nothing for ``SEND_TIMEOUT_S`` is cut off, and keeps no node from stopping: hypercorn shields
   what it sends from being cancelled, for ever.
5. There is HTTP/1.1 only. Hypercorn would let any client change to HTTP/2, whose streams, settings and header tables
   nobody here has bounded.

Found by sending each case of ``tests/node/api/test_hypercorn_guard.py`` to the bare worker. Read again when hypercorn
is updated.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, cast
from weakref import WeakKeyDictionary

import h11
import hypercorn.trio.run
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from node.log import get

MAX_CONNECTIONS: Final = 256
SEND_TIMEOUT_S: Final = 20.0

escaped: Final[Counter[str]] = Counter()
"""Exceptions that ended a connection, by name, since the process began."""

_open_connections: Final[WeakKeyDictionary[WorkerContext, Counter[int]]] = WeakKeyDictionary()
"""By the sockets' address family."""


class GuardedTCPServer(TCPServer):
    """One connection; see the module's rules."""

    async def run(self) -> None:
        counts = _open_connections.setdefault(self.context, Counter())
        family = cast("trio.SocketStream", self.stream).socket.family  # there is no TLS
        if counts[family] >= MAX_CONNECTIONS:
            await self.stream.aclose()
            return
        counts[family] += 1
        try:
            await super().run()
        except* Exception as group:
            for error in _leaves(group):
                escaped[type(error).__name__] += 1
                get("api").debug("connection ended", error=type(error).__name__, detail=str(error))
        finally:
            counts[family] -= 1

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                with trio.fail_after(SEND_TIMEOUT_S):
                    await self.stream.send_all(event.data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                await trio.aclose_forcefully(self.stream)
                await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


async def _stay_with_http1(_protocol: H11Protocol, _request: h11.Request) -> None:
    """Rule 5: a wish to upgrade may be passed over (RFC 9110, 7.8)."""


def install() -> None:
    """Has hypercorn's trio worker use the guard, for the whole process."""
    hypercorn.trio.run.TCPServer = GuardedTCPServer  # type: ignore[attr-defined]  # imported there, not exported
    H11Protocol._check_protocol = _stay_with_http1  # type: ignore[method-assign, assignment]


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    leaves: list[Exception] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves

"""Hypercorn 0.18's trio worker, made to survive its clients.

An exception that escapes one connection's ``TCPServer.run`` cancels the whole server: a malformed WebSocket upgrade
does that (h11 raises ``LocalProtocolError``), and so may other garbage. ``install`` puts a guard around it:

1. Whatever escapes one connection ends that connection only, is counted, and logged in one line.
2. At most ``MAX_CONNECTIONS`` are open at a time; further ones are closed at once.
3. A connection its client has closed is gone at once, not after the keep-alive time-out of five seconds.

Found by sending each case of ``tests/node/api/test_hypercorn_guard.py`` to the bare worker. Read again when hypercorn
is updated.
"""

from __future__ import annotations

from collections import Counter
from typing import Final
from weakref import WeakKeyDictionary

import hypercorn.trio.run
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from node.log import get

MAX_CONNECTIONS: Final = 256

escaped: Final[Counter[str]] = Counter()
"""Exceptions that ended a connection, by name, since the process began."""

_open_connections: Final[WeakKeyDictionary[WorkerContext, int]] = WeakKeyDictionary()


class GuardedTCPServer(TCPServer):
    """One connection; see the module's rules."""

    async def run(self) -> None:
        count = _open_connections.get(self.context, 0)
        if count >= MAX_CONNECTIONS:
            await self.stream.aclose()
            return
        _open_connections[self.context] = count + 1
        try:
            await super().run()
        except* Exception as group:
            for error in _leaves(group):
                escaped[type(error).__name__] += 1
                get("api").debug("connection ended", error=type(error).__name__, detail=str(error))
        finally:
            _open_connections[self.context] -= 1

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


def install() -> None:
    """Has hypercorn's trio worker use the guard, for the whole process."""
    hypercorn.trio.run.TCPServer = GuardedTCPServer  # type: ignore[attr-defined]  # imported there, not exported


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    leaves: list[Exception] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves

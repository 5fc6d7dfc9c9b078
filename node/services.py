"""Keeps the node's services running.

A service that fails is started again with back-off and counted. A broken invariant, a damaged or foreign database and
a final block that cannot be executed are not for restarting: they end the node, with what to do about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from consensus.engine import FinalBlockInvalid
from ledger.block import BrokenInvariant
from node.log import Log
from storage.errors import StorageError

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0
WELL_AFTER_S: Final = 60.0

FATAL: Final = (BrokenInvariant, FinalBlockInvalid, StorageError)


class TaskStatus(Protocol):
    """What ``trio.Nursery.start`` hands to a task, as far as it is used here."""

    def started(self) -> None: ...


class Services:
    """``restarts`` counts by service name."""

    def __init__(self, nursery: trio.Nursery, log: Log) -> None:
        self._nursery = nursery
        self._log = log
        self.restarts: Counter[str] = Counter()

    def start(self, name: str, service: Callable[[], Awaitable[None]]) -> None:
        """Runs ``service`` for as long as the node; it is expected never to return by itself."""
        self._nursery.start_soon(self._keep_running, name, service)

    async def _keep_running(self, name: str, service: Callable[[], Awaitable[None]]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            began = trio.current_time()
            try:
                await service()
                reason = "it returned"
            except Exception as error:
                if _is_fatal(error):
                    raise
                reason = repr(error)
                self._log.error("service failed", service=name, exc_info=error)
            self.restarts[name] += 1
            pause_s = FIRST_PAUSE_S if trio.current_time() - began > WELL_AFTER_S else min(2 * pause_s, LONGEST_PAUSE_S)
            self._log.warning("service restarts", service=name, reason=reason, pause_s=round(pause_s, 2))
            await trio.sleep(pause_s)


def _is_fatal(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_fatal(part) for part in error.exceptions)
    return isinstance(error, FATAL)

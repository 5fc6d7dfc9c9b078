"""Calls that wait for the network inside a C library or another event loop, made in threads, so that trio goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def in_thread(within_s: float, call: Callable[..., T], *arguments: object) -> T:
    """What ``call`` returns. A call that is cancelled or takes longer is left to end by itself, its result dropped.

    Error: trio.TooSlowError.
    """
    with trio.fail_after(within_s):
        # mypy sees older stubs of trio, which come with libp2p
        return await trio.to_thread.run_sync(call, *arguments, abandon_on_cancel=True)  # type: ignore[call-arg]


async def at_the_end(within_s: float, call: Callable[..., object], *arguments: object) -> bool:
    """The same for cleaning up after being cancelled; whether it was done in time."""
    with trio.CancelScope(shield=True):
        try:
            await in_thread(within_s, call, *arguments)
        except trio.TooSlowError:
            return False
        return True

"""Latency, and the discovery of dead connections: TCP alone takes a quarter of an hour to notice a pulled plug.

Each peer is pinged when it connects and every ``ping_interval_s``. After MAX_UNANSWERED pings in a row it is
disconnected. Source: libp2p specs, ping/ping.md (32 random bytes, echoed).
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from p2p.libp2p.requests import OpenStream, discard
from p2p.libp2p.streams import read_exactly
from p2p.network import PeerId

PROTOCOL = "/ipfs/ping/1.0.0"
MAX_UNANSWERED = 3
_PAYLOAD_BYTES = 32


@dataclass(slots=True)
class Pulse:
    """What is known of one connected peer's answers."""

    latency_ms: float | None = None
    unanswered: int = 0


async def keep_pinging(
    peer: PeerId,
    pulse: Pulse,
    interval_s: float,
    open_stream: OpenStream,
    disconnect: Callable[[PeerId], Awaitable[None]],
) -> None:
    """Pings until cancelled, or until the peer was found dead and disconnected."""
    while pulse.unanswered < MAX_UNANSWERED:
        latency_ms = await _ping(peer, interval_s, open_stream)
        if latency_ms is None:
            pulse.unanswered += 1
        else:
            pulse.latency_ms, pulse.unanswered = latency_ms, 0
        await trio.sleep(interval_s)
    await disconnect(peer)


async def _ping(peer: PeerId, timeout_s: float, open_stream: OpenStream) -> float | None:
    """The round trip in milliseconds; None without an answer, or with a wrong one."""
    try:
        with trio.fail_after(timeout_s):
            stream = await open_stream(peer, PROTOCOL)
            try:
                payload = os.urandom(_PAYLOAD_BYTES)
                sent_s = time.perf_counter()
                await stream.write(payload)
                echo = await read_exactly(stream, _PAYLOAD_BYTES)
                return (time.perf_counter() - sent_s) * 1000 if echo == payload else None
            finally:
                await discard(stream)
    except Exception:
        # Too slow, no such protocol, a stream or connection that ended: all of them are no answer.
        return None

"""Limits on what other nodes can make this one keep or do.

1. Of the height after the open one, at most 12 messages per member are kept, one proposal among them (the newest);
   of later heights none. Dropping is always safe, for everything is resent.
2. One thing is done for a peer at most once per interval; the last 1,024 peers are remembered.
"""

from __future__ import annotations

from typing import Final

from consensus.block import Certificate
from consensus.messages import Proposal, Vote

EARLY_MESSAGES_PER_MEMBER: Final = 12
REMEMBERED_PEERS: Final = 1_024

Early = Vote | Certificate | Proposal


class EarlyMessages:
    """Messages of the next height, by the seat that sent them."""

    def __init__(self) -> None:
        self._kept: dict[int, list[Early]] = {}

    def keep(self, index: int, message: Early) -> None:
        kept = self._kept.setdefault(index, [])
        if isinstance(message, Proposal):
            kept[:] = [other for other in kept if not isinstance(other, Proposal)]
        if len(kept) < EARLY_MESSAGES_PER_MEMBER and message not in kept:
            kept.append(message)

    def take(self) -> list[tuple[int, Early]]:
        taken = [(index, message) for index, kept in self._kept.items() for message in kept]
        self._kept = {}
        return taken

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))


class Pace:
    """Allows one thing per peer and interval."""

    def __init__(self) -> None:
        self._last_ms: dict[bytes, int] = {}

    def may(self, node_key: bytes, now_ms: int, interval_ms: int) -> bool:
        """True, and remembered, if the peer's last time is at least the interval ago."""
        last_ms = self._last_ms.get(node_key)
        if last_ms is not None and now_ms - last_ms < interval_ms:
            return False
        self._last_ms.pop(node_key, None)
        self._last_ms[node_key] = now_ms
        if len(self._last_ms) > REMEMBERED_PEERS:
            del self._last_ms[next(iter(self._last_ms))]
        return True

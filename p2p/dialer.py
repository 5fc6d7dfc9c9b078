"""Keeps this node connected to the peers it knows: one patient task per peer.

1. A peer is dialled at all its addresses in turn; after a round without success the wait doubles, from
   ``redial_first_s`` to ``redial_longest_s``, each time a random part of it (so that a street after a power cut does
   not dial in step).
2. A connected peer is not dialled; when its last connection ends, dialling begins again after a random part of the
   first wait.
3. A banned peer is not dialled.
4. Addresses that a wanted peer announces itself (``learn``) are tried before those it was configured with, and replaced
   by what it announces next: homes get new addresses, and configured ones stay true or come back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random

import trio

from p2p.limits import Limits
from p2p.network import NetworkError, PeerId

MAX_ADDRESSES = 8
"""Of one peer, configured or reached; the one added first is forgotten first."""

Dial = Callable[[PeerId, str], Awaitable[None]]


class Dialer:
    """Peers are wanted at any time; ``run`` works on them until it is cancelled.

    ``random`` gives each peer's waits a source of their own, so that no order of tasks changes what another peer draws.
    """

    def __init__(
        self,
        limits: Limits,
        random: Callable[[PeerId], Random],
        dial: Dial,
        is_connected: Callable[[PeerId], bool],
        is_banned: Callable[[PeerId], bool],
    ) -> None:
        self._limits = limits
        self._random = random
        self._dial = dial
        self._is_connected = is_connected
        self._is_banned = is_banned
        self._addresses: dict[PeerId, list[str]] = {}
        self._learnt: dict[PeerId, list[str]] = {}
        self._lost: dict[PeerId, trio.Event] = {}
        self._nursery: trio.Nursery | None = None

    def want(self, peer: PeerId, address: str) -> None:
        """Adds a peer, or another address of one; the address added last is tried first."""
        known = self._addresses.setdefault(peer, [])
        if address in known:
            known.remove(address)
        known.insert(0, address)
        del known[MAX_ADDRESSES:]
        if peer not in self._lost:
            self._lost[peer] = trio.Event()
            if self._nursery is not None:
                self._nursery.start_soon(self._keep, peer)

    def learn(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """What ``peer`` now announces of itself, best first; nothing happens if it is not wanted."""
        if peer in self._addresses:
            self._learnt[peer] = list(addresses[:MAX_ADDRESSES])

    def lost(self, peer: PeerId) -> None:
        """The last connection with ``peer`` ended."""
        if peer in self._lost:
            self._lost[peer].set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for peer in list(self._lost):
                nursery.start_soon(self._keep, peer)
            await trio.sleep_forever()

    async def _keep(self, peer: PeerId) -> None:
        wait_s = self._limits.redial_first_s
        random = self._random(peer)
        while True:
            if self._is_connected(peer):
                self._lost[peer] = trio.Event()
                await self._lost[peer].wait()
                wait_s = self._limits.redial_first_s
            elif not self._is_banned(peer) and await self._reach(peer):
                continue
            await trio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, self._limits.redial_longest_s)

    async def _reach(self, peer: PeerId) -> bool:
        for address in dict.fromkeys([*self._learnt.get(peer, []), *self._addresses[peer]]):
            try:
                await self._dial(peer, address)
            except NetworkError:
                continue
            return self._is_connected(peer)
        return False

"""Looks for more peers among those heard of, until there are enough.

1. While fewer than ``wanted`` peers are connected, one candidate of the ``Neighbourhood`` is dialled at a time, at all
   its routes in turn; with enough, nothing is dialled.
2. Addresses are others' word. To one IP address (``p2p.places``) at most DIALS_BURST dials go out at once and then one
   in DIAL_REFILL_S, whatever peers are said to be there, so that nobody can aim this node at a victim. Loopback, told
   only where it is accepted at all, is not counted.
3. Hints, told by no peer but heard on the local network, are dialled before candidates, within the same budget and one
   at a time; at most MAX_HINTS wait.
4. A candidate is dialled once; whether it is kept by redialling is the ``Dialer``'s business.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from p2p.addresses import Address, CircuitAddress
from p2p.limits import TokenBucket
from p2p.neighbourhood import Neighbourhood
from p2p.network import NetworkError, PeerId
from p2p.places import group_of
from p2p.surroundings import is_loopback

DIALS_BURST = 6
DIAL_REFILL_S = 20.0
MAX_HINTS = 32
_PAUSE_S = 0.2
_IDLE_S = 5.0
_MAX_TARGETS = 1_024

DialRoute = Callable[[PeerId, Address], Awaitable[None]]


class Seeker:
    """``dial`` raises NetworkError when a route leads nowhere; ``peers`` counts the connected ones."""

    def __init__(
        self,
        neighbourhood: Neighbourhood,
        wanted: int,
        dial: DialRoute,
        peers: Callable[[], int],
        fit: Callable[[PeerId], bool],
    ) -> None:
        self._neighbourhood = neighbourhood
        self._wanted = wanted
        self._dial = dial
        self._peers = peers
        self._fit = fit
        self._budgets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._hints: deque[tuple[PeerId, Address]] = deque()
        self._news = trio.Event()

    def wants_more(self) -> bool:
        return self._peers() < self._wanted

    def wake(self) -> None:
        """There is news: a peer was lost, or heard of."""
        self._news.set()

    def hint(self, peer: PeerId, route: Address) -> None:
        """Somebody says that ``peer`` is there."""
        if self.wants_more() and self._fit(peer) and len(self._hints) < MAX_HINTS:
            self._hints.append((peer, route))
            self.wake()

    async def run(self) -> None:
        while True:
            while self._hints:
                peer, route = self._hints.popleft()
                if self.wants_more() and self._fit(peer):
                    await self._try(peer, [route])
            record = self._neighbourhood.candidate(self._fit) if self.wants_more() else None
            if record is None:
                with trio.move_on_after(_IDLE_S):
                    await self._news.wait()
                self._news = trio.Event()
            elif not await self._try(record.peer, self._neighbourhood.routes_of(record.peer)):
                self._neighbourhood.failed(record.peer)
            await trio.sleep(_PAUSE_S)

    async def _try(self, peer: PeerId, routes: Sequence[Address]) -> bool:
        for route in routes:
            if not self.affords(route):
                continue
            try:
                await self._dial(peer, route)
            except NetworkError:
                continue
            return True
        return False

    def affords(self, route: Address) -> bool:
        """Rule 2, and takes one dial off the budget; a circuit knocks at its relay."""
        target = route.relay if isinstance(route, CircuitAddress) else route
        if is_loopback(target):
            return True
        group, now_s = group_of(target.host), trio.current_time()
        bucket = self._budgets.setdefault(group, TokenBucket(1 / DIAL_REFILL_S, DIALS_BURST, now_s))
        self._budgets.move_to_end(group)
        if len(self._budgets) > _MAX_TARGETS:
            self._budgets.popitem(last=False)
        return bucket.take(1, now_s)

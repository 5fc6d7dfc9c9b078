"""A book of one period in memory: price levels in a dictionary, their prices in a heap, each a queue in order of time.

It matches with the same code as the ledger's book, which is kept as records; this one is for the laboratory, for
measuring, and for checking the other. Cancelled and filled orders leave their queue when they are met.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from ledger.market.grid_fee import Place, Tariff
from ledger.market.matching import Feeders, Matched, Order, Side, match

_NOTHING = Matched([], False)


class _Half:
    """One side. Prices are kept with a sign that makes the best one the smallest."""

    __slots__ = ("heap", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: dict[int, deque[Order]] = {}
        self.heap: list[int] = []

    def add(self, order: Order) -> None:
        rank = self.sign * order.limit
        level = self.levels.get(rank)
        if level is None:
            self.levels[rank] = deque((order,))
            heappush(self.heap, rank)
        else:
            level.append(order)

    def best_first(self) -> Iterator[Order]:
        """Every order that is still open, best first. What was filled is dropped when the iteration goes on or ends."""
        heap, levels = self.heap, self.levels
        passed: list[int] = []
        try:
            while heap:
                level = levels[heap[0]]
                for order in level:
                    if order.left_wh:
                        yield order
                passed.append(heappop(heap))
        finally:
            if heap and not self._tidy(heap[0]):
                heappop(heap)
            for rank in passed:
                if self._tidy(rank):
                    heappush(heap, rank)

    def _tidy(self, rank: int) -> bool:
        """Drops the finished orders at the front of a level; False if that was all of it."""
        level = self.levels[rank]
        while level and not level[0].left_wh:
            level.popleft()
        if not level:
            del self.levels[rank]
        return bool(level)


class Book:
    """``feeders`` and ``tariff`` are the period's; ``max_fills`` bounds what one order may trade at once."""

    def __init__(self, feeders: Feeders, tariff: Tariff, max_fills: int = 4_096) -> None:
        self.feeders = feeders
        self.tariff = tariff
        self.max_fills = max_fills
        self.orders: dict[int, Order] = {}
        self._buys = _Half(-1)
        self._sells = _Half(1)
        self._next_number = 0

    def place(self, member: bytes, place: Place, side: Side, limit: int, energy_wh: int) -> tuple[int, Matched]:
        """Places an order; what is left of it rests. Returns its number and what it got."""
        number = self._next_number
        self._next_number = number + 1
        taker = Order(number, member, place, side, limit, energy_wh)
        own, opposite = (self._buys, self._sells) if side is Side.BUY else (self._sells, self._buys)
        matched = _NOTHING
        if opposite.heap and opposite.heap[0] <= opposite.sign * limit:
            makers = opposite.best_first()
            matched = match(taker, makers, self.feeders, self.tariff, self.max_fills)
            makers.close()  # type: ignore[attr-defined]  # an iterator that is a generator
            for fill in matched.fills:
                if not fill.maker.left_wh:
                    self.orders.pop(fill.maker.number, None)
        if taker.left_wh:
            own.add(taker)
            self.orders[number] = taker
        return number, matched

    def cancel(self, number: int) -> bool:
        """Takes an open order out; False if there is none of that number."""
        order = self.orders.pop(number, None)
        if order is None:
            return False
        order.left_wh = 0
        return True

    def depth(self, side: Side) -> list[tuple[int, int]]:
        """(price, Wh) of every level, best first."""
        half = self._buys if side is Side.BUY else self._sells
        levels = ((rank, sum(order.left_wh for order in level)) for rank, level in half.levels.items())
        return [(half.sign * rank, energy_wh) for rank, energy_wh in sorted(levels) if energy_wh]

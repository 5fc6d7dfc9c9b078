"""Continuous trading: one order meets the other side of its book.

1. Makers are met best price first, then lowest number, as long as their limit is no worse than the taker's. The trade
   is at the maker's price.
2. A fill is min(taker, maker, headroom) of energy. Headroom is what the feeders' limits leave: the seller's feeder for
   energy going out, the buyer's for energy coming in, gross, never falling within a period; trades inside one feeder
   neither count nor are bounded.
3. Above its threshold a feeder is congested. A fill that would cross the threshold of either feeder is split there:
   what lies below pays no congestion. Limits and thresholds are whole lots.
4. A maker without headroom is skipped. What is left of the taker rests and is not matched again.
5. Own orders never match: where the taker meets one of the same member, the rest of the taker, the newer order, is
   cancelled.
6. After ``max_fills`` fills matching stops, and the rest of the taker rests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from ledger.market.grid_fee import ALL_BPS, LOT_WH, Place, Tariff, fee_rate, tier_between


class Side(IntEnum):
    BUY = 1
    SELL = 2

    @property
    def other(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class Order:
    """An order under way. ``left_wh`` falls as it is filled; ``limit`` in uwatt per kWh."""

    __slots__ = ("left_wh", "limit", "member", "number", "place", "side")

    def __init__(self, number: int, member: bytes, place: Place, side: Side, limit: int, left_wh: int) -> None:
        self.number = number
        self.member = member
        self.place = place
        self.side = side
        self.limit = limit
        self.left_wh = left_wh


class Fill(NamedTuple):
    """What the taker got of one maker at ``price`` and grid fee ``rate``, both in uwatt per kWh."""

    maker: Order
    energy_wh: int
    price: int
    rate: int


class Matched(NamedTuple):
    """``met_own``: the taker met an order of its own member, and what was left of it is cancelled."""

    fills: list[Fill]
    met_own: bool


class Feeders:
    """One period's gross energy across feeders. ``limits_wh`` by feeder; a feeder without one is a defect."""

    __slots__ = ("into_wh", "limits_wh", "out_wh", "thresholds_wh")

    def __init__(
        self,
        limits_wh: Mapping[str, int],
        threshold_bps: int,
        out_wh: Mapping[str, int] | None = None,
        into_wh: Mapping[str, int] | None = None,
    ) -> None:
        self.limits_wh = {feeder: _lots(limit_wh) for feeder, limit_wh in limits_wh.items()}
        self.thresholds_wh = {
            feeder: _lots(limit_wh * threshold_bps // ALL_BPS) for feeder, limit_wh in limits_wh.items()
        }
        self.out_wh = dict.fromkeys(limits_wh, 0) | dict(out_wh or {})
        self.into_wh = dict.fromkeys(limits_wh, 0) | dict(into_wh or {})

    def headroom(self, seller: str, buyer: str) -> tuple[int, bool]:
        """How much may go from one feeder to another, different one at one rate, in Wh, and whether it is congested."""
        out_wh, into_wh = self.out_wh[seller], self.into_wh[buyer]
        below_wh = min(self.thresholds_wh[seller] - out_wh, self.thresholds_wh[buyer] - into_wh)
        if below_wh > 0:
            return below_wh, False
        return min(self.limits_wh[seller] - out_wh, self.limits_wh[buyer] - into_wh), True

    def count(self, seller: str, buyer: str, energy_wh: int) -> None:
        """Energy that went from one feeder to another one."""
        self.out_wh[seller] += energy_wh
        self.into_wh[buyer] += energy_wh

    def congested(self) -> frozenset[str]:
        """Feeders that stand at their threshold or above it, either way."""
        return frozenset(
            feeder
            for feeder, threshold_wh in self.thresholds_wh.items()
            if max(self.out_wh[feeder], self.into_wh[feeder]) >= threshold_wh
        )


def match(taker: Order, makers: Iterable[Order], feeders: Feeders, tariff: Tariff, max_fills: int) -> Matched:
    """Fills the taker from ``makers``, which come best first; changes ``left_wh`` of all and the feeders' counters."""
    fills: list[Fill] = []
    buys = taker.side is Side.BUY
    for maker in makers:
        if maker.limit > taker.limit if buys else maker.limit < taker.limit:
            break
        if maker.member == taker.member:
            taker.left_wh = 0
            return Matched(fills, True)
        seller, buyer = (maker, taker) if buys else (taker, maker)
        _fill(taker, maker, (seller.place, buyer.place), (feeders, tariff), fills, max_fills)
        if not taker.left_wh or len(fills) == max_fills:
            break
    return Matched(fills, False)


def _fill(
    taker: Order,
    maker: Order,
    way: tuple[Place, Place],
    grid: tuple[Feeders, Tariff],
    fills: list[Fill],
    max_fills: int,
) -> None:
    seller, buyer = way
    feeders, tariff = grid
    tier = tier_between(seller, buyer)
    while len(fills) < max_fills:
        energy_wh = min(taker.left_wh, maker.left_wh)
        congested = False
        if tier:
            headroom_wh, congested = feeders.headroom(seller.feeder, buyer.feeder)
            energy_wh = min(energy_wh, headroom_wh)
        if energy_wh <= 0:
            return
        if tier:
            feeders.count(seller.feeder, buyer.feeder, energy_wh)
        taker.left_wh -= energy_wh
        maker.left_wh -= energy_wh
        fills.append(Fill(maker, energy_wh, maker.limit, fee_rate(tariff, tier, congested, maker.limit)))


def _lots(energy_wh: int) -> int:
    return energy_wh // LOT_WH * LOT_WH

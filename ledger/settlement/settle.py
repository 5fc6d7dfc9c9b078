"""Settles one period: contracts, trades, shares of property, pools, and the gateway for the rest.

E and I are what each connection fed in and took out; e and i what of it is not yet accounted for. A connection that is
silent has E = 0 and I as estimated, and takes part in trades only: in this order,

1. contracts by (price, offer): want = what each subscriber still needs, up to its limit; the smallest of the seller's
   e, the offer's limit and Σ want is split in proportion to want;
2. trades: paid from escrow whatever was metered. Each member's sales and purchases are netted; the net sale is taken
   from e and the net purchase from i, the rest is a *shortfall* or an *excess*;
3. property: a system's e is split by target share; each holder but the investor, unless overdue, takes up to its part;
4. pools: Q = Σ e of the producers. ``FIXED``: each consumer up to its share of Q. ``PROPORTIONAL``: Q in proportion to
   i. ``BOTH``: fixed, then what is left in proportion to what is still needed. Pairs are found nearest first. Who is
   both producer and consumer of a pool is, in each period, only that of which it has more: a consumer where e < i;
5. the gateway buys e and excess at feed-in, sells i and shortfall at retail.

A flow of steps 1, 3 and 4 is priced at the agreed price, or at what leaves buyer and fee within retail if that is less;
if that falls below both the agreed price and feed-in, there is no flow. An offer may have a grid fee of its own, which
counts where it is more than the chain's. Amounts are floored once, for both parties.
Certificates of origin follow the flows of 1, 3 and 4, and of 2 what ``pair`` finds among the metered: no member has
more issued than it fed in, or more cancelled than it took out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import NamedTuple

from ledger.market.grid_fee import (
    ALL_BPS,
    Place,
    Tariff,
    Tier,
    amount_uwatt,
    fee_rate,
    highest_price,
    tier_between,
    to_tick,
)
from ledger.settlement.pair import pair
from ledger.settlement.residual import residual
from ledger.settlement.titles import Title
from ledger.split import split

_REST = b""  # sorts before every member: what the fixed shares of a pool leave over


class PoolRule(IntEnum):
    FIXED = 1
    PROPORTIONAL = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class Connection:
    """``metered`` is False for a silent one, whose energy is then 0 and the estimate. ``storage_wh`` of what was fed in
    came out of a storage.
    """

    place: Place
    export_wh: int
    import_wh: int
    metered: bool
    storage_wh: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one buyer pays under an offer, uwatt per kWh, and takes at most, Wh."""

    price: int
    limit_wh: int


@dataclass(frozen=True, slots=True)
class OwnFee:
    """An offer's own grid fee: (base + distance · tier), in uwatt per kWh, and between feeders of which one is
    ``congested`` the surcharge.
    """

    base: int
    distance: int
    congestion_bps: int
    congested: frozenset[str]

    def rate(self, one: Place, other: Place) -> int:
        """Uwatt per kWh, a whole number of ticks."""
        tier = tier_between(one, other)
        congested = tier is not Tier.SAME_FEEDER and not self.congested.isdisjoint((one.feeder, other.feeder))
        parts = ALL_BPS + (self.congestion_bps if congested else 0)
        return to_tick((self.base + self.distance * tier) * parts // ALL_BPS)


@dataclass(frozen=True, slots=True)
class Offer:
    number: int
    seller: bytes
    limit_wh: int
    subscriptions: Mapping[bytes, Subscription]
    own_fee: OwnFee | None = None


@dataclass(frozen=True, slots=True)
class Trade:
    """``price`` and ``rate`` (the grid fee's) in uwatt per kWh."""

    seller: bytes
    buyer: bytes
    energy_wh: int
    price: int
    rate: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A part of a system, in basis points: what its holder is to own, and what it owns."""

    target_bps: int
    owned_bps: int
    overdue: bool


@dataclass(frozen=True, slots=True)
class System:
    """A solar system with a meter of its own, which is the connection ``key``. The targets sum to 10,000."""

    key: bytes
    investor: bytes
    price: int
    holdings: Mapping[bytes, Holding]


@dataclass(frozen=True, slots=True)
class Pool:
    """``shares_bps`` by consumer; they sum to at most 10,000."""

    number: int
    producers: frozenset[bytes]
    shares_bps: Mapping[bytes, int]
    rule: PoolRule
    price: int


@dataclass(frozen=True, slots=True)
class Period:
    """All that settles together. ``congested`` are feeders at or above their threshold."""

    tariff: Tariff
    gateway: bytes
    connections: Mapping[bytes, Connection]
    offers: Sequence[Offer] = ()
    trades: Sequence[Trade] = ()
    systems: Sequence[System] = ()
    pools: Sequence[Pool] = ()
    congested: frozenset[str] = frozenset()


class Line(NamedTuple):
    """``debtor`` owes ``creditor`` the amount, and the gateway the grid fee. ``estimated``: no reading stands behind
    it. ``price`` and ``rate`` in uwatt per kWh.
    """

    title: Title
    debtor: bytes
    creditor: bytes
    energy_wh: int
    price: int
    amount_uwatt: int
    rate: int
    fee_uwatt: int
    estimated: bool


class Delivery(NamedTuple):
    """What one buyer got under an offer; it owes the seller the amount and the gateway the grid fee."""

    offer: int
    buyer: bytes
    energy_wh: int
    amount_uwatt: int
    fee_uwatt: int


class Certificate(NamedTuple):
    """Origin of metered energy. ``storage_wh`` of it had been stored."""

    producer: bytes
    consumer: bytes
    energy_wh: int
    storage_wh: int


@dataclass(frozen=True, slots=True)
class Account:
    """One member's period in Wh. ``sold_wh`` and ``bought_wh`` locally: contracts, property and pools; ``net_wh`` is
    what it sold on the market less what it bought. The gateway bought ``fed_in_wh`` + ``excess_wh`` of it and sold it
    ``drawn_wh`` + ``shortfall_wh``.
    """

    export_wh: int
    import_wh: int
    sold_wh: int
    bought_wh: int
    net_wh: int
    fed_in_wh: int
    excess_wh: int
    drawn_wh: int
    shortfall_wh: int


@dataclass(frozen=True, slots=True)
class Settled:
    lines: tuple[Line, ...]
    certificates: tuple[Certificate, ...]
    accounts: Mapping[bytes, Account]
    deliveries: tuple[Delivery, ...] = ()


def settle(period: Period) -> Settled:
    """The period's lines, certificates and accounts; see the module's rules."""
    run = _Run(period)
    run.contracts()
    run.trades()
    run.property()
    run.pools()
    return run.gateway()


class _Run:
    def __init__(self, period: Period) -> None:
        self.period = period
        connections = period.connections
        self.members = sorted(connections)
        self.places = {member: connections[member].place for member in self.members}
        self.metered = {member for member in self.members if connections[member].metered}
        self.export_wh = {member: connections[member].export_wh for member in self.members}
        self.import_wh = {member: connections[member].import_wh for member in self.members}
        assert not any(self.export_wh[member] for member in self.members if member not in self.metered)
        self.sold_wh: dict[bytes, int] = defaultdict(int)
        self.bought_wh: dict[bytes, int] = defaultdict(int)
        self.net_wh: dict[bytes, int] = defaultdict(int)
        self.shortfall_wh: dict[bytes, int] = {}
        self.excess_wh: dict[bytes, int] = {}
        self.lines: list[Line] = []
        self.flows: list[tuple[bytes, bytes, int]] = []
        self.deliveries: list[Delivery] = []

    def contracts(self) -> None:
        groups = sorted(
            (subscription.price, offer.number, index, buyer)
            for index, offer in enumerate(self.period.offers)
            for buyer, subscription in offer.subscriptions.items()
        )
        left_wh = {offer.number: offer.limit_wh for offer in self.period.offers}
        assert len(left_wh) == len(self.period.offers)
        for (price, number, index), group in groupby(groups, key=lambda item: item[:3]):
            offer = self.period.offers[index]
            if offer.seller not in self.metered:
                continue
            want_wh = {
                buyer: min(self.import_wh[buyer], offer.subscriptions[buyer].limit_wh)
                for *_, buyer in group
                if buyer in self.metered and buyer != offer.seller
            }
            energy_wh = min(self.export_wh[offer.seller], left_wh[number], sum(want_wh.values()))
            for buyer, part_wh in split(energy_wh, want_wh).items():
                if self.flow(Title.CONTRACT, offer.seller, buyer, part_wh, price, offer.own_fee):
                    left_wh[number] -= part_wh
                    line = self.lines[-1]
                    self.deliveries.append(Delivery(number, buyer, part_wh, line.amount_uwatt, line.fee_uwatt))

    def trades(self) -> None:
        for seller, buyer, energy_wh, price, rate in (_terms(trade) for trade in self.period.trades):
            self.net_wh[seller] += energy_wh
            self.net_wh[buyer] -= energy_wh
            self._line(Title.TRADE, buyer, seller, energy_wh, price, rate)
        sources_wh, sinks_wh = {}, {}
        for member in self.members:
            sold_wh, bought_wh = max(0, self.net_wh[member]), max(0, -self.net_wh[member])
            delivered_wh = min(sold_wh, self.export_wh[member])
            used_wh = min(bought_wh, self.import_wh[member])
            self.shortfall_wh[member] = sold_wh - delivered_wh
            self.excess_wh[member] = bought_wh - used_wh
            self.export_wh[member] -= delivered_wh
            self.import_wh[member] -= used_wh
            if member in self.metered:
                sources_wh[member], sinks_wh[member] = delivered_wh, used_wh
        self.flows += [flow[:3] for flow in pair(sources_wh, sinks_wh, self.places)]

    def property(self) -> None:
        for system in self.period.systems:
            assert sum(holding.target_bps for holding in system.holdings.values()) == ALL_BPS
            if system.key not in self.metered:
                continue
            targets = {holder: holding.target_bps for holder, holding in system.holdings.items()}
            for holder, entitled_wh in split(self.export_wh[system.key], targets).items():
                holding = system.holdings[holder]
                if holder == system.investor or holding.overdue or holder not in self.metered:
                    continue
                due_bps = holding.target_bps - holding.owned_bps
                price = system.price * due_bps // holding.target_bps if holding.target_bps else 0
                energy_wh = min(self.import_wh[holder], entitled_wh)
                self.flow(Title.PROPERTY, system.key, holder, energy_wh, price)

    def pools(self) -> None:
        for pool in self.period.pools:
            producers, consumers = pool.producers & self.metered, pool.shares_bps.keys() & self.metered
            both = producers & consumers
            supply_wh = {
                member: 0 if member in both and self._needs_more_than_it_has(member) else self.export_wh[member]
                for member in producers
            }
            demand_wh = {
                member: 0 if member in both and not self._needs_more_than_it_has(member) else self.import_wh[member]
                for member in consumers
            }
            shared_wh = shares_of_pool(pool, sum(supply_wh.values()), demand_wh)
            for source, sink, energy_wh, _ in pair(split(sum(shared_wh.values()), supply_wh), shared_wh, self.places):
                self.flow(Title.POOL, source, sink, energy_wh, pool.price)

    def gateway(self) -> Settled:
        accounts = {}
        for member in self.members:
            connection = self.period.connections[member]
            account = Account(
                export_wh=connection.export_wh,
                import_wh=connection.import_wh,
                sold_wh=self.sold_wh[member],
                bought_wh=self.bought_wh[member],
                net_wh=self.net_wh[member],
                fed_in_wh=self.export_wh[member],
                excess_wh=self.excess_wh[member],
                drawn_wh=self.import_wh[member],
                shortfall_wh=self.shortfall_wh[member],
            )
            accounts[member] = account
            self._with_gateway(member, account)
            to_gateway_wh, from_gateway_wh = residual(
                account.export_wh, account.import_wh, account.bought_wh, account.sold_wh, account.net_wh
            )
            assert to_gateway_wh == account.fed_in_wh + account.excess_wh
            assert from_gateway_wh == account.drawn_wh + account.shortfall_wh
        return Settled(tuple(self.lines), tuple(self._certificates()), accounts, tuple(self.deliveries))

    def _needs_more_than_it_has(self, member: bytes) -> bool:
        return self.export_wh[member] < self.import_wh[member]

    def flow(
        self,
        title: Title,
        source: bytes,
        sink: bytes,
        energy_wh: int,
        agreed_price: int,
        own_fee: OwnFee | None = None,
    ) -> bool:
        """Moves energy locally; False if there is none, or the grid fee leaves no price for it."""
        tariff = self.period.tariff
        tier = tier_between(self.places[source], self.places[sink])
        congested = not self.period.congested.isdisjoint((self.places[source].feeder, self.places[sink].feeder))
        own_rate = 0 if own_fee is None else own_fee.rate(self.places[source], self.places[sink])
        price = min(agreed_price, highest_price(tariff, tier, congested), tariff.retail - own_rate)
        if not energy_wh or price < min(agreed_price, tariff.feed_in):
            return False
        self.export_wh[source] -= energy_wh
        self.import_wh[sink] -= energy_wh
        self.sold_wh[source] += energy_wh
        self.bought_wh[sink] += energy_wh
        rate = max(own_rate, fee_rate(tariff, tier, congested, price))
        self._line(title, sink, source, energy_wh, price, rate)
        self.flows.append((source, sink, energy_wh))
        return True

    def _with_gateway(self, member: bytes, account: Account) -> None:
        tariff, gateway = self.period.tariff, self.period.gateway
        estimated = member not in self.metered
        for title, energy_wh in ((Title.RETAIL, account.drawn_wh), (Title.SHORTFALL, account.shortfall_wh)):
            self._line(title, member, gateway, energy_wh, tariff.retail, 0, estimated)
        for title, energy_wh in ((Title.FEED_IN, account.fed_in_wh), (Title.EXCESS, account.excess_wh)):
            self._line(title, gateway, member, energy_wh, tariff.feed_in, 0, estimated)

    def _line(
        self,
        title: Title,
        debtor: bytes,
        creditor: bytes,
        energy_wh: int,
        price: int,
        rate: int,
        estimated: bool = False,
    ) -> None:
        if energy_wh:
            amount, fee = amount_uwatt(energy_wh, price), amount_uwatt(energy_wh, rate)
            self.lines.append(Line(title, debtor, creditor, energy_wh, price, amount, rate, fee, estimated))

    def _certificates(self) -> list[Certificate]:
        """The flows' certificates; a producer's stored energy is flagged on its first ones."""
        stored_wh = {member: self.period.connections[member].storage_wh for member in self.metered}
        certificates = []
        for producer, consumer, energy_wh in self.flows:
            flagged_wh = min(stored_wh[producer], energy_wh)
            stored_wh[producer] -= flagged_wh
            certificates.append(Certificate(producer, consumer, energy_wh, flagged_wh))
        return certificates


def shares_of_pool(pool: Pool, supply_wh: int, demand_wh: Mapping[bytes, int]) -> dict[bytes, int]:
    """What each consumer gets of a pool's supply, by its rule; never more than it needs, never more than there is."""
    shared_wh = dict.fromkeys(demand_wh, 0)
    if pool.rule in (PoolRule.FIXED, PoolRule.BOTH):
        rest_bps = ALL_BPS - sum(pool.shares_bps.values())
        assert rest_bps >= 0
        by_share = split(supply_wh, {**pool.shares_bps, _REST: rest_bps})
        shared_wh = {member: min(need_wh, by_share[member]) for member, need_wh in demand_wh.items()}
    if pool.rule in (PoolRule.PROPORTIONAL, PoolRule.BOTH):
        needed_wh = {member: need_wh - shared_wh[member] for member, need_wh in demand_wh.items()}
        left_wh = min(supply_wh - sum(shared_wh.values()), sum(needed_wh.values()))
        for member, part_wh in split(left_wh, needed_wh).items():
            shared_wh[member] += part_wh
    return shared_wh


def _terms(trade: Trade) -> tuple[bytes, bytes, int, int, int]:
    return trade.seller, trade.buyer, trade.energy_wh, trade.price, trade.rate

"""Settling a period: the golden example to the unit, each step's rules, and what no neighbourhood may break."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from ledger.market.grid_fee import Place
from ledger.settlement.settle import (
    Certificate,
    Connection,
    Delivery,
    Holding,
    Line,
    Offer,
    OwnFee,
    Period,
    Pool,
    PoolRule,
    Settled,
    Subscription,
    System,
    Trade,
    settle,
)
from ledger.settlement.titles import Title
from tests.ledger.market.terrain import F1, F2, F3, TARIFF, member, place_of

ANNE, BOB, CARLA, GEORGE, GATEWAY = (
    name.encode().ljust(32, b".") for name in ("anne", "bob", "carla", "george", "utility")
)


def connection(export_wh: int, import_wh: int, *, metered: bool = True, place: Place = F1, **more: int) -> Connection:
    return Connection(place, export_wh, import_wh, metered, **more)


def period(connections: Mapping[bytes, Connection], **agreed: Any) -> Period:
    return Period(TARIFF, GATEWAY, connections, **agreed)


def money(settled: Settled) -> Counter[bytes]:
    balances: Counter[bytes] = Counter()
    for line in settled.lines:
        balances[line.debtor] -= line.amount_uwatt + line.fee_uwatt
        balances[line.creditor] += line.amount_uwatt
        balances[GATEWAY] += line.fee_uwatt
    return balances


def rows(settled: Settled) -> list[tuple[Title, bytes, bytes, int, int, int]]:
    return [
        (line.title, line.debtor, line.creditor, line.energy_wh, line.amount_uwatt, line.fee_uwatt)
        for line in settled.lines
    ]


GOLDEN = period(
    {
        ANNE: connection(150, 900),
        BOB: connection(0, 400),
        CARLA: connection(0, 1_000),
        GEORGE: connection(2_000, 50),
    },
    offers=(Offer(1, GEORGE, 500, {ANNE: Subscription(150_000, 500)}),),
    trades=(Trade(GEORGE, BOB, 700, 200_000, 24_000), Trade(ANNE, CARLA, 200, 180_000, 24_000)),
    pools=(Pool(1, frozenset({GEORGE}), {ANNE: 5_000, BOB: 3_000, CARLA: 2_000}, PoolRule.BOTH, 100_000),),
)


class TestTheGoldenExample:
    def test_every_line(self) -> None:
        assert sorted(rows(settle(GOLDEN))) == sorted(
            [
                (Title.CONTRACT, ANNE, GEORGE, 500, 75_000, 12_000),
                (Title.TRADE, BOB, GEORGE, 700, 140_000, 16_800),
                (Title.TRADE, CARLA, ANNE, 200, 36_000, 4_800),
                (Title.POOL, ANNE, GEORGE, 400, 40_000, 9_600),
                (Title.POOL, CARLA, GEORGE, 400, 40_000, 9_600),
                (Title.SHORTFALL, ANNE, GATEWAY, 50, 15_000, 0),
                (Title.EXCESS, GATEWAY, BOB, 300, 24_000, 0),
                (Title.RETAIL, CARLA, GATEWAY, 400, 120_000, 0),
                (Title.RETAIL, GEORGE, GATEWAY, 50, 15_000, 0),
            ]
        )

    def test_what_everybody_has_in_the_end(self) -> None:
        balances = money(settle(GOLDEN))
        assert balances == {ANNE: -115_600, BOB: -132_800, CARLA: -210_400, GEORGE: 280_000, GATEWAY: 178_800}
        assert sum(balances.values()) == 0

    def test_the_gateways_energy_is_what_came_from_outside(self) -> None:
        accounts = settle(GOLDEN).accounts.values()
        assert sum(account.drawn_wh + account.shortfall_wh for account in accounts) == 500
        assert sum(account.fed_in_wh + account.excess_wh for account in accounts) == 300
        assert sum(a.import_wh for a in accounts) - sum(a.export_wh for a in accounts) == 2_350 - 2_150

    def test_certificates_follow_metered_flows(self) -> None:
        # anne sold 200 and fed in 150, bob bought 700 and took out 400: what is metered is paired, nearest first
        assert sorted(settle(GOLDEN).certificates) == sorted(
            [
                Certificate(GEORGE, ANNE, 500, 0),
                Certificate(ANNE, BOB, 150, 0),
                Certificate(GEORGE, BOB, 250, 0),
                Certificate(GEORGE, CARLA, 200, 0),
                Certificate(GEORGE, ANNE, 400, 0),
                Certificate(GEORGE, CARLA, 400, 0),
            ]
        )


class TestContracts:
    def test_the_cheaper_price_first_then_the_older_offer(self) -> None:
        offers = (
            Offer(2, GEORGE, 300, {ANNE: Subscription(150_000, 300)}),
            Offer(1, GEORGE, 300, {BOB: Subscription(150_000, 300), CARLA: Subscription(140_000, 100)}),
        )
        settled = settle(
            period(
                {
                    GEORGE: connection(350, 0),
                    ANNE: connection(0, 300),
                    BOB: connection(0, 300),
                    CARLA: connection(0, 300),
                },
                offers=offers,
            )
        )
        contracts = [row[1:4] for row in rows(settled) if row[0] is Title.CONTRACT]
        assert contracts == [(CARLA, GEORGE, 100), (BOB, GEORGE, 200), (ANNE, GEORGE, 50)]

    def test_scarce_energy_is_shared_by_what_is_wanted(self) -> None:
        offer = Offer(1, GEORGE, 90, {ANNE: Subscription(150_000, 200), BOB: Subscription(150_000, 400)})
        settled = settle(
            period({GEORGE: connection(500, 0), ANNE: connection(0, 200), BOB: connection(0, 100)}, offers=(offer,))
        )
        assert [row[1:4] for row in rows(settled) if row[0] is Title.CONTRACT] == [
            (ANNE, GEORGE, 60),
            (BOB, GEORGE, 30),
        ]

    def test_the_fee_never_lifts_the_cost_above_retail(self) -> None:
        offer = Offer(1, GEORGE, 100, {ANNE: Subscription(290_000, 100)})
        (line,) = (
            line
            for line in settle(
                period({GEORGE: connection(100, 0), ANNE: connection(0, 100, place=F3)}, offers=(offer,))
            ).lines
            if line.title is Title.CONTRACT
        )
        assert (line.price, line.rate) == (256_000, 44_000)

    def test_no_flow_where_the_fee_leaves_less_than_feed_in_and_the_offer(self) -> None:
        dear_grid = replace(TARIFF, fee_base=250_000)
        agreed = period(
            {GEORGE: connection(100, 0), ANNE: connection(0, 100, place=F3)},
            offers=(Offer(1, GEORGE, 100, {ANNE: Subscription(150_000, 100)}),),
        )
        settled = settle(Period(dear_grid, GATEWAY, agreed.connections, offers=agreed.offers))
        assert {line.title for line in settled.lines} == {Title.RETAIL, Title.FEED_IN}

    def test_a_present_costs_the_fee(self) -> None:
        offer = Offer(1, GEORGE, 100, {ANNE: Subscription(0, 100)})
        settled = settle(period({GEORGE: connection(100, 0), ANNE: connection(0, 100)}, offers=(offer,)))
        assert rows(settled) == [(Title.CONTRACT, ANNE, GEORGE, 100, 0, 2_400)]

    def test_who_is_silent_takes_no_part(self) -> None:
        offer = Offer(1, GEORGE, 100, {ANNE: Subscription(150_000, 100)})
        for silent in (ANNE, GEORGE):
            connections = {GEORGE: connection(100, 0), ANNE: connection(0, 100)}
            connections[silent] = connection(0, 100, metered=False)
            settled = settle(period(connections, offers=(offer,)))
            assert not [line for line in settled.lines if line.title is Title.CONTRACT]
            assert not settled.certificates

    def test_congestion_is_paid_across_feeders_only(self) -> None:
        connections = {GEORGE: connection(200, 0), ANNE: connection(0, 100), BOB: connection(0, 100, place=F2)}
        offer = Offer(1, GEORGE, 200, {ANNE: Subscription(100_000, 100), BOB: Subscription(100_000, 100)})
        settled = settle(period(connections, offers=(offer,), congested=frozenset({"F1"})))
        assert {line.debtor: line.rate for line in settled.lines} == {ANNE: 24_000, BOB: 52_000}


class TestTrades:
    def test_a_silent_seller_falls_short_and_a_silent_buyer_uses_its_estimate(self) -> None:
        trade = Trade(GEORGE, ANNE, 100, 150_000, 24_000)
        settled = settle(
            period({GEORGE: connection(0, 50, metered=False), ANNE: connection(0, 70, metered=False)}, trades=(trade,))
        )
        assert sorted(rows(settled)) == sorted(
            [
                (Title.TRADE, ANNE, GEORGE, 100, 15_000, 2_400),
                (Title.SHORTFALL, GEORGE, GATEWAY, 100, 30_000, 0),
                (Title.RETAIL, GEORGE, GATEWAY, 50, 15_000, 0),
                (Title.EXCESS, GATEWAY, ANNE, 30, 2_400, 0),
            ]
        )
        assert not settled.certificates
        assert {line.title for line in settled.lines if line.estimated} == {Title.SHORTFALL, Title.RETAIL, Title.EXCESS}

    def test_buying_back_what_was_sold_leaves_no_shortfall(self) -> None:
        trades = (Trade(GEORGE, ANNE, 100, 150_000, 24_000), Trade(BOB, GEORGE, 100, 140_000, 24_000))
        settled = settle(
            period({GEORGE: connection(0, 0), ANNE: connection(0, 100), BOB: connection(100, 0)}, trades=trades)
        )
        assert settled.certificates == (Certificate(BOB, ANNE, 100, 0),)
        assert settled.accounts[GEORGE].shortfall_wh == 0


class TestProperty:
    SYSTEM = b"roof".ljust(32, b".")

    def test_holders_take_their_part_and_pay_for_what_they_do_not_own_yet(self) -> None:
        holdings = {
            GEORGE: Holding(2_000, 2_000, False),
            ANNE: Holding(5_000, 1_000, False),
            BOB: Holding(3_000, 3_000, True),
        }
        system = System(self.SYSTEM, GEORGE, 100_000, holdings)
        settled = settle(
            period(
                {
                    self.SYSTEM: connection(1_000, 0),
                    GEORGE: connection(0, 300),
                    ANNE: connection(0, 400),
                    BOB: connection(0, 300),
                },
                systems=(system,),
            )
        )
        # anne is entitled to 500 and needs 400, at 100,000 · 4000/5000; bob is overdue, george the investor
        property_lines = [row for row in rows(settled) if row[0] is Title.PROPERTY]
        assert property_lines == [(Title.PROPERTY, ANNE, self.SYSTEM, 400, 32_000, 9_600)]
        assert settled.accounts[self.SYSTEM].fed_in_wh == 600


class TestPools:
    def shares(self, rule: PoolRule) -> dict[bytes, int]:
        pool = Pool(1, frozenset({GEORGE}), {ANNE: 5_000, BOB: 3_000, CARLA: 1_000}, rule, 100_000)
        settled = settle(
            period(
                {
                    GEORGE: connection(1_000, 0),
                    ANNE: connection(0, 200),
                    BOB: connection(0, 600),
                    CARLA: connection(0, 800),
                },
                pools=(pool,),
            )
        )
        return {line.debtor: line.energy_wh for line in settled.lines if line.title is Title.POOL}

    def test_fixed(self) -> None:
        assert self.shares(PoolRule.FIXED) == {ANNE: 200, BOB: 300, CARLA: 100}

    def test_proportional(self) -> None:
        assert self.shares(PoolRule.PROPORTIONAL) == {ANNE: 125, BOB: 375, CARLA: 500}

    def test_both(self) -> None:
        # fixed 200 + 300 + 100; the other 400 by what is still needed, 0 : 300 : 700
        assert self.shares(PoolRule.BOTH) == {ANNE: 200, BOB: 420, CARLA: 380}


def test_stored_energy_is_flagged() -> None:
    offer = Offer(1, GEORGE, 300, {ANNE: Subscription(150_000, 200), BOB: Subscription(150_000, 100)})
    settled = settle(
        period(
            {GEORGE: connection(300, 0, storage_wh=250), ANNE: connection(0, 200), BOB: connection(0, 100)},
            offers=(offer,),
        )
    )
    assert settled.certificates == (Certificate(GEORGE, ANNE, 200, 200), Certificate(GEORGE, BOB, 100, 50))


def random_period(seed: int) -> Period:
    rng = random.Random(seed)
    count = rng.randint(1, 9)
    ids = [member(number) for number in range(count)]
    connections = {}
    for number, key in enumerate(ids):
        metered = rng.random() > 0.15
        export_wh = rng.choice((0, rng.randint(0, 3_000))) if metered else 0
        connections[key] = Connection(place_of(number), export_wh, rng.randint(0, 2_000), metered)
    offers = [
        Offer(
            number,
            rng.choice(ids),
            rng.randint(0, 1_500),
            {
                buyer: Subscription(rng.randint(0, 350_000), rng.randint(0, 900))
                for buyer in rng.sample(ids, rng.randint(0, count))
            },
        )
        for number in range(rng.randint(0, 4))
    ]
    trades = []
    for _ in range(rng.randint(0, 12) if count > 1 else 0):
        seller, buyer = rng.sample(ids, 2)
        trades.append(
            Trade(seller, buyer, 10 * rng.randint(1, 90), 100 * rng.randint(800, 3_000), 100 * rng.randint(0, 640))
        )
    pools = []
    for number in range(rng.randint(0, 3)):
        consumers = rng.sample(ids, rng.randint(1, count))
        rest = 10_000
        shares = {}
        for consumer in consumers:
            shares[consumer] = rng.randint(0, rest)
            rest -= shares[consumer]
        producers = frozenset(rng.sample(ids, rng.randint(1, count)))
        pools.append(Pool(number, producers, shares, rng.choice(list(PoolRule)), rng.randint(0, 320_000)))
    targets = dict.fromkeys(ids, 0)
    targets[ids[0]] = 10_000
    for key in ids[1:]:
        targets[key] = rng.randint(0, targets[ids[0]])
        targets[ids[0]] -= targets[key]
    holdings = {key: Holding(bps, rng.randint(0, bps), rng.random() < 0.2) for key, bps in targets.items()}
    systems = [System(rng.choice(ids), ids[0], rng.randint(0, 320_000), holdings)] if rng.random() < 0.5 else []
    return Period(
        TARIFF,
        GATEWAY,
        connections,
        offers,
        trades,
        systems,
        pools,
        frozenset(rng.sample(["F1", "F2", "F3"], rng.randint(0, 3))),
    )


def test_random_neighbourhoods_conserve_energy_and_money() -> None:
    for seed in range(3_000):
        agreed = random_period(seed)
        settled = settle(agreed)
        accounts = settled.accounts
        assert sum(money(settled).values()) == 0
        assert sum(a.drawn_wh + a.shortfall_wh - a.fed_in_wh - a.excess_wh for a in accounts.values()) == sum(
            a.import_wh - a.export_wh for a in accounts.values()
        ), seed
        issued: Counter[bytes] = Counter()
        cancelled: Counter[bytes] = Counter()
        for certificate in settled.certificates:
            assert 0 <= certificate.storage_wh <= certificate.energy_wh
            issued[certificate.producer] += certificate.energy_wh
            cancelled[certificate.consumer] += certificate.energy_wh
        for key, one in agreed.connections.items():
            assert issued[key] <= (one.export_wh if one.metered else 0), seed
            assert cancelled[key] <= (one.import_wh if one.metered else 0), seed
        for line in settled.lines:
            assert line.energy_wh > 0
            assert line.title is Title.TRADE or line.price + line.rate <= TARIFF.retail, seed
        assert settle(agreed) == settled


def test_the_order_in_which_members_and_agreements_are_given_does_not_matter() -> None:
    for seed in range(300):
        agreed = random_period(seed)
        turned = Period(
            agreed.tariff,
            agreed.gateway,
            dict(reversed(agreed.connections.items())),
            agreed.offers[::-1],
            agreed.trades,
            agreed.systems,
            agreed.pools,
            agreed.congested,
        )
        assert settle(turned) == settle(agreed), seed


def test_a_line_is_floored_once_for_both() -> None:
    offer = Offer(1, GEORGE, 333, {ANNE: Subscription(123_457, 333)})
    (line,) = settle(period({GEORGE: connection(333, 0), ANNE: connection(0, 333)}, offers=(offer,))).lines
    assert line == Line(Title.CONTRACT, ANNE, GEORGE, 333, 123_457, 41_111, 24_000, 7_992, False)


class TestAnOffersOwnFee:
    FEE = OwnFee(base=50_000, distance=1_000, congestion_bps=5_000, congested=frozenset({"F2"}))

    def lines(self, place: Place, price: int = 150_000, fee: OwnFee = FEE) -> list[tuple[int, int]]:
        offer = Offer(1, GEORGE, 100, {ANNE: Subscription(price, 100)}, fee)
        connections = {GEORGE: connection(100, 0), ANNE: connection(0, 100, place=place)}
        settled = settle(period(connections, offers=(offer,)))
        return [(line.price, line.rate) for line in settled.lines if line.title is Title.CONTRACT]

    def test_it_grows_with_the_distance_and_with_congestion_between_feeders(self) -> None:
        assert self.lines(F1) == [(150_000, 50_000)]
        assert self.lines(F2) == [(150_000, 76_500)]
        assert self.lines(F3) == [(150_000, 52_000)]

    def test_it_is_never_below_the_chains(self) -> None:
        assert self.lines(F3, fee=OwnFee(1_000, 0, 0, frozenset())) == [(150_000, 44_000)]

    def test_price_and_fee_are_never_more_than_retail(self) -> None:
        assert self.lines(F1, price=290_000) == [(250_000, 50_000)]


def test_deliveries_are_the_contract_lines_by_offer_and_buyer() -> None:
    settled = settle(GOLDEN)
    assert settled.deliveries == (Delivery(1, ANNE, 500, 75_000, 12_000),)


def test_who_is_both_in_a_pool_is_one_of_them_in_each_period() -> None:
    for export_wh, import_wh, pooled in ((600, 500, [(ANNE, BOB, 400)]), (500, 501, [])):
        both = Pool(1, frozenset({ANNE}), {ANNE: 5_000, BOB: 5_000}, PoolRule.PROPORTIONAL, 100_000)
        settled = settle(period({ANNE: connection(export_wh, import_wh), BOB: connection(0, 400)}, pools=(both,)))
        assert [(line.creditor, line.debtor, line.energy_wh) for line in settled.lines if line.title is Title.POOL] == (
            pooled
        )

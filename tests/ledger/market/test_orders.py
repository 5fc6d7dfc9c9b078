"""Orders on the chain: what is refused, what is locked, what a trade moves, and that everything comes back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.execute import execute_block
from ledger.genesis import GenesisFeeder
from ledger.market.book import Book
from ledger.market.grid_fee import Place
from ledger.market.matching import Feeders, Side
from ledger.market.open_orders import best_first, get_market, get_position
from ledger.market.orders import OWN_ORDER_NOTE
from ledger.market.terms import tariff_of
from ledger.records import (
    BILL_LINES,
    FEEDER_FLOWS,
    MARKET_PERIODS,
    METERS,
    ORDERS,
    ORIGINS,
    OWN_ORDERS,
    POSITIONS,
    TRADES,
    MarketPeriod,
    height_key,
)
from ledger.refusal import Refusal
from ledger.settlement.lines import next_period
from ledger.settlement.titles import Title
from ledger.transactions import CancelOrder, OrderReference, Payload, PlaceOrder, ReplaceQuote, Transfer
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    NAMES,
    PARAMETERS,
    PERIOD_MS,
    UTILITY,
    WATT_UWATT,
    Neighbourhood,
    account_key,
    make_genesis,
    meter_key,
)

BUY, SELL = Side.BUY, Side.SELL
NEXT = FIRST_PERIOD + 1
FEEDERS = (GenesisFeeder("feeder-1", "substation-1", 4_000), GenesisFeeder("feeder-2", "substation-1", 4_000))
FEE = 24_000  # on one feeder
HIGHEST_FEE = 64_000
EXPORT_WH = 2_000  # 8 kW in a quarter of an hour
AUCTION = replace(PARAMETERS, market_mechanism=2)


def market(**genesis: Any) -> Neighbourhood:
    return Neighbourhood(make_genesis(**{"with_gateway": True} | genesis))


def order(side: Side, energy_wh: int, limit: int, *periods: int) -> PlaceOrder:
    return PlaceOrder(side=side, periods=periods or (NEXT,), energy_wh=energy_wh, limit_uwatt_per_kwh=limit)


def do(street: Neighbourhood, name: str, payload: Payload) -> Refusal | None:
    """In a block of its own, 1 ms later, so that books stay open."""
    return street.refusal(street.sign(name, payload), after_ms=1, producer="carla")


def spent(street: Neighbourhood, name: str) -> int:
    """uwatt, without the fees of the transactions."""
    account = street.account(name)
    return WATT_UWATT - account.watt_uwatt - 1_000 * account.nonce


def numbers(street: Neighbourhood, name: str, period: int = NEXT) -> list[int]:
    key = account_key(name).public_key
    return [int.from_bytes(key[-8:], "big") for key, _ in OWN_ORDERS.scan(street.state, key, height_key(period))]


def traded(street: Neighbourhood, period: int = NEXT) -> list[tuple[str, str, int, int, int]]:
    names = {account_key(name).public_key: name for name in NAMES}
    return [
        (names[trade.seller], names[trade.buyer], trade.energy_wh, trade.price, trade.rate)
        for _, trade in TRADES.scan(street.state, height_key(period))
    ]


def live_until_settled(street: Neighbourhood, period: int) -> None:
    street.time_ms = max(street.time_ms, (period + 1) * PERIOD_MS)
    while next_period(street.state) <= period:
        street.block(producer="carla")


class TestLocks:
    def test_a_purchase_locks_its_limit_and_the_highest_fee(self) -> None:
        street = market()
        assert do(street, "bob", order(BUY, 700, 220_000)) is None
        assert spent(street, "bob") == 700 * (220_000 + HIGHEST_FEE) // 1_000 == 198_800

    def test_a_sale_locks_what_is_missing_to_retail(self) -> None:
        street = market()
        assert do(street, "bob", order(SELL, 700, 200_000)) is None
        assert spent(street, "bob") == 70_000

    def test_at_a_trade_the_difference_to_price_and_rate_comes_back(self) -> None:
        # the golden example's: bob's lock of 198,800, of which 42,000 return
        street = market()
        do(street, "george", order(SELL, 700, 200_000))
        do(street, "bob", order(BUY, 700, 220_000))
        assert traded(street) == [("george", "bob", 700, 200_000, FEE)]
        assert spent(street, "bob") == 198_800 - 42_000
        assert spent(street, "george") == 70_000
        assert get_market(street.state, NEXT) == MarketPeriod(
            trades=1, energy_wh=700, value_uwatt=140_000, last_price=200_000, escrow_uwatt=700 * 324
        )

    def test_a_seller_who_gets_more_than_its_limit_has_less_to_deposit(self) -> None:
        street = market()
        do(street, "bob", order(BUY, 700, 220_000))
        do(street, "george", order(SELL, 1_000, 200_000))
        assert traded(street) == [("george", "bob", 700, 220_000, FEE)]
        assert spent(street, "george") == 700 * 80 + 300 * 100
        position = get_position(street.state, NEXT, account_key("george").public_key)
        assert (position.sold_wh, position.open_sell_wh, position.open_orders) == (700, 300, 1)

    def test_cancelling_gives_all_of_it_back(self) -> None:
        street = market()
        do(street, "bob", order(BUY, 700, 220_000, NEXT, NEXT + 2))
        references = tuple(OrderReference(period, *numbers(street, "bob", period)) for period in (NEXT, NEXT + 2))
        assert do(street, "bob", CancelOrder(references)) is None
        assert spent(street, "bob") == 0
        assert not list(ORDERS.scan(street.state))
        assert not list(OWN_ORDERS.scan(street.state))
        assert not list(POSITIONS.scan(street.state))

    def test_gate_closure_gives_all_of_it_back(self) -> None:
        street = market()
        do(street, "bob", order(BUY, 700, 220_000))
        do(street, "george", order(SELL, 700, 230_000))
        street.block(after_ms=NEXT * PERIOD_MS - PARAMETERS.gate_closure_ms - street.time_ms)
        assert (spent(street, "bob"), spent(street, "george")) == (0, 0)
        assert not list(ORDERS.scan(street.state))

    def test_many_orders_are_released_over_several_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ledger.market import closing

        monkeypatch.setattr(closing, "MAX_RELEASED", 3)
        street = market()
        for name in ("bob", "george"):
            for _ in range(4):
                assert do(street, name, order(BUY, 10, 100_000)) is None
        open_orders = []
        street.time_ms = NEXT * PERIOD_MS
        for _ in range(4):
            open_orders.append(len(list(ORDERS.scan(street.state))))
            street.block()
        assert open_orders == [8, 5, 2, 0]


class TestSettlement:
    def test_sellers_and_grid_are_paid_from_escrow_and_what_is_left_returns(self) -> None:
        street = market()
        do(street, "george", order(SELL, 700, 200_000))
        do(street, "bob", order(BUY, 700, 220_000))
        street.time_ms = (NEXT + 1) * PERIOD_MS
        street.block(
            *(street.reading(name, NEXT - 1, 0, 0) for name in ("bob", "george")),
            street.reading("george", NEXT, 0, 650),
            street.reading("bob", NEXT, 700, 0),
        )
        live_until_settled(street, NEXT)
        # george delivered 650 of 700: 50 Wh at retail are paid to the gateway out of the escrow
        assert spent(street, "bob") == 700 * 224
        assert spent(street, "george") == -(700 * 200 - 50 * 300)
        assert street.account(UTILITY).watt_uwatt == WATT_UWATT + 700 * 24 + 50 * 300
        assert get_market(street.state, NEXT).escrow_uwatt == 0
        assert not list(POSITIONS.scan(street.state))
        titles = {
            (Title(key[72]), line.energy_wh) for key, line in BILL_LINES.scan(street.state) if line.energy_wh < 800
        }
        assert {(Title.TRADE, 700), (Title.SHORTFALL, 50)} <= titles
        origins = ORIGINS.get(street.state, height_key(NEXT))
        assert origins is not None
        assert [(one.energy_wh, one.storage_wh) for one in origins.certificates] == [(650, 0)]

    def test_who_bought_and_did_not_need_it_sells_it_to_the_gateway_on_the_bill(self) -> None:
        street = market()
        do(street, "george", order(SELL, 700, 200_000))
        do(street, "bob", order(BUY, 700, 220_000))
        street.time_ms = (NEXT + 1) * PERIOD_MS
        street.block(
            *(street.reading(name, NEXT - 1, 0, 0) for name in ("bob", "george")),
            street.reading("george", NEXT, 0, 700),
            street.reading("bob", NEXT, 400, 0),
        )
        live_until_settled(street, NEXT)
        excess = [line for key, line in BILL_LINES.scan(street.state) if key[72] == Title.EXCESS]
        assert [(line.energy_wh, line.amount_uwatt) for line in excess] == [(300, 24_000)]

    def test_trades_are_forgotten_in_time(self) -> None:
        street = market(parameters=replace(PARAMETERS, history_periods=2))
        do(street, "george", order(SELL, 700, 200_000))
        do(street, "bob", order(BUY, 700, 220_000))
        live_until_settled(street, NEXT + 1)
        assert list(TRADES.scan(street.state))
        live_until_settled(street, NEXT + 2)
        assert not list(TRADES.scan(street.state))
        assert not list(MARKET_PERIODS.scan(street.state))


class TestRefused:
    @pytest.mark.parametrize(
        ("payload", "refusal"),
        [
            (PlaceOrder(3, (NEXT,), 100, 100_000), Refusal.MALFORMED),
            (PlaceOrder(1, (), 100, 100_000), Refusal.MALFORMED),
            (PlaceOrder(1, tuple(range(NEXT, NEXT + 97)), 100, 100_000), Refusal.MALFORMED),
            (PlaceOrder(1, (NEXT + 1, NEXT), 100, 100_000), Refusal.MALFORMED),
            (PlaceOrder(1, (NEXT, NEXT), 100, 100_000), Refusal.MALFORMED),
            (order(BUY, 0, 100_000), Refusal.AMOUNT_ZERO),
            (order(BUY, 105, 100_000), Refusal.OFF_LOT),
            (order(BUY, 100, 100_050), Refusal.OFF_TICK),
            (order(BUY, 10**9 + 10, 100_000), Refusal.AMOUNT_OVERFLOW),
            (order(BUY, 100, 10**8 + 100), Refusal.AMOUNT_OVERFLOW),
            (CancelOrder(()), Refusal.MALFORMED),
            (CancelOrder((OrderReference(NEXT, 1),) * 2), Refusal.MALFORMED),
            (CancelOrder(tuple(OrderReference(NEXT, number) for number in range(97))), Refusal.MALFORMED),
            (ReplaceQuote(NEXT, 15, 100_000, 10, 200_000), Refusal.OFF_LOT),
            (ReplaceQuote(NEXT, 10, 100_000, 10, 200_050), Refusal.OFF_TICK),
            (ReplaceQuote(NEXT, 10, 200_000, 10, 200_000), Refusal.SELF_TRADE),
        ],
    )
    def test_what_no_state_can_mend_has_no_place_in_a_block(self, payload: Payload, refusal: Refusal) -> None:
        street = market()
        transaction = street.sign("bob", payload)
        assert street.admission(transaction) is refusal
        assert street.is_invalid(transaction, after_ms=1)

    @pytest.mark.parametrize(
        ("name", "payload", "refusal"),
        [
            ("bob", order(BUY, 100, 79_900), Refusal.PRICE_OUT_OF_RANGE),
            ("bob", order(BUY, 100, 300_100), Refusal.PRICE_OUT_OF_RANGE),
            ("bob", order(BUY, 100, 100_000, FIRST_PERIOD), Refusal.BOOK_CLOSED),
            ("bob", order(BUY, 100, 100_000, FIRST_PERIOD + PARAMETERS.forward_periods + 1), Refusal.BOOK_NOT_OPEN),
            ("bob", order(SELL, EXPORT_WH + 10, 100_000), Refusal.BEYOND_NAMEPLATE),
            ("bob", order(BUY, 6_100_000, 100_000), Refusal.INSUFFICIENT_WATT),
            ("bob", order(BUY, 3_200_000, 100_000, NEXT, NEXT + 1), Refusal.INSUFFICIENT_WATT),
            (UTILITY, order(BUY, 100, 100_000), Refusal.GATEWAY_DOES_NOT_TRADE),
            ("bob", CancelOrder((OrderReference(NEXT, 1),)), Refusal.UNKNOWN_ORDER),
            ("bob", ReplaceQuote(FIRST_PERIOD, 10, 100_000, 10, 200_000), Refusal.BOOK_CLOSED),
            ("bob", ReplaceQuote(NEXT, 10, 100_000, EXPORT_WH + 10, 200_000), Refusal.BEYOND_NAMEPLATE),
        ],
    )
    def test_what_the_state_forbids_takes_the_fee_and_changes_nothing(
        self, name: str, payload: Payload, refusal: Refusal
    ) -> None:
        street = market()
        assert do(street, name, payload) is refusal
        assert spent(street, name) == 0
        assert not list(ORDERS.scan(street.state))

    def test_the_book_closes_to_the_millisecond(self) -> None:
        closing_ms = NEXT * PERIOD_MS - PARAMETERS.gate_closure_ms
        for early_ms, refusal in ((1, None), (0, Refusal.BOOK_CLOSED)):
            street = market()
            transaction = street.sign("bob", order(BUY, 100, 100_000))
            assert street.refusal(transaction, after_ms=closing_ms - early_ms - street.time_ms) is refusal

    def test_without_a_gateway_nobody_trades(self) -> None:
        street = market(with_gateway=False)
        assert do(street, "bob", order(BUY, 100, 100_000)) is Refusal.NO_GATEWAY

    def test_who_is_no_member_or_has_no_connection(self) -> None:
        street = market()
        gift = Transfer(recipient=account_key("dora").public_key, token=1, amount=10**8, memo="")
        do(street, "anne", gift)
        assert do(street, "dora", order(BUY, 100, 100_000)) is Refusal.NOT_A_MEMBER
        genesis = make_genesis(with_gateway=True)
        bare = Neighbourhood(replace(genesis, meters=genesis.meters[1:]))
        assert do(bare, "anne", order(BUY, 100, 100_000)) is Refusal.NO_CONNECTION_METER

    def test_who_signed_two_readings_for_one_period(self) -> None:
        street = market()
        state = street.state
        meter = METERS.get(state, meter_key("bob").public_key)
        assert meter is not None
        METERS.put(state, replace(meter, suspended=True), meter_key("bob").public_key)
        street.reader.apply(state.changes())
        assert do(street, "bob", order(BUY, 100, 100_000)) is Refusal.METER_SUSPENDED

    def test_too_many_open_orders(self) -> None:
        street = market()
        for _ in range(PARAMETERS.max_open_orders):
            assert do(street, "bob", order(BUY, 10, 100_000)) is None
        assert do(street, "bob", order(BUY, 10, 100_000)) is Refusal.TOO_MANY_ORDERS
        assert do(street, "bob", order(BUY, 10, 100_000, NEXT + 1)) is None

    def test_a_period_that_has_its_trades(self) -> None:
        street = market(parameters=replace(PARAMETERS, max_period_trades=2))
        for _ in range(3):
            do(street, "george", order(SELL, 10, 100_000))
        assert do(street, "bob", order(BUY, 30, 100_000)) is None
        assert [trade[2] for trade in traded(street)] == [10, 10]
        assert do(street, "anne", order(BUY, 30, 100_000)) is Refusal.TOO_MANY_TRADES

    def test_sold_and_offered_energy_counts_towards_the_nameplate_and_bought_energy_may_be_resold(self) -> None:
        street = market()
        do(street, "george", order(SELL, 1_500, 100_000))
        assert do(street, "george", order(SELL, 510, 100_000)) is Refusal.BEYOND_NAMEPLATE
        assert do(street, "george", order(SELL, 500, 100_000)) is None
        do(street, "bob", order(BUY, 1_600, 100_000))
        assert do(street, "bob", order(SELL, EXPORT_WH + 1_600, 200_000)) is None
        assert do(street, "bob", order(SELL, 10, 200_000)) is Refusal.BEYOND_NAMEPLATE

    def test_another_s_order_cannot_be_cancelled_nor_any_after_gate_closure(self) -> None:
        street = market()
        do(street, "bob", order(BUY, 10, 100_000))
        (number,) = numbers(street, "bob")
        cancel = CancelOrder((OrderReference(NEXT, number),))
        assert do(street, "anne", cancel) is Refusal.UNKNOWN_ORDER
        # a book that is closed: its order is still there only in the block's own view of another period's backlog
        closing_ms = NEXT * PERIOD_MS - PARAMETERS.gate_closure_ms
        transaction = street.sign("bob", cancel)
        assert street.admission(transaction, after_ms=closing_ms - street.time_ms) is Refusal.BOOK_CLOSED


class TestSelfTrade:
    def test_the_newer_order_is_refused_if_the_older_would_be_met_first(self) -> None:
        street = market()
        do(street, "bob", order(SELL, 100, 150_000))
        assert do(street, "bob", order(BUY, 100, 150_000)) is Refusal.SELF_TRADE
        assert len(numbers(street, "bob")) == 1

    def test_after_a_fill_the_rest_is_cancelled(self) -> None:
        street = market()
        do(street, "bob", order(SELL, 100, 150_000))
        do(street, "george", order(SELL, 100, 140_000))
        (receipt,) = street.block(street.sign("bob", order(BUY, 150, 150_000)), after_ms=1)
        assert (receipt.refusal, receipt.note) == (None, OWN_ORDER_NOTE)
        assert traded(street) == [("george", "bob", 100, 140_000, FEE)]
        assert spent(street, "bob") == 100 * 164 + 100 * 150
        assert len(numbers(street, "bob")) == 1


class TestQuotes:
    def test_a_quote_takes_the_place_of_all_open_orders_of_the_period(self) -> None:
        street = market()
        do(street, "bob", order(BUY, 100, 100_000, NEXT, NEXT + 1))
        do(street, "bob", order(SELL, 100, 250_000))
        assert do(street, "bob", ReplaceQuote(NEXT, 200, 110_000, 300, 240_000)) is None
        assert spent(street, "bob") == 200 * 174 + 300 * 60 + 100 * 164
        assert do(street, "bob", ReplaceQuote(NEXT, 0, 0, 0, 0)) is None
        assert numbers(street, "bob") == []
        assert spent(street, "bob") == 100 * 164

    def test_a_quote_that_fails_leaves_the_one_before(self) -> None:
        street = market()
        do(street, "bob", ReplaceQuote(NEXT, 200, 110_000, 300, 240_000))
        before = numbers(street, "bob")
        assert do(street, "bob", ReplaceQuote(NEXT, 10**8, 110_000, 300, 240_000)) is Refusal.INSUFFICIENT_WATT
        assert numbers(street, "bob") == before


class TestFeeders:
    def test_headroom_and_congestion_are_those_of_the_period(self) -> None:
        # 4 kW carry 1000 Wh in a quarter of an hour, congested from 800 on; anne and carla live on feeder-1
        street = market(feeders=FEEDERS)
        do(street, "anne", order(SELL, 1_500, 100_000))
        do(street, "bob", order(BUY, 1_500, 100_000))
        assert traded(street) == [("anne", "bob", 800, 100_000, 32_000), ("anne", "bob", 200, 100_000, 52_000)]
        assert do(street, "carla", order(BUY, 500, 100_000)) is None
        assert traded(street)[-1] == ("anne", "carla", 500, 100_000, FEE)
        flow = FEEDER_FLOWS.get(street.state, height_key(NEXT), b"feeder-1")
        assert flow is not None
        assert (flow.out_wh, flow.into_wh) == (1_000, 0)
        do(street, "anne", order(SELL, 100, 100_000, NEXT + 1))
        do(street, "bob", order(BUY, 100, 100_000, NEXT + 1))
        assert traded(street, NEXT + 1) == [("anne", "bob", 100, 100_000, 32_000)]


def test_a_chain_s_books_trade_like_the_one_in_memory() -> None:
    for seed in range(6):
        rng = random.Random(seed)
        street = market(feeders=FEEDERS, parameters=replace(PARAMETERS, max_open_orders=256))
        tariff = tariff_of(street.state, NEXT)
        places = {name: Place(f"feeder-{index % 2 + 1}", "substation-1") for index, name in enumerate(NAMES)}
        book = Book(Feeders({"feeder-1": 1_000, "feeder-2": 1_000}, tariff.congestion_threshold_bps), tariff)
        known: dict[int, int] = {}  # the chain's number → the book's
        fills = 0
        for _ in range(60):
            if known and rng.random() < 0.15:
                number = rng.choice(sorted(known))
                for name in NAMES:
                    if number in numbers(street, name):
                        assert do(street, name, CancelOrder((OrderReference(NEXT, number),))) is None
                        assert book.cancel(known.pop(number))
                        break
                else:
                    assert not book.cancel(known.pop(number))
                continue
            name, side = rng.choice(NAMES), rng.choice((BUY, SELL))
            energy_wh, limit = 10 * rng.randint(1, 15), 100 * rng.randint(1_500, 1_510)
            seen = len(traded(street))
            before = set(numbers(street, name))
            refusal = do(street, name, order(side, energy_wh, limit))
            if refusal is Refusal.BEYOND_NAMEPLATE:
                continue
            number, matched = book.place(account_key(name).public_key, places[name], side, limit, energy_wh)
            assert (refusal is Refusal.SELF_TRADE) == (matched.met_own and not matched.fills)
            got = traded(street)[seen:]
            assert [trade[2:] for trade in got] == [fill[1:] for fill in matched.fills]
            fills += len(got)
            known.update(dict.fromkeys(set(numbers(street, name)) - before, number))
        for side in Side:
            levels: dict[int, int] = {}
            for resting in best_first(street.state, NEXT, side):
                levels[resting.limit] = levels.get(resting.limit, 0) + resting.left_wh
            assert list(levels.items()) == book.depth(side)
        assert fills > 10
        live_until_settled(street, NEXT)
        assert sum(street.account(name).watt_uwatt for name in (*NAMES, UTILITY)) == 5 * WATT_UWATT


class TestAuction:
    def close(self, street: Neighbourhood, late_ms: int = 0) -> None:
        street.block(after_ms=NEXT * PERIOD_MS - PARAMETERS.gate_closure_ms + late_ms - street.time_ms)

    def test_nothing_trades_before_gate_closure_and_all_at_one_price_then(self) -> None:
        street = market(parameters=AUCTION)
        do(street, "george", order(SELL, 500, 100_000))
        do(street, "bob", order(BUY, 300, 160_000))
        do(street, "carla", order(BUY, 400, 140_000))
        do(street, "anne", order(BUY, 100, 90_000))
        assert traded(street) == []
        self.close(street)
        # carla's level is the marginal one and sets the price; all of the volume is 500
        assert sorted(traded(street)) == [("george", "bob", 300, 140_000, FEE), ("george", "carla", 200, 140_000, FEE)]
        assert not list(ORDERS.scan(street.state))
        assert spent(street, "anne") == 0
        assert spent(street, "bob") == 300 * 164
        assert spent(street, "george") == 500 * 160
        assert get_market(street.state, NEXT).cleared
        live_until_settled(street, NEXT)
        assert get_market(street.state, NEXT).escrow_uwatt == 0

    def test_if_the_period_has_ended_by_then_nobody_trades(self) -> None:
        street = market(parameters=AUCTION)
        do(street, "george", order(SELL, 500, 100_000))
        do(street, "bob", order(BUY, 300, 160_000))
        self.close(street, late_ms=PERIOD_MS + PARAMETERS.gate_closure_ms)
        assert traded(street) == []
        assert not list(ORDERS.scan(street.state))
        assert (spent(street, "bob"), spent(street, "george")) == (0, 0)

    def test_one_auction_a_block(self) -> None:
        street = market(parameters=replace(AUCTION, gate_closure_ms=0))
        for period in (NEXT, NEXT + 1):
            do(street, "george", order(SELL, 500, 100_000, period))
            do(street, "bob", order(BUY, 300, 160_000, period))
        street.block(after_ms=(NEXT + 1) * PERIOD_MS - street.time_ms)
        assert [len(traded(street, period)) for period in (NEXT, NEXT + 1)] == [0, 0], "the first had ended"
        street.block(after_ms=1)
        assert [len(traded(street, period)) for period in (NEXT, NEXT + 1)] == [0, 1]

    def test_orders_that_cross_ones_own_are_refused(self) -> None:
        street = market(parameters=AUCTION)
        do(street, "bob", order(BUY, 300, 160_000))
        assert do(street, "bob", order(SELL, 300, 160_000)) is Refusal.SELF_TRADE
        assert do(street, "bob", order(SELL, 300, 160_100)) is None
        assert do(street, "bob", order(BUY, 300, 160_100)) is Refusal.SELF_TRADE

    def test_what_a_feeder_cannot_carry_is_cut_and_given_back(self) -> None:
        street = market(parameters=AUCTION, feeders=FEEDERS)
        do(street, "anne", order(SELL, 1_500, 100_000))
        do(street, "bob", order(BUY, 1_500, 100_000))
        self.close(street)
        assert traded(street) == [("anne", "bob", 800, 100_000, 32_000), ("anne", "bob", 200, 100_000, 52_000)]
        assert spent(street, "bob") == 800 * 132 + 200 * 152
        assert spent(street, "anne") == 1_000 * 200


def test_closing_a_book_reads_each_order_a_few_times_at_most() -> None:
    class Counting:
        """A base that counts what is read of the table of orders."""

        def __init__(self, street: Neighbourhood) -> None:
            self.street, self.seen = street, 0

        def get(self, key: bytes) -> bytes | None:
            self.seen += key[:1] == ORDERS.prefix
            return self.street.reader.get(key)

        def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
            for item in self.street.reader.scan(prefix):
                self.seen += item[0][:1] == ORDERS.prefix
                yield item

    street = market(parameters=replace(PARAMETERS, max_open_orders=256))
    for _ in range(3):
        street.block(
            *(street.sign("bob", order(BUY, 10, 100_000), nonce=nonce) for nonce in next_nonces(street, 60)), after_ms=1
        )
    counting = Counting(street)
    street.time_ms = NEXT * PERIOD_MS
    result = execute_block(counting, street.context(), [])
    assert sum(key[:1] == ORDERS.prefix for key in result.changes) == 180
    assert counting.seen < 4 * 180


def next_nonces(street: Neighbourhood, count: int) -> range:
    first = street.account("bob").nonce
    return range(first, first + count)

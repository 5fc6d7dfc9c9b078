"""Neighbourhoods that trade and meter at random, with silent, late and torn meters: every sum holds after every block
(``Neighbourhood.commit`` checks the whole state), and the bills add up to what was settled.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from msgspec.structs import replace

from ledger.genesis import GenesisFeeder
from ledger.market.grid_fee import FeeModel, Mechanism, amount_uwatt
from ledger.market.terms import tariff_of
from ledger.records import (
    BILL_LINES,
    MARKET_PERIODS,
    ORIGINS,
    SETTLED_PERIODS,
    TRADES,
    LineKind,
    MeterKind,
)
from ledger.settlement.lines import next_period
from ledger.settlement.titles import PAID_FROM_ESCROW, Title
from ledger.transactions import PlaceOrder, Transaction
from tests.ledger.billing.sums import require_balanced_bills
from tests.ledger.neighbourhood import (
    PARAMETERS,
    PERIOD_MS,
    UTILITY,
    WATT_UWATT,
    Neighbourhood,
    account_key,
    make_genesis,
)

HOMES = ("anne", "bob", "carla", "george", "hugo", "ida")
PERIODS = 16


class Life:
    """One neighbourhood and its dice."""

    def __init__(self, seed: int, mechanism: Mechanism, fee_model: FeeModel) -> None:
        self.rng = random.Random(seed)
        parameters = replace(
            PARAMETERS,
            market_mechanism=int(mechanism),
            grid_fee_model=int(fee_model),
            max_open_orders=32,
            billing_cycle_periods=5,
        )
        genesis = make_genesis(
            HOMES,
            parameters,
            kinds={"hugo": MeterKind.LOAD},
            storage_wh=500,
            with_gateway=True,
            feeders=(GenesisFeeder("feeder-1", "S", 3_000), GenesisFeeder("feeder-2", "S", 400_000)),
        )
        self.street = Neighbourhood(genesis)
        self.registers = dict.fromkeys(HOMES, (0, 0))
        self.unread: dict[str, list[tuple[int, int, int]]] = {name: [] for name in HOMES}

    def orders(self) -> list[Transaction]:
        period = self.street.time_ms // PERIOD_MS + self.rng.choice((1, 1, 2))
        names = self.rng.sample(HOMES, 5)
        return [
            self.street.sign(
                name,
                PlaceOrder(
                    side=self.rng.choice((1, 2)),
                    periods=(period,),
                    energy_wh=10 * self.rng.randint(1, 80),
                    limit_uwatt_per_kwh=100 * self.rng.randint(1_480, 1_520),
                ),
            )
            for name in names
        ]

    def readings(self, period: int) -> list[Transaction]:
        """What the homes' meters send after a period: most at once, some later, some never."""
        sent = []
        for name in HOMES:
            imported, exported = self.registers[name]
            imported += self.rng.choice((0, self.rng.randint(0, 900)))
            exported += self.rng.choice((0, self.rng.randint(0, 1_200)))
            self.registers[name] = imported, exported
            self.unread[name].append((period, imported, exported))
            if self.rng.random() < 0.75:
                if self.rng.random() < 0.5:
                    self.unread[name] = self.unread[name][-1:]
                sent += [self.street.reading(name, *one) for one in self.unread[name]]
                self.unread[name] = []
        return sent

    def pass_period(self) -> None:
        for _ in range(3):
            self.street.block(*self.orders(), producer="carla")
        period = self.street.time_ms // PERIOD_MS
        self.street.time_ms = (period + 1) * PERIOD_MS
        self.street.block(*self.readings(period), producer="carla")


@pytest.mark.parametrize("fee_model", FeeModel)
@pytest.mark.parametrize("mechanism", Mechanism)
def test_random_lives(mechanism: Mechanism, fee_model: FeeModel) -> None:
    trades = certified = corrections = 0
    for seed in range(3):
        life = Life(seed, mechanism, fee_model)
        for _ in range(PERIODS):
            life.pass_period()
            check_escrow(life.street)
            require_balanced_bills(life.street.state)
        street = life.street
        for name in HOMES:  # in the end every meter is read
            if life.unread[name]:
                street.block(street.reading(name, *life.unread[name][-1]), producer="carla")
        while next_period(street.state) <= street.time_ms // PERIOD_MS - 3:
            street.block(producer="carla")
        trades += sum(1 for _ in TRADES.scan(street.state))
        certified += sum(one.energy_wh for _, each in ORIGINS.scan(street.state) for one in each.certificates)
        corrections += sum(1 for key, _ in BILL_LINES.scan(street.state) if key[81] == LineKind.CORRECTION)
        check_bills(street)
    assert trades > 60
    assert certified > 1_000
    assert corrections > 10


def check_escrow(street: Neighbourhood) -> None:
    state = street.state
    for key, market in MARKET_PERIODS.scan(state):
        period = int.from_bytes(key, "big")
        retail = tariff_of(state, period).retail
        needed = sum(amount_uwatt(one.energy_wh, retail + one.rate) for _, one in TRADES.scan(state, key))
        assert market.escrow_uwatt == (0 if period < next_period(state) else needed)


def check_bills(street: Neighbourhood) -> None:
    """What was billed is what was settled and corrected, and only what is paid from escrow has moved tokens."""
    state = street.state
    names = {account_key(name).public_key: name for name in (*HOMES, UTILITY)}
    billed: Counter[tuple[Title, LineKind]] = Counter()
    paid: Counter[str] = Counter()
    with_gateway_wh = 0
    for key, line in BILL_LINES.scan(state):
        debtor, creditor, title, kind = names[key[8:40]], names[key[40:72]], Title(key[72]), LineKind(key[81])
        billed[title, LineKind.METERED if kind is not LineKind.CORRECTION else kind] += line.energy_wh
        if UTILITY in (debtor, creditor):
            with_gateway_wh += line.energy_wh * (1 if creditor == UTILITY else -1)
        if title in PAID_FROM_ESCROW:
            paid[debtor] -= line.amount_uwatt + line.fee_uwatt
            paid[creditor] += line.amount_uwatt
            paid[UTILITY] += line.fee_uwatt
    settled = [one for _, one in SETTLED_PERIODS.scan(state)]
    for title, field in (
        (Title.TRADE, "trade_wh"),
        (Title.RETAIL, "drawn_wh"),
        (Title.FEED_IN, "fed_in_wh"),
        (Title.SHORTFALL, "shortfall_wh"),
        (Title.EXCESS, "excess_wh"),
    ):
        assert billed[title, LineKind.METERED] == sum(getattr(one, field) for one in settled), title
    corrected_wh = sum(
        line.energy_wh * (1 if names[key[40:72]] == UTILITY else -1)
        for key, line in BILL_LINES.scan(state)
        if key[81] == LineKind.CORRECTION
    )
    assert with_gateway_wh == sum(one.import_wh - one.export_wh for one in settled) + corrected_wh
    # Only trades and shortfalls have moved tokens: with what is locked and in escrow, everybody has what it should
    open_escrow = sum(one.escrow_uwatt for _, one in MARKET_PERIODS.scan(state))
    if open_escrow == 0:
        for name in (*HOMES, UTILITY):
            fees = 1_000 * street.account(name).nonce
            produced = 1_000 * sum(street.account(home).nonce for home in HOMES) if name == "carla" else 0
            assert street.account(name).watt_uwatt == WATT_UWATT - fees + produced + paid[name], name

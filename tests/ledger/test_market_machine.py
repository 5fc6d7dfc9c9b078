"""Random neighbourhoods that trade, share, agree and meter, with readings on time, late, twice and never, and halts:
after every block the whole state is checked (``Neighbourhood.commit``), and in the end every Wh that went through a
meter has been billed once.

What the machine knows on its own: the registers of every home, which readings were accepted, and from these the voting
tokens that they mint.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from ledger.agreements import CONTRACT_OFFERS, POOL_MEMBERSHIPS, SHARING_POOLS, PoolShare, last_eight
from ledger.contracts.templates import TemplateKind
from ledger.genesis import GenesisFeeder
from ledger.market.grid_fee import FeeModel, Mechanism, amount_uwatt
from ledger.market.open_orders import lock_uwatt, order_of_key
from ledger.market.terms import tariff_of
from ledger.records import (
    BILL_LINES,
    FEEDER_FLOWS,
    LONG_SILENCES,
    MARKET_PERIODS,
    ORDERS,
    ORIGINS,
    OWN_ORDERS,
    SETTLED_PERIODS,
    SILENCES,
    TRADES,
    MeterKind,
)
from ledger.refusal import Refusal, TransactionRefused
from ledger.settlement.lines import next_period
from ledger.settlement.titles import Title
from ledger.transactions import (
    CancelOrder,
    ChangeContractPrice,
    EndContract,
    JoinPool,
    LeavePool,
    OfferContract,
    OpenPool,
    OrderReference,
    Payload,
    PlaceOrder,
    ReplaceQuote,
    SetPoolRule,
    SubscribeContract,
    Transaction,
)
from tests.ledger.neighbourhood import (
    PARAMETERS,
    PERIOD_MS,
    UTILITY,
    Neighbourhood,
    account_key,
    make_genesis,
)

HOMES = ("anne", "bob", "carla", "dora", "george", "hugo")
KINDS = {"hugo": MeterKind.LOAD, "dora": MeterKind.MIXED}
RICH_UGRID = 10**10
PRODUCER = "anne"
FEEDERS = (
    GenesisFeeder("feeder-1", "S", 2_000),  # 500 Wh a period: soon congested, soon full
    GenesisFeeder("feeder-2", "S", 400_000),
    GenesisFeeder("feeder-3", "T", 8_000),
)

homes = st.sampled_from(HOMES)
ticks = st.sampled_from([800, 1_000, 1_490, 1_500, 1_500, 1_500, 1_510, 2_900, 3_000])
energies = st.sampled_from([0, 0, 7, 100, 333, 1_000, 2_000])
sides = st.sampled_from([1, 2])
lots = st.sampled_from([1, 3, 10, 25, 60, 120])


def key(name: str) -> bytes:
    return account_key(name).public_key


class Market(RuleBasedStateMachine):
    """Every deed is a block of its own; the blocks' times are close together, periods pass by a rule."""

    @initialize(
        mechanism=st.sampled_from(Mechanism),
        fee_model=st.sampled_from(FeeModel),
        storage_wh=st.sampled_from([0, 0, 1_000]),
        hour=st.sampled_from([0, 840]),
        max_trades=st.sampled_from([4_096, 5]),
    )
    def begin(self, mechanism: Mechanism, fee_model: FeeModel, storage_wh: int, hour: int, max_trades: int) -> None:
        parameters = replace(
            PARAMETERS,
            market_mechanism=int(mechanism),
            grid_fee_model=int(fee_model),
            utc_offset_minutes=hour,
            max_period_trades=max_trades,
            max_open_orders=6,
        )
        genesis = make_genesis(
            HOMES, parameters, kinds=KINDS, storage_wh=storage_wh, with_gateway=True, feeders=FEEDERS
        )
        members = tuple(one if one.name == UTILITY else replace(one, grid_ugrid=RICH_UGRID) for one in genesis.members)
        supply = len(HOMES) * RICH_UGRID + genesis.grid_reserve_ugrid
        self.street = Neighbourhood(replace(genesis, members=members, grid_supply_ugrid=supply))
        self.registers = dict.fromkeys(HOMES, (0, 0))
        self.withheld: dict[str, list[Transaction]] = {home: [] for home in HOMES}
        self.accepted: dict[str, list[tuple[int, int]]] = {home: [] for home in HOMES}  # registers, in order
        self.suspended: set[str] = set()
        self.storage_wh = storage_wh
        self.minted_before = self.street.supply().votes_minted_mvote
        self.refusals: Counter[Refusal | None] = Counter()

    # deeds

    def act(self, name: str, payload: Payload) -> Refusal | None:
        street = self.street
        try:
            refused = street.refusal(street.sign(name, payload), producer=PRODUCER, after_ms=20)
        except Exception as error:  # what can never be valid makes the block invalid: it was said with its refusal
            if not isinstance(error.__cause__, TransactionRefused):
                raise
            refused = error.__cause__.refusal
        self.refusals[refused] += 1
        return refused

    @property
    def running(self) -> int:
        return self.street.time_ms // PERIOD_MS

    @rule(orders=st.lists(st.tuples(homes, sides, st.integers(1, 3), lots, ticks), min_size=2, max_size=8))
    def orders(self, orders: list[tuple[str, int, int, int, int]]) -> None:
        for name, side, ahead, lot_count, tick_count in orders:
            self.act(name, PlaceOrder(side, (self.running + ahead,), 10 * lot_count, 100 * tick_count))

    @rule(name=homes, side=st.sampled_from([1, 2]), first=st.integers(0, 3), count=st.integers(2, 4), tick=ticks)
    def strip(self, name: str, side: int, first: int, count: int, tick: int) -> None:
        periods = tuple(self.running + first + index for index in range(count))
        self.act(name, PlaceOrder(side, periods, 100, 100 * tick))

    @rule(name=homes, ahead=st.integers(1, 3), lot_count=st.integers(0, 60), tick=ticks)
    def quote(self, name: str, ahead: int, lot_count: int, tick: int) -> None:
        payload = ReplaceQuote(
            self.running + ahead, 10 * lot_count, 100 * tick, 10 * (60 - lot_count), 100 * (tick + 1 + lot_count % 3)
        )
        self.act(name, payload)

    @rule(name=homes, chosen=st.integers(0, 10**6))
    def cancel(self, name: str, chosen: int) -> None:
        own = [found for found, _ in OWN_ORDERS.scan(self.street.state, key(name))]
        if own:
            place = own[chosen % len(own)]
            reference = OrderReference(int.from_bytes(place[32:40], "big"), int.from_bytes(place[40:], "big"))
            self.act(name, CancelOrder((reference,)))

    @rule(
        name=homes,
        kind=st.integers(1, 3),
        price=st.sampled_from([0, 50_000, 100_000, 290_000]),
        shares=st.lists(st.tuples(homes, st.sampled_from([1, 2_500, 5_000])), max_size=2, unique_by=lambda one: one[0]),
        roles=st.integers(1, 3),
        others=st.lists(st.tuples(homes, st.integers(1, 3)), max_size=4),
    )
    def pool(
        self,
        name: str,
        kind: int,
        price: int,
        shares: list[tuple[str, int]],
        roles: int,
        others: list[tuple[str, int]],
    ) -> None:
        """Opened or changed, and joined."""
        state = self.street.state
        named = tuple(PoolShare(account, bps) for account, bps in sorted((key(one), bps) for one, bps in shares))
        own = [last_eight(number) for number, found in SHARING_POOLS.scan(state) if found.founder == key(name)]
        if own:
            self.act(name, SetPoolRule(own[-1], kind, price, named))
        else:
            self.act(name, OpenPool(f"pool-of-{name}", roles, kind, price, named))
        numbers = [last_eight(number) for number, _ in SHARING_POOLS.scan(self.street.state)]
        for other, other_roles in others:
            if numbers:
                self.act(other, JoinPool(numbers[-1], other_roles, 0, 300_000))

    @rule(name=homes)
    def leave(self, name: str) -> None:
        for _, membership in list(POOL_MEMBERSHIPS.scan(self.street.state, key(name))):
            self.act(name, LeavePool(membership.pool))

    @rule(
        seller=homes,
        limit_wh=st.sampled_from([100, 500, 1_000, 2_000]),
        price=st.sampled_from([50_000, 100_000, 200_000, 300_000, 500_000]),
        start=st.integers(0, 3),
        length=st.integers(1, 8),
        buyers=st.lists(st.tuples(homes, st.sampled_from([100, 300, 1_000])), max_size=3),
    )
    def contract(
        self, seller: str, limit_wh: int, price: int, start: int, length: int, buyers: list[tuple[str, int]]
    ) -> None:
        first = self.running + start
        self.act(seller, OfferContract(TemplateKind.RESIDENTIAL, limit_wh, first, first + length, price, ()))
        offers = [last_eight(number) for number, _ in CONTRACT_OFFERS.scan(self.street.state)]
        for buyer, wanted_wh in buyers:
            if offers:
                self.act(buyer, SubscribeContract(offers[-1], wanted_wh, 500_000))

    @rule(name=homes, chosen=st.integers(0, 10**6), price=st.sampled_from([None, 90_000, 110_000]))
    def end_or_change(self, name: str, chosen: int, price: int | None) -> None:
        offers = [last_eight(number) for number, _ in CONTRACT_OFFERS.scan(self.street.state)]
        if offers:
            offer = offers[chosen % len(offers)]
            self.act(name, EndContract(offer) if price is None else ChangeContractPrice(offer, price, ()))

    # time and meters

    @rule(
        periods=st.lists(st.tuples(*[st.tuples(energies, energies)] * len(HOMES)), min_size=2, max_size=4),
        blocks=st.integers(0, 4),
    )
    def periods_pass(self, periods: list[tuple[tuple[int, int], ...]], blocks: int) -> None:
        for used in periods:
            self.period_passes(used, set(), None, blocks)

    @rule(
        used=st.tuples(*[st.tuples(energies, energies)] * len(HOMES)),
        withhold=st.sets(homes, max_size=2),
        twice=st.sampled_from([None] * 12 + ["bob"]),
        blocks=st.integers(0, 4),
    )
    def one_passes(self, used: tuple[tuple[int, int], ...], withhold: set[str], twice: str | None, blocks: int) -> None:
        self.period_passes(used, withhold, twice, blocks)

    def period_passes(
        self, used: tuple[tuple[int, int], ...], withhold: set[str], twice: str | None, blocks: int
    ) -> None:
        street, period = self.street, self.running
        street.time_ms = (period + 1) * PERIOD_MS
        sent = []
        for home, (import_wh, export_wh) in zip(HOMES, used, strict=True):
            self.registers[home] = self.registers[home][0] + import_wh, self.registers[home][1] + export_wh
            reading = street.reading(home, period, *self.registers[home])
            if home in withhold:
                self.withheld[home].append(reading)
            elif home not in self.suspended:
                sent.append(reading)
                self.accepted[home].append(self.registers[home])
                self.withheld[home].clear()
        street.block(*sent, producer=PRODUCER, after_ms=20)
        if twice is not None and twice not in self.suspended and twice not in withhold:
            again = street.reading(twice, period, *self.registers[twice], sampled_at_ms=(period + 1) * PERIOD_MS + 1)
            (receipt,) = street.block(again, producer=PRODUCER, after_ms=20)
            assert receipt.note == "meter_suspended"
            self.suspended.add(twice)
        for _ in range(blocks):
            street.block(producer=PRODUCER, after_ms=500)

    @rule(home=homes, all_of_them=st.booleans())
    def comes_to_light(self, home: str, all_of_them: bool) -> None:
        """Readings that were withheld, as far as they are still accepted."""
        street = self.street
        readings, self.withheld[home] = self.withheld[home], []
        if home in self.suspended:
            return
        for reading in readings if all_of_them else readings[-1:]:
            if not street.is_invalid(reading, after_ms=20, producer=PRODUCER):
                street.block(reading, producer=PRODUCER, after_ms=20)
                payload: Any = reading.payload
                self.accepted[home].append((payload.import_wh - 50_000, payload.export_wh - 20_000))

    @rule(periods=st.sampled_from([0, 0, 0, 0, 0, 1, 3, 15]))
    def halt(self, periods: int) -> None:
        """Nothing happens for a while; fifteen periods are more than the acceptance window."""
        if not periods:
            return
        self.street.time_ms += periods * PERIOD_MS
        for _ in range(4):
            self.street.block(producer=PRODUCER, after_ms=20)

    # what must hold

    @invariant()
    def locks_are_what_the_open_orders_need(self) -> None:
        state = self.street.state
        for found, order in ORDERS.scan(state):
            period, side, _ = order_of_key(found)
            assert order.locked_uwatt == lock_uwatt(tariff_of(state, period), side, order.limit, order.left_wh)
            assert period >= next_period(state)

    @invariant()
    def escrow_is_what_the_trades_need(self) -> None:
        state = self.street.state
        for found, market in MARKET_PERIODS.scan(state):
            period = int.from_bytes(found, "big")
            trades = [trade for _, trade in TRADES.scan(state, found)]
            needed = sum(amount_uwatt(one.energy_wh, tariff_of(state, period).retail + one.rate) for one in trades)
            assert market.escrow_uwatt == (0 if period < next_period(state) else needed)
            assert market.trades == len(trades) <= self.street.parameters.max_period_trades
            assert all(one.seller != one.buyer for one in trades)

    @invariant()
    def no_feeder_carries_more_than_it_can(self) -> None:
        limits = {feeder.name: feeder.capacity_w // 4 for feeder in FEEDERS}
        for found, flow in FEEDER_FLOWS.scan(self.street.state):
            assert max(flow.out_wh, flow.into_wh) <= limits[found[8:].decode()]

    @invariant()
    def the_gateway_gives_what_comes_from_outside(self) -> None:
        for found, settled in SETTLED_PERIODS.scan(self.street.state):
            gateway_wh = settled.drawn_wh + settled.shortfall_wh - settled.fed_in_wh - settled.excess_wh
            assert gateway_wh == settled.import_wh - settled.export_wh
            origins = ORIGINS.get(self.street.state, found)
            certified_wh = sum(one.energy_wh for one in origins.certificates) if origins else 0
            assert certified_wh == settled.certified_wh <= min(settled.import_wh, settled.export_wh)

    def teardown(self) -> None:
        """All meters are read, all periods settled: then the bills have every Wh once, and nobody has a token more."""
        if not hasattr(self, "street"):
            return
        street = self.street
        self.halt(1)
        self.period_passes(((0, 0),) * len(HOMES), set(), None, 0)
        last = self.running
        while next_period(street.state) < last:
            street.block(producer=PRODUCER, after_ms=2_000)
        net_wh: Counter[bytes] = Counter()
        for found, line in BILL_LINES.scan(street.state):
            debtor, creditor, title = found[8:40], found[40:72], Title(found[72])
            assert title is not Title.PROPERTY
            net_wh[debtor] += line.energy_wh
            net_wh[creditor] -= line.energy_wh
        for home in HOMES:
            if home not in self.suspended:
                import_wh, export_wh = self.registers[home]
                assert net_wh[key(home)] == import_wh - export_wh, home
                assert not list(SILENCES.scan(street.state, key(home)))
                assert LONG_SILENCES.get(street.state, key(home)) is None
        assert self.minted() == street.supply().votes_minted_mvote - self.minted_before

    def minted(self) -> int:
        """By the rule, from the readings that were accepted."""
        total = 0
        for home, registers in self.accepted.items():
            stored_wh = before_in = before_out = 0
            for import_wh, export_wh in registers:
                grown_in, grown_out = import_wh - before_in, export_wh - before_out
                before_in, before_out = import_wh, export_wh
                held_wh = stored_wh + grown_in if self.storage_wh else 0
                given_back_wh = min(held_wh, grown_out)
                stored_wh = min(self.storage_wh, held_wh - given_back_wh)
                if KINDS.get(home) is not MeterKind.LOAD:
                    total += grown_out - given_back_wh
        return total


TestMarket = Market.TestCase
TestMarket.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)

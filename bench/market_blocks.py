"""What the market and the settlement take of a block, records read and written: for ``bench.market``.

A chain's state is made with 200 members: a period that is due, with 2,000 trades and everybody's readings, or a book of
1,000 orders at its gate closure. What a block does about it before its transactions is timed, from a state that has
read nothing yet to the changes that are to be stored.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from bench.market_streams import MEMBERS, SEED, TARIFF, TRADES, Quote, member, place_of, stream_of
from ledger.balances import take_watt
from ledger.execution import Execution, get_parameters
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember, genesis_changes
from ledger.keys import digest
from ledger.market.closing import close_books
from ledger.market.grid_fee import LOT_WH, TICK_UWATT_PER_KWH, Mechanism
from ledger.market.matching import Order, Side
from ledger.market.open_orders import Sale, lock_uwatt, put_order, record_sales
from ledger.parameters import Parameters
from ledger.records import (
    METERS,
    PERIOD_ENDS,
    READINGS,
    SETTLEMENT_PROGRESS,
    MeterKind,
    MeterRole,
    PeriodEnd,
    Reading,
    Role,
    SettlementProgress,
    height_key,
)
from ledger.settlement.periods import settle_due
from ledger.state import DictReader, State
from ledger.transactions import RegisterMeter

PERIOD_MS: Final = 900_000
PERIOD: Final = 2_000_000
WATT_UWATT: Final = 10**12
GATEWAY: Final = member(MEMBERS)
FEEDERS: Final = 4
ORDERS: Final = 1_000
"""Not more than what a block takes out of the books."""


def street(mechanism: Mechanism) -> DictReader:
    """200 members with a connection meter each, and a gateway."""
    members = [
        GenesisMember(
            account=member(number),
            name=f"home-{number}" if number < MEMBERS else "utility",
            roles=int(Role.GATEWAY if number == MEMBERS else Role.APPROVER),
            feeder=place_of(number).feeder,
            node_key=digest(b"node", member(number)) if number == 0 else None,
            watt_uwatt=WATT_UWATT,
            grid_ugrid=0,
            voting_rule=None,
        )
        for number in range(MEMBERS + 1)
    ]
    meters = [
        RegisterMeter(
            meter=meter_of(number),
            owner=member(number),
            kind=MeterKind.SOLAR,
            role=MeterRole.CONNECTION,
            import_nameplate_w=20_000,
            export_nameplate_w=20_000,
            storage_capacity_wh=0,
            import_wh=0,
            export_wh=0,
        )
        for number in range(MEMBERS)
    ]
    places = dict.fromkeys(place_of(number) for number in range(FEEDERS))
    genesis = Genesis(
        name="bench",
        time_ms=PERIOD * PERIOD_MS - 1_800_000,
        parameters=Parameters(market_mechanism=int(mechanism), max_open_orders=256),
        feeders=tuple(GenesisFeeder(place.feeder, place.substation, 10**8) for place in places),
        members=tuple(members),
        meters=tuple(meters),
        grid_supply_ugrid=0,
        grid_reserve_ugrid=0,
    )
    return DictReader({key: value for key, value in genesis_changes(genesis).items() if value is not None})


def meter_of(number: int) -> bytes:
    return digest(b"meter", member(number))


def due_period() -> DictReader:
    """With 2,000 trades, and everybody metered."""
    reader = street(Mechanism.CONTINUOUS)
    execution = execution_on(reader, height=2, time_ms=PERIOD * PERIOD_MS - 600_000)
    state, rng = execution.state, random.Random(SEED)
    sales = []
    for _ in range(TRADES):
        seller, buyer = rng.sample(range(MEMBERS), 2)
        price = rng.randint(1_000, 2_500) * TICK_UWATT_PER_KWH
        sales.append(Sale(member(seller), member(buyer), rng.randint(1, 20) * LOT_WH, price, 24_000))
    for account, due in record_sales(execution, PERIOD, TARIFF, sales).items():
        take_watt(state, account, due)
    for number in range(MEMBERS):
        key = meter_of(number)
        meter = METERS.get(state, key)
        assert meter is not None
        reading = Reading(
            transaction_id=digest(b"reading", key),
            import_wh=0,
            export_wh=0,
            sampled_at_ms=(PERIOD + 1) * PERIOD_MS,
            imported_wh=rng.randint(0, 900),
            exported_wh=rng.randint(0, 3_000) * (number % 3 == 0),
            periods=1,
            minted_mvote=0,
        )
        READINGS.put(state, reading, key, height_key(PERIOD))
    settled_before(execution)
    PERIOD_ENDS.put(state, PeriodEnd(height=3), height_key(PERIOD))
    reader.apply(state.changes())
    return reader


def settled_before(execution: Execution) -> None:
    """All periods before the one at hand count as settled."""
    SETTLEMENT_PROGRESS.put(execution.state, SettlementProgress(next_period=PERIOD))


def full_book(mechanism: Mechanism) -> DictReader:
    """A thousand orders of a hundred members a side, none of which has been matched."""
    reader = street(mechanism)
    execution = execution_on(reader, height=2, time_ms=PERIOD * PERIOD_MS - 600_000)
    for number, quote in enumerate(stream_of(ORDERS, SEED + 1)):
        order = order_of(number, quote)
        locked = lock_uwatt(TARIFF, order.side, order.limit, order.left_wh)
        take_watt(execution.state, order.member, locked)
        put_order(execution, PERIOD, order, order.left_wh, locked)
    settled_before(execution)
    reader.apply(execution.state.changes())
    return reader


def order_of(number: int, quote: Quote) -> Order:
    """Buyers and sellers are different members."""
    who = number % (MEMBERS // 2) + (MEMBERS // 2 if quote.side is Side.SELL else 0)
    limit, energy_wh = quote.price * TICK_UWATT_PER_KWH, quote.quantity * LOT_WH
    return Order(number + 1, member(who), place_of(who), quote.side, limit, energy_wh)


def execution_on(reader: DictReader, *, height: int, time_ms: int) -> Execution:
    state = State(reader)
    return Execution(state, get_parameters(state), b"bench", height, time_ms)


def settling(reader: DictReader) -> Callable[[], int]:
    """Settles the due period in a block; returns how many records change."""

    def run() -> int:
        execution = execution_on(reader, height=100, time_ms=(PERIOD + 1) * PERIOD_MS + 7_200_000)
        settle_due(execution)
        changes = execution.state.changes()
        assert len(execution.lines) > TRADES // 10
        return len(changes)

    return run


def closing(reader: DictReader) -> Callable[[], int]:
    """Closes the book in a block; returns how many records change."""

    def run() -> int:
        execution = execution_on(reader, height=100, time_ms=PERIOD * PERIOD_MS - 1_000)
        close_books(execution)
        return len(execution.state.changes())

    return run

"""The chain of the laboratory's neighbourhood: blocks on the real ledger, one every ``BLOCK_INTERVAL_MS``.

1. Each block's producer is the one drawn for view 0 (``consensus.draw``), who proves its beacon; the proof is verified.
   Every signature in the block is verified before it is executed. The committee of the parent has signed it.
2. The first block opens a sharing pool, proportional, in the middle between the utility's prices; the second has all
   homes in it. A block whose time is a period's end carries the readings of that period; the autopilots act on the
   state after it.
3. The run ends with the block that settles its last period, some two hours after that has ended: until then nobody
   reads meters or trades any more.
4. Every ``SAVED_BLOCKS`` blocks the state is written out, as bytes, and its sums are checked as a whole.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from consensus import vrf
from consensus.draw import beacon_alpha, draw_for, next_seed
from devnet.laboratory.neighbourhood.figures import Figures, PeriodFigures, figures_of, period_figures
from devnet.laboratory.neighbourhood.founding import Founding, found
from devnet.laboratory.neighbourhood.household import HORIZON_PERIODS, VALID_BLOCKS, Household
from devnet.laboratory.neighbourhood.setting import BLOCK_INTERVAL_MS, Setting, check_setting
from home.autopilot.types import Book, Terms, Totals, terms_of
from ledger.agreements import SHARING_POOLS, PoolRole
from ledger.block import BlockContext
from ledger.committee import committee_at
from ledger.conservation import check_all
from ledger.execute import PrescribedOrder, execute_onto
from ledger.execution import get_tip
from ledger.genesis import chain_id, genesis_changes
from ledger.market.grid_fee import to_tick
from ledger.market.matching import Side
from ledger.market.open_orders import best_first
from ledger.settlement.lines import next_period
from ledger.settlement.settle import PoolRule
from ledger.state import DictReader, State
from ledger.transactions import JoinPool, OpenPool, Transaction

SAVED_BLOCKS: Final = 288
"""A day of blocks."""

Advance = Callable[[int], None]
"""Told of each period that has been settled, counted from 1."""


@dataclass(slots=True)
class World:
    """A neighbourhood under way. Use ``run``."""

    setting: Setting
    founding: Founding
    chain: bytes
    terms: Terms
    households: tuple[Household, ...]
    reader: DictReader
    state: State
    first_period: int
    fees_uwatt: Counter[bytes] = field(default_factory=Counter)
    earned_uwatt: Counter[bytes] = field(default_factory=Counter)
    neighbourhood: dict[int, Totals] = field(default_factory=dict)
    settled: list[PeriodFigures] = field(default_factory=list)
    transactions: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    pool_price: int | None = None

    @property
    def end(self) -> int:
        """The first period that is not played."""
        return self.first_period + self.setting.periods


def run(setting: Setting, advance: Advance = lambda _: None) -> Figures:
    """Plays it. Errors: SettingError; BrokenInvariant, a defect of this program."""
    check_setting(setting)
    wall, cpu = time.perf_counter(), time.process_time()
    world = _begin(setting)
    waiting = _found_pool(world) if setting.has_pool else []
    for height in count(1):
        waiting = _block(world, height, waiting)
        if height == 1 and setting.has_pool:
            waiting = _join_pool(world)
        if _note_settled(world, advance):
            break
        if height % SAVED_BLOCKS == 0:
            _save(world)
    _save(world)
    return figures_of(
        setting=setting,
        residents=world.founding.residents,
        state=world.state,
        periods=world.settled,
        histories=[home.history for home in world.households],
        fees_uwatt=world.fees_uwatt,
        earned_uwatt=world.earned_uwatt,
        transactions=world.transactions,
        refused=world.refused,
        pool_price=world.pool_price,
        blocks=get_tip(world.state).height,
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
    )


def _begin(setting: Setting) -> World:
    founding = found(setting)
    genesis, parameters = founding.genesis, founding.genesis.parameters
    chain, terms = chain_id(genesis), terms_of(parameters)
    first_period = genesis.time_ms // parameters.period_ms
    reader = DictReader({})
    reader.apply(genesis_changes(genesis))
    households = tuple(Household(one, chain, parameters, terms, first_period) for one in founding.residents)
    return World(setting, founding, chain, terms, households, reader, State(reader), first_period)


def _block(world: World, height: int, waiting: list[Transaction]) -> list[Transaction]:
    """Makes and executes the block; returns what the homes answer, for the next one."""
    time_ms = world.founding.genesis.time_ms + height * BLOCK_INTERVAL_MS
    ended, into_period = divmod(time_ms, world.terms.period_ms)
    reads = into_period == 0 and world.first_period < ended <= world.end
    readings = [home.measure(ended - 1) for home in world.households] if reads else []
    context = _context(world, height, time_ms)
    order = PrescribedOrder(context.beacon)
    transactions = sorted((*readings, *waiting), key=order.key)
    assert all(transaction.has_valid_signature() for transaction in transactions)
    result = execute_onto(world.state, context, transactions)
    for receipt, transaction in zip(result.receipts, transactions, strict=True):
        world.transactions[transaction.kind.word] += 1
        world.fees_uwatt[transaction.sender] += receipt.fee_uwatt
        world.earned_uwatt[context.producer] += receipt.fee_uwatt
        if receipt.refusal is not None:
            world.refused[receipt.refusal] += 1
    return list(_answers(world, ended)) if reads and ended < world.end and world.setting.traded else []


def _found_pool(world: World) -> list[Transaction]:
    """The first home opens a pool whose price leaves buyer and seller the same gain over the utility."""
    terms = world.terms
    world.pool_price = to_tick((terms.feed_in + terms.retail - terms.usual_fee) // 2)
    payload = OpenPool(
        name="neighbours",
        roles=int(PoolRole.PRODUCER | PoolRole.CONSUMER),
        rule=int(PoolRule.PROPORTIONAL),
        price_uwatt_per_kwh=world.pool_price,
        shares=(),
    )
    return [world.households[0].sign(payload, VALID_BLOCKS)]


def _join_pool(world: World) -> list[Transaction]:
    """All others join it, at no other price than its first one."""
    ((key, _),) = SHARING_POOLS.scan(world.state)
    assert world.pool_price is not None
    payload = JoinPool(
        pool=int.from_bytes(key, "big"),
        roles=int(PoolRole.PRODUCER | PoolRole.CONSUMER),
        lowest_uwatt_per_kwh=world.pool_price,
        highest_uwatt_per_kwh=world.pool_price,
    )
    return [home.sign(payload, VALID_BLOCKS) for home in world.households[1:]]


def _context(world: World, height: int, time_ms: int) -> BlockContext:
    state = world.state
    draw = draw_for(state, height)
    producer = draw.leader_account(0)
    node = next(one.node for one in world.founding.residents if one.id == producer)
    alpha = beacon_alpha(world.chain, draw.seed, height, 0)
    beta = vrf.verify(node.public_key, alpha, vrf.prove(node.seed, alpha))
    signers = (
        frozenset(member.account for member in committee_at(state, height - 1).members) if height > 1 else frozenset()
    )
    return BlockContext(
        chain_id=world.chain,
        height=height,
        time_ms=time_ms,
        producer=producer,
        skipped=(),
        signers=signers,
        committee=signers,
        beacon=beta,
        seed=next_seed(draw.seed, beta),
    )


def _answers(world: World, period: int) -> Iterator[Transaction]:
    """What the autopilots that are due in ``period``, which begins now, do on the state after the block."""
    books = _books(world)
    for home in world.households:
        if home.is_due(period):
            yield from home.act(world.state, books, world.neighbourhood, world.pool_price)


def _books(world: World) -> dict[int, Book]:
    """The best of each side of the books that autopilots look at."""
    first = world.terms.next_open_period(get_tip(world.state).time_ms)
    return {
        period: Book(bids=_best(world.state, period, Side.BUY), asks=_best(world.state, period, Side.SELL))
        for period in range(first, first + HORIZON_PERIODS)
    }


def _best(state: State, period: int, side: Side) -> tuple[tuple[int, int], ...]:
    best = next(best_first(state, period, side), None)
    return () if best is None else ((best.limit, best.left_wh),)


def _note_settled(world: World, advance: Advance) -> bool:
    """Takes down what the block has settled; True if that was the last period."""
    period = world.first_period + len(world.settled)
    if next_period(world.state) == period:
        return False
    found = period_figures(world.state, period)
    world.settled.append(found)
    world.neighbourhood[period] = Totals(found.export_wh, found.import_wh)
    advance(len(world.settled))
    return len(world.settled) == world.setting.periods


def _save(world: World) -> None:
    """Rule 4. Errors: BrokenInvariant."""
    world.reader.apply(world.state.changes())
    check_all(world.reader)
    world.state = State(world.reader)

"""Much for little: orders by the thousand for one fee, readings without any, and two readings where there is one.

What a block has to do is counted in units of work and in Python function calls, never in seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytest

from ledger import execute, execution
from ledger.block import InvalidBlock
from ledger.execute import PrescribedOrder, admit, execute_block, select_transactions
from ledger.genesis import GenesisFeeder
from ledger.records import ORDERS
from ledger.refusal import Refusal, TransactionRefused
from ledger.transactions import CancelOrder, OrderReference, PlaceOrder, Transaction
from node.mempool import MAX_READINGS_PER_METER, Mempool
from tests.adversary.economics.world import (
    BUY,
    FEE_UWATT,
    PRODUCER,
    RETAIL,
    SAME_FEEDER_FEE,
    SELL,
    STEP_MS,
    World,
    kwh,
)
from tests.ledger.neighbourhood import WATT_UWATT, seeded_key

STRIP = 90
MAX_BLOCK_WORK, MAX_TRANSACTION_WORK, MAX_WAITING_WORK = 1_024, 512, 128
"""An eighth of the real ones, so that these tests are quick."""
CALLS_PER_UNIT = 300
"""What a unit of work may cost; a transfer has some 120."""


def strips(world: World, name: str, side: int, count: int, limit: int, *, nonce: int = 0) -> list[Transaction]:
    """Orders of one lot in each of the next periods, all at once."""
    periods = tuple(range(world.running + 2, world.running + 2 + STRIP))
    return [
        world.street.sign(name, PlaceOrder(side, periods, 10, limit), nonce=nonce + number) for number in range(count)
    ]


def selected(world: World, offered: Sequence[Transaction]) -> tuple[list[Transaction], int]:
    """What a producer puts into the next block, which is committed, and how many Python functions that called."""
    context = world.street.context(PRODUCER, after_ms=STEP_MS)
    calls = 0

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        taken, result = select_transactions(world.street.reader, context, offered, 10**6, 10**4)
    finally:
        sys.setprofile(None)
    world.street.commit(context, result)
    return taken, calls


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, limit in (
        (execute, "MAX_BLOCK_WORK", MAX_BLOCK_WORK),
        (execute, "MAX_WAITING_WORK", MAX_WAITING_WORK),
        (execution, "MAX_TRANSACTION_WORK", MAX_TRANSACTION_WORK),
    ):
        assert getattr(module, name) == 8 * limit
        monkeypatch.setattr(module, name, limit)


@pytest.mark.usefixtures("small_limits")
class TestOrders:
    def test_a_block_has_only_so_many_whoever_makes_it(self) -> None:
        """Twenty strips are 1,800 orders for a fiftieth of a WATT, which a producer pays to itself."""
        world = World(max_open_orders=256)
        offered = strips(world, "bob", SELL, 20, RETAIL)
        taken, calls = selected(world, offered)
        fit = -(-MAX_BLOCK_WORK // STRIP)
        assert taken == offered[:fit]
        assert calls <= CALLS_PER_UNIT * fit * STRIP
        # When a producer puts all of them into a block, then it is none
        again = World(max_open_orders=256)
        with pytest.raises(InvalidBlock, match="too_much_work"):
            execute_block(again.street.reader, again.street.context(PRODUCER), offered)

    def test_what_was_left_out_is_for_the_next_block(self) -> None:
        world = World(max_open_orders=256)
        offered = strips(world, "bob", SELL, 20, RETAIL)
        first, _ = selected(world, offered)
        second, _ = selected(world, offered[len(first) :])
        assert first + second == offered

    def test_to_cross_them_all_is_as_much_work(self) -> None:
        world = World(max_open_orders=256)
        selected(world, strips(world, "bob", SELL, 4, RETAIL))
        taken, calls = selected(world, strips(world, "carla", BUY, 20, RETAIL))
        units = 2 * STRIP * 4 + STRIP * (len(taken) - 4)
        assert MAX_BLOCK_WORK <= units <= MAX_BLOCK_WORK + STRIP
        assert calls <= CALLS_PER_UNIT * units

    def test_cancelling_is_work_too(self) -> None:
        world = World(max_open_orders=256)
        placed = strips(world, "bob", SELL, 11, RETAIL)
        selected(world, placed)
        names = [
            OrderReference(int.from_bytes(key[:8], "big"), int.from_bytes(key[17:], "big"))
            for key, _ in ORDERS.scan(world.street.state)
        ]
        parts = [tuple(names[first : first + 96]) for first in range(0, len(names), 96)]
        cancels = [world.street.sign("bob", CancelOrder(part), nonce=11 + index) for index, part in enumerate(parts)]
        more = strips(world, "carla", SELL, 11, RETAIL)
        taken, calls = selected(world, [*cancels, *more])
        assert 0 < len(taken) < len(cancels) + len(more)
        assert calls <= CALLS_PER_UNIT * (MAX_BLOCK_WORK + 96)

    def test_one_transaction_cannot_empty_a_hundred_deep_books(self) -> None:
        """One strip meets all that others have offered in 90 periods: refused, and nothing has happened but its fee."""
        world = World(max_open_orders=256)
        depth = MAX_TRANSACTION_WORK // STRIP
        selected(world, strips(world, "bob", SELL, depth, RETAIL))
        before = world.street.account("carla").watt_uwatt
        periods = tuple(range(world.running + 2, world.running + 2 + STRIP))
        sweep = PlaceOrder(BUY, periods, 10 * depth, RETAIL)
        assert world.act("carla", sweep) is Refusal.TOO_MUCH_WORK
        assert world.street.account("carla").watt_uwatt == before - FEE_UWATT
        half = PlaceOrder(BUY, periods[: STRIP // 2], 10 * depth, RETAIL)
        assert world.act("carla", half) is None

    def test_makers_that_cannot_deliver_are_work_for_who_walks_past_them(self) -> None:
        """Where a feeder is full every order walks past all the offers behind it, and gets nothing."""
        narrow = (GenesisFeeder("feeder-1", "S", 40), GenesisFeeder("feeder-2", "S", 400_000))
        world = World(max_open_orders=256, feeders=narrow)
        world.trade("carla", "bob", world.running + 2, 10, RETAIL)
        offers = [PlaceOrder(SELL, (world.running + 2,), 10, RETAIL - 100 * number) for number in range(100)]
        selected(world, [world.street.sign("carla", one, nonce=1 + index) for index, one in enumerate(offers)])
        looks = [PlaceOrder(BUY, (world.running + 2,), 10, RETAIL) for _ in range(60)]
        taken, calls = selected(
            world, [world.street.sign("bob", one, nonce=1 + index) for index, one in enumerate(looks)]
        )
        assert len(taken) == -(-MAX_BLOCK_WORK // 101)
        assert calls <= CALLS_PER_UNIT * (MAX_BLOCK_WORK + 101)

    def test_a_door_does_not_repeat_what_waits(self) -> None:
        """A node tries what is new after all that waits of the sender: many strips each time would be work for all but
        the sender.
        """
        world = World(max_open_orders=256)
        street = world.street
        offered = strips(world, "bob", SELL, 64, RETAIL)

        def calls_of(number: int) -> int:
            calls = 0

            def count(_: FrameType, event: str, __: Any) -> None:
                nonlocal calls
                calls += event == "call"

            sys.setprofile(count)
            try:
                admit(
                    street.reader,
                    street.chain_id,
                    offered[number],
                    height=street.height + 1,
                    time_ms=street.time_ms,
                    waiting=offered[:number],
                )
            finally:
                sys.setprofile(None)
            return calls

        assert calls_of(63) <= CALLS_PER_UNIT * (MAX_WAITING_WORK + STRIP)

    def test_open_orders_are_few_for_each_member_and_period(self) -> None:
        world = World(max_open_orders=4)
        period = world.running + 2
        assert [world.order("bob", SELL, period, 10, RETAIL) for _ in range(5)] == [None] * 4 + [
            Refusal.TOO_MANY_ORDERS
        ]

    def test_closing_a_book_with_tiny_trades_costs_fees_for_each_and_closes_it_to_oneself(self) -> None:
        """Two of one purse fill a period with as many trades as it may have, so that nobody else can trade in it."""
        most = 40
        world = World(max_open_orders=256, max_period_trades=most)
        period = world.running + 2
        for name, side in (("bob", SELL), ("carla", BUY)):
            orders = [PlaceOrder(side, (period,), 10, RETAIL)] * most
            world.street.block(
                *(world.street.sign(name, one, nonce=index) for index, one in enumerate(orders)),
                producer=PRODUCER,
                after_ms=STEP_MS,
            )
        assert world.order("bob", SELL, period, 10, RETAIL) is Refusal.TOO_MANY_TRADES
        world.pass_period()
        world.pass_period()
        world.pass_period({"bob": (0, 10 * most), "carla": (10 * most, 0)})
        world.settle(period)
        lost = 2 * WATT_UWATT - world.purse_uwatt("bob", "carla")
        assert lost == most * (2 * FEE_UWATT + kwh(10, SAME_FEEDER_FEE)) + FEE_UWATT


class TestReadings:
    def test_the_same_twice_is_one(self) -> None:
        world = World()
        period = world.pass_period({"bob": (100, 200)})
        again = world.street.reading("bob", period, 100, 200)
        assert world.street.admission(again) is Refusal.DUPLICATE
        assert world.street.is_invalid(again)
        world.settle(period)
        assert world.votes_mvote("bob") == 200

    def test_two_that_differ_suspend_the_meter_and_change_nothing_else(self) -> None:
        """The one with more energy comes second, to be paid for both."""
        world = World()
        period = world.pass_period({"bob": (100, 200)})
        second = world.street.reading("bob", period, 100, 2_000)
        (receipt,) = world.street.block(second, producer=PRODUCER, after_ms=STEP_MS)
        assert receipt.note == "meter_suspended"
        assert world.order("bob", SELL, world.running + 2, 10, RETAIL) is Refusal.METER_SUSPENDED
        third = world.street.reading("bob", period + 1, 100, 4_000, sampled_at_ms=(period + 2) * 10_000)
        world.street.time_ms = (period + 2) * 10_000
        assert world.street.is_invalid(third)
        world.settle(period)
        assert world.votes_mvote("bob") == 200
        assert not world.street.meter("carla").suspended

    def test_a_thousand_different_ones_are_two_in_a_block(self) -> None:
        """Readings pay no fee: a meter's key that signs one after another gets one in, one as evidence, and no more."""
        world = World()
        period = world.running
        world.street.time_ms = (period + 1) * 10_000
        flood = [world.street.reading("bob", period, import_wh, 0) for import_wh in range(1_000)]
        taken, _ = selected(world, flood)
        assert len(taken) == 2
        assert world.street.meter("bob").suspended
        assert selected(world, flood)[0] == []

    def test_few_wait_at_a_node(self) -> None:
        world = World()
        period = world.running
        mempool = Mempool()
        for import_wh in range(MAX_READINGS_PER_METER):
            mempool.add(world.street.reading("bob", period, import_wh, 0))
        with pytest.raises(TransactionRefused, match="sender_queue_full"):
            mempool.add(world.street.reading("bob", period, MAX_READINGS_PER_METER, 0))

    def test_those_of_keys_that_are_no_meters_stay_outside(self) -> None:
        world = World()
        period = world.running
        world.street.time_ms = (period + 1) * 10_000
        strangers = [world.street.reading("bob", period, 0, 0, key=seeded_key("stranger", n)) for n in range(20)]
        assert {world.street.admission(one) for one in strangers} == {Refusal.UNKNOWN_METER}
        assert selected(world, strangers)[0] == []

    def test_none_comes_before_its_time_or_after_a_day(self) -> None:
        world = World()
        running = world.running
        assert world.street.admission(world.street.reading("bob", running, 0, 0)) is Refusal.PERIOD_NOT_ENDED
        missed = world.street.reading("bob", running, 0, 0)
        world.street.time_ms += world.street.parameters.acceptance_window_ms + 20_000
        assert world.street.is_invalid(missed)

    def test_in_prescribed_order_there_is_nothing_to_choose(self) -> None:
        """Which of two readings counts is decided by their ids, not by who makes the block."""
        world = World()
        period = world.running
        world.street.time_ms = (period + 1) * 10_000
        pair = [world.street.reading("bob", period, import_wh, 0) for import_wh in (1, 2)]
        context = world.street.context(PRODUCER, after_ms=STEP_MS)
        ordered = sorted(pair, key=PrescribedOrder(context.beacon).key)
        with pytest.raises(InvalidBlock, match="order"):
            execute_block(world.street.reader, context, ordered[::-1])

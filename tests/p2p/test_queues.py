"""A queue that never makes its producer wait."""

from __future__ import annotations

import pytest
import trio

from p2p.queues import DroppingQueue


@pytest.mark.trio
async def test_items_come_out_in_order_and_the_oldest_are_dropped() -> None:
    queue = DroppingQueue[int](3)
    assert [queue.put(number) for number in range(5)] == [True, True, True, False, False]
    assert (queue.dropped, len(queue)) == (2, 3)
    assert [await anext(queue) for _ in range(3)] == [2, 3, 4]


@pytest.mark.trio
async def test_a_waiting_consumer_is_woken(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    queue = DroppingQueue[int](1)
    received: list[int] = []

    async def consume() -> None:
        received.extend([item async for item in queue])

    nursery.start_soon(consume)
    for number in range(3):
        await trio.testing.wait_all_tasks_blocked()
        assert queue.put(number)  # there was room: the consumer took the last one
    queue.close()
    await trio.testing.wait_all_tasks_blocked()
    assert received == [0, 1, 2]


@pytest.mark.trio
async def test_what_is_left_at_the_end_is_taken_and_nothing_is_added() -> None:
    queue = DroppingQueue[int](3)
    queue.put(1)
    queue.close()
    queue.put(2)
    assert [item async for item in queue] == [1]
    assert [item async for item in queue] == []

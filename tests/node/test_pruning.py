"""A pruned node keeps a window, bit by bit, and sync goes to who has the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from node.log import get
from node.pruning import PAUSE_S, PRUNED_AT_ONCE, Pruner
from storage.memory import MemoryChain
from tests.storage.sample import assert_whole, grow

pytestmark = pytest.mark.trio
KEPT = 10


def pruner(store: MemoryChain, keep: int, pieces: list[int]) -> Pruner:
    async def write(piece: Callable[[], None]) -> None:
        await trio.lowlevel.checkpoint()
        piece()
        pieces.append(store.prune_floor())

    return Pruner(store, keep, write, get("test"))


async def test_what_is_older_than_the_window_goes_a_bounded_piece_at_a_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, pieces = MemoryChain(), list[int]()
    grow(store, 200)
    subject = pruner(store, KEPT, pieces)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.run)
        await trio.sleep(10 * PAUSE_S)
        assert pieces == [PRUNED_AT_ONCE, 2 * PRUNED_AT_ONCE, 200 - KEPT]
        assert store.block(200 - KEPT) is not None
        # When a block is added, one goes
        grow(store, 1)
        subject.wake()
        await trio.sleep(PAUSE_S)
        assert store.prune_floor() == 201 - KEPT
        nursery.cancel_scope.cancel()


async def test_an_archive_keeps_everything(autojump_clock: trio.testing.MockClock) -> None:
    store, pieces = MemoryChain(), list[int]()
    grow(store, 50)
    with trio.move_on_after(5):
        await pruner(store, 0, pieces).run()
    assert pieces == []
    assert assert_whole(store) == 49

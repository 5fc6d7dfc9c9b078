"""Services that fail start again, more and more slowly; what must not go on ends the node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio

from consensus.engine import FinalBlockInvalid
from ledger.block import BrokenInvariant
from node.log import get
from node.services import LONGEST_PAUSE_S, WELL_AFTER_S, Services
from storage.errors import Damaged, DiskFailed, VoteConflict

pytestmark = pytest.mark.trio


async def run_for(seconds: float, service: Callable[[], Awaitable[None]]) -> Services:
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            services = Services(nursery, get("test"))
            services.start("one", service)
    return services


async def test_a_service_that_fails_starts_again_with_longer_and_longer_pauses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    starts: list[float] = []

    async def fails() -> None:
        starts.append(trio.current_time())
        raise RuntimeError("a defect")

    services = await run_for(200, fails)
    pauses = [after - before for before, after in pairwise(starts)]
    assert pauses[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert max(pauses) == pytest.approx(LONGEST_PAUSE_S)
    assert services.restarts == {"one": len(starts)}


async def test_who_ran_well_for_a_while_starts_again_at_once(autojump_clock: trio.testing.MockClock) -> None:
    starts: list[float] = []

    async def fails_late() -> None:
        starts.append(trio.current_time())
        await trio.sleep(WELL_AFTER_S + 1)
        raise RuntimeError("a defect")

    await run_for(5 * WELL_AFTER_S, fails_late)
    pauses = [after - before - WELL_AFTER_S - 1 for before, after in pairwise(starts)]
    assert pauses == pytest.approx([0.1] * len(pauses))


async def test_a_service_that_returns_is_started_again(autojump_clock: trio.testing.MockClock) -> None:
    count = 0

    async def returns() -> None:
        nonlocal count
        count += 1
        await trio.lowlevel.checkpoint()

    services = await run_for(10, returns)
    assert count == services.restarts["one"] > 3


async def test_other_services_do_not_notice(autojump_clock: trio.testing.MockClock) -> None:
    ticks = 0

    async def fails() -> None:
        raise RuntimeError("a defect")

    async def ticks_on() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await trio.sleep(1)

    with trio.move_on_after(10.5):
        async with trio.open_nursery() as nursery:
            services = Services(nursery, get("test"))
            services.start("bad", fails)
            services.start("good", ticks_on)
    assert ticks == 11
    assert "good" not in services.restarts


FATAL = [
    BrokenInvariant("a sum"),
    FinalBlockInvalid("height 3"),
    Damaged("here", "a page"),
    DiskFailed("here", "EIO"),
    VoteConflict(1, 0, 1),
    ExceptionGroup("several", [RuntimeError("a defect"), ExceptionGroup("inner", [BrokenInvariant("a sum")])]),
]


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
async def test_what_must_not_go_on_ends_everything(autojump_clock: trio.testing.MockClock, error: Exception) -> None:
    async def fails() -> None:
        raise error

    with pytest.raises(ExceptionGroup) as raised:
        await run_for(10, fails)
    assert repr(raised.value.exceptions) == repr((error,))


async def test_a_group_of_harmless_errors_is_restarted(autojump_clock: trio.testing.MockClock) -> None:
    async def fails() -> None:
        raise ExceptionGroup("several", [RuntimeError("a defect"), KeyError("another")])

    services = await run_for(1, fails)
    assert services.restarts["one"] >= 2

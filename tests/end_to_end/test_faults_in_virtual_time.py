"""Whole nodes, in virtual time: clocks that are wrong or jump, and a home that was away for a week."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path

import pytest
import trio

from ledger.records import CANDIDATES, Candidate, CandidateStatus
from ledger.state import State
from node.configuration import Configuration, override
from node.node import Node
from p2p.simulated import SimulatedSwitch
from storage.memory import MemoryChain
from tests.support.chain import NAMES, PARAMETERS, Chain
from tests.support.disk import copy_chain
from tests.support.nodes import Neighbourhood, neighbourhood

pytestmark = [pytest.mark.trio, pytest.mark.slow, pytest.mark.timeout(600)]

OTHERS = ("anne", "bob", "carla")
WEEK_MS = 7 * 86_400_000
HOUR_MS = 3_600_000
"""Between the week's blocks, so that it fits into a test; how fast blocks are fetched, ``make catch-up`` measures."""
LEVEL_WITHIN_S = 60.0


def candidate(homes: Neighbourhood, name: str) -> Candidate:
    found = CANDIDATES.get(State(homes.homes["anne"].store), homes.homes[name].home.id)
    assert found is not None
    return found


def running(homes: Neighbourhood, name: str) -> Node:
    node = homes.homes[name].node
    assert node is not None
    return node


def warns_of_clock(node: Node) -> bool:
    return any("this clock differs" in one for one in node.live().warnings)


@pytest.mark.parametrize("skew_ms", [30_000, -30_000])
async def test_a_clock_thirty_seconds_off_is_warned_of_and_holds_nobody_up(
    autojump_clock: trio.testing.MockClock, skew_ms: int
) -> None:
    async with neighbourhood(seed=31, start=OTHERS) as homes:
        # Given george's clock is half a minute off
        george = await homes.start("george", override(Configuration(), "node", clock_skew_ms=skew_ms))
        began_s = trio.current_time()
        await homes.until_height(15)
        # Then blocks come as they should, and george has them and votes on them
        interval_s = PARAMETERS.block_interval_ms / 1000
        assert trio.current_time() - began_s < 15 * interval_s * 1.5
        assert george.live().votes
        # And it is he who is told, and nobody else
        assert warns_of_clock(george)
        assert abs((george.live().clock_offset_ms or 0) + skew_ms) < 1_000
        assert not any(warns_of_clock(running(homes, name)) for name in OTHERS)
        # And he is no liar: turns of his may pass, but nobody takes him for one
        assert candidate(homes, "george").status != CandidateStatus.EXPELLED
        assert all(candidate(homes, name).missed_total == 0 for name in OTHERS)
        # When his clock is right again
        await homes.kill("george")
        await homes.start("george")
        # Then he rejoins by himself, and makes blocks
        produced = candidate(homes, "george").produced_total
        await homes.until(lambda: candidate(homes, "george").status == CandidateStatus.ACTIVE, within_s=300)
        await homes.until(lambda: candidate(homes, "george").produced_total > produced, within_s=300)
        assert not running(homes, "george").live().warnings


async def test_a_clock_that_jumps_while_the_node_runs_harms_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=32, start=OTHERS) as homes:
        right, jump_ms = homes.wall_ms, [0]
        homes.wall_ms = lambda: right() + jump_ms[0]  # type: ignore[method-assign]  # of the home started next
        george = await homes.start("george")
        homes.wall_ms = right  # type: ignore[method-assign]
        await homes.until_height(3)
        # When it is set forwards, far back, and right again, while blocks are being made
        for jumped_ms in (30_000, -3_600_000, 0):
            jump_ms[0] = jumped_ms
            height = homes.homes["anne"].height
            began_s = trio.current_time()
            # Then everybody, george too, has the next blocks in time
            await homes.until_height(height + 6)
            assert trio.current_time() - began_s < 6 * PARAMETERS.block_interval_ms / 1000 * 2
            assert warns_of_clock(george) is (jumped_ms != 0)
        # And once it is right he is as good as any
        await homes.until(lambda: candidate(homes, "george").status == CandidateStatus.ACTIVE, within_s=300)
        assert george.live().votes
        assert {len({one.store.block_hash(height) for one in homes.homes.values()}) for height in range(1, 15)} == {1}


@asynccontextmanager
async def after_a_week(chain: Chain, behind: str, behind_at: int) -> AsyncIterator[Neighbourhood]:
    """The homes of ``chain`` with its blocks on their disks, but for one that stopped at ``behind_at``; none runs."""
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            switch = SimulatedSwitch(33, None)
            await nursery.start(switch.run)  # type: ignore[arg-type]  # trio-typing's stubs
            homes = Neighbourhood(nursery, switch, chain.genesis, Path(directory))
            tip_ms = chain.blocks[-1].block.header.time_ms
            homes._began_s -= (tip_ms - chain.genesis.time_ms) / 1000
            stores = {height: MemoryChain() for height in (behind_at, chain.height)}
            for height, store in stores.items():
                copy_chain(chain, store, height)
            for name, home in homes.homes.items():
                home.store = deepcopy(stores[behind_at if name == behind else chain.height])
                home.journal.trust(home.home.node.public_key)
            yield homes
            nursery.cancel_scope.cancel()


async def test_a_home_that_was_away_for_a_week_is_level_within_a_minute_and_votes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Given a week's blocks that bob did not sign, in whose turns he was skipped
    chain = Chain(NAMES)
    others = [name for name in NAMES if name != "bob"]
    for _ in range(5):
        chain.produce()
    week_over_ms = chain.blocks[-1].block.header.time_ms + WEEK_MS
    while chain.blocks[-1].block.header.time_ms < week_over_ms:
        view = next(view for view in range(4) if chain.leader(view).name != "bob")
        chain.produce(view=view, signers=others, time_ms=chain.blocks[-1].block.header.time_ms + HOUR_MS)
    assert chain.candidate("bob").status == CandidateStatus.SUSPENDED
    async with after_a_week(chain, "bob", 5) as homes:
        for name in others:
            await homes.start(name)
        # When his node is started again
        bob = await homes.start("bob")
        began_s = trio.current_time()
        # Then it has the whole week within a minute, and votes
        await homes.until(lambda: homes.homes["bob"].height >= chain.height, within_s=LEVEL_WITHIN_S)
        await homes.until(lambda: bob.live().votes, within_s=LEVEL_WITHIN_S - (trio.current_time() - began_s))
        # And he rejoins by himself and makes blocks again
        await homes.until(lambda: candidate(homes, "bob").status == CandidateStatus.ACTIVE, within_s=300)
        produced = candidate(homes, "bob").produced_total
        await homes.until(lambda: candidate(homes, "bob").produced_total > produced, within_s=300)

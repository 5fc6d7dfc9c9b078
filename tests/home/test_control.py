"""Breaker and shedding follow what the node says, and stand while it says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from devnet.making import free_ports
from home.breaker import Decision
from home.control import Control
from node.client.client import NodeClient
from node.clock import system_wall_ms
from tests.home.lone_home import METER_KEY, LoneHome, until

TEST_WITHIN_S = 60
ORDER = ("non_essential", "heating_and_cooling", "essential")


@pytest.mark.trio
async def test_the_decision_is_told_once_and_stands_while_the_node_is_away(tmp_path: Path) -> None:
    told: list[tuple[Decision, tuple[str, ...]]] = []
    home = LoneHome(tmp_path, free_ports(1)[0])

    def hear(decision: Decision, order: tuple[str, ...]) -> None:
        told.append((decision, order))

    with trio.fail_after(TEST_WITHIN_S):
        async with NodeClient(home.url) as client, trio.open_nursery() as nursery:
            # Given a node that is away: nothing is decided
            control = Control(client, METER_KEY.public_key, "residential", system_wall_ms, hear)
            nursery.start_soon(control.run)
            await trio.testing.wait_all_tasks_blocked(0.2)
            assert (control.decision, told) == (None, [])
            # When it answers, and periods pass
            async with home.running():
                control.wake()
                await until(lambda: bool(told))
                control.wake()
                await home.until_height(home.height + 3)
            # And it is away again
            control.wake()
            await trio.testing.wait_all_tasks_blocked(0.2)
            nursery.cancel_scope.cancel()
    # Then it was told once, with the template's order, and stands
    assert told == [(Decision(False, (), "nothing is overdue, the feeder has room"), ORDER)]
    assert control.decision == told[0][0]


@pytest.mark.trio
async def test_an_unknown_meter_decides_nothing(tmp_path: Path) -> None:
    home = LoneHome(tmp_path, free_ports(1)[0])
    with trio.fail_after(TEST_WITHIN_S):
        async with home.running(), NodeClient(home.url) as client, trio.open_nursery() as nursery:
            control = Control(client, b"x" * 32, "commercial", system_wall_ms, lambda *_: None)
            nursery.start_soon(control.run)
            await home.until_height(2)
            assert control.decision is None
            nursery.cancel_scope.cancel()

"""Nodes for tests: each runs in the test's nursery and ends with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio

from p2p.libp2p import LibP2PNetwork
from p2p.limits import Limits
from p2p.network import Connected
from tests.p2p.hostile import seed

StartNode = Callable[..., Awaitable[LibP2PNetwork]]

NO_RECOVERY = Limits(score_recovery_per_minute=0)
"""Scores that stand still can be compared."""
LOOPBACK = "/ip4/127.0.0.1/tcp/0"


@pytest.fixture
async def start_node(nursery: trio.Nursery) -> StartNode:
    """Starts a node on the loopback interface; ``prepare`` is called before it runs."""

    async def start(
        name: str,
        bootstrap: Sequence[LibP2PNetwork] = (),
        limits: Limits | None = None,
        state_path: Path | None = None,
        prepare: Callable[[LibP2PNetwork], None] = lambda _: None,
    ) -> LibP2PNetwork:
        addresses = [address for other in bootstrap for address in other.addresses()]
        network = LibP2PNetwork(seed(name), [LOOPBACK], addresses, state_path, limits or NO_RECOVERY)
        prepare(network)
        await nursery.start(network.run)
        with trio.fail_after(10):
            for other in bootstrap:
                await connected(network, other.peer_id)
        return network

    return start


async def connected(network: LibP2PNetwork, peer: str) -> None:
    """Waits until ``network`` is connected to ``peer``."""
    events = network.events()
    if any(info.peer == peer for info in network.peers()):
        return
    async for event in events:
        if isinstance(event, Connected) and event.peer == peer:
            return


async def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Waits for what no event announces. Error: trio.TooSlowError."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - counters have no event
            await trio.sleep(0.01)

"""Peers on a simulated network without nodes behind them: for what a part of a node says to others and hears.

async with wires("node", "anne", "bob") as peers:
    peers["anne"].request(...)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from p2p.limits import Limits
from p2p.network import PeerId
from p2p.peer_identity import peer_id_from_public_key
from p2p.simulated import SimulatedNetwork, SimulatedSwitch
from tests.support.chain import make_home

NO_RECOVERY = Limits(score_recovery_per_minute=0)
"""Scores that stand still can be compared."""


def peer_of(name: str) -> PeerId:
    """The peer id of a home's node."""
    return peer_id_from_public_key(make_home(name).node.public_key)


@asynccontextmanager
async def wires(
    *names: str, seed: int = 1, prepare: Callable[[str, SimulatedNetwork], None] = lambda _name, _network: None
) -> AsyncIterator[dict[str, SimulatedNetwork]]:
    """Networks under the node keys of these homes, the first connected with all others. ``prepare`` sees each before
    it runs.
    """
    async with trio.open_nursery() as nursery:
        switch = SimulatedSwitch(seed)
        await nursery.start(switch.run)
        first = peer_of(names[0])
        networks: dict[str, SimulatedNetwork] = {}
        for name in names:
            bootstrap = [] if name == names[0] else [switch.address(first)]
            networks[name] = SimulatedNetwork(switch, peer_of(name), bootstrap, limits=NO_RECOVERY)
            prepare(name, networks[name])
            await nursery.start(networks[name].run)
        while len(networks[names[0]].peers()) < len(names) - 1:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.1)
        yield networks
        nursery.cancel_scope.cancel()


def score(network: SimulatedNetwork, of: str) -> int:
    """What ``network`` thinks of a peer; 0 if it is not connected."""
    return {info.peer: info.score for info in network.peers()}.get(peer_of(of), 0)

"""Whole nodes in virtual time: the real node on a simulated network, with its disk in memory.

    async with neighbourhood(seed=1) as homes:
        await homes.until_height(5)

Everything a node is made of is the real thing but for sockets, threads and files. Run under ``autojump_clock``.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec
import trio

from ledger.genesis import Genesis
from ledger.transactions import Payload, Transaction, sign_transaction
from node.configuration import Configuration
from node.node import Node, Parts
from node.worker import InlineWorker
from p2p.peer_identity import peer_id_from_public_key
from p2p.simulated import Faults, SimulatedNetwork, SimulatedSwitch
from storage.memory import MemoryChain, MemoryJournal
from tests.support.chain import FEE_UWATT, NAMES, Home, make_genesis, make_home


@dataclass(slots=True)
class RunningHome:
    """One home; its disk outlives the node that runs on it."""

    home: Home
    store: MemoryChain = field(default_factory=MemoryChain)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    node: Node | None = None
    scope: trio.CancelScope | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    failure: BaseException | None = None

    @property
    def height(self) -> int:
        tip = self.store.tip()
        return 0 if tip is None else tip.height


class Neighbourhood:
    """``switch`` makes faults; ``homes`` by name."""

    def __init__(self, nursery: trio.Nursery, switch: SimulatedSwitch, genesis: Genesis, directory: Path) -> None:
        self.switch = switch
        self.genesis = genesis
        self.homes = {member.name: RunningHome(make_home(member.name)) for member in genesis.members}
        self._nursery = nursery
        self._directory = directory
        self._began_s = trio.current_time()

    def wall_ms(self) -> int:
        """Virtual time; the genesis is one second ahead of its beginning."""
        return self.genesis.time_ms - 1_000 + int((trio.current_time() - self._began_s) * 1_000)

    async def start(self, name: str, configuration: Configuration | None = None) -> Node:
        """Starts a home's node on the disk it has."""
        running = self.homes[name]
        assert running.scope is None, f"{name} runs already"
        node_started = trio.Event()
        self._nursery.start_soon(self._run, name, running, configuration or Configuration(), node_started)
        await node_started.wait()
        if running.failure is not None:
            raise running.failure
        assert running.node is not None
        return running.node

    async def kill(self, name: str) -> None:
        """Ends a node at once; its disk stays as it is."""
        running = self.homes[name]
        assert running.scope is not None
        running.scope.cancel()
        await running.ended.wait()
        running.scope = running.node = None

    async def until(self, holds: Callable[[], bool], within_s: float = 120.0) -> None:
        """Waits in virtual time; fails if it does not come to hold."""
        with trio.fail_after(within_s):
            while not holds():
                await trio.sleep(0.1)
                for running in self.homes.values():
                    if running.failure is not None:
                        raise running.failure

    async def until_height(self, height: int, names: Sequence[str] | None = None, within_s: float = 120.0) -> None:
        await self.until(lambda: all(self.homes[name].height >= height for name in names or self.homes), within_s)

    async def send(self, name: str, payload: Payload, *, by: str | None = None, nonce: int = 0) -> Transaction:
        """Signs as ``name`` and submits at the node of ``by``."""
        node = self.homes[by or name].node
        assert node is not None
        transaction = sign_transaction(
            self.homes[name].home.account,
            node.status().chain_id,
            payload,
            nonce=nonce,
            fee_uwatt=FEE_UWATT,
            valid_until_height=node.status().height + 50,
        )
        await node.submit(transaction.raw)
        return transaction

    async def join(self, name: str) -> SimulatedNetwork:
        """A network connected with every running home under the node key of ``name``, with no node behind it: a
        stranger, or a home that has gone bad.
        """
        peer = peer_id_from_public_key(make_home(name).node.public_key)
        running = [one.node.peer_id for one in self.homes.values() if one.node is not None]
        network = SimulatedNetwork(self.switch, peer, [self.switch.address(other) for other in running])
        await self._nursery.start(network.run)
        await self.until(lambda: len(network.peers()) == len(running))
        return network

    async def _run(
        self, name: str, running: RunningHome, configuration: Configuration, node_started: trio.Event
    ) -> None:
        peers = [
            self.switch.address(peer_id_from_public_key(other.home.node.public_key))
            for other in self.homes.values()
            if other is not running
        ]
        network = SimulatedNetwork(self.switch, peer_id_from_public_key(running.home.node.public_key), peers)
        running.ended = trio.Event()
        with trio.CancelScope() as running.scope:
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(network.run)
                    running.node = Node(
                        Parts(
                            name=name,
                            genesis=self.genesis,
                            node_key=running.home.node,
                            store=running.store,
                            journal=running.journal,
                            network=network,
                            mempool_path=self._directory / f"{name}.log",
                            wall=self.wall_ms,
                            worker=InlineWorker(),
                            random=Random(f"{self.switch.seed}/{name}"),
                        ),
                        configuration,
                    )
                    node_started.set()
                    await running.node.run()
            except Exception as error:
                running.failure = error
                node_started.set()
        running.ended.set()


@asynccontextmanager
async def neighbourhood(
    *,
    seed: int,
    names: Sequence[str] = NAMES,
    faults: Faults | None = None,
    start: Sequence[str] | None = None,
    epoch_blocks: int = 12,
) -> AsyncIterator[Neighbourhood]:
    """A neighbourhood of which the homes ``start`` (default: all) run from the beginning."""
    genesis = make_genesis(names)
    genesis = msgspec.structs.replace(
        genesis, parameters=msgspec.structs.replace(genesis.parameters, epoch_blocks=epoch_blocks)
    )
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            switch = SimulatedSwitch(seed, faults)
            await nursery.start(switch.run)
            homes = Neighbourhood(nursery, switch, genesis, Path(directory))
            for name in start or names:
                await homes.start(name)
            yield homes
            nursery.cancel_scope.cancel()

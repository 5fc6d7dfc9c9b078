"""One home's real node, alone, behind its real API on a fixed port; its disk is in memory and outlives it.

Blocks come every 0.2 s and a period lasts one second, in real time: the meter under test may be a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import trio

from home.delivery import QUEUE_NAME
from home.metering import Schedule
from home.profiles.series import House
from ledger.genesis import chain_id
from ledger.keys import SigningKey
from ledger.parameters import Parameters
from ledger.records import ENERGY_TOTALS, METERS, READINGS, EnergyTotals, Meter, MeterKind, Reading, Role
from ledger.state import State
from node.api.server import ApiConfig, serve_api
from node.clock import system_wall_ms
from node.configuration import Configuration
from node.founding import MemberPlan, MeterPlan, NetworkPlan, found_network
from node.node import Node, Parts
from node.worker import InlineWorker
from p2p.peer_identity import peer_id_from_public_key
from p2p.simulated import SimulatedNetwork, SimulatedSwitch
from storage.memory import MemoryChain, MemoryJournal

PERIOD_MS = 1_000
PARAMETERS = Parameters(
    block_interval_ms=200,
    message_delay_ms=50,
    period_ms=PERIOD_MS,
    sampling_tolerance_ms=450,
    acceptance_window_ms=600_000,
    epoch_blocks=24,
)
HOUSE = House(household=1, yearly_kwh=4_000, solar=2, peak_watt=9_000, start_sample=96 * 200 + 36)
NODE_KEY = SigningKey(b"n" * 32)
ANNE = SigningKey(b"a" * 32)
METER_KEY = SigningKey(b"m" * 32)


async def until(holds: Callable[[], bool]) -> None:
    """Waits, in real time, for what other processes do."""
    while True:
        if holds():
            return
        await trio.sleep(0.05)


class LoneHome:
    """``import_nameplate_w``: of the meter that is registered with the chain. ``neighbours`` are members without a
    node; anne's account key is ANNE's.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        import_nameplate_w: int = 17_250,
        parameters: Parameters = PARAMETERS,
        neighbours: tuple[MemberPlan, ...] = (),
    ) -> None:
        self.directory = directory
        self.port = port
        meter = MeterPlan(METER_KEY.public_key, MeterKind.SOLAR, import_nameplate_w, 9_000)
        anne = MemberPlan(
            name="anne",
            feeder="F1",
            account=ANNE.public_key,
            node_key=NODE_KEY.public_key,
            roles=Role.APPROVER,
            meter=meter,
            watt_uwatt=100_000_000,
        )
        self.genesis = found_network(
            NetworkPlan(
                name="alone",
                time_ms=time.time_ns() // 1_000_000,
                parameters=parameters,
                feeders=(("F1", "S"),),
                members=(anne, *neighbours),
            )
        )
        self.schedule = Schedule(
            chain_id=chain_id(self.genesis).hex(),
            first_period=self.genesis.time_ms // PERIOD_MS,
            period_ms=PERIOD_MS,
            acceptance_window_ms=parameters.acceptance_window_ms,
            sampling_tolerance_ms=parameters.sampling_tolerance_ms,
        )
        self._store = MemoryChain()
        self._journal = MemoryJournal()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def readings(self) -> dict[int, Reading]:
        """Those in final blocks, by period."""
        state = State(self._store)
        return {int.from_bytes(key[32:], "big"): reading for key, reading in READINGS.scan(state)}

    def energy(self) -> EnergyTotals:
        totals = ENERGY_TOTALS.get(State(self._store))
        assert totals is not None
        return totals

    def meter(self) -> Meter:
        meter = METERS.get(State(self._store), METER_KEY.public_key)
        assert meter is not None
        return meter

    def taken(self) -> int:
        """How many readings the meter has ever queued."""
        queue = self.directory / QUEUE_NAME
        return queue.read_bytes().count(b"taken ") if queue.exists() else 0

    def refused(self) -> int:
        queue = self.directory / QUEUE_NAME
        return queue.read_bytes().count(b"refused ") if queue.exists() else 0

    @property
    def height(self) -> int:
        tip = self._store.tip()
        return 0 if tip is None else tip.height

    async def until_height(self, height: int) -> None:
        """Waits for a block; the node must run."""
        await until(lambda: self.height >= height)

    async def until_final(self, count: int) -> None:
        """Waits until so many readings are final; the node must run."""
        await until(lambda: len(self.readings()) >= count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The node runs and answers until the block ends; then it is gone at once."""
        async with trio.open_nursery() as nursery:
            switch = SimulatedSwitch(1)
            await nursery.start(switch.run)
            network = SimulatedNetwork(switch, peer_id_from_public_key(NODE_KEY.public_key), [])
            await nursery.start(network.run)
            parts = Parts(
                name="anne",
                genesis=self.genesis,
                node_key=NODE_KEY,
                store=self._store,
                journal=self._journal,
                network=network,
                mempool_path=self.directory / "mempool.log",
                wall=system_wall_ms,
                worker=InlineWorker(),
                random=Random(1),
            )
            node = Node(parts, Configuration())
            nursery.start_soon(node.run)
            await nursery.start(partial(serve_api, node, ApiConfig(self.directory, port=self.port, unix_socket=False)))
            yield
            nursery.cancel_scope.cancel()

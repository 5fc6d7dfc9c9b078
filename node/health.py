"""What is not well with a node, from its own services: for its status, its health check, and sentences for a person.

1. The clock is off if the peers' clocks, all together, differ by more than the chain tolerates.
2. A node is lonely if it has no peer for ``LONELY_AFTER_MS`` after its start, unless it is the whole committee.
3. The disk is full while the driver cannot write, or the mempool's file cannot. Of both, the driver's is said.
4. It is unhealthy, which a supervisor may act on, with a full disk or ``SYNCING_BEHIND`` blocks behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from node.chain import NodeChain
from node.driver import Driver
from node.intake import Intake
from node.live import Warnings
from node.sync import Sync
from p2p.network import Network

SYNCING_BEHIND: Final = 2
LONELY_AFTER_MS: Final = 10_000


class Health:
    """``household`` is what the home's owner should be warned of; whoever looks at new blocks sets it."""

    def __init__(
        self, chain: NodeChain, driver: Driver, sync: Sync, intake: Intake, network: Network, wall: Callable[[], int]
    ) -> None:
        self._chain = chain
        self._driver = driver
        self._sync = sync
        self._intake = intake
        self._network = network
        self._wall = wall
        self._tolerance_ms = chain.open.parameters.clock_tolerance_ms
        self._warnings = Warnings()
        self.started_at_ms = wall()
        self.household: str | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those that held when they were last looked at."""
        return self._warnings.current

    def look(self) -> tuple[list[str], list[str]]:
        """Sentences that are new, and those that do not hold any more."""
        return self._warnings.update(
            f"this clock differs from the peers' by more than {self._tolerance_ms} ms: check the time service"
            if self.clock_is_off()
            else None,
            "the disk is full: nothing is accepted or voted until there is room" if self._driver.disk_full else None,
            "the disk is full: transactions are not accepted until there is room"
            if self._intake.file_is_full and not self._driver.disk_full
            else None,
            "no peers: check the network and the bootstrap addresses" if self._is_lonely() else None,
            self.household,
        )

    def clock_is_off(self) -> bool:
        return abs(self._sync.clock_offset_ms() or 0) > self._tolerance_ms

    def disk_is_full(self) -> bool:
        return self._driver.disk_full or self._intake.file_is_full

    def is_syncing(self) -> bool:
        return self._sync.progress().behind >= SYNCING_BEHIND

    def unhealthy(self) -> str | None:
        """Why, in a few words; None if all is well."""
        if self.disk_is_full():
            return "the disk is full"
        return f"{self._sync.progress().behind} blocks behind" if self.is_syncing() else None

    def _is_lonely(self) -> bool:
        if self._network.peers() or len(self._chain.open.committee) == 1:
            return False
        return self._wall() - self.started_at_ms > LONELY_AFTER_MS

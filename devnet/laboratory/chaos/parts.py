"""What homes are made of: the real engine and the real chain; a mutant puts something else in their place."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.engine import Engine
from devnet.laboratory.chaos.disk import FaultyJournal
from devnet.laboratory.chaos.signatures import StubBeacon
from node.chain import NodeChain


class LabChain(NodeChain):
    """The node's chain with a beacon that costs nothing."""

    beacon = StubBeacon()


@dataclass(frozen=True, slots=True)
class Parts:
    engine_type: type[Engine] = Engine
    chain_type: type[LabChain] = LabChain
    journal_type: type[FaultyJournal] = FaultyJournal

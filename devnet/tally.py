"""What the nodes of a devnet tell, put together; no clock and no network.

1. A block counts once, by whichever node tells of it first. Every other node that tells of that height must tell the
   same hash: two final blocks at one height are a fork, which must never be, and end the devnet.
2. ``finality_ms`` are samples of every node that saw the height open.
3. A trade counts once, a settled period too. What happened while nobody listened is missing here; the report asks the
   chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from devnet.manifest import DevnetError
from node.client.events import (
    Away,
    Back,
    BlockFinal,
    ClientEvent,
    PeerConnected,
    PeerDisconnected,
    PeriodSettled,
    TradeMade,
)
from node.client.models import CandidateList, SettledPeriod, Trade

SAMPLES_KEPT: Final = 10_000
BLOCKS_KEPT: Final = 10_000


class Forked(DevnetError):
    """Two nodes have different final blocks at one height."""


@dataclass(slots=True)
class NodeTally:
    """What one node told. ``answers`` is False until it first answers and while it is away."""

    answers: bool = False
    height: int = 0
    tip: str = ""
    finality_ms: int | None = None
    peers: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Standing:
    """A home as candidate. ``status``: active, suspended, expelled."""

    status: str
    reputation_milli: int
    missed: int


@dataclass(slots=True)
class MarketTally:
    """What was traded and settled. By home: Wh sold and bought. ``unbalanced_wh`` must stay 0."""

    trades: int = 0
    energy_wh: int = 0
    sold_wh: dict[str, int] = field(default_factory=dict)
    bought_wh: dict[str, int] = field(default_factory=dict)
    settled: int = 0
    import_wh: int = 0
    certified_wh: int = 0
    unbalanced_wh: int = 0
    _last_trades: dict[int, int] = field(default_factory=dict)  # period → the highest number counted
    _last_settled: int = -1

    def on_trade(self, trade: Trade) -> None:
        if trade.number <= self._last_trades.get(trade.period, 0):
            return
        self._last_trades[trade.period] = trade.number
        self.trades += 1
        self.energy_wh += trade.energy_wh
        for sums, who in ((self.sold_wh, trade.seller.label), (self.bought_wh, trade.buyer.label)):
            sums[who] = sums.get(who, 0) + trade.energy_wh

    def on_settled(self, period: SettledPeriod) -> None:
        if period.period <= self._last_settled:
            return
        self._last_settled = period.period
        self._last_trades.pop(period.period, None)
        self.settled += 1
        self.import_wh += period.import_wh
        self.certified_wh += period.certified_wh
        self.unbalanced_wh += abs(period.energy_check_wh)


@dataclass(slots=True)
class Tally:
    nodes: dict[str, NodeTally]
    height: int = 0
    last: BlockFinal | None = None
    readings: int = 0
    views_skipped: int = 0
    produced: dict[str, int] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    finality_ms: list[int] = field(default_factory=list)
    market: MarketTally = field(default_factory=MarketTally)
    _hashes: dict[int, str] = field(default_factory=dict)

    def on_event(self, name: str, event: ClientEvent) -> bool:
        """True if it is a block that no node has told of before. Errors: Forked."""
        node = self.nodes[name]
        match event:
            case BlockFinal():
                return self._on_block(name, node, event)
            case Back():
                node.answers = True
            case Away():
                node.answers = False
                node.peers.clear()
            case TradeMade(trade=trade):
                self.market.on_trade(trade)
            case PeriodSettled(settled=settled):
                self.market.on_settled(settled)
            case PeerConnected(peer=peer):
                node.peers.add(peer)
            case PeerDisconnected(peer=peer):
                node.peers.discard(peer)
            case _:
                pass  # of no account here
        return False

    def on_candidates(self, found: CandidateList) -> None:
        self.standings = {
            candidate.account.label: Standing(candidate.status, candidate.reputation_milli, candidate.missed_total)
            for candidate in found.candidates
        }

    def _on_block(self, name: str, node: NodeTally, block: BlockFinal) -> bool:
        if block.height > node.height:
            node.height, node.tip, node.finality_ms = block.height, block.hash, block.finality_ms
        if block.finality_ms is not None:
            self.finality_ms.append(block.finality_ms)
            del self.finality_ms[:-SAMPLES_KEPT]
        known = self._hashes.get(block.height)
        if known is not None and known != block.hash:
            raise Forked(f"block {block.height} is {block.hash} at {name}'s, but {known} was final before: a fork")
        if block.height <= self.height:
            return False
        self._hashes[block.height] = block.hash
        self._hashes.pop(block.height - BLOCKS_KEPT, None)
        self.height, self.last = block.height, block
        self.readings += block.reading_count
        self.views_skipped += block.view
        producer = block.producer.label
        self.produced[producer] = self.produced.get(producer, 0) + 1
        return True


def percentile(samples: list[int], percent: int) -> int | None:
    """Nearest rank; None without samples."""
    if not samples:
        return None
    return sorted(samples)[max(0, -(-len(samples) * percent // 100) - 1)]

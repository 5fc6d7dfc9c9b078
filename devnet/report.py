"""What is left when a devnet has run its blocks: the object that ``ecloud devnet up --json`` prints.

The market's part is read from the chain of the first node that runs, from the genesis on; that all nodes have the same
chain has been checked.
"""

from __future__ import annotations

from typing import Final

import msgspec
import trio
from msgspec.structs import replace

from devnet.manifest import DevnetError, HomeRecord, Manifest
from devnet.operations import ask_status
from devnet.tally import Tally, percentile
from node.client.client import NodeClient
from node.client.errors import ClientError
from node.client.models import PricePoint, SettledPeriod

PAGE: Final = 1_000


class Disagreement(DevnetError):
    """Nodes at the same height have different tips or states."""


class NodeReport(msgspec.Struct, frozen=True):
    """``tip`` and ``state_root`` are None for a node that was down at the end."""

    name: str
    height: int
    tip: str | None
    state_root: str | None
    blocks_produced: int


class FinalityReport(msgspec.Struct, frozen=True):
    """Milliseconds from a block's proposal to its finality, over all nodes; None if nobody saw one."""

    p50: int | None
    p95: int | None


class MarketReport(msgspec.Struct, frozen=True):
    """``self_sufficiency``: of the energy taken out in settled periods, the part that certificates of origin say came
    from members, 0 … 1; None if nothing was. ``checks``: Σ over settled periods of the Wh by which what the gateway
    delivered differs from what meters and estimates say, always 0.
    """

    trades: int
    energy_traded_wh: int
    value_uwatt: int
    settled_periods: int
    import_wh: int
    export_wh: int
    self_sufficiency: float | None
    checks: int


class Report(msgspec.Struct, frozen=True):
    """``market`` is None if no node runs at the end."""

    nodes: list[NodeReport]
    finality_ms: FinalityReport
    readings: int
    views_skipped: int
    market: MarketReport | None = None


async def collect_report(manifest: Manifest, tally: Tally) -> Report:
    """Asks every node that runs. Errors: DevnetError if one does not answer; Disagreement."""
    nodes: dict[str, NodeReport] = {}

    async def ask(home: HomeRecord) -> None:
        nodes[home.name] = await _node_report(home, tally)

    async with trio.open_nursery() as nursery:
        for home in manifest.homes:
            nursery.start_soon(ask, home)
    report = Report(
        nodes=[nodes[home.name] for home in manifest.homes],
        finality_ms=FinalityReport(percentile(tally.finality_ms, 50), percentile(tally.finality_ms, 95)),
        readings=tally.readings,
        views_skipped=tally.views_skipped,
    )
    _check_agreement(report)
    running = next((home for home in manifest.homes if home.node.wanted), None)
    return report if running is None else replace(report, market=await _market_report(running))


async def _market_report(home: HomeRecord) -> MarketReport:
    """Errors: DevnetError."""
    try:
        async with NodeClient(home.api_url) as client:
            points = await _all_prices(client)
            settled = await _all_settled(client)
    except ClientError as error:
        raise DevnetError(f"{home.name}'s node does not say what was traded: {error}") from error
    import_wh = sum(one.import_wh for one in settled)
    certified_wh = sum(one.certified_wh for one in settled)
    return MarketReport(
        trades=sum(point.trades for point in points),
        energy_traded_wh=sum(point.energy_wh for point in points),
        value_uwatt=sum(point.value_uwatt for point in points),
        settled_periods=len(settled),
        import_wh=import_wh,
        export_wh=sum(one.export_wh for one in settled),
        self_sufficiency=round(certified_wh / import_wh, 4) if import_wh else None,
        checks=sum(abs(one.energy_check_wh) for one in settled),
    )


async def _all_prices(client: NodeClient) -> list[PricePoint]:
    """Of every period since the genesis, those to come included."""
    market, genesis = await client.market(limit=1), await client.genesis()
    found: list[PricePoint] = []
    first = genesis.time_ms // market.period_ms
    while first <= market.last_open_period:
        found += (await client.prices(first=first, limit=PAGE)).points
        first += PAGE
    return found


async def _all_settled(client: NodeClient) -> list[SettledPeriod]:
    found: list[SettledPeriod] = []
    before: int | None = None
    while True:
        page = await client.settled_periods(before=before, limit=PAGE)
        found += page.settled
        before = page.next_before
        if before is None:
            return found


async def _node_report(home: HomeRecord, tally: Tally) -> NodeReport:
    produced = tally.produced.get(home.name, 0)
    if not home.node.wanted:
        return NodeReport(home.name, tally.nodes[home.name].height, None, None, produced)
    status = await ask_status(home)
    if status is None:
        raise DevnetError(f"{home.name}'s node does not answer any more; see its log: {home.node.log}")
    return NodeReport(home.name, status.height, status.tip_hash, status.state_root, produced)


def _check_agreement(report: Report) -> None:
    """Errors: Disagreement."""
    found: dict[int, NodeReport] = {}
    for node in report.nodes:
        if node.tip is None:
            continue
        other = found.setdefault(node.height, node)
        if (node.tip, node.state_root) != (other.tip, other.state_root):
            raise Disagreement(
                f"at height {node.height} {node.name} has tip {node.tip} and state {node.state_root}, {other.name} has "
                f"tip {other.tip} and state {other.state_root}"
            )

"""What is left when a devnet has run its blocks: the object that ``ecloud devnet up --json`` prints."""

from __future__ import annotations

import msgspec
import trio

from devnet.manifest import DevnetError, HomeRecord, Manifest
from devnet.operations import ask_status
from devnet.tally import Tally, percentile


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


class Report(msgspec.Struct, frozen=True):
    nodes: list[NodeReport]
    finality_ms: FinalityReport
    readings: int
    views_skipped: int


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
    return report


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

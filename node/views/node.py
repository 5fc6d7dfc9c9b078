"""The node itself: its status and its peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.encoding import decode
from ledger.execution import get_tip
from ledger.genesis import Genesis, chain_id
from ledger.records import NODE_KEYS
from node.chain import MAX_GENESIS_BYTES
from node.client import models
from node.client.models import iso_time
from node.service import LiveStatus
from node.views.reader import Reader
from p2p.network import Banned, PeerInfo
from p2p.peer_identity import public_key_from_peer_id


def status_view(
    reader: Reader,
    live: LiveStatus,
    *,
    name: str,
    document: bytes,
    version: str,
    node_key: bytes,
    peer_id: str,
    mempool: models.MempoolStatus,
    peer_count: int,
) -> models.Status:
    """``live`` may be a block ahead of, or behind, the reader's snapshot; ``document`` is the genesis."""
    genesis = decode(document, Genesis, MAX_GENESIS_BYTES)
    time_ms = get_tip(reader.state).time_ms
    own = _holder(reader, node_key)
    return models.Status(
        name=name,
        version=version,
        network=genesis.name,
        chain_id=chain_id(genesis).hex(),
        node_key=node_key.hex(),
        account=own,
        peer_id=peer_id,
        started_at_ms=live.started_at_ms,
        started_at=iso_time(live.started_at_ms),
        now_ms=live.now_ms,
        height=reader.height,
        tip_hash=reader.tip.block_hash.hex(),
        tip_time_ms=time_ms,
        tip_time=iso_time(time_ms),
        state_root=reader.tip.state_root.hex(),
        engine=models.EngineStatus(
            height=live.height,
            view=live.view,
            leader=None if live.leader is None else reader.party(live.leader),
            leader_is_this_node=own is not None and live.leader is not None and reader.party(live.leader) == own,
            votes=live.votes,
        ),
        sync=models.SyncStatus(
            syncing=live.syncing, target_height=live.target_height, blocks_per_second=live.blocks_per_second
        ),
        finality=finality_view(live.finality_ms),
        mempool=mempool,
        peer_count=peer_count,
        disk_full=live.disk_full,
        clock_offset_ms=live.clock_offset_ms,
        clock_warning=live.clock_warning,
        warnings=list(live.warnings),
    )


def finality_view(times_ms: Sequence[int]) -> models.Finality:
    """Median and 95th percentile, the nearest rank: both are times that occurred."""
    ordered = sorted(times_ms)
    if not ordered:
        return models.Finality(blocks=0, p50_ms=None, p95_ms=None)
    return models.Finality(
        blocks=len(ordered), p50_ms=ordered[_rank(len(ordered), 50)], p95_ms=ordered[_rank(len(ordered), 95)]
    )


def peer_list(
    reader: Reader,
    peers: Sequence[PeerInfo],
    listening: list[str],
    announced: list[str],
    since_ms: Mapping[str, int],
    bans: Sequence[Banned],
) -> models.PeerList:
    """``since_ms``: by peer id."""
    return models.PeerList(
        peers=[_peer(reader, peer, since_ms.get(peer.peer)) for peer in peers],
        listening=listening,
        announced=announced,
        bans=[
            models.Ban(peer=ban.peer, account=_peer_account(reader, ban.peer), reason=ban.reason, until_ms=ban.until_ms)
            for ban in bans
        ],
    )


def _peer(reader: Reader, peer: PeerInfo, since_ms: int | None) -> models.Peer:
    return models.Peer(
        peer=peer.peer,
        address=peer.address,
        inbound=peer.inbound,
        latency_us=None if peer.latency_ms is None else round(peer.latency_ms * 1000),
        score=peer.score,
        bytes_received=peer.bytes_received,
        bytes_sent=peer.bytes_sent,
        topics=list(peer.topics),
        mesh=list(peer.mesh),
        account=_peer_account(reader, peer.peer),
        since_ms=since_ms,
    )


def _peer_account(reader: Reader, peer: str) -> models.Party | None:
    try:
        return _holder(reader, public_key_from_peer_id(peer))
    except ValueError:
        return None  # a peer with another kind of key is nobody's node


def _holder(reader: Reader, node_key: bytes) -> models.Party | None:
    record = NODE_KEYS.get(reader.state, node_key)
    return None if record is None else reader.party(record.account)


def _rank(count: int, percent: int) -> int:
    return -(-count * percent // 100) - 1

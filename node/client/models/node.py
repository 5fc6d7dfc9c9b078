"""The node itself: status, health, peers."""

from __future__ import annotations

import msgspec

from node.client.models.base import Model, Party


class EngineStatus(Model, frozen=True, kw_only=True):
    """The height this node is agreeing on. ``leader`` is the one drawn for ``view``."""

    height: int
    view: int
    leader: Party | None
    leader_is_this_node: bool
    votes: bool  # False: this node only follows (not in the committee, or its journal is being recovered)


class SyncStatus(Model, frozen=True, kw_only=True):
    """``target_height`` is the highest the peers report; ``blocks_per_second`` is measured in catching
    up, else 0.
    """

    syncing: bool
    target_height: int
    blocks_per_second: int


class Finality(Model, frozen=True, kw_only=True):
    """Time from a block's proposal to its finality at this node, over the last ``blocks`` (at most 100) blocks."""

    blocks: int
    p50_ms: int | None
    p95_ms: int | None


class MempoolStatus(Model, frozen=True, kw_only=True):
    transactions: int
    size_bytes: int


class Status(Model, frozen=True, kw_only=True):
    """``GET /v1/status``. ``warnings`` are sentences a person should read now: clock, disk, no peers."""

    name: str
    version: str
    network: str
    chain_id: str
    node_key: str
    account: Party | None
    peer_id: str
    started_at_ms: int
    started_at: str
    now_ms: int
    height: int
    tip_hash: str
    tip_time_ms: int
    tip_time: str
    state_root: str
    engine: EngineStatus
    sync: SyncStatus
    finality: Finality
    mempool: MempoolStatus
    peer_count: int
    disk_full: bool
    clock_offset_ms: int | None  # the peers' median clock minus this node's; None without peers
    clock_warning: bool
    warnings: list[str]


class Health(Model, frozen=True, kw_only=True):
    """``GET /health``: answers 200 while the node follows the chain, 503 with the reason otherwise."""

    healthy: bool
    reason: str


class Peer(Model, frozen=True, kw_only=True):
    """One connected peer. ``account`` is the member whose node key it runs under, None for others; ``since_ms``:
    when it connected.
    """

    peer: str
    address: str
    inbound: bool
    latency_us: int | None
    score: int
    bytes_received: int
    bytes_sent: int
    topics: list[str]
    mesh: list[str]
    account: Party | None
    since_ms: int | None = None


class Ban(Model, frozen=True, kw_only=True):
    """A peer that is refused until then. ``account`` as in ``Peer``."""

    peer: str
    account: Party | None
    reason: str
    until_ms: int


class PeerList(Model, frozen=True, kw_only=True):
    """``bans``: those this node has made since it started and that stand. ``announced``: the addresses under which it
    tells others that it can be reached, which a router may have made others than those it listens on.
    """

    peers: list[Peer]
    listening: list[str]
    announced: list[str] = msgspec.field(default_factory=list)
    bans: list[Ban] = msgspec.field(default_factory=list)

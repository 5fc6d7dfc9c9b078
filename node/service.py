"""What the local API needs of a running node, and nothing more.

1. Facts of the chain are read from ``chain`` through short snapshots, in a worker thread. Facts of the moment come from
   the members below, which are called from the trio thread and must not wait.
2. ``submit`` raises ``TransactionRefused`` with the ledger's word for whatever it does not take.
3. Wallet keys are none of the node's business: nothing here signs for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry

from node.event_hub import EventHub
from node.joining_pool import JoinEntry
from node.mempool import Mempool
from p2p.network import Banned, PeerId, PeerInfo
from storage.errors import Damaged
from storage.interface import ChainView


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """Facts of the moment.

    ``height``, ``view``: what the engine is agreeing on; ``leader``: the account drawn for that view, None before the
    engine runs. ``votes``: False while this node only follows. ``target_height``: the highest a peer reports.
    ``finality_ms``: of the last blocks (at most 100) this node saw from proposal to finality, any order.
    ``clock_offset_ms``: peers' median clock minus ours, None without peers. ``warnings``: sentences for a person.
    ``unhealthy``: why the node does not follow the chain, None while it does.
    """

    started_at_ms: int
    now_ms: int
    height: int
    view: int
    leader: bytes | None
    votes: bool
    syncing: bool
    target_height: int
    blocks_per_second: int
    finality_ms: tuple[int, ...]
    disk_full: bool
    clock_offset_ms: int | None
    clock_warning: bool
    warnings: tuple[str, ...]
    unhealthy: str | None


class ChainReader(Protocol):
    """Of ``storage.interface.BlockStore`` only what reads."""

    def snapshot(self) -> AbstractContextManager[ChainView]: ...


class NodeService(Protocol):
    """A running node as its API sees it."""

    @property
    def name(self) -> str:
        """What its owner calls this node."""

    @property
    def genesis(self) -> bytes:
        """The genesis document, canonical CBOR."""

    @property
    def node_key(self) -> bytes: ...

    @property
    def peer_id(self) -> PeerId: ...

    @property
    def chain(self) -> ChainReader: ...

    @property
    def mempool(self) -> Mempool: ...

    @property
    def events(self) -> EventHub: ...

    @property
    def registry(self) -> CollectorRegistry: ...

    def live(self) -> LiveStatus: ...

    def finality_ms(self, height: int) -> int | None:
        """From proposal to finality at this node; None if it did not see that height open, or long ago. Called from
        worker threads too.
        """

    def peers(self) -> list[PeerInfo]: ...

    def connected_since(self) -> Mapping[PeerId, int]:
        """When each connected peer came, wall-clock ms."""

    def bans(self) -> list[Banned]:
        """Made since the node started, and standing."""

    def announced(self) -> list[str]:
        """Multiaddrs under which the node tells others that it can be reached."""

    def listening(self) -> list[str]:
        """Multiaddrs, with ``/p2p/<id>``."""

    def join_requests(self) -> list[JoinEntry]:
        """Oldest first."""

    def file_join(self, message: bytes) -> JoinEntry:
        """Takes in a signed join request or denial. Errors: node.joining.JoinError."""

    async def submit(self, raw: bytes) -> None:
        """Checks, queues and passes on one transaction. Errors: TransactionRefused."""

    async def connect(self, address: str) -> PeerId:
        """Dials a multiaddr and keeps redialling it. Errors: p2p.network.NetworkError for a bad address."""

    async def ban(self, peer: PeerId, duration_s: float, reason: str) -> None: ...

    def pardon(self, peer: PeerId) -> bool:
        """Ends a ban; False if there is none."""

    def damaged(self, error: Damaged) -> None:
        """A read met damaged data: the node stops and says what to do."""

    def stop(self) -> None:
        """Begins a clean stop of the whole node; returns at once."""

"""A household for the API's tests: a real chain on a real disk behind a real server on a real socket.

Blocks come from ``tests.support.chain`` and go through ``NodeChain`` as in a running node; transactions enter through
the real ``Intake``. Only what needs other nodes is told: peers, the engine's view, the clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio
from prometheus_client import CollectorRegistry

from ledger.encoding import encode
from ledger.parameters import Parameters
from ledger.state import State
from ledger.transactions import Transaction
from node.api.server import ApiAddress, ApiConfig, serve_api
from node.chain import NodeChain
from node.client.client import NodeClient
from node.client.connection import TOKEN_NAME
from node.client.events import TransactionPending
from node.client.models import Party
from node.event_hub import EventHub
from node.gossip import SignatureCache
from node.intake import Intake
from node.joining import decode_message
from node.joining_pool import JoinEntry, JoinPool
from node.log import get
from node.mempool import Mempool
from node.mempool_file import MempoolFile
from node.observer import Observer
from node.protocol import StoredBlock
from node.service import LiveStatus, NodeService
from node.views.reader import Reader
from p2p.network import Banned, NetworkError, PeerId, PeerInfo
from p2p.peer_identity import peer_id_from_public_key
from storage.chain import ChainDatabase
from storage.errors import Damaged
from tests.support.chain import PARAMETERS, Chain

FINALITY_MS = 360


class Household:
    """Keeps ``NodeService`` for anne's node. ``produce`` makes the next block and has the node commit it."""

    def __init__(self, directory: Path, store: ChainDatabase, chain: Chain) -> None:
        self.name = "anne's node"
        self.made = chain
        self.chain = store
        self.events = EventHub()
        self.registry = CollectorRegistry(auto_describe=False)
        self.connected: list[str] = []
        self.banned: list[tuple[PeerId, float, str]] = []
        self.stopped = trio.Event()
        self.damage: Damaged | None = None
        self._signatures = SignatureCache()
        self._node_chain = NodeChain(store, chain.genesis, None, chain.verifier, self._signatures)
        self._observer = Observer(store)
        self.intake = Intake(
            chain_id=chain.chain_id,
            base=store,
            next_height=lambda: chain.height + 1,
            is_committed=lambda transaction_id: store.find_transaction(transaction_id) is not None,
            signatures=self._signatures,
            mempool=Mempool(),
            file=MempoolFile(directory / "mempool"),
            wall=lambda: self.now_ms,
            accepted=self._accepted,
            log=get("test"),
        )
        self.joins = JoinPool(chain.chain_id)
        self.status = LiveStatus(
            started_at_ms=chain.genesis.time_ms,
            now_ms=0,
            height=0,
            view=0,
            leader=None,
            votes=True,
            syncing=False,
            target_height=0,
            blocks_per_second=0,
            finality_ms=(),
            disk_full=False,
            clock_offset_ms=3,
            clock_warning=False,
            warnings=(),
            unhealthy=None,
        )

    @property
    def now_ms(self) -> int:
        return self.made.open.earliest_ms

    @property
    def height(self) -> int:
        return self.made.height

    def produce(self, transactions: Sequence[Transaction] = (), *, view: int = 0, time_ms: int | None = None) -> None:
        skipped = tuple(self.made.open.draw.leader_account(earlier) for earlier in range(view))
        self.made.produce(transactions, view=view, time_ms=time_ms)
        block, certificate = self.made.blocks[-1].block, self.made.certificates[-1]
        stored = StoredBlock(block=encode(block), certificate=encode(certificate))
        found = self._node_chain.execute_stored(stored, self.made.verifier)
        assert found is not None
        self._node_chain.commit(*found)
        self.intake.revise(found[0])
        with self.chain.snapshot() as view_of_tip:
            for event in self._observer.block(Reader(view_of_tip, self), found[0], skipped, FINALITY_MS):
                self.events.publish(event)

    def _accepted(self, transaction: Transaction) -> None:
        sender = Party(address="", name=None)
        self.events.publish(TransactionPending(id=transaction.id.hex(), kind=transaction.kind.word, sender=sender))

    # -- NodeService

    @property
    def genesis(self) -> bytes:
        return encode(self.made.genesis)

    @property
    def node_key(self) -> bytes:
        return self.made.home("anne").node.public_key

    @property
    def peer_id(self) -> PeerId:
        return peer_id_from_public_key(self.node_key)

    @property
    def mempool(self) -> Mempool:
        return self.intake.mempool

    def live(self) -> LiveStatus:
        leader = self.made.open.draw.leader_account(self.status.view)
        return replace(
            self.status,
            now_ms=self.now_ms,
            height=self.height + 1,
            leader=leader,
            target_height=self.height,
            finality_ms=(FINALITY_MS,) * min(100, self.height),
        )

    def finality_ms(self, height: int) -> int | None:
        return FINALITY_MS if 1 <= height <= self.height else None

    def peers(self) -> list[PeerInfo]:
        return [
            PeerInfo(
                peer=peer_id_from_public_key(self.made.home("bob").node.public_key),
                address="/ip4/127.0.0.1/tcp/4001",
                inbound=True,
                latency_ms=1.25,
                score=100,
                bytes_received=10,
                bytes_sent=20,
                topics=("a", "b"),
                mesh=("a",),
            )
        ]

    def connected_since(self) -> dict[PeerId, int]:
        return {peer.peer: self.made.genesis.time_ms for peer in self.peers()}

    def bans(self) -> list[Banned]:
        return [Banned(peer, reason, 2**50) for peer, _, reason in self.banned]

    def announced(self) -> list[str]:
        return [f"/ip4/203.0.113.7/tcp/4000/p2p/{self.peer_id}"]

    def listening(self) -> list[str]:
        return [f"/ip4/127.0.0.1/tcp/4000/p2p/{self.peer_id}"]

    def join_requests(self) -> list[JoinEntry]:
        return list(self.joins)

    def file_join(self, message: bytes) -> JoinEntry:
        with self.chain.snapshot() as view:
            taken = self.joins.take(decode_message(message), State(view), self.now_ms)
        assert taken is not None
        return taken

    async def submit(self, raw: bytes) -> None:
        await self.intake.submit(raw)

    async def connect(self, address: str) -> PeerId:
        if not address.startswith("/ip4/"):
            raise NetworkError(f"{address!r} is not a multiaddr")
        self.connected.append(address)
        return self.peer_id

    async def ban(self, peer: PeerId, duration_s: float, reason: str) -> None:
        self.banned.append((peer, duration_s, reason))

    def pardon(self, peer: PeerId) -> bool:
        before = len(self.banned)
        self.banned = [ban for ban in self.banned if ban[0] != peer]
        return len(self.banned) < before

    def damaged(self, error: Damaged) -> None:
        self.damage = error

    def stop(self) -> None:
        self.stopped.set()


@contextmanager
def household(directory: Path, parameters: Parameters = PARAMETERS) -> Iterator[Household]:
    """A chain at height 0 in ``directory``."""
    chain = Chain(parameters=parameters)
    store = ChainDatabase.open(directory, chain_id=chain.chain_id, create=True)
    try:
        home = Household(directory, store, chain)
        _: NodeService = home  # the protocol is kept
        yield home
    finally:
        store.close()


class Served:
    """A household and its API: ``client`` carries the token, ``stranger`` does not."""

    def __init__(self, home: Household, directory: Path, address: ApiAddress) -> None:
        self.home = home
        self.address = address
        token = (directory / TOKEN_NAME).read_text().strip()
        self.client = NodeClient(address.url, token=token)
        self.stranger = NodeClient(address.url)
        self.port = int(address.url.rsplit(":", 1)[1])


@asynccontextmanager
async def served(directory: Path, home: Household) -> AsyncIterator[Served]:
    """Serves on a free port and on the unix socket, and stops at the end."""
    async with trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve_api, home, ApiConfig(directory, port=0)))
        serving = Served(home, directory, address)
        async with serving.client, serving.stranger:
            yield serving
        nursery.cancel_scope.cancel()

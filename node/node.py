"""One node: its services wired together, and what its local API sees of it.

``Node`` is built on parts that are open already (disk, network, keys), so that the same node runs on real ones and in
a simulation; ``node.run`` opens the real ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

import trio
from prometheus_client import CollectorRegistry

from consensus.block import Block, Certificate, Header
from consensus.chain_rules import ExecutedBlock
from consensus.committee import Committee
from consensus.engine import Engine, Evidence
from consensus.verifier import KeySigner, SignatureVerifier
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError, encode
from ledger.genesis import Genesis, chain_id
from ledger.keys import SigningKey
from ledger.refusal import TransactionRefused
from ledger.transactions import Transaction
from node import clock
from node.announcements import Announcements
from node.batches import Prepared, Row, prepare
from node.caretaker import Caretaker
from node.catch_up import ServedBlockInvalid
from node.chain import NodeChain
from node.client.events import (
    Equivocation,
    PeerBanned,
    PeerConnected,
    PeerDisconnected,
    SyncProgress,
    TransactionPending,
    ViewChanged,
    Warned,
)
from node.client.models import Party
from node.configuration import Configuration
from node.driver import Driver
from node.event_hub import EventHub
from node.gossip import SignatureCache, TransactionGossip
from node.health import Health
from node.intake import Intake
from node.joining_pool import JoinEntry
from node.joining_service import Joining
from node.live import FinalityLog
from node.log import get
from node.market_observer import market_gauges
from node.mempool import Mempool
from node.mempool_file import MempoolFile
from node.metrics import Metrics
from node.observer import Observer
from node.protocol import PROTOCOL_VERSION, Status, StoredBlock, topic
from node.pruning import Pruner
from node.service import LiveStatus
from node.services import Services, TaskStatus
from node.serving import Serving
from node.signature_checker import InlineChecker, SignatureChecker
from node.snapshots import Snapshots
from node.sync import Sync
from node.trust import Trust
from node.views.reader import Reader
from node.views.standing import household_warning
from node.worker import Worker
from p2p.network import Banned, Connected, Disconnected, Network, PeerId, PeerInfo
from p2p.peer_identity import peer_id_from_public_key
from p2p.queues import DroppingQueue
from storage.errors import Damaged
from storage.interface import BlockStore, JournalStore

FINALS_WAITING: Final = 16
WATCH_PERIOD_S: Final = 1.0
BANS_SHOWN: Final = 100
CANDIDATES_TAKEN: Final = 8_192


@dataclass(frozen=True, slots=True)
class _Final:
    """A block that became final here. ``is_agreed``: this node took part, and did not only fetch it."""

    header: Header
    certificate: Certificate
    is_agreed: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node is built on. ``random`` decides only whom to ask first."""

    name: str
    genesis: Genesis
    node_key: SigningKey
    store: BlockStore
    journal: JournalStore
    network: Network
    mempool_path: Path
    wall: clock.WallClock
    worker: Worker
    random: Random
    checker: SignatureChecker = field(default_factory=InlineChecker)


class Node:
    """Keeps ``node.service.NodeService``."""

    def __init__(self, parts: Parts, configuration: Configuration) -> None:
        self.name = parts.name
        self._parts = parts
        self._wall = clock.skewed(parts.wall, configuration.node.clock_skew_ms)
        self._network = parts.network
        self._log = get("node")
        self._store = parts.store
        self._signatures = signatures = SignatureCache()
        verifier = SignatureVerifier(chain_id(parts.genesis))
        self._chain = chain = NodeChain(parts.store, parts.genesis, parts.node_key, verifier, signatures)
        self._parameters = chain.open.parameters
        self._intake = Intake(
            chain_id=chain.chain_id,
            base=parts.store,
            next_height=lambda: chain.height + 1,
            is_committed=lambda transaction_id: parts.store.find_transaction(transaction_id) is not None,
            signatures=signatures,
            mempool=Mempool(configuration.node.mempool_bytes),
            file=MempoolFile(parts.mempool_path),
            wall=self._wall,
            accepted=self._accepted,
            log=get("intake"),
        )
        self._gossip = self._intake.gossip = TransactionGossip(
            parts.network,
            topic(chain.chain_id, "transactions"),
            chain.chain_id,
            signatures,
            self._intake.is_known,
            self._intake.may_send,
            first_salt=self._wall(),
        )
        signer = KeySigner(parts.node_key, chain.chain_id)
        self._driver = Driver(
            chain=chain,
            make_engine=lambda: Engine(signer, verifier, chain.body_is_bound),
            verifier=verifier,
            journal=parts.journal,
            network=parts.network,
            topic=topic(chain.chain_id, "consensus"),
            helper=self,
            wall=self._wall,
            worker=parts.worker,
            log=get("consensus"),
            halt_height=configuration.node.halt_height,
        )
        self._sync = Sync(
            parts.network,
            self,
            chain.chain_id,
            self._parameters.message_delay_ms,
            self._wall,
            parts.random,
            get("sync"),
            halt_height=configuration.node.halt_height,
        )
        self._serving = Serving(parts.network, self, get("sync"))
        self._snapshots = Snapshots(parts.network, parts.store, self, self._serving.in_turn, get("sync"))
        self._trust = Trust(
            parts.journal,
            parts.node_key.public_key,
            self._sync,
            2 * self._parameters.message_delay_ms / 1000,
            self._driver.until_written,
            get("consensus"),
        )
        self._announcements = Announcements(
            parts.network, topic(chain.chain_id, "blocks"), self._committee_at, verifier, self._sync.heard_of_height
        )
        self.events = EventHub()
        self._joining = Joining(
            parts.network,
            parts.store.snapshot,
            chain.chain_id,
            encode(parts.genesis),
            self._wall,
            self.events.publish,
            get("joining"),
        )
        storage = configuration.storage
        self._pruner = Pruner(
            parts.store,
            storage.keep_blocks if storage.retention == "pruned" else 0,
            self._driver.until_written,
            get("storage"),
        )
        self._caretaker = Caretaker(parts.node_key, chain.chain_id)
        self._finality = FinalityLog()
        self._observer = Observer(parts.store)
        self._connected_since: dict[PeerId, int] = {}
        self._bans: deque[Banned] = deque(maxlen=BANS_SHOWN)
        self._health = Health(chain, self._driver, self._sync, self._intake, parts.network, self._wall)
        self._stopping = trio.Event()
        self._damage: Damaged | None = None
        self._finals = DroppingQueue[_Final](FINALS_WAITING)
        self._services: Services | None = None
        self._metrics = Metrics(self._gauges, self._network_counters, self._restarts)
        self._market_gauges_at: tuple[int, Mapping[str, float]] = (-1, {})

    # -- running

    async def run(self, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Runs every service until ``stop``. Errors: BrokenInvariant, FinalBlockInvalid, StorageError."""
        await self._intake.restore()
        async with trio.open_nursery() as nursery:
            self._services = services = Services(nursery, self._log)
            services.start("gossip in", self._gossip.run_receiver)
            services.start("gossip intake", partial(self._gossip.run_intake, self._intake.accept))
            services.start("gossip out", self._gossip.run_sender)
            services.start("consensus messages", self._driver.run_relay)
            services.start("consensus", self._agree)
            services.start("announcements", self._announcements.run)
            services.start("acquaintance", self._sync.run_acquaintance)
            services.start("catch-up", self._sync.run_catch_up)
            services.start("joining", self._joining.run)
            services.start("pruning", self._pruner.run)
            services.start("states served", self._snapshots.run)
            services.start("network events", self._pass_on_network_events)
            services.start("after blocks", self._follow_up)
            services.start("watch", self._watch)
            task_status.started()
            await self._stopping.wait()
            nursery.cancel_scope.cancel()
        self._intake.close()
        if self._damage is not None:
            raise self._damage

    def damaged(self, error: Damaged) -> None:
        self._damage = error
        self._stopping.set()

    def stop(self) -> None:
        self._stopping.set()

    # -- NodeService

    @property
    def genesis(self) -> bytes:
        return encode(self._parts.genesis)

    @property
    def node_key(self) -> bytes:
        return self._parts.node_key.public_key

    @property
    def peer_id(self) -> PeerId:
        return self._network.peer_id

    @property
    def chain(self) -> BlockStore:
        return self._store

    @property
    def mempool(self) -> Mempool:
        return self._intake.mempool

    @property
    def registry(self) -> CollectorRegistry:
        return self._metrics.registry

    def live(self) -> LiveStatus:
        context = self._driver.context
        progress = self._sync.progress()
        now_ms = clock.monotonic_ms()
        leader = None
        if context is not None:
            leader = context.committee.seats[context.leader(self._driver.view)].account
        return LiveStatus(
            started_at_ms=self._health.started_at_ms,
            now_ms=self._wall(),
            height=self._chain.height + 1,
            view=self._driver.view,
            leader=leader,
            votes=self._driver.is_voting,
            syncing=self._health.is_syncing(),
            target_height=progress.target,
            blocks_per_second=self._finality.blocks_per_second(now_ms),
            finality_ms=tuple(self._finality.last),
            disk_full=self._health.disk_is_full(),
            clock_offset_ms=self._sync.clock_offset_ms(),
            clock_warning=self._health.clock_is_off(),
            warnings=self._health.warnings,
            unhealthy=self._health.unhealthy(),
        )

    def finality_ms(self, height: int) -> int | None:
        return self._finality.of_height(height)

    def peers(self) -> list[PeerInfo]:
        return self._network.peers()

    def connected_since(self) -> Mapping[PeerId, int]:
        return self._connected_since

    def bans(self) -> list[Banned]:
        now_ms = self._parts.wall()
        return [ban for ban in self._bans if ban.until_ms > now_ms]

    def announced(self) -> list[str]:
        return self._network.announced()

    def listening(self) -> list[str]:
        return self._network.addresses()

    def join_requests(self) -> list[JoinEntry]:
        return self._joining.entries()

    def file_join(self, message: bytes) -> JoinEntry:
        return self._joining.file(message)

    async def submit(self, raw: bytes) -> None:
        await self._intake.submit(raw)

    async def connect(self, address: str) -> PeerId:
        return await self._network.connect(address)

    async def ban(self, peer: PeerId, duration_s: float, reason: str) -> None:
        await self._network.ban(peer, duration_s, reason)

    def pardon(self, peer: PeerId) -> bool:
        for ban in [ban for ban in self._bans if ban.peer == peer]:
            self._bans.remove(ban)
        return self._network.pardon(peer)

    # -- sync.Chain, serving.Shelf

    def status(self) -> Status:
        return Status(
            version=PROTOCOL_VERSION,
            chain_id=self._chain.chain_id,
            height=self._chain.height,
            block_hash=self._chain.tip_hash,
            wall_ms=self._wall(),
            floor=self._store.prune_floor(),
        )

    def stored_block(self, height: int) -> StoredBlock | None:
        return self._chain.stored_block(height)

    def body(self, block_hash: bytes) -> bytes | None:
        held = self._driver.body(block_hash)
        if held is not None:
            return encode(held)
        tip = self._store.tip()
        is_tip = tip is not None and tip.height > 0 and tip.block_hash == block_hash
        return self._store.block(tip.height) if tip is not None and is_tip else None

    def body_is_bound(self, block: Block) -> bool:
        return self._chain.body_is_bound(block)

    def committee(self) -> Committee:
        return self._chain.open.committee

    def held_certificates(self, height: int) -> tuple[Certificate, ...]:
        return self._driver.held_certificates(height)

    @property
    def height(self) -> int:
        return self._chain.height

    async def prepare(self, blocks: tuple[StoredBlock, ...]) -> Prepared:
        try:
            prepared = await self._parts.worker.do(partial(prepare, blocks, self._signatures))
        except (InvalidBlock, EncodingError) as error:
            raise ServedBlockInvalid(str(error)) from error
        if not await self._parts.checker.are_good(prepared.unverified):
            raise ServedBlockInvalid("a transaction is not signed by its sender")
        return prepared

    async def import_blocks(self, prepared: Prepared) -> None:
        await self._driver.import_blocks(prepared)

    async def rest(self) -> None:
        await self._parts.checker.rest()

    # -- driver.Helper

    def candidates(self) -> list[Transaction]:
        return list(islice(self._intake.mempool, CANDIDATES_TAKEN))

    async def fetch_body(self, block_hash: bytes, node_keys: Sequence[bytes]) -> Block | None:
        return await self._sync.fetch_body(block_hash, [peer_id_from_public_key(key) for key in node_keys])

    async def fetch_certificates(self, height: int) -> Sequence[Certificate]:
        return await self._sync.fetch_certificates(height)

    async def tell_status(self, node_key: bytes) -> None:
        peer = peer_id_from_public_key(node_key)
        if any(info.peer == peer for info in self._network.peers()):
            await self._sync.tell_status(peer)

    def heard_of_height(self, height: int) -> None:
        self._sync.heard_of_height(height)

    def equivocation(self, evidence: Evidence) -> None:
        self._caretaker.remember(evidence)
        statement = evidence.first.statement
        self._log.warning("equivocation seen", node_key=evidence.node_key.hex(), height=statement.height)
        context = self._driver.context
        seat = None if context is None else context.committee.index_of_node_key(evidence.node_key)
        if context is not None and seat is not None:
            with self._store.snapshot() as view:
                account = Reader(view, self).party(context.committee.seats[seat].account)
            self.events.publish(Equivocation(account=account, height=statement.height, convicted=False))

    def committed(
        self, executed: ExecutedBlock, certificate: Certificate, finality_ms: int, skipped: tuple[bytes, ...]
    ) -> None:
        header = executed.block.header
        self._metrics.finality.observe(finality_ms / 1000)
        self._metrics.count_trades(executed.result.effects)
        self._settled(executed, finality_ms, skipped)
        producer = self._look_at_tip(header)
        self._log.info(
            "block",
            height=header.height,
            hash=executed.hash.hex()[:12],
            producer=producer,
            view=header.view,
            transactions=len(executed.transactions),
            finality_ms=finality_ms,
        )
        self._finals.put(_Final(header, certificate, is_agreed=True))

    def imported(self, row: Row) -> None:
        watched = len(self.events) > 0
        for executed, skipped in zip(row.executed, row.skipped, strict=True):
            self._metrics.count_trades(executed.result.effects)
            if watched or len(self._intake.mempool) > 0:
                self._settled(executed, None, skipped)
            else:
                self._finality.committed(executed.block.header.height, None, clock.monotonic_ms())
        if not watched:
            self._observer = Observer(self._store)  # instead of having shown it every block
        header = row.executed[-1].block.header
        self._look_at_tip(header)
        self._log.info(
            "blocks fetched",
            first=row.committed[0].height,
            height=header.height,
            hash=row.executed[-1].hash.hex()[:12],
            transactions=sum(len(executed.transactions) for executed in row.executed),
            target=self._sync.progress().target,
            blocks_per_second=self._finality.blocks_per_second(clock.monotonic_ms()),
        )
        self._finals.put(_Final(header, row.certificate, is_agreed=False))

    def _settled(self, executed: ExecutedBlock, finality_ms: int | None, skipped: tuple[bytes, ...]) -> None:
        """After every block: the mempool, and whoever watches."""
        self._intake.revise(executed)
        self._finality.committed(executed.block.header.height, finality_ms, clock.monotonic_ms())
        with self._store.snapshot() as view:
            for event in self._observer.block(Reader(view, self), executed, skipped, finality_ms):
                self.events.publish(event)

    def _look_at_tip(self, header: Header) -> str:
        """What else a new tip is looked at for. Returns the producer's name."""
        self._joining.look()
        self._pruner.wake()
        with self._store.snapshot() as view:
            reader = Reader(view, self)
            self._health.household = household_warning(reader, self.node_key)
            return reader.party(header.producer).label

    # -- services

    async def _agree(self) -> None:
        """Consensus, once it is known from where on voting is safe."""
        while True:
            await self._driver.run(await self._trust.settle(self._chain.height, self._chain.open.committee))

    async def _follow_up(self) -> None:
        """After blocks: announces those agreed on and the newest, and does what the node does for its own member."""
        async for final in self._finals:
            if final.is_agreed or len(self._finals) == 0:
                self._announcements.announce(final.header, final.certificate)
            if len(self._finals) == 0:
                await self._care(final.header.height)

    async def _care(self, height: int) -> None:
        await self._trust.passed(height)
        pending = len(self._intake.mempool.pending(self.node_key))
        level = not self._health.is_syncing()
        for transaction in self._caretaker.due(self._store, height, pending, level=level):
            try:
                await self._intake.submit(transaction.raw)
            except TransactionRefused as refused:
                self._log.warning("own transaction refused", kind=transaction.kind.word, reason=str(refused))

    async def _pass_on_network_events(self) -> None:
        async for event in self._network.events():
            match event:
                case Connected(peer=peer, address=address):
                    self._connected_since[peer] = self._wall()
                    self.events.publish(PeerConnected(peer=peer, address=address))
                case Disconnected(peer=peer):
                    self._connected_since.pop(peer, None)
                    self._serving.forget(peer)
                    self.events.publish(PeerDisconnected(peer=peer))
                case Banned(peer=peer, reason=reason, until_ms=until_ms):
                    self._bans.append(event)
                    if self._trust.is_shaken_by(peer):
                        await self._driver.leave()
                    self._log.warning("peer banned", peer=peer, reason=reason)
                    self.events.publish(PeerBanned(peer=peer, reason=reason, until_ms=until_ms))

    async def _watch(self) -> None:
        """Once a second: views that pass, sync that goes on, and what is worth a warning."""
        turn, was_syncing = (0, 0), False
        while True:
            live = self.live()
            if live.view > 0 and (live.height, live.view) != turn:
                self.events.publish(ViewChanged(height=live.height, view=live.view, leader=self._party(live.leader)))
            turn = (live.height, live.view)
            if live.syncing or was_syncing:
                self.events.publish(
                    SyncProgress(
                        height=live.height - 1,
                        target_height=live.target_height,
                        blocks_per_second=live.blocks_per_second,
                        done=not live.syncing,
                    )
                )
            was_syncing = live.syncing
            self._intake.disk_full = self._driver.disk_full
            self._intake.look_for_room()
            self._warn()
            await trio.sleep(WATCH_PERIOD_S)

    def _warn(self) -> None:
        new, cleared = self._health.look()
        for sentence in new:
            self._log.warning(sentence)
            self.events.publish(Warned(text=sentence, cleared=False))
        for sentence in cleared:
            self.events.publish(Warned(text=sentence, cleared=True))

    # -- bookkeeping

    def _accepted(self, transaction: Transaction) -> None:
        if len(self.events) == 0:
            return
        with self._store.snapshot() as view:
            reader = Reader(view, self)
            sender = reader.party(reader.acting_account(transaction)[0])
        self.events.publish(TransactionPending(id=transaction.id.hex(), kind=transaction.kind.word, sender=sender))

    def _party(self, account: bytes | None) -> Party | None:
        if account is None:
            return None
        with self._store.snapshot() as view:
            return Reader(view, self).party(account)

    def _committee_at(self, height: int) -> Committee | None:
        context = self._driver.context
        if context is None:
            return None
        return {context.height: context.committee, context.height - 1: context.parent_committee}.get(height)

    def _gauges(self) -> Mapping[str, float]:
        live = self.live()
        return {
            "height": self._chain.height,
            "view": live.view,
            "target_height": live.target_height,
            "mempool_transactions": len(self._intake.mempool),
            "mempool_bytes": self._intake.mempool.bytes,
            "peers": len(self._network.peers()),
            "disk_bytes": self._store.size_bytes(),
            "disk_full": int(live.disk_full),
            "clock_offset_ms": live.clock_offset_ms or 0,
            "voting": int(live.votes),
            **self._market_gauges(),
        }

    def _market_gauges(self) -> Mapping[str, float]:
        """Read once a block at the most."""
        height = self._chain.height
        if height != self._market_gauges_at[0]:
            with self._store.snapshot() as view:
                self._market_gauges_at = height, market_gauges(view, self._parts.genesis)
        return self._market_gauges_at[1]

    def _network_counters(self) -> Mapping[str, float]:
        return self._network.metrics()

    def _restarts(self) -> Mapping[str, int]:
        return {} if self._services is None else self._services.restarts

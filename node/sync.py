"""Staying level with the others: statuses, missing blocks, and the answers others need from us.

1. At connection, and whenever one of two may be behind, nodes exchange a ``Status``. Another chain ends the
   acquaintance with a ban.
2. While some peer stands higher, ranges of committed blocks are fetched and handed to the driver, which verifies and
   executes each one. The next range is fetched while one is applied. A peer that serves a wrong block loses its score,
   one that does not answer is passed over for a while.
3. Gossip is not relied on: when no block was committed for 2Δ, two peers taken at random are asked for their status.
4. Peers' clocks are compared at every exchange. If the median of the differences exceeds the tolerance, the node says
   so: its own clock is the likelier to be wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from statistics import median_low
from typing import Final, Protocol

import trio

from consensus.block import MAX_BLOCK_BYTES, Block, Certificate
from ledger.encoding import EncodingError, decode, encode
from node.clock import WallClock, monotonic_ms
from node.log import Log
from node.protocol import (
    BLOCKS,
    BODY,
    CERTIFICATES,
    MAX_RANGE,
    MAX_RANGE_BYTES,
    MAX_SMALL_BYTES,
    PROTOCOL_VERSION,
    STATUS,
    BlockRange,
    HeldCertificates,
    Status,
    StoredBlock,
    StoredBlocks,
)
from p2p.network import (
    MAX_RESPONSE_BYTES,
    Banned,
    Connected,
    Disconnected,
    Network,
    NetworkError,
    Offence,
    PeerId,
    RequestRefused,
)

WRONG_CHAIN_BAN_S: Final = 24 * 3600.0
PASSED_OVER_S: Final = 10.0
ASKED_AT_ONCE: Final = 2


class ServedBlockInvalid(Exception):
    """A peer served a block that is not the chain's."""


class Chain(Protocol):
    """What sync needs of the node's chain and driver."""

    def status(self) -> Status: ...

    def stored_block(self, height: int) -> StoredBlock | None: ...

    def body(self, block_hash: bytes) -> Block | None:
        """A body of the open height, or a committed one."""

    def held_certificates(self, height: int) -> tuple[Certificate, ...]: ...

    async def import_blocks(self, blocks: tuple[StoredBlock, ...]) -> None:
        """Verifies, executes and commits blocks that follow the tip. Errors: ServedBlockInvalid."""


@dataclass(frozen=True, slots=True)
class Progress:
    """``target`` is the highest height a peer has told us of."""

    height: int
    target: int

    @property
    def behind(self) -> int:
        return max(0, self.target - self.height)


class Sync:
    """See the module's rules. ``delta_ms`` is Δ."""

    def __init__(
        self, network: Network, chain: Chain, chain_id: bytes, delta_ms: int, wall: WallClock, random: Random, log: Log
    ) -> None:
        self._network = network
        self._chain = chain
        self._chain_id = chain_id
        self._delta_s = delta_ms / 1000
        self._wall = wall
        self._random = random
        self._log = log
        self._statuses: dict[PeerId, Status] = {}
        self._clock_offsets_ms: dict[PeerId, int] = {}
        self._passed_over_until: dict[PeerId, float] = {}
        self._wake = trio.Event()
        self.met_someone = trio.Event()  # set once any peer has told where it stands
        network.serve(STATUS, self._serve_status)
        network.serve(BLOCKS, self._serve_blocks)
        network.serve(BODY, self._serve_body)
        network.serve(CERTIFICATES, self._serve_certificates)

    # -- what others may ask of this module

    def progress(self) -> Progress:
        height = self._chain.status().height
        return Progress(height, max([height, *(status.height for status in self._statuses.values())]))

    def highest_reported(self) -> int | None:
        """The highest tip any connected peer reports; None before anyone has."""
        return max((status.height for status in self._statuses.values()), default=None)

    def clock_offset_ms(self) -> int:
        """By how much the peers' clocks are ahead of ours, the median; 0 without peers."""
        return median_low(self._clock_offsets_ms.values()) if self._clock_offsets_ms else 0

    def heard_of_height(self, height: int) -> None:
        """Someone speaks of a height above ours: look around at once."""
        if height > self.progress().target:
            self._wake.set()

    async def tell_status(self, peer: PeerId) -> None:
        """Exchanges statuses with one peer, so that whoever is behind learns it."""
        try:
            sent_ms = monotonic_ms()
            answer = await self._network.request(peer, STATUS, encode(self._chain.status()))
            status = decode(answer, Status, MAX_SMALL_BYTES)
        except EncodingError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"status: {error}")
            return
        except NetworkError as error:
            self._pass_over(peer, error)
            return
        await self._take_status(peer, status)
        if peer in self._statuses:
            round_trip_ms = monotonic_ms() - sent_ms
            self._clock_offsets_ms[peer] = status.wall_ms + round_trip_ms // 2 - self._wall()

    async def fetch_body(self, block_hash: bytes, peers: list[PeerId]) -> Block | None:
        """A block body by its hash from any of the peers, those first that should have it."""
        for peer in self._reachable(peers):
            answer = await self._ask(peer, BODY, block_hash)
            if answer is None:
                continue
            try:
                block = decode(answer, Block, MAX_BLOCK_BYTES)
            except EncodingError as error:
                self._network.penalise(peer, Offence.INVALID_MESSAGE, f"body: {error}")
                continue
            if block.hash == block_hash:
                return block
            self._network.penalise(peer, Offence.INVALID_MESSAGE, "body of another hash")
        return None

    async def fetch_certificates(self, height: int) -> list[Certificate]:
        """The certificates two random peers hold of the open height."""
        found: list[Certificate] = []
        for peer in self._reachable([])[:ASKED_AT_ONCE]:
            answer = await self._ask(peer, CERTIFICATES, encode(height))
            if answer is None:
                continue
            try:
                found.extend(decode(answer, HeldCertificates, MAX_RESPONSE_BYTES))
            except EncodingError as error:
                self._network.penalise(peer, Offence.INVALID_MESSAGE, f"certificates: {error}")
        return found

    # -- services

    async def run_acquaintance(self) -> None:
        """Follows connections: a status with everyone who comes, nothing kept of those who go."""
        async with trio.open_nursery() as nursery:
            async for event in self._network.events():
                match event:
                    case Connected(peer=peer):
                        nursery.start_soon(self.tell_status, peer)
                    case Disconnected(peer=peer) | Banned(peer=peer):
                        self._statuses.pop(peer, None)
                        self._clock_offsets_ms.pop(peer, None)
                        self._passed_over_until.pop(peer, None)

    async def run_catch_up(self) -> None:
        """Fetches what is missing, for ever."""
        while True:
            self._wake = trio.Event()
            height = self._chain.status().height
            while self.progress().behind > 0 and await self._catch_up():
                pass
            with trio.move_on_after(2 * self._delta_s):
                await self._wake.wait()
            if self._chain.status().height == height:
                for peer in self._reachable([])[:ASKED_AT_ONCE]:
                    await self.tell_status(peer)

    async def _catch_up(self) -> bool:
        """One pass over the missing range from one peer; False when nobody could serve it."""
        height = self._chain.status().height
        servers = [
            peer for peer in self._reachable([]) if peer in self._statuses and self._statuses[peer].height > height
        ]
        if not servers:
            return False
        peer = servers[0]
        target = self._statuses[peer].height
        sender, receiver = trio.open_memory_channel[tuple[StoredBlock, ...]](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fetch_ranges, peer, height + 1, target, sender)
            async with receiver:
                async for blocks in receiver:
                    try:
                        await self._chain.import_blocks(blocks)
                    except ServedBlockInvalid as error:
                        self._network.penalise(peer, Offence.INVALID_MESSAGE, f"served block: {error}")
                        self._pass_over(peer, error)
                        nursery.cancel_scope.cancel()
        return self._chain.status().height > height

    async def _fetch_ranges(
        self, peer: PeerId, first: int, target: int, sender: trio.MemorySendChannel[tuple[StoredBlock, ...]]
    ) -> None:
        async with sender:
            while first <= target:
                count = min(MAX_RANGE, target - first + 1)
                answer = await self._ask(peer, BLOCKS, encode(BlockRange(first=first, count=count)))
                if answer is None:
                    return
                try:
                    blocks = decode(answer, StoredBlocks, MAX_RESPONSE_BYTES)
                except EncodingError as error:
                    self._network.penalise(peer, Offence.INVALID_MESSAGE, f"blocks: {error}")
                    return
                if not blocks:
                    self._statuses.pop(peer, None)  # it claimed a height it cannot show
                    self._pass_over(peer, RequestRefused("it has no such blocks"))
                    return
                await sender.send(blocks)
                first += len(blocks)

    # -- answers

    async def _serve_status(self, peer: PeerId, request: bytes) -> bytes:
        try:
            status = decode(request, Status, MAX_SMALL_BYTES)
        except EncodingError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"status: {error}")
            raise RequestRefused("not a status") from error
        await self._take_status(peer, status)
        return encode(self._chain.status())

    async def _serve_blocks(self, peer: PeerId, request: bytes) -> bytes:
        try:
            range_ = decode(request, BlockRange, MAX_SMALL_BYTES)
        except EncodingError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"block range: {error}")
            raise RequestRefused("not a block range") from error
        blocks: list[StoredBlock] = []
        size = 0
        for height in range(range_.first, range_.first + range_.count):
            stored = self._chain.stored_block(height)
            if stored is None or size > MAX_RANGE_BYTES:
                break
            blocks.append(stored)
            size += len(stored.block) + len(stored.certificate)
            await trio.lowlevel.checkpoint()
        return encode(tuple(blocks))

    async def _serve_body(self, _peer: PeerId, request: bytes) -> bytes:
        block = self._chain.body(request) if len(request) == 32 else None
        if block is None:
            raise RequestRefused("no such body here")
        return encode(block)

    async def _serve_certificates(self, peer: PeerId, request: bytes) -> bytes:
        try:
            height = decode(request, int, MAX_SMALL_BYTES)
        except EncodingError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"height: {error}")
            raise RequestRefused("not a height") from error
        return encode(self._chain.held_certificates(height))

    # -- bookkeeping

    async def _take_status(self, peer: PeerId, status: Status) -> None:
        if status.chain_id != self._chain_id or status.version != PROTOCOL_VERSION:
            await self._network.ban(peer, WRONG_CHAIN_BAN_S, "another chain or protocol version")
            return
        self._statuses[peer] = status
        self.met_someone.set()
        if status.height > self._chain.status().height:
            self._wake.set()

    async def _ask(self, peer: PeerId, protocol: str, request: bytes) -> bytes | None:
        try:
            return await self._network.request(peer, protocol, request)
        except NetworkError as error:
            self._pass_over(peer, error)
            return None

    def _pass_over(self, peer: PeerId, error: Exception) -> None:
        self._log.debug("peer passed over", peer=peer, reason=str(error))
        self._passed_over_until[peer] = trio.current_time() + PASSED_OVER_S

    def _reachable(self, preferred: list[PeerId]) -> list[PeerId]:
        """Connected peers: the preferred ones first, then the others, each part in random order."""
        now = trio.current_time()
        connected = [
            info.peer for info in self._network.peers() if self._passed_over_until.get(info.peer, -math.inf) <= now
        ]
        self._random.shuffle(connected)
        chosen = set(preferred)
        return sorted(connected, key=lambda peer: peer not in chosen)

"""Staying level with the others: who stands where, and that what is missing here is fetched.

1. At connection, and whenever one of two may be behind, nodes exchange a ``Status``. Another chain or version ends the
   acquaintance with a ban. Nothing is kept of a peer that is not connected.
2. While some peer stands higher, committed blocks are fetched from all that have them and handed to the driver, which
   verifies and executes them (``node.catch_up``). A peer that serves a wrong block, or none of those it claims to have,
   loses score and its claims.
3. Gossip is not relied on: when no block was committed for 2Δ, or somebody speaks of a height that no peer has claimed,
   two peers taken at random are asked where they stand, at most twice per Δ.
4. Where the network stands is what more than a third of the weight claims, so that no liar can make this node believe
   that it is behind; while less than that is heard, the highest claim.
5. Peers' clocks are compared at every exchange. If the median of the differences exceeds the tolerance, the node says
   so: its own clock is the likelier to be wrong.
6. A peer that does not answer is asked nothing for PASSED_OVER_S.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from statistics import median_low
from typing import Final, Protocol

import trio

from consensus.block import MAX_BLOCK_BYTES, Block, Certificate
from consensus.committee import Committee
from ledger.encoding import EncodingError, decode, encode
from node import catch_up
from node.catch_up import CatchUp
from node.clock import WallClock, monotonic_ms
from node.log import Log
from node.protocol import (
    BODY,
    CERTIFICATES,
    MAX_SMALL_BYTES,
    PROTOCOL_VERSION,
    STATUS,
    HeldCertificates,
    Status,
    node_key_of,
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
    RequestFailed,
    RequestRefused,
)

WRONG_CHAIN_BAN_S: Final = 24 * 3600.0
PASSED_OVER_S: Final = 10.0
ASKED_AT_ONCE: Final = 2


class Chain(catch_up.Chain, Protocol):
    """What sync needs of the node's chain and driver."""

    def status(self) -> Status: ...

    def committee(self) -> Committee:
        """Of the open height."""

    def body_is_bound(self, block: Block) -> bool: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """``target`` is where the network stands, not below ``height``."""

    height: int
    target: int

    @property
    def behind(self) -> int:
        return self.target - self.height


class Sync:
    """See the module's rules. ``delta_ms`` is Δ; nothing above ``halt_height`` is fetched, 0 for no such end."""

    def __init__(
        self,
        network: Network,
        chain: Chain,
        chain_id: bytes,
        delta_ms: int,
        wall: WallClock,
        random: Random,
        log: Log,
        halt_height: int = 0,
    ) -> None:
        self._network = network
        self._chain = chain
        self._chain_id = chain_id
        self._delta_s = delta_ms / 1000
        self._wall = wall
        self._random = random
        self._log = log
        self._catch_up = CatchUp(network, chain, random, self._caught, log, halt_height)
        self._claims: dict[PeerId, int] = {}
        self._floors: dict[PeerId, int] = {}
        self._clock_offsets_ms: dict[PeerId, int] = {}
        self._passed_over_until: dict[PeerId, float] = {}
        self._asking: set[PeerId] = set()
        self._rumour = 0
        self._rumoured = trio.Event()
        self.met_someone = trio.Event()  # set once any peer has told where it stands
        network.serve(STATUS, self._serve_status)

    # -- what others may ask of this module

    def progress(self) -> Progress:
        height = self._chain.height
        return Progress(height, max(height, _standing(self._claims, self._chain.committee())))

    def claims(self) -> dict[PeerId, int]:
        """The heights connected peers say they have."""
        return dict(self._claims)

    def clock_offset_ms(self) -> int | None:
        """By how much the peers' clocks are ahead of ours, the median; None without peers."""
        return median_low(self._clock_offsets_ms.values()) if self._clock_offsets_ms else None

    def heard_of_height(self, height: int) -> None:
        """Someone speaks of a height above ours: look around if no peer has claimed it."""
        if height > max(self._rumour, *self._claims.values(), self._chain.height):
            self._rumour = height
            self._rumoured.set()

    async def tell_status(self, peer: PeerId) -> None:
        """Exchanges statuses with one peer, so that whoever is behind learns it."""
        if peer in self._asking:
            return
        self._asking.add(peer)
        try:
            sent_ms = monotonic_ms()
            answer = await self._network.request(peer, STATUS, encode(self._chain.status()))
            received_ms = monotonic_ms()
            status = decode(answer, Status, MAX_SMALL_BYTES)
        except EncodingError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"status: {error}")
            return
        except NetworkError as error:
            self._pass_over(peer, error)
            return
        finally:
            self._asking.discard(peer)
        await self._take_status(peer, status)
        if peer in self._claims:
            self._clock_offsets_ms[peer] = status.wall_ms + (received_ms - sent_ms) // 2 - self._wall()

    async def ask_everyone(self, within_s: float) -> None:
        """Exchanges statuses with all connected peers, as far as they answer in time."""
        with trio.move_on_after(within_s):
            async with trio.open_nursery() as nursery:
                for info in self._network.peers():
                    nursery.start_soon(self.tell_status, info.peer)

    async def fetch_body(self, block_hash: bytes, peers: Iterable[PeerId]) -> Block | None:
        """A block with its bound body from any connected peer, those of ``peers`` first; two are asked at once."""
        candidates = iter(self._reachable(peers))
        found: Block | None = None

        async def ask_on() -> None:
            nonlocal found
            for peer in candidates:
                block = await self._body_from(peer, block_hash)
                if block is not None:
                    found = block
                    nursery.cancel_scope.cancel()
                    return

        async with trio.open_nursery() as nursery:
            for _ in range(ASKED_AT_ONCE):
                nursery.start_soon(ask_on)
        return found

    async def fetch_certificates(self, height: int) -> list[Certificate]:
        """The certificates two random peers hold of the open height."""
        found: list[Certificate] = []

        async def ask(peer: PeerId) -> None:
            answer = await self._ask(peer, CERTIFICATES, encode(height))
            if answer is None:
                return
            try:
                found.extend(decode(answer, HeldCertificates, MAX_RESPONSE_BYTES))
            except EncodingError as error:
                self._network.penalise(peer, Offence.INVALID_MESSAGE, f"certificates: {error}")

        async with trio.open_nursery() as nursery:
            for peer in self._reachable()[:ASKED_AT_ONCE]:
                nursery.start_soon(ask, peer)
        return found

    # -- services

    async def run_acquaintance(self) -> None:
        """Follows connections: a status with everyone who comes, nothing kept of those who go."""
        events = self._network.events()
        connected = {info.peer for info in self._network.peers()}
        for peer in self._claims.keys() - connected:
            self._forget(peer)
        async with trio.open_nursery() as nursery:
            for peer in connected:
                nursery.start_soon(self.tell_status, peer)
            async for event in events:
                match event:
                    case Connected(peer=peer):
                        self._passed_over_until.pop(peer, None)
                        nursery.start_soon(self.tell_status, peer)
                    case Disconnected(peer=peer) | Banned(peer=peer):
                        self._forget(peer)

    async def run_catch_up(self) -> None:
        """Looks around and fetches what is missing, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_around)
            await self._catch_up.run({peer: (height, self._floors[peer]) for peer, height in self._claims.items()})

    async def _look_around(self) -> None:
        """Rule 3."""
        looked_at_s = -math.inf
        async with trio.open_nursery() as nursery:
            while True:
                self._rumoured = trio.Event()
                height = self._chain.height
                with trio.move_on_after(2 * self._delta_s):
                    await self._rumoured.wait()
                stands_still = not self._rumoured.is_set() and self._chain.height == height
                rumoured = self._rumour > self._chain.height
                if (stands_still or rumoured) and trio.current_time() - looked_at_s >= self._delta_s / 2:
                    looked_at_s = trio.current_time()
                    self._rumour = 0
                    for peer in self._reachable()[:ASKED_AT_ONCE]:
                        nursery.start_soon(self.tell_status, peer)

    # -- bookkeeping

    async def _serve_status(self, peer: PeerId, request: bytes) -> bytes:
        try:
            status = decode(request, Status, MAX_SMALL_BYTES)
        except EncodingError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"status: {error}")
            raise RequestRefused("not a status") from error
        await self._take_status(peer, status)
        return encode(self._chain.status())

    async def _take_status(self, peer: PeerId, status: Status) -> None:
        if status.chain_id != self._chain_id or status.version != PROTOCOL_VERSION:
            await self._network.ban(peer, WRONG_CHAIN_BAN_S, "another chain or protocol version")
            return
        if all(info.peer != peer for info in self._network.peers()):
            return  # gone while it was asked: there will be no event to forget it by
        self._claims[peer], self._floors[peer] = status.height, status.floor
        self._catch_up.claims(peer, status.height, status.floor)
        self.met_someone.set()

    async def _body_from(self, peer: PeerId, block_hash: bytes) -> Block | None:
        answer = await self._ask(peer, BODY, block_hash)
        if answer is None:
            return None
        try:
            block = decode(answer, Block, MAX_BLOCK_BYTES)
        except EncodingError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"body: {error}")
            return None
        if block.hash != block_hash or not self._chain.body_is_bound(block):
            self._network.penalise(peer, Offence.INVALID_MESSAGE, "another body than the one asked for")
            return None
        return block

    async def _ask(self, peer: PeerId, protocol: str, request: bytes) -> bytes | None:
        """None if the peer has no answer; one that does not speak at all is passed over."""
        try:
            return await self._network.request(peer, protocol, request)
        except RequestFailed as error:
            self._pass_over(peer, error)
        except NetworkError as error:
            self._log.debug("no answer", peer=peer, protocol=protocol, reason=str(error))
        return None

    def _caught(self, peer: PeerId, offence: Offence, detail: str) -> None:
        """A peer served what it should not have, or not what it should have: its claims are worth nothing."""
        self._network.penalise(peer, offence, detail)
        self._claims.pop(peer, None)
        self._pass_over(peer, RequestRefused(detail))

    def _pass_over(self, peer: PeerId, error: Exception) -> None:
        self._log.debug("peer passed over", peer=peer, reason=str(error))
        self._passed_over_until[peer] = trio.current_time() + PASSED_OVER_S

    def _forget(self, peer: PeerId) -> None:
        self._claims.pop(peer, None)
        self._floors.pop(peer, None)
        self._catch_up.gone(peer)
        self._clock_offsets_ms.pop(peer, None)

    def _reachable(self, preferred: Iterable[PeerId] = ()) -> list[PeerId]:
        """Connected peers: the preferred ones first, then the others, each part in random order."""
        now_s = trio.current_time()
        self._passed_over_until = {peer: until for peer, until in self._passed_over_until.items() if until > now_s}
        connected = [info.peer for info in self._network.peers() if info.peer not in self._passed_over_until]
        self._random.shuffle(connected)
        chosen = set(preferred)
        return sorted(connected, key=lambda peer: peer not in chosen)


def _standing(claims: dict[PeerId, int], committee: Committee) -> int:
    """Rule 4."""
    heard = 0
    for peer, height in sorted(claims.items(), key=lambda claim: -claim[1]):
        seat = committee.index_of_node_key(node_key_of(peer) or b"")
        heard += 0 if seat is None else committee.weights[seat]
        if 3 * heard > committee.total_weight:
            return height
    return max(claims.values(), default=0)

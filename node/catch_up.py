"""Fetches the blocks that peers have and this node lacks: carries out what ``node.download`` plans.

1. Ranges are fetched from several peers at once and decoded and their signatures checked (``Chain.prepare``) while the
   range before is executed and stored (``Chain.import_blocks``); at most PREPARED_AHEAD ranges wait in between.
2. Ranges are applied in order of height. One that is wrong costs the peer that served it, and everything after it in
   this pipeline is thrown away: the plan begins anew at the tip.
3. Nothing is kept between runs: what was fetched and not stored is fetched again, so a node that is stopped at any
   instant goes on at its tip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, Protocol

import trio

from ledger.encoding import EncodingError, decode, encode
from node.batches import Prepared
from node.clock import monotonic_ms
from node.download import Ask, Blame, Download, Misconduct, Served
from node.log import Log
from node.protocol import BLOCKS, BlockRange, StoredBlock, StoredBlocks
from p2p.network import MAX_RESPONSE_BYTES, Network, NetworkError, Offence, PeerId, RequestRefused

PREPARED_AHEAD: Final = 2
REST_AFTER_S: Final = 10.0

_OFFENCES: Final = {
    Misconduct.EMPTY: Offence.PROTOCOL_VIOLATION,
    Misconduct.TOO_MANY: Offence.PROTOCOL_VIOLATION,
    Misconduct.TOO_LARGE: Offence.OVERSIZE,
    Misconduct.WRONG: Offence.INVALID_MESSAGE,
}
_Range = Served[StoredBlock]


class ServedBlockInvalid(Exception):
    """A peer served a block that is not the chain's."""


class Chain(Protocol):
    """What is asked of the node's chain and driver."""

    @property
    def height(self) -> int: ...

    async def prepare(self, blocks: tuple[StoredBlock, ...]) -> Prepared:
        """Decodes blocks and checks every signature in them. Errors: ServedBlockInvalid."""

    async def import_blocks(self, prepared: Prepared) -> None:
        """Executes and commits those that follow the tip; others are passed over. Errors: ServedBlockInvalid."""

    async def rest(self) -> None:
        """There is nothing to prepare for a while."""


class CatchUp:
    """See the module's rules. ``caught`` is told of peers that misbehave; nothing above ``halt_height`` is fetched, 0
    for no such end.
    """

    def __init__(
        self,
        network: Network,
        chain: Chain,
        random: Random,
        caught: Callable[[PeerId, Offence, str], None],
        log: Log,
        halt_height: int = 0,
    ) -> None:
        self._network = network
        self._chain = chain
        self._random = random
        self._caught = caught
        self._log = log
        self._halt_height = halt_height
        self._plan: Download[StoredBlock] = self._new_plan()
        self._stirred = trio.Event()
        self._arrived = trio.Event()
        self._generation = 0

    def claims(self, peer: PeerId, height: int, floor: int) -> None:
        """A connected peer says it has the blocks ``floor`` … ``height``."""
        self._plan.claims(peer, height, floor)
        self._stir()

    def gone(self, peer: PeerId) -> None:
        self._plan.gone(peer)
        self._stir()

    async def run(self, claims: Mapping[PeerId, tuple[int, int]]) -> None:
        """Fetches what is missing, for ever. ``claims``: of the connected peers, (height, floor)."""
        self._plan = self._new_plan()
        self._generation += 1
        for peer, (height, floor) in claims.items():
            self._plan.claims(peer, height, floor)
        sender, receiver = trio.open_memory_channel[tuple[int, _Range, Prepared]](PREPARED_AHEAD - 1)
        async with trio.open_nursery() as nursery, sender, receiver:
            nursery.start_soon(self._prepare_ranges, sender)
            nursery.start_soon(self._apply_ranges, receiver)
            await self._ask_on(nursery)

    # -- asking

    async def _ask_on(self, nursery: trio.Nursery) -> None:
        while True:
            self._stirred = trio.Event()
            now_ms = monotonic_ms()
            self._plan.applied(self._chain.height)
            self._arrived.set()
            for ask in self._plan.plan(now_ms):
                nursery.start_soon(self._fetch, ask)
            wake_ms = self._plan.wake_at_ms(now_ms)
            with trio.move_on_after(float("inf") if wake_ms is None else (wake_ms - now_ms) / 1000):
                await self._stirred.wait()

    async def _fetch(self, ask: Ask) -> None:
        plan = self._plan
        try:
            answer = await self._network.request(ask.peer, BLOCKS, encode(BlockRange(first=ask.first, count=ask.count)))
            blocks = decode(answer, StoredBlocks, MAX_RESPONSE_BYTES)
        except RequestRefused as error:
            self._log.debug("blocks refused", peer=ask.peer, first=ask.first, reason=str(error))
            plan.refused(ask, monotonic_ms())
        except NetworkError as error:
            self._log.debug("no blocks", peer=ask.peer, first=ask.first, reason=str(error))
            plan.failed(ask, monotonic_ms())
        except EncodingError as error:
            awaited = plan.awaits(ask)
            plan.failed(ask, monotonic_ms())
            if awaited:
                plan.misbehaved(ask.peer, monotonic_ms())
                self._caught(ask.peer, Offence.INVALID_MESSAGE, f"blocks: {error}")
        else:
            self._blame(plan.answered(ask, blocks, len(answer), monotonic_ms()))
        self._stir()

    # -- the pipeline

    async def _prepare_ranges(self, sender: trio.MemorySendChannel[tuple[int, _Range, Prepared]]) -> None:
        while True:
            generation, served = await self._next_range()
            try:
                prepared = await self._chain.prepare(served.blocks)
            except ServedBlockInvalid as error:
                self._wrong(generation, served.first, str(error))
            else:
                await sender.send((generation, served, prepared))

    async def _next_range(self) -> tuple[int, _Range]:
        rest_at_s = trio.current_time() + REST_AFTER_S
        while True:
            self._arrived = trio.Event()
            served = self._plan.take()
            if served is not None:
                return self._generation, served
            with trio.move_on_at(rest_at_s) as waiting:
                await self._arrived.wait()
            if waiting.cancelled_caught:
                await self._chain.rest()
                rest_at_s = float("inf")

    async def _apply_ranges(self, receiver: trio.MemoryReceiveChannel[tuple[int, _Range, Prepared]]) -> None:
        async for generation, served, prepared in receiver:
            if generation != self._generation:
                continue
            fault = "not the blocks that were asked for"
            try:
                await self._chain.import_blocks(prepared)
            except ServedBlockInvalid as error:
                fault = str(error)
            height = self._chain.height
            self._plan.applied(height)
            if height < served.last:
                self._wrong(generation, max(served.first, height + 1), fault)
            self._stir()

    def _wrong(self, generation: int, height: int, detail: str) -> None:
        """Rule 2."""
        if generation == self._generation:
            self._generation += 1
            self._blame(self._plan.wrong(height, detail, monotonic_ms()))
            self._stir()

    def _blame(self, blame: Blame | None) -> None:
        if blame is not None:
            self._caught(blame.peer, _OFFENCES[blame.misconduct], f"{blame.misconduct}: {blame.detail}")

    def _stir(self) -> None:
        self._stirred.set()
        self._arrived.set()

    def _new_plan(self) -> Download[StoredBlock]:
        return Download(self._chain.height, self._random, self._halt_height)

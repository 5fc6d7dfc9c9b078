"""The answers other nodes get from this one: committed blocks, a body, the certificates of the open height.

1. A request that is malformed is refused and costs the peer that sent it.
2. Pruned and damaged blocks are not served; damage is said in the log. An answer is bounded: at most MAX_RANGE blocks
   and about MAX_RANGE_BYTES, one block at the least; at most MAX_HELD_CERTIFICATES certificates and about
   MAX_RANGE_BYTES, those of the latest views.
3. A request costs its sender next to nothing and this node a lot. So a peer is answered one request at a time, and over
   time with no more than SERVED_BYTES_PER_S, each request counting REQUEST_COST_BYTES at least; ahead of that it waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from consensus.block import Certificate
from ledger.encoding import EncodingError, decode, encode
from node.log import Log
from node.protocol import (
    BLOCKS,
    BODY,
    CERTIFICATES,
    MAX_HELD_CERTIFICATES,
    MAX_RANGE_BYTES,
    MAX_SMALL_BYTES,
    BlockRange,
    StoredBlock,
)
from p2p.network import Network, Offence, PeerId, RequestRefused
from storage.errors import Damaged, Pruned

SERVED_BYTES_PER_S: Final = 4 * 1024 * 1024
SERVED_AT_ONCE_BYTES: Final = 16 * 1024 * 1024
REQUEST_COST_BYTES: Final = 16 * 1024


class Shelf(Protocol):
    """What can be served."""

    def stored_block(self, height: int) -> StoredBlock | None: ...

    def body(self, block_hash: bytes) -> bytes | None:
        """The encoding of a body of the open height, or of the tip's."""

    def held_certificates(self, height: int) -> tuple[Certificate, ...]: ...


@dataclass(slots=True)
class _Ration:
    """``used_until_s``: when what the peer was served is paid for."""

    turn: trio.Lock = field(default_factory=trio.Lock)
    used_until_s: float = 0.0


class Serving:
    """See the module's rules."""

    def __init__(self, network: Network, shelf: Shelf, log: Log) -> None:
        self._network = network
        self._shelf = shelf
        self._log = log
        self._rations: dict[PeerId, _Ration] = {}
        network.serve(BLOCKS, self.in_turn(self._blocks))
        network.serve(BODY, self.in_turn(self._body))
        network.serve(CERTIFICATES, self.in_turn(self._certificates))

    def forget(self, peer: PeerId) -> None:
        """The peer is gone."""
        self._rations.pop(peer, None)

    def in_turn(
        self, answer: Callable[[PeerId, bytes], Awaitable[bytes]]
    ) -> Callable[[PeerId, bytes], Awaitable[bytes]]:
        """Rule 3, for any handler."""

        async def answer_in_turn(peer: PeerId, request: bytes) -> bytes:
            ration = self._rations.setdefault(peer, _Ration())
            async with ration.turn:
                await trio.sleep_until(ration.used_until_s - SERVED_AT_ONCE_BYTES / SERVED_BYTES_PER_S)
                served_bytes = 0
                try:
                    answered = await answer(peer, request)
                    served_bytes = len(answered)
                finally:
                    cost_s = max(REQUEST_COST_BYTES, served_bytes) / SERVED_BYTES_PER_S
                    ration.used_until_s = max(ration.used_until_s, trio.current_time()) + cost_s
            return answered

        return answer_in_turn

    async def _blocks(self, peer: PeerId, request: bytes) -> bytes:
        try:
            range_ = decode(request, BlockRange, MAX_SMALL_BYTES)
        except EncodingError as error:
            raise self._malformed(peer, "a block range", error) from error
        blocks: list[StoredBlock] = []
        size = 0
        for height in range(range_.first, range_.first + range_.count):
            stored = self._stored_block(height)
            if stored is None or size > MAX_RANGE_BYTES:
                break
            blocks.append(stored)
            size += len(stored.block) + len(stored.certificate)
            await trio.lowlevel.checkpoint()
        return encode(tuple(blocks))

    def _stored_block(self, height: int) -> StoredBlock | None:
        try:
            return self._shelf.stored_block(height)
        except Pruned as error:
            raise RequestRefused(str(error)) from error
        except Damaged as error:
            self._log.error("damaged data", height=height, detail=str(error))
            raise RequestRefused("this node's copy is damaged") from error

    async def _body(self, peer: PeerId, request: bytes) -> bytes:
        if len(request) != 32:
            raise self._malformed(peer, "a block hash", f"{len(request)} bytes")
        body = self._shelf.body(request)
        if body is None:
            raise RequestRefused("no such body here")
        return body

    async def _certificates(self, peer: PeerId, request: bytes) -> bytes:
        try:
            height = decode(request, int, MAX_SMALL_BYTES)
        except EncodingError as error:
            raise self._malformed(peer, "a height", error) from error
        held = sorted(self._shelf.held_certificates(height), key=lambda certificate: certificate.view, reverse=True)
        chosen: list[Certificate] = []
        size = 0
        for certificate in held[:MAX_HELD_CERTIFICATES]:
            if chosen and size > MAX_RANGE_BYTES:
                break
            chosen.append(certificate)
            size += len(certificate.signatures)
        return encode(tuple(chosen))

    def _malformed(self, peer: PeerId, expected: str, problem: object) -> RequestRefused:
        self._network.penalise(peer, Offence.INVALID_MESSAGE, f"not {expected}: {problem}")
        return RequestRefused(f"not {expected}")

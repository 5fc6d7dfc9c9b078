"""What a newcomer is served who does not want the whole chain: the state at one height, and how committees followed.

1. The state of a height is read from a snapshot of the storage, which is kept open between a newcomer's requests: at
   most OPEN_AT_ONCE, each for IDLE_S after its last use and LONGEST_S in all, since the file grows meanwhile. Who asks
   for height 0 shares an open one not older than SHARED_S, or opens another; with no room the request is refused.
2. A part has at most MAX_STATE_PART_BYTES or one record. The first comes with the block after which the state stands.
3. Steps between committees are read from stored blocks, so a pruned node has those above its floor; at most MAX_STEPS
   and about MAX_RANGE_BYTES.
4. Requests are rationed like those for blocks (``node.serving``); malformed ones cost the peer that sent them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

import trio
from msgspec.structs import replace

from consensus.block import MAX_CERTIFICATE_BYTES, Certificate
from ledger.committee import snapshot_height
from ledger.encoding import EncodingError, decode, encode
from node.effects import decode_effects
from node.log import Log
from node.protocol import (
    COMMITTEE,
    MAX_RANGE_BYTES,
    MAX_SMALL_BYTES,
    MAX_STATE_PART_BYTES,
    MAX_STATE_PART_RECORDS,
    MAX_STEPS,
    STATE,
    CommitteePath,
    CommitteeStep,
    StateHead,
    StatePart,
    StateRequest,
    StoredBlock,
)
from node.views.reader import Kept, NotFound, Reader
from p2p.network import Handler, Network, Offence, PeerId, RequestRefused
from storage.errors import Damaged, Pruned
from storage.interface import BlockStore, ChainView

T = TypeVar("T")

OPEN_AT_ONCE: Final = 2
SHARED_S: Final = 30.0
IDLE_S: Final = 30.0
LONGEST_S: Final = 600.0
LOOKED_AT_S: Final = 5.0


@dataclass(slots=True)
class _Open:
    """A state that is being served."""

    view: ChainView
    close: Callable[[], None]
    opened_s: float
    used_s: float


class Snapshots:
    """See the module's rules. ``in_turn`` rations a handler."""

    def __init__(
        self,
        network: Network,
        store: BlockStore,
        kept: Kept,
        in_turn: Callable[[Callable[[PeerId, bytes], Awaitable[bytes]]], Handler],
        log: Log,
    ) -> None:
        self._network = network
        self._store = store
        self._kept = kept
        self._log = log
        self._open: dict[int, _Open] = {}
        network.serve(STATE, in_turn(self._state))
        network.serve(COMMITTEE, in_turn(self._committee))

    async def run(self) -> None:
        """Closes what nobody asks for any more, for ever."""
        try:
            while True:
                await trio.sleep(LOOKED_AT_S)
                now_s = trio.current_time()
                for height, one in list(self._open.items()):
                    if now_s - one.used_s > IDLE_S or now_s - one.opened_s > LONGEST_S:
                        self._open.pop(height).close()
        finally:
            while self._open:
                self._open.popitem()[1].close()

    # -- the state

    async def _state(self, peer: PeerId, request: bytes) -> bytes:
        wanted = self._decoded(peer, request, StateRequest)
        await trio.lowlevel.checkpoint()
        height = wanted.height or self._newest()
        one = self._open.get(height)
        if one is None:
            raise RequestRefused(f"the state of height {height} is not at hand any more")
        one.used_s = trio.current_time()
        try:
            return encode(_part(one.view, height, wanted.after))
        except Pruned as error:
            raise RequestRefused(str(error)) from error
        except Damaged as error:
            self._log.error("damaged data", height=height, detail=str(error))
            raise RequestRefused("this node's copy is damaged") from error

    def _newest(self) -> int:
        """The height of an open snapshot to begin with."""
        now_s = trio.current_time()
        for height, one in self._open.items():
            if now_s - one.opened_s <= SHARED_S:
                return height
        if len(self._open) >= OPEN_AT_ONCE:
            raise RequestRefused("as many states are being served as may be; ask again in a minute")
        stack = ExitStack()
        view = stack.enter_context(self._store.snapshot())
        tip = view.tip()
        if tip is None or tip.height == 0 or tip.height in self._open:
            stack.close()
            if tip is not None and tip.height in self._open:
                return tip.height
            raise RequestRefused("there is nothing here yet but the genesis")
        self._open[tip.height] = _Open(view, stack.close, now_s, now_s)
        return tip.height

    # -- committees

    async def _committee(self, peer: PeerId, request: bytes) -> bytes:
        height = self._decoded(peer, request, int)
        await trio.lowlevel.checkpoint()
        try:
            with self._store.snapshot() as view:
                return encode(committee_path(Reader(view, self._kept), height))
        except (NotFound, Pruned) as error:
            raise RequestRefused(str(error)) from error
        except Damaged as error:
            self._log.error("damaged data", detail=str(error))
            raise RequestRefused("this node's copy is damaged") from error

    def _decoded(self, peer: PeerId, request: bytes, type_: type[T]) -> T:
        try:
            return decode(request, type_, MAX_SMALL_BYTES)
        except EncodingError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"not a {type_.__name__}: {error}")
            raise RequestRefused("malformed request") from error


def committee_path(reader: Reader, height: int, last: int | None = None) -> CommitteePath:
    """The committee of ``height`` and the steps from there on, none for committees beginning above ``last``. Errors:
    NotFound, Pruned.
    """
    parameters = reader.parameters
    committee = reader.committee_snapshot(height)
    steps: list[CommitteeStep] = []
    size = 0
    first = snapshot_height(height, parameters) + parameters.epoch_blocks + parameters.committee_delay_blocks
    end = reader.height + 1 if last is None else min(last, reader.height + 1)
    while first <= end and len(steps) < MAX_STEPS and size < MAX_RANGE_BYTES:
        step = CommitteeStep(
            header=reader.block(first - 1).header,
            certificate=decode(reader.certificate_bytes(first - 1), Certificate, MAX_CERTIFICATE_BYTES),
            committee=reader.committee_snapshot(first),
        )
        size += len(encode(step))
        steps.append(step)
        first += parameters.epoch_blocks
    return CommitteePath(committee, tuple(steps))


def _part(view: ChainView, height: int, after: bytes) -> StatePart:
    records: list[tuple[bytes, bytes]] = []
    size, more = 0, False
    for key, value in view.scan_above(after):
        if records and (size + len(key) + len(value) > MAX_STATE_PART_BYTES or len(records) == MAX_STATE_PART_RECORDS):
            more = True
            break
        records.append((key, value))
        size += len(key) + len(value)
    return StatePart(height, None if after else _head(view, height), tuple(records), more)


def _head(view: ChainView, height: int) -> StateHead:
    block, certificate, effects = view.block(height), view.certificate(height), view.receipts(height)
    assert block is not None
    assert certificate is not None
    assert effects is not None
    vouched_for = replace(decode_effects(effects), accounts=(), lines=())
    return StateHead(StoredBlock(block=block, certificate=certificate), encode(vouched_for))

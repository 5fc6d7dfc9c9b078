"""A new node begins with a recent state instead of executing every block since the genesis.

1. It begins with a header it trusts: the one the operator names by hash and height, or else one that two peers tell
   alike. Whoever controls both peers, or the named header, decides what this node takes for the chain: that is weak
   subjectivity, and the operator's choice. Full sync needs no such trust.
2. From there on nothing is trusted. The header names the next committee by hash; steps lead from committee to committee
   (``node.light``) up to the height of the state that a peer serves, whose header that height's committee made final.
3. The state is fetched from one peer, part by part, in ascending order of key. Its tree is rebuilt from all records and
   must have the header's root: if not, that peer lied, pays, and another one is asked. After a failed request the same
   part is asked for again, RETRIES times; then the next peer is tried.
4. At most MAX_STATE_BYTES are held in memory. The state is stored in one write, with its block, which becomes the prune
   floor: a node that is stopped before begins anew, one that is stopped after has it.
5. The node then syncs the blocks above like any other, and votes: all that votes and draws depend on is in the state.
   What it lacks is history: blocks, transactions and accounts' histories below the floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final, TypeVar

import trio

from consensus.block import MAX_CERTIFICATE_BYTES, Certificate, Header
from consensus.verifier import SignatureVerifier
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError, decode, encode
from ledger.merkle import merkle_root
from node.batches import PreparedBlock, prepare
from node.effects import decode_effects
from node.gossip import SignatureCache
from node.light import PathWrong, Trusted, committee_from
from node.log import Log
from node.protocol import (
    BLOCKS,
    COMMITTEE,
    MAX_SMALL_BYTES,
    PROTOCOL_VERSION,
    STATE,
    STATUS,
    BlockRange,
    CommitteePath,
    StateHead,
    StatePart,
    StateRequest,
    Status,
    StoredBlocks,
)
from node.worker import Worker
from p2p.network import MAX_RESPONSE_BYTES, Network, NetworkError, Offence, PeerId, RequestRefused
from storage.interface import BlockStore, CommittedBlock
from storage.state_tree import tree_of

MAX_STATE_BYTES: Final = 128 * 1024 * 1024
RETRIES: Final = 3
PAUSE_S: Final = 1.0
AGREEING: Final = 2

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with (height of the state, records fetched)."""


class StateWrong(Exception):
    """A peer served what is not the chain's."""


@dataclass(slots=True)
class _Incoming:
    """A state under way. ``records`` ascend by key."""

    block: PreparedBlock
    effects: bytes
    records: dict[bytes, bytes] = field(default_factory=dict)
    size_bytes: int = 0
    last: bytes = b""


class FastSync:
    """See the module's rules. ``trusted``: (block hash, height) named by the operator, or None."""

    def __init__(
        self,
        network: Network,
        chain_id: bytes,
        trusted: tuple[bytes, int] | None,
        random: Random,
        worker: Worker,
        log: Log,
        progress: Progress = lambda _height, _records: None,
    ) -> None:
        self._network = network
        self._chain_id = chain_id
        self._trusted = trusted
        self._random = random
        self.worker = worker
        self._log = log
        self._progress = progress
        self._verifier = SignatureVerifier(chain_id)

    async def fetch(self) -> CommittedBlock:
        """The block to adopt with the whole state, from whoever serves it; asks until somebody does."""
        while True:
            heights = await self._heights()
            anchor = await self._anchor(heights)
            if anchor is not None:
                for peer in sorted(heights, key=lambda peer: -heights[peer].height):
                    found = await self._try(peer, anchor)
                    if found is not None:
                        return found
            await trio.sleep(PAUSE_S)

    async def _try(self, peer: PeerId, anchor: Header) -> CommittedBlock | None:
        try:
            return await self._from(peer, anchor)
        except (StateWrong, PathWrong, InvalidBlock, EncodingError) as error:
            self._log.warning("a peer served a wrong state", peer=peer, reason=str(error))
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"state: {error}")
        except NetworkError as error:
            self._log.info("no state from this peer", peer=peer, reason=str(error))
        return None

    # -- what is trusted

    async def _heights(self) -> dict[PeerId, Status]:
        """Where the connected peers of this chain stand."""
        own = encode(Status(PROTOCOL_VERSION, self._chain_id, 0, self._chain_id, 0))
        found: dict[PeerId, Status] = {}
        for info in self._network.peers():
            try:
                status = await self._ask(info.peer, STATUS, own, Status, MAX_SMALL_BYTES)
            except (NetworkError, EncodingError) as error:
                self._log.debug("no status", peer=info.peer, reason=str(error))
                continue
            if (status.chain_id, status.version) == (self._chain_id, PROTOCOL_VERSION) and status.height > 0:
                found[info.peer] = status
        return found

    async def _anchor(self, heights: dict[PeerId, Status]) -> Header | None:
        """Rule 1."""
        peers = list(heights)
        self._random.shuffle(peers)
        if self._trusted is not None:
            block_hash, height = self._trusted
            for peer in peers:
                if heights[peer].floor <= height <= heights[peer].height:
                    header = await self._header(peer, height)
                    if header is not None and header.hash == block_hash:
                        return header
                    self._log.warning("a peer's block is not the trusted one", peer=peer, height=height)
            self._log.info("looking for a peer that has the trusted block", height=height)
            return None
        if len(peers) < AGREEING:
            self._log.info("fast sync waits for two peers that agree, or name one block: --trusted-header HASH@HEIGHT")
            return None
        chosen = peers[:AGREEING]
        height = min(heights[peer].height for peer in chosen)
        headers = [await self._header(peer, height) for peer in chosen]
        if headers[0] is None or any(header is None or header.hash != headers[0].hash for header in headers):
            self._log.warning("two peers do not agree on a block", height=height, peers=chosen)
            return None
        return headers[0]

    async def _header(self, peer: PeerId, height: int) -> Header | None:
        try:
            request = encode(BlockRange(first=height, count=1))
            blocks = await self._ask(peer, BLOCKS, request, StoredBlocks, MAX_RESPONSE_BYTES)
            if len(blocks) != 1:
                return None
            header = prepare(blocks, SignatureCache()).blocks[0].block.header
        except (NetworkError, EncodingError, InvalidBlock) as error:
            self._log.info("no header", peer=peer, height=height, reason=str(error))
            return None
        return header if (header.chain_id, header.height) == (self._chain_id, height) else None

    # -- the state

    async def _from(self, peer: PeerId, anchor: Header) -> CommittedBlock:
        first = await self._part(peer, 0, b"")
        if first.head is None:
            raise StateWrong("the first part comes without its block")
        incoming = await self._begin(peer, anchor, first.head)
        part = first
        while True:
            _take(incoming, part)
            self._progress(incoming.block.height, len(incoming.records))
            if not part.more:
                break
            part = await self._part(peer, incoming.block.height, incoming.last)
            if part.height != incoming.block.height:
                raise StateWrong(f"a part of height {part.height} instead of {incoming.block.height}")
        return await self.worker.do(partial(_adoptable, incoming))

    async def _begin(self, peer: PeerId, anchor: Header, head: StateHead) -> _Incoming:
        """Rule 2."""
        prepared = prepare((head.stored,), SignatureCache())
        if not all(transaction.has_valid_signature() for transaction in prepared.unverified):
            raise StateWrong("a transaction in its block is not signed by its sender")
        block = prepared.blocks[0]
        header = block.block.header
        if header.chain_id != self._chain_id or header.height < anchor.height:
            raise StateWrong(f"its state is of height {header.height}, below the {anchor.height} that is trusted")
        certificate = decode(head.stored.certificate, Certificate, MAX_CERTIFICATE_BYTES)
        if header.height == anchor.height:
            if header.hash != anchor.hash:
                raise StateWrong("its block is not the one that is trusted")
        else:
            trusted = await self._follow(peer, anchor, header.height)
            trusted.require_final(header, certificate, self._verifier)
        effects = decode_effects(head.effects)
        if merkle_root([encode(receipt) for receipt in effects.receipts]) != header.receipts_root:
            raise StateWrong("its receipts are not those of its block")
        if effects.draw.height != header.height:
            raise StateWrong("the facts of its draw are of another height")
        if effects.accounts or effects.lines:
            raise StateWrong("what its block did to accounts, and settled, cannot be checked")
        return _Incoming(block, head.effects)

    async def _follow(self, peer: PeerId, anchor: Header, height: int) -> Trusted:
        """The committee in force at ``height``."""
        first = anchor.height + 1
        path = await self._path(peer, first)
        committee = committee_from(path.committee)
        if committee.hash != anchor.committee_hash:
            raise PathWrong(f"the committee of height {first} is not the one that the trusted header names")
        trusted = Trusted(self._chain_id, first, committee)
        while True:
            steps = [step for step in path.steps if step.header.height < height]
            trusted = trusted.follow(steps, self._verifier)
            if len(steps) < len(path.steps) or not steps:
                return trusted
            path = await self._path(peer, trusted.height)

    async def _path(self, peer: PeerId, height: int) -> CommitteePath:
        return await self._ask(peer, COMMITTEE, encode(height), CommitteePath, MAX_RESPONSE_BYTES)

    async def _part(self, peer: PeerId, height: int, after: bytes) -> StatePart:
        request = encode(StateRequest(height, after))
        for attempt in range(1, RETRIES + 1):
            try:
                return await self._ask(peer, STATE, request, StatePart, MAX_RESPONSE_BYTES)
            except RequestRefused:
                raise
            except NetworkError as error:
                if attempt == RETRIES:
                    raise
                self._log.info("a part is asked for again", peer=peer, reason=str(error))
                await trio.sleep(PAUSE_S)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _ask(self, peer: PeerId, protocol: str, request: bytes, type_: type[T], max_bytes: int) -> T:
        return decode(await self._network.request(peer, protocol, request), type_, max_bytes)


def _take(incoming: _Incoming, part: StatePart) -> None:
    """Errors: StateWrong."""
    if part.more and not part.records:
        raise StateWrong("there is said to be more, and nothing comes")
    for key, value in part.records:
        if key <= incoming.last:
            raise StateWrong("its records are not in ascending order of key")
        incoming.records[key] = value
        incoming.last = key
        incoming.size_bytes += len(key) + len(value)
    if incoming.size_bytes > MAX_STATE_BYTES:
        raise StateWrong(f"its state has more than {MAX_STATE_BYTES} bytes")


def _adoptable(incoming: _Incoming) -> CommittedBlock:
    """Rule 3. Errors: StateWrong."""
    block = incoming.block
    header = block.block.header
    tree = tree_of(incoming.records)
    if tree.root != header.state_root:
        raise StateWrong(f"its records do not have the state root of block {header.height}")
    return CommittedBlock(
        height=header.height,
        block_hash=block.hash,
        parent_hash=header.parent_hash,
        state_root=tree.root,
        block=block.stored.block,
        receipts=incoming.effects,
        certificate=block.stored.certificate,
        transaction_ids=[transaction.id for transaction in block.transactions],
        history=(),
        state_changes=incoming.records,
        tree_nodes=tree.nodes,
    )


async def begin_fast(store: BlockStore, fast: FastSync) -> int:
    """Adopts a state; the height it stands at. ``store`` is empty. Errors: StorageError."""
    committed = await fast.fetch()
    await fast.worker.do(partial(store.adopt, committed))
    return committed.height

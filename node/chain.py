"""The chain as this node has it: what is stored, what the next height needs, and blocks executed on the tip.

1. The block at height 0 is the genesis document; its hash is the chain id.
2. ``execute`` and ``build`` read the committed tip and change nothing. ``commit`` stores one executed block with its
   certificate, its effect on state and tree, and the facts of its draw, in one write. ``execute_row`` and
   ``commit_row`` do the same with several final blocks at once.
3. All of it may be called from a worker thread, one call at a time; reading what is stored, from any.
4. A body is *bound* to its header if its parent certificate and transactions are those the header names, and every
   transaction is signed: whatever the block hash does not cover. Who hands over an unbound body has altered it. A final
   block with a bound body that cannot be executed ends the node (``FinalBlockInvalid``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from consensus.block import (
    MAX_BLOCK_BYTES,
    MAX_CERTIFICATE_BYTES,
    NO_HASH,
    Block,
    Certificate,
)
from consensus.chain_rules import (
    VRF_BEACON,
    Beacon,
    ExecutedBlock,
    OpenHeight,
    Parent,
    build_block,
    validate_block,
    verify_final,
)
from consensus.engine import FinalBlockInvalid, HeightContext
from consensus.verifier import Verifier
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError, decode, encode
from ledger.genesis import Genesis, chain_id, genesis_changes
from ledger.keys import SigningKey, digest
from ledger.merkle import merkle_root
from ledger.refusal import TransactionRefused
from ledger.transactions import MAX_TRANSACTION_BYTES, Signed, Transaction, decode_transaction
from node.batches import PreparedBlock, Row, execute_row
from node.draw_facts import collect_draw_facts
from node.effects import Effects
from node.gossip import SignatureCache
from node.protocol import StoredBlock
from storage.interface import BlockStore, CommittedBlock, HistoryEntry
from storage.state_tree import TreeUpdate, update

MAX_GENESIS_BYTES: Final = 4 * 1024 * 1024
BOUND_BLOCKS_REMEMBERED: Final = 4


@dataclass(slots=True)
class _Tree:
    """Remembers the tree nodes behind the root it was last asked for."""

    store: BlockStore
    last: TreeUpdate | None = field(default=None)

    def root_of(self, changes: dict[bytes, bytes | None]) -> bytes:
        self.last = update(self.store.tree_node, changes)
        return self.last.root


class NodeChain:
    """See the module's rules. ``node_key`` is None for a node that only follows."""

    beacon: Beacon = VRF_BEACON

    def __init__(
        self,
        store: BlockStore,
        genesis: Genesis,
        node_key: SigningKey | None,
        verifier: Verifier,
        signatures: SignatureCache,
    ) -> None:
        self.store = store
        self.genesis = genesis
        self.chain_id = chain_id(genesis)
        self._node_key = node_key
        self._verifier = verifier
        self._signatures = signatures
        self._trees: dict[bytes, TreeUpdate] = {}
        self._bound: OrderedDict[Block, None] = OrderedDict()
        if store.tip() is None:
            self._store_genesis()
        self.open = self._open_tip()

    @property
    def height(self) -> int:
        """The height of the tip."""
        return self.open.parent.height

    @property
    def tip_hash(self) -> bytes:
        return self.open.parent.hash

    def height_context(self) -> HeightContext:
        """What the engine is told of the height after the tip."""
        opened, parent = self.open, self.open.parent
        stored = self.store.certificate(parent.height) if parent.height else None
        return HeightContext(
            height=opened.height,
            parent_hash=parent.hash,
            parent_time_ms=parent.time_ms,
            parent_certificate=None if stored is None else decode(stored, Certificate, MAX_CERTIFICATE_BYTES),
            parent_committee=opened.parent_committee,
            committee=opened.committee,
            leader=opened.draw.leader,
            block_interval_ms=opened.parameters.block_interval_ms,
            delta_ms=opened.parameters.message_delay_ms,
            clock_tolerance_ms=opened.parameters.clock_tolerance_ms,
        )

    def build(
        self,
        height: int,
        view: int,
        time_ms: int,
        parent_certificate: Certificate | None,
        candidates: Sequence[Transaction],
    ) -> ExecutedBlock | None:
        """Makes this node's block for (height, view) from what waits; None if the height has passed meanwhile."""
        opened = self.open
        if opened.height != height:
            return None
        assert self._node_key is not None, "only a node with a key is ever drawn"
        tree = _Tree(self.store)
        executed = build_block(
            opened, view, time_ms, self._node_key, parent_certificate, candidates, tree.root_of, self.beacon
        )
        return self._keep_tree(executed, tree)

    def body_is_bound(self, block: Block) -> bool:
        """Rule 4; remembered for the last few, which gossip and the engine ask about in turn."""
        if block in self._bound:
            return True
        if not self._is_bound(block):
            return False
        self._bound[block] = None
        if len(self._bound) > BOUND_BLOCKS_REMEMBERED:
            self._bound.popitem(last=False)
        return True

    def execute(self, block: Block) -> ExecutedBlock:
        """Checks a block of the open height against every rule. Errors: InvalidBlock."""
        tree = _Tree(self.store)
        executed = validate_block(self.open, block, self._verifier, tree.root_of, self._check_signatures, self.beacon)
        return self._keep_tree(executed, tree)

    def execute_final(self, block: Block) -> ExecutedBlock:
        """Executes a block of the open height that a quorum made final; its body is bound. Errors:
        FinalBlockInvalid.
        """
        try:
            return self.execute(block)
        except InvalidBlock as error:
            raise FinalBlockInvalid(
                f"height {block.header.height}: block {block.hash.hex()} is final but cannot be executed: {error}"
            ) from error

    def execute_stored(self, stored: StoredBlock, verifier: Verifier) -> tuple[ExecutedBlock, Certificate] | None:
        """Checks a block served by a peer, and that it is final; None if it is not the next one.

        Errors: InvalidBlock, EncodingError if the peer altered it; FinalBlockInvalid.
        """
        block = decode(stored.block, Block, MAX_BLOCK_BYTES)
        if block.header.height != self.open.height:
            return None
        certificate = decode(stored.certificate, Certificate, MAX_CERTIFICATE_BYTES)
        if not verify_final(block.header, certificate, self.open.committee, verifier):
            raise InvalidBlock("its certificate does not make it final")
        if not self._is_bound(block):
            raise InvalidBlock("its body is not the one its header names")
        return self.execute_final(block), certificate

    def commit(self, executed: ExecutedBlock, certificate: Certificate) -> None:
        """Stores a block that ``execute`` or ``build`` returned for the open height. Errors: StorageError."""
        header = executed.block.header
        result = executed.result
        effects = Effects(
            receipts=result.receipts,
            draw=collect_draw_facts(self.store),
            accounts=result.effects,
            lines=result.lines,
        )
        assert effects.draw.height == header.height
        self.store.commit(
            CommittedBlock(
                height=header.height,
                block_hash=executed.hash,
                parent_hash=header.parent_hash,
                state_root=executed.state_root,
                block=encode(executed.block),
                receipts=encode(effects),
                certificate=encode(certificate),
                transaction_ids=[transaction.id for transaction in executed.transactions],
                history=[HistoryEntry(entry.account, entry.index, entry.kind) for entry in executed.result.history],
                state_changes=executed.result.changes,
                tree_nodes=self._trees[executed.hash].nodes,
            )
        )
        self._trees.clear()
        self.open = self._open_on(Parent.of(header))

    def execute_row(self, blocks: Sequence[PreparedBlock]) -> Row | None:
        """Executes as many of these blocks as one certificate vouches for (``node.batches``); None if their first is
        not the next one. Errors: InvalidBlock if the peer is at fault; FinalBlockInvalid.
        """
        parent = self.open.parent
        if blocks[0].height != parent.height + 1:
            return None
        with self.store.snapshot() as view:
            return execute_row(view, self.chain_id, parent, blocks, self._verifier, self.beacon)

    def commit_row(self, row: Row) -> None:
        """Stores what ``execute_row`` returned, in one write. Errors: StorageError."""
        self.store.commit_many(row.committed)
        self._trees.clear()
        self.open = self._open_on(Parent.of(row.executed[-1].block.header))

    def stored_block(self, height: int) -> StoredBlock | None:
        """A committed block as peers are served it; None for the genesis and above the tip."""
        if height < 1:
            return None
        block, certificate = self.store.block(height), self.store.certificate(height)
        return None if block is None or certificate is None else StoredBlock(block=block, certificate=certificate)

    def _keep_tree(self, executed: ExecutedBlock, tree: _Tree) -> ExecutedBlock:
        assert tree.last is not None
        assert tree.last.root == executed.state_root
        self._trees[executed.hash] = tree.last
        return executed

    def _is_bound(self, block: Block) -> bool:
        certificate = block.parent_certificate
        if (NO_HASH if certificate is None else certificate.hash) != block.header.parent_certificate_hash:
            return False
        try:
            signed = [decode(raw, Signed, MAX_TRANSACTION_BYTES) for raw in block.transactions]
            ids = [digest(one.body) for one in signed]
            if merkle_root(ids) != block.header.transactions_root:
                return False
            return all(
                self._signatures.knows(transaction_id, one.signature) or self._signatures.check(decode_transaction(raw))
                for transaction_id, one, raw in zip(ids, signed, block.transactions, strict=True)
            )
        except (EncodingError, TransactionRefused):
            return False

    def _check_signatures(self, transactions: Sequence[Transaction]) -> bool:
        return all(self._signatures.check(transaction) for transaction in transactions)

    def _store_genesis(self) -> None:
        changes = genesis_changes(self.genesis)
        tree = update(self.store.tree_node, changes)
        self.store.commit(
            CommittedBlock(
                height=0,
                block_hash=self.chain_id,
                parent_hash=NO_HASH,
                state_root=tree.root,
                block=encode(self.genesis),
                receipts=b"",
                certificate=b"",
                transaction_ids=(),
                history=(),
                state_changes=changes,
                tree_nodes=tree.nodes,
            )
        )

    def _open_tip(self) -> OpenHeight:
        tip = self.store.tip()
        assert tip is not None
        if tip.height == 0:
            parent = Parent(0, self.chain_id, self.genesis.time_ms)
        else:
            stored = self.store.block(tip.height)
            assert stored is not None
            parent = Parent.of(decode(stored, Block, MAX_BLOCK_BYTES).header)
        return self._open_on(parent)

    def _open_on(self, parent: Parent) -> OpenHeight:
        return OpenHeight(self.chain_id, parent, self.store)

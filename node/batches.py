"""Final blocks taken in many at a time: what a node that catches up does with what its peers serve.

1. One certificate vouches for a whole *row*: it makes the last block final, and with it every block below, each the
   parent of the next by its hash. The row ends where the committee that signed is not known yet before its own blocks
   are executed; the next row begins there.
2. Every block of a row is executed. What the certificate vouches for is not checked again: beacon proofs, the
   signatures inside parent certificates, the state roots of blocks that are not the last
   (``consensus.chain_rules.follow_block``).
3. What no hash covers is checked for each: that body and header belong together (``prepare``), and the signature of
   every transaction (``Prepared.unverified``, for whoever can check many at once). Of certificates only the last one of
   a row is taken from the peer; the others are the ones that the following headers name.
4. A row is stored in one write. It takes effect whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.block import MAX_BLOCK_BYTES, MAX_CERTIFICATE_BYTES, NO_HASH, Block, Certificate
from consensus.chain_rules import Beacon, ExecutedBlock, OpenHeight, Parent, follow_block, verify_final
from consensus.committee import committee_of
from consensus.engine import FinalBlockInvalid
from consensus.verifier import Verifier
from ledger.block import InvalidBlock
from ledger.committee import find_committee
from ledger.encoding import decode, encode
from ledger.merkle import merkle_root
from ledger.refusal import TransactionRefused
from ledger.state import State
from ledger.transactions import Transaction, decode_transaction
from node.draw_facts import collect_draw_facts
from node.effects import Effects
from node.gossip import SignatureCache
from node.protocol import StoredBlock
from storage.interface import ChainView, CommittedBlock, HistoryEntry
from storage.state_tree import update


@dataclass(frozen=True, slots=True)
class PreparedBlock:
    """A block as served, decoded, with the body its header names; transactions' signatures are not checked."""

    stored: StoredBlock
    block: Block
    hash: bytes
    transactions: tuple[Transaction, ...]

    @property
    def height(self) -> int:
        return self.block.header.height


@dataclass(frozen=True, slots=True)
class Prepared:
    """Blocks, and those of their transactions whose signature is yet to be checked."""

    blocks: tuple[PreparedBlock, ...]
    unverified: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Blocks that were executed one after the other, to be stored together. ``certificate`` is the last one's;
    ``skipped``: per block the accounts whose turns passed without a block.

    Only the last of ``executed`` tells state changes: the net effect of all.
    """

    executed: tuple[ExecutedBlock, ...]
    skipped: tuple[tuple[bytes, ...], ...]
    certificate: Certificate
    committed: tuple[CommittedBlock, ...]

    @property
    def last(self) -> int:
        return self.committed[-1].height


def prepare(served: Sequence[StoredBlock], signatures: SignatureCache) -> Prepared:
    """Decodes blocks and checks rule 3 but for the signatures. Needs no state. Errors: InvalidBlock, EncodingError."""
    blocks = tuple(_prepare(stored) for stored in served)
    unverified = tuple(
        transaction
        for block in blocks
        for transaction in block.transactions
        if not signatures.knows(transaction.id, transaction.signature)
    )
    return Prepared(blocks, unverified)


def execute_row(
    view: ChainView,
    chain_id: bytes,
    parent: Parent,
    blocks: Sequence[PreparedBlock],
    verifier: Verifier,
    beacon: Beacon,
) -> Row:
    """Executes as many of ``blocks`` as make one row on ``parent``, the tip of ``view``; their transactions' signatures
    were checked, and the first one's height follows.

    Errors: InvalidBlock where the peer that served them is at fault; FinalBlockInvalid.
    """
    state = State(view)
    end = len(blocks)
    while (snapshot := find_committee(state, blocks[end - 1].height)) is None:
        end -= 1
    row = blocks[:end]
    certificate = decode(row[-1].stored.certificate, Certificate, MAX_CERTIFICATE_BYTES)
    _require_linked(row, parent)
    if not verify_final(row[-1].block.header, certificate, committee_of(snapshot), verifier):
        raise InvalidBlock("its certificate does not make it final")
    executed: list[ExecutedBlock] = []
    skipped: list[tuple[bytes, ...]] = []
    effects: list[bytes] = []
    for prepared in row:
        opened = OpenHeight(chain_id, parent, state)
        draw = collect_draw_facts(state)
        try:
            one = follow_block(opened, prepared.block, prepared.hash, prepared.transactions, beacon)
        except InvalidBlock as error:
            raise FinalBlockInvalid(_cannot(prepared, str(error))) from error
        executed.append(one)
        skipped.append(tuple(opened.draw.leader_account(earlier) for earlier in range(prepared.block.header.view)))
        result = one.result
        beside = Effects(receipts=result.receipts, draw=draw, accounts=result.effects, lines=result.lines)
        effects.append(encode(beside))
        header = prepared.block.header
        parent = Parent(header.height, prepared.hash, header.time_ms)
    changes = state.changes()
    tree = update(view.tree_node, changes)
    if tree.root != row[-1].block.header.state_root:
        raise FinalBlockInvalid(_cannot(row[-1], f"state_root: after {len(row)} blocks it is {tree.root.hex()}"))
    certificates = [encode(following.block.parent_certificate) for following in row[1:]] + [row[-1].stored.certificate]
    committed = [
        CommittedBlock(
            height=prepared.height,
            block_hash=prepared.hash,
            parent_hash=prepared.block.header.parent_hash,
            state_root=prepared.block.header.state_root,
            block=prepared.stored.block,
            receipts=effect,
            certificate=one_certificate,
            transaction_ids=[transaction.id for transaction in prepared.transactions],
            history=[HistoryEntry(entry.account, entry.index, entry.kind) for entry in one.result.history],
            state_changes=changes if prepared is row[-1] else {},
            tree_nodes=tree.nodes if prepared is row[-1] else {},
        )
        for prepared, one, effect, one_certificate in zip(row, executed, effects, certificates, strict=True)
    ]
    executed[-1].result.changes.update(changes)
    return Row(tuple(executed), tuple(skipped), certificate, tuple(committed))


def _prepare(stored: StoredBlock) -> PreparedBlock:
    block = decode(stored.block, Block, MAX_BLOCK_BYTES)
    header, certificate = block.header, block.parent_certificate
    try:
        transactions = tuple(decode_transaction(raw) for raw in block.transactions)
    except TransactionRefused as error:
        raise InvalidBlock(f"its body is not the one its header names: {error}") from error
    if (NO_HASH if certificate is None else certificate.hash) != header.parent_certificate_hash or (
        merkle_root([transaction.id for transaction in transactions]) != header.transactions_root
    ):
        raise InvalidBlock("its body is not the one its header names")
    return PreparedBlock(stored, block, block.hash, transactions)


def _require_linked(row: Sequence[PreparedBlock], parent: Parent) -> None:
    height, parent_hash = parent.height, parent.hash
    for prepared in row:
        header = prepared.block.header
        if (header.height, header.parent_hash) != (height + 1, parent_hash):
            raise InvalidBlock(f"block {header.height} does not follow {height}")
        height, parent_hash = header.height, prepared.hash


def _cannot(prepared: PreparedBlock, reason: str) -> str:
    return f"height {prepared.height}: block {prepared.hash.hex()} is final but cannot be executed: {reason}"

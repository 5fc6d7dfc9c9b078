"""Recomputes a whole chain from its genesis and compares it with what is stored.

1. Every block is validated as it was when it was new: its draw and beacon, its parent's certificate, every signature,
   the order, the roots. Its own certificate must make it final.
2. What executing it gives is compared with what is stored beside it: receipts, the facts of its draw, the place of
   every transaction. At the tip the whole state, the whole state tree, every account's history and all sums are
   compared.
3. The first thing that differs is named, with its height. Nothing is trusted but the genesis.
4. LMDB believes its file: a damaged page can hide records, or kill the process that reads it. So where no node holds
   the directory, the file's structure is checked before LMDB sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.engine import FinalBlockInvalid
from consensus.verifier import SignatureVerifier
from ledger.block import BrokenInvariant, InvalidBlock
from ledger.conservation import check_all
from ledger.encoding import EncodingError, encode
from ledger.genesis import Genesis, chain_id
from ledger.records import ACCOUNTS
from node.chain import NodeChain
from node.gossip import SignatureCache
from node.protocol import StoredBlock
from storage.chain import DIRECTORY, ChainDatabase
from storage.environment import is_owned, structural_problems
from storage.errors import Damaged
from storage.interface import ChainView, TransactionPlace
from storage.memory import MemoryChain
from storage.state_tree import tree_of

HISTORY_PAGE: Final = 1_000

Progress = Callable[[int, int], None]
"""Called with (blocks verified, blocks in all)."""


class ChainFault(Exception):
    """What is stored is not what follows from the genesis."""

    def __init__(self, height: int, detail: str) -> None:
        super().__init__(f"block {height}: {detail}")
        self.height = height


@dataclass(frozen=True, slots=True)
class Verified:
    """What was recomputed. ``state_root`` is the root at the tip, 32 bytes."""

    height: int
    tip: bytes
    state_root: bytes
    transactions: int
    signatures: int
    state_records: int


def verify_directory(directory: Path, genesis: Genesis, progress: Progress) -> Verified:
    """Verifies the chain in a node's data directory, also beside the node that runs on it.

    Errors: ChainFault; StorageError, of which Damaged and Pruned speak of the chain.
    """
    files = directory / DIRECTORY
    if (files / "data.mdb").exists() and not is_owned(files):
        problems = structural_problems(files)
        if problems:
            raise Damaged(files, problems[0])
    store = ChainDatabase.open(directory, chain_id=chain_id(genesis), read_only=True)
    try:
        with store.snapshot() as stored:
            return verify_chain(stored, genesis, progress)
    finally:
        store.close()


def verify_chain(stored: ChainView, genesis: Genesis, progress: Progress) -> Verified:
    """Verifies everything up to the tip. Errors: ChainFault; Pruned for a chain that lacks its beginning."""
    tip = stored.tip()
    if tip is None:
        raise ChainFault(0, "there is no genesis")
    verifier = SignatureVerifier(chain_id(genesis))
    replay = NodeChain(MemoryChain(), genesis, None, verifier, SignatureCache())
    if _read(stored.block, 0) != encode(genesis):
        raise ChainFault(0, "the genesis stored is another")
    if _read(stored.block_hash, 0) != replay.chain_id:
        raise ChainFault(0, "the hash stored beside the genesis is another's")
    transactions = signatures = 0
    for height in range(1, tip.height + 1):
        count, signed = _verify_block(stored, replay, verifier, height)
        transactions += count
        signatures += signed
        progress(height, tip.height)
    if (tip.height, tip.block_hash) != (replay.height, replay.tip_hash):
        raise ChainFault(tip.height, "the tip's hash is not its block's")
    records = _compare_state(stored, replay, tip.height)
    return Verified(tip.height, tip.block_hash, tip.state_root, transactions, signatures, records)


def _verify_block(stored: ChainView, replay: NodeChain, verifier: SignatureVerifier, height: int) -> tuple[int, int]:
    block, certificate = _read(stored.block, height), _read(stored.certificate, height)
    try:
        found = replay.execute_stored(StoredBlock(block=block, certificate=certificate), verifier)
    except (InvalidBlock, FinalBlockInvalid, EncodingError, BrokenInvariant) as error:
        raise ChainFault(height, str(error)) from error
    if found is None:
        raise ChainFault(height, "the block stored there has another height")
    executed, final = found
    if _read(stored.block_hash, height) != executed.hash:
        raise ChainFault(height, "the hash stored beside the block is another's")
    for index, transaction in enumerate(executed.transactions):
        place = _place(stored, transaction.id, height)
        if place is None or (place.height, place.position) != (height, index):
            raise ChainFault(height, f"the index does not find transaction {transaction.id.hex()} here")
    replay.commit(executed, final)
    if replay.store.receipts(height) != _read(stored.receipts, height):
        raise ChainFault(height, "executing it gives other receipts or another draw")
    return len(executed.transactions), len(final.signatures) // 64


def _compare_state(stored: ChainView, replay: NodeChain, height: int) -> int:
    """Everything at the tip; returns the number of state records."""
    expected = dict(replay.store.scan(b""))
    try:
        found = dict(stored.scan(b""))
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                raise ChainFault(height, f"the state record {key.hex()} is not what the chain gives")
        for path, node in tree_of(expected).nodes.items():
            if stored.tree_node(path) != node:
                raise ChainFault(height, f"the state tree differs at {path.hex()}")
        for key in expected:
            if key.startswith(ACCOUNTS.prefix):
                _compare_history(stored, replay, key[len(ACCOUNTS.prefix) :], height)
        check_all(stored)
    except Damaged as error:
        raise ChainFault(height, error.detail) from error
    except BrokenInvariant as error:
        raise ChainFault(height, str(error)) from error
    return len(found)


def _compare_history(stored: ChainView, replay: NodeChain, account: bytes, height: int) -> None:
    before: tuple[int, int] | None = None
    while True:
        expected = replay.store.history(account, before, HISTORY_PAGE)
        if stored.history(account, before, HISTORY_PAGE) != expected:
            raise ChainFault(height, f"the history of account {account.hex()} is not what the chain gives")
        if not expected:
            return
        before = (expected[-1].height, expected[-1].position)


def _place(stored: ChainView, transaction_id: bytes, height: int) -> TransactionPlace | None:
    try:
        return stored.find_transaction(transaction_id)
    except Damaged as error:
        raise ChainFault(height, error.detail) from error


def _read(read: Callable[[int], bytes | None], height: int) -> bytes:
    try:
        data = read(height)
    except Damaged as error:
        raise ChainFault(height, error.detail) from error
    if data is None:
        raise ChainFault(height, "nothing is stored there")
    return data

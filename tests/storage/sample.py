"""Blocks of a made-up chain: every byte follows from the seed and the height, so that two processes agree on what must
be stored.
"""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import sha256

from storage import state_tree
from storage.interface import BlockStore, ChainView, CommittedBlock, HistoryEntry
from storage.memory import MemoryChain

CHAIN_ID = b"sample chain"
ACCOUNTS = tuple(sha256(f"account {number}".encode()).digest() for number in range(3))
STATE_KEYS = 300


def sample_block(view: ChainView, seed: int = 0, body_bytes: int = 3_000) -> CommittedBlock:
    """The block that follows the view's tip."""
    tip = view.tip()
    height = 0 if tip is None else tip.height + 1
    parent_hash = bytes(32) if tip is None else tip.block_hash
    chance = random.Random(f"{seed}/{height}")
    changes = state_changes(seed, height)
    tree = state_tree.update(view.tree_node, changes)
    block = parent_hash + height.to_bytes(8, "big") + tree.root + chance.randbytes(chance.randrange(body_bytes))
    return CommittedBlock(
        height=height,
        block_hash=sha256(block).digest(),
        parent_hash=parent_hash,
        state_root=tree.root,
        block=block,
        receipts=sample_receipts(seed, height),
        certificate=sample_certificate(seed, height),
        transaction_ids=[transaction_id(seed, height, position) for position in range(height % 4)],
        history=[HistoryEntry(ACCOUNTS[position % 3], position, position + 7) for position in range(height % 4)],
        state_changes=changes,
        tree_nodes=tree.nodes,
    )


def state_changes(seed: int, height: int) -> dict[bytes, bytes | None]:
    chance = random.Random(f"state {seed}/{height}")
    changes: dict[bytes, bytes | None] = {}
    for _ in range(chance.randrange(1, 40)):
        key = b"key %d" % chance.randrange(STATE_KEYS)
        changes[key] = None if chance.random() < 0.3 else chance.randbytes(chance.randrange(1, 200))
    return changes


def sample_receipts(seed: int, height: int) -> bytes:
    return b"receipts of %d/%d" % (seed, height)


def sample_certificate(seed: int, height: int) -> bytes:
    return b"certificate of %d/%d" % (seed, height)


def transaction_id(seed: int, height: int, position: int) -> bytes:
    return sha256(b"transaction %d/%d/%d" % (seed, height, position)).digest()


def sample_batch(mirror: MemoryChain, count: int, seed: int = 0) -> list[CommittedBlock]:
    """The ``count`` blocks that follow the tip of ``mirror``, which takes them. Their effect on state and tree is told
    by the last one alone.
    """
    before, tree = dict(mirror.scan(b"")), state_tree.tree_of(dict(mirror.scan(b""))).nodes
    blocks: list[CommittedBlock] = []
    changes: dict[bytes, bytes | None] = {}
    for _ in range(count):
        blocks.append(sample_block(mirror, seed))
        changes.update(blocks[-1].state_changes)
        mirror.commit(blocks[-1])
    net = {key: value for key, value in changes.items() if before.get(key) != value}
    nodes = state_tree.update(tree.get, net).nodes
    silent = [replace(block, state_changes={}, tree_nodes={}) for block in blocks[:-1]]
    return [*silent, replace(blocks[-1], state_changes=net, tree_nodes=nodes)]


def mirror_of(height: int, seed: int = 0) -> MemoryChain:
    """The sample chain up to this height, in memory."""
    mirror = MemoryChain()
    grow(mirror, height + 1, seed)
    return mirror


def grow(store: BlockStore, blocks: int, seed: int = 0) -> None:
    for _ in range(blocks):
        with store.snapshot() as view:
            block = sample_block(view, seed)
        store.commit(block)


def assert_whole(store: BlockStore, seed: int = 0) -> int:
    """Everything stored is what the sample chain of this length must hold. The tip's height; −1 for an empty store."""
    with store.snapshot() as view:
        tip = view.tip()
        height = -1 if tip is None else tip.height
        state: dict[bytes, bytes] = {}
        parent_hash = bytes(32)
        for at in range(height + 1):
            block, block_hash = view.block(at), view.block_hash(at)
            assert block is not None
            assert block[:40] == parent_hash + at.to_bytes(8, "big")
            assert sha256(block).digest() == block_hash
            assert view.receipts(at) == sample_receipts(seed, at)
            assert view.certificate(at) == sample_certificate(seed, at)
            for position in range(at % 4):
                assert view.find_transaction(transaction_id(seed, at, position)) == (at, position)
            for key, value in state_changes(seed, at).items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
            parent_hash = block_hash
        assert view.block(height + 1) is None
        assert view.certificate(height + 1) is None
        assert view.find_transaction(transaction_id(seed, height + 4 - (height % 4), 0)) is None
        assert list(view.scan(b"")) == sorted(state.items())
        rebuilt = state_tree.tree_of(state)
        assert {path: view.tree_node(path) for path in rebuilt.nodes} == rebuilt.nodes
        if tip is not None:
            assert (tip.block_hash, tip.state_root) == (parent_hash, rebuilt.root)
            assert view.block(height)[40:72] == rebuilt.root  # type: ignore[index]
        touched = sum(1 for at in range(height + 1) for position in range(at % 4) if position % 3 == 0)
        assert sum(1 for _ in all_history(view, ACCOUNTS[0])) == touched
    return height


def all_history(view: ChainView, account: bytes) -> list[tuple[int, int, int]]:
    items: list[tuple[int, int, int]] = []
    before = None
    while page := view.history(account, before, 7):
        items.extend(page)
        before = (page[-1].height, page[-1].position)
    return items

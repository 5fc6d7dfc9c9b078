"""A chain on the disk: what a node that stopped leaves behind, and what a bad disk makes of it."""

from __future__ import annotations

from pathlib import Path

from ledger.encoding import encode
from node.chain import NodeChain
from node.gossip import SignatureCache
from node.protocol import StoredBlock
from storage.chain import ChainDatabase
from storage.interface import BlockStore
from tests.support.chain import Chain


def stored(chain: Chain, height: int) -> StoredBlock:
    """As peers are served it."""
    return StoredBlock(block=encode(chain.blocks[height - 1].block), certificate=encode(chain.certificates[height - 1]))


def node_chain(chain: Chain, store: BlockStore) -> NodeChain:
    """A node's view of the same genesis on ``store``; it only follows."""
    return NodeChain(store, chain.genesis, None, chain.verifier, SignatureCache())


def copy_chain(chain: Chain, store: BlockStore, up_to: int | None = None) -> NodeChain:
    """All blocks of ``chain``, or those up to a height, committed to ``store`` as a node commits them."""
    node = node_chain(chain, store)
    for height in range(node.height + 1, (chain.height if up_to is None else up_to) + 1):
        found = node.execute_stored(stored(chain, height), chain.verifier)
        assert found is not None
        node.commit(*found)
    return node


def write_chain(chain: Chain, directory: Path) -> None:
    """Leaves ``directory``/chain as a stopped node would."""
    store = ChainDatabase.open(directory, chain_id=chain.chain_id, create=True)
    copy_chain(chain, store)
    store.close()


def alter(directory: Path, chain_id: bytes, database: str, key: bytes, position: int = -1) -> None:
    """Flips a bit of a stored value behind its seal's back, as a bad disk does."""
    store = ChainDatabase.open(directory, chain_id=chain_id)
    environment = store._environment
    with environment.lmdb.begin(write=True) as transaction:
        value = bytearray(transaction.get(key, db=environment.databases[database]))
        value[position] ^= 1
        transaction.put(key, bytes(value), db=environment.databases[database])
    store.close()

"""The node's chain: what it commits, what it refuses from a peer, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from consensus.block import Block
from consensus.engine import FinalBlockInvalid
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError, encode
from ledger.statements import StatementKind
from ledger.transactions import MAX_TRANSACTION_BYTES, Signed
from node.chain import NodeChain
from node.effects import decode_effects
from node.gossip import SignatureCache
from node.protocol import StoredBlock
from storage.chain import ChainDatabase
from storage.errors import WrongChain
from storage.memory import MemoryChain
from tests.support.chain import Chain, make_genesis
from tests.support.disk import copy_chain, node_chain, stored, write_chain
from tests.support.transactions import payment

from ledger.encoding import decode  # isort: skip


def a_chain(blocks: int = 2) -> Chain:
    """With a payment in each block."""
    chain = Chain()
    for nonce in range(blocks):
        chain.produce([payment(chain, "anne", nonce)])
    return chain


def resigned(raw: bytes) -> bytes:
    """The same transaction, id and all, with a signature that is not the sender's."""
    signed = decode(raw, Signed, MAX_TRANSACTION_BYTES)
    return encode(Signed(body=signed.body, signature=bytes(64)))


ALTERED: dict[str, Callable[[Block], Block]] = {
    "a transaction's signature": lambda block: msgspec.structs.replace(
        block, transactions=(resigned(block.transactions[0]),)
    ),
    "no transaction": lambda block: msgspec.structs.replace(block, transactions=()),
    "a transaction twice": lambda block: msgspec.structs.replace(block, transactions=2 * block.transactions),
    "a transaction that is none": lambda block: msgspec.structs.replace(block, transactions=(b"\x80",)),
    "no parent certificate": lambda block: msgspec.structs.replace(block, parent_certificate=None),
    "a signature less in the parent certificate": lambda block: msgspec.structs.replace(
        block,
        parent_certificate=msgspec.structs.replace(
            block.parent_certificate, signatures=block.parent_certificate.signatures[64:]
        ),
    ),
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_a_body_that_was_altered_is_not_bound_to_its_header(alter: Callable[[Block], Block]) -> None:
    # Given a block, and one with the same hash and another body
    chain = a_chain()
    block = chain.blocks[-1].block
    altered = alter(block)
    assert altered.hash == block.hash
    # Then a node tells them apart, in whatever order and however often it is asked
    node = node_chain(chain, MemoryChain())
    assert [node.body_is_bound(one) for one in (altered, block, altered, block)] == [False, True, False, True]


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_a_peer_that_serves_an_altered_body_is_at_fault_not_the_block(alter: Callable[[Block], Block]) -> None:
    chain = a_chain()
    node = node_chain(chain, MemoryChain())
    first = node.execute_stored(stored(chain, 1), chain.verifier)
    assert first is not None
    node.commit(*first)
    good = stored(chain, 2)
    # When a peer serves the second block with another body
    with pytest.raises(InvalidBlock, match="not the one its header names"):
        node.execute_stored(
            StoredBlock(block=encode(alter(chain.blocks[1].block)), certificate=good.certificate), chain.verifier
        )
    # Then the true one is taken from another
    assert node.execute_stored(good, chain.verifier) is not None


def test_what_is_not_final_is_refused() -> None:
    chain = a_chain(1)
    node = node_chain(chain, MemoryChain())
    block = chain.blocks[0].block
    chain = Chain()  # at height 0 again, to sign for the same height
    for certificate in (
        chain.certify(block, kind=StatementKind.NOTARIZE),
        chain.certify(block, signers=["anne", "bob"]),
        msgspec.structs.replace(chain.certify(block), signatures=bytes(4 * 64)),
        msgspec.structs.replace(chain.certify(block), block_hash=bytes(32)),
        msgspec.structs.replace(chain.certify(block), height=2),
    ):
        with pytest.raises(InvalidBlock, match="does not make it final"):
            node.execute_stored(StoredBlock(block=encode(block), certificate=encode(certificate)), chain.verifier)
    assert node.height == 0


def test_garbage_from_a_peer_is_an_encoding_error() -> None:
    chain = a_chain(1)
    node = node_chain(chain, MemoryChain())
    good = stored(chain, 1)
    for bad in (
        StoredBlock(block=b"", certificate=good.certificate),
        StoredBlock(block=good.block[:-1], certificate=good.certificate),
        StoredBlock(block=good.block + b"\x00", certificate=good.certificate),
        StoredBlock(block=good.block, certificate=b"\xff"),
    ):
        with pytest.raises(EncodingError):
            node.execute_stored(bad, chain.verifier)


def test_a_final_block_that_cannot_be_executed_ends_the_node() -> None:
    # Given a quorum that made a block final whose state root is not what it gives
    chain = Chain()
    node = node_chain(chain, MemoryChain())
    block = chain.build().block
    block = msgspec.structs.replace(block, header=msgspec.structs.replace(block.header, state_root=bytes(32)))
    served = StoredBlock(block=encode(block), certificate=encode(chain.certify(block)))
    # Then that is no peer's fault
    with pytest.raises(FinalBlockInvalid, match=r"height 1: block [0-9a-f]{64} is final but cannot be executed"):
        node.execute_stored(served, chain.verifier)


def test_blocks_that_are_not_the_next_are_passed_over() -> None:
    chain = a_chain(3)
    node = node_chain(chain, MemoryChain())
    assert node.execute_stored(stored(chain, 2), chain.verifier) is None
    copy_chain(chain, node.store)
    node = node_chain(chain, node.store)
    assert node.execute_stored(stored(chain, 3), chain.verifier) is None


def test_after_a_restart_it_goes_on_where_it_was(tmp_path: Path) -> None:
    # Given a directory with three blocks
    chain = a_chain(3)
    write_chain(chain, tmp_path)
    store = ChainDatabase.open(tmp_path, chain_id=chain.chain_id)
    # When a node starts on it
    node = node_chain(chain, store)
    # Then it stands at the third, and takes the fourth
    assert (node.height, node.tip_hash) == (3, chain.blocks[-1].hash)
    context = node.height_context()
    assert context.height == 4
    assert context.parent_certificate == chain.certificates[-1]
    chain.produce()
    assert copy_chain(chain, store).height == 4
    store.close()


def test_the_directory_of_another_genesis_is_refused(tmp_path: Path) -> None:
    chain = a_chain(1)
    write_chain(chain, tmp_path)
    other = msgspec.structs.replace(make_genesis(), name="Elm Street")
    from ledger.genesis import chain_id

    with pytest.raises(WrongChain):
        ChainDatabase.open(tmp_path, chain_id=chain_id(other))


def test_a_block_built_here_is_what_everyone_executes() -> None:
    # Given the leader's node and a payment that waits
    chain = Chain()
    leader = chain.leader()
    store = MemoryChain()
    node = NodeChain(store, chain.genesis, leader.node, chain.verifier, SignatureCache())
    built = node.build(1, 0, chain.open.earliest_ms, None, [payment(chain, "anne")])
    assert built is not None
    assert len(built.transactions) == 1
    # Then others execute it to the same, and the leader may be asked for no other height
    assert node_chain(chain, MemoryChain()).execute(built.block) == built
    assert node.build(2, 0, chain.open.earliest_ms, None, []) is None
    # And what is committed is served
    certificate = chain.certify(built.block)
    node.commit(built, certificate)
    assert node.stored_block(1) == StoredBlock(block=encode(built.block), certificate=encode(certificate))
    assert node.stored_block(0) is None
    assert node.stored_block(2) is None
    effects = store.receipts(1)
    assert effects is not None
    assert decode_effects(effects).draw.height == 1

"""Rows of final blocks: as good as one by one, and whatever a peer altered is found before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from consensus.block import Block
from consensus.chain_rules import VrfBeacon
from consensus.engine import FinalBlockInvalid
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError, decode, encode
from ledger.transactions import MAX_TRANSACTION_BYTES, Signed, Token, Transfer
from node.batches import Prepared, prepare
from node.chain import NodeChain
from node.gossip import SignatureCache
from node.protocol import StoredBlock
from node.verification import verify_chain
from storage.chain import ChainDatabase
from storage.memory import MemoryChain
from tests.support.chain import PARAMETERS, Chain
from tests.support.disk import copy_chain, node_chain, stored

HEIGHT = 60


@pytest.fixture(scope="module")
def chain() -> Chain:
    """Over five epochs: payments, missed turns, votes that are left out, a node key that changes."""
    made = Chain()
    pay = Transfer(recipient=made.home("carla").id, token=Token.WATT, amount=5, memo="")
    for height in range(1, HEIGHT + 1):
        transactions = [made.sign(name, pay) for name in ("anne", "bob") if height % 3]
        if height == 20:
            transactions.append(made.change_node_key("george"))
        made.produce(
            transactions,
            view=1 if height % 7 == 0 else 0,
            signers=["anne", "bob", "carla"] if height % 5 == 0 else None,
        )
    return made


def served(chain: Chain, first: int, last: int) -> list[StoredBlock]:
    return [stored(chain, height) for height in range(first, last + 1)]


def take(node: NodeChain, blocks: Sequence[StoredBlock]) -> list[int]:
    """Executes and commits all of them; returns the lengths of the rows it took."""
    rest = prepare(blocks, SignatureCache()).blocks
    lengths = []
    while rest:
        row = node.execute_row(rest)
        assert row is not None
        node.commit_row(row)
        lengths.append(len(row.executed))
        rest = rest[len(row.executed) :]
    return lengths


def contents(node: NodeChain) -> dict[str, object]:
    store = node.store
    return {
        "tip": store.tip(),
        "state": list(store.scan(b"")),
        "blocks": [store.block(height) for height in range(HEIGHT + 1)],
        "receipts": [store.receipts(height) for height in range(1, HEIGHT + 1)],
        "history": [store.history(home.id, None, 1000) for home in Chain().homes.values()],
    }


@pytest.mark.parametrize("size", [1, 7, 25, HEIGHT])
def test_rows_give_what_one_by_one_gives(chain: Chain, size: int) -> None:
    expected = copy_chain(chain, MemoryChain())
    node = node_chain(chain, MemoryChain())
    for first in range(1, HEIGHT + 1, size):
        take(node, served(chain, first, min(first + size - 1, HEIGHT)))
    assert contents(node) == contents(expected)
    assert (node.height, node.tip_hash) == (HEIGHT, expected.tip_hash)
    # And what is stored stands up to a recomputation that trusts nothing, every certificate included
    with node.store.snapshot() as view:
        assert verify_chain(view, chain.genesis, lambda _done, _all: None).height == HEIGHT


def test_a_row_ends_where_the_committee_that_signed_is_not_known_before(chain: Chain) -> None:
    # Given epochs of 12 blocks, whose snapshots are in force 6 blocks later
    assert (PARAMETERS.epoch_blocks, PARAMETERS.committee_delay_blocks) == (12, 6)
    node = node_chain(chain, MemoryChain())
    assert take(node, served(chain, 1, HEIGHT)) == [17, 12, 12, 12, 7]


def test_the_same_on_the_disk(chain: Chain, tmp_path: Path) -> None:
    store = ChainDatabase.open(tmp_path, chain_id=chain.chain_id, create=True)
    take(node_chain(chain, store), served(chain, 1, HEIGHT))
    with store.snapshot() as view:
        assert verify_chain(view, chain.genesis, lambda _done, _all: None).height == HEIGHT
    store.close()


def test_what_is_known_to_be_signed_is_not_asked_for_again(chain: Chain) -> None:
    signatures = SignatureCache()
    first = prepare(served(chain, 1, 2), signatures)
    assert len(first.unverified) == 4
    for transaction in first.unverified:
        assert signatures.check(transaction)
    assert prepare(served(chain, 1, 2), signatures).unverified == ()


def test_blocks_that_do_not_begin_at_the_tip_are_no_row(chain: Chain) -> None:
    node = node_chain(chain, MemoryChain())
    assert node.execute_row(prepare(served(chain, 2, 4), SignatureCache()).blocks) is None


def with_block(good: StoredBlock, **changes: object) -> StoredBlock:
    block = decode(good.block, Block, 10**6)
    return StoredBlock(block=encode(msgspec.structs.replace(block, **changes)), certificate=good.certificate)


def with_header(good: StoredBlock, **changes: object) -> StoredBlock:
    block = decode(good.block, Block, 10**6)
    return with_block(good, header=msgspec.structs.replace(block.header, **changes))


BODIES: dict[str, Callable[[list[StoredBlock]], StoredBlock]] = {
    "no transactions": lambda row: with_block(row[3], transactions=()),
    "a transaction that is none": lambda row: with_block(row[3], transactions=(b"\x80", b"\x80")),
    "no parent certificate": lambda row: with_block(row[3], parent_certificate=None),
    "another parent certificate": lambda row: with_block(
        row[3], parent_certificate=decode(row[2].block, Block, 10**6).parent_certificate
    ),
}


@pytest.mark.parametrize("alter", BODIES.values(), ids=BODIES)
def test_an_altered_body_is_found_before_anything_else(
    chain: Chain, alter: Callable[[list[StoredBlock]], StoredBlock]
) -> None:
    row = served(chain, 1, 10)
    row[3] = alter(row)
    with pytest.raises(InvalidBlock, match="not the one its header names"):
        prepare(row, SignatureCache())


def test_garbage_is_an_encoding_error(chain: Chain) -> None:
    row = served(chain, 1, 3)
    for bad in (b"", b"\xff", row[1].block + b"\x00"):
        with pytest.raises(EncodingError):
            prepare([row[0], StoredBlock(block=bad, certificate=row[1].certificate)], SignatureCache())
    node = node_chain(chain, MemoryChain())
    row[2] = StoredBlock(block=row[2].block, certificate=b"\xff")
    with pytest.raises(EncodingError):
        node.execute_row(prepare(row, SignatureCache()).blocks)
    assert node.height == 0


ROWS: dict[str, Callable[[list[StoredBlock]], list[StoredBlock]]] = {
    "a block left out": lambda row: [*row[:4], *row[5:]],
    "two blocks changed places": lambda row: [*row[:4], row[5], row[4], *row[6:]],
    "a block twice": lambda row: [*row[:4], row[3], *row[4:]],
    "another header in the middle": lambda row: [*row[:4], with_header(row[4], view=3), *row[5:]],
    "another header at the end": lambda row: [*row[:-1], with_header(row[-1], time_ms=0)],
    "the last certificate is another block's": lambda row: [
        *row[:-1],
        StoredBlock(block=row[-1].block, certificate=row[-2].certificate),
    ],
}


@pytest.mark.parametrize("alter", ROWS.values(), ids=ROWS)
def test_what_no_certificate_vouches_for_is_refused_before_it_is_executed(
    chain: Chain, alter: Callable[[list[StoredBlock]], list[StoredBlock]]
) -> None:
    node = node_chain(chain, MemoryChain())
    with pytest.raises(InvalidBlock, match=r"does not follow|does not make it final"):
        node.execute_row(prepare(alter(served(chain, 1, 10)), SignatureCache()).blocks)
    assert node.height == 0
    # And the true blocks are taken afterwards
    assert take(node, served(chain, 1, 10)) == [10]


def test_certificates_in_the_middle_are_taken_from_the_headers_not_from_the_peer(chain: Chain) -> None:
    row = [StoredBlock(block=one.block, certificate=b"made up") for one in served(chain, 1, 9)] + [stored(chain, 10)]
    node = node_chain(chain, MemoryChain())
    take(node, row)
    with node.store.snapshot() as view:
        assert verify_chain(view, chain.genesis, lambda _done, _all: None).height == 10


def test_final_blocks_that_cannot_be_executed_end_the_node() -> None:
    # Given a quorum that made a block final whose state root is not what it gives
    for field in ("state_root", "receipts_root", "committee_hash"):
        chain = Chain()
        chain.produce()
        block = chain.build().block
        block = msgspec.structs.replace(block, header=msgspec.structs.replace(block.header, **{field: bytes(32)}))
        row = [stored(chain, 1), StoredBlock(block=encode(block), certificate=encode(chain.certify(block)))]
        node = node_chain(chain, MemoryChain())
        with pytest.raises(FinalBlockInvalid, match="height 2: .*" + field):
            node.execute_row(prepare(row, SignatureCache()).blocks)
        assert node.height == 0


def test_a_bad_signature_is_left_for_the_one_who_checks_many(chain: Chain) -> None:
    block = chain.blocks[0].block
    signed = decode(block.transactions[0], Signed, MAX_TRANSACTION_BYTES)
    forged = encode(Signed(body=signed.body, signature=bytes(64)))
    row = [with_block(stored(chain, 1), transactions=(forged, *block.transactions[1:]))]
    prepared: Prepared = prepare(row, SignatureCache())
    assert [one.has_valid_signature() for one in prepared.unverified].count(False) == 1


def test_the_beacon_of_a_vouched_block_is_taken_as_it_is(chain: Chain) -> None:
    asked: list[bytes] = []

    class Watched(VrfBeacon):
        def verify(self, public_key: bytes, alpha: bytes, proof: bytes) -> bytes:
            asked.append(proof)
            return super().verify(public_key, alpha, proof)

    node = node_chain(chain, MemoryChain())
    node.beacon = Watched()
    take(node, served(chain, 1, 5))
    assert asked == []

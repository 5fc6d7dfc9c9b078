"""The contract of ``BlockStore``, kept by the disk and by memory alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import state_tree
from storage.chain import ChainDatabase
from storage.errors import OutOfOrder, Pruned
from storage.interface import BlockStore, CommittedBlock, HistoryEntry
from storage.memory import MemoryChain
from tests.storage.sample import (
    ACCOUNTS,
    CHAIN_ID,
    all_history,
    assert_whole,
    grow,
    mirror_of,
    sample_batch,
    sample_block,
    transaction_id,
)


@pytest.fixture(params=["lmdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockStore]:
    opened: BlockStore
    opened = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True) if request.param == "lmdb" else MemoryChain()
    yield opened
    opened.close()


def empty_block(height: int, parent_hash: bytes, history: list[HistoryEntry] | None = None) -> CommittedBlock:
    return CommittedBlock(
        height, bytes([height % 251]) * 32, parent_hash, bytes(32), b"", b"", b"", [], history or [], {}, {}
    )


def test_an_empty_store_answers_that_nothing_is_there(store: BlockStore) -> None:
    assert store.tip() is None
    assert (store.block(0), store.block_hash(0), store.receipts(0), store.certificate(0)) == (None,) * 4
    assert store.find_transaction(bytes(32)) is None
    assert store.history(ACCOUNTS[0], None, 10) == []
    assert store.get(b"key") is None
    assert list(store.scan(b"")) == []
    assert state_tree.root_of(store.tree_node) == state_tree.EMPTY_ROOT
    assert assert_whole(store) == -1


def test_what_was_committed_is_read_back(store: BlockStore) -> None:
    # Given 30 blocks that insert, change and delete
    grow(store, 30)
    # Then blocks, indices, state and tree are whole
    assert assert_whole(store) == 29
    # And every state record can be proven against the tip's root, as can absence
    with store.snapshot() as view:
        tip = view.tip()
        assert tip is not None
        for key in (b"key %d" % number for number in range(50)):
            assert state_tree.verify(tip.state_root, key, view.get(key), state_tree.prove(view.tree_node, key))


def test_several_blocks_in_one_write_are_as_good_as_one_by_one(store: BlockStore) -> None:
    grow(store, 3)
    # When blocks are committed together, the last of them telling what all do to state and tree
    mirror = mirror_of(2)
    for count in (1, 7, 2, 40):
        store.commit_many(sample_batch(mirror, count))
    # Then all is as if they had come one by one, and they may go on so
    assert assert_whole(store) == 52
    grow(store, 1)
    assert assert_whole(store) == 53
    store.commit_many([])
    assert assert_whole(store) == 53


def test_of_several_blocks_that_do_not_follow_each_other_none_is_stored(store: BlockStore) -> None:
    grow(store, 5)
    for bad in (
        lambda batch: [batch[0], batch[2]],
        lambda batch: batch[1:],
        lambda batch: [batch[0], replace(batch[1], parent_hash=bytes(32)), batch[2]],
        lambda batch: [*batch, batch[2]],
    ):
        with pytest.raises(OutOfOrder):
            store.commit_many(bad(sample_batch(mirror_of(4), 3)))
    assert assert_whole(store) == 4


def test_a_store_may_begin_with_a_block_and_its_whole_state(store: BlockStore) -> None:
    # Given the state after block 20, and an empty store
    whole = mirror_of(20)
    records = dict(whole.scan(b""))
    block = replace(sample_block(mirror_of(19)), state_changes=records, tree_nodes=state_tree.tree_of(records).nodes)
    # When it adopts them
    store.adopt(block)
    # Then it has that block, state and tree, and nothing below
    assert (store.tip(), store.prune_floor()) == (whole.tip(), 20)
    assert list(store.scan(b"")) == sorted(records.items())
    assert state_tree.root_of(store.tree_node) == block.state_root
    with pytest.raises(Pruned):
        store.block(19)
    # And it goes on from there, and can be pruned further, but adopts nothing again
    grow(store, 5)
    store.prune(23)
    assert store.block(23) is not None
    with pytest.raises(OutOfOrder):
        store.adopt(block)


@pytest.mark.parametrize("key", [b"", b"key 1", b"key 150", b"zzz", b"x" * 511])
def test_the_state_is_read_from_any_key_on(store: BlockStore, key: bytes) -> None:
    grow(store, 30)
    assert list(store.scan_above(key)) == [item for item in store.scan(b"") if item[0] > key]


def test_empty_bytes_are_not_absence(store: BlockStore) -> None:
    store.commit(replace(empty_block(0, bytes(32)), state_changes={b"k": b""}))
    assert (store.block(0), store.receipts(0), store.certificate(0), store.get(b"k")) == (b"", b"", b"", b"")


@pytest.mark.parametrize("height", [-1, 31, 1 << 63, (1 << 64) - 1, 1 << 64, 1 << 200])
def test_a_height_that_is_not_there_is_none(store: BlockStore, height: int) -> None:
    grow(store, 3)
    assert store.block(height) is None
    assert store.block_hash(height) is None
    assert store.receipts(height) is None
    assert store.certificate(height) is None


@pytest.mark.parametrize("key", [b"", b"x" * 511, b"x" * 512, b"x" * 100_000])
def test_a_key_of_any_length_may_be_asked_for(store: BlockStore, key: bytes) -> None:
    grow(store, 3)
    assert store.get(key) is None
    assert store.find_transaction(key) is None
    assert store.tree_node(key) is None
    assert list(store.scan(key or b"no such")) == []


def test_a_block_that_does_not_follow_the_tip_is_refused(store: BlockStore) -> None:
    # Given three blocks
    with pytest.raises(OutOfOrder, match="cannot be the first"):
        store.commit(empty_block(1, bytes(32)))
    grow(store, 3)
    before = store.tip()
    with store.snapshot() as view:
        following = sample_block(view)
    # When a block is committed twice, too early, or on another parent
    for wrong in (
        replace(following, height=2),
        replace(following, height=4),
        replace(following, height=0),
        replace(following, parent_hash=bytes(32)),
    ):
        with pytest.raises(OutOfOrder):
            store.commit(wrong)
    # Then nothing of it is stored and the right one still fits
    assert store.tip() == before
    assert assert_whole(store) == 2
    store.commit(following)
    assert assert_whole(store) == 3


def test_hashes_of_a_wrong_length_are_a_broken_invariant() -> None:
    with pytest.raises(AssertionError):
        replace(empty_block(0, bytes(32)), block_hash=b"short")
    with pytest.raises(AssertionError):
        replace(empty_block(0, bytes(32)), height=-1)


def test_a_snapshot_sees_one_tip(store: BlockStore) -> None:
    # Given a snapshot of five blocks, and a scan begun in it
    grow(store, 5)
    with store.snapshot() as view:
        expected_state = dict(store.scan(b""))
        expected_tip = view.tip()
        walk = view.scan(b"")
        walked = [next(walk)]
        # When more blocks are committed meanwhile
        grow(store, 5)
        # Then the snapshot stays as it was, and the store shows the new tip
        walked += walk
        assert dict(walked) == expected_state
        assert view.tip() == expected_tip
        assert view.block(5) is None
        assert view.find_transaction(transaction_id(0, 6, 0)) is None
        assert all(item[0] < 5 for item in all_history(view, ACCOUNTS[0]))
        assert assert_whole(store) == 9
        assert state_tree.root_of(view.tree_node) == expected_tip.state_root  # type: ignore[union-attr]
    assert assert_whole(store) == 9


def test_a_scan_of_the_store_sees_one_tip(store: BlockStore) -> None:
    grow(store, 5)
    expected = list(store.scan(b""))
    walk = store.scan(b"")
    walked = [next(walk)]
    grow(store, 5)
    assert [*walked, *walk] == expected


@given(records=st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(max_size=3)), prefix=st.binary(max_size=3))
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("kind", ["lmdb", "memory"])
def test_a_scan_is_ordered_and_complete(
    kind: str, records: dict[bytes, bytes], prefix: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store: BlockStore = (
        ChainDatabase.open(tmp_path_factory.mktemp("scan"), chain_id=CHAIN_ID, create=True)
        if kind == "lmdb"
        else MemoryChain()
    )
    store.commit(replace(empty_block(0, bytes(32)), state_changes={**records}))
    assert list(store.scan(prefix)) == sorted(item for item in records.items() if item[0].startswith(prefix))
    store.close()


def test_history_is_newest_first_and_paged(store: BlockStore) -> None:
    # Given two accounts, one the beginning of the other, with several entries in each of 20 blocks
    short, long = b"ab", b"abc"
    expected: dict[bytes, list[tuple[int, int, int]]] = {short: [], long: []}
    parent_hash = bytes(32)
    for height in range(20):
        entries = [HistoryEntry((short, long)[at % 2], at * 1000, height + at) for at in range(height % 5)]
        block = empty_block(height, parent_hash, entries)
        store.commit(block)
        parent_hash = block.block_hash
        for entry in entries:
            expected[entry.account].insert(0, (height, entry.position, entry.kind))
    # When read in pages of any size, then nothing is missing, doubled or another's
    for account, items in expected.items():
        items.sort(reverse=True)
        for limit in (1, 2, 7, 1000):
            pages: list[tuple[int, int, int]] = []
            before = None
            while page := store.history(account, before, limit):
                assert len(page) <= limit
                pages += page
                before = (page[-1].height, page[-1].position)
            assert pages == items
    assert store.history(b"a", None, 10) == []
    assert store.history(b"abcd", None, 10) == []
    assert store.history(short, (0, 0), 10) == []
    for limit in (0, -1, 1001):
        with pytest.raises(AssertionError):
            store.history(short, None, limit)


def test_a_fuller_certificate_replaces_the_stored_one(store: BlockStore) -> None:
    grow(store, 3)
    store.replace_certificate(1, b"fuller")
    assert store.certificate(1) == b"fuller"
    assert store.certificate(0) == b"certificate of 0/0"
    with pytest.raises(OutOfOrder):
        store.replace_certificate(3, b"of no block")
    assert store.certificate(3) is None


def test_pruned_heights_say_so_and_the_rest_stays(store: BlockStore) -> None:
    # Given 10 blocks
    with pytest.raises(OutOfOrder):
        store.prune(0)
    grow(store, 10)
    assert store.prune_floor() == 0
    state = dict(store.scan(b""))
    # When those below 6 are dropped, twice, and once with a lower bound
    for below in (6, 6, 2):
        store.prune(below)
    # Then reads below say so, what names them still does, and the chain goes on
    assert store.prune_floor() == 6
    for height in range(6):
        for read in (store.block, store.block_hash, store.receipts, store.certificate):
            with pytest.raises(Pruned, match="kept from 6 on"):
                read(height)
        with pytest.raises(Pruned):
            store.replace_certificate(height, b"late")
    assert store.block(6) is not None
    assert store.find_transaction(transaction_id(0, 5, 0)) == (5, 0)
    assert len(all_history(store, ACCOUNTS[0])) == 7
    assert dict(store.scan(b"")) == state
    with pytest.raises(OutOfOrder):
        store.prune(10)
    grow(store, 1)
    assert store.tip() is not None
    assert store.tip()[0] == 10  # type: ignore[index]


def test_the_size_grows_with_what_is_stored(store: BlockStore) -> None:
    grow(store, 1)
    before = store.size_bytes()
    parent = store.block_hash(0)
    assert parent is not None
    store.commit(replace(empty_block(1, parent), block=bytes(1_000_000)))
    assert store.size_bytes() > before + 900_000

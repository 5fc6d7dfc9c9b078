"""Damaged, foreign, newer, missing and full: what is found on the disk is named, with what to do."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from storage import environment, state_tree
from storage.chain import SCHEMA, ChainDatabase
from storage.environment import seal, structural_problems, unseal
from storage.errors import (
    Damaged,
    DiskFailed,
    DiskFull,
    MissingDatabase,
    NewerSchema,
    StorageError,
    WrongChain,
)
from tests.storage.sample import ACCOUNTS, CHAIN_ID, assert_whole, grow, transaction_id

PAGE = mmap.PAGESIZE


def made(directory: Path, blocks: int = 20) -> Path:
    """A closed sample chain; the path of its file."""
    chain = ChainDatabase.open(directory, chain_id=CHAIN_ID, create=True)
    grow(chain, blocks)
    chain.close()
    return directory / "chain" / "data.mdb"


def opened(directory: Path) -> ChainDatabase:
    return ChainDatabase.open(directory, chain_id=CHAIN_ID)


def test_a_chain_survives_closing(tmp_path: Path) -> None:
    made(tmp_path)
    for _ in range(2):
        chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True)
        assert assert_whole(chain) == 19
        chain.close()
        chain.close()
    with pytest.raises(StorageError):
        chain.tip()


def test_a_sealed_value_opens_under_its_own_key_only() -> None:
    sealed = seal(b"key", b"payload")
    assert unseal(b"key", sealed) == b"payload"
    assert unseal(b"kez", sealed) is None
    for at in range(len(sealed)):
        for bit in range(8):
            flipped = bytearray(sealed)
            flipped[at] ^= 1 << bit
            assert unseal(b"key", bytes(flipped)) is None
    for length in range(len(sealed)):
        assert unseal(b"key", sealed[:length]) is None


def test_nothing_there_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    for read_only in (False, True):
        with pytest.raises(MissingDatabase, match="ecloud node init"):
            ChainDatabase.open(tmp_path / "none", chain_id=CHAIN_ID, read_only=read_only)
    assert not (tmp_path / "none").exists()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot open"):
        ChainDatabase.open(tmp_path / "file", chain_id=CHAIN_ID, create=True)


def test_another_chain_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    for _ in range(2):
        with pytest.raises(WrongChain, match=CHAIN_ID.hex()):
            ChainDatabase.open(tmp_path, chain_id=b"other", create=True)
    opened(tmp_path).close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    # Given a directory written by a newer program
    data = made(tmp_path)
    newer = lmdb.open(str(tmp_path / "chain"), max_dbs=8, map_size=1 << 30)
    with newer.begin(write=True) as transaction:
        value = seal(b"schema", (SCHEMA + 1).to_bytes(4, "big"))
        transaction.put(b"schema", value, db=newer.open_db(b"meta", transaction))
    newer.close()
    before = data.read_bytes()
    # When opened, then the error names both and what to do, and not a byte has changed
    with pytest.raises(NewerSchema, match=f"schema {SCHEMA + 1}, this program knows up to {SCHEMA}; update ecloud"):
        opened(tmp_path)
    assert data.read_bytes() == before


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_a_file_cut_off_is_damage_with_a_hint(tmp_path: Path, keep: float) -> None:
    data = made(tmp_path)
    with data.open("r+b") as file:
        file.truncate(int(data.stat().st_size * keep))
    for read_only in (False, True):
        with pytest.raises(Damaged, match=r"cut off.*to resync"):
            ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, read_only=read_only)
    # And the directory is not left in use: the hint can be followed
    (tmp_path / "chain").rename(tmp_path / "chain.damaged")
    chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True)
    grow(chain, 20)
    assert assert_whole(chain) == 19
    chain.close()


@pytest.mark.parametrize("length", [0, 1, 100, 4096, 5000, 8192])
def test_a_file_cut_to_almost_nothing_is_damage(tmp_path: Path, length: int) -> None:
    data = made(tmp_path)
    with data.open("r+b") as file:
        file.truncate(length)
    with pytest.raises(Damaged, match="to resync"):
        opened(tmp_path)


def test_a_file_of_something_else_is_damage(tmp_path: Path) -> None:
    data = made(tmp_path)
    data.write_bytes(b"\xa5" * 50_000)
    with pytest.raises(Damaged, match="to resync"):
        opened(tmp_path)


def test_a_file_that_lacks_only_free_pages_at_its_end_is_sound(tmp_path: Path) -> None:
    # Given a file whose last pages are free, as LMDB may leave them, even unwritten
    data = made(tmp_path, 10)
    for _ in range(50):
        whole = data.read_bytes()
        with data.open("r+b") as file:
            file.truncate(len(whole) - PAGE)
        if not structural_problems(data.parent):
            break
        data.write_bytes(whole)
        made(tmp_path, 1)
    else:
        raise AssertionError("never a free page at the end")
    # When it is opened, then it is whole and takes more
    chain = opened(tmp_path)
    height = assert_whole(chain)
    grow(chain, 20)
    assert assert_whole(chain) == height + 20
    chain.close()


Payload = Callable[[ChainDatabase], bytes]
Read = Callable[[ChainDatabase], object]

STORED: dict[str, tuple[Payload, Read, int | None]] = {
    "block": (lambda chain: (chain.block(11) or b"")[50:], lambda chain: chain.block(11), 11),
    "receipts": (lambda _: b"receipts of 0/11", lambda chain: chain.receipts(11), 11),
    "certificate": (lambda _: b"certificate of 0/11", lambda chain: chain.certificate(11), 11),
    "state": (lambda chain: record(chain)[1], lambda chain: [chain.get(b"key %d" % at) for at in range(300)], None),
    "state, scanned": (lambda chain: record(chain)[1], lambda chain: list(chain.scan(b"")), None),
    "key of a state record": (
        lambda chain: record(chain)[0] + seal(*record(chain)),
        lambda chain: list(chain.scan(b"")),
        None,
    ),
    "root of the tree": (
        lambda chain: chain.tree_node(state_tree.ROOT_PATH_KEY) or b"",
        lambda chain: chain.tree_node(state_tree.ROOT_PATH_KEY),
        None,
    ),
    "transaction": (
        lambda _: seal(transaction_id(0, 11, 2), (11).to_bytes(8, "big") + (2).to_bytes(4, "big")),
        lambda chain: chain.find_transaction(transaction_id(0, 11, 2)),
        None,
    ),
    "history": (
        lambda _: seal(
            b"\x20" + ACCOUNTS[2] + (11).to_bytes(8, "big") + (2).to_bytes(4, "big"), (9).to_bytes(2, "big")
        ),
        lambda chain: chain.history(ACCOUNTS[2], None, 100),
        None,
    ),
    "tip": (lambda chain: b"".join((chain.tip() or ())[1:]), lambda chain: chain.tip(), None),
}


def record(chain: ChainDatabase) -> tuple[bytes, bytes]:
    """Some state record of a good length."""
    return next((key, value) for key, value in chain.scan(b"") if len(value) > 30)


@pytest.mark.parametrize("name", STORED)
def test_a_flipped_bit_in_any_stored_record_is_found_and_named(tmp_path: Path, name: str) -> None:
    # Given the stored bytes of a record
    payload_of, read, height = STORED[name]
    data = made(tmp_path)
    chain = opened(tmp_path)
    payload = payload_of(chain)
    read(chain)
    chain.close()
    whole = data.read_bytes()
    assert len(payload) >= 6
    assert payload in whole
    for at in sorted({0, len(payload) // 2, len(payload) - 1}):
        # When one bit of it is flipped on the disk (in every copy: old pages may hold one too)
        flipped = bytearray(payload)
        flipped[at] ^= 0x10
        data.write_bytes(whole.replace(payload, flipped))
        # Then reading it names the damage, the height if it is one block's, and what to do
        chain = opened(tmp_path)
        with pytest.raises(Damaged, match="to resync") as caught:
            read(chain)
        assert caught.value.height == height
        chain.close()


def test_a_missing_block_is_damage_not_absence(tmp_path: Path) -> None:
    made(tmp_path)
    raw = lmdb.open(str(tmp_path / "chain"), max_dbs=8, map_size=1 << 30)
    with raw.begin(write=True) as transaction:
        transaction.delete((11).to_bytes(8, "big"), db=raw.open_db(b"blocks", transaction))
    raw.close()
    chain = opened(tmp_path)
    with pytest.raises(Damaged, match="at height 11: it has no record in blocks") as caught:
        chain.block(11)
    assert caught.value.height == 11
    assert chain.block(12) is not None
    chain.close()


def test_a_page_of_zeros_never_passes_for_good(tmp_path: Path) -> None:
    # Given every page of the file in turn overwritten with zeros, then the walk without LMDB names each that is in use
    data = made(tmp_path)
    whole = data.read_bytes()
    assert structural_problems(data.parent) == []
    found = 0
    for page in range(2, len(whole) // PAGE):
        data.write_bytes(whole[: page * PAGE] + bytes(PAGE) + whole[(page + 1) * PAGE :])
        found += bool(structural_problems(data.parent))
    assert found > len(whole) // PAGE // 4
    data.write_bytes(b"nothing like it")
    assert structural_problems(data.parent) != []


def test_a_map_that_is_full_takes_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a machine that grants only little address space
    with monkeypatch.context() as patch:
        patch.setattr(environment, "MAP_BYTES", (300_000,))
        chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True)
        with pytest.raises(DiskFull):
            grow(chain, 1_000)
        height = assert_whole(chain)
        assert height > 0
        chain.close()
    # When it grants more, then the chain goes on
    chain = opened(tmp_path)
    grow(chain, 3)
    assert assert_whole(chain) == height + 3
    chain.close()


def test_a_smaller_map_is_taken_where_the_large_one_is_not_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "MAP_BYTES", (1 << 62, 1 << 30))
    chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True)
    grow(chain, 2)
    assert assert_whole(chain) == 1
    chain.close()
    monkeypatch.setattr(environment, "MAP_BYTES", (1 << 62,))
    with pytest.raises(StorageError, match="address space"):
        opened(tmp_path)


def test_errors_of_the_disk_are_named(tmp_path: Path) -> None:
    made(tmp_path)
    held = environment.open_environment(tmp_path / "chain", ("blocks",), schema=SCHEMA, chain_id=CHAIN_ID, create=False)
    # An input/output error with room on the disk is the disk's, and asking for room did no harm
    assert isinstance(held.named(lmdb.Error("mdb_txn_commit: Input/output error")), DiskFailed)
    assert isinstance(held.named(lmdb.PanicError("mdb_txn_begin: MDB_PANIC")), DiskFailed)
    assert isinstance(held.named(lmdb.DiskError("mdb_txn_commit: No space left on device")), DiskFull)
    assert isinstance(held.named(lmdb.CorruptedError("mdb_get: MDB_CORRUPTED")), Damaged)
    assert type(held.named(lmdb.ReadersFullError("mdb_txn_begin: MDB_READERS_FULL"))) is StorageError
    held.close()
    chain = opened(tmp_path)
    assert assert_whole(chain) == 19
    chain.close()


def test_a_backup_taken_while_blocks_are_committed_is_a_whole_chain(tmp_path: Path) -> None:
    # Given a chain that grows in a thread
    chain = ChainDatabase.open(tmp_path / "node", chain_id=CHAIN_ID, create=True)
    grow(chain, 50)
    stop = threading.Event()

    def commit() -> None:
        while not stop.is_set():
            grow(chain, 1)

    thread = threading.Thread(target=commit)
    thread.start()
    # When copies are made meanwhile
    for number in range(3):
        chain.backup(tmp_path / f"backup {number}")
    stop.set()
    thread.join()
    # Then each opens as a chain of its own, whole, and can go on
    heights = []
    for number in range(3):
        copy = ChainDatabase.open(tmp_path / f"backup {number}", chain_id=CHAIN_ID)
        heights.append(assert_whole(copy))
        grow(copy, 1)
        copy.close()
    assert 49 <= heights[0] <= heights[1] <= heights[2]
    assert assert_whole(chain) >= heights[2]
    # And an earlier backup is not overwritten
    with pytest.raises(StorageError, match="exists already"):
        chain.backup(tmp_path / "backup 0")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write the backup"):
        chain.backup(tmp_path / "file")
    chain.close()


def test_reads_from_many_threads_see_whole_blocks_while_blocks_are_committed(tmp_path: Path) -> None:
    chain = ChainDatabase.open(tmp_path, chain_id=CHAIN_ID, create=True)
    grow(chain, 10)
    seen: list[int] = []
    failures: list[BaseException] = []

    def read() -> None:
        try:
            seen.extend(assert_whole(chain) for _ in range(5))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    grow(chain, 30)
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(seen) == 15
    assert assert_whole(chain) == 39
    chain.close()

"""A chain on the disk is recomputed from its genesis, and whatever was altered is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from consensus.block import Certificate
from ledger.encoding import encode
from ledger.records import ACCOUNTS
from node.verification import ChainFault, Verified, verify_chain, verify_directory
from storage.chain import ChainDatabase
from storage.environment import is_owned, seal, structural_problems
from storage.errors import Damaged, MissingDatabase
from storage.memory import MemoryChain
from tests.support.chain import Chain
from tests.support.disk import alter, copy_chain, write_chain
from tests.support.transactions import payment

HEIGHT = 5


def silent(_done: int, _all: int) -> None:
    pass


@pytest.fixture(scope="module")
def chain() -> Chain:
    made = Chain()
    for nonce in range(HEIGHT):
        made.produce([payment(made, "anne", nonce), payment(made, "george", nonce)], view=nonce % 2)
    return made


@pytest.fixture
def directory(chain: Chain, tmp_path: Path) -> Path:
    write_chain(chain, tmp_path)
    return tmp_path


def verify(chain: Chain, directory: Path) -> Verified:
    return verify_directory(directory, chain.genesis, silent)


def height_key(height: int) -> bytes:
    return height.to_bytes(8, "big")


def rewrite(chain: Chain, directory: Path, database: str, key: bytes, change: Callable[[bytes], bytes | None]) -> None:
    """Replaces what is stored by something with a good seal, as somebody with an editor would."""
    store = ChainDatabase.open(directory, chain_id=chain.chain_id)
    environment = store._environment
    with environment.lmdb.begin(write=True) as transaction:
        handle = environment.databases.get(database, environment.meta)
        payload = change(transaction.get(key, db=handle)[4:])
        if payload is None:
            transaction.delete(key, db=handle)
        else:
            transaction.put(key, seal(key, payload), db=handle)
    store.close()


def first_key(chain: Chain, directory: Path, database: str) -> bytes:
    store = ChainDatabase.open(directory, chain_id=chain.chain_id)
    with (
        store._environment.lmdb.begin() as transaction,
        transaction.cursor(store._environment.databases[database]) as cursor,
    ):
        assert cursor.first()
        key = bytes(cursor.key())
    store.close()
    return key


def test_a_sound_chain_is_verified_whole(chain: Chain, directory: Path) -> None:
    done: list[tuple[int, int]] = []
    verified = verify_directory(directory, chain.genesis, lambda *progress: done.append(progress))
    assert (verified.height, verified.tip) == (HEIGHT, chain.blocks[-1].hash)
    assert verified.state_root == chain.blocks[-1].state_root
    assert verified.transactions == 2 * HEIGHT
    assert verified.signatures == 4 * HEIGHT
    assert done == [(height, HEIGHT) for height in range(1, HEIGHT + 1)]


def test_it_is_verified_beside_the_node_that_runs_on_it(chain: Chain, directory: Path) -> None:
    # Given a process that holds the directory (this one), and another that asks
    store = ChainDatabase.open(directory, chain_id=chain.chain_id)
    assert is_owned(directory / "chain")
    with store.snapshot() as stored:
        assert verify_chain(stored, chain.genesis, silent).height == HEIGHT
    store.close()
    assert not is_owned(directory / "chain")


def test_where_there_is_no_chain(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(MissingDatabase):
        verify(chain, tmp_path)
    with pytest.raises(ChainFault, match="block 0: there is no genesis"):
        verify_chain(MemoryChain(), chain.genesis, silent)


@pytest.mark.parametrize("database", ["blocks", "certificates"])
@pytest.mark.parametrize("height", [1, 3, HEIGHT])
@pytest.mark.parametrize("position", [0, 4, 40, 200, -1])
def test_a_flipped_bit_in_a_block_or_certificate_is_named_with_its_height(
    chain: Chain, directory: Path, database: str, height: int, position: int
) -> None:
    alter(directory, chain.chain_id, database, height_key(height), position)
    with pytest.raises(ChainFault, match=rf"^block {height}: ") as fault:
        verify(chain, directory)
    assert fault.value.height == height


def test_a_flipped_bit_in_the_genesis_is_named(chain: Chain, directory: Path) -> None:
    alter(directory, chain.chain_id, "blocks", height_key(0))
    with pytest.raises(ChainFault, match=r"^block 0: "):
        verify(chain, directory)


@pytest.mark.parametrize("database", ["state", "tree"])
def test_a_flipped_bit_in_the_state_or_its_tree_is_found(chain: Chain, directory: Path, database: str) -> None:
    alter(directory, chain.chain_id, database, first_key(chain, directory, database))
    with pytest.raises(ChainFault) as fault:
        verify(chain, directory)
    assert fault.value.height == HEIGHT
    assert "fails its checksum" in str(fault.value)


def test_a_flipped_bit_in_the_transactions_index_is_found_at_its_block(chain: Chain, directory: Path) -> None:
    alter(directory, chain.chain_id, "transactions", chain.blocks[2].transactions[0].id)
    with pytest.raises(ChainFault, match=r"^block 3: .*fails its checksum"):
        verify(chain, directory)


def test_a_flipped_bit_in_the_history_is_found(chain: Chain, directory: Path) -> None:
    alter(directory, chain.chain_id, "history", first_key(chain, directory, "history"))
    with pytest.raises(ChainFault, match=rf"^block {HEIGHT}: .*history"):
        verify(chain, directory)


def test_forged_receipts_are_found(chain: Chain, directory: Path) -> None:
    rewrite(chain, directory, "blocks", height_key(2), lambda record: record[:-1] + bytes([record[-1] ^ 1]))
    with pytest.raises(ChainFault, match=r"^block 2: executing it gives other receipts or another draw"):
        verify(chain, directory)


def test_a_forged_hash_beside_a_block_is_found(chain: Chain, directory: Path) -> None:
    rewrite(chain, directory, "blocks", height_key(2), lambda record: bytes(32) + record[32:])
    with pytest.raises(ChainFault, match=r"^block 2: the hash stored beside the block is another's"):
        verify(chain, directory)


def test_a_block_in_anothers_place_is_found(chain: Chain, directory: Path) -> None:
    other = encode(chain.blocks[2].block)
    head = chain.blocks[2].hash + len(other).to_bytes(4, "big")
    rewrite(chain, directory, "blocks", height_key(2), lambda _: head + other)
    with pytest.raises(ChainFault, match=r"^block 2: the block stored there has another height"):
        verify(chain, directory)


def test_a_certificate_of_a_minority_is_found(chain: Chain, directory: Path) -> None:
    full = chain.certificates[1]
    minority = Certificate(full.kind, full.height, full.view, full.block_hash, b"\x03", full.signatures[:128])
    rewrite(chain, directory, "certificates", height_key(2), lambda _: encode(minority))
    with pytest.raises(ChainFault, match=r"^block 2: its certificate does not make it final"):
        verify(chain, directory)


def test_a_missing_block_is_found(chain: Chain, directory: Path) -> None:
    rewrite(chain, directory, "blocks", height_key(3), lambda _: None)
    with pytest.raises(ChainFault, match=r"^block 3: it has no record in blocks"):
        verify(chain, directory)


def test_a_missing_index_record_is_found(chain: Chain, directory: Path) -> None:
    rewrite(chain, directory, "transactions", chain.blocks[3].transactions[1].id, lambda _: None)
    with pytest.raises(ChainFault, match=r"^block 4: the index does not find transaction"):
        verify(chain, directory)


def test_a_balance_that_was_helped_along_is_found(chain: Chain, directory: Path) -> None:
    key = ACCOUNTS.prefix + chain.home("bob").id
    richer = msgspec.structs.replace(chain.account("bob"), watt_uwatt=10**15)
    rewrite(chain, directory, "state", key, lambda _: encode(richer))
    with pytest.raises(ChainFault, match=rf"^block {HEIGHT}: the state record {key.hex()} is not what the chain gives"):
        verify(chain, directory)


def test_a_history_with_a_hole_is_found(chain: Chain, directory: Path) -> None:
    rewrite(chain, directory, "history", first_key(chain, directory, "history"), lambda _: None)
    with pytest.raises(ChainFault, match="the history of account"):
        verify(chain, directory)


def test_a_flipped_key_of_an_index_is_found_before_lmdb_trusts_it(chain: Chain, directory: Path) -> None:
    # Given a bit of a key that flipped on the disk, which no checksum of a value covers
    file = directory / "chain" / "data.mdb"
    transaction_id = chain.blocks[1].transactions[0].id
    data = bytearray(file.read_bytes())
    assert transaction_id in data
    start = 0
    while (start := data.find(transaction_id, start)) >= 0:
        data[start] ^= 0x80
        start += 1
    file.write_bytes(bytes(data))
    # Then it is found: as disorder in the tree, or as a transaction that the index does not have
    with pytest.raises((Damaged, ChainFault)) as fault:
        verify(chain, directory)
    if structural_problems(directory / "chain"):
        assert isinstance(fault.value, Damaged)
    else:
        assert isinstance(fault.value, ChainFault)
        assert fault.value.height == 2


def test_a_damaged_page_is_found_without_harm(chain: Chain, directory: Path) -> None:
    # Given a branch or leaf page whose header is garbage: LMDB would follow it anywhere
    file = directory / "chain" / "data.mdb"
    data = bytearray(file.read_bytes())
    position = data.find(chain.blocks[-1].hash)
    page = position - position % 4096
    data[page + 8 : page + 24] = b"\xff" * 16
    file.write_bytes(bytes(data))
    with pytest.raises((Damaged, ChainFault)):
        verify(chain, directory)


def test_a_tip_that_is_not_its_blocks_is_found(chain: Chain, directory: Path) -> None:
    rewrite(chain, directory, "meta", b"tip", lambda tip: tip[:8] + bytes(32) + tip[40:])
    with pytest.raises(ChainFault, match=rf"^block {HEIGHT}: the tip's hash is not its block's"):
        verify(chain, directory)


def test_what_a_simulation_keeps_is_verified_too(chain: Chain) -> None:
    store = MemoryChain()
    copy_chain(chain, store)
    assert verify_chain(store, chain.genesis, silent).height == HEIGHT

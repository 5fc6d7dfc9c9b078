"""Real nodes on a disk that fills up and gets room again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import lmdb
import pytest
import trio

from devnet import operations
from devnet.load import Load
from devnet.making import make_devnet
from devnet.manifest import HomeRecord, Manifest
from devnet.processes import stop_all
from ledger.genesis import Genesis, chain_id
from ledger.transactions import MAX_MEMO_BYTES, Token, Transaction, Transfer, sign_transaction
from node.founding import read_genesis
from node.verification import verify_directory
from p2p.limits import Limits
from p2p.peer_book import PeerBook
from tests.cli.running import refused, run
from tests.support.chain import FEE_UWATT, make_home
from tests.support.processes import NodeProcess, lone_genesis, make_home_directory, running_node
from tests.support.small_disk import SmallDisk, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("devnet"), pytest.mark.timeout(300)]

WITHIN_S = 90.0
UNAVAILABLE = 503
MEGABYTES = 4
LOAD_PER_SECOND = 20.0


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def get(home: HomeRecord, path: str) -> Any:
    """None while the node does not answer."""
    try:
        return httpx.get(home.api_url + path, timeout=10).json()
    except httpx.TransportError:
        return None


def height(home: HomeRecord) -> int:
    status = get(home, "/v1/status")
    return -1 if status is None else int(status["height"])


def payment(genesis: Genesis, nonce: int) -> Transaction:
    """With a long memo: blocks that need room."""
    return sign_transaction(
        make_home("anne").account,
        chain_id(genesis),
        Transfer(recipient=make_home("bob").id, token=Token.WATT, amount=1, memo="x" * MAX_MEMO_BYTES),
        nonce=nonce,
        fee_uwatt=FEE_UWATT,
        valid_until_height=5_000,
    )


# -- one home of four


@contextmanager
def four_homes(root: Path) -> Iterator[tuple[Manifest, SmallDisk]]:
    """Four nodes, made and not started; bob's data directory, his log included, is a disk of its own."""
    manifest = make_devnet(root, 4, time.time_ns() // 1_000_000 + 8_000, 0)
    with small_disk(Path(manifest.home("bob").directory), 16) as disk:
        try:
            yield manifest, disk
        finally:
            stop_all(manifest.processes())


async def under_load(root: Path, manifest: Manifest, scene: Callable[[], None]) -> dict[bytes, str]:
    """Plays the scene while transfers go in; returns what was acknowledged."""
    load = Load(root, manifest.homes, bytes.fromhex(manifest.chain_id), 1)
    async with trio.open_nursery() as nursery:
        await nursery.start(load.run, LOAD_PER_SECOND)  # type: ignore[arg-type]  # trio-typing's stubs
        await trio.to_thread.run_sync(scene)
        await load.stop()
    return load.acknowledged


def test_a_full_disk_stops_one_home_until_there_is_room_and_nobody_else(tmp_path: Path) -> None:
    root = tmp_path / "devnet"
    with four_homes(root) as (manifest, disk):
        bob, anne = manifest.home("bob"), manifest.home("anne")
        for home in manifest.homes:
            operations.start(home.node)

        def scene() -> None:
            until(lambda: all(height(home) >= 2 for home in manifest.homes), "the neighbourhood does not begin")
            # When bob's disk fills up
            disk.fill()
            until(lambda: get(bob, "/v1/status")["disk_full"], "bob's node does not notice")
            # Then his node says so, wherever one looks
            stopped_at = height(bob)
            assert httpx.get(bob.api_url + "/health", timeout=10).status_code == UNAVAILABLE
            assert "the disk is full" in httpx.get(bob.api_url + "/health", timeout=10).json()["detail"]
            until(lambda: any("disk is full" in one for one in get(bob, "/v1/status")["warnings"]), "no warning")
            assert "the disk is full" in run("node", "status", "--api", bob.api_url).stderr
            assert "ecloud_disk_full 1.0" in httpx.get(bob.api_url + "/metrics", timeout=10).text
            # And takes no transaction, with a sentence that says what to do
            signing = ["--wallets", str(root / "wallets"), "--wallet", "bob", "--yes", "--api", bob.api_url]
            said = refused("wallet", "send", "carla", "1", "WATT", *signing, password="devnet")
            assert "disk_full" in said
            assert "make room" in said
            # And goes on answering what is read
            assert get(bob, f"/v1/blocks/{stopped_at}")["summary"]["height"] == stopped_at
            assert get(bob, "/v1/accounts/bob")["exists"]
            # And the others go on without it
            until(lambda: height(anne) >= stopped_at + 3, "the others do not go on")
            assert height(bob) <= stopped_at + 1
            # When there is room again
            disk.make_room()
            # Then it goes on by itself, and has what it missed
            until(lambda: not get(bob, "/v1/status")["disk_full"], "it does not notice the room")
            goal = height(anne)
            until(lambda: height(bob) >= goal, "it does not catch up")
            until(lambda: get(bob, "/v1/status")["engine"]["votes"], "it does not vote again")
            until(lambda: not get(bob, "/v1/status")["warnings"], "it goes on warning")
            assert bob.node.alive

        acknowledged = trio.run(under_load, root, manifest, scene)

        def final() -> bool:
            return all((get(bob, f"/v1/transactions/{one.hex()}") or {}).get("height") for one in acknowledged)

        # And nothing that was acknowledged, by any node at any time, is lost
        assert acknowledged
        until(final, "something that was acknowledged is not final")
        assert stop_all(manifest.processes()) == 0
        _, genesis = read_genesis(Path(bob.directory))
        assert verify_directory(Path(bob.directory), genesis, lambda done, count: None).height > 0


# -- one part of the directory of a home that is alone


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home_directory(tmp_path / "anne", lone_genesis())


def submit(node: NodeProcess, genesis: Genesis, nonce: int) -> httpx.Response:
    return node.submit(payment(genesis, nonce).raw)


@contextmanager
def no_page_is_freed(database: Path) -> Iterator[None]:
    """A reader that stays: what the node writes meanwhile needs new room, as it does where a database only grows."""
    with lmdb.open(str(database), readonly=True, max_dbs=16) as environment, environment.begin():
        yield


@pytest.mark.parametrize("part", ["chain", "journal"])
def test_a_full_disk_under_one_database_stops_the_node_until_there_is_room(home: Path, part: str) -> None:
    _, genesis = read_genesis(home)
    with small_disk(home / part, MEGABYTES) as disk, running_node(home) as node:
        node.until_height(2)
        assert submit(node, genesis, 0).is_success
        # When the disk under it fills up, and no page in the file is free
        with no_page_is_freed(home / part):
            disk.fill()
            node.until(lambda: node.status()["disk_full"])
        # Then nothing is accepted, and reading goes on
        node.until(lambda: any("disk is full" in one for one in node.status()["warnings"]))
        answer = submit(node, genesis, 1)
        assert (answer.status_code, answer.json()["refusal"]) == (UNAVAILABLE, "disk_full")
        assert answer.json()["retry_may_help"]
        height = node.status()["height"]
        assert node.get(f"/v1/blocks/{height}")["summary"]["height"] == height
        # When it is killed and started on the full disk, then it answers reads all the same
        node.process.kill()
        node.process.wait(10)
        with no_page_is_freed(home / part), running_node(home) as again:
            assert again.get(f"/v1/blocks/{height}")["summary"]["height"] == height
            again.until(lambda: again.status()["disk_full"])
            # When there is room
            disk.make_room()
            # Then it goes on by itself
            again.until_height(height + 3)
            again.until(lambda: submit(again, genesis, 1).is_success)
            assert not again.status()["disk_full"]
            # And all that was ever acknowledged becomes final
            for one in range(2):
                path = f"/v1/transactions/{payment(genesis, one).id.hex()}"
                again.until(lambda path=path: again.get(path)["height"] is not None)  # type: ignore[misc]


def test_a_full_disk_under_the_mempools_file_stops_intake_and_nothing_else(home: Path) -> None:
    _, genesis = read_genesis(home)
    # Given a directory on a small disk, and the two databases on disks of their own
    with (
        small_disk(home, MEGABYTES) as disk,
        small_disk(home / "chain", 64),
        small_disk(home / "journal", 64),
        running_node(home) as node,
    ):
        node.until_height(2)
        # When the disk fills up
        disk.fill()
        nonce = 0
        while submit(node, genesis, nonce).is_success:  # what room the file's last page has is used
            nonce += 1
        # Then what cannot be written down is not accepted, and the node says why
        answer = submit(node, genesis, nonce)
        assert (answer.status_code, answer.json()["refusal"]) == (UNAVAILABLE, "disk_full")
        assert "No space left" in answer.json()["detail"]
        node.until(lambda: node.status()["disk_full"])
        node.until(lambda: any("transactions are not accepted" in one for one in node.status()["warnings"]))
        # And blocks go on becoming final, with what was acknowledged
        node.until_height(node.status()["height"] + 3)
        assert all(
            node.get(f"/v1/transactions/{payment(genesis, one).id.hex()}")["height"] is not None for one in range(nonce)
        )
        # When there is room, then it notices by itself, and accepts
        disk.make_room()
        node.until(lambda: not node.status()["disk_full"])
        assert submit(node, genesis, nonce).is_success
        assert node.status()["warnings"] == []


def test_a_node_starts_where_not_even_its_address_can_be_written_down(home: Path) -> None:
    with small_disk(home, MEGABYTES) as disk, small_disk(home / "chain", 64), small_disk(home / "journal", 64):
        with running_node(home) as node:
            node.until_height(2)
            node.process.kill()
            node.process.wait(10)
        disk.fill()
        with running_node(home) as node:
            node.until_height(node.status()["height"] + 2)


# -- files that are replaced whole


def test_a_peer_book_that_cannot_be_written_stays_as_it_was_and_is_written_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        path = disk.directory / "peers.cbor"
        book = PeerBook(Limits(), time.monotonic, lambda: 0, path)
        book.remember("12D3KooWFirst", "/ip4/10.0.0.1/tcp/4001")
        book.save()
        before = path.read_bytes()
        disk.fill()
        book.remember("12D3KooWSecond", "/ip4/10.0.0.2/tcp/4001")
        book.save()
        assert path.read_bytes() == before
        assert book.counters["peer_book_unsaved"] == 1
        disk.make_room()
        book.save()
        assert set(PeerBook(Limits(), time.monotonic, lambda: 0, path).remembered()) == {
            "12D3KooWFirst",
            "12D3KooWSecond",
        }


def test_a_wallet_that_cannot_be_written_is_not_made(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        wallets = disk.directory / "wallets"
        wallets.mkdir()
        disk.fill()
        # When a wallet is to be made on a full disk
        said = refused("wallet", "create", "anne", "--wallets", str(wallets))
        # Then one line says why, and nothing half-made is left
        assert "No space left" in said
        assert list(wallets.iterdir()) == []
        # And with room it is made
        disk.make_room()
        run("wallet", "create", "anne", "--wallets", str(wallets))
        assert [path.name for path in wallets.iterdir()] == ["anne.json"]

"""A node's data directory checked and copied, beside the node that runs there and after it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from node.verification import verify_directory
from storage.journal import Journal
from tests.cli.conftest import Neighbourhood
from tests.cli.running import answer, refused, run
from tests.support.chain import Chain
from tests.support.disk import alter, write_chain
from tests.support.processes import make_home_directory
from tests.support.small_disk import small_disk

running = pytest.mark.xdist_group("a node of the command line")


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, Chain]:
    """What a node leaves behind that stopped at height 5."""
    chain = Chain(["anne"])
    for _ in range(5):
        chain.produce()
    directory = make_home_directory(tmp_path / "anne", chain.genesis)
    write_chain(chain, directory)
    return directory, chain


def parts(directory: Path, *, status: int = 0) -> dict[str, tuple[bool, str]]:
    found = json.loads(run("node", "check", "--data-dir", str(directory), "--json", status=status).stdout)
    assert found["ok"] is (status == 0)
    return {part["part"]: (part["ok"], part["detail"]) for part in found["parts"]}


@running
def test_a_running_node_is_checked(neighbourhood: Neighbourhood) -> None:
    found = parts(neighbourhood.directory)
    assert all(ok for ok, _ in found.values()), found
    assert "executed anew" in found["chain"][1]
    assert "open in the node that runs" in found["journal"][1]
    assert "sound" in run("node", "check", "--data-dir", str(neighbourhood.directory)).stdout


@running
def test_a_running_node_is_copied_and_the_copy_is_whole(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    done = answer("node", "backup", str(copy), "--data-dir", str(neighbourhood.directory))
    # Then the copy is a chain that verifies, with genesis and settings, and without what must not be copied
    verified = verify_directory(copy, neighbourhood.genesis, lambda height, count: None)
    assert verified.height == done["height"] >= 1
    assert {path.name for path in copy.iterdir()} == {"chain", "genesis.cbor", "config.toml"}
    # And nothing is ever written over one
    assert "not empty" in refused("node", "backup", str(copy), "--data-dir", str(neighbourhood.directory))


@running
def test_the_peers_of_a_node_that_is_alone(neighbourhood: Neighbourhood) -> None:
    assert "no peers" in run("node", "peers", *neighbourhood.options).stdout
    assert answer("node", "peers", *neighbourhood.options)["peers"] == []


@running
def test_standing_and_convictions_of_a_neighbourhood_without_faults(neighbourhood: Neighbourhood) -> None:
    shown = run("vote", "candidates", *neighbourhood.options).stdout
    assert shown.splitlines()[1].split()[:2] == ["anne", "active"]
    assert "weighed again at block" in shown
    assert run("chain", "evidence", *neighbourhood.options).stdout == "nobody was convicted\n"


def test_after_the_node_the_journal_is_looked_at_too(stopped: tuple[Path, Chain]) -> None:
    directory, chain = stopped
    assert parts(directory)["journal"][0]
    # Given it is lost, then that is no fault, and what it means is said
    shutil.rmtree(directory / "journal")
    assert "none: the node will follow" in parts(directory)["journal"][1]
    # Given a new one that does not vouch for this node's key yet
    journal = Journal.open(directory, chain_id=chain.chain_id)
    journal.close()
    assert "not complete for this key" in parts(directory)["journal"][1]
    journal = Journal.open(directory, chain_id=chain.chain_id)
    journal.trust(chain.home("anne").node.public_key)
    journal.close()
    assert parts(directory)["journal"] == (True, "0 votes and 0 certificates of block 1")
    # When the journal's file is cut off
    with (directory / "journal" / "data.mdb").open("r+b") as file:
        file.truncate(4096)
    # Then that is wrong, with what to do, and the rest is sound
    found = parts(directory, status=1)
    assert "move that directory away" in found["journal"][1]
    assert found["chain"][0]


def test_a_damaged_block_is_named_and_the_other_parts_are_still_looked_at(stopped: tuple[Path, Chain]) -> None:
    directory, chain = stopped
    alter(directory, chain.chain_id, "blocks", (3).to_bytes(8, "big"))
    (directory / "config.toml").write_text("[api]\nport = ")
    (directory / "mempool.log").write_bytes(b"\0\0\0\x09torn")
    found = parts(directory, status=1)
    assert not found["chain"][0]
    assert "block 3" in found["chain"][1] or "height 3" in found["chain"][1]
    assert not found["settings"][0]
    assert "config.toml" in found["settings"][1]
    assert found["waiting"] == (True, found["waiting"][1])
    assert "dropped at the next start" in found["waiting"][1]
    assert refused("node", "check", "--data-dir", str(directory)) == "wrong: settings, chain"


def test_a_directory_without_a_genesis_or_a_key_is_said(tmp_path: Path, stopped: tuple[Path, Chain]) -> None:
    directory, _ = stopped
    (directory / "node.key").unlink()
    found = parts(directory, status=1)
    assert not found["node key"][0]
    assert found["chain"][0]
    (directory / "genesis.cbor").unlink()
    found = parts(directory, status=1)
    assert not found["genesis"][0]
    assert "not looked at" in found["chain"][1]
    assert refused("node", "backup", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "nowhere"))


def test_a_copy_for_which_there_is_no_room_leaves_nothing_behind(stopped: tuple[Path, Chain], tmp_path: Path) -> None:
    directory, _ = stopped
    with small_disk(tmp_path / "stick", 1) as disk:
        disk.fill()
        said = refused("node", "backup", str(disk.directory / "copy"), "--data-dir", str(directory))
        assert "room" in said or "No space" in said
        assert not (disk.directory / "copy" / "chain").exists()
        disk.make_room()
        shutil.rmtree(disk.directory / "copy", ignore_errors=True)
        run("node", "backup", str(disk.directory / "copy"), "--data-dir", str(directory))

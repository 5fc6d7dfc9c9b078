"""The node on a real disk and real sockets: what it says when it cannot start, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import trio

from ledger.genesis import Genesis, chain_id
from ledger.transactions import Token, Transfer, sign_transaction
from node import founding
from node.configuration import load
from node.run import CannotStart, NodeBroken, run_node
from node.verification import verify_directory
from storage.chain import ChainDatabase
from tests.support.chain import FEE_UWATT, Chain, make_genesis, make_home
from tests.support.disk import alter, write_chain
from tests.support.processes import ROOT, lone_genesis, make_home_directory, running_node

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("node_processes")]

STOPS_WITHIN_S = 2.0
GIVES_UP_WITHIN_S = 30.0
USAGE = 2


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_home_directory(tmp_path / "anne", lone_genesis())


def genesis_of(directory: Path) -> Genesis:
    return founding.read_genesis(directory)[1]


def run_here(directory: Path) -> None:
    """A node in this process, which is expected to end by itself."""

    async def run() -> None:
        with trio.fail_after(GIVES_UP_WITHIN_S):
            await run_node(directory, load(directory, {}))

    trio.run(run)


def assert_one_line(error: BaseException, *parts: str) -> None:
    text = str(error)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


# -- what it says when it cannot start


def test_without_a_data_directory(tmp_path: Path) -> None:
    with pytest.raises(CannotStart) as error:
        run_here(tmp_path / "nowhere")
    assert_one_line(error.value, "nowhere", "ecloud node init")


def test_with_a_damaged_genesis(directory: Path) -> None:
    (directory / "genesis.cbor").write_bytes(b"\x80")
    with pytest.raises(CannotStart) as error:
        run_here(directory)
    assert_one_line(error.value, "genesis.cbor", "no genesis")


def test_without_its_key(directory: Path) -> None:
    (directory / "node.key").unlink()
    with pytest.raises(CannotStart) as error:
        run_here(directory)
    assert_one_line(error.value, "node.key")


def test_with_another_chain_in_the_directory(directory: Path) -> None:
    ChainDatabase.open(directory, chain_id=bytes(32), create=True).close()
    with pytest.raises(CannotStart) as error:
        run_here(directory)
    assert_one_line(error.value, "holds chain", "its own data directory")


def test_where_the_api_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        directory = make_home_directory(tmp_path / "anne", lone_genesis(), api_port=port)
        with pytest.raises(CannotStart) as error:
            run_here(directory)
    assert_one_line(error.value, str(port), "in use", "[api]")


def test_where_the_listening_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        directory = make_home_directory(tmp_path / "anne", lone_genesis(), listen_port=port)
        with pytest.raises(CannotStart) as error:
            run_here(directory)
    assert_one_line(error.value, str(port), "in use", "[network]")


def test_a_damaged_block_is_named_with_its_height_and_the_way_out(tmp_path: Path) -> None:
    # Given the directory of a node that stopped at height 3, whose newest block lost a bit to the disk
    chain = Chain(["anne"])
    for _ in range(3):
        chain.produce()
    directory = make_home_directory(tmp_path / "anne", chain.genesis)
    write_chain(chain, directory)
    alter(directory, chain.chain_id, "blocks", (3).to_bytes(8, "big"))
    # When it is started again
    with pytest.raises(NodeBroken) as error:
        run_here(directory)
    # Then it says which height is damaged, and how to resync
    assert_one_line(error.value, "at height 3", "to resync")


# -- as a process


def test_where_another_process_holds_the_directory(directory: Path) -> None:
    with running_node(directory) as node:
        command = [sys.executable, "-m", "cli.main", "node", "run", "--data-dir", str(directory)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert second.returncode == USAGE
        assert second.stderr.count("\n") == 1
        assert f"in use by process {node.process.pid}" in second.stderr


def test_sigterm_ends_it_within_two_seconds_also_with_event_streams_open(directory: Path) -> None:
    with running_node(directory) as node, httpx.Client(timeout=10) as client:
        # Given people who watch it
        with client.stream("GET", node.url + "/v1/events") as first, client.stream("GET", node.url + "/v1/events"):
            assert first.status_code == 200
            node.until_height(2)
            # When it is told to stop
            began_s = time.monotonic()
            node.process.send_signal(signal.SIGTERM)
            status = node.process.wait(timeout=20)
            took_s = time.monotonic() - began_s
        # Then it does, and has said so cleanly
        assert status == 0
        assert took_s < STOPS_WITHIN_S, f"{took_s:.2f} s"
    assert not (directory / "api.url").exists()


def test_a_node_that_waits_for_others_stops_all_the_same(tmp_path: Path) -> None:
    # Given a home of four, three of which are away
    directory = make_home_directory(tmp_path / "anne", make_genesis())
    with running_node(directory) as node:
        node.process.send_signal(signal.SIGINT)
        assert node.process.wait(timeout=20) == 0
    assert not (directory / "api.sock").exists()


def test_killed_under_load_it_restarts_at_a_whole_block_and_has_lost_nothing_it_acknowledged(directory: Path) -> None:
    anne, bob = make_home("anne").account, make_home("bob").id
    chain = chain_id(genesis_of(directory))
    acknowledged: list[bytes] = []
    for _ in range(2):
        with running_node(directory) as node:
            height = node.status()["height"]
            before = len(acknowledged)
            # Given transactions that come as fast as they are taken
            while len(acknowledged) < before + 30:
                transaction = sign_transaction(
                    anne,
                    chain,
                    Transfer(recipient=bob, token=Token.WATT, amount=1, memo=""),
                    nonce=len(acknowledged),
                    fee_uwatt=FEE_UWATT,
                    valid_until_height=height + 500,
                )
                if node.submit(transaction.raw).status_code == 202:
                    acknowledged.append(transaction.id)
            # When it is killed
            node.process.kill()
            assert node.process.wait(10) == -signal.SIGKILL
    # Then, started once more, everything it has acknowledged becomes final
    with running_node(directory) as node:
        for transaction_id in acknowledged:
            path = f"/v1/transactions/{transaction_id.hex()}"
            node.until(lambda path=path: node.get(path)["height"] is not None)  # type: ignore[misc]
        node.process.kill()
        node.process.wait(10)
    # And the chain on the disk is whole
    verified = verify_directory(directory, genesis_of(directory), lambda done, count: None)
    assert verified.transactions == len(acknowledged)

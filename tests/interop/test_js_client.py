"""A client written from ``docs/protocol.md`` alone, over js-libp2p, at a real chain of two real nodes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from ledger.keys import digest
from p2p.peer_identity import peer_id_from_public_key
from tests.interop.conftest import HERE
from tests.support.chain import PARAMETERS, make_genesis, make_home
from tests.support.processes import ROOT, make_home_directory, start_node

QUICK = msgspec.structs.replace(PARAMETERS, block_interval_ms=400, message_delay_ms=100)
NEW_COMMITTEE_HEIGHT = QUICK.epoch_blocks + QUICK.committee_delay_blocks
LAST_HEIGHT = NEW_COMMITTEE_HEIGHT + 2
STARTS_WITHIN_S = 90.0
CLIENT_WITHIN_S = 150.0
AMOUNT_UWATT = 12_345_678
FEE_UWATT = 1_000
WATT_UWATT = 1_000_000_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Node:
    directory: Path
    address: str
    api: str

    def get(self, path: str) -> Any:
        answer = httpx.get(self.api + path, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def until_height(self, height: int) -> None:
        deadline = time.monotonic() + 30
        while self.get("/v1/status")["height"] < height:
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.05)


@contextmanager
def running(directory: Path, *flags: str) -> Iterator[Node]:
    """A node that has said where it listens; its log is read on, so that it never waits for us."""
    process = start_node(directory, "--json", *flags)
    assert process.stderr is not None
    watchdog = threading.Timer(STARTS_WITHIN_S, process.kill)
    watchdog.start()
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if b'"listening"' in line:
                break
        else:
            raise AssertionError(f"the node ended: {b''.join(said).decode()}")
        watchdog.cancel()
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        event = json.loads(line)
        try:
            yield Node(directory, event["listening"][0], event["api"])
        finally:
            process.kill()
            reader.join()
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """anne and bob, a quorum only together; bob knows anne."""
    genesis = msgspec.structs.replace(make_genesis(["anne", "bob"], QUICK), time_ms=int(time.time() * 1000))
    with running(make_home_directory(tmp_path / "anne", genesis, "anne")) as anne:
        bob_directory = make_home_directory(tmp_path / "bob", genesis, "bob")
        with running(bob_directory, "--bootstrap", anne.address) as bob:
            yield [anne, bob]


def run_client(program: str, settings: dict[str, object]) -> Any:
    finished = subprocess.run(
        [program, str(HERE / "client.mjs")],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        timeout=CLIENT_WITHIN_S,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_its_codec_keys_and_certificates_agree_with_the_golden_vectors(node_program: str) -> None:
    command = [node_program, str(HERE / "vectors.mjs"), str(ROOT / "tests" / "vectors")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    checked = json.loads(finished.stdout)
    assert all(checked.values()), checked
    assert checked["types"] >= 40
    assert checked["transactions"] >= 10
    assert checked["invalid"] >= 20


def test_it_follows_verifies_pays_and_sees_it_final(js_libp2p: str, nodes: list[Node]) -> None:
    # Given a chain of two nodes, and a client that knows one of them and its genesis
    anne, _ = nodes
    home, neighbour = make_home("anne"), make_home("bob")
    genesis = anne.directory / "genesis.cbor"
    # When it pays bob with anne's key, and follows until another committee signs
    report = run_client(
        js_libp2p,
        {
            "address": anne.address,
            "genesis": str(genesis),
            "api": anne.api,
            "seed": home.account.seed.hex(),
            "recipient": neighbour.id.hex(),
            "amount_uwatt": AMOUNT_UWATT,
            "height": LAST_HEIGHT,
        },
    )
    # Then they understood each other's greetings and pings
    assert anne.address.endswith(report["node"])
    assert {"/ipfs/ping/1.0.0", "/meshsub/1.1.0", "/ecloud/status/2", "/ecloud/blocks/1"} <= set(
        report["identified"]["protocols"]
    )
    assert report["ping_ms"] >= 0
    # And each told the other where it stands; a senseless request was refused in words
    assert report["status"]["chain_id"] == digest(b"ecloud/genesis/1", genesis.read_bytes()).hex()
    assert report["statuses_asked"] >= 1
    assert report["refusal"] == "refused: not a block range"
    # And it verified every height's signatures, two each, under two committees, and the node it knows told it of them
    assert report["height"] >= LAST_HEIGHT
    assert report["signatures"] == 2 * report["height"]
    assert report["committees"] >= 2
    assert report["rejected"] == []
    assert report["announced"] >= (report["height"] - report["caught_up"]) // 2  # of blocks it fetched, the newest
    assert report["in_mesh"] == 1
    assert report["authors"] == [peer_id_from_public_key(home.node.public_key)]
    # And its chain is the nodes'
    for node in nodes:
        node.until_height(report["height"])
        assert node.get(f"/v1/blocks/{report['height']}")["summary"]["hash"] == report["hash"]
    # And the payment is final on both, and had its effect
    payment = report["payment"]
    assert payment["height"] > payment["height_before"]
    for node in nodes:
        transaction = node.get(f"/v1/transactions/{payment['id']}")
        assert (transaction["height"], transaction["refusal"]) == (payment["height"], None)
        assert node.get("/v1/accounts/bob")["watt_uwatt"] >= WATT_UWATT + AMOUNT_UWATT
        assert node.get("/v1/accounts/anne")["nonce"] == payment["nonce"] + 1

"""Real nodes in processes of their own, through the command a person types."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio

from devnet import operations
from devnet.manifest import load
from node.client.client import NodeClient
from node.client.events import BlockFinal

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("devnet"), pytest.mark.timeout(300)]

ECLOUD = (sys.executable, "-m", "cli.main")
WITHIN_S = 280
STEP_WITHIN_S = 90


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A devnet's directory; whatever still runs in it at the end is stopped."""
    found = tmp_path / "devnet"
    yield found
    if (found / "devnet.json").exists():
        operations.down(found)


def command(directory: Path, *arguments: str) -> list[str]:
    return [*ECLOUD, "devnet", "up", "--directory", str(directory), *arguments]


def up(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(directory, *arguments), capture_output=True, text=True, timeout=WITHIN_S, check=False)


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command(directory, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STEP_WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def runs(directory: Path) -> bool:
    """The node of a devnet of one, and its meter, have been started."""
    return (directory / "devnet.json").exists() and load(directory).homes[0].house.alive


def assert_nothing_runs(directory: Path) -> None:
    manifest = load(directory)
    assert not any(program.alive for program in manifest.programs())
    assert not manifest.is_running()


def test_a_node_that_is_killed_and_restarted_ends_where_all_end(directory: Path) -> None:
    # When four homes run for twelve blocks, bob's node killed at the fourth and restarted at the eighth
    finished = up(
        directory, *("--nodes", "4", "--blocks", "12", "--json", "--at", "4:kill:bob", "--at", "8:restart:bob")
    )
    # Then standard output is one object
    assert finished.returncode == 0, finished.stderr
    report: dict[str, Any] = json.loads(finished.stdout)
    nodes = report["nodes"]
    assert [node["name"] for node in nodes] == ["anne", "bob", "carla", "george"]
    # And all are at the same block, with the same state
    assert {node["height"] for node in nodes} == {12}
    assert len({node["tip"] for node in nodes}) == 1
    assert len({node["state_root"] for node in nodes}) == 1
    assert sum(node["blocks_produced"] for node in nodes) == 12
    # And the meters' readings are in the blocks
    assert report["readings"] > 0
    # And the market's part is whole: nothing is out of balance, whatever was traded so far
    market = report["market"]
    assert market["checks"] == 0
    assert market["trades"] >= 0
    assert market["settled_periods"] >= 0
    assert 0 < report["finality_ms"]["p50"] <= report["finality_ms"]["p95"]
    assert report["views_skipped"] >= 0
    # And what a person reads is on standard error, a line for each block
    assert finished.stderr.count("\nblock ") >= 12
    assert "kill bob" in finished.stderr
    assert_nothing_runs(directory)


async def after(client: NodeClient, height: int, holds: Callable[[BlockFinal], bool]) -> BlockFinal:
    """The first block above ``height`` for which it holds."""
    with trio.fail_after(STEP_WITHIN_S):
        async with aclosing(client.events(height)) as events:
            async for event in events:
                if isinstance(event, BlockFinal) and holds(event):
                    return event
    raise AssertionError("the stream does not end")


@pytest.mark.trio
async def test_an_absent_home_is_skipped_and_penalised_and_comes_back(directory: Path) -> None:
    # Given a devnet in the background, at block 4
    started = await trio.to_thread.run_sync(up, directory, "--nodes", "4", "--detach")
    assert started.returncode == 0, started.stderr
    async with NodeClient(load(directory).home("anne").api_url) as client:
        await after(client, 0, lambda block: block.height >= 4)
        before = (await client.candidate("bob")).candidate
        # When bob's node is killed
        await trio.to_thread.run_sync(operations.kill, "bob", directory)
        # Then the others go on, and his turn is skipped and costs him
        skipped = await after(
            client, before.last_mined_height, lambda block: "bob" in {turn.leader.label for turn in block.skipped}
        )
        assert skipped.producer.label != "bob"
        missed = (await client.candidate("bob")).candidate
        assert missed.missed_total > before.missed_total
        assert missed.pool_mvote < before.pool_mvote
        # And a second devnet in its place is refused
        second = await trio.to_thread.run_sync(up, directory)
        assert second.returncode == 1
        assert "ecloud devnet down" in second.stderr
        # When his node is restarted
        await trio.to_thread.run_sync(operations.restart, "bob", directory)
        # Then he has the same chain, and is drawn again
        block = await after(client, skipped.height, lambda block: block.producer.label == "bob")
    async with NodeClient(load(directory).home("bob").api_url) as client:
        assert (await client.block(block.height)).summary.hash == block.hash
        assert (await client.candidate("bob")).candidate.status == "active"
    stopped = await trio.to_thread.run_sync(operations.down, directory)
    assert (stopped.programs, stopped.forced) == (8, 0)
    assert_nothing_runs(directory)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_of_it(directory: Path, number: signal.Signals) -> None:
    # Given a devnet in the foreground
    with start(directory, "--nodes", "1", "--blocks", "1000") as process:
        wait_until(lambda: runs(directory))
        # When it is interrupted
        process.send_signal(number)
        _, errors = process.communicate(timeout=STEP_WITHIN_S)
    # Then nothing is left, and it says that it did not get there
    assert process.returncode == 130, errors
    assert_nothing_runs(directory)


def test_a_node_that_ends_by_itself_is_said_with_its_last_lines(directory: Path) -> None:
    # Given a devnet that is to make many blocks
    with start(directory, "--nodes", "1", "--blocks", "1000", "--json") as process:
        wait_until(lambda: runs(directory))
        # When its node ends, and nobody asked the devnet for that
        node = load(directory).homes[0].node.process
        assert node is not None
        os.kill(node.pid, signal.SIGKILL)
        output, errors = process.communicate(timeout=STEP_WITHIN_S)
    # Then the devnet has failed, and says why
    assert process.returncode == 1
    assert output == ""
    assert "anne ended by itself" in errors
    assert "node started" in errors
    assert_nothing_runs(directory)

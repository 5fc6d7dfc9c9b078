"""What any terminal may do to a devnet; the programs are stand-ins that only run, so that this is about processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devnet import operations
from devnet.making import make_devnet
from devnet.manifest import DevnetError, NoDevnet, edit, load
from devnet.operations import Stopped
from devnet.processes import identify

READY = "import time; print('begun', flush=True); time.sleep(600)"
WITHIN_S = 30


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Path]:
    """Two homes whose nodes and meters run."""
    make_devnet(tmp_path, 2, 1_750_000_000_000, 0)
    with edit(tmp_path) as manifest:
        for program in manifest.programs():
            program.command = [sys.executable, "-c", READY]
            operations.start(program)
    for program in load(tmp_path).programs():
        until(lambda log=Path(program.log): "begun" in log.read_text())
    yield tmp_path
    operations.down(tmp_path)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def state_of(devnet: Path, name: str) -> str:
    return operations.state_of(load(devnet).program(name))


def test_a_program_is_killed_and_started_again(devnet: Path) -> None:
    # When bob's node is killed
    before = load(devnet).program("bob").process
    operations.kill("bob", devnet)
    # Then it is down, on purpose, and all else runs
    assert state_of(devnet, "bob") == "down"
    assert not load(devnet).program("bob").wanted
    assert [state_of(devnet, name) for name in ("anne", "anne.home", "bob.home")] == ["runs"] * 3
    # And it cannot be killed again, nor paused
    for operation in (operations.kill, operations.pause, operations.resume):
        with pytest.raises(DevnetError, match="ecloud devnet restart bob"):
            operation("bob", devnet)
    # When it is restarted, then it is another process that is to run
    operations.restart("bob", devnet)
    after = load(devnet).program("bob")
    assert after.alive
    assert after.wanted
    assert after.process != before


def test_restarting_what_runs_stops_it_first(devnet: Path) -> None:
    before = load(devnet).program("anne.home").process
    operations.restart("anne.home", devnet)
    after = load(devnet).program("anne.home").process
    assert before is not None
    assert after is not None
    assert identify(before.pid) is None
    assert identify(after.pid) == after


def test_a_program_is_paused_and_goes_on(devnet: Path) -> None:
    operations.pause("anne", devnet)
    until(lambda: state_of(devnet, "anne") == "paused")
    operations.resume("anne", devnet)
    until(lambda: state_of(devnet, "anne") == "runs")


def test_status_shows_what_runs_and_that_nobody_answers(devnet: Path) -> None:
    operations.kill("bob", devnet)
    found = operations.status(devnet)
    assert found.running
    assert [(node.name, node.state, node.home_state) for node in found.nodes] == [
        ("anne", "runs", "runs"),
        ("bob", "down", "runs"),
    ]
    anne, bob = found.nodes
    anne_process = load(devnet).program("anne").process
    assert anne_process is not None
    assert (anne.pid, bob.pid) == (anne_process.pid, None)
    assert (anne.height, anne.tip, anne.peers) == (None, None, None)


def test_logs_are_read_whole_and_followed(devnet: Path) -> None:
    assert list(operations.logs("anne", directory=devnet)) == ["begun"]
    # Given somebody who follows a log
    lines = operations.logs("bob.home", follow=True, directory=devnet)
    assert next(lines) == "begun"
    # When half a line is written, and then the other half, then it is one line
    with Path(load(devnet).program("bob.home").log).open("a") as log:
        log.write("half ")
        log.flush()
        log.write("and half\nnext\n")
    assert [next(lines), next(lines)] == ["half and half", "next"]


def test_down_stops_all_of_it_once(devnet: Path) -> None:
    assert operations.down(devnet) == Stopped(4, 0)
    assert not load(devnet).is_running()
    assert operations.down(devnet) == Stopped(0, 0)
    # And nothing can be restarted in a devnet that is down
    with pytest.raises(DevnetError, match="--keep"):
        operations.restart("bob", devnet)


@pytest.mark.parametrize("name", ["zoe", "bob.roof", ""])
def test_nobody_else_is_touched(devnet: Path, name: str) -> None:
    for operation in (operations.kill, operations.restart, operations.pause, operations.resume):
        with pytest.raises(DevnetError, match="there are anne, bob"):
            operation(name, devnet)
    with pytest.raises(DevnetError, match="there are anne, bob"):
        next(operations.logs(name, directory=devnet))
    assert [state_of(devnet, one) for one in ("anne", "bob")] == ["runs", "runs"]


def test_without_a_devnet_everything_says_so(tmp_path: Path) -> None:
    for operation in (operations.kill, operations.restart, operations.pause):
        with pytest.raises(NoDevnet):
            operation("bob", tmp_path / "missing")
    with pytest.raises(NoDevnet):
        operations.status(tmp_path / "missing")
    with pytest.raises(NoDevnet):
        operations.down(tmp_path / "missing")

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devnet.making import make_devnet
from tests.cli.running import answer, refused, run, run_process

GENESIS_TIME_MS = 1_750_000_000_000


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A devnet of two homes that does not run, and is the one on this machine."""
    directory = tmp_path / "devnet"
    make_devnet(directory, 2, GENESIS_TIME_MS, 0)
    monkeypatch.setenv("ECLOUD_DEVNET", str(directory))
    return directory


@pytest.mark.parametrize("command", [["status"], ["down"], ["logs", "bob"], ["kill", "bob"], ["pause", "bob"]])
def test_without_a_devnet_one_is_told_how_to_start_one(tmp_path: Path, command: list[str]) -> None:
    said = refused("devnet", *command, "--directory", str(tmp_path / "none"))
    assert said == f"there is no devnet in {tmp_path / 'none'}; start one with: ecloud devnet up"


@pytest.mark.parametrize(
    ("options", "says", "status"),
    [
        (["--blocks", "0"], "--blocks 0: at least 1", 1),
        (["--nodes", "0"], "a devnet has 1 to 40 homes, not 0", 1),
        (["--at", "10:kill:bob", "--detach"], "leave out --detach", 1),
        (["--at", "10:explode:bob"], "no action 'explode'; there are kill, restart, pause, resume", 2),
        (["--at", "10:kill:xaver"], "nobody is called 'xaver'; there are anne, bob, carla, george, anne.home", 2),
        (["--at", "bob"], "a fault is HEIGHT:ACTION:NAME, for instance 10:kill:bob", 2),
        (["--keep"], "there is no devnet in", 1),
    ],
)
def test_what_cannot_be_started_is_said(tmp_path: Path, options: list[str], says: str, status: int) -> None:
    assert says in refused("devnet", "up", "--directory", str(tmp_path / "devnet"), *options, status=status)


def test_a_devnet_that_does_not_run_is_shown_so(made: Path) -> None:
    shown = run("devnet", "status").stdout
    assert "state   does not run" in shown
    assert shown.splitlines()[-2].split()[:3] == ["anne", "down", "down"]
    assert answer("devnet", "status")["running"] is False
    assert run("devnet", "down").stdout == "nothing was running\n"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["kill", "bob"], "bob is down; start it with: ecloud devnet restart bob"),
        (["resume", "bob.home"], "bob.home is down"),
        (["restart", "bob"], "start it again with: ecloud devnet up --keep"),
        (["logs", "bob"], "bob has not been started yet"),
        (["logs", "carla"], "no home is called 'carla'; there are anne, bob"),
    ],
)
@pytest.mark.usefixtures("made")
def test_what_a_devnet_at_rest_cannot_do_is_said(command: list[str], says: str) -> None:
    assert says in refused("devnet", *command)


@pytest.mark.usefixtures("made")
def test_other_commands_know_its_homes() -> None:
    """Given a devnet, When a command says --node, Then it means that home's node and the devnet's wallets."""
    assert [one["name"] for one in answer("wallet", "list", "--node", "bob")["wallets"]] == ["anne", "bob", "utility"]
    said = refused("wallet", "send", "anne", "1", "WATT", "--node", "bob", "--yes", password=None, status=4)
    assert said == "bob's node does not answer; see: ecloud devnet status"
    assert refused("node", "status", "--node", "carla") == "no home is called 'carla'; there are anne, bob"
    assert "there is no database in" in refused("chain", "verify", "--node", "bob")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_devnet_runs_its_blocks_and_prints_one_object(tmp_path: Path) -> None:
    """Given two blocks to run, When the devnet ends by itself, Then standard output is the report and nothing else."""
    directory = str(tmp_path / "devnet")
    done = run_process(
        "devnet", "up", "--nodes", "1", "--blocks", "2", "--json", "--directory", directory, home=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (node,) = json.loads(done.stdout)["nodes"]
    assert (node["name"], node["height"], node["blocks_produced"]) == ("anne", 2, 2)
    assert "block 2  " in done.stderr
    verified = answer("chain", "verify", "--data-dir", str(tmp_path / "devnet" / "homes" / "anne"))
    assert (verified["height"], verified["tip"]) == (2, node["tip"])

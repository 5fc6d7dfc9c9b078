"""From nothing to a neighbourhood: a network founded, an invite, a newcomer on another machine granted, voting, paying.

A *machine* is a directory of its own with a user's data in it, processes of its own, and ports of its own on loopback.
Everything goes through the commands a person types.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from devnet.making import free_ports
from tests.node.joining_examples import DAY_MS, make_invite

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("join"), pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
WITHIN_S = 200.0
PASSWORD = "four words on paper"
NETWORK = """
name = "Mill Lane"

[parameters]
block_interval_ms = 300
message_delay_ms = 150
clock_tolerance_ms = 1000
epoch_blocks = 8
committee_delay_blocks = 2

[[feeders]]
name = "F1"
substation = "S"

[[members]]
name = "anne"
feeder = "F1"
roles = ["approver"]
watt = 1000
listen = ["/ip4/127.0.0.1/tcp/{listen}"]
api_port = {api}
"""


class Machine:
    """One user's machine: its wallets and data live in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        user = str(directory / "user")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ECLOUD_")}
        self._environment = {
            **kept,
            "HOME": user,
            "XDG_DATA_HOME": user,
            "XDG_STATE_HOME": user,
            "PYTHONPATH": str(ROOT),
            "ECLOUD_PASSWORD": PASSWORD,
        }
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def data(self) -> Path:
        """Where a newcomer's node lives, as nothing else is said."""
        return self.directory / "user" / "ecloud" / "node"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """What a command prints; of one that fails, its last line."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=WITHIN_S)
        assert process.returncode == status, f"{arguments}: {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return out if status == 0 else err.splitlines()[-1]

    def answer(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


def api(directory: Path, path: str) -> Any:
    url = (directory / "api.url").read_text().strip()
    answer = httpx.get(url + path, timeout=10)
    answer.raise_for_status()
    return answer.json()


def until(holds: Callable[[], Any], what: str, *processes: subprocess.Popen[str]) -> Any:
    """Asks until the answer is true; fails if a process ends meanwhile."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        with suppress(httpx.HTTPError, FileNotFoundError):  # not up yet
            found = holds()
            if found:
                return found
        for process in processes:
            assert process.poll() is None, f"{what}: {process.communicate()}"
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


@contextmanager
def node(machine: Machine, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """``ecloud node run`` until the end of the block, when it must stop cleanly."""
    process = machine.start("node", "run", "--data-dir", str(directory), "--log-level", "error")
    try:
        until(lambda: api(directory, "/v1/status")["height"] >= 0, "the node answers", process)
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def founder(tmp_path: Path) -> Machine:
    """anne's machine, on which the network has been founded."""
    machine = Machine(tmp_path / "annes machine")
    listen, api_port = free_ports(2)
    plan = machine.directory / "plan.toml"
    plan.write_text(NETWORK.format(listen=listen, api=api_port))
    machine.run("network", "new", "lane", "--from", str(plan))
    return machine


def home(founder: Machine) -> Path:
    return founder.directory / "lane" / "homes" / "anne"


def invite_of(founder: Machine, name: str, *options: str) -> str:
    return founder.run("network", "invite", name, "--data-dir", str(home(founder)), *options).strip()


JOIN = ("--listen", "/ip4/127.0.0.1/tcp/0", "--api-port", "0")


def height(directory: Path) -> int:
    found: int = api(directory, "/v1/status")["height"]
    return found


def waiting(directory: Path) -> list[str]:
    return [one["name"] for one in api(directory, "/v1/join-requests")["requests"] if one["state"] == "waiting"]


def committee(directory: Path) -> set[str]:
    return {member["account"]["name"] for member in api(directory, "/v1/committee")["members"]}


def test_a_newcomer_joins_votes_produces_and_pays(founder: Machine, tmp_path: Path) -> None:
    newcomer = Machine(tmp_path / "doras machine")
    annes = home(founder)
    with node(founder, annes) as annes_node:
        # Given an invite
        invite = invite_of(founder, "dora")
        assert newcomer.answer("network", "show", invite)["name"] == "dora"
        # When the newcomer joins with it, is interrupted while it waits, and goes on
        options = (*JOIN, "--meter", "solar", "--export-watt", "9800")
        first = newcomer.start("join", invite, *options)
        until(lambda: waiting(annes) == ["dora"], "the approver sees the request", annes_node, first)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=WITHIN_S)
        assert first.returncode == 130, said
        assert "interrupted; to go on:  ecloud join" in said
        joining = newcomer.start("join", "--json")
        # and the approver grants it
        granted = founder.answer("network", "grant", "dora", "--yes", "--data-dir", str(annes))
        assert granted["state"] == "final"
        out, said = joining.communicate(timeout=WITHIN_S)
        assert joining.returncode == 0, said
        joined = json.loads(out)
        # Then dora is a member with a meter, and her node a candidate
        member = api(annes, "/v1/accounts/dora")["member"]
        assert (member["feeder"], member["node_key"], len(member["meters"])) == ("F1", joined["node_key"], 1)
        assert not (newcomer.data / "join.json").exists()
        with node(newcomer, newcomer.data) as doras_node:
            both = (annes_node, doras_node)
            # which is in the committee an epoch later, votes, and produces
            until(lambda: committee(annes) == {"anne", "dora"}, "dora is in the committee", *both)
            from_height = height(annes)
            until(lambda: height(annes) > from_height + 3, "blocks go on with both", *both)
            until(lambda: api(annes, "/v1/candidates/dora")["candidate"]["produced_total"] > 0, "dora produces", *both)
            assert api(newcomer.data, "/v1/status")["engine"]["votes"]
            # and both pay each other, final on both
            paid = newcomer.answer("wallet", "send", "anne", "0.005", "WATT", "--yes")
            back = founder.answer("wallet", "send", "dora", "2", "WATT", "--yes", "--data-dir", str(annes))
            for transaction in (paid, back):
                for where in (annes, newcomer.data):
                    path = f"/v1/transactions/{transaction['id']}"
                    found = until(lambda: api(where, path), "it is known", *both)  # noqa: B023
                    assert found["refusal"] is None
            until(lambda: abs(height(annes) - height(newcomer.data)) <= 1, "both are level", *both)


def test_what_can_go_wrong(founder: Machine, tmp_path: Path) -> None:
    newcomer, annes = Machine(tmp_path / "emils machine"), home(founder)
    with node(founder, annes) as annes_node:
        invite = invite_of(founder, "emil")
        # A name that is taken is said by the newcomer's own node
        assert "a member is called 'anne' already" in founder.run(
            "network", "invite", "anne", "--data-dir", str(annes), status=1
        )
        taken = newcomer.run("join", invite, "--name", "anne", *JOIN, status=1)
        assert "the name 'anne' is taken; choose another with --name" in taken
        # and another name goes on with the same directory and wallet
        joining = newcomer.start("join", "--name", "emil")
        until(lambda: waiting(annes) == ["emil"], "the approver sees the request", annes_node, joining)
        # Denied, the newcomer is told why
        founder.run(
            *("network", "deny", "emil", "--reason", "who are you?", "--yes", "--data-dir", str(annes)),
        )
        _, said = joining.communicate(timeout=WITHIN_S)
        assert joining.returncode == 1, said
        assert "the request was denied: who are you?" in said
        assert "denied: who are you?" in newcomer.run("join", invite, status=1)
        # An invite to another network is of no use to a directory of this one, nor do nodes of this one serve it
        reached = api(annes, "/v1/peers")["listening"][0]
        foreign = make_invite(name="emil", addresses=(reached,), expires_ms=time.time_ns() // 1_000_000 + DAY_MS).text()
        assert "holds a node of another network, 'Mill Lane'" in newcomer.run("join", foreign, status=1)
        fatma = Machine(tmp_path / "fatmas machine")
        assert "not of its network" in fatma.run("join", foreign, *JOIN, status=1)
        assert not fatma.data.exists()
    # With nobody there it says where it looked
    nobody = Machine(tmp_path / "nobody")
    away = nobody.run("join", invite, *JOIN, "--reach-within", "1", status=4)
    assert "no node answers at /ip4/127.0.0.1/tcp/" in away
    assert not nobody.data.exists()


def test_an_invite_that_cannot_be_used(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    expired = make_invite(expires_ms=1_750_000_000_000).text()
    attempts: Sequence[tuple[str, str]] = (
        (expired, "the invite has expired; ask whoever sent it for a new one"),
        (expired[:-9], "cut off: 9 characters are missing"),
        (expired[:99] + ("q" if expired[99] != "q" else "p") + expired[100:], "changed or mistyped"),
        ("lnbc1" + expired, "an invite begins with 'ecloud1'"),
    )
    for text, sentence in attempts:
        assert sentence in machine.run("join", text, status=1)
        assert sentence in machine.run("network", "show", text, status=1)
    assert not machine.data.exists()

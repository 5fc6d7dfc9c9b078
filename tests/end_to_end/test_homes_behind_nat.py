"""A neighbourhood of whole nodes, ``ecloud node run``, behind home routers in network namespaces: it agrees on blocks
across NAT, survives a pulled plug, and comes back when its gateway does.

Skipped, saying why, where the machine has no namespaces, no nftables, or no root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.keys import SigningKey
from node.founding import NODE_KEY_NAME
from node.key_files import load_seed
from p2p.peer_identity import peer_id_from_public_key
from tests.p2p import namespaces

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("namespaces"), pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
WITHIN_S = 180.0
GATEWAY, ROUTER_A, ROUTER_B, ROUTER_C = 10, 21, 22, 23
PLACES = {"anne": "public", "bob": "home-a", "carla": "home-b", "dora": "home-c"}
NETWORK = """
name = "Mill Lane"

[parameters]
block_interval_ms = 500
message_delay_ms = 250
clock_tolerance_ms = 1000
epoch_blocks = 8
committee_delay_blocks = 2

[[feeders]]
name = "F1"
substation = "S"
"""
MEMBER = """
[[members]]
name = "{name}"
feeder = "F1"
roles = {roles}
watt = 1000
listen = ["/ip4/0.0.0.0/tcp/4001"]
"""


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    namespaces.demand()


class Neighbourhood:
    """Four homes that know the gateway's address; dora's router gives each connection a port of its own."""

    def __init__(self, directory: Path, street: namespaces.Street) -> None:
        self.street = street
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._user = directory / "user"
        self.homes = directory / "lane" / "homes"
        street.public("public", GATEWAY)
        street.home_behind_router("a", ROUTER_A)
        street.home_behind_router("b", ROUTER_B)
        street.home_behind_router("c", ROUTER_C, symmetric=True)
        plan = directory / "plan.toml"
        members = (MEMBER.format(name=name, roles='["approver"]' if name == "anne" else "[]") for name in PLACES)
        plan.write_text(NETWORK + "".join(members))
        command = [sys.executable, "-m", "cli.main", "network", "new", "lane", "--from", str(plan)]
        made = subprocess.run(
            command, cwd=directory, env=self._environment(), capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        gateway = peer_id_from_public_key(SigningKey(load_seed(self.homes / "anne" / NODE_KEY_NAME)).public_key)
        self._gateway = f"/ip4/45.0.0.{GATEWAY}/tcp/4001/p2p/{gateway}"

    def _environment(self, **settings: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ECLOUD_")}
        user = {name: str(self._user) for name in ("HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")}
        return {**kept, **user, "PYTHONPATH": str(ROOT), "ECLOUD_PASSWORD": "four words on paper", **settings}

    def start(self, name: str) -> None:
        role = {"ECLOUD_NETWORK_RELAY": "serve"} if name == "anne" else {"ECLOUD_NETWORK_BOOTSTRAP": self._gateway}
        if name == "anne":
            role["ECLOUD_NETWORK_BOOTSTRAP"] = ""
        environment = self._environment(ECLOUD_API_UNIX_SOCKET="true", ECLOUD_NETWORK_MAP_PORT="false", **role)
        run = [sys.executable, "-m", "cli.main", "node", "run", "--data-dir", str(self.homes / name)]
        with (self.homes / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*self.street.enter(PLACES[name]), *run], env=environment, stdout=log, stderr=log
            )

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self._processes.pop(name)
        process.send_signal(how)
        assert process.wait(20) == (0 if how is signal.SIGTERM else -how)

    def kill_all(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def ask(self, name: str, path: str) -> Any:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.homes / name / "api.sock")), timeout=10) as api:
            answer = api.get(f"http://localhost{path}")
            answer.raise_for_status()
            return answer.json()

    def height(self, name: str) -> int:
        return int(self.ask(name, "/v1/status")["height"])

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):  # not up yet
                if holds():
                    return
            for name, process in self._processes.items():
                assert process.poll() is None, f"{name} ended: {(self.homes / f'{name}.log').read_text()[-2000:]}"
            time.sleep(0.1)
        logs = {name: (self.homes / f"{name}.log").read_text()[-600:] for name in PLACES}
        pytest.fail(f"never: {what}\n{logs}")

    def go_on(self, *names: str, blocks: int = 4) -> None:
        """Waits until each of them has ``blocks`` more than the highest of them has now."""
        goal = max(self.height(name) for name in names) + blocks
        self.until(lambda: all(self.height(name) >= goal for name in names), f"{names} reach {goal}")


@pytest.fixture
def neighbourhood() -> Iterator[Neighbourhood]:
    with short_directory() as directory, namespaces.street() as street:
        made = Neighbourhood(directory, street)
        try:
            yield made
        finally:
            made.kill_all()


@contextmanager
def short_directory() -> Iterator[Path]:
    """A Unix socket's path has about a hundred characters, and pytest's own directories are longer."""
    directory = Path(tempfile.mkdtemp(prefix="ec"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def test_a_neighbourhood_behind_routers_agrees_and_comes_back(neighbourhood: Neighbourhood) -> None:
    street = neighbourhood.street
    everyone = tuple(PLACES)
    # Given four homes of equal weight, three of them behind routers, which know the gateway's address alone
    for name in everyone:
        neighbourhood.start(name)
    neighbourhood.until(lambda: all(neighbourhood.height(name) >= 3 for name in everyone), "blocks are final")
    # When the plug of bob's router is pulled
    street.unplug(ROUTER_A)
    # Then the three others go on, and he is where they are soon after he is back
    neighbourhood.go_on("anne", "carla", "dora", blocks=8)
    assert neighbourhood.height("bob") < neighbourhood.height("anne")
    street.unplug(ROUTER_A, plugged=True)
    neighbourhood.go_on(*everyone)
    # When the gateway is killed
    neighbourhood.stop("anne", signal.SIGKILL)
    # Then, when it is back, all four go on
    neighbourhood.start("anne")
    neighbourhood.until(lambda: neighbourhood.height("anne") > 0, "the gateway is back")
    neighbourhood.go_on(*everyone)
    # And every node stops when it is told to
    for name in everyone:
        neighbourhood.stop(name)

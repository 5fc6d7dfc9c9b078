"""For the command line's tests: a real node of a neighbourhood of one, in a process of its own, and wallets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.encoding import encode
from ledger.genesis import Genesis
from ledger.keys import SigningKey
from ledger.parameters import Parameters
from ledger.records import MeterKind, Role
from node.configuration import ApiSettings, Configuration, NetworkSettings
from node.founding import MemberPlan, MeterPlan, NetworkPlan, found_network, initialise_node
from node.keystore import CHEAP, Keystore
from tests.cli.running import PASSWORD, clean_environment

WALLETS = ("anne", "bob", "poor")
START_WITHIN_S = 90.0


@dataclass(frozen=True)
class Neighbourhood:
    """anne runs the only node and has 1,000 WATT and GRID, as bob has; poor is a wallet and no member."""

    directory: Path
    wallets: Path
    genesis: Genesis
    meter: SigningKey
    api: str

    @property
    def options(self) -> list[str]:
        """Of commands that ask the node."""
        return ["--api", self.api]

    def signing(self, name: str = "anne") -> list[str]:
        """Of commands that sign, with ``$ECLOUD_PASSWORD``."""
        return [*self.options, "--wallets", str(self.wallets), "--wallet", name]

    def address(self, name: str) -> str:
        return Keystore(self.wallets).show(name).address


@pytest.fixture(autouse=True)
def household_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds the node, devnet, wallets or variables of who runs it."""
    for name in list(os.environ):
        if name.startswith("ECLOUD_"):
            monkeypatch.delenv(name)
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))


@pytest.fixture(scope="session")
def wallets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keystore of ``WALLETS``, all under ``PASSWORD``."""
    keystore = Keystore(tmp_path_factory.mktemp("wallets"))
    for name in WALLETS:
        keystore.create(name, PASSWORD, CHEAP)
    return keystore.directory


@pytest.fixture(scope="session")
def neighbourhood(tmp_path_factory: pytest.TempPathFactory, wallets: Path) -> Iterator[Neighbourhood]:
    """Runs until the session's end; its chain grows by two blocks a second."""
    directory = tmp_path_factory.mktemp("node") / "anne"
    node_key, meter = SigningKey(os.urandom(32)), SigningKey(os.urandom(32))
    genesis = _genesis(Keystore(wallets), node_key, meter)
    configuration = Configuration(
        network=NetworkSettings(listen=("/ip4/127.0.0.1/tcp/0",)), api=ApiSettings(port=0, unix_socket=False)
    )
    initialise_node(directory, encode(genesis), configuration, node_key.seed)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "node", "run", "--data-dir", str(directory), "--json"],
        env=clean_environment(directory.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Neighbourhood(directory, wallets, genesis, meter, first_answer(process))
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def _genesis(keystore: Keystore, node_key: SigningKey, meter: SigningKey) -> Genesis:
    members = tuple(
        MemberPlan(
            name=name,
            feeder="mill lane",
            account=keystore.show(name).public_key,
            node_key=node_key.public_key if name == "anne" else None,
            roles=Role.APPROVER if name == "anne" else Role(0),
            watt_uwatt=1_000_000_000,
            grid_ugrid=1_000_000_000,
            meter=MeterPlan(meter.public_key, MeterKind.SOLAR, 10_000, 10_000) if name == "anne" else None,
        )
        for name in ("anne", "bob")
    )
    parameters = Parameters(
        block_interval_ms=500,
        message_delay_ms=100,
        period_ms=1_000,
        sampling_tolerance_ms=1_000,
        epoch_blocks=10_000,
    )
    now_ms = time.time_ns() // 1_000_000
    return found_network(NetworkPlan("lane", now_ms - 10_000, parameters, (("mill lane", "mill"),), members))


def first_answer(process: subprocess.Popen[str]) -> str:
    """The URL of the API; what the node says afterwards is read and forgotten, so that it never waits for us."""
    assert process.stdout is not None
    watchdog = threading.Timer(START_WITHIN_S, process.kill)
    watchdog.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("{") and "api" in (event := json.loads(line)):
            watchdog.cancel()
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return str(event["api"])
    raise AssertionError(f"the node ended: {''.join(said)}")

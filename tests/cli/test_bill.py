"""Bills from the command line, on a real node: prepared, recorded, paid, explained, written to files; and what is
refused.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.bill_tables import CSV_COLUMNS
from ledger.encoding import encode
from ledger.keys import SigningKey
from ledger.parameters import Parameters
from ledger.records import MeterKind, Role
from node.client.client import NodeClient, ask
from node.client.events import CycleClosed
from node.client.format import watt
from node.configuration import ApiSettings, Configuration, NetworkSettings
from node.founding import MemberPlan, MeterPlan, NetworkPlan, found_network, initialise_node
from node.keystore import CHEAP, Keystore
from tests.cli.conftest import first_answer
from tests.cli.running import PASSWORD, answer, clean_environment, refused, run

pytestmark = [pytest.mark.xdist_group("bills of the command line"), pytest.mark.timeout(300)]

MEMBERS = ("anne", "bob", "utility")
PARAMETERS = Parameters(
    block_interval_ms=500,
    message_delay_ms=100,
    period_ms=2_000,
    sampling_tolerance_ms=2_000,
    gate_closure_ms=500,
    reading_deadline_ms=1_000,
    settlement_blocks=1,
    billing_cycle_periods=2,
    epoch_blocks=10_000,
)


@dataclass(frozen=True)
class Street:
    """anne runs the only node; she and bob have meters that say nothing, so that both are estimated. ``cycle`` is
    closed and not recorded.
    """

    api: str
    wallets: Path
    cycle: int

    @property
    def options(self) -> list[str]:
        return ["--api", self.api]

    def signing(self, who: str) -> list[str]:
        return [*self.options, "--wallets", str(self.wallets), "--wallet", who]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    keystore = Keystore(tmp_path_factory.mktemp("wallets"))
    for name in MEMBERS:
        keystore.create(name, PASSWORD, CHEAP)
    directory = tmp_path_factory.mktemp("node") / "anne"
    node_key = SigningKey(os.urandom(32))
    members = tuple(
        MemberPlan(
            name=name,
            feeder="mill lane",
            account=keystore.show(name).public_key,
            node_key=node_key.public_key if name == "anne" else None,
            roles={"anne": Role.APPROVER, "utility": Role.GATEWAY}.get(name, Role(0)),
            watt_uwatt=1_000_000_000,
            grid_ugrid=1_000_000_000,
            meter=None
            if name == "utility"
            else MeterPlan(SigningKey(os.urandom(32)).public_key, MeterKind.LOAD, 10_000, 0),
        )
        for name in MEMBERS
    )
    now_ms = time.time_ns() // 1_000_000
    genesis = found_network(NetworkPlan("lane", now_ms, PARAMETERS, (("mill lane", "mill"),), members))
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
        api = first_answer(process)
        yield Street(api, keystore.directory, ask(NodeClient(api), _closed_cycle))
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


async def _closed_cycle(client: NodeClient) -> int:
    async with aclosing(client.events()) as events:
        async for event in events:
            if isinstance(event, CycleClosed):
                return event.cycle
    raise AssertionError("the stream of events does not end")


def test_a_cycle_is_prepared_recorded_and_paid(street: Street, tmp_path: Path) -> None:
    cycle = str(street.cycle)
    # Given what anybody can compute
    prepared = answer("bill", "prepare", cycle, *street.options)
    assert prepared["sum_uwatt"] == 0
    assert prepared["cycle"]["pages_left"] == [0]
    assert {one["member"]["name"] for one in prepared["bills"]} == set(MEMBERS)
    assert "the costs sum to 0.00 WATT" in run("bill", "prepare", cycle, *street.options).stdout
    before = answer("bill", "show", cycle, "--of", "bob", *street.options)
    assert before["summary"]["state"] == "closed"
    assert before["summary"]["estimated_periods"] == before["summary"]["settled_periods"] > 0
    owed = before["summary"]["to_pay_uwatt"]
    assert owed == before["summary"]["utility_cost_uwatt"] > 0
    assert "cannot be paid: it is closed, not recorded yet" in refused("bill", "pay", cycle, *street.signing("bob"))
    # When it is recorded
    said = run("bill", "record", cycle, "--yes", *street.signing("anne"))
    assert said.stdout == f"the bills of cycle {cycle} are recorded\n"
    # Then it is so once
    assert refused("bill", "record", cycle, *street.signing("bob")) == f"the bills of cycle {cycle} are recorded"
    after = answer("bill", "show", cycle, "--of", "bob", *street.options)
    assert after["lines"] == before["lines"]
    assert (after["summary"]["state"], after["summary"]["to_pay_uwatt"]) == ("due", owed)
    # And when it is paid, with a word on what will be
    question = run("bill", "pay", cycle, *street.signing("bob"), answers="n\n", status=1)
    shown = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in question.stderr.splitlines() if "  " in line)
    assert shown["to utility"] == shown["together"] == watt(owed)
    funds = answer("wallet", "show", "bob", *street.options, "--wallets", str(street.wallets))
    run("bill", "pay", cycle, "--yes", *street.signing("bob"))
    assert answer("bill", "show", cycle, "--of", "bob", *street.options)["summary"]["state"] == "paid"
    assert "it is paid" in refused("bill", "pay", cycle, *street.signing("bob"))
    assert funds != answer("wallet", "show", "bob", *street.options, "--wallets", str(street.wallets))
    assert "it is nothing to pay" in refused("bill", "pay", cycle, *street.signing("utility"))
    # And the wallet's own bill is the one that is meant, if nobody is named
    own = answer("bill", "show", cycle, *street.signing("bob"))
    assert own["summary"]["member"]["name"] == "bob"
    rows = run("bill", "list", *street.signing("bob")).stdout.splitlines()
    assert any(cycle in row and row.endswith("paid") for row in rows)
    shown = run("bill", "show", cycle, "--of", "bob", *street.options).stdout
    assert "FROM THE UTILITY" in shown
    assert "estimated" in shown
    assert "to pay to utility" in shown
    # And it is written to files
    for kind in ("pdf", "csv", "json"):
        target = tmp_path / f"bill.{kind}"
        run("bill", "export", cycle, "--of", "bob", "-o", str(target), *street.options)
    assert (tmp_path / "bill.pdf").read_bytes().startswith(b"%PDF")
    (row,) = csv.DictReader((tmp_path / "bill.csv").read_text().splitlines())
    assert tuple(row) == CSV_COLUMNS
    assert int(row["cost_uwatt"]) == owed
    assert json.loads((tmp_path / "bill.json").read_text())["summary"]["cycle"] == street.cycle


def test_a_line_is_explained(street: Street) -> None:
    found = answer("bill", "explain", "1", str(street.cycle), "--of", "bob", *street.options)
    assert sum(part["energy_wh"] for part in found["parts"]) == found["line"]["energy_wh"]
    by_id = answer("bill", "explain", found["line"]["id"][:6], str(street.cycle), "--of", "bob", *street.options)
    assert by_id == found
    said = run("bill", "explain", "1", str(street.cycle), "--of", "bob", *street.options).stdout
    assert "bob owes utility" in said
    assert "estimated" in said


def test_what_is_wrong_is_said(street: Street, tmp_path: Path) -> None:
    of_bob = ["--of", "bob", *street.options]
    assert "has no line '99'; its lines are 1 to 1" in refused("bill", "explain", "99", str(street.cycle), *of_bob)
    assert "nothing was settled" in refused("bill", "show", "1", *of_bob)
    assert refused("bill", "prepare", "1", *street.options) == "nothing was settled in cycle 1"
    too_early = refused("bill", "record", str(_open_cycle(street)), *street.signing("anne"))
    assert "still open" in too_early or "nothing was settled" in too_early  # by how far the cycle is
    assert "no member is called 'nobody'" in refused("bill", "show", "--of", "nobody", *street.options)
    assert "ends in .pdf, .csv or .json" in refused("bill", "export", "-o", "bill.doc", *of_bob, status=2)
    nowhere = str(tmp_path / "missing" / "bill.csv")
    assert "No such file or directory" in refused("bill", "export", str(street.cycle), "-o", nowhere, *of_bob)


def _open_cycle(street: Street) -> int:
    cycles = ask(NodeClient(street.api), lambda client: client.billing_cycles(limit=1)).cycles
    return cycles[0].cycle + 1_000 if cycles[0].closed else cycles[0].cycle

"""Pools and contracts from the command line, on a real node: what is asked, what becomes of it, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
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
from tests.cli.conftest import first_answer
from tests.cli.running import PASSWORD, answer, clean_environment, refused, run

pytestmark = pytest.mark.xdist_group("a street of the command line")

HOMES = ("anne", "bob", "carla", "george")


@dataclass(frozen=True)
class Street:
    """anne runs the only node and approves, george produces, the utility is the gateway."""

    wallets: Path
    api: str

    @property
    def options(self) -> list[str]:
        return ["--api", self.api]

    def signing(self, name: str) -> list[str]:
        return [*self.options, "--wallets", str(self.wallets), "--wallet", name]

    def do(self, name: str, *arguments: str) -> None:
        assert "final in block " in run(*arguments, "--yes", *self.signing(name)).stdout


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    directory = tmp_path_factory.mktemp("street")
    keystore = Keystore(directory / "wallets")
    for name in (*HOMES, "utility"):
        keystore.create(name, PASSWORD, CHEAP)
    node_key = SigningKey(os.urandom(32))
    configuration = Configuration(
        network=NetworkSettings(listen=("/ip4/127.0.0.1/tcp/0",)), api=ApiSettings(port=0, unix_socket=False)
    )
    initialise_node(directory / "anne", encode(_genesis(keystore, node_key)), configuration, node_key.seed)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "node", "run", "--data-dir", str(directory / "anne"), "--json"],
        env=clean_environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Street(keystore.directory, first_answer(process))
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def _genesis(keystore: Keystore, node_key: SigningKey) -> Genesis:
    members = tuple(
        MemberPlan(
            name=name,
            feeder="mill lane",
            account=keystore.show(name).public_key,
            node_key=node_key.public_key if name == "anne" else None,
            roles={"anne": Role.APPROVER, "utility": Role.GATEWAY}.get(name, Role(0)),
            watt_uwatt=1_000_000_000,
            grid_ugrid=20_000_000,
            meter=None
            if name == "utility"
            else MeterPlan(SigningKey(os.urandom(32)).public_key, MeterKind.SOLAR, 10_000, 10_000),
        )
        for name in (*HOMES, "utility")
    )
    parameters = Parameters(block_interval_ms=500, message_delay_ms=100, epoch_blocks=10_000)
    now_ms = time.time_ns() // 1_000_000
    return found_network(NetworkPlan("street", now_ms - 10_000, parameters, (("mill lane", "mill"),), members))


def lines_of(*arguments: str) -> list[list[str]]:
    return [line.split() for line in run(*arguments).stdout.splitlines()]


def test_a_pool_from_its_opening_to_its_end(street: Street) -> None:
    # When george opens one, he is told what he sets before he says yes
    options = ["0.10", "--share", "anne=50", "--share", "bob=30", "--role", "producer", *street.signing("george")]
    asked = run("energy", "pool", "open", "sunny-side", *options, answers="y\n").stderr
    rows = asked.splitlines()
    assert rows[:5] == [
        "open         pool sunny-side, as producer",
        "price        0.1000 WATT/kWh, and the grid fee",
        "rule         both",
        "share        anne  50.0 %",
        "share        bob  30.0 %",
    ]
    assert rows[5].startswith("counts from  ")
    # And anne joins at today's price, bob for more, carla by number
    street.do("anne", "energy", "pool", "join", "sunny-side")
    street.do("bob", "energy", "pool", "join", "sunny-side", "--at-most", "0.2")
    street.do("carla", "energy", "pool", "join", "1", "--role", "both")
    # Then it is listed and shown
    title, row = lines_of("energy", "pool", "list", *street.options)
    assert title[:3] == ["pool", "name", "founder"]
    assert row[:7] == ["1", "sunny-side", "george", "both", "0.1000", "2", "3"]
    shown = run("energy", "pool", "show", "sunny-side", *street.options).stdout
    assert "price        0.1000 WATT/kWh\n" in shown
    assert "bob     consumer               30.0 %  up to 0.2000 WATT/kWh" in shown
    # When the price goes up, who did not agree is named
    asked = run("energy", "pool", "rule", "--price", "0.15", *street.signing("george"), answers="y\n").stderr
    assert "take no part  anne, carla: agreed to another price" in asked
    found = answer("energy", "pool", "show", *street.signing("bob"))
    assert (found["price_uwatt_per_kwh"], found["rule"]) == (150_000, "both")
    assert {one["member"]["name"]: one["share_bps"] for one in found["shares"]} == {"anne": 5_000, "bob": 3_000}
    # When all leave, nothing is left to join
    street.do("anne", "energy", "pool", "leave")
    asked = run("energy", "pool", "leave", *street.signing("george"), answers="y\n").stderr
    assert "which ends   for you and 2 others" in asked
    said = refused("energy", "pool", "join", "sunny-side", "--yes", *street.signing("anne"))
    assert said == "there is no pool 'sunny-side'; GET /v1/pools lists them all"
    assert "is in no pool" in refused("energy", "pool", "leave", "--yes", *street.signing("anne"))


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["open", "barn", "cheap"], 2, "PRICE: 'cheap' is no amount of WATT"),
        (["open", "barn", "0.10001"], 2, "PRICE: prices are in steps of 0.0001 WATT per kWh"),
        (["open", "barn", "0.1", "--share", "anne"], 2, "--share anne: say NAME=VALUE, each name once"),
        (["open", "barn", "0.1", "--share", "anne=70", "--share", "bob=31"], 2, "the shares sum to 101.0 %"),
        (["open", "barn", "0.1", "--share", "ann=70"], 1, "no member is called 'ann'"),
        (["open", "barn", "0.1", "--rule", "fair"], 2, "--rule fair: say fixed, proportional, both"),
        (["open", "Barn", "0.1"], 1, "refused: bad_name: "),
        (["join", "99"], 1, "there is no pool '99'"),
        (["rule"], 2, "say what changes"),
    ],
)
def test_what_is_no_pool_is_refused(street: Street, arguments: list[str], status: int, says: str) -> None:
    assert says in refused("energy", "pool", *arguments, "--yes", *street.signing("anne"), status=status)


def test_a_contract_from_its_offer_to_its_end(street: Street) -> None:
    # When george offers half a kWh in each period
    options = ["0.5", "0.15", "--prefer", "bob=0.14", "--days", "30", *street.signing("george")]
    asked = run("contract", "offer", *options, answers="y\n").stderr
    assert asked.splitlines()[:4] == [
        "offer          up to 0.50 kWh in each period, residential",
        "price          0.1500 WATT/kWh, and the grid fee",
        "price for bob  0.1400 WATT/kWh",
        "times          6:00 × 1, 12:00 × 1.2, 18:00 × 1.5, 22:00 × 0.8; only 6:00 to 23:00",
    ]
    assert "stake held     10.00 GRID" in asked
    number = answer("contract", "list", *street.options)["contracts"][0]["offer"]
    # And bob subscribes: 300 Wh at 0.14, 2,040 deliveries in 30 days
    asked = run("contract", "subscribe", str(number), "0.3", *street.signing("bob"), answers="y\n").stderr
    assert "price              0.1400 WATT/kWh, and the grid fee" in asked
    assert "collateral locked  8.568 WATT" in asked
    assert "for ending early   1.7136 WATT" in asked
    street.do("anne", "contract", "subscribe", str(number), "0.2")
    # Then both stand in it
    shown = run("contract", "show", str(number), *street.options).stdout
    assert "price    0.1500 WATT/kWh\n" in shown
    assert "for bob  0.1400 WATT/kWh\n" in shown
    assert "nothing was delivered under it" in shown
    found = answer("contract", "show", str(number), *street.options)["contract"]
    assert {one["buyer"]["name"]: one["price_uwatt_per_kwh"] for one in found["subscriptions"]} == {
        "anne": 150_000,
        "bob": 140_000,
    }
    assert "buying 0.30 kWh" in run("contract", "list", "--mine", *street.signing("bob")).stdout
    assert lines_of("contract", "list", "george", *street.options)[1][-1] == "selling"
    # When the price changes within a fifth, and not beyond
    said = refused("contract", "price", str(number), "0.19", "--prefer", "bob=0.14", "--yes", *street.signing("george"))
    assert "price_change_too_large: from 150000 to 190000" in said
    street.do("george", "contract", "price", str(number), "0.16", "--prefer", "bob=0.14")
    # When bob ends, he pays; when george ends, he pays who is left
    asked = run("contract", "end", str(number), *street.signing("bob"), answers="y\n").stderr
    assert "you pay for ending early  1.7136 WATT" in asked
    assert "comes back                6.8544 WATT, once settled" in asked
    asked = run("contract", "end", str(number), *street.signing("george"), answers="y\n").stderr
    assert f"end                       offer {number}, and 1 subscriptions" in asked
    assert "unknown_offer" in refused("contract", "subscribe", str(number), "0.2", "--yes", *street.signing("carla"))


def test_templates_are_shown_side_by_side(street: Street) -> None:
    shown = run("contract", "templates", *street.options).stdout
    assert shown.splitlines()[0].split() == ["residential", "commercial"]
    assert "commercial energy license, grid code compliance" in shown
    assert [one["template"] for one in answer("contract", "templates", *street.options)["templates"]] == [
        "residential",
        "commercial",
    ]


def test_licences_are_attested_by_an_approver(street: Street) -> None:
    licences = ["commercial_energy_license", "grid_code_compliance"]
    assert "not_approver" in refused("contract", "attest", "carla", *licences, "--yes", *street.signing("bob"))
    street.do("anne", "contract", "attest", "carla", *licences)
    assert answer("contract", "list", "carla", *street.options)["licences"] == licences
    street.do("anne", "contract", "attest", "carla")
    assert answer("contract", "list", "carla", *street.options)["licences"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["offer", "0.5"], 2, "say a price for all, --prefer NAME=PRICE, or both"),
        (["offer", "much", "0.15"], 2, "KWH: 'much' is no amount of kWh"),
        (["offer", "0.05", "0.15"], 1, "refused: outside_template: 50 Wh a period; the template has 100 to 50000"),
        (["offer", "0.5", "0.01"], 1, "refused: outside_template: 10000 uwatt per kWh"),
        (["offer", "0.5", "0.15", "--template", "palatial"], 2, "--template palatial: say residential, commercial"),
        (["offer", "0.5", "0.15", "--until", "5"], 2, "--until 5 is not after the first period"),
        (["offer", "0.5", "0.15", "--from", "soon"], 2, "--from: 'soon' is no period"),
        (["offer", "10", "0.15", "--template", "commercial"], 1, "refused: licence_missing: "),
        (["offer", "3", "0.15"], 1, "refused: beyond_nameplate: "),
        (["subscribe", "99", "0.5"], 1, "there is no offer 99, or it is over"),
        (["end", "99"], 1, "there is no offer 99, or it is over"),
        (["attest", "bob", "driving"], 2, "driving is no licence"),
    ],
)
def test_what_is_no_contract_is_refused(street: Street, arguments: list[str], status: int, says: str) -> None:
    assert says in refused("contract", *arguments, "--yes", *street.signing("carla"), status=status)

"""Trading from the command line, on three real nodes: a worked example to its end, and what is refused.

Alice sells 20 kWh at 0.15, bob 15 at 0.12, charlie buys 25 at 0.16. The resting orders' prices count: 15 kWh at 0.12
and 10 at 0.15, together 3.30; the grid takes 5 % of it, 0.165. Readings follow, and the period settles.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devnet.making import free_ports
from ledger.keys import SigningKey
from ledger.parameters import Parameters
from ledger.records import MeterKind, Role
from ledger.transactions import SubmitReading
from node.client.client import NodeClient, ask
from node.client.errors import ClientError
from node.client.events import Back, PeriodSettled
from node.client.models import SettledPeriod
from node.client.wallet import sign_and_submit, wait_final
from node.configuration import ApiSettings, Configuration, NetworkSettings
from node.founding import MemberPlan, MeterPlan, NetworkPlan, NodePlan, make_network
from node.keystore import CHEAP, Keystore
from p2p.peer_identity import peer_id_from_public_key
from tests.cli.running import PASSWORD, answer, clean_environment, refused, run

pytestmark = [pytest.mark.xdist_group("a market of the command line"), pytest.mark.timeout(300)]

TRADERS = ("alice", "bob", "charlie")
PERIOD_MS = 15_000
AHEAD = 4
WITHIN_S = 120.0
NODE = (sys.executable, "-m", "cli.main", "node", "run", "--json", "--data-dir")
PARAMETERS = Parameters(
    block_interval_ms=500,
    message_delay_ms=150,
    period_ms=PERIOD_MS,
    metered_ms_per_period=3_600_000,
    sampling_tolerance_ms=10_000,
    epoch_blocks=10_000,
    grid_fee_model=2,
    grid_fee_of_value_bps=500,
    gate_closure_ms=1_000,
    reading_deadline_ms=5_000,
    settlement_blocks=1,
)


@dataclass(frozen=True)
class Street:
    """``urls`` and ``meters`` by trader; the utility is the gateway and runs no node."""

    wallets: Path
    urls: dict[str, str]
    meters: dict[str, SigningKey]

    def of(self, who: str) -> list[str]:
        return ["--api", self.urls[who]]

    def signing(self, who: str) -> list[str]:
        return [*self.of(who), "--wallets", str(self.wallets), "--wallet", who]

    def next_period(self) -> int:
        """Far enough ahead for a few commands."""
        found: int = answer("order", "periods", "--limit", "1", *self.of("alice"))["first_open_period"]
        return found + AHEAD - 1


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    directory = tmp_path_factory.mktemp("street")
    keystore = Keystore(directory / "wallets")
    for name in (*TRADERS, "utility"):
        keystore.create(name, PASSWORD, CHEAP)
    meters = {name: SigningKey(os.urandom(32)) for name in TRADERS}
    seeds = {name: os.urandom(32) for name in TRADERS}
    genesis_ms = time.time_ns() // 1_000_000
    plan = NetworkPlan("street", genesis_ms, PARAMETERS, (("mill lane", "mill"),), _members(keystore, seeds, meters))
    ports = free_ports(2 * len(TRADERS))
    addresses = [
        f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id_from_public_key(SigningKey(seeds[name]).public_key)}"
        for name, port in zip(TRADERS, ports, strict=False)
    ]
    nodes = []
    for index, name in enumerate(TRADERS):
        network = NetworkSettings(
            listen=(f"/ip4/127.0.0.1/tcp/{ports[index]}",), bootstrap=tuple(addresses[:index] + addresses[index + 1 :])
        )
        api = ApiSettings(port=ports[len(TRADERS) + index], unix_socket=False)
        nodes.append(NodePlan(directory / name, seeds[name], Configuration(network=network, api=api)))
    make_network(plan, nodes)
    urls = {name: f"http://127.0.0.1:{node.configuration.api.port}" for name, node in zip(TRADERS, nodes, strict=True)}
    with ExitStack() as running:
        for node in nodes:
            running.enter_context(_Running(node.directory))
        found = Street(keystore.directory, urls, meters)
        for name in TRADERS:
            _wait_for_block(found, name)
        yield found


def _members(keystore: Keystore, seeds: dict[str, bytes], meters: dict[str, SigningKey]) -> tuple[MemberPlan, ...]:
    traders = [
        MemberPlan(
            name=name,
            feeder="mill lane",
            account=keystore.show(name).public_key,
            node_key=SigningKey(seeds[name]).public_key,
            watt_uwatt=1_000_000_000,
            grid_ugrid=1_000_000_000,
            meter=MeterPlan(
                meters[name].public_key,
                MeterKind.LOAD if name == "charlie" else MeterKind.SOLAR,
                30_000,
                0 if name == "charlie" else 20_000,
            ),
        )
        for name in TRADERS
    ]
    utility = MemberPlan(
        name="utility",
        feeder="mill lane",
        account=keystore.show("utility").public_key,
        roles=Role.GATEWAY | Role.APPROVER,
        watt_uwatt=1_000_000_000,
    )
    return (*traders, utility)


class _Running:
    """A node's process; what it says goes to a file beside its directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        self._log = self._directory.with_suffix(".log").open("wb")
        command = [*NODE, str(self._directory)]
        self._process = subprocess.Popen(
            command, env=clean_environment(self._directory.parent), stdout=self._log, stderr=subprocess.STDOUT
        )

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


def _wait_for_block(street: Street, who: str) -> None:
    deadline = time.monotonic() + WITHIN_S

    async def height(client: NodeClient) -> int:
        return (await client.status()).height

    while True:
        assert time.monotonic() < deadline, f"{who}'s node makes no block"
        try:
            if ask(NodeClient(street.urls[who]), height) > 0:
                return
        except ClientError:
            pass  # the node is starting: nothing answers yet, and the deadline is watched
        time.sleep(0.2)


def read_all(street: Street, period: int, registers: dict[str, tuple[int, int]]) -> None:
    """Each meter's cumulative (import, export) at the period's end, handed over to its home's node, in a block."""
    for name, (import_wh, export_wh) in registers.items():
        reading = SubmitReading(period, import_wh, export_wh, (period + 1) * PERIOD_MS, (), None)

        async def submit(client: NodeClient, name: str = name, reading: SubmitReading = reading) -> str | None:
            transaction = await sign_and_submit(client, street.meters[name], reading)
            return (await wait_final(client, transaction.id.hex())).refusal

        assert ask(NodeClient(street.urls[name]), submit) is None, name


def wait_for_time(time_ms: int) -> None:
    time.sleep(max(0.0, time_ms / 1_000 - time.time()))


def settled(street: Street, who: str, period: int) -> SettledPeriod:
    """Follows the node's events until it tells that the period is settled."""

    async def until_settled(client: NodeClient) -> SettledPeriod:
        async with aclosing(client.events()) as events:
            async for event in events:
                if isinstance(event, PeriodSettled) and event.settled.period == period:
                    return event.settled
                if isinstance(event, Back) and (await client.market()).next_settled_period > period:
                    return await client.settled_period(period)
        raise AssertionError("events have no end")

    return ask(NodeClient(street.urls[who]), until_settled)


def order(street: Street, who: str, *arguments: str) -> Any:
    return answer("order", *arguments, "--yes", *street.signing(who))


def balance(street: Street, who: str) -> int:
    found: int = answer("wallet", "show", who, *street.of(who))["account"]["watt_uwatt"]
    return found


def test_the_worked_example_trades_settles_and_balances(street: Street) -> None:
    period = street.next_period()
    # When alice and bob offer, and charlie buys
    first = order(street, "alice", "sell", "20", "0.15", str(period))
    second = order(street, "bob", "sell", "15", "0.12", str(period))
    bought = order(street, "charlie", "buy", "25", "0.16", str(period))
    # Then the offers rest, and charlie gets 15 kWh at 0.12 and 10 at 0.15, for 3.30 and 5 % of it
    assert [one["orders"][0]["rests_wh"] for one in (first, second)] == [20_000, 15_000]
    (placed,) = bought["orders"]
    fills = [(one["other"]["name"], one["energy_wh"], one["price_uwatt_per_kwh"]) for one in placed["fills"]]
    assert fills == [("bob", 15_000, 120_000), ("alice", 10_000, 150_000)]
    assert (bought["filled_wh"], bought["value_uwatt"], bought["fee_uwatt"]) == (25_000, 3_300_000, 165_000)
    assert (placed["rests_wh"], placed["locked_uwatt"]) == (0, 0)
    # And every node says the same of it
    tapes = [answer("order", "trades", str(period), *street.of(name))["trades"] for name in TRADERS]
    assert [[(one["energy_wh"], one["price_uwatt_per_kwh"]) for one in tape] for tape in tapes] == [
        [(10_000, 150_000), (15_000, 120_000)]
    ] * len(TRADERS)
    # When the gate closes and the meters say that all was delivered and used
    wait_for_time(period * PERIOD_MS)
    read_all(street, period - 1, dict.fromkeys(TRADERS, (0, 0)))
    wait_for_time((period + 1) * PERIOD_MS)
    read_all(street, period, {"alice": (0, 10_000), "bob": (0, 15_000), "charlie": (25_000, 0)})
    # Then the period settles: all from neighbours, nothing with the utility, and the books balance
    found = [settled(street, name, period) for name in TRADERS]
    assert found[0] == found[1] == found[2]
    summary = found[0]
    assert (summary.export_wh, summary.import_wh, summary.trade_wh, summary.certified_wh) == (25_000,) * 4
    assert (summary.drawn_wh, summary.shortfall_wh, summary.fed_in_wh, summary.excess_wh) == (0, 0, 0, 0)
    assert (summary.self_sufficiency_bps, summary.energy_check_wh) == (10_000, 0)
    # And alice has 1.50, bob 1.80, charlie paid 3.465; every step of it is in their histories
    for who, moved in (("alice", 1_500_000), ("bob", 1_800_000), ("charlie", -3_465_000), ("utility", 165_000)):
        effects = effects_of(street, who, period)
        assert sum(effect["balance_uwatt"] for effect in effects) == moved, who
    assert {effect["kind"] for effect in effects_of(street, "alice", period)} == {
        "order_placed",
        "order_filled",
        "order_released",
        "period_paid",
    }


def effects_of(street: Street, who: str, period: int) -> list[dict[str, Any]]:
    async def history(client: NodeClient) -> list[dict[str, Any]]:
        page = await client.history(who, limit=100)
        return [msgspec.to_builtins(one) for one in page.effects if one.period == period]

    return ask(NodeClient(street.urls["alice"]), history)


def test_what_a_person_reads_before_and_after(street: Street) -> None:
    period = street.next_period()
    asked = run("order", "sell", "2", "0.2", f"{period}-{period + 1}", *street.signing("alice"), answers="y\n")
    # Then the question states energy, price, when, deposit and fee
    said = asked.stderr
    assert "sell                 2.00 kWh in each of 2 periods, 4.00 kWh in all" in said
    assert "at the least         0.2000 WATT/kWh" in said
    assert f"(period {period + 1})" in said
    assert "deposit              0.40 WATT; locked until it is delivered or cancelled" in said
    assert "fee                  0.001 WATT" in said
    # And the answer the orders' numbers and where they stand
    lines = asked.stdout.splitlines()
    assert len([line for line in lines if "2.00 kWh in the book at 0.2000 WATT/kWh; locks 0.20 WATT" in line]) == 2
    assert lines[-1].startswith("final in block ")
    # When somebody buys a part
    bought = run("order", "buy", "0.5", "0.25", str(period), "--yes", *street.signing("charlie")).stdout
    assert "0.50 kWh from alice at 0.2000 WATT/kWh" in bought
    assert "filled 0.50 kWh for 0.10 WATT and 0.005 WATT grid fee" in bought
    # Then books, lists and tapes show it
    book = run("order", "book", str(period), *street.of("bob")).stdout
    (level,) = [line.split() for line in book.splitlines() if line.startswith("sell")]
    assert level == ["sell", "0.2000", "1.50", "1"]
    listed = run("order", "list", *street.signing("alice")[:6]).stdout
    assert listed.splitlines()[0].split()[:2] == ["order", "period"]
    assert str(period) in listed
    (row,) = [
        line for line in run("order", "periods", "--busy", *street.of("bob")).stdout.splitlines() if str(period) in line
    ]
    assert "0.2000" in row
    assert "0.50" in run("order", "trades", str(period), *street.of("bob")).stdout
    # When all is cancelled, then every lock comes back
    cancelled = run("order", "cancel", "--period", f"{period}-{period + 1}", "--yes", *street.signing("alice")).stdout
    assert cancelled.splitlines()[0] == "2 taken out of the book; 0.35 WATT came back"
    assert answer("order", "list", "alice", *street.of("alice"))["orders"] == []
    refused("order", "cancel", "--all", "--yes", *street.signing("alice"))


def test_a_quote_takes_the_place_of_what_was_there(street: Street) -> None:
    period = street.next_period()
    order(street, "bob", "sell", "1", "0.29", str(period))
    quoted = order(street, "bob", "quote", str(period), "--buy", "1@0.09", "--sell", "2@0.28")
    assert [(one["side"], one["energy_wh"]) for one in quoted["orders"]] == [("buy", 1_000), ("sell", 2_000)]
    assert quoted["released_uwatt"] == 10_000
    book = answer("order", "book", str(period), *street.of("alice"))
    assert [level["price_uwatt_per_kwh"] for level in (*book["bids"], *book["asks"])] == [90_000, 280_000]
    order(street, "bob", "cancel", "--all")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["buy", "1", "0.5", "next"], 1, "price_out_of_range: "),
        (["buy", "1", "0.2", "1"], 1, "book_closed: "),
        (["sell", "25", "0.2", "PERIOD"], 1, "beyond_nameplate: "),
        (["buy", "9000", "0.29", "PERIOD"], 1, "insufficient_watt: "),
        (["buy", "1", "0.2", "999999999999"], 2, "is not open yet; the last that is is "),
        (["buy", "1.005", "0.2", "PERIOD"], 2, "steps of 0.01 kWh"),
        (["buy", "0", "0.2", "PERIOD"], 2, "steps of 0.01 kWh"),
        (["buy", "1", "0.20001", "PERIOD"], 2, "steps of 0.0001 WATT"),
        (["buy", "much", "0.2", "PERIOD"], 2, "is no amount of kWh"),
        (["buy", "1", "0.2", "some", "time"], 2, "is no period"),
        (["buy", "1", "0.2", "1-200"], 2, "one order is for 1 to 96"),
        (["cancel", "123456"], 1, "no open order 123456"),
        (["cancel"], 2, "say which"),
        (["quote", "PERIOD"], 2, "say --buy KWH@PRICE"),
        (["quote", "PERIOD", "--buy", "1"], 2, "KWH@PRICE"),
        (["quote", "PERIOD", "--buy", "1@0.2", "--sell", "1@0.1"], 1, "self_trade: "),
        (["book", "999999999999"], 2, "not open yet"),
    ],
)
def test_refusals_say_what_to_do(street: Street, arguments: Sequence[str], status: int, says: str) -> None:
    period = str(street.next_period())
    options = street.of("bob") if arguments[0] == "book" else [*street.signing("bob"), "--yes"]
    said = refused("order", *(period if one == "PERIOD" else one for one in arguments), *options, status=status)
    assert says in said
    if says in {"price_out_of_range: ", "book_closed: ", "beyond_nameplate: "}:
        assert "; " in said, "the way out"
    # And nothing is locked
    assert answer("order", "list", "bob", *street.of("bob"))["orders"] == []


def test_the_gateway_does_not_trade(street: Street) -> None:
    options = [*street.of("bob"), "--wallets", str(street.wallets), "--wallet", "utility", "--yes"]
    said = refused("order", "buy", "1", "0.2", str(street.next_period()), *options)
    assert said.startswith("refused: gateway_does_not_trade: ")
    assert said.endswith("; sign with a member's wallet")

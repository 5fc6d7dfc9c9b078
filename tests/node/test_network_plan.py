"""A network described in TOML: what it says, and a sentence with the line for everything that can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.keys import address_text
from ledger.records import MeterKind, Role
from node.network_plan import PlanError, load_plan, parse_plan
from tests.support.chain import key_for

WHOLE = f"""\
name = "Mill Lane"
grid_reserve = 1_000
time = 2026-05-01T00:00:00Z

[parameters]
block_interval_ms = 2000
epoch_blocks = 24

[[feeders]]
name = "F1"
substation = "S"

[[feeders]]
name = "F2"
substation = "S"

[[members]]
name = "anne"
feeder = "F1"
roles = ["approver", "issuer"]
watt = "12.5"
grid = 3

[members.meter]
kind = "solar"
export_w = 9800

[[members]]
name = "bob"
feeder = "F2"
account = "{address_text(key_for("account", "bob").public_key)}"
node_key = "{key_for("node", "bob").public_key.hex()}"
meter = {{ kind = "load", key = "{key_for("meter", "bob").public_key.hex()}" }}

[[members]]
name = "carla"
feeder = "F2"
listen = ["/ip4/127.0.0.1/tcp/5001"]
api_port = 5080
"""


def test_a_whole_one() -> None:
    # When
    plan = parse_plan(WHOLE, "lane.toml")
    # Then
    assert (plan.name, plan.time_ms, plan.grid_reserve_ugrid) == ("Mill Lane", 1_777_593_600_000, 1_000_000_000)
    assert (plan.parameters.block_interval_ms, plan.parameters.period_ms) == (2_000, 900_000)
    assert plan.feeders == (("F1", "S"), ("F2", "S"))
    anne, bob, carla = plan.members
    assert (anne.roles, anne.watt_uwatt, anne.grid_ugrid) == (Role.APPROVER | Role.ISSUER, 12_500_000, 3_000_000)
    assert anne.meter is not None
    assert (anne.meter.kind, anne.meter.import_w, anne.meter.export_w) == (MeterKind.SOLAR, 17_250, 9_800)
    assert (anne.meter.key, anne.account, anne.node_key) == (None, None, None)
    assert anne.configuration is not None
    assert anne.configuration.network.listen == ("/ip4/0.0.0.0/tcp/4001",)
    assert (bob.account, bob.node_key) == (key_for("account", "bob").public_key, key_for("node", "bob").public_key)
    assert bob.configuration is None
    assert bob.meter is not None
    assert bob.meter.key == key_for("meter", "bob").public_key
    assert carla.configuration is not None
    assert (carla.configuration.network.listen, carla.configuration.api.port) == (("/ip4/127.0.0.1/tcp/5001",), 5080)


def test_several_nodes_of_one_machine_listen_on_ports_that_follow_each_other() -> None:
    members = "".join(f'[[members]]\nname = "{name}"\nfeeder = "F"\n' for name in ("anne", "bob"))
    plan = parse_plan(f'name = "x"\n[[feeders]]\nname = "F"\nsubstation = "S"\n{members}', "x")
    settings = [one.configuration for one in plan.members]
    assert [(one.network.listen[0], one.api.port) for one in settings if one is not None] == [
        ("/ip4/0.0.0.0/tcp/4001", 4080),
        ("/ip4/0.0.0.0/tcp/4002", 4081),
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name = "Mill Lane"', "", "lane.toml: name is missing"),
        ('name = "Mill Lane"', "name = 3", "line 1: name = 3: expected a text in quotes"),
        (
            "grid_reserve = 1_000",
            "grid_reserve = 1.5",
            "line 2: grid_reserve = 1.5: write an amount with decimals as text",
        ),
        ("grid_reserve = 1_000", 'grid_reserve = "1,5"', "line 2: grid_reserve: "),
        ("2026-05-01T00:00:00Z", "2026-05-01", "line 3: time = "),
        (
            "block_interval_ms",
            "block_intervall_ms",
            "line 6: no parameter is called 'block_intervall_ms'; did you mean",
        ),
        ("block_interval_ms = 2000", "block_interval_ms = 5", "line 6: block_interval_ms = 5 is outside 100 … 600000"),
        (
            "block_interval_ms = 2000",
            'block_interval_ms = "2"',
            "line 6: block_interval_ms = '2': expected a whole number",
        ),
        ("epoch_blocks = 24", "committee_delay_blocks = 96", "line 7: committee_delay_blocks = 96 must be less than"),
        ('substation = "S"\n\n[[feeders]]', "\n[[feeders]]", "line 9: substation is missing"),
        ('name = "anne"', 'name = "Anne"', "line 18: name = 'Anne': a name has 1 to 32"),
        ('feeder = "F1"', 'feeder = "F9"', "line 19: no feeder is called 'F9'; there are: F1, F2"),
        ('"issuer"', '"king"', "line 20: no role is called 'king'; there are: approver, issuer, gateway, arbitrator"),
        ('watt = "12.5"', "wat = 3", "line 21: nothing is called 'wat' here; did you mean 'watt'?"),
        ('kind = "solar"', 'kind = "sun"', "line 25: no meter is of kind 'sun'; there are: load, solar"),
        ("export_w = 9800", "export_w = -1", "line 26: export_w = -1 is outside 0 … 1000000000"),
        ('account = "ec', 'account = "ed', "line 31: account = "),
        (f'"{key_for("node", "bob").public_key.hex()}"', '"ab"', "line 32: node_key = 'ab': expected a public key, 64"),
        ('kind = "load"', 'kind = "sun"', "line 33: no meter is of kind 'sun'"),
        ("tcp/5001", "udp/5001", "line 38: '/ip4/127.0.0.1/udp/5001' is not a multiaddr"),
        ("api_port = 5080", "api_port = 99999", "line 39: api_port = 99999 is outside 0 … 65535"),
        ('name = "carla"', 'name = "carla"\nnode = "no"', "line 37: node = 'no': expected true or false"),
        ("[parameters]", "[[parameters]]", "line 5: parameters is a table: write [parameters]"),
        ("[[feeders]]", "[[feeder]]", "lane.toml: at least one table is needed: [[feeders]]"),
        ("[parameters]", "[parameter", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, sentence: str) -> None:
    assert old in WHOLE
    with pytest.raises(PlanError) as caught:
        parse_plan(WHOLE.replace(old, new), "lane.toml")
    assert sentence in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: No such file"):
        load_plan(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b'name = "x"\n\xff')
    with pytest.raises(PlanError, match="line 2: not UTF-8"):
        load_plan(bad)
    bad.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(PlanError, match="cannot be a network's description"):
        load_plan(bad)

"""Making a network from its plan: whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.keys import SigningKey
from node.configuration import load
from node.founding import DirectoryTaken, FoundingError, read_genesis
from node.key_files import load_seed
from node.keystore import CHEAP, Keystore
from node.network_plan import Plan, parse_plan
from node.new_network import MadeNetwork, make_planned_network

NOW_MS = 1_750_000_000_000
TEXT = """\
name = "Mill Lane"
[[feeders]]
name = "F1"
substation = "S"
[[members]]
name = "anne"
feeder = "F1"
roles = ["approver"]
watt = 1000
[members.meter]
kind = "load"
[[members]]
name = "bob"
feeder = "F1"
"""


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "wallets")


def make(directory: Path, keystore: Keystore, text: str = TEXT) -> MadeNetwork:
    plan: Plan = parse_plan(text, "lane.toml")
    return make_planned_network(directory, plan, text, keystore, lambda name: f"{name}'s", NOW_MS, CHEAP)


def test_genesis_wallets_and_nodes_that_know_each_other(tmp_path: Path, keystore: Keystore) -> None:
    # When
    made = make(tmp_path / "lane", keystore)
    # Then
    anne, bob = made.members
    assert (tmp_path / "lane" / "network.toml").read_text() == TEXT
    assert keystore.names() == ["anne", "bob"]
    assert keystore.show("anne").public_key == anne.account
    assert anne.mnemonic is not None
    assert keystore.export_mnemonic("anne", "anne's") == anne.mnemonic
    for member, other in ((anne, bob), (bob, anne)):
        assert member.directory is not None
        assert other.directory is not None
        document, genesis = read_genesis(member.directory)
        assert genesis == made.genesis
        assert document == (tmp_path / "lane" / "genesis.cbor").read_bytes()
        (bootstrap,) = load(member.directory, {}).network.bootstrap
        (listen,) = load(other.directory, {}).network.listen
        assert bootstrap.startswith(listen.replace("0.0.0.0", "127.0.0.1"))
    first, second = made.genesis.members
    assert first.node_key == SigningKey(load_seed(anne.directory / "node.key")).public_key  # type: ignore[operator]
    assert (first.roles, first.watt_uwatt, second.roles) == (1, 1_000_000_000, 0)
    (meter,) = made.genesis.meters
    assert meter.meter == SigningKey(load_seed(anne.directory / "meter.key")).public_key  # type: ignore[operator]


def test_a_wallet_that_is_there_is_used(tmp_path: Path, keystore: Keystore) -> None:
    keystore.create("anne", "her own", CHEAP)
    made = make(tmp_path / "lane", keystore)
    anne = made.members[0]
    assert (anne.account, anne.mnemonic) == (keystore.show("anne").public_key, None)


def test_a_directory_that_is_taken(tmp_path: Path, keystore: Keystore) -> None:
    (tmp_path / "lane").mkdir()
    (tmp_path / "lane" / "something").touch()
    with pytest.raises(DirectoryTaken, match="not empty"):
        make(tmp_path / "lane", keystore)
    assert keystore.names() == []


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('roles = ["approver"]', "", "nobody is an approver"),
        ('name = "bob"', 'name = "anne"', "member name 'anne' occurs 2 times"),
        ('feeder = "F1"', 'feeder = "F1"\nnode = false', "nobody runs a node"),
        ('name = "anne"\n', 'name = "anne"\nnode = false\n', "its meter's key is to be made here, but not its node"),
    ],
)
def test_what_only_all_of_it_shows_is_said_before_a_password_is_asked_for(
    tmp_path: Path, keystore: Keystore, old: str, new: str, sentence: str
) -> None:
    asked: list[str] = []

    def password(name: str) -> str:
        asked.append(name)
        return "x"

    text = TEXT.replace(old, new)
    with pytest.raises(FoundingError, match=sentence):
        make_planned_network(tmp_path / "lane", parse_plan(text, "x"), text, keystore, password, NOW_MS, CHEAP)
    assert asked == []
    assert not (tmp_path / "lane").exists()


def test_nothing_is_left_behind_where_it_fails_half_way(tmp_path: Path, keystore: Keystore) -> None:
    # Given somebody who thinks better of it at the second password
    def password(name: str) -> str:
        if name == "bob":
            raise KeyboardInterrupt
        return "x"

    # When
    with pytest.raises(KeyboardInterrupt):
        make_planned_network(tmp_path / "lane", parse_plan(TEXT, "x"), TEXT, keystore, password, NOW_MS, CHEAP)
    # Then
    assert keystore.names() == []
    assert {path.name for path in tmp_path.iterdir()} <= {"wallets"}

"""A network from a plan, and a data directory that is made once and never overwritten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.encoding import encode
from ledger.genesis import chain_id, genesis_changes
from ledger.keys import SigningKey
from ledger.parameters import Parameters
from ledger.records import MeterKind, MeterRole, Role
from node.configuration import ApiSettings, Configuration, load
from node.founding import (
    GENESIS_NAME,
    NODE_KEY_NAME,
    BadPlan,
    DirectoryTaken,
    MemberPlan,
    MeterPlan,
    NetworkPlan,
    NoDataDirectory,
    VotingPlan,
    found_network,
    initialise_node,
    read_genesis,
    write_configuration,
)
from node.key_files import load_seed
from storage.journal import Journal

ANNE = MemberPlan(
    name="anne",
    feeder="F1",
    account=b"a" * 32,
    node_key=b"b" * 32,
    roles=Role.APPROVER,
    watt_uwatt=5,
    grid_ugrid=7,
    meter=MeterPlan(b"c" * 32, MeterKind.SOLAR, 17_250, 9_000),
    voting=VotingPlan(2_000, (("bob", 6_000), ("anne", 4_000))),
)
BOB = MemberPlan(name="bob", feeder="F1", account=b"d" * 32, node_key=b"e" * 32)
PLAN = NetworkPlan(
    name="street",
    time_ms=1_750_000_000_000,
    parameters=Parameters(),
    feeders=(("F1", "S"),),
    members=(ANNE, BOB),
    grid_reserve_ugrid=100,
)
SEED = bytes(range(32))


def document() -> bytes:
    return encode(found_network(PLAN))


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_plan_becomes_a_genesis_with_keys_for_names() -> None:
    genesis = found_network(PLAN)
    assert genesis_changes(genesis)
    anne, bob = genesis.members
    assert anne.voting_rule is not None
    assert [(target.candidate, target.share_bps) for target in anne.voting_rule.targets] == [
        (BOB.account, 6_000),
        (ANNE.account, 4_000),
    ]
    assert bob.voting_rule is None
    assert (genesis.grid_supply_ugrid, genesis.grid_reserve_ugrid) == (107, 100)
    meter = genesis.meters[0]
    assert (meter.owner, meter.role, meter.import_wh, meter.export_wh) == (ANNE.account, MeterRole.CONNECTION, 0, 0)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (replace(PLAN, members=()), "0 members"),
        (replace(PLAN, members=(BOB,)), "approver"),
        (replace(PLAN, members=(replace(ANNE, feeder="F9"), BOB)), "F9"),
        (replace(PLAN, members=(ANNE,)), "no member is called 'bob'"),
        (replace(PLAN, members=(ANNE, replace(BOB, node_key=ANNE.node_key))), "2 times"),
        (replace(PLAN, parameters=Parameters(block_interval_ms=1)), "block_interval_ms"),
    ],
)
def test_a_plan_that_is_no_beginning_is_refused(plan: NetworkPlan, words: str) -> None:
    with pytest.raises(BadPlan, match=words):
        found_network(plan)


def test_a_data_directory_has_all_a_node_needs_and_its_secrets_are_its_owners(tmp_path: Path) -> None:
    # When a directory is made, parents included
    directory = tmp_path / "homes" / "anne"
    configuration = Configuration(api=ApiSettings(port=4_321))
    initialise_node(directory, document(), configuration, SEED)
    # Then it holds four files, of which the secrets are readable by their owner only, and a journal
    assert {path.name for path in directory.iterdir()} == {
        "genesis.cbor",
        "config.toml",
        "node.key",
        "api.token",
        "journal",
    }
    assert mode_of(directory) == 0o700
    assert mode_of(directory / "node.key") == mode_of(directory / "api.token") == 0o600
    # And they are what was given
    assert read_genesis(directory) == (document(), found_network(PLAN))
    assert load(directory, {}) == configuration
    assert load_seed(directory / NODE_KEY_NAME) == SEED


def test_the_journal_of_a_fresh_key_is_complete_from_the_beginning(tmp_path: Path) -> None:
    # Given a node that was just made, whose key has never voted
    initialise_node(tmp_path / "anne", document(), Configuration(), SEED)
    # Then its journal hides nothing, so it need not abstain before it votes
    journal = Journal.open(tmp_path / "anne", chain_id=chain_id(found_network(PLAN)))
    assert journal.vouches_for(SigningKey(SEED).public_key)
    assert not journal.vouches_for(SigningKey(bytes(32)).public_key)
    journal.close()


def test_every_directory_has_a_token_of_its_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        initialise_node(tmp_path / name, document(), Configuration(), SEED)
    assert (tmp_path / "one" / "api.token").read_text() != (tmp_path / "two" / "api.token").read_text()


@pytest.mark.parametrize("name", ["genesis.cbor", "config.toml", "node.key", "api.token"])
def test_what_is_there_is_never_overwritten(tmp_path: Path, name: str) -> None:
    # Given a directory with one of the files
    (tmp_path / name).write_text("mine")
    # When a node is to be made in it, then it is refused by name and left as it is
    with pytest.raises(DirectoryTaken, match=name):
        initialise_node(tmp_path, document(), Configuration(), SEED)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("damaged", [b"", b"\x80", b"no genesis"])
def test_what_is_no_genesis_makes_no_directory(tmp_path: Path, damaged: bytes) -> None:
    with pytest.raises(BadPlan, match="is no genesis"):
        initialise_node(tmp_path / "anne", damaged, Configuration(), SEED)
    assert not (tmp_path / "anne").exists()


def test_reading_a_genesis_says_what_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(NoDataDirectory, match="ecloud node init"):
        read_genesis(tmp_path)
    initialise_node(tmp_path / "anne", document(), Configuration(), SEED)
    path = tmp_path / "anne" / GENESIS_NAME
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadPlan, match="get it anew"):
        read_genesis(tmp_path / "anne")


def test_a_configuration_can_be_replaced(tmp_path: Path) -> None:
    initialise_node(tmp_path / "anne", document(), Configuration(), SEED)
    changed = Configuration(api=ApiSettings(port=9))
    write_configuration(tmp_path / "anne", changed)
    assert load(tmp_path / "anne", {}) == changed

"""A devnet's directory: made with the code of any network, and never in the place of something else."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from devnet.making import ALL_KNOW_ALL, PASSWORD, PORTS, free_ports, keep_devnet, make_devnet
from devnet.manifest import DevnetError, NoDevnet, devnet_directory, edit, load
from devnet.neighbourhood import UTILITY, BadNeighbourhood, homes_of
from home import configuration as home_configuration
from home.configuration import house_of
from ledger.genesis import chain_id
from ledger.keys import SigningKey
from node.configuration import Configuration
from node.configuration import load as load_configuration
from node.founding import read_genesis
from node.key_files import load_seed
from node.keystore import Keystore

GENESIS_MS = 1_750_000_000_000


def configuration_of(directory: Path, name: str) -> Configuration:
    return load_configuration(directory / "homes" / name, {})


def test_every_home_has_its_keys_and_one_genesis(tmp_path: Path) -> None:
    # When a devnet of four homes is made
    manifest = make_devnet(tmp_path / "devnet", 4, GENESIS_MS, 30)
    # Then the manifest on disk says so, and nothing runs
    assert load(tmp_path / "devnet") == manifest
    assert not manifest.is_running()
    members = {}
    for number, home in enumerate(manifest.homes):
        document, genesis = read_genesis(Path(home.directory))
        assert chain_id(genesis).hex() == manifest.chain_id
        members = {member.name: member for member in genesis.members}
        # And wallet, node and meter hold the keys that the genesis names
        account = SigningKey(Keystore(tmp_path / "devnet" / "wallets").unlock(home.name, PASSWORD))
        node_key = SigningKey(load_seed(Path(home.directory) / "node.key"))
        house = Path(home.house_directory)
        settings = home_configuration.load(house, {})
        assert members[home.name].account == account.public_key
        assert members[home.name].node_key == node_key.public_key == bytes.fromhex(home.node_key)
        assert SigningKey(load_seed(house / settings.meter.key_file)).public_key.hex() == home.meter_key
        assert home.house.command[-2:] == ["--directory", str(house)]
        # And the home is told its node, its house, and its wallet
        assert settings.node.api == home.api_url
        assert house_of(settings) == homes_of(4)[number].house
        wallets = Keystore(house / settings.wallet.directory)
        password = (house / settings.wallet.password_file).read_text().strip()
        assert wallets.unlock(settings.wallet.name, password) == account.seed
        # And the node halts where it should
        assert configuration_of(tmp_path / "devnet", home.name).node.halt_height == 30
        assert document
    assert set(members) == {"anne", "bob", "carla", "george", UTILITY}
    gateway = Keystore(tmp_path / "devnet" / "wallets").unlock(UTILITY, PASSWORD)
    assert members[UTILITY].account == SigningKey(gateway).public_key


@pytest.mark.parametrize("count", [1, 4, ALL_KNOW_ALL + 6])
def test_every_node_can_find_the_others(tmp_path: Path, count: int) -> None:
    manifest = make_devnet(tmp_path / "devnet", count, GENESIS_MS, 0)
    addresses = {home.name: f"/ip4/127.0.0.1/tcp/{home.listen_port}/p2p/{home.peer_id}" for home in manifest.homes}
    known = {name: set(configuration_of(tmp_path / "devnet", name).network.bootstrap) for name in addresses}
    reached, ahead = {manifest.homes[0].name}, [manifest.homes[0].name]
    while ahead:
        name = ahead.pop()
        for other, address in addresses.items():
            if other not in reached and (address in known[name] or addresses[name] in known[other]):
                reached.add(other)
                ahead.append(other)
    assert reached == set(addresses)
    for name, others in known.items():
        assert addresses[name] not in others
        assert others <= set(addresses.values())
        assert len(others) == count - 1 if count <= ALL_KNOW_ALL else len(others) <= 8


def test_ports_are_different_and_free() -> None:
    ports = free_ports(80)
    assert len(set(ports)) == 80
    assert set(ports) <= set(PORTS)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        assert all(ports[0] not in free_ports(80) for _ in range(3))


def test_a_devnet_is_made_anew_in_its_own_place_only(tmp_path: Path) -> None:
    # Given a devnet
    before = make_devnet(tmp_path / "devnet", 2, GENESIS_MS, 0)
    # When another is made there, then it is another chain
    after = make_devnet(tmp_path / "devnet", 1, GENESIS_MS, 0)
    assert after.chain_id != before.chain_id
    assert sorted(os.listdir(tmp_path / "devnet" / "homes")) == ["anne"]
    # But where something else is, nothing is touched
    (tmp_path / "documents" / "homes").mkdir(parents=True)
    (tmp_path / "documents" / "homes" / "letter").write_text("dear")
    with pytest.raises(DevnetError, match="something else than a devnet"):
        make_devnet(tmp_path / "documents", 1, GENESIS_MS, 0)
    assert (tmp_path / "documents" / "homes" / "letter").read_text() == "dear"


def test_a_devnet_that_is_kept_has_its_chain_and_new_ports(tmp_path: Path) -> None:
    before = make_devnet(tmp_path / "devnet", 4, GENESIS_MS, 10)
    after = keep_devnet(tmp_path / "devnet", 0)
    assert after.chain_id == before.chain_id
    assert [home.node_key for home in after.homes] == [home.node_key for home in before.homes]
    for home in after.homes:
        configuration = configuration_of(tmp_path / "devnet", home.name)
        assert configuration.api.port == home.api_port
        assert configuration.network.listen == (f"/ip4/127.0.0.1/tcp/{home.listen_port}",)
        assert configuration.node.halt_height == 0
        settings = home_configuration.load(Path(home.house_directory), {})
        assert (settings.node.api, settings.wallet.name) == (home.api_url, home.name)
    assert load(tmp_path / "devnet") == after


def test_sizes_that_cannot_be_leave_no_directory_behind(tmp_path: Path) -> None:
    with pytest.raises(BadNeighbourhood):
        make_devnet(tmp_path / "devnet", 41, GENESIS_MS, 0)
    assert not (tmp_path / "devnet").exists()


def test_where_there_is_no_devnet_one_is_told_how_to_start_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NoDevnet, match="ecloud devnet up"):
            load(path)
        with pytest.raises(NoDevnet, match="ecloud devnet up"), edit(path):
            pass
    for damage in (b"{", b'{"chain_id": "\xff"}'):
        (tmp_path / "devnet.json").write_bytes(damage)
        with pytest.raises(DevnetError, match="damaged"):
            load(tmp_path)


def test_an_edit_that_fails_changes_nothing(tmp_path: Path) -> None:
    before = make_devnet(tmp_path, 1, GENESIS_MS, 0)

    def fail_half_way() -> None:
        with edit(tmp_path) as manifest:
            manifest.homes[0].api_port = 7
            manifest.home("nobody")

    with pytest.raises(DevnetError, match="nobody"):
        fail_half_way()
    assert load(tmp_path) == before


def test_programs_are_found_by_name(tmp_path: Path) -> None:
    manifest = make_devnet(tmp_path, 2, GENESIS_MS, 0)
    assert manifest.program("bob").name == "bob"
    assert manifest.program("bob.home").command[4:6] == ["home", "run"]
    with pytest.raises(DevnetError, match="there are anne, bob"):
        manifest.program("george")


def test_the_directory_is_the_one_named_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECLOUD_DEVNET", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert devnet_directory(None) == tmp_path / "ecloud" / "devnet"
    monkeypatch.setenv("ECLOUD_DEVNET", str(tmp_path / "named"))
    assert devnet_directory(None) == tmp_path / "named"
    assert devnet_directory(tmp_path / "chosen") == tmp_path / "chosen"

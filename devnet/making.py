"""Making a devnet's directory, with the same code that founds any network.

1. ``homes/NAME`` is the node's data directory, with ``node.log`` in it; ``houses/NAME`` that of ``ecloud home``: the
   meter's key, settings, queue, ``home.log``; ``wallets`` holds an account of every home under the password "devnet",
   at the cheapest cost: play money.
2. Ports are free ones, each held while the others are chosen. Every node starts with the addresses of all others, in a
   large devnet of a few.
3. Only a directory that is empty, or holds a devnet that does not run, is made anew; nothing else is ever removed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from devnet.manifest import (
    HOUSE_SUFFIX,
    LOCK_NAME,
    MANIFEST_NAME,
    DevnetError,
    HomeRecord,
    Manifest,
    Program,
    load,
    save,
)
from devnet.neighbourhood import UTILITY, Home, HomeKeys, homes_of, plan_network
from home import configuration as home_configuration
from ledger.genesis import chain_id
from ledger.keys import SigningKey, address_text
from node.client.connection import SOCKET_NAME
from node.configuration import ApiSettings, Configuration, NetworkSettings, NodeSettings
from node.founding import NodePlan, make_network, write_configuration
from node.key_files import SEED_BYTES, load_or_create_seed, make_private_directory, write_private
from node.keystore import CHEAP, Keystore
from p2p.peer_identity import peer_id_from_public_key

PASSWORD: Final = "devnet"  # noqa: S105 (play money)
WALLETS: Final = "wallets"
HOMES: Final = "homes"
HOUSES: Final = "houses"
ALL_KNOW_ALL: Final = 8
"""Up to this many nodes each starts with the addresses of all others."""
KNOWN_TO_ALL: Final = 4
PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: a node that was away finds its own still free."""
LONGEST_SOCKET_PATH: Final = 100  # bytes; the system allows 107

_NODE: Final = (sys.executable, "-P", "-m", "cli.main", "node", "run")
_HOUSE: Final = (sys.executable, "-P", "-m", "cli.main", "home", "run")
_PASSWORD_FILE: Final = "wallet.password"  # noqa: S105 (a file's name)


@dataclass(frozen=True, slots=True)
class _Keys:
    public: HomeKeys
    node_seed: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node listens."""

    peer_id: str
    listen_port: int
    api_port: int

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def address(self) -> str:
        return f"/ip4/127.0.0.1/tcp/{self.listen_port}/p2p/{self.peer_id}"


def make_devnet(directory: Path, count: int, genesis_time_ms: int, halt_height: int) -> Manifest:
    """Makes directory, genesis, wallets, nodes and houses of a devnet of ``count`` homes; starts nothing.

    Errors: DevnetError, BadNeighbourhood, FoundingError.
    """
    homes = homes_of(count)
    clear(directory)
    keys = [_make_keys(directory, home.name) for home in homes]
    places = _places([peer_id_from_public_key(own.public.node_key) for own in keys])
    nodes = []
    for index, (home, own) in enumerate(zip(homes, keys, strict=True)):
        data = _data_directory(directory, home.name)
        nodes.append(NodePlan(data, own.node_seed, _configuration(places, index, halt_height, data)))
    genesis = make_network(
        plan_network(homes, [own.public for own in keys], _make_utility(directory), genesis_time_ms), nodes
    )
    for home, place in zip(homes, places, strict=True):
        _make_house(directory, home, place.api_url)
    records = [
        _record(directory, home, own.public, place) for home, own, place in zip(homes, keys, places, strict=True)
    ]
    manifest = Manifest(chain_id(genesis).hex(), genesis_time_ms, halt_height, None, records)
    save(directory, manifest)
    return manifest


def keep_devnet(directory: Path, halt_height: int) -> Manifest:
    """Readies the devnet that is there to go on: new ports, as others may have taken the old ones. Errors: NoDevnet,
    DevnetError.
    """
    manifest = load(directory)
    places = _places([home.peer_id for home in manifest.homes])
    for index, home in enumerate(manifest.homes):
        home.listen_port, home.api_port = places[index].listen_port, places[index].api_port
        house = Path(home.house_directory)
        settings = home_configuration.override(home_configuration.load(house, {}), "node", api=home.api_url)
        _write_house(house, settings)
        data = Path(home.directory)
        write_configuration(data, _configuration(places, index, halt_height, data))
    manifest.halt_height = halt_height
    save(directory, manifest)
    return manifest


def clear(directory: Path) -> None:
    """Makes the directory, or removes the devnet in it, which must not run. Errors: DevnetError, see rule 3."""
    make_private_directory(directory)
    names = {path.name for path in directory.iterdir()}
    if names - {LOCK_NAME} and MANIFEST_NAME not in names:
        raise DevnetError(f"{directory} holds something else than a devnet; choose an empty directory")
    for name in (HOMES, HOUSES, WALLETS):
        if name in names:
            shutil.rmtree(directory / name)
    (directory / MANIFEST_NAME).unlink(missing_ok=True)


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback interface that nobody listens on at this moment. Errors: DevnetError."""
    start = secrets.randbelow(len(PORTS))
    with ExitStack() as held:
        found: list[int] = []
        for offset in range(len(PORTS)):
            port = PORTS[(start + offset) % len(PORTS)]
            one = held.enter_context(socket.socket())
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody else's
            found.append(port)
            if len(found) == count:
                return found
    raise DevnetError(f"fewer than {count} ports are free among {PORTS[0]} … {PORTS[-1]}")


def _make_keys(directory: Path, name: str) -> _Keys:
    wallets = Keystore(directory / WALLETS)
    wallets.create(name, PASSWORD, CHEAP)
    node_seed = secrets.token_bytes(SEED_BYTES)
    meter_seed = load_or_create_seed(_house_directory(directory, name) / "meter.key")
    public = HomeKeys(
        account=wallets.show(name).public_key,
        node_key=SigningKey(node_seed).public_key,
        meter=SigningKey(meter_seed).public_key,
    )
    return _Keys(public, node_seed)


def _make_utility(directory: Path) -> bytes:
    """The gateway's wallet; its public key."""
    wallets = Keystore(directory / WALLETS)
    wallets.create(UTILITY, PASSWORD, CHEAP)
    return wallets.show(UTILITY).public_key


def _places(peer_ids: Sequence[str]) -> list[_Place]:
    ports = free_ports(2 * len(peer_ids))
    return [
        _Place(peer_id, listen_port, api_port)
        for peer_id, listen_port, api_port in zip(peer_ids, ports[::2], ports[1::2], strict=True)
    ]


def _configuration(places: Sequence[_Place], index: int, halt_height: int, data: Path) -> Configuration:
    others = [place for number, place in enumerate(places) if number != index]
    if len(places) > ALL_KNOW_ALL:
        first = [place for place in places[:KNOWN_TO_ALL] if place is not places[index]]
        before = [place for place in places[max(0, index - KNOWN_TO_ALL) : index] if place not in first]
        others = first + before
    settings = Configuration()
    return replace(
        settings,
        network=NetworkSettings(
            listen=(f"/ip4/127.0.0.1/tcp/{places[index].listen_port}",),
            bootstrap=tuple(place.address for place in others),
            max_peers=settings.network.max_peers,
        ),
        api=ApiSettings(
            host="127.0.0.1",
            port=places[index].api_port,
            unix_socket=len(os.fsencode(data / SOCKET_NAME)) <= LONGEST_SOCKET_PATH,
        ),
        node=NodeSettings(halt_height=halt_height),
    )


def _record(directory: Path, home: Home, keys: HomeKeys, place: _Place) -> HomeRecord:
    data = _data_directory(directory, home.name)
    house = _house_directory(directory, home.name)
    return HomeRecord(
        name=home.name,
        directory=str(data),
        house_directory=str(house),
        address=address_text(keys.account),
        node_key=keys.node_key.hex(),
        meter_key=keys.meter.hex(),
        peer_id=place.peer_id,
        listen_port=place.listen_port,
        api_port=place.api_port,
        node=Program(home.name, [*_NODE, "--data-dir", str(data)], str(data / "node.log")),
        house=Program(home.name + HOUSE_SUFFIX, [*_HOUSE, "--directory", str(house)], str(house / "home.log")),
    )


def _make_house(directory: Path, home: Home, api_url: str) -> None:
    """Settings, and the wallet's password, for ``ecloud home run``."""
    house, lives = _house_directory(directory, home.name), home.house
    write_private(house / _PASSWORD_FILE, PASSWORD.encode() + b"\n")
    settings = home_configuration.Configuration(
        node=home_configuration.NodeSettings(api=api_url),
        simulated=home_configuration.SimulatedSettings(
            household=lives.household,
            yearly_kwh=lives.yearly_kwh,
            solar=-1 if lives.solar is None else lives.solar,
            peak_watt=lives.peak_watt,
            start_sample=lives.start_sample,
        ),
        # Forty houses need no forty brokers; set another to see what a house publishes.
        mqtt=home_configuration.MqttSettings(broker=home_configuration.OFF),
        wallet=home_configuration.WalletSettings(
            name=home.name, directory=str(directory / WALLETS), password_file=_PASSWORD_FILE
        ),
        autopilot=home_configuration.AutopilotSettings(yearly_kwh=lives.yearly_kwh),
    )
    _write_house(house, settings)


def _write_house(house: Path, settings: home_configuration.Configuration) -> None:
    (house / home_configuration.FILE_NAME).write_text(home_configuration.render(settings), "utf-8")


def _data_directory(directory: Path, name: str) -> Path:
    return directory / HOMES / name


def _house_directory(directory: Path, name: str) -> Path:
    return directory / HOUSES / name

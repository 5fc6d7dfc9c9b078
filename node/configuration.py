"""What a node is told: TOML in its data directory, overridden by the environment, overridden by flags.

Every setting is a field below with its default, its bounds and its sentence of documentation; how they are read,
checked and written is in ``node.settings``. In the environment a setting is called ``ECLOUD_<SECTION>_<KEY>``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from node import settings
from node.settings import ConfigurationError
from node.settings import setting as _setting
from p2p.addresses import parse_address, parse_route
from p2p.joining import RelayRole
from p2p.network import NetworkError

__all__ = [
    "FILE_NAME",
    "LOG_LEVELS",
    "ApiSettings",
    "Configuration",
    "ConfigurationError",
    "LogSettings",
    "NetworkSettings",
    "NodeSettings",
    "StorageSettings",
    "SyncSettings",
    "load",
    "override",
    "parse",
    "parse_trusted_header",
    "render",
    "with_environment",
]

FILE_NAME: Final = "config.toml"
PREFIX: Final = "ECLOUD"
TITLE: Final = "Settings of this node. Each can also be set by ECLOUD_<SECTION>_<KEY> in the environment."
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class NetworkSettings:
    listen: tuple[str, ...] = _setting(
        ("/ip4/0.0.0.0/tcp/4001",), "multiaddrs on which other nodes reach this one; tcp/0 takes any free port"
    )
    bootstrap: tuple[str, ...] = _setting((), "full multiaddrs (with /p2p/<id>) of nodes to begin with")
    max_peers: int = _setting(48, "connections at the most", 1, 1_000)
    max_peers_per_address: int = _setting(
        16, "inbound connections from one IPv4 address or one IPv6 /64; without meaning on loopback", 1, 1_000
    )
    wanted_peers: int = _setting(8, "connections it looks for by itself among the peers it hears of", 0, 1_000)
    peer_exchange: bool = _setting(True, "whether it tells connected peers where it is, and asks whom they know")
    announce: tuple[str, ...] = _setting(
        (),
        "multiaddrs under which others reach this node, where it cannot find out itself; it is then dialled directly",
    )
    local_discovery: bool = _setting(True, "whether it finds nodes of its network in the home by multicast DNS")
    map_port: bool = _setting(True, "whether it asks the home's router by UPnP to let others in")
    dht: bool = _setting(
        False, "whether it finds homes of its network in a Kademlia DHT of others, by a server in network.bootstrap"
    )
    relay: str = _setting(
        "auto",
        "auto: relays for others if it can be dialled, is relayed if not; serve: relays; off: neither",
        choices=tuple(role.value for role in RelayRole),
    )


@dataclass(frozen=True)
class ApiSettings:
    host: str = _setting("127.0.0.1", "where the local API listens: a loopback address")
    port: int = _setting(4080, "its port; 0 takes any free one", 0, 65_535)
    unix_socket: bool = _setting(True, "whether the API is also served on api.sock in the data directory")


@dataclass(frozen=True)
class NodeSettings:
    mempool_bytes: int = _setting(
        32 * 1024 * 1024, "transactions that may wait for a block, in bytes", 64 * 1024, 1024**3
    )
    clock_skew_ms: int = _setting(0, "added to the clock, to see how the network copes", -3_600_000, 3_600_000)
    halt_height: int = _setting(0, "stop taking part after this height; 0 never", 0, 2**53)


@dataclass(frozen=True)
class StorageSettings:
    retention: str = _setting(
        "archive",
        "archive: every block is kept; pruned: the last keep_blocks and the state",
        choices=("archive", "pruned"),
    )
    keep_blocks: int = _setting(5_760, "blocks that a pruned node keeps", 256, 2**53)


@dataclass(frozen=True)
class SyncSettings:
    mode: str = _setting(
        "full",
        "full: every block from the genesis on is executed; fast: a new node begins with a recent state",
        choices=("full", "fast"),
    )
    trusted_header: str = _setting(
        "", "HASH@HEIGHT of a block that fast sync may trust; empty: what two peers tell alike"
    )


@dataclass(frozen=True)
class LogSettings:
    level: str = _setting("info", "debug, info, warning or error", choices=LOG_LEVELS)
    json: bool = _setting(False, "one JSON object a line instead of text")


@dataclass(frozen=True)
class Configuration:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    node: NodeSettings = field(default_factory=NodeSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    log: LogSettings = field(default_factory=LogSettings)


ADDRESS_CHARACTERS: Final = re.compile(r"[0-9A-Za-z.:/_-]*")


def parse_trusted_header(text: str) -> tuple[bytes, int] | None:
    """Block hash and height of ``HASH@HEIGHT``; None for anything else."""
    found = re.fullmatch(r"([0-9a-fA-F]{64})@([1-9][0-9]{0,15})", text)
    return None if found is None else (bytes.fromhex(found[1]), int(found[2]))


def load(directory: Path, environment: Mapping[str, str] | None = None) -> Configuration:
    """Reads ``config.toml`` of a data directory, if there is one, and the environment. Errors: ConfigurationError."""
    found = os.environ if environment is None else environment
    return settings.load(Configuration, directory / FILE_NAME, found, PREFIX, _check_meaning)


def parse(text: str, source: str = FILE_NAME) -> Configuration:
    """Checks a whole file. Errors: ConfigurationError."""
    return settings.parse(Configuration, text, source, _check_meaning)


def with_environment(configuration: Configuration, environment: Mapping[str, str]) -> Configuration:
    """Applies ``ECLOUD_<SECTION>_<KEY>``; lists are separated by commas. Errors: ConfigurationError."""
    return settings.with_environment(configuration, environment, PREFIX, _check_meaning)


def override(configuration: Configuration, section: str, **values: Any) -> Configuration:
    """Applies flags; a value of None leaves what there is. Errors: ConfigurationError."""
    return settings.override(configuration, section, values, _check_meaning)


def render(configuration: Configuration) -> str:
    """A complete, commented file."""
    return settings.render(configuration, TITLE)


def _check_meaning(key: str, value: Any, where: str) -> None:
    if key in {"listen", "bootstrap", "announce"}:
        for address in value:
            _check_address(key, address, where)
    if key == "host":
        try:
            loopback = ip_address(value).is_loopback
        except ValueError:
            loopback = value == "localhost"
        if not loopback:
            raise ConfigurationError(
                f"{where}: host = {value!r}: the local API listens on a loopback address only, 127.0.0.1 or ::1"
            )
    if key == "trusted_header" and value and parse_trusted_header(value) is None:
        raise ConfigurationError(f"{where}: {value!r} is not HASH@HEIGHT, 64 hexadecimal digits, @ and a number")


def _check_address(key: str, text: str, where: str) -> None:
    like = "/ip4/192.168.1.20/tcp/4001" + ("/p2p/12D3KooW…" if key == "bootstrap" else "")
    try:
        if not ADDRESS_CHARACTERS.fullmatch(text):
            raise NetworkError("a character that no address has")  # noqa: TRY301 - told like the errors of the parsers
        address = parse_route(text)[1] if key == "bootstrap" else parse_address(text)
    except NetworkError as error:
        raise ConfigurationError(f"{where}: {text!r} is not a multiaddr like {like}") from error
    if key != "bootstrap" and address.peer is not None:
        raise ConfigurationError(f"{where}: {text!r} names a peer; here an address is like {like}")

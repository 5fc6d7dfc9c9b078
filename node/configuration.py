"""What a node is told: TOML in its data directory, overridden by the environment, overridden by flags.

1. Every setting is a field below with its default, its bounds and its sentence of documentation; ``render`` writes a
   complete file from them, so the file and this module cannot disagree.
2. A wrong file is refused whole, with the line that is wrong and what would be right.
3. ``ECLOUD_<SECTION>_<KEY>`` in the environment overrides the file; a flag overrides both.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from p2p.addresses import parse_address, parse_route
from p2p.joining import RelayRole
from p2p.network import NetworkError

FILE_NAME: Final = "config.toml"


class ConfigurationError(ValueError):
    """The configuration is wrong; the message has the file, the line, and what would be right."""


def _setting(default: Any, about: str, smallest: int | None = None, largest: int | None = None) -> Any:
    metadata = {"about": about, "smallest": smallest, "largest": largest}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


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
        "auto", "auto: relays for others if it can be dialled, is relayed if not; serve: relays; off: neither"
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
    retention: str = _setting("archive", "archive: every block is kept; pruned: the last keep_blocks and the state")
    keep_blocks: int = _setting(5_760, "blocks that a pruned node keeps", 256, 2**53)


@dataclass(frozen=True)
class SyncSettings:
    mode: str = _setting(
        "full", "full: every block from the genesis on is executed; fast: a new node begins with a recent state"
    )
    trusted_header: str = _setting(
        "", "HASH@HEIGHT of a block that fast sync may trust; empty: what two peers tell alike"
    )


@dataclass(frozen=True)
class LogSettings:
    level: str = _setting("info", "debug, info, warning or error")
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
RELAY_ROLES: Final = tuple(role.value for role in RelayRole)
CHOICES: Final = {"retention": ("archive", "pruned"), "mode": ("full", "fast")}
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def parse_trusted_header(text: str) -> tuple[bytes, int] | None:
    """Block hash and height of ``HASH@HEIGHT``; None for anything else."""
    found = re.fullmatch(r"([0-9a-fA-F]{64})@([1-9][0-9]{0,15})", text)
    return None if found is None else (bytes.fromhex(found[1]), int(found[2]))


def load(directory: Path, environment: Mapping[str, str] | None = None) -> Configuration:
    """Reads ``config.toml`` of a data directory, if there is one, and the environment. Errors: ConfigurationError."""
    path = directory / FILE_NAME
    try:
        text = path.read_text("utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}; give the node's user this file") from error
    configuration = parse(text, str(path))
    return with_environment(configuration, os.environ if environment is None else environment)


def parse(text: str, source: str = FILE_NAME) -> Configuration:
    """Checks a whole file. Errors: ConfigurationError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{source}: not TOML: {error}; each line is key = value, texts in quotes, lists in brackets"
        ) from error
    sections: dict[str, Any] = {}
    known = {section.name: section for section in fields(Configuration)}
    for name, table in document.items():
        where = f"{source}, line {_line_of(text, None, name)}"
        if name not in known:
            raise ConfigurationError(f"{where}: no section [{name}]; there are {_listing(known)}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{where}: {name} is a section: write [{name}] on a line of its own")
        settings = getattr(Configuration(), name)
        for key, value in table.items():
            settings = _set(settings, key, value, f"{source}, line {_line_of(text, name, key)}")
        sections[name] = settings
    return Configuration(**sections)


def with_environment(configuration: Configuration, environment: Mapping[str, str]) -> Configuration:
    """Applies ``ECLOUD_<SECTION>_<KEY>``; lists are separated by commas. Errors: ConfigurationError."""
    sections: dict[str, Any] = {}
    for section in fields(configuration):
        settings = getattr(configuration, section.name)
        prefix = f"ECLOUD_{section.name}_".upper()
        for name in environment:
            if name.startswith(prefix) and name.removeprefix(prefix).lower() not in vars(settings):
                raise ConfigurationError(
                    f"environment variable {name}: no such setting; there are {_listing(vars(settings))}"
                )
        for setting in fields(settings):
            name = f"ECLOUD_{section.name}_{setting.name}".upper()
            if name in environment:
                value = _from_text(environment[name], getattr(settings, setting.name), name)
                settings = _set(settings, setting.name, value, f"environment variable {name}")
        sections[section.name] = settings
    return Configuration(**sections)


def override(configuration: Configuration, section: str, **values: Any) -> Configuration:
    """Applies flags; a value of None leaves what there is. Errors: ConfigurationError."""
    settings = getattr(configuration, section)
    for key, value in values.items():
        if value is not None:
            settings = _set(settings, key, value, f"--{key.replace('_', '-')}")
    return replace(configuration, **{section: settings})


def render(configuration: Configuration) -> str:
    """A complete, commented file."""
    lines = ["# Settings of this node. Each can also be set by ECLOUD_<SECTION>_<KEY> in the environment.", ""]
    for section in fields(configuration):
        settings = getattr(configuration, section.name)
        lines.append(f"[{section.name}]")
        for setting in fields(settings):
            lines.append(f"# {setting.metadata['about']}")
            lines.append(f"{setting.name} = {_toml(getattr(settings, setting.name))}")
        lines.append("")
    return "\n".join(lines)


def _set(settings: Any, key: str, value: Any, where: str) -> Any:
    known = {setting.name: setting for setting in fields(settings)}
    if key not in known:
        raise ConfigurationError(f"{where}: no setting {key!r}; there are {_listing(known)}")
    metadata, present = known[key].metadata, getattr(settings, key)
    if isinstance(present, tuple):
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(
                f"{where}: {key} is a list of texts, for instance {key} = {_toml(present or ('',))}"
            )
        value = tuple(value)
    elif type(value) is not type(present):
        kind = {bool: "true or false", int: "a whole number", str: "a text in quotes"}[type(present)]
        raise ConfigurationError(f"{where}: {key} = {value!r}: expected {kind}, for instance {_toml(present)}")
    smallest, largest = metadata["smallest"], metadata["largest"]
    if smallest is not None and not smallest <= value <= largest:
        raise ConfigurationError(f"{where}: {key} = {value} is outside {smallest} … {largest}")
    _check_meaning(key, value, where)
    return replace(settings, **{key: value})


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
    if key == "relay" and value not in RELAY_ROLES:
        raise ConfigurationError(f"{where}: relay = {value!r}; there are {', '.join(RELAY_ROLES)}")
    if key in CHOICES and value not in CHOICES[key]:
        raise ConfigurationError(f"{where}: {key} = {value!r}; there are {', '.join(CHOICES[key])}")
    if key == "trusted_header" and value and parse_trusted_header(value) is None:
        raise ConfigurationError(f"{where}: {value!r} is not HASH@HEIGHT, 64 hexadecimal digits, @ and a number")
    if key == "level" and value not in LOG_LEVELS:
        raise ConfigurationError(f"{where}: level = {value!r}; there are {', '.join(LOG_LEVELS)}")


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


def _from_text(text: str, present: Any, where: str) -> Any:
    if isinstance(present, tuple):
        return [part for part in text.split(",") if part]
    if isinstance(present, bool):
        if text.lower() not in {"true", "false", "1", "0"}:
            raise ConfigurationError(f"{where} = {text!r}: expected true or false")
        return text.lower() in {"true", "1"}
    if isinstance(present, int):
        try:
            return int(text)
        except ValueError as error:
            raise ConfigurationError(f"{where} = {text!r}: expected a whole number") from error
    return text


def _line_of(text: str, section: str | None, key: str) -> int:
    """The line on which a section begins, or a key of it is set; 1 where it cannot be told."""
    inside = section is None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([\w.\"-]+)\s*\]+", line)
        if header:
            inside = section is None or header[1] == section
            if section is None and header[1].split(".")[0] == key:
                return number
        elif inside and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
            return number
    for number, line in enumerate(text.splitlines(), 1):  # section = { key = … }, or section.key = …
        if re.match(rf"\s*\"?{re.escape(section or key)}\"?\s*[.=].*{re.escape(key)}", line):
            return number
    return 1


def _listing(names: Mapping[str, Any]) -> str:
    return ", ".join(names)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)

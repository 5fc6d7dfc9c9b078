"""A network described in TOML: who founds it, where, by which numbers. ``ecloud network new`` reads it.

    name = "Mill Lane"
    grid_reserve = 1_000_000                # GRID set aside for rewards; optional
    time = 2026-05-01T00:00:00Z             # when the chain begins; now if left out

    [parameters]                            # of ledger.parameters, those that differ from the defaults

    [[feeders]]
    name = "F1"
    substation = "S"

    [[members]]
    name = "anne"
    feeder = "F1"
    roles = ["approver"]                    # approver, issuer, gateway, arbitrator
    watt = "1000"                           # as text where it has decimals
    grid = 1000
    account = "ec…"                         # whose key was made elsewhere; else a wallet is made here
    node_key = "…hex…"                      # likewise; else a node's directory is made here, unless node = false
    listen = ["/ip4/0.0.0.0/tcp/4001"]      # of the node made here
    api_port = 4080

    [members.meter]
    kind = "solar"                          # load, solar, wind, battery, mixed
    import_w = 17250
    export_w = 9800
    storage_wh = 0
    key = "…hex…"                           # whose key was made elsewhere; else one is made here

1. Nothing is assumed of a key that is not known: it is refused with the line, and what there is.
2. What the file says is checked here, with the line; what only all of it together shows, by ``found_network``.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ledger.keys import AddressError, parse_address
from ledger.parameters import BOUNDS, Parameters
from ledger.records import MeterKind, Role
from ledger.refusal import TransactionRefused
from ledger.registry import MAX_NAMEPLATE_W, MAX_STORAGE_WH, check_name
from node.client.format import AmountError, parse_grid, parse_watt
from node.configuration import Configuration, ConfigurationError, override

MAX_FILE_BYTES: Final = 1024 * 1024
DEFAULT_CONNECTION_W: Final = 17_250
"""Three phases of 25 A at 230 V."""
FIRST_LISTEN_PORT: Final = 4001
FIRST_API_PORT: Final = 4080

T = TypeVar("T")
Place = tuple[str | int, ...]


class PlanError(ValueError):
    """The description is no network's; the message has the file, the line, and what would be right."""


@dataclass(frozen=True, slots=True)
class PlannedMeter:
    """``key`` None: made here."""

    kind: MeterKind
    import_w: int
    export_w: int
    storage_wh: int
    key: bytes | None


@dataclass(frozen=True, slots=True)
class PlannedMember:
    """``account`` None: a wallet is made here. ``configuration`` None: no node's directory is made here; then
    ``node_key`` may name one made elsewhere.
    """

    name: str
    feeder: str
    roles: Role
    watt_uwatt: int
    grid_ugrid: int
    account: bytes | None
    node_key: bytes | None
    meter: PlannedMeter | None
    configuration: Configuration | None


@dataclass(frozen=True, slots=True)
class Plan:
    """``time_ms`` None: now."""

    name: str
    time_ms: int | None
    parameters: Parameters
    grid_reserve_ugrid: int
    feeders: tuple[tuple[str, str], ...]
    members: tuple[PlannedMember, ...]


def load_plan(path: Path) -> tuple[str, Plan]:
    """The file's text and what it says. Errors: PlanError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise PlanError(f"{path} has more than {MAX_FILE_BYTES} bytes: it cannot be a network's description")
        text = content.decode("utf-8")
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise PlanError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error
    return text, parse_plan(text, str(path))


def parse_plan(text: str, source: str) -> Plan:
    """Errors: PlanError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(
            f"{source}: not TOML: {error}; each line is key = value, texts in quotes, lists in brackets"
        ) from error
    top = _Table(document, (), _Lines(text, source))
    feeders = [_feeder(one) for one in top.tables("feeders", "[[feeders]] with name and substation")]
    known = {name for name, _ in feeders}
    members = top.tables("members", "[[members]] with name and feeder")
    listeners = sum(_runs_node(one.content) for one in members)
    made: list[PlannedMember] = []
    for member in members:
        number = sum(one.configuration is not None for one in made)
        made.append(_member(member, known, number, listeners))
    plan = Plan(
        name=top.text("name"),
        time_ms=top.maybe("time", top.moment),
        parameters=_parameters(top.table("parameters")),
        grid_reserve_ugrid=top.amount("grid_reserve", parse_grid),
        feeders=tuple(feeders),
        members=tuple(made),
    )
    top.nothing_else()
    return plan


def _runs_node(member: Mapping[str, Any]) -> bool:
    return member.get("node", True) is not False and "node_key" not in member


def _feeder(table: _Table) -> tuple[str, str]:
    found = table.text("name"), table.text("substation")
    table.nothing_else()
    return found


def _member(table: _Table, feeders: set[str], number: int, listeners: int) -> PlannedMember:
    """``number``: how many nodes are made before this one's."""
    name = table.text("name")
    try:
        check_name(name)
    except TransactionRefused as refused:
        raise table.wrong("name", f"name = {name!r}: {refused.detail}") from refused
    feeder = table.text("feeder")
    if feeder not in feeders:
        raise table.wrong("feeder", f"no feeder is called {feeder!r}; there are: {', '.join(sorted(feeders))}")
    node_key = table.maybe("node_key", table.key)
    wants_node = table.flag("node", default=node_key is None)
    if wants_node and node_key is not None:
        raise table.wrong("node", "node = true makes a node with a key of its own; leave out node_key or this line")
    member = PlannedMember(
        name=name,
        feeder=feeder,
        roles=_roles(table),
        watt_uwatt=table.amount("watt", parse_watt),
        grid_ugrid=table.amount("grid", parse_grid),
        account=table.maybe("account", table.account),
        node_key=node_key,
        meter=_meter(table.table("meter")) if "meter" in table.content else None,
        configuration=_configuration(table, number, listeners) if wants_node else None,
    )
    table.nothing_else(("listen", "api_port"))
    return member


def _roles(table: _Table) -> Role:
    roles = Role(0)
    known = {role.name.lower(): role for role in Role if role.name is not None}
    for word in table.texts("roles"):
        if word not in known:
            raise table.wrong("roles", f"no role is called {word!r}; there are: {', '.join(known)}")
        roles |= known[word]
    return roles


def _meter(table: _Table) -> PlannedMeter:
    word = table.text("kind")
    kinds = {kind.name.lower(): kind for kind in MeterKind}
    if word not in kinds:
        raise table.wrong("kind", f"no meter is of kind {word!r}; there are: {', '.join(kinds)}")
    meter = PlannedMeter(
        kind=kinds[word],
        import_w=table.number("import_w", 0, MAX_NAMEPLATE_W, DEFAULT_CONNECTION_W),
        export_w=table.number("export_w", 0, MAX_NAMEPLATE_W, 0),
        storage_wh=table.number("storage_wh", 0, MAX_STORAGE_WH, 0),
        key=table.maybe("key", table.key),
    )
    table.nothing_else()
    return meter


def _configuration(table: _Table, number: int, listeners: int) -> Configuration:
    """Where nothing else is said, several nodes of one machine listen on ports that follow each other."""
    default = [f"/ip4/0.0.0.0/tcp/{FIRST_LISTEN_PORT + number}"]
    listen = table.texts("listen") or default
    port = table.number("api_port", 0, 65_535, FIRST_API_PORT + (number if listeners > 1 else 0))
    configuration = Configuration()
    for key, section, values in (("listen", "network", {"listen": tuple(listen)}), ("api_port", "api", {"port": port})):
        try:
            configuration = override(configuration, section, **values)
        except ConfigurationError as error:
            raise table.wrong(key, str(error).removeprefix("--listen: ")) from error
    return configuration


def _parameters(table: _Table) -> Parameters:
    values = {}
    for name, value in table.content.items():
        if name not in BOUNDS:
            raise table.wrong(name, f"no parameter is called {name!r}{_nearest(name, BOUNDS)}")
        smallest, largest = BOUNDS[name]
        values[name] = table.number(name, smallest, largest, value)
    parameters = msgspec.structs.replace(Parameters(), **values)
    if parameters.committee_delay_blocks >= parameters.epoch_blocks:
        key = "epoch_blocks" if "epoch_blocks" in values else "committee_delay_blocks"
        raise table.wrong(
            key,
            f"committee_delay_blocks = {parameters.committee_delay_blocks} must be less than epoch_blocks = "
            f"{parameters.epoch_blocks}",
        )
    return parameters


class _Table:
    """A table of the document, read key by key; every error has the line."""

    def __init__(self, content: Mapping[str, Any], place: Place, lines: _Lines) -> None:
        self.content = content
        self._place = place
        self._lines = lines
        self._read: set[str] = set()

    def wrong(self, key: str, sentence: str) -> PlanError:
        return PlanError(f"{self._lines.where((*self._place, key))}: {sentence}")

    def nothing_else(self, also: Iterable[str] = ()) -> None:
        """Errors: PlanError for a key that nothing has asked for."""
        known = self._read | set(also)
        for key in self.content:
            if key not in known:
                raise self.wrong(key, f"nothing is called {key!r} here{_nearest(key, known)}")

    def maybe(self, key: str, read: Callable[[str], T]) -> T | None:
        self._read.add(key)
        return read(key) if key in self.content else None

    def text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, f'{key} = {value!r}: expected a text in quotes, for instance {key} = "F1"')
        return value

    def texts(self, key: str) -> list[str]:
        self._read.add(key)
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, f'{key} = {value!r}: expected a list of texts, for instance {key} = ["…"]')
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        self._read.add(key)
        value = self.content.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"{key} = {value!r}: expected true or false")
        return value

    def number(self, key: str, smallest: int, largest: int, default: int) -> int:
        self._read.add(key)
        value = self.content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(key, f"{key} = {value!r}: expected a whole number without quotes")
        if not smallest <= value <= largest:
            raise self.wrong(key, f"{key} = {value} is outside {smallest} … {largest}")
        return value

    def amount(self, key: str, parse: Callable[[str], int]) -> int:
        """In the unit's smallest parts; 0 if it is not there."""
        self._read.add(key)
        value = self.content.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self.wrong(key, f'{key} = {value!r}: write an amount with decimals as text, {key} = "12.50"')
        try:
            return parse(str(value))
        except AmountError as error:
            raise self.wrong(key, f"{key}: {error}") from error

    def moment(self, key: str) -> int:
        """In ms since 1970 UTC."""
        value = self._value(key)
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise self.wrong(key, f"{key} = {value!r}: expected a moment with its zone, {key} = 2026-05-01T00:00:00Z")
        return round(value.timestamp() * 1000)

    def key(self, key: str) -> bytes:
        value = self._value(key)
        try:
            found = bytes.fromhex(value) if isinstance(value, str) else b""
        except ValueError:
            found = b""
        if len(found) != 32:
            raise self.wrong(key, f"{key} = {value!r}: expected a public key, 64 hexadecimal digits in quotes")
        return found

    def account(self, key: str) -> bytes:
        value = self.text(key)
        try:
            return parse_address(value)
        except AddressError as error:
            raise self.wrong(key, f"{key} = {value!r}: {error}; ecloud wallet list shows a wallet's") from error

    def table(self, key: str) -> _Table:
        """Empty if it is not there."""
        self._read.add(key)
        value = self.content.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"{key} is a table: write [{'.'.join(str(part) for part in self._names(key))}]")
        return _Table(value, (*self._place, key), self._lines)

    def tables(self, key: str, what: str) -> list[_Table]:
        """At least one. Errors: PlanError."""
        self._read.add(key)
        value = self.content.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, f"at least one table is needed: {what}")
        return [_Table(item, (*self._place, key, place), self._lines) for place, item in enumerate(value)]

    def _names(self, key: str) -> list[str]:
        return [part for part in (*self._place, key) if isinstance(part, str)]

    def _value(self, key: str) -> Any:
        self._read.add(key)
        if key not in self.content:
            raise self.wrong(key, f"{key} is missing")
        return self.content[key]


class _Lines:
    """On which line what is set: by its keys, and the numbers of arrays' tables. tomllib does not tell."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._lines: dict[Place, int] = {}
        counts: dict[Place, int] = {}
        inside: Place = ()
        for number, line in enumerate(text.splitlines(), 1):
            header = re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line)
            key = re.match(r"\s*([\w\"'.-]+?)\s*=", line)
            if header is not None:
                inside = ()
                names = [part.strip().strip("\"'") for part in header[2].split(".")]
                for depth, name in enumerate(names, 1):
                    inside = (*inside, name)
                    if header[1] == "[[" and depth == len(names):
                        counts[inside] = counts.get(inside, -1) + 1
                    if inside in counts:
                        inside = (*inside, counts[inside])
                self._lines.setdefault(inside, number)
                if isinstance(inside[-1], int):
                    self._lines.setdefault(inside[:-1], number)
            elif key is not None:
                names = [part.strip().strip("\"'") for part in key[1].split(".")]
                for depth in range(1, len(names) + 1):
                    self._lines.setdefault((*inside, *names[:depth]), number)

    def where(self, place: Place) -> str:
        """The line of what is there, else of what it is missing in."""
        for length in range(len(place), 0, -1):
            if place[:length] in self._lines:
                return f"{self._source}, line {self._lines[place[:length]]}"
        return self._source


def _nearest(word: str, known: Iterable[str]) -> str:
    ordered = sorted(known)
    near = difflib.get_close_matches(word, ordered, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(ordered)}"

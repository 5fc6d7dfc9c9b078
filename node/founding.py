"""Making a network, and the data directory of a node that takes part in it.

1. A network is planned with names; ``found_network`` turns the plan into its genesis, checked as the ledger checks it.
2. A data directory holds ``genesis.cbor``, ``config.toml``, ``node.key`` (0600) and ``api.token`` (0600). The node adds
   the rest: ``chain/``, ``journal/``, ``mempool.log``, ``peers.cbor``, ``api.sock``, ``api.url``.
3. ``make_network`` makes the genesis and the data directories of the nodes that begin with it, all or none.
4. Nothing that is there is overwritten: a directory with one of the four files is refused as taken, untouched. The
   node's key is written last, so that a directory without it was not finished, and can be removed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.encoding import EncodingError, decode, encode
from ledger.genesis import Genesis, GenesisError, GenesisFeeder, GenesisMember, chain_id, check_genesis
from ledger.keys import SigningKey
from ledger.parameters import Parameters
from ledger.records import MeterKind, MeterRole, Role, RuleTarget, VotingRule
from ledger.transactions import RegisterMeter
from node.chain import MAX_GENESIS_BYTES
from node.client.connection import TOKEN_NAME
from node.configuration import FILE_NAME, Configuration, render
from node.key_files import SEED_BYTES, make_private_directory, write_private
from storage.journal import Journal

GENESIS_NAME: Final = "genesis.cbor"
NODE_KEY_NAME: Final = "node.key"
TOKEN_BYTES: Final = 32
NO_ROLES: Final = Role(0)


class FoundingError(Exception):
    """The network or the data directory cannot be made; the message says what to do about it."""


class BadPlan(FoundingError):
    """The plan is no network's beginning."""


class DirectoryTaken(FoundingError):
    """The directory to be made holds a node's files already."""


class NoDataDirectory(FoundingError):
    """The directory holds no node's files."""


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """A connection meter whose registers begin at 0. Nameplates in W, storage in Wh."""

    key: bytes
    kind: MeterKind
    import_nameplate_w: int
    export_nameplate_w: int
    storage_capacity_wh: int = 0


@dataclass(frozen=True, slots=True)
class VotingPlan:
    """Of minted votes keep ``keep_bps``; ``cast`` the rest to members by name, in basis points that sum to 10,000."""

    keep_bps: int
    cast: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """``account`` and ``node_key`` are public keys, 32 bytes; without a node key the member is no candidate."""

    name: str
    feeder: str
    account: bytes
    node_key: bytes | None = None
    roles: Role = NO_ROLES
    watt_uwatt: int = 0
    grid_ugrid: int = 0
    meter: MeterPlan | None = None
    voting: VotingPlan | None = None


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """``feeders``: (feeder, substation). The GRID supply is what the members hold and the reserve."""

    name: str
    time_ms: int
    parameters: Parameters
    feeders: tuple[tuple[str, str], ...]
    members: tuple[MemberPlan, ...]
    grid_reserve_ugrid: int = 0


def found_network(plan: NetworkPlan) -> Genesis:
    """Errors: BadPlan."""
    accounts = {member.name: member.account for member in plan.members}
    genesis = Genesis(
        name=plan.name,
        time_ms=plan.time_ms,
        parameters=plan.parameters,
        feeders=tuple(GenesisFeeder(name=feeder, substation=substation) for feeder, substation in plan.feeders),
        members=tuple(_genesis_member(member, accounts) for member in plan.members),
        meters=tuple(_registration(member.account, member.meter) for member in plan.members if member.meter),
        grid_supply_ugrid=sum(member.grid_ugrid for member in plan.members) + plan.grid_reserve_ugrid,
        grid_reserve_ugrid=plan.grid_reserve_ugrid,
    )
    try:
        check_genesis(genesis)
    except GenesisError as error:
        raise BadPlan(str(error)) from error
    return genesis


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A data directory to be made; ``node_seed`` as for ``initialise_node``."""

    directory: Path
    node_seed: bytes
    configuration: Configuration


def make_network(plan: NetworkPlan, nodes: Sequence[NodePlan]) -> Genesis:
    """Founds a network and makes the data directories of nodes of it; where one fails, none is left behind.

    Errors: BadPlan; as ``initialise_node``.
    """
    genesis = found_network(plan)
    document = encode(genesis)
    made: list[Path] = []
    try:
        for node in nodes:
            initialise_node(node.directory, document, node.configuration, node.node_seed)
            made.append(node.directory)
    except BaseException:
        for directory in made:
            shutil.rmtree(directory, ignore_errors=True)
        raise
    return genesis


def read_genesis(directory: Path) -> tuple[bytes, Genesis]:
    """The genesis of a data directory, as it is stored and decoded. Errors: NoDataDirectory, BadPlan if damaged."""
    path = directory / GENESIS_NAME
    try:
        with path.open("rb") as file:
            document = file.read(MAX_GENESIS_BYTES + 1)
    except FileNotFoundError as error:
        raise NoDataDirectory(f"{directory} holds no node: make one with: ecloud node init") from error
    return document, _decoded(document, str(path))


def initialise_node(directory: Path, genesis: bytes, configuration: Configuration, node_seed: bytes) -> None:
    """Makes a data directory; its parents too. ``node_seed``: the 32-byte seed of a key that has never voted, so that
    the journal made here is complete from the beginning.

    Errors: DirectoryTaken, BadPlan for what is no genesis; OSError of the file system; StorageError.
    """
    assert len(node_seed) == SEED_BYTES
    chain = chain_id(_decoded(genesis, "the genesis"))
    for name in (GENESIS_NAME, FILE_NAME, NODE_KEY_NAME, TOKEN_NAME):
        if (directory / name).exists():
            raise DirectoryTaken(
                f"{directory / name} is there already, and is not overwritten: choose another directory; one without "
                f"{NODE_KEY_NAME} was left unfinished and can be removed"
            )
    make_private_directory(directory)
    _replace(directory / GENESIS_NAME, genesis)
    write_configuration(directory, configuration)
    write_private(directory / TOKEN_NAME, secrets.token_hex(TOKEN_BYTES).encode("ascii") + b"\n")
    journal = Journal.open(directory, chain_id=chain)
    journal.trust(SigningKey(node_seed).public_key)
    journal.close()
    write_private(directory / NODE_KEY_NAME, node_seed.hex().encode("ascii") + b"\n")


def write_configuration(directory: Path, configuration: Configuration) -> None:
    """Replaces ``config.toml`` whole."""
    _replace(directory / FILE_NAME, render(configuration).encode("utf-8"))


def _genesis_member(member: MemberPlan, accounts: dict[str, bytes]) -> GenesisMember:
    return GenesisMember(
        account=member.account,
        name=member.name,
        roles=int(member.roles),
        feeder=member.feeder,
        node_key=member.node_key,
        watt_uwatt=member.watt_uwatt,
        grid_ugrid=member.grid_ugrid,
        voting_rule=None if member.voting is None else _voting_rule(member.name, member.voting, accounts),
    )


def _voting_rule(owner: str, plan: VotingPlan, accounts: dict[str, bytes]) -> VotingRule:
    """Errors: BadPlan."""
    unknown = [name for name, _ in plan.cast if name not in accounts]
    if unknown:
        raise BadPlan(f"voting rule of {owner!r}: no member is called {unknown[0]!r}; there are {sorted(accounts)}")
    targets = tuple(RuleTarget(candidate=accounts[name], share_bps=share_bps) for name, share_bps in plan.cast)
    return VotingRule(keep_bps=plan.keep_bps, targets=targets)


def _registration(owner: bytes, meter: MeterPlan) -> RegisterMeter:
    return RegisterMeter(
        meter=meter.key,
        owner=owner,
        kind=int(meter.kind),
        role=int(MeterRole.CONNECTION),
        import_nameplate_w=meter.import_nameplate_w,
        export_nameplate_w=meter.export_nameplate_w,
        storage_capacity_wh=meter.storage_capacity_wh,
        import_wh=0,
        export_wh=0,
    )


def _decoded(document: bytes, what: str) -> Genesis:
    """Errors: BadPlan."""
    try:
        genesis = decode(document, Genesis, MAX_GENESIS_BYTES)
        check_genesis(genesis)
    except (EncodingError, GenesisError) as error:
        raise BadPlan(f"{what} is no genesis: {error}; get it anew from a member of the network") from error
    return genesis


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all, also through a crash."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

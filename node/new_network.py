"""Making a network from its plan: what ``ecloud network new`` does.

1. A member's account is the one the plan names, else that of the wallet with the member's name, else a new wallet's.
2. The directory gets ``genesis.cbor``, ``network.toml`` (the plan as it was written), and a node's data directory
   ``homes/NAME`` for every member whose node is made here, with ``meter.key`` in it where its meter's key is made here
   too. Nodes made here know each other's addresses on this machine.
3. All or nothing: everything is made beside the directory and moved there at the end; where something fails, it is
   removed, new wallets too, since nobody has seen their words.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ledger.encoding import encode
from ledger.genesis import Genesis, chain_id
from ledger.keys import SigningKey
from node.configuration import Configuration
from node.founding import (
    GENESIS_NAME,
    DirectoryTaken,
    FoundingError,
    MemberPlan,
    MeterPlan,
    NetworkPlan,
    NodePlan,
    found_network,
    make_network,
)
from node.key_files import SEED_BYTES, make_private_directory, write_private
from node.keystore import MODERATE, Cost, Keystore, Wallet
from node.network_plan import Plan, PlannedMember
from p2p.addresses import parse_address
from p2p.peer_identity import peer_id_from_public_key

PLAN_NAME: Final = "network.toml"
METER_KEY_NAME: Final = "meter.key"
HOMES: Final = "homes"
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (read, not bound)


@dataclass(frozen=True, slots=True)
class MadeMember:
    """``wallet`` None: the account was named in the plan. ``mnemonic``: the words of a wallet made here, else None.
    ``directory`` None: no node of this member was made here.
    """

    name: str
    account: bytes
    wallet: Wallet | None
    mnemonic: str | None
    directory: Path | None


@dataclass(frozen=True, slots=True)
class MadeNetwork:
    directory: Path
    genesis: Genesis
    members: tuple[MadeMember, ...]

    @property
    def chain_id(self) -> bytes:
        return chain_id(self.genesis)


@dataclass(frozen=True, slots=True)
class _Seeds:
    node: bytes | None
    meter: bytes | None


def make_planned_network(
    directory: Path,
    plan: Plan,
    text: str,
    keystore: Keystore,
    password_for: Callable[[str], str],
    now_ms: int,
    cost: Cost = MODERATE,
) -> MadeNetwork:
    """``password_for`` is asked once for the name of each wallet that has to be made, when nothing else can go wrong.

    Errors: FoundingError, KeyFileError; OSError of the file system; StorageError.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DirectoryTaken(f"{directory} is there already and not empty: choose another directory")
    if not any(member.configuration or member.node_key for member in plan.members):
        raise FoundingError("nobody runs a node: nobody could produce a block; leave out node = false for one member")
    seeds = [_make_seeds(member) for member in plan.members]
    found = {member.name: _wallet(keystore, member) for member in plan.members}
    stand_ins = [_account(member, found[member.name]) or secrets.token_bytes(SEED_BYTES) for member in plan.members]
    found_network(_network_plan(plan, stand_ins, seeds, now_ms))  # what is wrong is said before a password is asked for
    missing = [member.name for member in plan.members if member.account is None and found[member.name] is None]
    words: dict[str, str] = {}
    staging = directory.absolute().with_name(f".{directory.absolute().name}.{secrets.token_hex(4)}")
    try:
        for name in missing:
            words[name] = keystore.create(name, password_for(name), cost).mnemonic
            found[name] = keystore.show(name)
        accounts = [_account(member, found[member.name]) for member in plan.members]
        network = _network_plan(plan, [account for account in accounts if account is not None], seeds, now_ms)
        genesis = _write(staging, plan, text, network, seeds)
        make_private_directory(directory.absolute().parent)
        staging.rename(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        for name in words:
            (keystore.directory / f"{name}.json").unlink(missing_ok=True)
        raise
    members = tuple(
        MadeMember(
            name=member.name,
            account=account,
            wallet=found[member.name],
            mnemonic=words.get(member.name),
            directory=None if member.configuration is None else directory / HOMES / member.name,
        )
        for member, account in zip(plan.members, (one.account for one in network.members), strict=True)
    )
    return MadeNetwork(directory, genesis, members)


def _wallet(keystore: Keystore, member: PlannedMember) -> Wallet | None:
    """The member's wallet, if it is there and needed. Errors: KeyFileError for a name that no wallet can have."""
    if member.account is not None or member.name not in keystore.names():
        if member.account is None:
            keystore.require_possible(member.name)
        return None
    return keystore.show(member.name)


def _account(member: PlannedMember, wallet: Wallet | None) -> bytes | None:
    return member.account or (None if wallet is None else wallet.public_key)


def _make_seeds(member: PlannedMember) -> _Seeds:
    makes_meter = member.meter is not None and member.meter.key is None
    if makes_meter and member.configuration is None:
        raise FoundingError(
            f"member {member.name!r}: its meter's key is to be made here, but not its node; name the meter's key"
        )
    return _Seeds(
        node=secrets.token_bytes(SEED_BYTES) if member.configuration is not None else None,
        meter=secrets.token_bytes(SEED_BYTES) if makes_meter else None,
    )


def _network_plan(plan: Plan, accounts: list[bytes], seeds: list[_Seeds], now_ms: int) -> NetworkPlan:
    return NetworkPlan(
        name=plan.name,
        time_ms=now_ms if plan.time_ms is None else plan.time_ms,
        parameters=plan.parameters,
        feeders=plan.feeders,
        members=tuple(
            MemberPlan(
                name=member.name,
                feeder=member.feeder,
                account=account,
                node_key=member.node_key if own.node is None else SigningKey(own.node).public_key,
                roles=member.roles,
                watt_uwatt=member.watt_uwatt,
                grid_ugrid=member.grid_ugrid,
                meter=_meter_plan(member, own),
            )
            for member, account, own in zip(plan.members, accounts, seeds, strict=True)
        ),
        grid_reserve_ugrid=plan.grid_reserve_ugrid,
    )


def _meter_plan(member: PlannedMember, seeds: _Seeds) -> MeterPlan | None:
    meter = member.meter
    if meter is None:
        return None
    key = meter.key or SigningKey(seeds.meter or b"").public_key
    return MeterPlan(key, meter.kind, meter.import_w, meter.export_w, meter.storage_wh)


def _write(staging: Path, plan: Plan, text: str, network: NetworkPlan, seeds: list[_Seeds]) -> Genesis:
    make_private_directory(staging)
    nodes = [
        NodePlan(staging / HOMES / member.name, own.node, _knowing_others(plan, seeds, index, member.configuration))
        for index, (member, own) in enumerate(zip(plan.members, seeds, strict=True))
        if own.node is not None and member.configuration is not None
    ]
    genesis = make_network(network, nodes)
    for member, own in zip(plan.members, seeds, strict=True):
        if own.meter is not None:
            write_private(staging / HOMES / member.name / METER_KEY_NAME, own.meter.hex().encode("ascii") + b"\n")
    (staging / GENESIS_NAME).write_bytes(encode(genesis))
    (staging / PLAN_NAME).write_text(text, "utf-8")
    descriptor = os.open(staging, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return genesis


def _knowing_others(plan: Plan, seeds: list[_Seeds], index: int, own: Configuration) -> Configuration:
    """Rule 2."""
    others = []
    for number, (member, other) in enumerate(zip(plan.members, seeds, strict=True)):
        if number == index or other.node is None or member.configuration is None:
            continue
        peer = peer_id_from_public_key(SigningKey(other.node).public_key)
        address = parse_address(member.configuration.network.listen[0])
        if address.port:
            others.append(str(replace(address, host=_EVERYWHERE.get(address.host, address.host), peer=peer)))
    return replace(own, network=replace(own.network, bootstrap=tuple(others)))

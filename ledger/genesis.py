"""The genesis: what a neighbourhood agrees on before its first block, and the state that follows from it.

1. The chain id is the hash of the genesis; the first seed follows from the chain id.
2. Members with a node key are candidates from the start, with the initial ballot as their own shares.
3. ``check_genesis`` finds what would otherwise fail later, and says what would be right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from ledger.committee import take_snapshot
from ledger.conservation import check_block
from ledger.encoding import MAX_INTEGER, Bytes32, Unsigned, Wire, encode
from ledger.execution import Execution
from ledger.keys import digest
from ledger.market.terms import tariff_of_parameters
from ledger.parameters import ParameterError, Parameters, check_parameters
from ledger.pools import found_candidate
from ledger.records import (
    ACCOUNTS,
    FEEDERS,
    GRID_RESERVE,
    MEMBERS,
    PARAMETERS,
    SETTLEMENT_PROGRESS,
    SUPPLY,
    TARIFFS,
    TIP,
    VOTING_RULES,
    Account,
    Feeder,
    GridReserve,
    MeterRole,
    Role,
    SettlementProgress,
    Supply,
    Tip,
    VotingRule,
    height_key,
)
from ledger.refusal import TransactionRefused
from ledger.registry import (
    ALL_ROLES,
    check_meter_terms,
    check_name,
    put_member,
    put_meter,
    put_node_key,
)
from ledger.state import DictReader, State
from ledger.transactions import RegisterMember, RegisterMeter
from ledger.votes import check_targets

MAX_TITLE_CHARACTERS: Final = 64
DEFAULT_CAPACITY_W: Final = 400_000
MAX_CAPACITY_W: Final = 10**9


class GenesisError(ValueError):
    """The genesis cannot be a chain's beginning; the message says what is wrong and what would be right."""


class GenesisFeeder(Wire, frozen=True):
    """``capacity_w`` is what it carries in each direction; the default is a common transformer's."""

    name: str
    substation: str
    capacity_w: Unsigned = DEFAULT_CAPACITY_W


class GenesisMember(Wire, frozen=True):
    """``node_key`` makes the member a candidate; ``voting_rule`` None leaves the default, all on oneself."""

    account: Bytes32
    name: str
    roles: Unsigned
    feeder: str
    node_key: Bytes32 | None
    watt_uwatt: Unsigned
    grid_ugrid: Unsigned
    voting_rule: VotingRule | None


class Genesis(Wire, frozen=True):
    """``grid_supply_ugrid`` is all the GRID there will be: what members hold and ``grid_reserve_ugrid``."""

    name: str
    time_ms: Unsigned
    parameters: Parameters
    feeders: tuple[GenesisFeeder, ...]
    members: tuple[GenesisMember, ...]
    meters: tuple[RegisterMeter, ...]
    grid_supply_ugrid: Unsigned
    grid_reserve_ugrid: Unsigned


def chain_id(genesis: Genesis) -> bytes:
    """The 32 bytes that every signature on this chain covers."""
    return digest(b"ecloud/genesis/1", encode(genesis))


def genesis_seed(chain: bytes) -> bytes:
    """The seed of height 1, 32 bytes."""
    return digest(b"ecloud/genesis-seed/1", chain)


def genesis_changes(genesis: Genesis) -> dict[bytes, bytes | None]:
    """The state at height 0, as changes to an empty one. Errors: GenesisError."""
    check_genesis(genesis)
    parameters = genesis.parameters
    state = State(DictReader({}))
    PARAMETERS.put(state, parameters)
    for feeder in genesis.feeders:
        record = Feeder(substation=feeder.substation, capacity_w=feeder.capacity_w)
        FEEDERS.put(state, record, feeder.name.encode())
    first_period = genesis.time_ms // parameters.period_ms
    TARIFFS.put(state, tariff_of_parameters(parameters), height_key(0))
    SETTLEMENT_PROGRESS.put(state, SettlementProgress(next_period=first_period))
    SUPPLY.put(
        state,
        Supply(
            watt_minted_uwatt=sum(member.watt_uwatt for member in genesis.members),
            grid_ugrid=genesis.grid_supply_ugrid,
        ),
    )
    GRID_RESERVE.put(state, GridReserve(ugrid=genesis.grid_reserve_ugrid))
    for member in genesis.members:
        _put_member(state, member, parameters)
    for meter in genesis.meters:
        owner = MEMBERS.get(state, meter.owner)
        assert owner is not None
        put_meter(state, owner, meter, first_period)
    chain = chain_id(genesis)
    take_snapshot(Execution(state=state, parameters=parameters, chain_id=chain, height=0, time_ms=genesis.time_ms))
    TIP.put(state, Tip(height=0, time_ms=genesis.time_ms, seed=genesis_seed(chain), previous_producer=None))
    check_block(state)
    return state.changes()


def check_genesis(genesis: Genesis) -> None:
    """Errors: GenesisError for the first thing wrong."""
    if not 1 <= len(genesis.name) <= MAX_TITLE_CHARACTERS or not genesis.name.isprintable():
        raise GenesisError(f"name {genesis.name!r}: 1 to {MAX_TITLE_CHARACTERS} printable characters")
    try:
        check_parameters(genesis.parameters)
    except ParameterError as error:
        raise GenesisError(f"parameters: {error}") from error
    if genesis.time_ms < genesis.parameters.period_ms:
        raise GenesisError(
            f"time_ms = {genesis.time_ms}: milliseconds since 1970, at least one period, {genesis.parameters.period_ms}"
        )
    _check_feeders(genesis)
    _check_members(genesis)
    _check_candidates(genesis)
    _check_keys(genesis)
    _check_meters(genesis)
    _check_supply(genesis)


def _put_member(state: State, member: GenesisMember, parameters: Parameters) -> None:
    registration = RegisterMember(account=member.account, name=member.name, roles=member.roles, feeder=member.feeder)
    put_member(state, registration, None, 0)
    ACCOUNTS.put(state, Account(watt_uwatt=member.watt_uwatt, grid_ugrid=member.grid_ugrid), member.account)
    if member.node_key is not None:
        put_node_key(state, member.account, member.node_key, 0)
        found_candidate(state, member.account, 0, parameters.initial_ballot_mvote)
    if member.voting_rule is not None:
        VOTING_RULES.put(state, member.voting_rule, member.account)


def _check_feeders(genesis: Genesis) -> None:
    _require_unique("feeder", (feeder.name for feeder in genesis.feeders))
    for feeder in genesis.feeders:
        for what, text in (("feeder", feeder.name), ("substation", feeder.substation)):
            if not 1 <= len(text) <= MAX_TITLE_CHARACTERS or not text.isprintable():
                raise GenesisError(f"{what} {text!r}: 1 to {MAX_TITLE_CHARACTERS} printable characters")
        if feeder.capacity_w > MAX_CAPACITY_W:
            raise GenesisError(f"feeder {feeder.name!r}: capacity_w = {feeder.capacity_w}; at most {MAX_CAPACITY_W}")


def _check_members(genesis: Genesis) -> None:
    limit = genesis.parameters.max_members
    if not 1 <= len(genesis.members) <= limit:
        raise GenesisError(f"{len(genesis.members)} members; at least one, and at most max_members = {limit}")
    _require_unique("member name", (member.name for member in genesis.members))
    feeders = {feeder.name for feeder in genesis.feeders}
    for member in genesis.members:
        try:
            check_name(member.name)
        except TransactionRefused as refused:
            raise GenesisError(f"member {member.name!r}: {refused.detail}") from refused
        if member.feeder not in feeders:
            raise GenesisError(
                f"member {member.name!r}: no feeder is called {member.feeder!r}; there are {sorted(feeders)}"
            )
        if member.roles & ~ALL_ROLES:
            raise GenesisError(f"member {member.name!r}: roles {member.roles}; only bits of {ALL_ROLES} have a meaning")
    if not any(member.roles & Role.APPROVER for member in genesis.members):
        raise GenesisError("nobody is an approver: nobody could ever be registered; give one member the role")
    gateways = [member.name for member in genesis.members if member.roles & Role.GATEWAY]
    if len(gateways) > 1:
        raise GenesisError(f"{', '.join(gateways)} are gateways; give the role to one member, or to nobody yet")


def _check_candidates(genesis: Genesis) -> None:
    parameters = genesis.parameters
    candidates = {member.account for member in genesis.members if member.node_key is not None}
    if not candidates:
        raise GenesisError("nobody has a node key: nobody could produce a block; give at least one member a node key")
    if parameters.initial_ballot_mvote < parameters.pool_minimum_mvote:
        raise GenesisError(
            f"initial_ballot_mvote = {parameters.initial_ballot_mvote} is below pool_minimum_mvote = "
            f"{parameters.pool_minimum_mvote}: nobody would be in the committee; raise the one or lower the other"
        )
    for member in genesis.members:
        if member.voting_rule is None:
            continue
        try:
            check_targets(member.voting_rule.keep_bps, member.voting_rule.targets)
        except TransactionRefused as refused:
            raise GenesisError(f"voting rule of {member.name!r}: {refused.detail}") from refused
        for target in member.voting_rule.targets:
            if target.candidate not in candidates:
                raise GenesisError(
                    f"voting rule of {member.name!r}: {target.candidate.hex()} is no member with a node key"
                )


def _check_keys(genesis: Genesis) -> None:
    accounts = [member.account for member in genesis.members]
    node_keys = [member.node_key for member in genesis.members if member.node_key is not None]
    meters = [meter.meter for meter in genesis.meters]
    _require_unique("key", (key.hex() for key in (*accounts, *node_keys, *meters)))


def _check_meters(genesis: Genesis) -> None:
    parameters = genesis.parameters
    names = {member.account: member.name for member in genesis.members}
    counted = Counter(meter.owner for meter in genesis.meters)
    connections = Counter(meter.owner for meter in genesis.meters if meter.role == MeterRole.CONNECTION)
    for meter in genesis.meters:
        what = f"meter {meter.meter.hex()}"
        if meter.owner not in names:
            raise GenesisError(f"{what}: its owner {meter.owner.hex()} is no member")
        try:
            check_meter_terms(meter)
        except TransactionRefused as refused:
            raise GenesisError(f"{what}: {refused.detail}") from refused
        if counted[meter.owner] > parameters.max_meters_per_member:
            raise GenesisError(
                f"{names[meter.owner]!r} has {counted[meter.owner]} meters; at most max_meters_per_member = "
                f"{parameters.max_meters_per_member}"
            )
        if connections[meter.owner] > 1:
            raise GenesisError(f"{names[meter.owner]!r} has {connections[meter.owner]} connection meters; one settles")


def _check_supply(genesis: Genesis) -> None:
    watt_uwatt = sum(member.watt_uwatt for member in genesis.members)
    if watt_uwatt > MAX_INTEGER:
        raise GenesisError(f"the members hold {watt_uwatt} uwatt together; at most {MAX_INTEGER} can be counted")
    grid_ugrid = sum(member.grid_ugrid for member in genesis.members) + genesis.grid_reserve_ugrid
    if grid_ugrid != genesis.grid_supply_ugrid:
        raise GenesisError(
            f"grid_supply_ugrid = {genesis.grid_supply_ugrid}; the members' GRID and the reserve sum to {grid_ugrid}"
        )


def _require_unique(what: str, values: Iterable[str]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise GenesisError(f"{what} {value!r} occurs {count} times; each is one thing's only")

"""Members, meters, and node keys.

1. An approver registers members and meters. A name is 1 to 32 of a–z, 0–9, ``.``, ``_`` and ``-``, begins with a
   letter, and is one member's only. A feeder is one of the genesis.
2. One key is one thing: an account, a meter or a node, never two of them. (Being sent money does not count: else
   anybody could spoil anybody's key.)
3. A meter's registers begin as they stand at installation, its periods with the one that is running. One connection
   meter per member; its storage is that of all the member's meters.
4. The account key delegates a node key, which proves that it agrees; the first one makes the member a candidate with
   the initial ballot. A later one replaces it, from the next snapshot on in the committee. A key that a kept snapshot
   holds for another member is in use.
5. There is one gateway: the first member with that role, for good.
6. Registering an expelled member anew makes it a candidate again, with a fresh ballot, whatever it did before
   forgotten.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec.structs import replace

from ledger.balances import get_account
from ledger.execution import Execution, Rule
from ledger.keys import Domain, verify_signature
from ledger.pools import found_candidate
from ledger.records import (
    ACCOUNTS,
    CANDIDATES,
    FEEDERS,
    GATEWAY,
    MEMBERS,
    METERS,
    NAMES,
    NODE_KEYS,
    SNAPSHOTS,
    CandidateStatus,
    Gateway,
    Member,
    Meter,
    MeterKind,
    MeterRole,
    Name,
    NodeKey,
    Role,
)
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.transactions import (
    MAX_NAME_CHARACTERS,
    DelegateNodeKey,
    Kind,
    RegisterMember,
    RegisterMeter,
    Transaction,
)

NONCES_PER_BLOCK: Final = 2**20
"""More than a block has transactions."""
ALL_ROLES: Final = int(Role.APPROVER | Role.ISSUER | Role.GATEWAY | Role.ARBITRATOR)
MAX_NAMEPLATE_W: Final = 10**9
MAX_REGISTER_WH: Final = 10**15
MAX_STORAGE_WH: Final = 10**12
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]*")


def check_name(name: str) -> None:
    """Errors: TransactionRefused BAD_NAME."""
    if len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise TransactionRefused(
            Refusal.BAD_NAME,
            f"a name has 1 to {MAX_NAME_CHARACTERS} of a–z, 0–9, '.', '_' and '-', and begins with a letter",
        )


def check_member(_: Transaction, payload: RegisterMember) -> None:
    """Errors: TransactionRefused BAD_NAME, MALFORMED."""
    check_name(payload.name)
    if payload.roles & ~ALL_ROLES:
        raise TransactionRefused(Refusal.MALFORMED, f"roles {payload.roles}: only bits of {ALL_ROLES} have a meaning")


def apply_member(execution: Execution, account: bytes, payload: RegisterMember) -> None:
    """Errors: TransactionRefused NOT_APPROVER, UNKNOWN_FEEDER, NAME_TAKEN, ONE_GATEWAY, ALREADY_MEMBER, KEY_IN_USE,
    TOO_MANY_MEMBERS.
    """
    state = execution.state
    require_approver(state, account)
    if FEEDERS.get(state, payload.feeder.encode()) is None:
        raise TransactionRefused(Refusal.UNKNOWN_FEEDER, f"no feeder is called {payload.feeder!r}")
    name = NAMES.get(state, payload.name.encode())
    if name is not None and name.account != payload.account:
        raise TransactionRefused(Refusal.NAME_TAKEN, f"another member is called {payload.name!r}")
    gateway = GATEWAY.get(state)
    if gateway is not None and (gateway.account == payload.account) != bool(payload.roles & Role.GATEWAY):
        raise TransactionRefused(Refusal.ONE_GATEWAY, "there is one gateway, and it remains the gateway")
    former = MEMBERS.get(state, payload.account)
    if former is None:
        _require_unused(state, payload.account)
        limit = execution.parameters.max_members
        if sum(1 for _ in MEMBERS.scan(state)) >= limit:
            raise TransactionRefused(Refusal.TOO_MANY_MEMBERS, f"the neighbourhood has its {limit} members")
        put_member(state, payload, None, execution.height)
    else:
        candidate = CANDIDATES.get(state, payload.account)
        if candidate is None or candidate.status != CandidateStatus.EXPELLED:
            raise TransactionRefused(Refusal.ALREADY_MEMBER, f"the account is member {former.name!r}")
        NAMES.delete(state, former.name.encode())
        put_member(state, payload, former, execution.height)
        found_candidate(state, payload.account, execution.height, execution.parameters.initial_ballot_mvote)
    execution.concern(payload.account)


def put_member(state: State, payload: RegisterMember, former: Member | None, height: int) -> None:
    """Writes the member, its name, an account to act from, and who is the gateway. Checks nothing."""
    member = Member(
        name=payload.name,
        roles=payload.roles,
        feeder=payload.feeder,
        node_key=former.node_key if former else None,
        meters=former.meters if former else (),
        registered_height=height,
    )
    MEMBERS.put(state, member, payload.account)
    NAMES.put(state, Name(account=payload.account), payload.name.encode())
    ACCOUNTS.put(state, get_account(state, payload.account), payload.account)
    if payload.roles & Role.GATEWAY:
        GATEWAY.put(state, Gateway(account=payload.account))


def check_meter(_: Transaction, payload: RegisterMeter) -> None:
    """Errors: TransactionRefused MALFORMED, KEY_IN_USE, AMOUNT_OVERFLOW."""
    check_meter_terms(payload)


def check_meter_terms(payload: RegisterMeter) -> None:
    """Errors: TransactionRefused MALFORMED, KEY_IN_USE, AMOUNT_OVERFLOW."""
    if payload.kind not in set(MeterKind) or payload.role not in set(MeterRole):
        raise TransactionRefused(Refusal.MALFORMED, f"no meter has kind {payload.kind} and role {payload.role}")
    if payload.meter == payload.owner:
        raise TransactionRefused(Refusal.KEY_IN_USE, "a meter has a key of its own")
    for name, limit in (
        ("import_nameplate_w", MAX_NAMEPLATE_W),
        ("export_nameplate_w", MAX_NAMEPLATE_W),
        ("storage_capacity_wh", MAX_STORAGE_WH),
        ("import_wh", MAX_REGISTER_WH),
        ("export_wh", MAX_REGISTER_WH),
    ):
        if getattr(payload, name) > limit:
            raise TransactionRefused(Refusal.AMOUNT_OVERFLOW, f"{name} is at most {limit}")


def apply_meter(execution: Execution, account: bytes, payload: RegisterMeter) -> None:
    """Errors: TransactionRefused NOT_APPROVER, NOT_A_MEMBER, KEY_IN_USE, TOO_MANY_METERS, CONNECTION_METER_EXISTS."""
    state = execution.state
    require_approver(state, account)
    owner = MEMBERS.get(state, payload.owner)
    if owner is None:
        raise TransactionRefused(Refusal.NOT_A_MEMBER, "the meter's owner is to be registered first")
    _require_unused(state, payload.meter)
    limit = execution.parameters.max_meters_per_member
    if len(owner.meters) >= limit:
        raise TransactionRefused(Refusal.TOO_MANY_METERS, f"{owner.name!r} has its {limit} meters")
    if payload.role == MeterRole.CONNECTION and connection_meter(state, owner) is not None:
        raise TransactionRefused(Refusal.CONNECTION_METER_EXISTS, f"{owner.name!r} has a connection meter")
    put_meter(state, owner, payload, execution.time_ms // execution.parameters.period_ms)
    execution.concern(payload.owner)


def put_meter(state: State, owner: Member, payload: RegisterMeter, period: int) -> None:
    """Writes the meter, whose first period is ``period``, and its owner. Checks nothing."""
    assert period > 0
    meter = Meter(
        owner=payload.owner,
        kind=payload.kind,
        role=payload.role,
        import_nameplate_w=payload.import_nameplate_w,
        export_nameplate_w=payload.export_nameplate_w,
        storage_capacity_wh=payload.storage_capacity_wh,
        suspended=False,
        last_period=period - 1,
        import_wh=payload.import_wh,
        export_wh=payload.export_wh,
        stored_wh=0,
        first_period=period,
    )
    METERS.put(state, meter, payload.meter)
    MEMBERS.put(state, replace(owner, meters=(*owner.meters, payload.meter)), payload.owner)


def connection_meter(state: State, member: Member) -> tuple[bytes, Meter] | None:
    """The key and record of the one meter that settles, if the member has it."""
    for key in member.meters:
        meter = METERS.get(state, key)
        assert meter is not None, "a member's meters exist"
        if meter.role == MeterRole.CONNECTION:
            return key, meter
    return None


def check_delegation(transaction: Transaction, payload: DelegateNodeKey) -> None:
    """Errors: TransactionRefused KEY_IN_USE, BAD_KEY_PROOF."""
    if payload.node_key == transaction.sender:
        raise TransactionRefused(Refusal.KEY_IN_USE, "the node key is another key than the account's")
    if not verify_signature(payload.node_key, Domain.NODE_KEY, transaction.chain_id, transaction.sender, payload.proof):
        raise TransactionRefused(Refusal.BAD_KEY_PROOF, "the proof is the node key's signature over the account id")


def apply_delegation(execution: Execution, account: bytes, payload: DelegateNodeKey) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER, KEY_IN_USE."""
    state = execution.state
    member = MEMBERS.get(state, account)
    if member is None:
        raise TransactionRefused(Refusal.NOT_A_MEMBER, "an approver is to register this account first")
    _require_unused(state, payload.node_key)
    for _, snapshot in SNAPSHOTS.scan(state):
        if any(other.node_key == payload.node_key and other.account != account for other in snapshot.members):
            raise TransactionRefused(Refusal.KEY_IN_USE, "another member's node key of late; evidence would name it")
    put_node_key(state, account, payload.node_key, execution.height)
    if member.node_key is None:
        found_candidate(state, account, execution.height, execution.parameters.initial_ballot_mvote)


def put_node_key(state: State, account: bytes, node_key: bytes, height: int) -> None:
    """Makes ``node_key`` the member's, in place of the one before. Checks nothing.

    Its nonces begin above any it can have used if it was delegated before, so that nothing of then can be replayed.
    """
    member = MEMBERS.get(state, account)
    assert member is not None
    if member.node_key is not None:
        NODE_KEYS.delete(state, member.node_key)
    NODE_KEYS.put(state, NodeKey(account=account, nonce=height * NONCES_PER_BLOCK), node_key)
    MEMBERS.put(state, replace(member, node_key=node_key), account)


def require_approver(state: State, account: bytes) -> None:
    """Errors: TransactionRefused NOT_APPROVER."""
    member = MEMBERS.get(state, account)
    if member is None or not member.roles & Role.APPROVER:
        raise TransactionRefused(Refusal.NOT_APPROVER, "only an approver registers members and meters")


def _require_unused(state: State, key: bytes) -> None:
    """Errors: TransactionRefused KEY_IN_USE."""
    for table, thing in ((MEMBERS, "a member's account"), (METERS, "a meter"), (NODE_KEYS, "a node")):
        if table.get(state, key) is not None:
            raise TransactionRefused(Refusal.KEY_IN_USE, f"the key is already the key of {thing}")


RULES: Final[dict[Kind, Rule[Any]]] = {
    Kind.REGISTER_MEMBER: Rule(check_member, apply_member),
    Kind.REGISTER_METER: Rule(check_meter, apply_meter),
    Kind.DELEGATE_NODE_KEY: Rule(check_delegation, apply_delegation),
}

"""Sharing pools: neighbours who share what some of them produce.

1. Who may trade (``market.traders``) may open a pool, under a name that no other pool has, or join one; nobody is in
   two. What is done counts from the next period on whose gate has not closed: nothing changes for a period that has.
2. A member takes part as producer, consumer, or both. A pool has one rule (``settlement.settle``), one price, and
   shares by member that sum to at most 10,000 basis points; a consumer without a share has one of 0. Its founder, who
   opened it, sets them anew at will.
3. Who joins says between which prices it takes part: in a period in which the pool's price is not, it does not. So a
   founder's rule costs nobody more, and gives nobody less, than it agreed to.
4. Who leaves is out; when the founder leaves, the pool ends for all.
5. What ended is forgotten when the last period is settled in which it counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from msgspec.structs import replace

from ledger.agreements import (
    AGREEMENT_COUNTER,
    POOL_MEMBERSHIPS,
    POOL_TERMS,
    SHARING_POOLS,
    PoolMembership,
    PoolRole,
    PoolTerms,
    SharingPool,
    counts_in,
    last_eight,
    next_numbers,
)
from ledger.execution import Execution, Rule
from ledger.market.grid_fee import ALL_BPS, TICK_UWATT_PER_KWH
from ledger.market.terms import first_open_period
from ledger.market.traders import require_trader
from ledger.records import MEMBERS, height_key
from ledger.refusal import Refusal, TransactionRefused
from ledger.registry import check_name
from ledger.settlement.settle import Pool, PoolRule
from ledger.state import State
from ledger.transactions import (
    MAX_POOL_SHARES,
    JoinPool,
    Kind,
    LeavePool,
    OpenPool,
    SetPoolRule,
    Transaction,
)

ALL_POOL_ROLES: Final = int(PoolRole.PRODUCER | PoolRole.CONSUMER)
MAX_POOL_PRICE: Final = 10**8

Membership = tuple[bytes, int, PoolMembership]
"""Account, first period, record."""


def check_open(_: Transaction, payload: OpenPool) -> None:
    """Errors: TransactionRefused BAD_NAME, MALFORMED, OFF_TICK, AMOUNT_OVERFLOW, BAD_SHARES."""
    check_name(payload.name)
    _check_roles(payload.roles)
    _check_terms(payload)


def apply_open(execution: Execution, account: bytes, payload: OpenPool) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER, NO_GATEWAY, GATEWAY_DOES_NOT_TRADE, NO_CONNECTION_METER,
    METER_SUSPENDED, ALREADY_IN_POOL, NAME_TAKEN.
    """
    state = execution.state
    require_trader(execution, account)
    _require_free(state, account)
    for _, pool in SHARING_POOLS.scan(state):
        if pool.name == payload.name and pool.until_period is None:
            raise TransactionRefused(Refusal.NAME_TAKEN, f"another pool is called {payload.name!r}")
    numbers = next_numbers(state)
    AGREEMENT_COUNTER.put(state, replace(numbers, next_pool=numbers.next_pool + 1))
    number = numbers.next_pool
    next_open = _first_open(execution)
    pool = SharingPool(name=payload.name, founder=account, from_period=next_open, until_period=None)
    SHARING_POOLS.put(state, pool, height_key(number))
    _put_terms(state, number, next_open, payload)
    founder = PoolMembership(pool=number, roles=payload.roles, lowest=0, highest=MAX_POOL_PRICE, until_period=None)
    POOL_MEMBERSHIPS.put(state, founder, account, height_key(next_open))


def check_join(_: Transaction, payload: JoinPool) -> None:
    """Errors: TransactionRefused MALFORMED."""
    _check_roles(payload.roles)
    if payload.lowest_uwatt_per_kwh > payload.highest_uwatt_per_kwh:
        raise TransactionRefused(Refusal.MALFORMED, "the lowest price is at most the highest")


def apply_join(execution: Execution, account: bytes, payload: JoinPool) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER, NO_GATEWAY, GATEWAY_DOES_NOT_TRADE, NO_CONNECTION_METER,
    METER_SUSPENDED, UNKNOWN_POOL, ALREADY_IN_POOL.
    """
    state = execution.state
    require_trader(execution, account)
    pool = _require_pool(state, payload.pool)
    _require_free(state, account)
    membership = PoolMembership(
        pool=payload.pool,
        roles=payload.roles,
        lowest=payload.lowest_uwatt_per_kwh,
        highest=payload.highest_uwatt_per_kwh,
        until_period=None,
    )
    POOL_MEMBERSHIPS.put(state, membership, account, height_key(_first_open(execution)))
    execution.concern(pool.founder)


def check_leave(_transaction: Transaction, _payload: LeavePool) -> None:
    """Every one may be valid."""


def apply_leave(execution: Execution, account: bytes, payload: LeavePool) -> None:
    """Errors: TransactionRefused NOT_IN_POOL."""
    state = execution.state
    own = standing_membership(state, account)
    if own is None or own[2].pool != payload.pool:
        raise TransactionRefused(Refusal.NOT_IN_POOL, f"the account is not in pool {payload.pool}")
    pool = _require_pool(state, payload.pool)
    execution.concern(pool.founder)
    if pool.founder != account:
        _end_membership(execution, own)
        return
    for membership in memberships(state):
        if membership[2].pool == payload.pool and membership[2].until_period is None:
            _end_membership(execution, membership)
            execution.concern(membership[0])
    SHARING_POOLS.put(state, replace(pool, until_period=_first_open(execution)), height_key(payload.pool))


def check_rule(_: Transaction, payload: SetPoolRule) -> None:
    """Errors: TransactionRefused MALFORMED, OFF_TICK, AMOUNT_OVERFLOW, BAD_SHARES."""
    _check_terms(payload)


def apply_rule(execution: Execution, account: bytes, payload: SetPoolRule) -> None:
    """Errors: TransactionRefused UNKNOWN_POOL, NOT_FOUNDER, NOT_A_MEMBER."""
    state = execution.state
    pool = _require_pool(state, payload.pool)
    if pool.founder != account:
        raise TransactionRefused(Refusal.NOT_FOUNDER, "only who opened the pool sets its rule, price and shares")
    _put_terms(state, payload.pool, _first_open(execution), payload)
    for member, _, membership in memberships(state):
        if membership.pool == payload.pool and membership.until_period is None:
            execution.concern(member)


def pools_in(state: State, period: int) -> list[Pool]:
    """What settlement is to know of the period's pools, by number: as they stood at its gate closure."""
    members: dict[int, list[tuple[bytes, PoolMembership]]] = defaultdict(list)
    for account, from_period, membership in memberships(state):
        if counts_in(period, from_period, membership.until_period):
            members[membership.pool].append((account, membership))
    found = []
    for number in sorted(members):
        terms = terms_of(state, number, period)
        assert terms is not None, "who is in a pool joined it when it had terms"
        willing = [(account, one) for account, one in members[number] if one.lowest <= terms.price <= one.highest]
        shares = {share.account: share.share_bps for share in terms.shares}
        found.append(
            Pool(
                number=number,
                producers=frozenset(account for account, one in willing if one.roles & PoolRole.PRODUCER),
                shares_bps={
                    account: shares.get(account, 0) for account, one in willing if one.roles & PoolRole.CONSUMER
                },
                rule=PoolRule(terms.rule),
                price=terms.price,
            )
        )
    return found


def forget_pools(state: State, period: int) -> None:
    """After ``period`` was settled: what ended with it, and terms that hold no more."""
    following = period + 1
    for account, from_period, membership in memberships(state):
        if membership.until_period is not None and membership.until_period <= following:
            POOL_MEMBERSHIPS.delete(state, account, height_key(from_period))
    for key, pool in SHARING_POOLS.scan(state):
        is_over = pool.until_period is not None and pool.until_period <= following
        keys = [key for key, _ in POOL_TERMS.scan(state, key)]
        past = [key for key in keys if last_eight(key) <= following]
        for terms in keys if is_over else past[:-1]:
            POOL_TERMS.delete(state, terms)
        if is_over:
            SHARING_POOLS.delete(state, key)


def terms_of(state: State, number: int, period: int) -> PoolTerms | None:
    """The pool's terms in a period; None before its first one."""
    found = None
    for key, terms in POOL_TERMS.scan(state, height_key(number)):
        if last_eight(key) > period:
            break
        found = terms
    return found


def memberships(state: State) -> Iterator[Membership]:
    """All that are in the state, by account, then period."""
    for key, membership in POOL_MEMBERSHIPS.scan(state):
        yield key[:32], last_eight(key), membership


def standing_membership(state: State, account: bytes) -> Membership | None:
    """The one that the member has not ended."""
    for key, membership in POOL_MEMBERSHIPS.scan(state, account):
        if membership.until_period is None:
            return account, last_eight(key), membership
    return None


def _first_open(execution: Execution) -> int:
    return first_open_period(execution.parameters, execution.time_ms)


def _end_membership(execution: Execution, ended: Membership) -> None:
    """With the next open period; one that has not begun is forgotten at once."""
    account, from_period, membership = ended
    next_open = _first_open(execution)
    if next_open <= from_period:
        POOL_MEMBERSHIPS.delete(execution.state, account, height_key(from_period))
    else:
        place = (account, height_key(from_period))
        POOL_MEMBERSHIPS.put(execution.state, replace(membership, until_period=next_open), *place)


def _put_terms(state: State, number: int, from_period: int, payload: OpenPool | SetPoolRule) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER."""
    for share in payload.shares:
        if MEMBERS.get(state, share.account) is None:
            raise TransactionRefused(Refusal.NOT_A_MEMBER, f"nobody is registered as {share.account.hex()}")
    terms = PoolTerms(rule=payload.rule, price=payload.price_uwatt_per_kwh, shares=payload.shares)
    POOL_TERMS.put(state, terms, height_key(number), height_key(from_period))


def _check_roles(roles: int) -> None:
    """Errors: TransactionRefused MALFORMED."""
    if not 1 <= roles <= ALL_POOL_ROLES:
        raise TransactionRefused(Refusal.MALFORMED, "a member of a pool is producer (1), consumer (2) or both (3)")


def _check_terms(payload: OpenPool | SetPoolRule) -> None:
    """Errors: TransactionRefused MALFORMED, OFF_TICK, AMOUNT_OVERFLOW, BAD_SHARES."""
    if payload.rule not in set(PoolRule):
        raise TransactionRefused(Refusal.MALFORMED, f"no pool has rule {payload.rule}; 1 fixed, 2 proportional, 3 both")
    price = payload.price_uwatt_per_kwh
    if price % TICK_UWATT_PER_KWH:
        raise TransactionRefused(
            Refusal.OFF_TICK, f"{price} uwatt per kWh; prices are multiples of {TICK_UWATT_PER_KWH}"
        )
    if price > MAX_POOL_PRICE:
        raise TransactionRefused(Refusal.AMOUNT_OVERFLOW, f"a price is at most {MAX_POOL_PRICE} uwatt per kWh")
    named = {share.account for share in payload.shares}
    if len(named) != len(payload.shares) or len(named) > MAX_POOL_SHARES:
        raise TransactionRefused(
            Refusal.BAD_SHARES, f"shares are for at most {MAX_POOL_SHARES} members, each named once"
        )
    total_bps = sum(share.share_bps for share in payload.shares)
    if total_bps > ALL_BPS:
        raise TransactionRefused(Refusal.BAD_SHARES, f"the shares sum to {total_bps}; at most {ALL_BPS} basis points")


def _require_pool(state: State, number: int) -> SharingPool:
    """Errors: TransactionRefused UNKNOWN_POOL."""
    pool = SHARING_POOLS.get(state, height_key(number))
    if pool is None or pool.until_period is not None:
        raise TransactionRefused(Refusal.UNKNOWN_POOL, f"there is no pool {number}, or it has ended")
    return pool


def _require_free(state: State, account: bytes) -> None:
    """Errors: TransactionRefused ALREADY_IN_POOL."""
    own = standing_membership(state, account)
    if own is not None:
        raise TransactionRefused(Refusal.ALREADY_IN_POOL, f"the account is in pool {own[2].pool}; it is to leave that")


RULES: Final[dict[Kind, Rule[Any]]] = {
    Kind.OPEN_POOL: Rule(check_open, apply_open),
    Kind.JOIN_POOL: Rule(check_join, apply_join),
    Kind.LEAVE_POOL: Rule(check_leave, apply_leave),
    Kind.SET_POOL_RULE: Rule(check_rule, apply_rule),
}

"""Sharing pools, as they will stand in the next open period."""

from __future__ import annotations

from collections import defaultdict

from ledger.agreements import (
    SHARING_POOLS,
    PoolMembership,
    PoolRole,
    PoolTerms,
    SharingPool,
    last_eight,
)
from ledger.execution import get_tip
from ledger.market.terms import first_open_period
from ledger.records import height_key
from ledger.settlement.settle import PoolRule
from ledger.sharing import memberships, terms_of
from node.client import models
from node.views.reader import NotFound, Reader, word

_Members = dict[int, list[tuple[bytes, int, PoolMembership]]]


def next_open(reader: Reader, now_ms: int) -> int:
    """From which period on something counts that is agreed at ``now_ms``."""
    return first_open_period(reader.parameters, max(now_ms, get_tip(reader.state).time_ms))


def pool_list(reader: Reader, now_ms: int) -> models.PoolList:
    """All pools that are in the state, by number."""
    period = next_open(reader, now_ms)
    members = _members(reader)
    return models.PoolList(
        height=reader.height,
        next_open_period=period,
        pools=[
            _pool_view(reader, last_eight(key), pool, members, period) for key, pool in SHARING_POOLS.scan(reader.state)
        ],
    )


def find_pool(reader: Reader, which: str, now_ms: int) -> models.PoolInfo:
    """By number, or by the name of one that has not ended. Errors: NotFound."""
    for key, pool in SHARING_POOLS.scan(reader.state):
        number = last_eight(key)
        if which == str(number) or (which == pool.name and pool.until_period is None):
            return _pool_view(reader, number, pool, _members(reader), next_open(reader, now_ms))
    raise NotFound(f"there is no pool {which!r}; GET /v1/pools lists them all")


def pools_of(reader: Reader, account: bytes, now_ms: int) -> list[models.PoolInfo]:
    """Those the account is in, or leaves."""
    period, members = next_open(reader, now_ms), _members(reader)
    numbers = [number for number, found in members.items() if any(one[0] == account for one in found)]
    views = []
    for number in sorted(numbers):
        pool = SHARING_POOLS.get(reader.state, height_key(number))
        assert pool is not None, "a pool is forgotten with its members or after them"
        views.append(_pool_view(reader, number, pool, members, period))
    return views


def _pool_view(reader: Reader, number: int, pool: SharingPool, members: _Members, period: int) -> models.PoolInfo:
    terms = terms_of(reader.state, number, max(period, pool.from_period))
    assert terms is not None, "a pool has terms from its first period on"
    return models.PoolInfo(
        pool=number,
        name=pool.name,
        founder=reader.party(pool.founder),
        rule=word(terms.rule, PoolRule),
        price_uwatt_per_kwh=terms.price,
        shares=[
            models.PoolShareInfo(member=reader.party(share.account), share_bps=share.share_bps)
            for share in terms.shares
        ],
        members=sorted(
            (_member_view(reader, terms, *one) for one in members[number]),
            key=lambda one: (one.member.label, one.from_period),
        ),
        from_period=pool.from_period,
        until_period=pool.until_period,
    )


def _member_view(
    reader: Reader, terms: PoolTerms, account: bytes, from_period: int, membership: PoolMembership
) -> models.PoolMember:
    shares = {share.account: share.share_bps for share in terms.shares}
    return models.PoolMember(
        member=reader.party(account),
        roles=[str(role.name).lower() for role in PoolRole if role & membership.roles],
        share_bps=shares.get(account, 0),
        lowest_uwatt_per_kwh=membership.lowest,
        highest_uwatt_per_kwh=membership.highest,
        willing=membership.lowest <= terms.price <= membership.highest,
        from_period=from_period,
        until_period=membership.until_period,
    )


def _members(reader: Reader) -> _Members:
    found: _Members = defaultdict(list)
    for account, from_period, membership in memberships(reader.state):
        found[membership.pool].append((account, from_period, membership))
    return found

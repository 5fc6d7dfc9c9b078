"""Members, accounts, candidates and votes."""

from __future__ import annotations

from ledger.committee import is_absent
from ledger.pools import frozen_mvote, withdrawable_mvote
from ledger.records import (
    ACCOUNTS,
    CANDIDATES,
    FEEDERS,
    MEMBERS,
    STAKES,
    VOTING_RULES,
    Account,
    Candidate,
    CandidateStatus,
    Member,
)
from ledger.transactions import Transaction
from node.client import models
from node.views.reader import NotFound, Reader, word
from node.views.standing import Standing
from node.views.transactions import role_words

KEY_BYTES = 32
ALL_BPS = 10_000


def member_view(reader: Reader, account: bytes, member: Member) -> models.Member:
    feeder = FEEDERS.get(reader.state, member.feeder.encode())
    return models.Member(
        account=reader.party(account),
        account_key=account.hex(),
        roles=role_words(member.roles),
        feeder=member.feeder,
        substation="" if feeder is None else feeder.substation,
        node_key=None if member.node_key is None else member.node_key.hex(),
        meters=[meter.hex() for meter in member.meters],
        registered_height=member.registered_height,
    )


def member_list(reader: Reader) -> models.MemberList:
    """All members, by name."""
    members = [member_view(reader, account, member) for account, member in MEMBERS.scan(reader.state)]
    return models.MemberList(height=reader.height, members=sorted(members, key=lambda one: one.account.label))


def candidate_view(
    reader: Reader, account: bytes, candidate: Candidate, all_pools_mvote: int, standing: Standing
) -> models.Candidate:
    active = candidate.status == CandidateStatus.ACTIVE
    return models.Candidate(
        account=reader.party(account),
        status=word(candidate.status, CandidateStatus),
        pool_mvote=candidate.pool_mvote,
        pool_share_bps=candidate.pool_mvote * ALL_BPS // all_pools_mvote if active and all_pools_mvote else 0,
        shares=candidate.shares,
        backer_count=sum(1 for _ in STAKES.scan(reader.state, account)),
        reputation_milli=candidate.reputation_milli,
        last_mined_height=candidate.last_mined_height,
        frozen=[
            models.FrozenPot(release_height=pot.release_height, amount_mvote=pot.amount_mvote)
            for pot in candidate.frozen
        ],
        frozen_mvote=frozen_mvote(candidate),
        missed_in_row=candidate.missed_in_row,
        missed_total=candidate.missed_total,
        produced_total=candidate.produced_total,
        epoch_counted=candidate.epoch_counted,
        epoch_signed=candidate.epoch_signed,
        suspended_height=candidate.suspended_height or None,
        committee_weight=standing.weights.get(account, 0),
        out_reason=standing.out_reason(account, candidate),
        participation_bps=candidate.epoch_signed * ALL_BPS // candidate.epoch_counted
        if candidate.epoch_counted
        else None,
        low_participation=is_absent(candidate),
    )


def active_pools_mvote(reader: Reader) -> int:
    return sum(
        candidate.pool_mvote
        for _, candidate in CANDIDATES.scan(reader.state)
        if candidate.status == CandidateStatus.ACTIVE
    )


def candidate_list(reader: Reader) -> models.CandidateList:
    """All candidates, the largest pool first."""
    pools, standing, epoch_blocks = active_pools_mvote(reader), Standing(reader), reader.parameters.epoch_blocks
    candidates = [
        candidate_view(reader, account, one, pools, standing) for account, one in CANDIDATES.scan(reader.state)
    ]
    candidates.sort(key=lambda one: (-one.pool_mvote, one.account.label))
    return models.CandidateList(
        height=reader.height,
        weighed_height=(reader.height // epoch_blocks + 1) * epoch_blocks,
        weights_delay_blocks=reader.parameters.committee_delay_blocks,
        candidates=candidates,
    )


def candidate_detail(reader: Reader, who: str) -> models.CandidateDetail:
    """Errors: NotFound."""
    account = reader.resolve(who)
    candidate = CANDIDATES.get(reader.state, account)
    if candidate is None:
        raise NotFound(f"{reader.party(account).label} is no candidate; GET /v1/candidates lists them all")
    backers = [
        models.Backer(
            account=reader.party(key[KEY_BYTES:]),
            shares=stake.shares,
            value_mvote=withdrawable_mvote(candidate, stake.shares),
        )
        for key, stake in STAKES.scan(reader.state, account)
    ]
    backers.sort(key=lambda one: (-one.shares, one.account.label))
    view = candidate_view(reader, account, candidate, active_pools_mvote(reader), Standing(reader))
    return models.CandidateDetail(height=reader.height, candidate=view, backers=backers)


def account_view(reader: Reader, account: bytes, waiting: list[Transaction]) -> models.Account:
    """``waiting``: this account's own transactions in the mempool, by nonce."""
    record = ACCOUNTS.get(reader.state, account) or Account()
    member = MEMBERS.get(reader.state, account)
    candidate = CANDIDATES.get(reader.state, account)
    next_nonce = record.nonce
    for transaction in waiting:
        next_nonce += transaction.nonce == next_nonce
    return models.Account(
        height=reader.height,
        account=reader.party(account),
        account_key=account.hex(),
        exists=reader.exists(account),
        watt_uwatt=record.watt_uwatt,
        grid_ugrid=record.grid_ugrid,
        votes_mvote=record.votes_mvote,
        votes_cast_mvote=sum(stake.value_mvote for stake in _stakes(reader, account)),
        nonce=record.nonce,
        next_nonce=next_nonce,
        pending_count=len(waiting),
        member=None if member is None else member_view(reader, account, member),
        candidate=None
        if candidate is None
        else candidate_view(reader, account, candidate, active_pools_mvote(reader), Standing(reader)),
    )


def votes_view(reader: Reader, account: bytes) -> models.Votes:
    """What the account keeps, what it has cast on whom, and its rule."""
    record = ACCOUNTS.get(reader.state, account) or Account()
    stakes = _stakes(reader, account)
    rule = VOTING_RULES.get(reader.state, account)
    return models.Votes(
        height=reader.height,
        account=reader.party(account),
        kept_mvote=record.votes_mvote,
        cast_mvote=sum(stake.value_mvote for stake in stakes),
        stakes=sorted(stakes, key=lambda one: (-one.value_mvote, one.candidate.label)),
        rule=None
        if rule is None
        else models.VotingRuleInfo(
            keep_bps=rule.keep_bps,
            targets=[
                models.RuleTargetInfo(candidate=reader.party(target.candidate), share_bps=target.share_bps)
                for target in rule.targets
            ],
        ),
    )


def _stakes(reader: Reader, account: bytes) -> list[models.StakeInfo]:
    stakes = []
    for candidate_account, candidate in CANDIDATES.scan(reader.state):
        stake = STAKES.get(reader.state, candidate_account, account)
        if stake is not None:
            stakes.append(
                models.StakeInfo(
                    candidate=reader.party(candidate_account),
                    candidate_status=word(candidate.status, CandidateStatus),
                    shares=stake.shares,
                    value_mvote=withdrawable_mvote(candidate, stake.shares),
                    share_bps=stake.shares * ALL_BPS // candidate.shares if candidate.shares else 0,
                )
            )
    return stakes

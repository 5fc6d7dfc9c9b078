"""Members, accounts, candidates and votes."""

from __future__ import annotations

from node.client.models.base import Model, Party


class FrozenPot(Model, frozen=True, kw_only=True):
    release_height: int
    amount_mvote: int


class Candidate(Model, frozen=True, kw_only=True):
    """``pool_share_bps``: of all active pools. ``pool_mvote`` grows by ``frozen_mvote`` as its pots are released.

    ``committee_weight``: its vote on the next height, 0 if it has none, and then ``out_reason`` says why:
    ``low_participation`` (it signed fewer than half of the blocks of the epoch before), ``suspended``, ``expelled``,
    ``pool_too_small``, ``not_weighed_yet`` (it came after the weights were last taken), ``left_out`` (it had no vote
    in the epoch before either, and was suspended or signed too little when weighed). ``participation_bps``: blocks of
    this epoch that it signed, None before there was one to sign; ``low_participation``: as it stands, the next epoch
    will be without it.
    """

    account: Party
    status: str
    pool_mvote: int
    pool_share_bps: int
    shares: int
    backer_count: int
    reputation_milli: int
    last_mined_height: int
    frozen: list[FrozenPot]
    frozen_mvote: int
    missed_in_row: int
    missed_total: int
    produced_total: int
    epoch_counted: int
    epoch_signed: int
    suspended_height: int | None
    committee_weight: int
    out_reason: str | None
    participation_bps: int | None
    low_participation: bool


class CandidateList(Model, frozen=True, kw_only=True):
    """``weighed_height``: the end of this epoch, when everybody is weighed again; in force ``weights_delay_blocks``
    later.
    """

    height: int
    weighed_height: int
    weights_delay_blocks: int
    candidates: list[Candidate]


class Backer(Model, frozen=True, kw_only=True):
    """A backer's part of a pool: ``value_mvote`` is what it could withdraw now."""

    account: Party
    shares: int
    value_mvote: int


class CandidateDetail(Model, frozen=True, kw_only=True):
    height: int
    candidate: Candidate
    backers: list[Backer]


class Member(Model, frozen=True, kw_only=True):
    account: Party
    account_key: str
    roles: list[str]
    feeder: str
    substation: str
    node_key: str | None
    meters: list[str]
    registered_height: int


class MemberList(Model, frozen=True, kw_only=True):
    height: int
    members: list[Member]


class Account(Model, frozen=True, kw_only=True):
    """``nonce`` is the chain's next; ``next_nonce`` counts this node's pending ones too and is the one to sign with.

    ``exists`` is False for an account nothing has happened to yet: all its balances are 0.
    """

    height: int
    account: Party
    account_key: str
    exists: bool
    watt_uwatt: int
    grid_ugrid: int
    votes_mvote: int
    votes_cast_mvote: int
    nonce: int
    next_nonce: int
    pending_count: int
    member: Member | None
    candidate: Candidate | None


class StakeInfo(Model, frozen=True, kw_only=True):
    """``value_mvote`` is what the backer could withdraw now; ``share_bps`` its part of the candidate's pool."""

    candidate: Party
    candidate_status: str
    shares: int
    value_mvote: int
    share_bps: int


class RuleTargetInfo(Model, frozen=True, kw_only=True):
    candidate: Party
    share_bps: int


class VotingRuleInfo(Model, frozen=True, kw_only=True):
    keep_bps: int
    targets: list[RuleTargetInfo]


class Votes(Model, frozen=True, kw_only=True):
    """``rule`` is None until one is set: then all that is minted is cast on oneself, or kept by who is no candidate."""

    height: int
    account: Party
    kept_mvote: int
    cast_mvote: int
    stakes: list[StakeInfo]
    rule: VotingRuleInfo | None

"""What a node keeps of every draw, so that any past one can be shown and repeated.

The state of height h − 1 says who is drawn for h, but the state moves on and old snapshots leave it. These facts are a
few bytes a member: collected from the state when a height opens, kept beside its block.

1. ``committee`` is in the facts of the first height at which its snapshot is in force, ``committee_height``, and only
   there.
2. ``standings`` are in the order of that committee.
"""

from __future__ import annotations

import msgspec

from consensus.draw import Draw, DrawMember
from ledger.committee import committee_at, snapshot_height
from ledger.encoding import Bytes32, Unsigned, Wire
from ledger.execution import get_parameters, get_tip
from ledger.parameters import Parameters
from ledger.records import CANDIDATES, CandidateStatus, CommitteeSnapshot
from ledger.state import Base, State


class LotteryNumbers(Wire, frozen=True):
    """The chain parameters of the draw, as they stood."""

    token_weight: Unsigned
    age_weight: Unsigned
    reputation_weight: Unsigned
    age_cap_blocks: Unsigned


class Standing(Wire, frozen=True):
    """A member at the tip below the height drawn. ``status`` is a ``CandidateStatus``."""

    last_mined_height: Unsigned
    status: Unsigned


class DrawFacts(Wire, frozen=True):
    height: Unsigned
    seed: Bytes32
    previous_producer: Bytes32 | None
    lottery: LotteryNumbers
    snapshot_height: Unsigned
    committee_height: Unsigned
    committee: CommitteeSnapshot | None
    standings: tuple[Standing, ...]


def collect_draw_facts(reader: Base) -> DrawFacts:
    """The facts of the next height, from the state at the tip."""
    state = State(reader)
    parameters, tip = get_parameters(state), get_tip(state)
    height = tip.height + 1
    committee = committee_at(state, height)
    taken_at = snapshot_height(height, parameters)
    first_height = taken_at + parameters.committee_delay_blocks if taken_at else 1
    return DrawFacts(
        height=height,
        seed=tip.seed,
        previous_producer=tip.previous_producer,
        lottery=LotteryNumbers(
            parameters.token_weight,
            parameters.age_weight,
            parameters.reputation_weight,
            parameters.age_cap_blocks,
        ),
        snapshot_height=taken_at,
        committee_height=first_height,
        committee=committee if height == first_height else None,
        standings=tuple(_standing(state, member.account) for member in committee.members),
    )


def build_draw(facts: DrawFacts, committee: CommitteeSnapshot) -> Draw:
    """The draw these facts were collected for; ``committee`` is the one in force."""
    members = tuple(
        DrawMember(
            account=member.account,
            pool_mvote=member.pool_mvote,
            reputation_milli=member.reputation_milli,
            last_mined_height=standing.last_mined_height,
            active=standing.status == CandidateStatus.ACTIVE,
        )
        for member, standing in zip(committee.members, facts.standings, strict=True)
    )
    parameters = msgspec.structs.replace(Parameters(), **msgspec.structs.asdict(facts.lottery))
    return Draw(facts.height, facts.seed, members, facts.previous_producer, parameters)


def _standing(state: State, account: bytes) -> Standing:
    candidate = CANDIDATES.get(state, account)
    if candidate is None:
        return Standing(0, CandidateStatus.EXPELLED)
    return Standing(candidate.last_mined_height, candidate.status)

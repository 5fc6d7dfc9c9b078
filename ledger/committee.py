"""Who may vote on blocks, and with what weight: the snapshot taken at every epoch's last block.

1. The committee of height h is the snapshot taken at ``snapshot_height(h)``, the last epoch boundary at least
   ``committee_delay_blocks`` before h; before the first one, the genesis snapshot.
2. In: every active candidate with a node key, a pool of at least the minimum, and a signature on at least half of the
   blocks of the ending epoch that it could have signed (none to sign counts as enough).
3. Out at once: the expelled, whatever follows from it; and those whose pool fell below the minimum.
4. Out within limits: members of the previous snapshot that are *suspended* or *absent* (too few signatures). Together
   they take away at most a tenth of the previous snapshot's weight. They are considered in this order, and whoever
   does not fit into what is left of the tenth stays: the suspended, longest suspended first; then the absent, fewest
   signatures in proportion first; ties by account.
5. Where the previous snapshot had four members or more, at least four remain as long as that many are not expelled:
   those taken out last come back first, the poor before the absent before the suspended.
6. A snapshot that would be empty leaves the previous one as it was.
7. Weight w = clamp(pool, L, L · max(1, (n−1)//3)) with L = max(1, median_low(pools)//2): at any n ≥ 4 no member
   reaches a third.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from statistics import median_low
from typing import Final

from ledger.encoding import encode
from ledger.execution import Execution, get_parameters
from ledger.keys import digest
from ledger.parameters import Parameters
from ledger.records import (
    CANDIDATES,
    MEMBERS,
    SNAPSHOTS,
    Candidate,
    CandidateStatus,
    CommitteeSnapshot,
    SnapshotMember,
    height_key,
)
from ledger.state import State, StateReader

SMALLEST_SAFE: Final = 4
REMOVABLE_PART: Final = 10


class CommitteeUnknown(LookupError):
    """The snapshot for that height is not kept any more, or not taken yet."""


def snapshot_height(height: int, parameters: Parameters) -> int:
    """The height of the snapshot that is in force at ``height``."""
    return max(0, height - parameters.committee_delay_blocks) // parameters.epoch_blocks * parameters.epoch_blocks


def find_committee(state: State, height: int) -> CommitteeSnapshot | None:
    """The committee of ``height``, or None where its snapshot is not kept."""
    return SNAPSHOTS.get(state, height_key(snapshot_height(height, get_parameters(state))))


def committee_at(state: State | StateReader, height: int) -> CommitteeSnapshot:
    """The committee of ``height``: known from one epoch back up to the next height. Errors: CommitteeUnknown."""
    found = find_committee(state if isinstance(state, State) else State(state), height)
    if found is None:
        raise CommitteeUnknown(f"no committee snapshot for height {height}")
    return found


def committee_hash(snapshot: CommitteeSnapshot) -> bytes:
    """What the header carries of a committee, 32 bytes."""
    return digest(b"ecloud/committee/1", encode(snapshot))


def is_absent(candidate: Candidate) -> bool:
    """True if it signed fewer than half of the epoch's blocks that it could have signed."""
    return 2 * candidate.epoch_signed < candidate.epoch_counted


def next_snapshot(
    candidates: Mapping[bytes, Candidate],
    node_keys: Mapping[bytes, bytes],
    previous: CommitteeSnapshot,
    parameters: Parameters,
) -> CommitteeSnapshot:
    """The snapshot that follows ``previous``. Both mappings are by account; ``node_keys`` names every candidate's."""
    members = {
        account
        for account, candidate in candidates.items()
        if candidate.status == CandidateStatus.ACTIVE
        and candidate.pool_mvote >= parameters.pool_minimum_mvote
        and not is_absent(candidate)
    }
    leaving = [
        member.account
        for member in previous.members
        if member.account not in members and candidates[member.account].status != CandidateStatus.EXPELLED
    ]
    weights = {member.account: member.weight for member in previous.members}
    removable = sum(weights.values()) // REMOVABLE_PART
    removed = []
    for account in sorted(leaving, key=lambda account: _removal_order(account, candidates[account])):
        if _leaves_freely(candidates[account]):
            removed.append(account)
        elif weights[account] <= removable:
            removable -= weights[account]
            removed.append(account)
        else:
            members.add(account)
    if len(previous.members) >= SMALLEST_SAFE:
        while len(members) < SMALLEST_SAFE and removed:
            members.add(removed.pop())
    if not members:
        return previous
    return _weigh({account: candidates[account] for account in sorted(members)}, node_keys)


def take_snapshot(execution: Execution) -> None:
    """Takes the snapshot of an epoch's last block (or of the genesis) and forgets those that nobody needs: kept are
    the ones in force at the next height or later, and one before, under which evidence is still judged.
    """
    state, parameters, height = execution.state, execution.parameters, execution.height
    assert height % parameters.epoch_blocks == 0
    candidates = dict(CANDIDATES.scan(state))
    node_keys = {}
    for account in candidates:
        member = MEMBERS.get(state, account)
        assert member is not None, "only members are candidates"
        assert member.node_key is not None, "a candidate has a node key, since delegating one makes it"
        node_keys[account] = member.node_key
    previous = SNAPSHOTS.get(state, height_key(max(0, height - parameters.epoch_blocks)))
    assert previous is not None or height == 0, "the last epoch's snapshot is kept"
    snapshot = next_snapshot(candidates, node_keys, previous or CommitteeSnapshot(members=()), parameters)
    SNAPSHOTS.put(state, snapshot, height_key(height))
    oldest = height_key(max(0, snapshot_height(height + 1, parameters) - parameters.epoch_blocks))
    for key, _ in SNAPSHOTS.scan(state):
        if key < oldest:
            SNAPSHOTS.delete(state, key)


def _leaves_freely(candidate: Candidate) -> bool:
    return candidate.status == CandidateStatus.ACTIVE and not is_absent(candidate)


def _removal_order(account: bytes, candidate: Candidate) -> tuple[int, int | Fraction, bytes]:
    if candidate.status == CandidateStatus.SUSPENDED:
        return 0, candidate.suspended_height, account
    if is_absent(candidate):
        return 1, Fraction(candidate.epoch_signed, candidate.epoch_counted), account
    return 2, candidate.pool_mvote, account


def _weigh(members: Mapping[bytes, Candidate], node_keys: Mapping[bytes, bytes]) -> CommitteeSnapshot:
    smallest = max(1, median_low(candidate.pool_mvote for candidate in members.values()) // 2)
    largest = smallest * max(1, (len(members) - 1) // 3)
    return CommitteeSnapshot(
        members=tuple(
            SnapshotMember(
                account=account,
                node_key=node_keys[account],
                pool_mvote=candidate.pool_mvote,
                reputation_milli=candidate.reputation_milli,
                weight=min(max(candidate.pool_mvote, smallest), largest),
            )
            for account, candidate in members.items()
        )
    )

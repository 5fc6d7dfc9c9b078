"""Who votes on the next height, and why the others do not.

Weights are taken at an epoch's last block. Why somebody was left out then is read from what is kept of that moment: how
the members of the committee before stood, in the facts of the first draw after it.
"""

from __future__ import annotations

from functools import cached_property

from ledger.committee import snapshot_height
from ledger.records import CANDIDATES, NODE_KEYS, Candidate, CandidateStatus
from node.views.reader import NotFound, Reader
from storage.errors import Pruned


class Standing:
    """``weights``: of the committee of the next height, by account."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._parameters = reader.parameters
        self._taken_at = snapshot_height(reader.height + 1, self._parameters)
        self.weights = {
            member.account: member.weight for member in reader.committee_snapshot(reader.height + 1).members
        }

    def out_reason(self, account: bytes, candidate: Candidate) -> str | None:
        """Why the candidate has no vote, as ``models.Candidate`` says; None if it has one."""
        if account in self.weights:
            return None
        if candidate.status == CandidateStatus.EXPELLED:
            return "expelled"
        stood = self._stood.get(account)
        if CandidateStatus.SUSPENDED in {stood, candidate.status if stood is None else stood}:
            return "suspended"
        if candidate.pool_mvote < self._parameters.pool_minimum_mvote:
            return "pool_too_small"
        if stood is not None:
            return "low_participation"
        # Who has no vote makes no block: what its record names as its last is then the height at which it began.
        return "not_weighed_yet" if candidate.last_mined_height > self._taken_at else "left_out"

    @cached_property
    def _stood(self) -> dict[bytes, int]:
        """How each member of the committee before stood when the weights were taken; empty where nobody knows."""
        height = self._taken_at + 1
        try:
            facts, members = self._reader.draw_facts(height), self._reader.committee_snapshot(height).members
        except (NotFound, Pruned):
            return {}
        if self._taken_at == 0:
            return {}
        return {member.account: one.status for member, one in zip(members, facts.standings, strict=True)}


def household_warning(reader: Reader, node_key: bytes) -> str | None:
    """What the member whose node this is should know of its own standing; None while it votes, or is no candidate."""
    own = NODE_KEYS.get(reader.state, node_key)
    candidate = None if own is None else CANDIDATES.get(reader.state, own.account)
    if own is None or candidate is None:
        return None
    if candidate.status == CandidateStatus.EXPELLED:
        return (
            "this home is expelled: its node key signed two statements that contradict each other; only an approver "
            "can register it anew (ecloud chain evidence)"
        )
    if candidate.status == CandidateStatus.SUSPENDED:
        return (
            f"this home missed two turns in a row and is suspended since block {candidate.suspended_height}; its node "
            "rejoins by itself once it has caught up"
        )
    if Standing(reader).out_reason(own.account, candidate) in {"low_participation", "left_out"}:
        epoch_blocks = reader.parameters.epoch_blocks
        return (
            "this home has no vote: its node signed fewer than half of an epoch's blocks; it is weighed again at block "
            f"{(reader.height // epoch_blocks + 1) * epoch_blocks}"
        )
    return None

"""Which proposals and votes of others are right, and which cost the peer that handed them over.

1. Of the open height: a proposal is right if it is the drawn leader's, signed by it, not far ahead, its body is the one
   its header names, and its justification is right; a vote if it is a committee member's and signed; a certificate if
   it holds a quorum's good signatures.
2. Of the next height, and for 2Δ of the height before: votes that a member of the committee signed.
3. All else, votes of strangers among it, is ignored: not checked, not passed on, no offence. Whoever sent it may be
   ahead or behind.
4. A message is right if all its parts are, and wrong if any is wrong, for a part that was not verified must not be
   passed on. A message that says the same twice is wrong: no node sends that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from consensus.block import Block, Certificate
from consensus.certificates import verify_certificate
from consensus.engine import HeightContext
from consensus.messages import Proposal, Vote
from consensus.verifier import Verifier
from p2p.network import Verdict

VIEWS_AHEAD: Final = 64


class Judge:
    """See the module's rules."""

    def __init__(self, verifier: Verifier, body_is_bound: Callable[[Block], bool]) -> None:
        self._verifier = verifier
        self._body_is_bound = body_is_bound

    def votes(self, votes: Sequence[Vote], context: HeightContext, *, just_closed: bool) -> Verdict:
        """``context``: of the open height; ``just_closed``: whether the one before closed in the last 2Δ."""
        if len(set(votes)) < len(votes):
            return Verdict.REJECT
        return _together(self._vote(vote, context, just_closed) for vote in votes)

    def is_leaders(self, proposal: Proposal, context: HeightContext) -> bool:
        """True if the leader drawn for the view has signed it, at the open height."""
        seat = context.committee.index_of_node_key(proposal.node_key)
        if seat is None or context.leader(proposal.view) != seat:
            return False
        return self._verifier.statement(proposal.node_key, proposal.statement, proposal.signature)

    def proposal(self, proposal: Proposal, context: HeightContext, view: int) -> Verdict:
        """``context``, ``view``: of the open height."""
        if proposal.height != context.height or proposal.view > view + VIEWS_AHEAD:
            return Verdict.IGNORE
        if not self.is_leaders(proposal, context):
            return Verdict.REJECT
        if proposal.block.header.height != proposal.height or not self._body_is_bound(proposal.block):
            return Verdict.REJECT
        justification = (self._certificate(certificate, context) for certificate in proposal.justification)
        return _together([Verdict.ACCEPT, *justification])

    def _vote(self, vote: Vote, context: HeightContext, just_closed: bool) -> Verdict:
        height = vote.statement.height
        is_late = just_closed and height == context.height - 1
        if height not in {context.height, context.height + 1} and not is_late:
            return Verdict.IGNORE
        committee = context.parent_committee if is_late else context.committee
        if committee is None or committee.index_of_voter(vote.node_key) is None:
            return Verdict.IGNORE
        good = self._verifier.statement(vote.node_key, vote.statement, vote.signature)
        return Verdict.ACCEPT if good else Verdict.REJECT

    def _certificate(self, certificate: Certificate, context: HeightContext) -> Verdict:
        if certificate.height != context.height:
            return Verdict.IGNORE
        good = verify_certificate(certificate, context.committee, self._verifier)
        return Verdict.ACCEPT if good else Verdict.REJECT


def _together(verdicts: Iterable[Verdict]) -> Verdict:
    """Rule 4."""
    found: set[Verdict] = set()
    for verdict in verdicts:
        if verdict is Verdict.REJECT:
            return verdict
        found.add(verdict)
    return Verdict.ACCEPT if found == {Verdict.ACCEPT} else Verdict.IGNORE

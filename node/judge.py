"""Which consensus messages of others are passed on, and which cost the peer that handed them over.

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

from collections.abc import Callable, Iterable
from typing import Final

from consensus.block import Block, Certificate
from consensus.certificates import verify_certificate
from consensus.engine import HeightContext
from consensus.messages import Certificates, Message, Proposal, Vote, Votes
from consensus.verifier import Verifier
from node.clock import monotonic_ms
from p2p.network import Verdict

VIEWS_AHEAD: Final = 64


class Judge:
    """See the module's rules."""

    def __init__(self, verifier: Verifier, body_is_bound: Callable[[Block], bool]) -> None:
        self._verifier = verifier
        self._body_is_bound = body_is_bound

    def message(self, message: Message, context: HeightContext, view: int, closed_at_ms: int) -> Verdict:
        """``context``, ``view``: of the open height; ``closed_at_ms``: when the one before closed, monotonic."""
        match message:
            case Proposal():
                return self._proposal(message, context, view)
            case Votes(votes=votes):
                if len(set(votes)) < len(votes):
                    return Verdict.REJECT
                return _together(self._vote(vote, context, closed_at_ms) for vote in votes)
            case Certificates(certificates=certificates):
                if len(set(certificates)) < len(certificates):
                    return Verdict.REJECT
                return _together(self._certificate(certificate, context) for certificate in certificates)

    def _proposal(self, proposal: Proposal, context: HeightContext, view: int) -> Verdict:
        if proposal.height != context.height or proposal.view > view + VIEWS_AHEAD:
            return Verdict.IGNORE
        seat = context.committee.index_of_node_key(proposal.node_key)
        if seat is None or context.leader(proposal.view) != seat:
            return Verdict.REJECT
        if not self._verifier.statement(proposal.node_key, proposal.statement, proposal.signature):
            return Verdict.REJECT
        if proposal.block.header.height != proposal.height or not self._body_is_bound(proposal.block):
            return Verdict.REJECT
        justification = (self._certificate(certificate, context) for certificate in proposal.justification)
        return _together([Verdict.ACCEPT, *justification])

    def _vote(self, vote: Vote, context: HeightContext, closed_at_ms: int) -> Verdict:
        height = vote.statement.height
        just_closed = height == context.height - 1 and monotonic_ms() - closed_at_ms <= 2 * context.delta_ms
        if height not in {context.height, context.height + 1} and not just_closed:
            return Verdict.IGNORE
        committee = context.parent_committee if just_closed else context.committee
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

"""Engines and homes with one rule broken each. The simulation has to notice every one of them.

They live here, not as switches in the engine: each overrides the one method that keeps the rule.
"""

from __future__ import annotations

from consensus.committee import Committee
from consensus.engine import Engine, Instant, JournalContents
from consensus.engine.agreement import Agreement
from consensus.messages import Proposal
from ledger.records import CommitteeSnapshot
from ledger.statements import StatementKind
from tests.simulation.chain import ChainFacts
from tests.simulation.home import Home
from tests.simulation.world import World


class _FinalizesAfterNullify(Agreement):
    def _may_cast(self, kind: StatementKind, view: int) -> bool:
        if kind == StatementKind.FINALIZE:
            return (view, kind) not in self._mine
        return super()._may_cast(kind, view)


class _BelievesLeaders(Agreement):
    def _is_justified(self, proposal: Proposal, block_hash: bytes) -> bool:
        return True


class _NotarizesTwice(Agreement):
    def on_proposal(self, proposal: Proposal, now: Instant) -> None:
        view = proposal.view
        if view == self.view and view in self._proposals and self._proposals[view][1] != proposal.block.hash:
            del self._proposals[view]
            self._mine.pop((view, StatementKind.NOTARIZE), None)
        super().on_proposal(proposal, now)


class _HalfCommittee(Committee):
    def is_quorum(self, weight: int) -> bool:
        return 2 * weight > self.total_weight


class _HalfChainFacts(ChainFacts):
    """Everyone agrees that half is enough, the checker too: what has to be noticed is what comes of it."""

    def _make_committee(self, snapshot: CommitteeSnapshot) -> Committee:
        return _HalfCommittee(snapshot)


def _engine(agreement: type[Agreement]) -> type[Engine]:
    return type(f"Engine{agreement.__name__}", (Engine,), {"agreement_type": agreement})


class FinalizeAfterNullify(World):
    engine_type = _engine(_FinalizesAfterNullify)


class JustificationUnchecked(World):
    engine_type = _engine(_BelievesLeaders)


class TwoNotarizeVotes(World):
    engine_type = _engine(_NotarizesTwice)
    overwrites = True


class HalfQuorum(World):
    chain_type = _HalfChainFacts


class NoJournal(World):
    def load_journal(self, home: Home) -> JournalContents:
        for kept in (home.disk.votes, home.disk.certificates, home.disk.bodies, home.disk.proposals):
            kept.clear()
        return JournalContents()


class NoVotesJournaled(World):
    def load_journal(self, home: Home) -> JournalContents:
        home.disk.votes.clear()
        return super().load_journal(home)


class NoCertificatesJournaled(World):
    def load_journal(self, home: Home) -> JournalContents:
        home.disk.certificates.clear()
        return super().load_journal(home)


class NoBodiesJournaled(World):
    """Neither as bodies nor inside the proposals of one's own."""

    def load_journal(self, home: Home) -> JournalContents:
        home.disk.bodies.clear()
        home.disk.proposals.clear()
        return super().load_journal(home)

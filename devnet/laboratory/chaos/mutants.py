"""Homes with one rule broken each. The laboratory has to notice every one of them, or it proves nothing.

1. They live here, not as switches in the product: each puts in the place of one part another that overrides the one
   method which keeps the rule. Every honest home of the run has it; the checker has not.
2. Each comes with the enemies and the weather that exploit exactly this hole (``with_mutant``). The same enemies and
   the same weather must harm nobody whose rules are whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from consensus.block import Block
from consensus.chain_rules import ExecutedBlock, OpenHeight, Parent, validate_block
from consensus.committee import Committee, committee_of
from consensus.engine import Engine, Instant
from consensus.engine.agreement import Agreement
from consensus.messages import Proposal
from devnet.laboratory.chaos.disk import FaultyJournal
from devnet.laboratory.chaos.parts import LabChain, Parts
from devnet.laboratory.chaos.setting import Setting, SettingError
from devnet.laboratory.chaos.signatures import StubBeacon
from ledger.records import SNAPSHOTS, height_key
from ledger.state import State
from ledger.statements import StatementKind
from storage.errors import VoteConflict
from storage.interface import JournalContents, JournalRecord, VoteRecord
from storage.state_tree import update


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


def _engine(agreement: type[Agreement]) -> type[Engine]:
    return type(f"Engine{agreement.__name__}", (Engine,), {"agreement_type": agreement})


class _OverwritingJournal(FaultyJournal):
    """Lets a vote be replaced by another."""

    def write(self, records: Sequence[JournalRecord]) -> None:
        try:
            super().write(records)
        except VoteConflict:
            for record in records:
                if isinstance(record, VoteRecord):
                    self._heights[record.height].votes.pop((record.view, record.kind), None)
            super().write(records)


class _ForgetsVotes(FaultyJournal):
    def load(self, height: int) -> JournalContents:
        return replace(super().load(height), votes={})


class _ForgetsCertificates(FaultyJournal):
    def load(self, height: int) -> JournalContents:
        return replace(super().load(height), certificates={})


class _ForgetsBodies(FaultyJournal):
    """Neither as bodies nor inside the proposals of one's own."""

    def load(self, height: int) -> JournalContents:
        return replace(super().load(height), bodies={}, proposals={})


class _HalfCommittee(Committee):
    def is_quorum(self, weight: int) -> bool:
        return 2 * weight > self.total_weight


class _HalfChain(LabChain):
    def _open_on(self, parent: Parent) -> OpenHeight:
        opened = super()._open_on(parent)
        opened.committee = _HalfCommittee(opened.committee.snapshot)
        if opened.parent_committee is not None:
            opened.parent_committee = _HalfCommittee(opened.parent_committee.snapshot)
        return opened


class _HastyChain(LabChain):
    """Takes the newest snapshot, which is not in force yet."""

    def _open_on(self, parent: Parent) -> OpenHeight:
        opened = super()._open_on(parent)
        epoch = opened.parameters.epoch_blocks
        newest = SNAPSHOTS.get(State(self.store), height_key(parent.height // epoch * epoch))
        assert newest is not None
        opened.committee = committee_of(newest)
        return opened


class _BelievedBeacon(StubBeacon):
    def verify(self, public_key: bytes, alpha: bytes, proof: bytes) -> bytes:
        return self.output(proof)


class _BelievingChain(LabChain):
    beacon = _BelievedBeacon()


class _RootlessChain(LabChain):
    """Executes a block and takes whatever state root its header names."""

    def execute(self, block: Block) -> ExecutedBlock:
        def believed(changes: dict[bytes, bytes | None]) -> bytes:
            self._trees[block.hash] = update(self.store.tree_node, changes)
            return block.header.state_root

        return validate_block(self.open, block, self._verifier, believed, self._check_signatures, self.beacon)


@dataclass(frozen=True, slots=True)
class Mutant:
    """``sentence`` says what is broken. ``enemy`` is the behaviour that exploits it, None for any; ``storminess`` and
    ``still`` are its weather. ``shows`` are words of the fault by which it is known.
    """

    name: str
    sentence: str
    parts: Parts
    shows: tuple[str, ...]
    enemy: str | None = None
    storminess: float = 0.5
    still: bool = False
    forgives: bool = True


MUTANTS: Final[dict[str, Mutant]] = {
    mutant.name: mutant
    for mutant in (
        Mutant(
            "finalize-after-nullify",
            "a home votes finalize in a view it has nullified",
            Parts(engine_type=_engine(_FinalizesAfterNullify)),
            ("can be convicted",),
            "Withholder",
        ),
        Mutant(
            "half-quorum",
            "more than half of the weight is taken for a quorum",
            Parts(chain_type=_HalfChain),
            ("that is not good", "does not make it final"),
            "Equivocator",
            forgives=False,
        ),
        Mutant(
            "no-vote-journal",
            "votes are not read back from the journal",
            Parts(journal_type=_ForgetsVotes),
            ("can be convicted",),
            "Equivocator",
            storminess=1.0,
        ),
        Mutant(
            "no-certificate-journal",
            "certificates are not read back from the journal",
            Parts(journal_type=_ForgetsCertificates),
            ("in calm weather",),
            "Splitter",
            storminess=1.0,
            still=True,
        ),
        Mutant(
            "no-body-journal",
            "blocks and own proposals are not read back from the journal",
            Parts(journal_type=_ForgetsBodies),
            ("in calm weather", "can be convicted"),
            "Splitter",
            storminess=1.0,
            still=True,
        ),
        Mutant(
            "justification-unchecked",
            "a proposal is taken whatever was notarized before it",
            Parts(engine_type=_engine(_BelievesLeaders)),
            ("fork", "cannot execute what a quorum made final"),
            "UnjustifiedLeader",
            storminess=1.0,
            still=True,
        ),
        Mutant(
            "two-notarize-votes",
            "a home notarizes every block it is shown in a view",
            Parts(engine_type=_engine(_NotarizesTwice), journal_type=_OverwritingJournal),
            ("can be convicted",),
            "Equivocator",
        ),
        Mutant(
            "wrong-committee",
            "a height is voted on by a committee that is not in force yet",
            Parts(chain_type=_HastyChain),
            ("another committee",),
        ),
        Mutant(
            "unverified-beacon",
            "the proof of a block's beacon is not verified",
            Parts(chain_type=_BelievingChain),
            ("unproven beacon",),
            "FalseMaker",
        ),
        Mutant(
            "state-root-unchecked",
            "a block's state root is believed",
            Parts(chain_type=_RootlessChain),
            ("has not the header's root",),
            "FalseMaker",
        ),
    )
}


def find_mutant(name: str) -> Mutant:
    """Errors: SettingError."""
    if name not in MUTANTS:
        raise SettingError(f"no mutant is called {name!r}; there are {', '.join(sorted(MUTANTS))}")
    return MUTANTS[name]


def parts_of(setting: Setting) -> Parts:
    """What the homes of a run are made of."""
    return Parts() if setting.mutant is None else find_mutant(setting.mutant).parts


def with_mutant(setting: Setting, name: str) -> Setting:
    """The setting in which this mutant has the enemies and the weather it deserves. Errors: SettingError."""
    mutant = find_mutant(name)
    return replace(
        setting,
        mutant=name,
        most=True,
        style=mutant.enemy,
        storminess=mutant.storminess,
        still=mutant.still,
        forgives=mutant.forgives,
    )

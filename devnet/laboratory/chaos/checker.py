"""What must hold at every moment of every run; the first thing that does not ends the run and names itself.

1. One block per height, on the block before it. Every commit carries a certificate that ``verify_final`` finds good for
   the committee whose hash the parent's header names; the ledger's own state names the same committee.
2. The beacon of every committed block is proven by the key of the leader drawn for its view.
3. The state tree of every home has the root that the header names. Sums hold: the ledger checks them after each block,
   and at every third epoch's end the whole state is summed.
4. Certificates that honest homes pass on are true, and in no view are two blocks notarized.
5. No honest home says what would convict it: two notarize or finalize votes, nullify and finalize, two proposals; and
   none is expelled.
6. Evidence names byzantine homes only, and is true. It ends in a block that expels the offender.
7. No vote or proposal of one's own is sent that is not on the disk.
8. Every transaction that a home has accepted from its household is in every honest chain, or still waits somewhere; but
   for reports that have expired.
9. Buffers keep their bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consensus.block import Certificate, Header
from consensus.certificates import verify_certificate
from consensus.chain_rules import verify_final
from consensus.committee import Committee, committee_of
from consensus.engine import Evidence, HeightContext
from consensus.engine.neighbours import EARLY_MESSAGES_PER_MEMBER
from consensus.messages import Message, Proposal, Votes
from consensus.vrf import VrfError
from devnet.laboratory.chaos.committed import Committed
from devnet.laboratory.chaos.faults import FaultKind, Found
from devnet.laboratory.chaos.founding import EPOCH_BLOCKS
from devnet.laboratory.chaos.signatures import StubBeacon, StubVerifier
from devnet.laboratory.chaos.words import statement_words
from ledger.block import BrokenInvariant
from ledger.committee import committee_at
from ledger.conservation import check_all
from ledger.records import CANDIDATES, CandidateStatus
from ledger.state import State
from ledger.statements import Statement, StatementKind, contradict
from ledger.transactions import Kind, Transaction
from storage.state_tree import root_of

if TYPE_CHECKING:
    from devnet.laboratory.chaos.home import Home
    from devnet.laboratory.chaos.world import World

REMEMBERED_HEIGHTS: Final = 64
EPOCHS_BETWEEN_SUMS: Final = 3
EXPELLED_WITHIN: Final = 32
"""So many blocks after a home has seen evidence, unless it crashed, the offender must have been expelled."""


class Checker:
    def __init__(self, world: World) -> None:
        self.world = world
        self.final: dict[int, bytes] = {0: world.chain_id}
        self.notarized: dict[tuple[int, int], bytes] = {}
        self.said: dict[tuple[int, int, int], list[Statement]] = {}  # (height, view, home)
        self.highest_view = 0
        self.evidence: dict[int, dict[int, tuple[int, int]]] = {}
        """Offender not yet expelled → the homes that have evidence → (since height, the home's generation)."""
        self.waiting: dict[bytes, set[int]] = {}  # accepted transaction → the homes in whose chain it is not
        self._reports: dict[bytes, int] = {}  # report → the last height it is good for
        self._committees: dict[int, Committee] = {}
        self._true: set[Certificate] = set()
        self._proven: set[int] = set()  # heights whose block's beacon was checked
        self._verifier = StubVerifier()
        self._beacon = StubBeacon()

    @property
    def height(self) -> int:
        """The highest that is final anywhere: heights become final one after the other, from 0 on."""
        return len(self.final) - 1

    # What homes do

    def opened(self, home: Home, context: HeightContext) -> None:
        height = context.height
        if height not in self._committees:
            self._committees[height] = committee_of(committee_at(home.disk.chain, height))
        self._require(
            context.committee.hash == self._committees[height].hash,
            f"home {home.number} opens height {height} with another committee than the parent's header names",
        )

    def sees(self, home: Home, message: Message) -> None:
        """A message an honest home is about to send."""
        if isinstance(message, Votes):
            for vote in message.votes:
                assert vote.node_key == home.node_key
                self._says(home, vote.statement)
                self._is_journaled(home, vote.statement)
        elif isinstance(message, Proposal):
            if message.node_key == home.node_key:
                self._says(home, message.statement)
                self._is_journaled(home, message.statement)
        else:
            for certificate in message.certificates:
                self._is_true(home, certificate)

    def sees_evidence(self, home: Home, evidence: Evidence) -> None:
        offender = self.world.numbers[evidence.node_key]
        self._require(
            offender in self.world.founding.byzantine, f"home {home.number} accuses home {offender}, which is honest"
        )
        for signed in (evidence.first, evidence.second):
            good = self._verifier.statement(evidence.node_key, signed.statement, signed.signature)
            self._require(good, f"home {home.number} has evidence that is not signed")
        good = contradict(evidence.first.statement, evidence.second.statement)
        self._require(good, f"home {home.number} has evidence of nothing")
        seen = self.evidence.setdefault(offender, {})
        if seen.setdefault(home.number, (self.height, home.generation))[1] != home.generation:
            seen[home.number] = (self.height, home.generation)
        self.world.note(
            f"home {home.number} sees home {offender} equivocate: {statement_words(evidence.first.statement)} and "
            f"{statement_words(evidence.second.statement)}"
        )

    def accepted(self, home: Home, transaction: Transaction) -> None:
        """A home has told its household that the transaction is taken in."""
        self.waiting[transaction.id] = set(self.world.homes)
        if transaction.kind is Kind.REPORT_EQUIVOCATION:
            self._reports[transaction.id] = transaction.valid_until_height
        self.world.report.transactions += 1

    def committed(self, home: Home, committed: Committed) -> None:
        """A block is on a home's disk."""
        header, certificate = committed.header, committed.certificate
        height, block_hash = header.height, header.hash
        is_first = height not in self.final
        self._require(
            self.final.setdefault(height, block_hash) == block_hash,
            f"fork: at height {height} home {home.number} has block {block_hash.hex()[:8]}, another home block "
            f"{self.final[height].hex()[:8]}",
        )
        if is_first:
            self._require(header.parent_hash == self.final[height - 1], f"block {height} is not on its parent")
        committee = self._committees.get(height)
        if committee is not None:
            self._check_final(home, header, certificate, committee)
        if committed.is_tip:
            self._check_state(home, header)
        for transaction_id in committed.transaction_ids:
            missing = self.waiting.get(transaction_id)
            if missing is not None:
                missing.discard(home.number)
                if not missing:
                    del self.waiting[transaction_id]
        if is_first and committed.is_tip and height % EPOCH_BLOCKS == 0:
            self._check_epoch(home, height)

    def check_buffers(self, home: Home) -> None:
        bound = EARLY_MESSAGES_PER_MEMBER * self.world.setting.homes
        self._require(
            len(home.engine._early) <= bound, f"home {home.number} keeps more early messages than are allowed"
        )

    def check_transactions(self) -> None:
        """Rule 8. Who is down still has its file. A report may expire: where another's came first, no home but its
        own takes it in any more; that a deed ends in a block is rule 6.
        """
        for transaction_id in [report for report, until in self._reports.items() if until < self.height]:
            del self._reports[transaction_id]
            self.waiting.pop(transaction_id, None)
        for transaction_id, missing in self.waiting.items():
            queued = any(
                transaction_id in home.intake.mempool if home.up else home.disk.waiting.holds(transaction_id)
                for home in self.world.homes.values()
            )
            behind = all(self.world.homes[number].disk.height < self.height for number in missing)
            self._require(
                queued or (behind and len(missing) < len(self.world.homes)),
                f"transaction {transaction_id.hex()[:8]} was accepted, waits nowhere, and is not in the chain of "
                + ", ".join(f"home {number}" for number in sorted(missing)),
            )

    # Parts

    def _check_final(self, home: Home, header: Header, certificate: Certificate, committee: Committee) -> None:
        height = header.height
        if height in self.world.turns and height not in self._proven:
            self._check_beacon(home, header, committee)
            self._proven.add(height)
        if certificate not in self._true:
            final = verify_final(header, certificate, committee, self._verifier)
            self._require(
                final, f"home {home.number} has height {height} with a certificate that does not make it final"
            )
            self._true.add(certificate)

    def _check_state(self, home: Home, header: Header) -> None:
        height = header.height
        root = root_of(home.disk.chain.tree_node)
        self._require(
            root == header.state_root, f"home {home.number}'s state after height {height} has not the header's root"
        )
        next_committee = committee_of(committee_at(home.disk.chain, height + 1))
        self._require(
            next_committee.hash == header.committee_hash,
            f"the header of height {height} names another committee for the next than home {home.number}'s state",
        )
        self._committees.setdefault(height + 1, next_committee)

    def _check_beacon(self, home: Home, header: Header, committee: Committee) -> None:
        turn = self.world.turns[header.height]
        leader = committee.seats[turn.draw.leader(header.view)]
        self._require(
            header.producer == leader.account, f"block {header.height} is not by the leader drawn for its view"
        )
        try:
            self._beacon.verify(leader.node_key, turn.alpha(header.view), header.beacon_proof)
        except VrfError:
            self._require(False, f"home {home.number} has committed block {header.height} with an unproven beacon")

    def _check_epoch(self, home: Home, height: int) -> None:
        if height % (EPOCHS_BETWEEN_SUMS * EPOCH_BLOCKS) == 0:
            try:
                check_all(home.disk.chain)
            except BrokenInvariant as error:
                self._require(False, f"home {home.number}, after height {height}: {error}")
        state = State(home.disk.chain)
        for number in self.world.founding.honest:
            candidate = CANDIDATES.get(state, self.world.founding.members[number].id)
            assert candidate is not None
            self._require(candidate.status != CandidateStatus.EXPELLED, f"home {number} is honest and was expelled")
        self._forget_before(height - REMEMBERED_HEIGHTS)
        self.check_transactions()
        for offender, seen in self.evidence.items():
            for number, (since, generation) in seen.items():
                self._require(
                    height - since <= EXPELLED_WITHIN or self.world.homes[number].generation != generation,
                    f"home {number} saw home {offender} equivocate at height {since}, and it is not expelled",
                )

    def settled(self, offender: int) -> None:
        """The ledger has convicted a home, or taken it in again: what was seen before does not count any more."""
        self.evidence.pop(offender, None)

    def _says(self, home: Home, statement: Statement) -> None:
        said = self.said.setdefault((statement.height, statement.view, home.number), [])
        if statement in said:
            return
        self.highest_view = max(self.highest_view, statement.view)
        for earlier in said:
            if contradict(earlier, statement):
                raise Found(
                    FaultKind.CONVICTABLE,
                    f"home {home.number} is honest and can be convicted: it has signed "
                    f"{statement_words(earlier)} and {statement_words(statement)}",
                )
        said.append(statement)

    def _is_journaled(self, home: Home, statement: Statement) -> None:
        """Rule 7. (Who lost its journal, and so is silent, may pass on what it once proposed.)"""
        if home.disk.height >= statement.height or not home.engine.is_voting:
            return
        written = home.disk.journal.written(statement.height)
        self._require(
            statement.view in written.proposals
            if statement.kind == StatementKind.PROPOSAL
            else (statement.view, statement.kind) in written.votes,
            f"home {home.number} sends {statement_words(statement)}, which is not on its disk",
        )

    def _is_true(self, home: Home, certificate: Certificate) -> None:
        if certificate not in self._true:
            committee = self._committees.get(certificate.height)
            if committee is None:
                return
            self._require(
                verify_certificate(certificate, committee, self._verifier),
                f"home {home.number} passes on a certificate of {certificate.height}.{certificate.view} that is not "
                "good",
            )
            self._true.add(certificate)
        if certificate.kind != StatementKind.NULLIFY:
            assert certificate.block_hash is not None
            place = (certificate.height, certificate.view)
            first = self.notarized.setdefault(place, certificate.block_hash)
            self._require(first == certificate.block_hash, f"two blocks are notarized at {place[0]}.{place[1]}")

    def _forget_before(self, height: int) -> None:
        self._true = {certificate for certificate in self._true if certificate.height >= height}
        self._proven = {one for one in self._proven if one >= height}
        self.notarized = {place: found for place, found in self.notarized.items() if place[0] >= height}
        self.said = {place: found for place, found in self.said.items() if place[0] >= height}
        self._committees = {one: found for one, found in self._committees.items() if one >= height}

    def _require(self, holds: bool, text: str) -> None:
        if not holds:
            raise Found(FaultKind.VIOLATION, text)

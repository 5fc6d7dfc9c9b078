"""What must hold at every moment of every run; a violation ends the run and names itself.

1. One block per height, on the block before it; every commit carries a certificate that verifies strictly.
2. Certificates that honest homes pass on are true, and in no view are two blocks notarized.
3. No honest home says what would convict it: two notarize or finalize votes, nullify and finalize, two proposals.
4. Evidence names byzantine homes only, and is true.
5. No vote or proposal of one's own is sent that is not on the disk. (Who lost its journal, and so is silent, may pass
   on what it once proposed.)
6. Buffers keep their bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.block import Block, Certificate
from consensus.certificates import verify_certificate
from consensus.engine import Evidence
from consensus.engine.neighbours import EARLY_MESSAGES_PER_MEMBER
from consensus.messages import Message, Proposal, Votes
from ledger.statements import Statement, StatementKind, contradict
from tests.simulation.chain import GENESIS_HASH
from tests.simulation.signatures import StubVerifier

if TYPE_CHECKING:
    from tests.simulation.home import Home
    from tests.simulation.world import World


class Violation(AssertionError):
    """An invariant was broken: a fork, a false certificate, an honest home that could be convicted."""


class Checker:
    def __init__(self, world: World) -> None:
        self.world = world
        self.final: dict[int, bytes] = {0: GENESIS_HASH}
        self.notarized: dict[tuple[int, int], bytes] = {}
        self.said: dict[tuple[int, int, int], list[Statement]] = {}
        self.evidence: set[tuple[int, int]] = set()
        self._true: set[Certificate] = set()

    def sees(self, home: Home, message: Message) -> None:
        """A message an honest home is about to send."""
        if isinstance(message, Votes):
            for vote in message.votes:
                assert vote.node_key == home.node_key
                self._says(home, vote.statement)
                statement = vote.statement
                if home.disk.height < statement.height:
                    self._require(
                        (statement.height, statement.view, statement.kind) in home.disk.votes,
                        f"home {home.number} sent {statement} that is not on its disk",
                    )
        elif isinstance(message, Proposal):
            if message.node_key == home.node_key:
                self._says(home, message.statement)
                if home.disk.height < message.height and home.engine.is_voting:
                    self._require(
                        (message.height, message.view) in home.disk.proposals,
                        f"home {home.number} sent a proposal that is not on its disk",
                    )
        else:
            for certificate in message.certificates:
                self._certificate(home, certificate)

    def sees_commit(self, home: Home, block: Block, block_hash: bytes, certificate: Certificate) -> None:
        height = block.header.height
        first = self.final.setdefault(height, block_hash)
        self._require(first == block_hash, f"fork at height {height}: home {home.number} committed another block")
        self._require(block.header.parent_hash == self.final[height - 1], f"height {height} is not on its parent")
        named = (certificate.kind, certificate.height, certificate.block_hash)
        self._require(named == (StatementKind.FINALIZE, height, block_hash), "a commit by a certificate of another")
        self._certificate(home, certificate)
        bound = EARLY_MESSAGES_PER_MEMBER * self.world.setting.homes
        self._require(len(home.engine._early) <= bound, "more early messages than are allowed")

    def sees_evidence(self, home: Home, evidence: Evidence) -> None:
        offender = self.world.number_of(evidence.node_key)
        verifier = StubVerifier()
        self._require(offender in self.world.chain.byzantine, f"home {home.number} accuses honest home {offender}")
        for signed in (evidence.first, evidence.second):
            self._require(verifier.statement(evidence.node_key, signed.statement, signed.signature), "false evidence")
        self._require(contradict(evidence.first.statement, evidence.second.statement), "evidence of nothing")
        self.evidence.add((offender, evidence.first.statement.height))

    def _says(self, home: Home, statement: Statement) -> None:
        said = self.said.setdefault((home.number, statement.height, statement.view), [])
        if statement in said:
            return
        for earlier in said:
            self._require(
                not contradict(earlier, statement),
                f"home {home.number} can be convicted: {_words(earlier)} and {_words(statement)}",
            )
        said.append(statement)

    def _certificate(self, home: Home, certificate: Certificate) -> None:
        if certificate not in self._true:
            committee = self.world.chain.committee(certificate.height)
            self._require(
                verify_certificate(certificate, committee, StubVerifier()), f"home {home.number}: false certificate"
            )
            self._true.add(certificate)
        if certificate.kind != StatementKind.NULLIFY:
            assert certificate.block_hash is not None
            first = self.notarized.setdefault((certificate.height, certificate.view), certificate.block_hash)
            self._require(
                first == certificate.block_hash, f"two blocks notarized at {certificate.height}.{certificate.view}"
            )

    def _require(self, holds: bool, fault: str) -> None:
        if not holds:
            raise Violation(f"{fault} [{self.world.name}, at {self.world.now_ms} ms]")


def _words(statement: Statement) -> str:
    name = StatementKind(statement.kind).name
    block_hash = "" if statement.block_hash is None else statement.block_hash.hex()[:8]
    return f"{name} {statement.height}.{statement.view} {block_hash}".strip()

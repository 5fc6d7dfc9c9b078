"""Byzantine homes: together less than a third of the weight, one mind, and each a behaviour of its own.

The mind hears every honest message the moment it is sent, wherever it goes; its own messages are never lost and arrive
when it likes. It forges nothing: it signs with byzantine keys only, and completes certificates from what it heard.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from consensus.block import Block, Certificate
from consensus.certificates import build_certificate, signatures_of
from consensus.engine import view_timeout_ms
from consensus.messages import Certificates, Message, Proposal, Vote, Votes
from ledger.statements import Statement, StatementKind
from tests.simulation.chain import DELTA_MS, GENESIS_HASH, INTERVAL_MS, TOLERANCE_MS, node_key_of
from tests.simulation.signatures import StubSigner

if TYPE_CHECKING:
    from tests.simulation.world import World

NOTARIZE, NULLIFY, FINALIZE = StatementKind.NOTARIZE, StatementKind.NULLIFY, StatementKind.FINALIZE

Place = tuple[int, int]  # height, view


class Adversary:
    """The one mind."""

    def __init__(self, world: World, style: str | None) -> None:
        self.world = world
        self.rng = world.rng
        self.honest = sorted(world.homes)
        self.signers = {home: StubSigner(node_key_of(home)) for home in sorted(world.chain.byzantine)}
        self.signatures: dict[Statement, dict[int, bytes]] = defaultdict(dict)
        self.certificates: dict[tuple[int, int, int], Certificate] = {}
        self.finalizations: set[Place] = set()
        self.blocks: dict[bytes, Block] = {}
        self.tips: dict[int, bytes] = {0: GENESIS_HASH}
        self.tip_certificates: dict[int, Certificate] = {}
        self.led: set[Place] = set()
        self.seen: set[tuple[int, int, bytes]] = set()
        if style is None and self.rng.random() < 0.5:
            style = self.rng.choice(sorted(BEHAVIOURS))
        self.actors = {home: self._actor(style or self.rng.choice(sorted(BEHAVIOURS))) for home in self.signers}

    def _actor(self, style: str) -> Actor:
        return BEHAVIOURS[style](self)

    def begin(self) -> None:
        self._await_turns(1, INTERVAL_MS)

    # Hearing

    def hears(self, message: Message) -> None:
        if not self.signers:
            return
        if isinstance(message, Votes):
            for vote in message.votes:
                self._hears_vote(vote)
        elif isinstance(message, Proposal):
            self.sees_proposal(message)
        else:
            for certificate in message.certificates:
                self._learn(certificate)
        for home, actor in self.actors.items():
            actor.hears(home, message)

    def _hears_vote(self, vote: Vote) -> None:
        statement = vote.statement
        index = self.world.chain.committee(statement.height).index_of_voter(vote.node_key)
        if index is not None and index not in self.signatures[statement]:
            self.signatures[statement][index] = vote.signature
            self._complete(statement)

    def sees_proposal(self, proposal: Proposal) -> None:
        block_hash = proposal.block.hash
        key = (proposal.height, proposal.view, block_hash)
        if key not in self.seen:
            self.seen.add(key)
            self.blocks[block_hash] = proposal.block
            for home, actor in self.actors.items():
                actor.sees_proposal(home, proposal, block_hash)
            self._complete(Statement(NOTARIZE, proposal.height, proposal.view, block_hash))

    def _complete(self, statement: Statement) -> None:
        """Adds all byzantine signatures; if that is a quorum, there is a certificate only this mind knows of."""
        committee = self.world.chain.committee(statement.height)
        signatures = dict(self.signatures[statement])
        for signer in self.signers.values():
            index = committee.index_of_voter(signer.node_key)
            if index is not None:
                signatures[index] = signer.sign(statement)
        if committee.is_quorum(sum(committee.weights[index] for index in signatures)):
            self._learn(build_certificate(statement, signatures, committee))

    def _learn(self, certificate: Certificate) -> None:
        place = (certificate.height, certificate.view)
        if certificate.kind == FINALIZE:
            if place in self.finalizations:
                return
            self.finalizations.add(place)
            self.tip_certificates.setdefault(certificate.height, certificate)
        else:
            key = (certificate.kind, *place)
            if key in self.certificates:
                return
            self.certificates[key] = certificate
            delay_ms = self.rng.randint(0, 200)
            self.world.at(self.world.now_ms + delay_ms, lambda: self._lead(certificate.height, certificate.view + 1))
        for home, actor in self.actors.items():
            actor.learns(home, certificate)

    def hears_of_block(self, height: int, block: Block) -> None:
        if height not in self.tips:
            self.tips[height] = block.hash
            early_ms = self.rng.choice((0, 0, 500))
            self._await_turns(height + 1, block.header.time_ms + INTERVAL_MS - early_ms)

    def _await_turns(self, height: int, at_ms: int) -> None:
        if self.signers:
            self.world.at(at_ms, lambda: self._lead(height, 0))

    def _lead(self, height: int, view: int) -> None:
        parent = self.tips.get(height - 1)
        if parent is None or (height, view) in self.led or (height > 1 and height - 1 not in self.tip_certificates):
            return
        facts = self.world.chain.facts(parent)
        home = self.world.chain.home_of_seat(height, facts.leader(view))
        if home in self.actors:
            self.led.add((height, view))
            self.actors[home].leads(home, height, view)

    # Acting

    def vote(self, home: int, kind: StatementKind, place: Place, block_hash: bytes | None) -> Votes:
        signer = self.signers[home]
        statement = Statement(kind, *place, block_hash)
        return Votes((Vote(statement, signer.node_key, signer.sign(statement)),))

    def send(self, home: int, targets: Sequence[int], message: Message, delay_ms: int | None = None) -> None:
        for target in targets:
            after_ms = self.rng.randint(0, 300) if delay_ms is None else delay_ms
            self.world.tell(target, message, node_key_of(home), after_ms)

    def some(self) -> list[int]:
        share = self.rng.choice((0.2, 0.5, 0.5, 0.8, 1))
        return [home for home in self.honest if self.rng.random() < share]

    def halves(self) -> tuple[list[int], list[int]]:
        homes = self.rng.sample(self.honest, len(self.honest))
        cut = self.rng.randint(1, max(1, len(homes) - 1))
        return homes[:cut], homes[cut:]

    def nullifications(self, height: int, view: int) -> tuple[Certificate, ...]:
        """Those known of the views below."""
        keys = ((NULLIFY, height, below) for below in range(view))
        return tuple(self.certificates[key] for key in keys if key in self.certificates)

    def fresh(self, home: int, place: Place, *, valid: bool = True, early_ms: int = 0) -> Proposal:
        """A block of its own, with what justification there is."""
        height, view = place
        tip = self.world.chain.tips[self.tips[height - 1]]
        time_ms = max(self.world.now_ms, tip.time_ms + INTERVAL_MS) + early_ms
        parent_certificate = self.tip_certificates.get(height - 1)
        block = self.world.chain.make_block(tip.hash, view, time_ms, parent_certificate, self.rng, valid=valid)
        return self.proposal(home, place, block, self.nullifications(*place))

    def repeated(self, home: int, place: Place) -> Proposal | None:
        """A block of an earlier view that may be repeated here."""
        height, view = place
        options: list[Proposal] = []
        after: list[Certificate] = []
        for below in range(view - 1, -1, -1):
            notarization = self.certificates.get((NOTARIZE, height, below))
            if notarization is not None and notarization.block_hash in self.blocks:
                block = self.blocks[notarization.block_hash]
                options.append(self.proposal(home, place, block, (notarization, *reversed(after))))
            nullification = self.certificates.get((NULLIFY, height, below))
            if nullification is None:
                break
            after.append(nullification)
        return self.rng.choice(options) if options else None

    def proposal(self, home: int, place: Place, block: Block, justification: tuple[Certificate, ...]) -> Proposal:
        signer = self.signers[home]
        signature = signer.sign(Statement(StatementKind.PROPOSAL, *place, block.hash))
        return Proposal(*place, block, justification, signer.node_key, signature)

    def is_justified(self, place: Place) -> bool:
        return len(self.nullifications(*place)) == place[1]


class Actor:
    """A home that votes for what it is shown and leads as it should; each behaviour below departs from that."""

    def __init__(self, mind: Adversary) -> None:
        self.mind = mind
        self.rng = mind.rng

    def hears(self, home: int, message: Message) -> None:
        """Any honest message."""

    def sees_proposal(self, home: int, proposal: Proposal, block_hash: bytes) -> None:
        chance = self.rng.random()
        if chance >= 0.3:
            targets = self.mind.some() if chance < 0.7 else self.mind.honest
            place = (proposal.height, proposal.view)
            self.mind.send(home, targets, self.mind.vote(home, NOTARIZE, place, block_hash))

    def learns(self, home: int, certificate: Certificate) -> None:
        """A certificate that nobody else may know yet."""
        late_ms = self.rng.choice((0, 100, 1_000, 2_900, 4_000, 8_000))
        if self.rng.random() < 0.7:
            targets = [self.rng.choice(self.mind.honest)] if self.rng.random() < 0.5 else self.mind.some()
            self.mind.send(home, targets, Certificates((certificate,)), late_ms)

    def leads(self, home: int, height: int, view: int) -> None:
        self.show(home, self.mind.honest, self.best(home, (height, view)))

    def best(self, home: int, place: Place) -> Proposal:
        if self.mind.is_justified(place):
            return self.mind.fresh(home, place)
        return self.mind.repeated(home, place) or self.mind.fresh(home, place)

    def show(self, home: int, targets: Sequence[int], proposal: Proposal, delay_ms: int = 0) -> None:
        self.mind.send(home, targets, proposal, delay_ms + self.rng.randint(10, 200))
        self.mind.sees_proposal(proposal)


class SilentLeader(Actor):
    """Never says anything."""

    def sees_proposal(self, home: int, proposal: Proposal, block_hash: bytes) -> None:
        pass

    def learns(self, home: int, certificate: Certificate) -> None:
        pass

    def leads(self, home: int, height: int, view: int) -> None:
        pass


class Equivocator(Actor):
    """Shows one half another block than the other, or repeats an old one to one half and a fresh one to the other."""

    def leads(self, home: int, height: int, view: int) -> None:
        place = (height, view)
        one, other = self.mind.halves()
        first = self.mind.repeated(home, place) if self.rng.random() < 0.4 else None
        self.show(home, one, first or self.mind.fresh(home, place))
        self.show(home, other, self.mind.fresh(home, place, early_ms=self.rng.choice((0, 300))))

    def sees_proposal(self, home: int, proposal: Proposal, block_hash: bytes) -> None:
        place = (proposal.height, proposal.view)
        self.mind.send(home, self.mind.some(), self.mind.vote(home, NOTARIZE, place, block_hash))


class DoubleVoter(Actor):
    """Votes every way at once: notarize, nullify and finalize in one view, to different homes."""

    def hears(self, home: int, message: Message) -> None:
        if isinstance(message, Votes) and self.rng.random() < 0.25:
            statement = message.votes[0].statement
            place = (statement.height, statement.view)
            delay_ms = self.rng.choice((10, 200, 1_000, 3_000))
            for kind in (NOTARIZE, NULLIFY, FINALIZE):
                block_hash = None if kind == NULLIFY else statement.block_hash
                if self.rng.random() < 0.6 and (kind == NULLIFY or block_hash is not None):
                    self.mind.send(home, self.mind.some(), self.mind.vote(home, kind, place, block_hash), delay_ms)


class StaleReplayer(Actor):
    """Remembers what honest homes said and says it again, to anyone, when it is old."""

    def __init__(self, mind: Adversary) -> None:
        super().__init__(mind)
        self._heard: list[Message] = []

    def hears(self, home: int, message: Message) -> None:
        if len(self._heard) < 2_000:
            self._heard.append(message)
        else:
            self._heard[self.rng.randrange(2_000)] = message
        if self.rng.random() < 0.3:
            self.mind.send(home, self.mind.some(), self.rng.choice(self._heard), self.rng.choice((0, 500, 5_000)))


class Withholder(Actor):
    """Votes only in secret: it completes certificates alone and lets one home know, late or at an awkward moment; as
    leader it shows its block to some, or as the view is about to be nullified.
    """

    def sees_proposal(self, home: int, proposal: Proposal, block_hash: bytes) -> None:
        pass

    def learns(self, home: int, certificate: Certificate) -> None:
        if self.rng.random() < 0.6:
            late_ms = self.rng.choice((0, 500, 2_000, 2_900, 6_000))
            self.mind.send(home, [self.rng.choice(self.mind.honest)], Certificates((certificate,)), late_ms)

    def leads(self, home: int, height: int, view: int) -> None:
        proposal = self.best(home, (height, view))
        if self.rng.random() < 0.5:
            self.show(home, self.mind.halves()[0], proposal)
        else:
            late_ms = view_timeout_ms(view, DELTA_MS) - self.rng.randint(50, 1_000)
            self.show(home, self.mind.some(), proposal, late_ms)


class Nullifier(Actor):
    """Nullifies every view as soon as it hears of it, and finalizes it too where that may help to split."""

    def __init__(self, mind: Adversary) -> None:
        super().__init__(mind)
        self._nullified: set[tuple[int, int, int]] = set()

    def hears(self, home: int, message: Message) -> None:
        if not isinstance(message, Votes):
            return
        statement = message.votes[0].statement
        for view in (statement.view, statement.view + 1):
            if (home, statement.height, view) not in self._nullified:
                self._nullified.add((home, statement.height, view))
                self.mind.send(home, self.mind.honest, self.mind.vote(home, NULLIFY, (statement.height, view), None))
        if statement.kind == NOTARIZE and self.rng.random() < 0.3:
            place = (statement.height, statement.view)
            self.mind.send(home, self.mind.some(), self.mind.vote(home, FINALIZE, place, statement.block_hash))

    def leads(self, home: int, height: int, view: int) -> None:
        pass


class UnjustifiedLeader(Actor):
    """Proposes fresh blocks whatever was notarized before, while only one home knows what is final already."""

    def leads(self, home: int, height: int, view: int) -> None:
        self.show(home, self.mind.honest, self.mind.fresh(home, (height, view)), self.rng.choice((0, 200, 1_000)))

    def learns(self, home: int, certificate: Certificate) -> None:
        favourite = self.mind.honest[certificate.height % len(self.mind.honest)]
        targets = self.mind.honest if certificate.kind == NOTARIZE else [favourite]
        self.mind.send(home, targets, Certificates((certificate,)), 10)


class FalseMaker(Actor):
    """Invalid blocks, blocks of the future, other bodies under the same header, and certificates of nothing."""

    def leads(self, home: int, height: int, view: int) -> None:
        place = (height, view)
        choice = self.rng.randrange(4)
        if choice == 0:
            self.show(home, self.mind.honest, self.mind.fresh(home, place, valid=False))
        elif choice == 1:
            early_ms = TOLERANCE_MS + self.rng.choice((-100, 100, 2_000))
            self.show(home, self.mind.honest, self.mind.fresh(home, place, early_ms=early_ms))
        else:
            proposal = self.best(home, place)
            block = Block(proposal.block.header, proposal.block.parent_certificate, (b"another",))
            forged = Proposal(*place, block, proposal.justification, proposal.node_key, proposal.signature)
            self.mind.send(home, self.mind.some(), forged, 0)
            self.show(home, self.mind.honest, proposal, 100)

    def learns(self, home: int, certificate: Certificate) -> None:
        committee = self.mind.world.chain.committee(certificate.height)
        signatures = signatures_of(certificate, committee) or {}
        first = min(signatures, default=None)
        swapped = {index: bytes(64) if index == first else signature for index, signature in signatures.items()}
        statement = Statement(certificate.kind, certificate.height, certificate.view + 1, certificate.block_hash)
        for forged in (
            build_certificate(statement, signatures, committee),
            build_certificate(Statement(*_fields(certificate)), swapped, committee),
            Certificate(*_fields(certificate), certificate.signers + b"\x01", certificate.signatures),
        ):
            if self.rng.random() < 0.3:
                self.mind.send(home, self.mind.some(), Certificates((forged,)))


class Chameleon(Actor):
    """Another behaviour at every occasion."""

    def __init__(self, mind: Adversary) -> None:
        super().__init__(mind)
        self._all = [kind(mind) for name, kind in sorted(BEHAVIOURS.items()) if name != "Chameleon"]

    def hears(self, home: int, message: Message) -> None:
        self.rng.choice(self._all).hears(home, message)

    def sees_proposal(self, home: int, proposal: Proposal, block_hash: bytes) -> None:
        self.rng.choice(self._all).sees_proposal(home, proposal, block_hash)

    def learns(self, home: int, certificate: Certificate) -> None:
        self.rng.choice(self._all).learns(home, certificate)

    def leads(self, home: int, height: int, view: int) -> None:
        self.rng.choice(self._all).leads(home, height, view)


def _fields(certificate: Certificate) -> tuple[int, int, int, bytes | None]:
    return certificate.kind, certificate.height, certificate.view, certificate.block_hash


BEHAVIOURS: dict[str, type[Actor]] = {
    kind.__name__: kind
    for kind in (
        SilentLeader,
        Equivocator,
        DoubleVoter,
        StaleReplayer,
        Withholder,
        Nullifier,
        UnjustifiedLeader,
        FalseMaker,
        Chameleon,
    )
}

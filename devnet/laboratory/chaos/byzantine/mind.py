"""The enemy: all byzantine homes together, less than a third of the weight, one mind and a behaviour for each.

1. It hears every honest message the moment it is sent, wherever it goes. Its own messages are never lost and arrive
   when it likes.
2. It forges nothing: it signs with its own keys only, and completes certificates from what it heard. It reads the chain
   where an honest home stands.
3. It counts as one equivocation what one home says against itself in one view, once an honest home is told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from consensus.block import Block, Certificate
from consensus.certificates import build_certificate
from consensus.chain_rules import Beacon, build_block
from consensus.messages import Message, Proposal, Vote, Votes
from devnet.laboratory.chaos.signatures import StubSigner
from devnet.laboratory.chaos.words import message_words
from ledger.statements import Statement, StatementKind, contradict
from ledger.transactions import Transaction
from node.protocol import StoredBlock
from storage.state_tree import update

if TYPE_CHECKING:
    from devnet.laboratory.chaos.byzantine.actor import Actor
    from devnet.laboratory.chaos.home import Home
    from devnet.laboratory.chaos.world import World

NOTARIZE: Final = StatementKind.NOTARIZE
NULLIFY: Final = StatementKind.NULLIFY
FINALIZE: Final = StatementKind.FINALIZE
REMEMBERED_HEIGHTS: Final = 3

Place = tuple[int, int]
"""Height, view."""


class Mind:
    """See the module's rules. ``actors``: byzantine home → its behaviour."""

    def __init__(self, world: World, behaviours: dict[int, type[Actor]]) -> None:
        self.world = world
        self.random = world.random
        self.honest = sorted(world.homes)
        members = world.founding.members
        self.signers = {home: StubSigner(members[home].node_key) for home in behaviours}
        self.signatures: dict[Statement, dict[int, bytes]] = defaultdict(dict)
        self.certificates: dict[tuple[int, int, int], Certificate] = {}  # kind, height, view
        self.blocks: dict[bytes, Block] = {}
        self.equivocations = 0
        self._tip_certificates: dict[int, Certificate] = {}
        self._led: set[Place] = set()
        self._seen: set[tuple[int, int, bytes]] = set()
        self._said: dict[tuple[int, int, int], list[Statement]] = defaultdict(list)  # height, view, home
        self._equivocated: set[tuple[int, int, int]] = set()
        self.actors = {home: behaviour(self, home) for home, behaviour in behaviours.items()}

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
        for actor in self.actors.values():
            actor.hears(message)

    def _hears_vote(self, vote: Vote) -> None:
        statement = vote.statement
        turn = self.world.turns.get(statement.height)
        index = None if turn is None else turn.committee.index_of_voter(vote.node_key)
        if index is not None and index not in self.signatures[statement]:
            self.signatures[statement][index] = vote.signature
            self._complete(statement)

    def sees_proposal(self, proposal: Proposal) -> None:
        block_hash = proposal.block.hash
        key = (proposal.height, proposal.view, block_hash)
        if key not in self._seen and proposal.height in self.world.turns:
            self._seen.add(key)
            self.blocks[block_hash] = proposal.block
            for actor in self.actors.values():
                actor.sees_proposal(proposal, block_hash)
            self._complete(Statement(NOTARIZE, proposal.height, proposal.view, block_hash))

    def _complete(self, statement: Statement) -> None:
        """Adds all byzantine signatures; if that is a quorum, there is a certificate only this mind knows of."""
        committee = self.world.turns[statement.height].committee
        signatures = dict(self.signatures[statement])
        for signer in self.signers.values():
            index = committee.index_of_voter(signer.node_key)
            if index is not None:
                signatures[index] = signer.sign(statement)
        if committee.is_quorum(sum(committee.weights[index] for index in signatures)):
            self._learn(build_certificate(statement, signatures, committee))

    def _learn(self, certificate: Certificate) -> None:
        key = (certificate.kind, certificate.height, certificate.view)
        if key in self.certificates or certificate.height not in self.world.turns:
            return
        self.certificates[key] = certificate
        if certificate.kind == FINALIZE:
            self._tip_certificates.setdefault(certificate.height, certificate)
        else:
            delay_ms = self.random.randint(0, 200)
            height, view = certificate.height, certificate.view + 1
            self.world.at(self.world.now_ms + delay_ms, lambda: self._lead(height, view))
        for actor in self.actors.values():
            actor.learns(certificate)

    def opened(self, height: int, opens_at_ms: int) -> None:
        """An honest home has opened a height, the first to do so."""
        if not self.signers:
            return
        early_ms = self.random.choice((0, 0, 500))
        self.world.at(opens_at_ms - early_ms, lambda: self._lead(height, 0))
        self._forget_before(height - REMEMBERED_HEIGHTS)

    def _lead(self, height: int, view: int) -> None:
        turn = self.world.turns.get(height)
        if turn is None or (height, view) in self._led or self._witness(height) is None:
            return
        if height > 1 and height - 1 not in self._tip_certificates:
            return
        home = self.world.numbers[turn.committee.seats[turn.draw.leader(view)].node_key]
        if home in self.actors:
            self._led.add((height, view))
            self.actors[home].leads((height, view))

    # Acting

    def vote(self, home: int, kind: StatementKind, place: Place, block_hash: bytes | None) -> Votes:
        signer = self.signers[home]
        statement = Statement(kind, *place, block_hash)
        return Votes((Vote(statement, signer.node_key, signer.sign(statement)),))

    def send(self, home: int, targets: Sequence[int], message: Message, delay_ms: int | None = None) -> None:
        """To some honest homes. ``delay_ms`` None: any."""
        if not targets:
            return
        self._count(home, message)
        if self.world.story is not None:
            names = ", ".join(str(target) for target in targets)
            self.world.note(f"byzantine home {home} tells {names}: {message_words(message)}")
        node_key = self.signers[home].node_key
        for target in targets:
            after_ms = self.random.randint(0, 300) if delay_ms is None else delay_ms
            hear = partial(self.world.homes[target].hear, message, node_key)
            self.world.at(self.world.now_ms + after_ms, hear)

    def some(self) -> list[int]:
        share = self.random.choice((0.2, 0.5, 0.5, 0.8, 1))
        return [home for home in self.honest if self.random.random() < share]

    def one(self) -> list[int]:
        return [self.random.choice(self.honest)]

    def halves(self) -> tuple[list[int], list[int]]:
        homes = self.random.sample(self.honest, len(self.honest))
        cut = self.random.randint(1, max(1, len(homes) - 1))
        return homes[:cut], homes[cut:]

    def nullifications(self, place: Place) -> tuple[Certificate, ...]:
        """Those known of the views below."""
        height, view = place
        keys = ((NULLIFY, height, below) for below in range(view))
        return tuple(self.certificates[key] for key in keys if key in self.certificates)

    def is_justified(self, place: Place) -> bool:
        return len(self.nullifications(place)) == place[1]

    def fresh(
        self,
        home: int,
        place: Place,
        *,
        early_ms: int = 0,
        candidates: Sequence[Transaction] = (),
        beacon: Beacon | None = None,
    ) -> Proposal | None:
        """A block of its own making, with what justification there is; None if no honest home stands there."""
        height, view = place
        witness = self._witness(height)
        if witness is None:
            return None
        opened, chain = witness.chain.open, witness.disk.chain
        executed = build_block(
            opened,
            view,
            max(self.world.wall_ms, opened.earliest_ms) + early_ms,
            self.world.founding.members[home].node,
            self._tip_certificates.get(height - 1),
            candidates,
            lambda changes: update(chain.tree_node, changes).root,
            beacon or self.world.beacon,
        )
        return self.proposal(home, place, executed.block, self.nullifications(place))

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
        return self.random.choice(options) if options else None

    def proposal(self, home: int, place: Place, block: Block, justification: tuple[Certificate, ...]) -> Proposal:
        signer = self.signers[home]
        signature = signer.sign(Statement(StatementKind.PROPOSAL, *place, block.hash))
        return Proposal(*place, block, justification, signer.node_key, signature)

    def waiting(self) -> list[Transaction]:
        """What waits at some honest home."""
        up = [home for home in self.world.homes.values() if home.up]
        return list(self.random.choice(up).intake.mempool) if up else []

    # When asked

    def status_of(self, home: int) -> int | None:
        """The height a byzantine home claims; None if it does not answer."""
        return self.actors[home].claims() if home in self.actors else None

    def serve(self, home: int, first: int, count: int) -> tuple[StoredBlock, ...] | None:
        return self.actors[home].serves(first, count) if home in self.actors else None

    # Parts

    def _witness(self, height: int) -> Home | None:
        """An honest home that stands before this height."""
        return next((home for home in self.world.homes.values() if home.disk.height == height - 1 and home.up), None)

    def _count(self, home: int, message: Message) -> None:
        """Rule 3; only what is this home's own counts, not what it replays."""
        node_key = self.signers[home].node_key
        if isinstance(message, Votes):
            statements = [vote.statement for vote in message.votes if vote.node_key == node_key]
        elif isinstance(message, Proposal) and message.node_key == node_key:
            statements = [message.statement]
        else:
            return
        for statement in statements:
            turn = self.world.turns.get(statement.height)
            if turn is None or turn.committee.index_of_node_key(node_key) is None:
                continue
            place = (statement.height, statement.view, home)
            said = self._said[place]
            if statement not in said:
                if place not in self._equivocated and any(contradict(earlier, statement) for earlier in said):
                    self._equivocated.add(place)
                    self.equivocations += 1
                said.append(statement)

    def _forget_before(self, height: int) -> None:
        self.certificates = {key: kept for key, kept in self.certificates.items() if key[1] >= height}
        self._tip_certificates = {one: kept for one, kept in self._tip_certificates.items() if one >= height}
        self.blocks = {one: block for one, block in self.blocks.items() if block.header.height >= height}
        self.signatures = defaultdict(
            dict, {one: kept for one, kept in self.signatures.items() if one.height >= height}
        )
        self._said = defaultdict(list, {place: kept for place, kept in self._said.items() if place[0] >= height})
        self._led = {place for place in self._led if place[0] >= height}
        self._seen = {key for key in self._seen if key[0] >= height}
        self._equivocated = {place for place in self._equivocated if place[0] >= height}

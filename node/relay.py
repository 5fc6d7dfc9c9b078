"""Who is told what: consensus between neighbours, so that a slow link carries each thing about once.

A *neighbour* is a peer of the consensus topic's mesh; a *link* is what this node knows of one. What travels are
signatures: of one seat, on one statement. A vote is one; a certificate is a quorum of them; a proposal is its leader's,
with a block.

1. Nothing is passed on as it came. What is right and new is held, and each neighbour is told what is held and what it
   is not known to hold. It is known to hold what it sent, what it was sent, and what it says it holds.
2. Of a notarization or nullification a neighbour is told a quorum and no more. Finalize votes are told all, also those
   for the parent of the open height: participation is counted by them.
3. What this node says itself, and proposals, leave at once; the rest waits FLUSH_S after what left before, so that
   it leaves together.
4. A proposal leaves out those signatures of its parent certificate that the neighbour is known to hold. Who cannot
   complete it asks for it in full, and is given it once.
5. What was told may be lost. Whenever the engine sends something again (its rule 7), and to every new neighbour, this
   node says what it holds, and the neighbours send the rest. Who claims to lack what it was sent longer than 2Δ ago is
   believed, the next time after 2Δ, then 4Δ, up to LONGEST_PATIENCE_MS: a height is not drawn out of a node again and
   again. Who hears that a neighbour holds what it lacks answers with what it holds itself, once per 2Δ. Votes that
   are sent again for the second, fourth, eighth … time also go to every peer of the topic: no mesh can keep them in.
6. Held is only what was verified: the open height's, the next one's as far as it has come, and finalize votes for the
   parent. Of a seat, kind and view at most two hashes (``ballots``, rule 2); views at most VOTE_VIEWS_AHEAD ahead but
   for whole certificates; MAX_HELD statements, of which go first the next height's, then those of the remotest views,
   then those that the fewest signed.
7. A message is wrong if any of it is: a bad signature of a known committee, one thing twice, a misshapen certificate.
   What is of other heights or of strangers is neither right nor wrong; the engine hears of it and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from consensus.block import Certificate
from consensus.certificates import build_certificate, signatures_of, statement_of
from consensus.committee import Committee
from consensus.engine import HeightContext
from consensus.engine.agreement import VOTE_VIEWS_AHEAD
from consensus.messages import (
    MAX_HOLDINGS,
    MAX_IN_FULL,
    Abridged,
    Certificates,
    Holding,
    Holdings,
    Message,
    Proposal,
    Vote,
    Votes,
    WireMessage,
)
from consensus.verifier import Verifier
from ledger.statements import Statement, StatementKind, is_well_formed
from node.abridging import abridge, complete
from node.judge import VIEWS_AHEAD, Judge
from node.parcels import pack
from node.seats import from_octets, mask_of, seats_in, to_octets
from p2p.network import PeerId, Verdict

FLUSH_S: Final = 0.1
MAX_HELD: Final = 1_024
LONGEST_PATIENCE_MS: Final = 60_000
LONG_AGO_MS: Final = -(10**12)
_HASHES: Final = 2


class Heard(NamedTuple):
    """``messages`` are for the engine; ``height`` is the one that the neighbour says is open to it, if not this one."""

    verdict: Verdict
    messages: tuple[Message, ...] = ()
    height: int | None = None


@dataclass(slots=True)
class _Tally:
    """The signatures held on one statement, by seat, and as a mask; of a proposal also the proposal."""

    committee: Committee
    mask: int = 0
    signatures: dict[int, bytes] = field(default_factory=dict)
    proposal: Proposal | None = None

    def add(self, signatures: Mapping[int, bytes]) -> None:
        for seat, signature in signatures.items():
            self.signatures.setdefault(seat, signature)
            self.mask |= 1 << seat


@dataclass(slots=True)
class _Link:
    """``known``: by statement, whose signatures the neighbour holds; ``told_ms``: when it was last told any."""

    known: dict[Statement, int]
    told_ms: dict[Statement, int] = field(default_factory=dict)
    in_full: set[Statement] = field(default_factory=set)
    must_ask: bool = True
    asked_ms: int = LONG_AGO_MS
    found_elsewhere_ms: int = LONG_AGO_MS
    incomplete: list[Statement] = field(default_factory=list)
    patience_ms: int = 0
    patient_until_ms: int = 0


class Relay:
    """See the module's rules. It has no clock and sends nothing itself: ``due`` says what is to be sent."""

    def __init__(self, judge: Judge, verifier: Verifier) -> None:
        self._judge = judge
        self._verifier = verifier
        self._context: HeightContext | None = None
        self._view = 0
        self._repeats = 0
        self._held: dict[Statement, _Tally] = {}
        self._links: dict[PeerId, _Link] = {}
        self.has_news = False  # ``due`` may have something to send
        self.is_urgent = False  # and that should not wait (rule 3)

    # The open height

    def open(self, context: HeightContext) -> None:
        """A height is open from now on; what belongs to earlier ones is forgotten."""
        before, self._context, self._view, self._repeats = self._context, context, 0, 0
        same = before is not None and before.committee.hash == context.committee.hash
        self._held = {
            statement: tally
            for statement, tally in self._held.items()
            if (statement.height == context.height and same) or self._is_of_parent(statement)
        }
        parent = context.parent_certificate
        if parent is not None and context.parent_committee is not None:
            signatures = signatures_of(parent, context.parent_committee) or {}
            self._tally(statement_of(parent), context.parent_committee).add(signatures)
        for link in self._links.values():
            link.known = {statement: known for statement, known in link.known.items() if statement in self._held}
            link.told_ms = {statement: told for statement, told in link.told_ms.items() if statement in self._held}
            link.in_full.clear()
            link.incomplete.clear()
            link.patience_ms = link.patient_until_ms = 0

    def close(self) -> None:
        """No height is open."""
        self._context = None
        self._held.clear()
        self._links.clear()

    def enter(self, view: int) -> None:
        """The view the engine is in."""
        self._view = view

    # Hearing

    def hear(self, peer: PeerId, message: WireMessage, closed_at_ms: int, now_ms: int) -> Heard:
        """Judges a message and takes what is news; ``closed_at_ms``: when the height before closed."""
        context = self._context
        if context is None:
            return Heard(Verdict.IGNORE, () if isinstance(message, Abridged | Holdings) else (message,))
        just_closed = now_ms - closed_at_ms <= 2 * context.delta_ms
        match message:
            case Holdings():
                if message.height != context.height:
                    return Heard(Verdict.KEEP, (), self._elsewhere(peer, message.height, context, just_closed, now_ms))
                self._learn(peer, message, context, now_ms)
                return Heard(Verdict.KEEP)
            case Proposal():
                return self._hear_proposal(peer, message, context)
            case Abridged():
                return self._hear_abridged(peer, message, context)
            case Votes():
                return self._hear_votes(peer, message, context, just_closed)
            case Certificates():
                return self._hear_certificates(peer, message, context, just_closed)

    def _hear_proposal(self, peer: PeerId, proposal: Proposal, context: HeightContext) -> Heard:
        verdict = self._judge.proposal(proposal, context, self._view)
        if verdict is Verdict.REJECT:
            return Heard(verdict)
        if verdict is Verdict.ACCEPT:
            verdict = Verdict.KEEP
            self._note(peer, proposal.statement, self._keep_proposal(proposal, context))
        return Heard(verdict, (proposal,))

    def _hear_abridged(self, peer: PeerId, abridged: Abridged, context: HeightContext) -> Heard:
        proposal, statement = abridged.proposal, abridged.proposal.statement
        held = self._held.get(statement)
        if held is not None:
            self._note(peer, statement, held.mask)
            return Heard(Verdict.KEEP)
        if proposal.height == context.height:
            if proposal.view > self._view + VIEWS_AHEAD:
                return Heard(Verdict.IGNORE)
            if not self._judge.is_leaders(proposal, context):
                return Heard(Verdict.REJECT)
        whole = complete(abridged, self._parents_signatures(proposal))
        if whole is None:
            link = self._links.get(peer)
            if link is not None and len(link.incomplete) < MAX_IN_FULL:
                link.incomplete.append(statement)
                link.must_ask = self.has_news = self.is_urgent = True
            return Heard(Verdict.IGNORE)
        return self._hear_proposal(peer, whole, context)

    def _hear_votes(self, peer: PeerId, votes: Votes, context: HeightContext, just_closed: bool) -> Heard:
        verdict = self._judge.votes(votes.votes, context, just_closed=just_closed)
        if verdict is Verdict.REJECT:
            return Heard(verdict)
        if verdict is Verdict.ACCEPT:
            verdict = Verdict.KEEP
            for vote in votes.votes:
                statement = vote.statement
                committee = None if statement.view > self._view + VOTE_VIEWS_AHEAD else self._committee_of(statement)
                seat = None if committee is None else committee.index_of_voter(vote.node_key)
                if committee is not None and seat is not None and self._admits(statement, seat):
                    self._tally(vote.statement, committee).add({seat: vote.signature})
                    self._note(peer, vote.statement, 1 << seat)
                    self.has_news = True
        return Heard(verdict, (votes,))

    def _hear_certificates(
        self, peer: PeerId, certificates: Certificates, context: HeightContext, just_closed: bool
    ) -> Heard:
        if len(set(certificates.certificates)) < len(certificates.certificates):
            return Heard(Verdict.REJECT)
        verdict = Verdict.KEEP
        whole: list[Certificate] = []
        votes: list[Vote] = []
        for certificate in certificates.certificates:
            statement = statement_of(certificate)
            committee = self._committee_of(statement)
            if committee is None:
                verdict = Verdict.IGNORE
                whole.append(certificate)
                continue
            signatures = signatures_of(certificate, committee)
            is_whole = committee.is_quorum(sum(committee.weights[seat] for seat in signatures or ()))
            news = None if signatures is None else self._news(statement, signatures, committee)
            if signatures is None or news is None:
                if statement.height <= context.height:
                    return Heard(Verdict.REJECT)
                verdict = Verdict.IGNORE  # the next height's committee may be another
                continue
            if statement.view > self._view + VOTE_VIEWS_AHEAD and not is_whole:
                continue
            admitted = {seat: signature for seat, signature in news.items() if self._admits(statement, seat)}
            if admitted:
                self._tally(statement, committee).add(admitted)
                self.has_news = True
            self._note(peer, statement, mask_of(signatures))
            if is_whole or (statement.height < context.height and not just_closed):
                held = self._held.get(statement)  # what is held was verified, whatever came
                whole.append(build_certificate(statement, held.signatures, committee) if held else certificate)
            else:
                seats = committee.seats
                votes += (Vote(statement, seats[seat].node_key, signature) for seat, signature in admitted.items())
        parcel: list[Message] = [*map(_alone, whole), *([Votes(tuple(votes))] if votes else [])]
        return Heard(verdict, tuple(pack(parcel)))

    def _news(
        self, statement: Statement, signatures: Mapping[int, bytes], committee: Committee
    ) -> dict[int, bytes] | None:
        """The signatures of voters that are not held, verified; None if one is bad."""
        held = self._held.get(statement)
        mask = 0 if held is None else held.mask
        news = {seat: one for seat, one in signatures.items() if not mask >> seat & 1 and committee.weights[seat] > 0}
        keys = {seat: committee.seats[seat].node_key for seat in news}
        return news if all(self._verifier.statement(keys[seat], statement, one) for seat, one in news.items()) else None

    # Speaking

    def say(self, message: Message) -> Votes | None:
        """Takes what the engine wants everyone to hear. Returns what of it is to go to every peer (rule 5)."""
        context = self._context
        again: list[Vote] = []
        repeats = False
        if context is None:
            return None
        match message:
            case Proposal():
                repeats = message.statement in self._held
                self._keep_proposal(message, context)
            case Votes():
                for vote in message.votes:
                    again += self._say_vote(vote)
            case Certificates():
                for certificate in message.certificates:
                    committee = self._committee_of(statement_of(certificate))
                    if committee is not None:
                        signatures = signatures_of(certificate, committee) or {}
                        self._tally(statement_of(certificate), committee).add(signatures)
        self.has_news = True
        if again or repeats:
            for link in self._links.values():
                link.must_ask = True
        self._repeats += bool(again)
        return Votes(tuple(again)) if again and self._repeats.bit_count() == 1 < self._repeats else None

    def _say_vote(self, vote: Vote) -> Iterator[Vote]:
        committee = self._committee_of(vote.statement)
        seat = None if committee is None else committee.index_of_voter(vote.node_key)
        if committee is None or seat is None:
            return
        tally = self._tally(vote.statement, committee)
        if tally.mask >> seat & 1:
            yield vote
        else:
            tally.add({seat: vote.signature})
            self.is_urgent = True

    def due(self, neighbours: Iterable[PeerId], now_ms: int) -> Iterator[tuple[PeerId, WireMessage]]:
        """What to send now, and to whom."""
        self.has_news = self.is_urgent = False
        context = self._context
        if context is None:
            return
        current = dict.fromkeys(neighbours)
        self._links = {peer: link for peer, link in self._links.items() if peer in current}
        for peer in current:
            link = self._links.get(peer)
            if link is None:  # until it says otherwise it lacks nothing that is old
                link = self._links[peer] = _Link({statement: tally.mask for statement, tally in self._held.items()})
            for message in self._told(link, context, now_ms):
                yield peer, message
            if link.must_ask:
                link.must_ask, link.asked_ms = False, now_ms
                yield peer, self._holdings(context, tuple(link.incomplete))
                link.incomplete.clear()

    def _told(self, link: _Link, context: HeightContext, now_ms: int) -> Iterator[WireMessage]:
        parcel: list[Certificates] = []
        for statement, tally in self._held.items():
            known = link.known.get(statement, 0)
            lacking = tally.mask & ~known
            if not lacking:
                continue
            if tally.proposal is not None:
                if statement.view >= self._view:
                    yield self._for(link, statement, tally.proposal)
                    link.known[statement] = tally.mask
                    link.told_ms[statement] = now_ms
                continue
            told = self._enough(statement, tally, known, lacking)
            if told:
                parcel.append(_alone(build_certificate(statement, told, tally.committee)))
                link.known[statement] = known | mask_of(told)
                link.told_ms[statement] = now_ms
        yield from pack(parcel)

    def _enough(self, statement: Statement, tally: _Tally, known: int, lacking: int) -> dict[int, bytes]:
        """Rule 2: those of the lacking signatures that are worth sending."""
        seats = seats_in(lacking)
        if statement.kind == StatementKind.FINALIZE:
            return {seat: tally.signatures[seat] for seat in seats}
        committee, chosen = tally.committee, {}
        weight = sum(committee.weights[seat] for seat in seats_in(known))
        for seat in seats:
            if committee.is_quorum(weight):
                break
            weight += committee.weights[seat]
            chosen[seat] = tally.signatures[seat]
        return chosen

    # What neighbours hold

    def _holdings(self, context: HeightContext, in_full: tuple[Statement, ...]) -> Holdings:
        newest = sorted(self._held, key=lambda statement: (-statement.height, -statement.view, statement.kind))
        parents = [statement for statement in newest if statement.height < context.height]
        own = [statement for statement in newest if statement.height == context.height]
        listed = own[: MAX_HOLDINGS - len(parents)]
        from_view = listed[-1].view + 1 if len(listed) < len(own) else 0
        chosen = [*parents, *(statement for statement in listed if statement.view >= from_view)]
        return Holdings(
            context.height,
            from_view,
            tuple(Holding(statement, to_octets(self._held[statement].mask)) for statement in chosen),
            in_full,
        )

    def _learn(self, peer: PeerId, holdings: Holdings, context: HeightContext, now_ms: int) -> None:
        """Rule 5: what the neighbour says it holds, and what of that is to be believed."""
        link = self._links.get(peer)
        if link is None:
            return
        said = {each.statement: from_octets(each.signers) for each in holdings.holdings}
        believed: dict[Statement, int] = {}
        forgot = False
        for statement, tally in self._held.items():
            before, claimed = link.known.get(statement, 0), said.get(statement, 0)
            in_flight = now_ms - link.told_ms.get(statement, LONG_AGO_MS) < 2 * context.delta_ms
            if statement.height > context.height or (
                statement.height == context.height and statement.view < holdings.from_view
            ):
                claimed |= before
            elif before & tally.mask & ~claimed:
                forgot = forgot or not in_flight
                claimed |= before if in_flight else 0
            believed[statement] = claimed
        if forgot and now_ms < link.patient_until_ms:
            believed = {statement: known | link.known.get(statement, 0) for statement, known in believed.items()}
        elif forgot:
            link.patience_ms = min(max(2 * context.delta_ms, 2 * link.patience_ms), LONGEST_PATIENCE_MS)
            link.patient_until_ms = now_ms + link.patience_ms
        for statement in holdings.in_full:
            held = self._held.get(statement)
            if held is not None and held.proposal is not None and statement not in link.in_full:
                link.in_full.add(statement)
                believed[statement] = 0
                self.is_urgent = True
        lacks = any(
            mask & ~(self._held[statement].mask if statement in self._held else 0)
            for statement, mask in said.items()
            if statement.height == context.height and statement.view >= self._view
        )
        if lacks and now_ms - link.asked_ms >= 2 * context.delta_ms:
            link.must_ask = True
        link.known = believed
        self.has_news = True

    def _elsewhere(
        self, peer: PeerId, height: int, context: HeightContext, just_closed: bool, now_ms: int
    ) -> int | None:
        """The neighbour's height, if it is worth acting upon: not within 2Δ of a block, and once per 2Δ."""
        link = self._links.get(peer)
        is_late = just_closed and height == context.height - 1
        if link is None or is_late or now_ms - link.found_elsewhere_ms < 2 * context.delta_ms:
            return None
        link.found_elsewhere_ms = now_ms
        return height

    def _note(self, peer: PeerId, statement: Statement, mask: int) -> None:
        link = self._links.get(peer)
        if link is not None and statement in self._held:
            link.known[statement] = link.known.get(statement, 0) | mask

    # Proposals

    def _keep_proposal(self, proposal: Proposal, context: HeightContext) -> int:
        """The mask of its leader's seat, held now; 0 if it is one too many."""
        seat = context.committee.index_of_node_key(proposal.node_key)
        statement = proposal.statement
        if seat is None or proposal.height != context.height or not self._admits(statement, seat):
            return 0
        tally = self._tally(statement, context.committee)
        if tally.proposal is None:
            tally.proposal = proposal
            tally.add({seat: proposal.signature})
            self.has_news = self.is_urgent = True
        return tally.mask

    def _parents_signatures(self, proposal: Proposal) -> Mapping[int, bytes]:
        """Those held on the parent of the proposal's block, by seat."""
        parent = proposal.block.parent_certificate
        tally = None if parent is None else self._held.get(statement_of(parent))
        return {} if tally is None else tally.signatures

    def _for(self, link: _Link, statement: Statement, proposal: Proposal) -> Proposal | Abridged:
        """Rule 4."""
        parent = proposal.block.parent_certificate
        if parent is None or statement in link.in_full:
            return proposal
        return abridge(proposal, self._parents_signatures(proposal), link.known.get(statement_of(parent), 0))

    # What is held

    def _committee_of(self, statement: Statement) -> Committee | None:
        """Who may have signed it; None for what is not held here (rule 6)."""
        context = self._context
        if context is None or statement.kind == StatementKind.PROPOSAL or not is_well_formed(statement):
            return None
        if context.height <= statement.height <= context.height + 1:
            return context.committee
        return context.parent_committee if self._is_of_parent(statement) else None

    def _is_of_parent(self, statement: Statement) -> bool:
        parent = None if self._context is None else self._context.parent_certificate
        return parent is not None and statement == statement_of(parent)

    def _admits(self, statement: Statement, seat: int) -> bool:
        """Rule 6's bound on what one seat can have held."""
        if statement in self._held:
            return True
        like = 0
        for other, tally in self._held.items():
            same_turn = (other.kind, other.height, other.view) == (statement.kind, statement.height, statement.view)
            like += same_turn and tally.mask >> seat & 1
        return like < _HASHES

    def _tally(self, statement: Statement, committee: Committee) -> _Tally:
        tally = self._held.get(statement)
        if tally is None:
            if len(self._held) >= MAX_HELD:
                del self._held[max(self._held, key=self._remoteness)]
            tally = self._held[statement] = _Tally(committee)
        return tally

    def _remoteness(self, statement: Statement) -> tuple[int, int, int]:
        return statement.height, abs(statement.view - self._view), -self._held[statement].mask.bit_count()


def _alone(certificate: Certificate) -> Certificates:
    return Certificates((certificate,))

"""One home: the real engine and relay, driven as ``node.driver`` drives them, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final, Protocol

from consensus.block import Block, Certificate, Header
from consensus.committee import Committee
from consensus.engine import (
    Action,
    Broadcast,
    Build,
    Commit,
    Engine,
    Execute,
    FetchBody,
    FetchCertificates,
    HeightContext,
    Instant,
    SetTimer,
    Timer,
)
from consensus.messages import Certificates, Message, WireMessage, decode_message, encode_message
from consensus.verifier import KeySigner
from ledger.keys import SigningKey, digest
from ledger.statements import Statement
from node.judge import Judge
from node.relay import FLUSH_S, Relay
from p2p.libp2p.gossip_mesh import Mesh
from p2p.network import PeerId

EXECUTION_MS: Final = 50
TOPIC: Final = "/ecloud/0123456789abcdef/consensus/1"


class Signatures:
    """Every signature anyone made, so that a good one need not be computed again by each of n homes."""

    def __init__(self) -> None:
        self._made: set[tuple[bytes, Statement, bytes]] = set()

    def sign(self, signer: KeySigner, statement: Statement) -> bytes:
        signature = signer.sign(statement)
        self._made.add((signer.node_key, statement, signature))
        return signature

    def is_good(self, node_key: bytes, statement: Statement, signature: bytes) -> bool:
        return (node_key, statement, signature) in self._made

    def forget_below(self, height: int) -> None:
        self._made = {each for each in self._made if each[1].height >= height}


class _Signer:
    def __init__(self, key: SigningKey, signatures: Signatures) -> None:
        self._signer = KeySigner(key, bytes(32))
        self._signatures = signatures
        self.made = 0

    @property
    def node_key(self) -> bytes:
        return self._signer.node_key

    def sign(self, statement: Statement) -> bytes:
        self.made += 1
        return self._signatures.sign(self._signer, statement)


class _Verifier:
    """Counts what ``SignatureVerifier`` would have to compute."""

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._known: set[tuple[bytes, Statement, bytes]] = set()
        self.checked = 0

    def statement(self, node_key: bytes, statement: Statement, signature: bytes) -> bool:
        known = (node_key, statement, signature)
        if known in self._known:
            return True
        self.checked += 1
        good = self._signatures.is_good(*known)
        if good:
            self._known.add(known)
        return good

    def forget_below(self, height: int) -> None:
        self._known = {each for each in self._known if each[1].height >= height}


@dataclass(frozen=True, slots=True)
class Chain:
    """What all homes agree on beforehand; ``filler_octets`` stand for the transactions of each block."""

    committee: Committee
    block_interval_ms: int
    delta_ms: int
    filler_octets: int = 700

    def leader(self, height: int, view: int) -> int:
        drawn = digest(b"leader", height.to_bytes(8, "big"), view.to_bytes(8, "big"))
        return int.from_bytes(drawn[:8], "big") % len(self.committee)


class Surroundings(Protocol):
    """What a home asks of the world."""

    now_s: float

    def after(self, delay_s: float, do: Callable[[], None]) -> None: ...

    def carry(self, sender: int, receiver: PeerId, data: bytes) -> None: ...

    def ask(self, sender: int, do: Callable[[Home], tuple[int, Callable[[], None]] | None]) -> None:
        """Asks a neighbour at random something over a stream; see ``World.ask``."""

    def committed(self, home: Home, block: Block, view: int) -> None: ...


@dataclass(slots=True)
class Costs:
    messages: int = 0
    signed: int = 0


@dataclass(slots=True, eq=False)
class Home:
    """``peer`` is its name among the others, its node key in hexadecimal; ``number`` its place in the world."""

    number: int
    peer: PeerId
    key: SigningKey
    chain: Chain
    world: Surroundings
    signatures: Signatures
    mesh: Mesh = field(init=False)
    engine: Engine = field(init=False)
    relay: Relay = field(init=False)
    signer: _Signer = field(init=False)
    verifier: _Verifier = field(init=False)
    costs: Costs = field(default_factory=Costs)
    account: bytes = b""
    parent: Block | None = None
    certificate: Certificate | None = None
    closed_at_ms: int = 0
    offline: bool = False
    _salt: int = 0
    _flush_at_s: float | None = None
    _flushed_s: float = -1.0

    def __post_init__(self) -> None:
        self.verifier = _Verifier(self.signatures)
        self.signer = _Signer(self.key, self.signatures)
        self.engine = Engine(self.signer, self.verifier, is_bound)
        self.relay = Relay(Judge(self.verifier, is_bound), self.verifier)
        self.mesh = Mesh(lambda: self.world.now_s, Random(self.number))  # noqa: S311 - a simulation, reproducible

    # Heights

    def open_next(self) -> None:
        parent = self.parent
        height = 1 if parent is None else parent.header.height + 1
        context = HeightContext(
            height=height,
            parent_hash=bytes(32) if parent is None else parent.hash,
            parent_time_ms=0 if parent is None else parent.header.time_ms,
            parent_certificate=self.certificate,
            parent_committee=None if parent is None else self.chain.committee,
            committee=self.chain.committee,
            leader=partial(self.chain.leader, height),
            block_interval_ms=self.chain.block_interval_ms,
            delta_ms=self.chain.delta_ms,
            clock_tolerance_ms=1_000,
        )
        self.relay.open(context)
        self._do(self.engine.open_height(context, self._now()))

    def _now(self) -> Instant:
        now_ms = round(self.world.now_s * 1000)
        return Instant(now_ms, now_ms)

    # Hearing

    def hear(self, peer: PeerId, data: bytes) -> None:
        """A message of the consensus topic arrives."""
        self.costs.messages += 1
        message = decode_message(data)
        self.relay.enter(self.engine.view)
        heard = self.relay.hear(peer, message, self.closed_at_ms, self._now().monotonic_ms)
        for part in heard.messages:
            self._do(self.engine.on_message(part, bytes.fromhex(peer), self._now()))
        self.plan_flush()

    # Doing

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Broadcast(message=message):
                    self.say(message)
                case SetTimer(timer=timer, at_monotonic_ms=at_ms):
                    delay_s = max(0.0, at_ms / 1000 - self.world.now_s)
                    self.world.after(delay_s, partial(self._ring, timer))
                case Build():
                    block = self._build(action)
                    self.world.after(EXECUTION_MS / 1000, partial(self._built, action, block))
                case Execute(block=block, block_hash=block_hash):
                    self.world.after(EXECUTION_MS / 1000, partial(self._executed, block.header.height, block_hash))
                case FetchBody(block_hash=block_hash):
                    self.world.ask(self.number, partial(self._body_from, block_hash))
                case FetchCertificates(height=height):
                    self.world.ask(self.number, partial(self._certificates_from, height))
                case Commit(block=block, certificate=certificate):
                    self.commit(block, certificate)
                case _:
                    pass  # journal, evidence, and what starts a catch-up: see World.ask
        self.plan_flush()

    def _ring(self, timer: Timer) -> None:
        self._do(self.engine.on_timer(timer, self._now()))

    def say(self, message: Message) -> None:
        again = self.relay.say(message)
        if again is not None:
            for peer in self.mesh.recipients(TOPIC, 0, ours=True):
                self.send(peer, again)

    def commit(self, block: Block, certificate: Certificate) -> None:
        self.parent, self.certificate = block, certificate
        self.closed_at_ms = self._now().monotonic_ms
        self.verifier.forget_below(block.header.height)
        self.world.committed(self, block, certificate.view)
        self.open_next()

    def _build(self, build: Build) -> Block:
        parent = build.parent_certificate
        filler = Random(build.height).randbytes(self.chain.filler_octets)  # noqa: S311 - filler
        header = Header(
            version=1,
            chain_id=bytes(32),
            height=build.height,
            view=build.view,
            time_ms=build.time_ms,
            parent_hash=bytes(32) if self.parent is None else self.parent.hash,
            producer=self.account,
            beacon_proof=digest(b"proof") * 2 + bytes(16),
            transactions_root=digest(filler),
            receipts_root=bytes(32),
            state_root=digest(b"state", filler),
            parent_certificate_hash=bytes(32) if parent is None else parent.hash,
            committee_hash=self.chain.committee.hash,
        )
        return Block(header, parent, (filler,))

    def _built(self, build: Build, block: Block) -> None:
        self._do(self.engine.on_block_built(build.height, build.view, block, self._now()))

    def _executed(self, height: int, block_hash: bytes) -> None:
        self._do(self.engine.on_block_executed(height, block_hash, True, self._now()))

    def _body_from(self, block_hash: bytes, other: Home) -> tuple[int, Callable[[], None]] | None:
        block = other.engine.body(block_hash)
        if block is None:
            return None
        size = (
            500
            + len(block.transactions[0])
            + len(block.parent_certificate.signatures if block.parent_certificate else b"")
        )
        return size, lambda: self._do(self.engine.on_body(block, self._now()))

    def _certificates_from(self, height: int, other: Home) -> tuple[int, Callable[[], None]] | None:
        held = other.engine.certificates() if other.engine.height == height else ()
        if not held:
            return None
        size = sum(128 + len(each.signatures) for each in held)
        return size, lambda: self._do(self.engine.on_message(Certificates(held), None, self._now()))

    # Passing on: as node.driver does

    def plan_flush(self) -> None:
        """Sends what is due, now or in a while."""
        if not self.relay.has_news or self.offline:
            return
        now_s = self.world.now_s
        at_s = now_s if self.relay.is_urgent else max(now_s, self._flushed_s + FLUSH_S)
        if self._flush_at_s is None or at_s < self._flush_at_s:
            self._flush_at_s = at_s
            self.world.after(at_s - now_s, partial(self._flush, at_s))

    def _flush(self, planned_s: float) -> None:
        if self._flush_at_s != planned_s:
            return
        self._flush_at_s, self._flushed_s = None, self.world.now_s
        self.relay.enter(self.engine.view)
        for peer, message in list(self.relay.due(self.mesh.neighbours(TOPIC), self._now().monotonic_ms)):
            self.send(peer, message)
        self.plan_flush()

    def send(self, peer: PeerId, message: WireMessage) -> None:
        self._salt += 1
        self.costs.signed += 1
        self.world.carry(self.number, peer, encode_message(message, self._salt))


def is_bound(block: Block) -> bool:
    """Stands for ``NodeChain.body_is_bound``."""
    certificate = block.parent_certificate
    return (bytes(32) if certificate is None else certificate.hash) == block.header.parent_certificate_hash

"""Homes on slow lines, in virtual time: one heap of events, everything drawn from one seed.

1. Every home dials DIALLED others, so that it has about twice as many connections; the mesh among them is the real one,
   and its control frames travel on the lines too.
2. What a home does not have and asks for over a stream (a block's body, certificates, committed blocks) is answered by
   a connected home that has it, after the round trip and with the answer's octets on both lines.
3. A home that is offline says and hears nothing.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from random import Random
from statistics import mean
from typing import Final

from consensus.block import Block
from consensus.committee import Committee
from devnet.laboratory.slow_links.home import TOPIC, Chain, Home, Signatures
from devnet.laboratory.slow_links.lines import Line, LineSpeed, acknowledgement_octets, wire_octets
from ledger.keys import Domain, SigningKey, digest, verify_signature
from ledger.records import CommitteeSnapshot, SnapshotMember
from p2p.libp2p.gossip_mesh import HEARTBEAT_S, Outgoing
from p2p.libp2p.gossip_wire import Controls, Signer, control_frame, publish_frame
from p2p.network import PeerId

DIALLED: Final = 8
STARTS_S: Final = 3.0
"""The first height opens when the meshes stand."""
REVIEW_S: Final = 1.0
TIMED: Final = 8
"""So many homes' CPU time is read: reading the clock costs more than most of what it would measure."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One run: ``homes``, of which ``offline`` are away, agree on ``blocks``; the first does not count."""

    homes: int
    blocks: int
    speed: LineSpeed = field(default_factory=LineSpeed)
    offline: int = 0
    block_interval_ms: int = 15_000
    delta_ms: int = 1_000
    filler_octets: int = 700
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run showed, per online home and block unless said. Finality: from a block's time to its commit at a
    home.
    """

    finality_p50_s: float
    finality_p95_s: float
    up_octets: float
    down_octets: float
    busiest_up_share: float
    """The busiest home's line up: the share of the time in which it carried something."""
    messages: float
    cpu_ms: float
    views_above_zero: int
    """Blocks made or finalised after view 0."""
    blocks: int
    behind: int
    """Online homes that had not committed the last block at the end."""
    lost: int


class World:
    """``run`` simulates; ``progress`` is called with the height reached."""

    def __init__(self, setting: Setting, progress: Callable[[int], None] = lambda _height: None) -> None:
        self.setting = setting
        self.now_s = 0.0
        self._progress = progress
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._random = Random(f"{setting.homes}/{setting.seed}")  # noqa: S311 - reproducible on purpose
        self._signatures = Signatures()
        self._timed = frozenset(range(0, setting.homes, -(-setting.homes // TIMED)))
        self._cpu_ns = dict.fromkeys(self._timed, 0)
        self._commits: dict[int, list[float]] = {}
        self._late_views: set[int] = set()
        self.homes = self._make_homes()
        self._by_peer = {home.peer: home for home in self.homes}
        self._up = [Line(setting.speed.up_bits, setting.speed.queue_octets) for _ in self.homes]
        self._down = [Line(setting.speed.down_bits, setting.speed.queue_octets) for _ in self.homes]
        self._connections: dict[PeerId, list[PeerId]] = {home.peer: [] for home in self.homes}
        self._height = 0

    def _make_homes(self) -> list[Home]:
        setting = self.setting
        keys = sorted(
            (SigningKey(digest(b"slow link", number.to_bytes(4, "big"))) for number in range(setting.homes)),
            key=lambda key: key.public_key,
        )
        members = tuple(SnapshotMember(key.public_key, key.public_key, 1_000, 0, 1_000) for key in keys)
        committee = Committee(CommitteeSnapshot(members))
        chain = Chain(committee, setting.block_interval_ms, setting.delta_ms, setting.filler_octets)
        homes = [
            Home(number, key.public_key.hex(), key, chain, self, self._signatures) for number, key in enumerate(keys)
        ]
        for home in homes:
            home.account = home.key.public_key
        for home in self._random.sample(homes, setting.offline):
            home.offline = True
        return homes

    # Running

    def run(self) -> Figures:
        self._connect()
        for home in self._online():
            self.after(STARTS_S, partial(self._counted, home.number, home.open_next))
            self.after(self._random.random() * HEARTBEAT_S, partial(self._beat, home))
            self.after(self._random.random() * REVIEW_S, partial(self._review, home))
        setting = self.setting
        end_s = STARTS_S + (setting.blocks + 1) * 4 * setting.block_interval_ms / 1000
        last = setting.blocks
        settled_s = 2.0 * setting.delta_ms / 1000
        while self._events and self.now_s < end_s:
            self._step()
            if self._height >= last and len(self._commits.get(last, ())) == len(self._online()):
                end_s = min(end_s, self.now_s + settled_s)
        return self._figures()

    def _step(self) -> None:
        self.now_s, _, do = heapq.heappop(self._events)
        do()

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._count, do))

    def _online(self) -> list[Home]:
        return [home for home in self.homes if not home.offline]

    def _counted(self, number: int, do: Callable[[], None]) -> None:
        if number not in self._timed:
            do()
            return
        began_ns = time.thread_time_ns()
        do()
        self._cpu_ns[number] += time.thread_time_ns() - began_ns

    # Connections

    def _connect(self) -> None:
        online = self._online()
        for home in online:
            others = [other for other in online if other is not home]
            for other in self._random.sample(others, min(DIALLED, len(others))):
                if other.peer not in self._connections[home.peer]:
                    self._connections[home.peer].append(other.peer)
                    self._connections[other.peer].append(home.peer)
                    home.mesh.add(other.peer, dialled=True)
                    other.mesh.add(home.peer, dialled=False)
        for home in online:
            home.mesh.join(TOPIC)
        for home in online:
            for peer in self._connections[home.peer]:
                other = self._by_peer[peer]
                self._graft_at_once(other, other.mesh.subscription(home.peer, TOPIC, True))

    def _graft_at_once(self, sender: Home, outgoing: Outgoing) -> None:
        """At the start, before the lines count."""
        for peer, controls in outgoing.items():
            other = self._by_peer[peer]
            for topic in controls.graft:
                self._graft_at_once(other, other.mesh.grafted(sender.peer, topic))

    def _beat(self, home: Home) -> None:
        self.after(HEARTBEAT_S, partial(self._beat, home))
        self._send_controls(home, home.mesh.heartbeat())

    def _send_controls(self, home: Home, outgoing: Outgoing) -> None:
        for peer, controls in outgoing.items():
            other = self._by_peer[peer]

            def arrive(other: Home = other, controls: Controls = controls) -> None:
                for topic in controls.graft:
                    self._send_controls(other, other.mesh.grafted(home.peer, topic))
                for topic, backoff_s in controls.prune:
                    other.mesh.pruned(home.peer, topic, backoff_s)

            self._transmit(home.number, other.number, len(control_frame(controls)), arrive)

    def _review(self, home: Home) -> None:
        """The driver looks at its neighbours once a second."""
        self.after(REVIEW_S, partial(self._review, home))
        home.relay.has_news = True
        self._counted(home.number, home.plan_flush)

    # Lines

    def carry(self, sender: int, receiver: PeerId, data: bytes) -> None:
        """A gossip message between neighbours."""
        home, other = self.homes[sender], self._by_peer[receiver]
        if home.offline or other.offline:
            return
        deliver = partial(self._counted, other.number, partial(other.hear, home.peer, data))
        self._transmit(sender, other.number, frame_octets(len(data)), deliver)

    def _transmit(self, sender: int, receiver: int, octets: int, deliver: Callable[[], None]) -> None:
        weight = wire_octets(octets)
        up = self._up[sender].carry(weight, self.now_s)
        if up is None:
            return
        first_s, last_s = up
        latency_s = self.setting.speed.latency_s * self._random.uniform(0.9, 1.1)

        def arrive() -> None:
            down = self._down[receiver].carry(weight, self.now_s)
            if down is not None:
                self.after(max(down[1], last_s + latency_s) - self.now_s, deliver)
                self._up[receiver].carry(acknowledgement_octets(octets), self.now_s)

        self.after(first_s + latency_s - self.now_s, arrive)

    def ask(self, sender: int, do: Callable[[Home], tuple[int, Callable[[], None]] | None]) -> None:
        home = self.homes[sender]
        for peer in self._random.sample(self._connections[home.peer], len(self._connections[home.peer])):
            other = self._by_peer[peer]
            answer = do(other)
            if answer is not None:
                octets, take = answer
                reply = partial(self._transmit, other.number, sender, octets, partial(self._counted, sender, take))
                self._transmit(sender, other.number, 100, reply)
                return

    # What is measured

    def committed(self, home: Home, block: Block, view: int) -> None:
        height = block.header.height
        self._commits.setdefault(height, []).append(self.now_s - block.header.time_ms / 1000)
        if view or block.header.view:
            self._late_views.add(height)
        if height > self._height:
            self._height = height
            if height == 1:
                self._zero()
            self._signatures.forget_below(height - 2)
            self._progress(height)

    def _zero(self) -> None:
        """The first block is over: what meshes and first heights cost does not count."""
        self._since_s = self.now_s
        for line in (*self._up, *self._down):
            line.octets = line.lost = 0
        self._cpu_ns = dict.fromkeys(self._timed, 0)
        for home in self.homes:
            home.costs.messages = home.costs.signed = home.verifier.checked = home.signer.made = 0

    def _figures(self) -> Figures:
        setting = self.setting
        online = self._online()
        finality = sorted(each for height, commits in self._commits.items() if height > 1 for each in commits)
        blocks = max(1, self._height - 1)
        numbers = [home.number for home in online]
        sign_ms, verify_ms = signature_costs_ms()
        cpu_ms = [
            self._cpu_ns[home.number] / 1e6
            + (home.costs.messages + home.verifier.checked) * verify_ms
            + (home.costs.signed + home.signer.made) * sign_ms
            for home in online
            if home.number in self._timed
        ]
        span_s = self.now_s - self._since_s
        busiest = max(self._up[number].octets for number in numbers)
        return Figures(
            finality_p50_s=finality[len(finality) // 2],
            finality_p95_s=finality[len(finality) * 95 // 100],
            up_octets=mean(self._up[number].octets for number in numbers) / blocks,
            down_octets=mean(self._down[number].octets for number in numbers) / blocks,
            busiest_up_share=busiest * 8 / setting.speed.up_bits / span_s,
            messages=mean(home.costs.signed for home in online) / blocks,
            cpu_ms=mean(cpu_ms) / blocks,
            views_above_zero=len(self._late_views),
            blocks=self._height,
            behind=len(online) - len(self._commits.get(self._height, ())),
            lost=sum(line.lost for line in (*self._up, *self._down)),
        )


@lru_cache(maxsize=4096)
def frame_octets(octets: int) -> int:
    """The frame that carries a message of so many octets in a signed envelope."""
    return len(publish_frame(_SIGNER.envelope(TOPIC, bytes(octets))))


_SIGNER: Final = Signer(digest(b"slow links"))


@lru_cache(maxsize=1)
def signature_costs_ms() -> tuple[float, float]:
    """What signing and verifying cost on this machine, each with making up or taking apart an envelope."""
    key, message = SigningKey(digest(b"cost")), bytes(200)
    began = time.thread_time_ns()
    for _ in range(500):
        signature = key.sign(Domain.VOTE, bytes(32), message)
    signed = time.thread_time_ns()
    for _ in range(500):
        verify_signature(key.public_key, Domain.VOTE, bytes(32), message, signature)
    verified = time.thread_time_ns()
    return (signed - began) / 5e8, (verified - signed) / 5e8

"""The wires of the simulated network: links with seeded faults, and one task that lets things arrive.

1. A *link* is an ordered pair of peers. Each has its own random stream, seeded by the switch's seed and both ids, from
   which its delays and faults are drawn in the order it is used. What one link does never changes what another draws.
2. Whatever arrives is carried out by one task, in the order of (time, sender, receiver, number on the link); between
   two arrivals of the same instant all other tasks come to rest. So the same seed and the same program give the same
   history, as long as no task cuts or heals a link at the very instant in which another uses it: trio does not say
   which of the two runs first.
3. Gossip may be lost, doubled, delayed and reordered; without ``reordering`` a link keeps order. A peer that has a
   copy, or one on the way, is sent no other.
4. Requests and answers travel on streams: a lost packet is sent again, which costs time; order and content hold.
5. A blocked link carries nothing. A connection with a blocked direction ends after DEAD_AFTER_S, when pings would have
   given up.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import trio
import trio.testing

from p2p.network import NetworkError, PeerId
from p2p.reception import MessageId, message_id

DEAD_AFTER_S = 45.0
_RETRANSMISSIONS = 2
_REMEMBERED_MESSAGES = 10_000


class TaskStatus(Protocol):
    """What ``nursery.start`` hands in; spelt out because the stubs that come with libp2p hide trio's own types."""

    def started(self) -> None: ...


class Endpoint(Protocol):
    """What the switch asks of a network it carries things for."""

    @property
    def peer_id(self) -> PeerId: ...

    def joined(self, topic: str) -> bool: ...

    def deliver(self, sender: PeerId, topic: str, data: bytes) -> None: ...

    def disconnect(self, peer: PeerId) -> None: ...


@dataclass(frozen=True, slots=True)
class Faults:
    """What a link does to what it carries. Delays in seconds, one way; the others are probabilities from 0 to 1."""

    delay_min_s: float = 0.005
    delay_max_s: float = 0.03
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0

    def __post_init__(self) -> None:
        assert 0 <= self.delay_min_s <= self.delay_max_s
        assert all(0 <= each <= 1 for each in (self.loss, self.duplication, self.reordering))


@dataclass(frozen=True, slots=True)
class Arrival:
    """One thing that arrived: the switch's history is a list of them. ``kind`` is a topic, ``handshake``, ``request``
    or ``answer``.
    """

    time_s: float
    sender: PeerId
    receiver: PeerId
    kind: str
    octets: int


@dataclass(slots=True)
class _Link:
    faults: Faults
    random: Random
    blocked: bool = False
    used: int = 0
    last_arrival_s: float = 0.0


@dataclass(order=True, slots=True)
class _Event:
    time_s: float
    sender: PeerId
    receiver: PeerId
    number: int
    scheduled_s: float = field(compare=False)
    kind: str = field(compare=False)
    octets: int = field(compare=False)
    happen: Callable[[], None] = field(compare=False)


class SimulatedSwitch:
    """Carries everything between the networks made on it. ``run`` it in a nursery before any of them."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.seed = seed
        self.history: list[Arrival] | None = None
        """Set to a list to have every arrival recorded."""
        self._faults = faults or Faults()
        self._links: dict[tuple[PeerId, PeerId], _Link] = {}
        self._networks: dict[PeerId, Endpoint] = {}
        self._events: list[_Event] = []
        self._last_event_s = -1.0
        self._added = trio.Event()
        self._on_the_way: OrderedDict[tuple[str, MessageId], set[PeerId]] = OrderedDict()

    def address(self, peer: PeerId) -> str:
        """The multiaddr of any peer, running or not."""
        host = Random(peer).getrandbits(24)  # noqa: S311 - a simulation, reproducible on purpose
        return f"/ip4/10.{host >> 16}.{host >> 8 & 255}.{host & 255}/tcp/4001/p2p/{peer}"

    # Faults

    def set_faults(self, faults: Faults, sender: PeerId | None = None, receiver: PeerId | None = None) -> None:
        """From now on, on the links from ``sender`` and to ``receiver``; None stands for all."""
        if sender is None and receiver is None:
            self._faults = faults
        pairs = set(self._links)
        if sender is not None and receiver is not None:
            pairs.add((sender, receiver))
        for pair in pairs:
            if sender in (None, pair[0]) and receiver in (None, pair[1]):
                self._link(*pair).faults = faults

    def block(self, sender: PeerId, receiver: PeerId) -> None:
        """Cuts one direction."""
        link = self._link(sender, receiver)
        if not link.blocked:
            link.blocked = True
            self._schedule(
                trio.current_time() + DEAD_AFTER_S, sender, receiver, "dead", 0, lambda: self._bury(sender, receiver)
            )

    def partition(self, *groups: Iterable[PeerId]) -> None:
        """Cuts every link between members of different groups."""
        sides = [list(group) for group in groups]
        for here in sides:
            for there in sides:
                if here is not there:
                    for sender in here:
                        for receiver in there:
                            self.block(sender, receiver)

    def heal(self) -> None:
        """Every link carries again."""
        for link in self._links.values():
            link.blocked = False

    # Life

    async def run(self, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            if not self._events:
                self._added = trio.Event()
                await self._added.wait()
                continue
            now_s = trio.current_time()
            if self._events[0].time_s > now_s:
                self._added = trio.Event()
                with trio.move_on_at(self._events[0].time_s):
                    await self._added.wait()
                continue
            if self._events[0].time_s in (self._last_event_s, self._events[0].scheduled_s):
                await trio.testing.wait_all_tasks_blocked()
            event = heapq.heappop(self._events)
            self._last_event_s = event.time_s
            if self.history is not None and event.kind != "dead":
                self.history.append(Arrival(event.time_s, event.sender, event.receiver, event.kind, event.octets))
            event.happen()

    # For the networks

    def carry(
        self,
        sender: PeerId,
        receiver: PeerId,
        kind: str,
        octets: int,
        happen: Callable[[], None],
        reliable: bool,
    ) -> bool:
        """Lets ``happen`` happen at the receiver, once the link has done its worst; False if nothing will arrive."""
        link = self._link(sender, receiver)
        faults, random = link.faults, link.random
        delay_s = random.uniform(faults.delay_min_s, faults.delay_max_s)
        lost = random.random() < faults.loss
        doubled = random.random() < faults.duplication
        reordered = random.random() < faults.reordering
        if link.blocked or (lost and not reliable):
            return False
        if lost:
            delay_s += _RETRANSMISSIONS * 2 * faults.delay_max_s
        arrival_s = trio.current_time() + delay_s
        if reordered and not reliable:
            arrival_s += faults.delay_max_s
        else:
            arrival_s = link.last_arrival_s = max(arrival_s, link.last_arrival_s)
        self._schedule(arrival_s, sender, receiver, kind, octets, happen)
        if doubled and not reliable:
            self._schedule(arrival_s + faults.delay_max_s, sender, receiver, kind, octets, happen)
        return True

    def gossip(self, sender: PeerId, receiver: PeerId, topic: str, data: bytes) -> None:
        """Rule 3: sends unless a copy is there already or on the way."""
        name = (topic, message_id(data))
        holders = self._on_the_way.setdefault(name, set())
        if len(self._on_the_way) > _REMEMBERED_MESSAGES:
            self._on_the_way.popitem(last=False)
        network = self._networks.get(receiver)
        if receiver in holders or network is None or not network.joined(topic):
            return
        if self.carry(sender, receiver, topic, len(data), lambda: network.deliver(sender, topic, data), reliable=False):
            holders.add(receiver)

    async def round_trip(self, peer: PeerId, other: PeerId) -> None:
        """Waits for as long as a handshake takes; of two peers that shake hands at once, one is always the first."""
        done = trio.Event()
        arrival_s = trio.current_time() + self.round_trip_s(peer, other)
        self._schedule(arrival_s, peer, other, "handshake", 0, done.set)
        await done.wait()

    def round_trip_s(self, peer: PeerId, other: PeerId) -> float:
        """The longest round trip between two peers, without faults."""
        return self._link(peer, other).faults.delay_max_s + self._link(other, peer).faults.delay_max_s

    def reachable(self, peer: PeerId, other: PeerId) -> bool:
        return not self._link(peer, other).blocked and not self._link(other, peer).blocked

    def find(self, peer: PeerId) -> Endpoint | None:
        return self._networks.get(peer)

    def enter(self, network: Endpoint) -> None:
        if network.peer_id in self._networks:
            raise NetworkError(f"{network.peer_id} is already running")
        self._networks[network.peer_id] = network
        for holders in self._on_the_way.values():
            holders.discard(network.peer_id)

    def leave(self, network: Endpoint) -> None:
        del self._networks[network.peer_id]

    def _bury(self, sender: PeerId, receiver: PeerId) -> None:
        network = self._networks.get(sender)
        if network is not None and self._link(sender, receiver).blocked:
            network.disconnect(receiver)

    def _link(self, sender: PeerId, receiver: PeerId) -> _Link:
        link = self._links.get((sender, receiver))
        if link is None:
            link = _Link(self._faults, Random(f"{self.seed}/{sender}/{receiver}"))  # noqa: S311 - reproducible
            self._links[(sender, receiver)] = link
        return link

    def _schedule(
        self, time_s: float, sender: PeerId, receiver: PeerId, kind: str, octets: int, happen: Callable[[], None]
    ) -> None:
        link = self._link(sender, receiver)
        link.used += 1
        event = _Event(time_s, sender, receiver, link.used, trio.current_time(), kind, octets, happen)
        heapq.heappush(self._events, event)
        if self._events[0] is event:
            self._added.set()

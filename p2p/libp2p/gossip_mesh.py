"""Who sends what to whom: GossipSub v1.1's mesh, lazy gossip and message cache, without sockets, tasks or a clock of
its own.

Source: libp2p specs, pubsub/gossipsub/gossipsub-v1.0.md and -v1.1.md. Where this differs, it says so.

1. Each joined topic has a mesh of DEGREE peers, kept between DEGREE_LOW and DEGREE_HIGH at each heartbeat (1 s). They
   are few, for slow links (``docs/adr/0013``). Nobody is refused for fullness and the back-off is short (10 s, not
   60): a node of a small neighbourhood must not end up alone because its neighbours are full.
2. A peer that announces a topic is grafted at once while the mesh is below DEGREE, so that a node hears its neighbours
   from the first message. It is told at once which
   messages were sent in the last three heartbeats.
3. Whoever was pruned stays out for the back-off the pruner named, at most MAX_BACKOFF_S. A GRAFT before that is
   answered with PRUNE.
4. When a mesh is cut back, at least DEGREE_OUTBOUND of the peers kept are ones we dialled, if there are that many:
   strangers who dial us cannot fill a mesh on their own.
5. Our own messages up to FLOOD_BYTES go to every subscriber, larger ones and those of others to the mesh (or to DEGREE
   subscribers if it is empty, or not ours).
6. Each heartbeat names the ids of the last three heartbeats' messages to up to LAZY subscribers outside the mesh. What
   a peer asks for is sent from the cache (five heartbeats, CACHE_BYTES), at most MAX_RETRANSMISSIONS times.
7. From one peer, between two heartbeats, at most MAX_IHAVES announcements are looked at, and at most MAX_ASKED ids
   asked for.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from p2p.libp2p.gossip_wire import MAX_TOPIC_CHARACTERS, Controls
from p2p.network import PeerId
from p2p.reception import MessageId

HEARTBEAT_S = 1.0
DEGREE = 4
DEGREE_LOW = 3
DEGREE_HIGH = 6
DEGREE_OUTBOUND = 2
LAZY = 6
BACKOFF_S = 10
MAX_BACKOFF_S = 120
FLOOD_BYTES = 16 * 1024
GOSSIP_HEARTBEATS = 3
CACHE_HEARTBEATS = 5
CACHE_BYTES = 64 * 1024 * 1024
MAX_RETRANSMISSIONS = 3
MAX_IHAVES = 10
MAX_ASKED = 2_000
MAX_TOPICS_PER_PEER = 64

Outgoing = dict[PeerId, Controls]


@dataclass(slots=True)
class _Neighbour:
    """A peer that speaks gossip: what it subscribes to, and what it did since the last heartbeat."""

    dialled: bool
    topics: set[str] = field(default_factory=set)
    ihaves: int = 0
    asked: int = 0


@dataclass(slots=True)
class _Cached:
    topic: str
    frame: bytes
    sent: Counter[PeerId] = field(default_factory=Counter)


class _Cache:
    """The frames of the last heartbeats' messages by id, newest generation first."""

    def __init__(self) -> None:
        self._messages: dict[MessageId, _Cached] = {}
        self._generations: deque[list[MessageId]] = deque([[] for _ in range(CACHE_HEARTBEATS)])
        self._octets = 0

    def put(self, identifier: MessageId, topic: str, frame: bytes) -> None:
        if identifier in self._messages:
            return
        self._messages[identifier] = _Cached(topic, frame)
        self._generations[0].append(identifier)
        self._octets += len(frame)
        for generation in reversed(self._generations):
            while self._octets > CACHE_BYTES and generation:
                self._drop(generation.pop(0))

    def get(self, identifier: MessageId) -> _Cached | None:
        return self._messages.get(identifier)

    def recent(self, topic: str) -> list[MessageId]:
        generations = list(self._generations)[:GOSSIP_HEARTBEATS]
        return [each for generation in generations for each in generation if self._messages[each].topic == topic]

    def shift(self) -> None:
        for identifier in self._generations.pop():
            self._drop(identifier)
        self._generations.appendleft([])

    def _drop(self, identifier: MessageId) -> None:
        self._octets -= len(self._messages.pop(identifier).frame)


class Mesh:
    """All of one node's gossip state. ``now_s`` is monotonic; ``random`` picks among equals."""

    def __init__(self, now_s: Callable[[], float], random: Random) -> None:
        self._now_s = now_s
        self._random = random
        self._neighbours: dict[PeerId, _Neighbour] = {}
        self._meshes: dict[str, set[PeerId]] = {}
        self._backoffs: dict[tuple[PeerId, str], float] = {}
        self._cache = _Cache()

    # Neighbours and topics

    def add(self, peer: PeerId, dialled: bool) -> None:
        """A peer that is connected now."""
        self._neighbours.setdefault(peer, _Neighbour(dialled))

    def hello(self, peer: PeerId) -> Controls:
        """What a new stream to the peer starts with."""
        return Controls(subscribe=list(self._meshes), graft=list(self.meshes_of(peer)))

    def remove(self, peer: PeerId) -> None:
        """A peer that is gone. Its back-offs stay: coming back does not shorten them."""
        self._neighbours.pop(peer, None)
        for members in self._meshes.values():
            members.discard(peer)

    def join(self, topic: str) -> Outgoing:
        assert len(topic) <= MAX_TOPIC_CHARACTERS
        assert topic not in self._meshes
        self._meshes[topic] = set()
        outgoing = {peer: Controls(subscribe=[topic]) for peer in self._neighbours}
        self._fill(topic, outgoing)
        return outgoing

    def subscription(self, peer: PeerId, topic: str, subscribes: bool) -> Outgoing:
        """The peer announced or withdrew a topic; more than MAX_TOPICS_PER_PEER are not remembered."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None or len(topic) > MAX_TOPIC_CHARACTERS:
            return {}
        if not subscribes:
            neighbour.topics.discard(topic)
            self._meshes.get(topic, set()).discard(peer)
            return {}
        if topic in neighbour.topics or len(neighbour.topics) >= MAX_TOPICS_PER_PEER:
            return {}
        neighbour.topics.add(topic)
        outgoing: Outgoing = {}
        if topic in self._meshes:
            self._fill(topic, outgoing)
            recent = self._cache.recent(topic)
            if recent:
                outgoing.setdefault(peer, Controls()).ihave.append((topic, recent[-MAX_ASKED:]))
        return outgoing

    def topics_of(self, peer: PeerId) -> tuple[str, ...]:
        neighbour = self._neighbours.get(peer)
        return tuple(sorted(neighbour.topics)) if neighbour else ()

    def meshes_of(self, peer: PeerId) -> tuple[str, ...]:
        return tuple(sorted(topic for topic, members in self._meshes.items() if peer in members))

    def neighbours(self, topic: str) -> list[PeerId]:
        """The topic's mesh; while it is empty, up to DEGREE subscribers, always the same."""
        return sorted(self._meshes.get(topic) or self._subscribers(topic)[:DEGREE])

    def empty_meshes(self) -> list[str]:
        """Joined topics in which nobody hears us and we hear nobody but by lazy gossip."""
        return [topic for topic, members in self._meshes.items() if not members]

    # The mesh

    def grafted(self, peer: PeerId, topic: str) -> Outgoing:
        """The peer put us into its mesh; we follow, unless the topic is not ours or the back-off still runs."""
        members = self._meshes.get(topic)
        if members is None or peer not in self._neighbours or peer in members:
            return {}
        if self._backing_off(peer, topic):
            return {peer: Controls(prune=[(topic, BACKOFF_S)])}
        members.add(peer)
        return {}

    def pruned(self, peer: PeerId, topic: str, backoff_s: int) -> None:
        members = self._meshes.get(topic)
        if members is None:
            return
        members.discard(peer)
        self._back_off(peer, topic, min(backoff_s or BACKOFF_S, MAX_BACKOFF_S))

    def heartbeat(self) -> Outgoing:
        """Once per HEARTBEAT_S: mend the meshes, gossip lazily, age the cache."""
        outgoing: Outgoing = {}
        now_s = self._now_s()
        self._backoffs = {key: until_s for key, until_s in self._backoffs.items() if until_s > now_s}
        for neighbour in self._neighbours.values():
            neighbour.ihaves = neighbour.asked = 0
        for topic, members in self._meshes.items():
            if len(members) < DEGREE_LOW:
                self._fill(topic, outgoing)
            elif len(members) > DEGREE_HIGH:
                self._cut_back(topic, outgoing)
            self._gossip(topic, outgoing)
        self._cache.shift()
        return outgoing

    def _fill(self, topic: str, outgoing: Outgoing) -> None:
        members = self._meshes[topic]
        candidates = [
            peer
            for peer, neighbour in self._neighbours.items()
            if topic in neighbour.topics and peer not in members and not self._backing_off(peer, topic)
        ]
        for peer in self._pick(candidates, DEGREE - len(members)):
            members.add(peer)
            outgoing.setdefault(peer, Controls()).graft.append(topic)

    def _cut_back(self, topic: str, outgoing: Outgoing) -> None:
        members = self._meshes[topic]
        kept = set(self._pick([peer for peer in members if self._neighbours[peer].dialled], DEGREE_OUTBOUND))
        kept.update(self._pick([peer for peer in members if peer not in kept], DEGREE - len(kept)))
        for peer in sorted(members - kept):
            members.discard(peer)
            self._back_off(peer, topic, BACKOFF_S)
            outgoing.setdefault(peer, Controls()).prune.append((topic, BACKOFF_S))

    def _gossip(self, topic: str, outgoing: Outgoing) -> None:
        recent = self._cache.recent(topic)
        if not recent:
            return
        outside = [peer for peer in self._subscribers(topic) if peer not in self._meshes[topic]]
        for peer in self._pick(outside, LAZY):
            outgoing.setdefault(peer, Controls()).ihave.append((topic, recent[-MAX_ASKED:]))

    def _back_off(self, peer: PeerId, topic: str, duration_s: float) -> None:
        self._backoffs[(peer, topic)] = max(self._backoffs.get((peer, topic), 0.0), self._now_s() + duration_s)

    def _backing_off(self, peer: PeerId, topic: str) -> bool:
        return self._backoffs.get((peer, topic), 0.0) > self._now_s()

    def _subscribers(self, topic: str) -> list[PeerId]:
        return [peer for peer, neighbour in self._neighbours.items() if topic in neighbour.topics]

    def _pick(self, candidates: list[PeerId], count: int) -> list[PeerId]:
        if count <= 0:
            return []
        return candidates if count >= len(candidates) else self._random.sample(candidates, count)

    # Messages

    def remember(self, identifier: MessageId, topic: str, frame: bytes) -> None:
        """A message we sent or forwarded; ``frame`` is what ``wanted_by`` sends again."""
        self._cache.put(identifier, topic, frame)

    def recipients(self, topic: str, octets: int, ours: bool, without: Iterable[PeerId] = ()) -> list[PeerId]:
        """To whom a new message goes (rule 5)."""
        members = self._meshes.get(topic)
        if ours and octets <= FLOOD_BYTES:
            chosen = self._subscribers(topic)
        elif members:
            chosen = list(members)
        else:
            chosen = self._pick(self._subscribers(topic), DEGREE)
        excluded = set(without)
        return [peer for peer in chosen if peer not in excluded]

    def announced(
        self, peer: PeerId, topic: str, identifiers: Iterable[MessageId], known: Callable[[str, MessageId], bool]
    ) -> list[MessageId]:
        """The ids of an IHAVE that we want."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None or topic not in self._meshes or neighbour.ihaves >= MAX_IHAVES:
            return []
        neighbour.ihaves += 1
        wanted = [each for each in identifiers if len(each) == 32 and not known(topic, each)]
        wanted = wanted[: MAX_ASKED - neighbour.asked]
        neighbour.asked += len(wanted)
        return wanted

    def wanted_by(self, peer: PeerId, identifiers: Iterable[MessageId]) -> list[bytes]:
        """The frames that answer an IWANT."""
        frames = []
        for identifier in identifiers:
            cached = self._cache.get(identifier)
            if cached is not None and cached.sent[peer] < MAX_RETRANSMISSIONS:
                cached.sent[peer] += 1
                frames.append(cached.frame)
        return frames

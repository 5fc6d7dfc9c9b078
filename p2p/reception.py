"""What happens to a gossip message at arrival, the same in the real and the simulated network.

1. Refused without a look at the content: a topic this node did not join, more than MAX_MESSAGE_BYTES (``OVERSIZE``),
   beyond the peer's budget (``FLOOD``).
2. A message is known by its topic and the SHA-256 of its data; it is judged once. Duplicates are counted and dropped,
   except that whoever hands over a message already rejected pays for it like the first. The topic belongs to the name:
   otherwise data that is valid in one topic could be made unacceptable there by sending it to another first.
3. A message whose envelope is not authentic (``authentic`` returns False) costs ``INVALID_MESSAGE`` and is *not*
   remembered: its data may be another's valid message inside a forged envelope.
4. The topic's validator decides. If it raises, that is this node's own fault: the message is ignored and counted as
   ``validator_failed``.
5. Accepted: queued for the subscriber, who loses the oldest message if the queue is full; the network then forwards it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from p2p.limits import Limits
from p2p.network import MAX_MESSAGE_BYTES, Offence, PeerId, Received, Validator, Verdict
from p2p.peer_book import PeerBook
from p2p.queues import DroppingQueue

MessageId = bytes
"""SHA-256 of the data, 32 bytes."""

_REMEMBERED_S = 300.0
_REMEMBERED_MESSAGES = 65_536

Penalise = Callable[[PeerId, Offence, str], None]


def message_id(data: bytes) -> MessageId:
    return hashlib.sha256(data).digest()


class _Seen:
    """Verdicts on messages by topic and id, for a while; bounded, the oldest goes first."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._verdicts: OrderedDict[tuple[str, MessageId], tuple[Verdict, float]] = OrderedDict()

    def get(self, topic: str, identifier: MessageId) -> Verdict | None:
        entry = self._verdicts.get((topic, identifier))
        return None if entry is None or entry[1] < self._now_s() else entry[0]

    def put(self, topic: str, identifier: MessageId, verdict: Verdict) -> None:
        now_s = self._now_s()
        self._verdicts[(topic, identifier)] = (verdict, now_s + _REMEMBERED_S)
        self._verdicts.move_to_end((topic, identifier))
        while len(self._verdicts) > _REMEMBERED_MESSAGES or next(iter(self._verdicts.values()))[1] < now_s:
            self._verdicts.popitem(last=False)


class Reception:
    """The topics this node joined, and the judgement of what arrives in them."""

    def __init__(self, book: PeerBook, limits: Limits, now_s: Callable[[], float], penalise: Penalise) -> None:
        self._book = book
        self._limits = limits
        self._penalise = penalise
        self._seen = _Seen(now_s)
        self._topics: dict[str, tuple[Validator, DroppingQueue[Received]]] = {}
        self.counters = book.counters

    def subscribe(self, topic: str, validator: Validator) -> DroppingQueue[Received]:
        """Error: ValueError when the topic was joined before."""
        if topic in self._topics:
            raise ValueError(f"the topic {topic} is already joined")
        queue = DroppingQueue[Received](self._limits.subscription_queue)
        self._topics[topic] = (validator, queue)
        return queue

    def topics(self) -> list[str]:
        return list(self._topics)

    def joined(self, topic: str) -> bool:
        return topic in self._topics

    def known(self, topic: str, identifier: MessageId) -> bool:
        return self._seen.get(topic, identifier) is not None

    def sent(self, topic: str, data: bytes) -> bool:
        """Notes a message of our own, so that its echo is a duplicate. False if it was sent or received before."""
        identifier = message_id(data)
        new = not self.known(topic, identifier)
        self._seen.put(topic, identifier, Verdict.ACCEPT)
        return new

    def receive(self, peer: PeerId, topic: str, data: bytes, authentic: Callable[[], bool] | None = None) -> bool:
        """Judges one message that ``peer`` handed over; True if it must be forwarded."""
        joined = self._topics.get(topic)
        if joined is None:
            self.counters["dropped_not_joined"] += 1
            return False
        if len(data) > MAX_MESSAGE_BYTES:
            self._penalise(peer, Offence.OVERSIZE, f"a message of {len(data)} bytes in {topic}")
            return False
        if not self._book.spend(peer, len(data)):
            self._penalise(peer, Offence.FLOOD, f"over its budget in {topic}")
            return False
        self.counters[f"received {topic}"] += 1
        identifier = message_id(data)
        verdict = self._seen.get(topic, identifier)
        if verdict is not None:
            if verdict is Verdict.REJECT:
                self._penalise(peer, Offence.INVALID_MESSAGE, f"a message already rejected in {topic}")
            self.counters[f"duplicate {topic}"] += 1
            return False
        if authentic is not None and not authentic():
            self._penalise(peer, Offence.INVALID_MESSAGE, f"an envelope that is not authentic in {topic}")
            return False
        validator, queue = joined
        verdict = self._judge(validator, peer, data)
        self._seen.put(topic, identifier, verdict)
        self.counters[f"{verdict.value} {topic}"] += 1
        if verdict is Verdict.REJECT:
            self._penalise(peer, Offence.INVALID_MESSAGE, f"rejected in {topic}")
        if verdict is Verdict.ACCEPT and not queue.put(Received(peer, data)):
            self.counters[f"dropped {topic}"] += 1
        return verdict is Verdict.ACCEPT

    def close(self) -> None:
        """Ends every subscription."""
        for _, queue in self._topics.values():
            queue.close()

    def _judge(self, validator: Validator, peer: PeerId, data: bytes) -> Verdict:
        try:
            return validator(peer, data)
        except Exception:
            # Rule 4: a defect in a validator must neither end the node nor cost an innocent peer its score.
            self.counters["validator_failed"] += 1
            return Verdict.IGNORE

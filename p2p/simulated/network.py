"""``SimulatedNetwork``: the contract of ``p2p.network`` on a simulated switch.

Scores, budgets, bans, size limits, validators and redialling are those of the real network: the same code. Dialling
needs both directions of the link. Accepted messages are forwarded to all connected peers that have no copy on the way.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from p2p.addresses import parse_peer_address
from p2p.dialer import Dialer
from p2p.limits import Limits
from p2p.network import (
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES,
    Banned,
    Connected,
    Disconnected,
    Handler,
    NetworkError,
    NetworkEvent,
    Offence,
    PeerId,
    PeerInfo,
    Received,
    RequestFailed,
    RequestRefused,
    Validator,
)
from p2p.peer_book import PeerBook
from p2p.queues import DroppingQueue
from p2p.reception import Reception
from p2p.simulated.switch import SimulatedSwitch, TaskStatus

_DIALLED = 16


@dataclass(slots=True)
class _Connection:
    address: str
    inbound: bool
    received: int = 0
    sent: int = 0
    serving: int = 0
    asked: set[_Question] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Question:
    """One request that waits for its answer, or for the news that there will be none."""

    answered: trio.Event = field(default_factory=trio.Event)
    answer: bytes | NetworkError = b""

    def end(self, answer: bytes | NetworkError) -> None:
        if not self.answered.is_set():
            self.answer = answer
            self.answered.set()


class SimulatedNetwork:
    """One peer's network on a switch. A peer's next life is a new one, after the former has stopped."""

    def __init__(
        self,
        switch: SimulatedSwitch,
        peer: PeerId,
        bootstrap: Sequence[str] = (),
        state_path: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self._switch = switch
        self._peer_id = peer
        self._limits = limits
        self._book = PeerBook(limits, trio.current_time, lambda: int(trio.current_time() * 1000), state_path)
        self._reception = Reception(self._book, limits, trio.current_time, self.penalise)
        self._connections: dict[PeerId, _Connection] = {}
        self._handlers: dict[str, Handler] = {}
        self._events: weakref.WeakSet[DroppingQueue[NetworkEvent]] = weakref.WeakSet()
        self._nursery: trio.Nursery | None = None
        self._dialer = Dialer(
            limits,
            lambda other: Random(f"{switch.seed}/{peer}/{other}"),  # noqa: S311 - reproducible
            self._dial,
            self._connections.__contains__,
            lambda other: self._book.banned(other) is not None,
        )
        for address in bootstrap:
            self._want(address)
        for addresses in list(self._book.remembered().values())[-_DIALLED:]:
            for address in reversed(addresses):
                self._want(address)

    # The contract

    @property
    def peer_id(self) -> PeerId:
        return self._peer_id

    async def publish(self, topic: str, data: bytes) -> None:
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a gossip message has at most {MAX_MESSAGE_BYTES} bytes, not {len(data)}")
        if self._reception.sent(topic, data):
            self._book.counters[f"sent {topic}"] += 1
            self._forward(topic, data)
        await trio.lowlevel.checkpoint()

    def neighbours(self, topic: str) -> Sequence[PeerId]:
        """All connected peers that have joined the topic."""
        others = ((peer, self._find(peer)) for peer in self._connections)
        return [peer for peer, other in others if other is not None and other.joined(topic)]

    def send(self, peer: PeerId, topic: str, data: bytes) -> bool:
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a gossip message has at most {MAX_MESSAGE_BYTES} bytes, not {len(data)}")
        connection = self._connections.get(peer)
        if connection is None:
            return False
        self._book.counters[f"sent {topic}"] += 1
        connection.sent += len(data)
        self._switch.gossip(self._peer_id, peer, topic, data)
        return True

    def subscribe(self, topic: str, validator: Validator) -> AsyncIterator[Received]:
        return self._reception.subscribe(topic, validator)

    async def request(self, peer: PeerId, protocol: str, data: bytes, timeout_s: float = 10.0) -> bytes:
        if len(data) > MAX_REQUEST_BYTES:
            raise ValueError(f"a request has at most {MAX_REQUEST_BYTES} bytes, not {len(data)}")
        connection = self._connections.get(peer)
        if connection is None:
            raise RequestFailed(f"{peer} is not connected")
        question = _Question()
        connection.asked.add(question)
        self._send(peer, "request", len(data), lambda other: other.asked(self._peer_id, protocol, data, question))
        try:
            with trio.fail_after(timeout_s):
                await question.answered.wait()
        except trio.TooSlowError as error:
            raise RequestFailed(f"{peer} did not answer {protocol} within {timeout_s} s") from error
        finally:
            connection.asked.discard(question)
        if isinstance(question.answer, NetworkError):
            raise question.answer
        return question.answer

    def serve(self, protocol: str, handler: Handler) -> None:
        self._handlers[protocol] = handler

    def peers(self) -> list[PeerInfo]:
        return [self._info(peer, connection) for peer, connection in self._connections.items()]

    def events(self) -> AsyncIterator[NetworkEvent]:
        queue = DroppingQueue[NetworkEvent](self._limits.event_queue)
        self._events.add(queue)
        return queue

    def penalise(self, peer: PeerId, offence: Offence, detail: str) -> None:
        if peer == self._peer_id:
            return
        banned = self._book.penalise(peer, offence, detail)
        if banned is not None:
            self._enforce(banned)

    async def ban(self, peer: PeerId, duration_s: float, reason: str) -> None:
        self._enforce(self._book.ban(peer, duration_s, reason))
        await trio.lowlevel.checkpoint()

    def pardon(self, peer: PeerId) -> bool:
        return self._book.pardon(peer)

    async def connect(self, address: str) -> PeerId:
        """Returns at once: a connection, when it stands, is an event."""
        await trio.lowlevel.checkpoint()
        return self._want(address)

    def addresses(self) -> list[str]:
        return [self._switch.address(self._peer_id)]

    def announced(self) -> list[str]:
        return self.addresses()

    # Beyond the contract

    def metrics(self) -> dict[str, int]:
        """Counters by name since the start, and the gauge ``peers``."""
        return {**self._book.counters, "peers": len(self._connections)}

    async def run(self, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Takes part until cancelled. Error: NetworkError when this peer is already running."""
        self._switch.enter(self)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._dialer.run)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._reception.close()
            for queue in self._events:
                queue.close()
            for peer in list(self._connections):
                self.disconnect(peer)
            self._switch.leave(self)
            self._book.save()

    # Connections

    def _find(self, peer: PeerId) -> SimulatedNetwork | None:
        other = self._switch.find(peer)
        assert other is None or isinstance(other, SimulatedNetwork)
        return other

    def _want(self, text: str) -> PeerId:
        peer, address = parse_peer_address(text)
        if peer != self._peer_id:
            self._dialer.want(peer, str(address))
        return peer

    async def _dial(self, peer: PeerId, address: str) -> None:
        await self._switch.round_trip(self._peer_id, peer)
        other = self._find(peer)
        if other is None or not self._switch.reachable(self._peer_id, peer):
            raise NetworkError(f"cannot reach {address}")
        if peer in self._connections:
            return
        if not self._admits(peer, inbound=False) or not other._admits(self._peer_id, inbound=True):
            raise NetworkError(f"{address} does not admit this node")
        self._book.remember(peer, address)
        self._connected(peer, address, inbound=False)
        other._connected(self._peer_id, self._switch.address(self._peer_id), inbound=True)

    def _admits(self, peer: PeerId, inbound: bool) -> bool:
        count = sum(connection.inbound for connection in self._connections.values())
        full = len(self._connections) >= self._limits.max_connections or (inbound and count >= self._limits.max_inbound)
        return not full and self._book.banned(peer) is None

    def _connected(self, peer: PeerId, address: str, inbound: bool) -> None:
        self._connections[peer] = _Connection(address, inbound)
        self._tell(Connected(peer, address))

    def disconnect(self, peer: PeerId) -> None:
        """Ends the connection on both sides."""
        connection = self._connections.pop(peer, None)
        if connection is None:
            return
        for question in connection.asked:
            question.end(RequestFailed(f"{peer} disconnected"))
        self._dialer.lost(peer)
        self._tell(Disconnected(peer))
        other = self._find(peer)
        if other is not None:
            other.disconnect(self._peer_id)

    def _enforce(self, banned: Banned) -> None:
        self._tell(banned)
        self._book.save()
        self.disconnect(banned.peer)

    def _tell(self, event: NetworkEvent) -> None:
        for queue in self._events:
            queue.put(event)

    def _info(self, peer: PeerId, connection: _Connection) -> PeerInfo:
        other = self._find(peer)
        topics = tuple(sorted(other._reception.topics())) if other else ()
        return PeerInfo(
            peer=peer,
            address=connection.address,
            inbound=connection.inbound,
            latency_ms=self._switch.round_trip_s(self._peer_id, peer) * 1000,
            score=self._book.score(peer),
            bytes_received=connection.received,
            bytes_sent=connection.sent,
            topics=topics,
            mesh=tuple(topic for topic in topics if self.joined(topic)),
        )

    # Gossip

    def joined(self, topic: str) -> bool:
        return self._reception.joined(topic)

    def deliver(self, sender: PeerId, topic: str, data: bytes) -> None:
        """A gossip message arrives; the switch calls this."""
        connection = self._connections.get(sender)
        if connection is None:
            return
        connection.received += len(data)
        if self._reception.receive(sender, topic, data):
            self._forward(topic, data, without=sender)

    def _forward(self, topic: str, data: bytes, without: PeerId | None = None) -> None:
        for peer, connection in list(self._connections.items()):
            if peer != without:
                connection.sent += len(data)
                self._switch.gossip(self._peer_id, peer, topic, data)

    # Requests

    def _send(self, peer: PeerId, kind: str, octets: int, arrive: Callable[[SimulatedNetwork], None]) -> None:
        connection = self._connections.get(peer)
        other = self._find(peer)
        if connection is not None and other is not None:
            connection.sent += octets
            self._switch.carry(self._peer_id, peer, kind, octets, lambda: arrive(other), reliable=True)

    def asked(self, peer: PeerId, protocol: str, data: bytes, question: _Question) -> None:
        """A request arrives; the switch calls this."""
        connection = self._connections.get(peer)
        handler = self._handlers.get(protocol)
        if connection is None or self._nursery is None:
            return
        connection.received += len(data)
        if handler is None:
            self._reply(peer, question, RequestFailed(f"{self._peer_id} does not take {protocol}"))
        elif connection.serving >= self._limits.streams_per_peer:
            self.penalise(peer, Offence.FLOOD, "too many streams")
            self._reply(peer, question, RequestFailed(f"{self._peer_id} broke off {protocol}"))
        elif not self._book.spend(peer, len(data)):
            self.penalise(peer, Offence.FLOOD, f"requests over its budget, {protocol}")
            self._reply(peer, question, RequestFailed(f"{self._peer_id} broke off {protocol}"))
        else:
            self._nursery.start_soon(self._answer, peer, protocol, handler, data, question, connection)

    async def _answer(
        self,
        peer: PeerId,
        protocol: str,
        handler: Handler,
        data: bytes,
        question: _Question,
        connection: _Connection,
    ) -> None:
        connection.serving += 1
        answer: bytes | NetworkError
        try:
            answer = await handler(peer, data)
            if len(answer) > MAX_RESPONSE_BYTES:
                answer = RequestFailed(f"{self._peer_id} broke off {protocol}")
        except RequestRefused as refusal:
            answer = RequestRefused(str(refusal))
        except Exception:
            # The contract's rule 4: a handler's failure costs its stream and nothing else.
            self._book.counters["stream_handler_failed"] += 1
            answer = RequestFailed(f"{self._peer_id} broke off {protocol}")
        finally:
            connection.serving -= 1
        self._reply(peer, question, answer)

    def _reply(self, peer: PeerId, question: _Question, answer: bytes | NetworkError) -> None:
        octets = len(answer) if isinstance(answer, bytes) else 0
        self._send(peer, "answer", octets, lambda other: other._answered(self._peer_id, octets, question, answer))

    def _answered(self, peer: PeerId, octets: int, question: _Question, answer: bytes | NetworkError) -> None:
        connection = self._connections.get(peer)
        if connection is not None:
            connection.received += octets
            question.end(answer)

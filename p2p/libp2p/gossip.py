"""GossipSub v1.1 over libp2p streams: reads RPCs, hands messages to the reception, sends what the mesh decides.

Speaks ``/meshsub/1.1.0`` with StrictSign, as js-, go- and rust-libp2p do. py-libp2p's own router is not used: see
``docs/adr/0004-our-own-yamux-and-gossipsub.md`` for what was measured.

1. Each peer has one stream from us, reopened while the peer is connected, and may have streams to us. What we send
   waits in one bounded queue per peer: control first, then messages; beyond the bounds a message is dropped and
   counted.
2. An RPC costs one message of the peer's budget, and its bytes without the messages inside, which pay for themselves.
   Malformed bytes cost ``PROTOCOL_VIOLATION``, a length over the limit ``OVERSIZE``, and the stream.
3. Nothing a peer sends raises out of its stream's task.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from random import Random
from typing import Any

import trio
from libp2p.io.exceptions import IOException

from p2p.libp2p.gossip_mesh import HEARTBEAT_S, Mesh, Outgoing
from p2p.libp2p.gossip_wire import (
    Controls,
    FrameReader,
    MalformedRpc,
    Signer,
    authentic,
    control_frame,
    parse_rpc,
    publish_frame,
)
from p2p.libp2p.requests import OpenStream
from p2p.libp2p.streams import OversizeFrame
from p2p.limits import Limits
from p2p.network import Offence, PeerId
from p2p.peer_book import PeerBook
from p2p.reception import Penalise, Reception, message_id

PROTOCOL = "/meshsub/1.1.0"
_BATCH_BYTES = 60 * 1024
_REOPEN_FIRST_S = 0.2
_REOPEN_LONGEST_S = 30.0
_CONTROL_QUEUE = 1_000


class _SendQueue:
    """Frames that wait for one peer."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._control: deque[bytes] = deque()
        self._messages: deque[bytes] = deque()
        self._message_bytes = 0
        self._added = trio.Event()

    def put_control(self, frame: bytes) -> bool:
        if len(self._control) >= _CONTROL_QUEUE:
            return False
        self._control.append(frame)
        self._added.set()
        return True

    def put_message(self, frame: bytes) -> bool:
        full = self._message_bytes + len(frame) > self._limits.send_queue_bytes
        if full or len(self._messages) >= self._limits.send_queue_messages:
            return False
        self._messages.append(frame)
        self._message_bytes += len(frame)
        self._added.set()
        return True

    async def next_batch(self) -> bytes:
        """One frame or as many as fit one write, control first; waits for the first."""
        while not self._control and not self._messages:
            self._added = trio.Event()
            await self._added.wait()
        frames: list[bytes] = []
        size = 0
        for queue in (self._control, self._messages):
            while queue and (not frames or size + len(queue[0]) <= _BATCH_BYTES):
                frames.append(queue.popleft())
                size += len(frames[-1])
                if queue is self._messages:
                    self._message_bytes -= len(frames[-1])
        return b"".join(frames)


class Gossip:
    """The gossip of one node. ``run`` beats the heart; ``connected`` and ``disconnected`` follow the connections."""

    def __init__(
        self,
        signer: Signer,
        reception: Reception,
        book: PeerBook,
        limits: Limits,
        penalise: Penalise,
        open_stream: OpenStream,
        random: Random,
    ) -> None:
        self._signer = signer
        self._reception = reception
        self._book = book
        self._limits = limits
        self._penalise = penalise
        self._open_stream = open_stream
        self._queues: dict[PeerId, _SendQueue] = {}
        self._counters = book.counters
        self.mesh = Mesh(trio.current_time, random)

    # What the network calls

    def join(self, topic: str) -> None:
        self._send_controls(self.mesh.join(topic))

    def publish(self, topic: str, data: bytes) -> None:
        """Queues our own message for its recipients. A message sent before is not sent again."""
        if not self._reception.sent(topic, data):
            return
        self._counters[f"sent {topic}"] += 1
        frame = publish_frame(self._signer.envelope(topic, data))
        self.mesh.remember(message_id(data), topic, frame)
        self._send_message(topic, frame, self.mesh.recipients(topic, len(data), ours=True))

    def send(self, peer: PeerId, topic: str, data: bytes) -> bool:
        """Queues our own message for one peer; it is not announced to others. False if it was dropped."""
        queue = self._queues.get(peer)
        if queue is None or not queue.put_message(publish_frame(self._signer.envelope(topic, data))):
            self._counters[f"unsent {topic}"] += 1
            return False
        self._counters[f"sent {topic}"] += 1
        return True

    def connected(self, peer: PeerId, dialled: bool) -> None:
        """The first connection with ``peer`` stands; ``send_to`` must run until ``disconnected``."""
        assert peer not in self._queues
        self._queues[peer] = _SendQueue(self._limits)
        self.mesh.add(peer, dialled)

    def disconnected(self, peer: PeerId) -> None:
        """The last connection with ``peer`` is gone."""
        del self._queues[peer]
        self.mesh.remove(peer)

    async def run(self) -> None:
        while True:
            await trio.sleep(HEARTBEAT_S)
            self._send_controls(self.mesh.heartbeat())
            self._counters["empty_mesh_heartbeats"] += bool(self.mesh.empty_meshes())

    async def serve(self, stream: Any) -> None:
        """The handler of one inbound gossip stream."""
        peer = str(stream.muxed_conn.peer_id)
        frames = FrameReader(stream)
        try:
            while True:
                self._receive(peer, await frames.next())
                await trio.lowlevel.checkpoint()  # a chunk may hold hundreds of frames; others want to run too
        except OversizeFrame as error:
            self._penalise(peer, Offence.OVERSIZE, f"gossip: {error}")
        except MalformedRpc as error:
            self._penalise(peer, Offence.PROTOCOL_VIOLATION, f"gossip: {error}")
        except IOException:
            # The peer ended its stream, or the connection is gone.
            self._counters["gossip_streams_ended"] += 1
        await stream.reset()

    # Sending

    async def send_to(self, peer: PeerId) -> None:
        """Keeps a stream to ``peer`` open and sends it what is queued, until cancelled."""
        queue = self._queues[peer]
        delay_s = _REOPEN_FIRST_S
        while True:
            try:
                stream = await self._open_stream(peer, PROTOCOL)
                delay_s = _REOPEN_FIRST_S
                await stream.write(control_frame(self.mesh.hello(peer)))
                while True:
                    await stream.write(await queue.next_batch())
            except Exception:
                # The peer does not speak gossip, reset the stream, or is going away: the last shows as a disconnection.
                self._counters["gossip_streams_failed"] += 1
            await trio.sleep(delay_s)
            delay_s = min(delay_s * 2, _REOPEN_LONGEST_S)

    def _send_controls(self, outgoing: Outgoing) -> None:
        for peer, controls in outgoing.items():
            queue = self._queues.get(peer)
            if queue is not None and not queue.put_control(control_frame(controls)):
                self._counters["dropped_controls"] += 1

    def _send_message(self, topic: str, frame: bytes, peers: list[PeerId]) -> None:
        for peer in peers:
            queue = self._queues.get(peer)
            if queue is not None and not queue.put_message(frame):
                self._counters[f"unsent {topic}"] += 1

    # Receiving

    def _receive(self, peer: PeerId, body: bytes) -> None:
        rpc = parse_rpc(body)
        if not self._book.spend(peer, len(body) - sum(len(message.data) for message in rpc.publish)):
            self._penalise(peer, Offence.FLOOD, "gossip RPCs over its budget")
            return
        for change in rpc.subscriptions:
            self._send_controls(self.mesh.subscription(peer, change.topicid, change.subscribe))
        for message in rpc.publish:
            self._receive_message(peer, message)
        if rpc.HasField("control"):
            self._receive_control(peer, rpc.control)

    def _receive_message(self, peer: PeerId, message: Any) -> None:
        if len(message.topicIDs) != 1:
            raise MalformedRpc("a message has exactly one topic")
        topic, data = message.topicIDs[0], message.data
        if not self._reception.receive(peer, topic, data, partial(authentic, message)):
            return
        frame = publish_frame(message.SerializeToString())
        self.mesh.remember(message_id(data), topic, frame)
        self._send_message(topic, frame, self.mesh.recipients(topic, len(data), ours=False, without=[peer]))

    def _receive_control(self, peer: PeerId, control: Any) -> None:
        for graft in control.graft:
            self._send_controls(self.mesh.grafted(peer, graft.topicID))
        for prune in control.prune:
            self.mesh.pruned(peer, prune.topicID, prune.backoff)
        wanted = Controls()
        for ihave in control.ihave:
            wanted.iwant += self.mesh.announced(peer, ihave.topicID, ihave.messageIDs, self._reception.known)
        if wanted.iwant:
            self._send_controls({peer: wanted})
        queue = self._queues.get(peer)
        for iwant in control.iwant:
            for frame in self.mesh.wanted_by(peer, iwant.messageIDs):
                if queue is not None and not queue.put_message(frame):
                    self._counters["unsent_wanted"] += 1

"""GossipSub on the wire: frames, RPCs and signed envelopes (libp2p specs, pubsub/README.md and gossipsub-v1.1.md).

1. A frame is a minimal unsigned varint length and an ``RPC`` protobuf of that length, at most MAX_RPC_BYTES.
2. StrictSign: ``from`` is the author's peer id, of an Ed25519 key; ``seqno`` has 8 bytes; ``signature`` is over
   ``"libp2p-pubsub:"`` and the message without ``signature`` and ``key``; ``key``, if there, is the author's. Whatever
   else the message carries makes it not authentic.
3. A message has exactly one topic.
4. Limits per RPC, beyond which it breaks the protocol: MAX_MESSAGES, MAX_SUBSCRIPTIONS, MAX_CONTROLS of each kind,
   MAX_IDS ids.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import nacl.exceptions
import nacl.signing
from google.protobuf.message import DecodeError
from libp2p.pubsub.pb import rpc_pb2

from p2p.libp2p.streams import FramingError, OversizeFrame, encode_varint
from p2p.reception import MessageId

MAX_RPC_BYTES = 1024 * 1024
MAX_MESSAGES = 1_000
MAX_SUBSCRIPTIONS = 64
MAX_CONTROLS = 64
MAX_IDS = 5_000
MAX_TOPIC_CHARACTERS = 128

_SIGNING_PREFIX = b"libp2p-pubsub:"
_ED25519_KEY_PREFIX = bytes.fromhex("08011220")
_AUTHOR_PREFIX = bytes.fromhex("0024") + _ED25519_KEY_PREFIX
_PUBLISH_TAG = b"\x12"
_MAX_LENGTH_BYTES = 3


class MalformedRpc(FramingError):
    """The bytes are not an RPC within the limits of rule 4."""


@dataclass(slots=True)
class Controls:
    """What one peer is told besides messages. Topics of ``ihave`` with ids; a prune carries its back-off in seconds."""

    subscribe: list[str] = field(default_factory=list)
    graft: list[str] = field(default_factory=list)
    prune: list[tuple[str, int]] = field(default_factory=list)
    ihave: list[tuple[str, list[MessageId]]] = field(default_factory=list)
    iwant: list[MessageId] = field(default_factory=list)


class Signer:
    """Wraps our own messages. Sequence numbers start at the clock's nanoseconds: one that starts at whole seconds
    repeats after a quick restart and looks like equivocation to others."""

    def __init__(self, node_key_seed: bytes) -> None:
        self._key = nacl.signing.SigningKey(node_key_seed)
        self._author = _AUTHOR_PREFIX + bytes(self._key.verify_key)
        self._sequence = time.time_ns()

    def envelope(self, topic: str, data: bytes) -> bytes:
        """A signed ``Message``, serialised."""
        self._sequence += 1
        message = rpc_pb2.Message(
            from_id=self._author, data=data, seqno=self._sequence.to_bytes(8, "big"), topicIDs=[topic]
        )
        message.signature = self._key.sign(_SIGNING_PREFIX + message.SerializeToString()).signature
        envelope: bytes = message.SerializeToString()
        return envelope


def authentic(message: Any) -> bool:
    """Whether a parsed ``Message`` keeps rule 2."""
    author = message.from_id
    if len(author) != len(_AUTHOR_PREFIX) + 32 or not author.startswith(_AUTHOR_PREFIX):
        return False
    public_key = author[len(_AUTHOR_PREFIX) :]
    if len(message.seqno) != 8 or len(message.signature) != 64:
        return False
    if message.key and message.key != _ED25519_KEY_PREFIX + public_key:
        return False
    signed = rpc_pb2.Message(from_id=author, data=message.data, seqno=message.seqno, topicIDs=message.topicIDs)
    try:
        nacl.signing.VerifyKey(public_key).verify(_SIGNING_PREFIX + signed.SerializeToString(), message.signature)
    except (nacl.exceptions.BadSignatureError, nacl.exceptions.CryptoError, ValueError):
        return False
    return True


def publish_frame(envelope: bytes) -> bytes:
    """The frame that carries one serialised ``Message``; built once, sent to many."""
    body = _PUBLISH_TAG + encode_varint(len(envelope)) + envelope
    return encode_varint(len(body)) + body


def control_frame(controls: Controls) -> bytes:
    """The frame that carries ``controls``."""
    rpc = rpc_pb2.RPC()
    for topic in controls.subscribe:
        rpc.subscriptions.add(subscribe=True, topicid=topic)
    for topic in controls.graft:
        rpc.control.graft.add(topicID=topic)
    for topic, backoff_s in controls.prune:
        rpc.control.prune.add(topicID=topic, backoff=backoff_s)
    for topic, identifiers in controls.ihave:
        rpc.control.ihave.add(topicID=topic, messageIDs=identifiers)
    if controls.iwant:
        rpc.control.iwant.add(messageIDs=controls.iwant)
    body: bytes = rpc.SerializeToString()
    assert len(body) <= MAX_RPC_BYTES
    return encode_varint(len(body)) + body


def parse_rpc(body: bytes) -> Any:
    """An ``RPC`` within the limits. Error: MalformedRpc."""
    rpc = rpc_pb2.RPC()
    try:
        rpc.ParseFromString(body)
    except DecodeError as error:
        raise MalformedRpc("not an RPC protobuf") from error
    control = rpc.control
    identifiers = sum(len(entry.messageIDs) for entry in control.ihave) + sum(
        len(entry.messageIDs) for entry in control.iwant
    )
    if (
        len(rpc.publish) > MAX_MESSAGES
        or len(rpc.subscriptions) > MAX_SUBSCRIPTIONS
        or max(len(control.graft), len(control.prune), len(control.ihave), len(control.iwant)) > MAX_CONTROLS
        or identifiers > MAX_IDS
    ):
        raise MalformedRpc("an RPC beyond the limits")
    if not all(isinstance(topic, str) for topic in _topics(rpc)):
        raise MalformedRpc("a topic that is not UTF-8")
    return rpc


def _topics(rpc: Any) -> Iterator[object]:
    """Every topic an RPC names; protobuf hands out those that are not UTF-8 as bytes, without a word."""
    for change in rpc.subscriptions:
        yield change.topicid
    for message in rpc.publish:
        yield from message.topicIDs
    for entries in (rpc.control.graft, rpc.control.prune, rpc.control.ihave):
        for entry in entries:
            yield entry.topicID


class FrameReader:
    """Takes frames off a stream in large reads; a read per byte would cost more than the message."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._unread = bytearray()

    async def next(self) -> bytes:
        """The body of the next frame. Errors: OversizeFrame before the body is read; those of the
        stream at its end.
        """
        while (length := self._length()) is None:
            await self._fill()
        size, prefix = length
        if size > MAX_RPC_BYTES:
            raise OversizeFrame(f"an RPC of {size} bytes")
        while len(self._unread) < prefix + size:
            await self._fill()
        body = bytes(self._unread[prefix : prefix + size])
        del self._unread[: prefix + size]
        return body

    async def _fill(self) -> None:
        self._unread += await self._stream.read(64 * 1024)

    def _length(self) -> tuple[int, int] | None:
        """The announced length and the bytes that announced it; None if they are not all there."""
        value = 0
        for position, byte in enumerate(self._unread[: _MAX_LENGTH_BYTES + 1]):
            if position == _MAX_LENGTH_BYTES:
                raise OversizeFrame("an RPC length of more than three bytes")
            value |= (byte & 0x7F) << 7 * position
            if byte < 0x80:
                return value, position + 1
        return None

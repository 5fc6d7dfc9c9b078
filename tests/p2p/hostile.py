"""A peer that speaks the protocols by hand, down to the byte it wants to get wrong."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import nacl.signing
import trio

from p2p.addresses import parse_peer_address
from p2p.libp2p import LibP2PNetwork
from p2p.libp2p.streams import frame
from p2p.peer_identity import peer_id_from_public_key

from libp2p.crypto.ed25519 import create_new_key_pair  # isort: skip - after p2p.libp2p, which puts the stub in place
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair  # isort: skip
from libp2p.io.trio import TrioTCPStream  # isort: skip
from libp2p.network.connection.raw_connection import RawConnection  # isort: skip
from libp2p.peer.id import ID  # isort: skip
from libp2p.security.noise.transport import Transport as NoiseTransport  # isort: skip

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
MULTISTREAM = frame(b"/multistream/1.0.0\n")


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def peer_id(name: str) -> str:
    return peer_id_from_public_key(bytes(nacl.signing.SigningKey(seed(name)).verify_key))


def line(text: str) -> bytes:
    """A multistream line."""
    return frame(text.encode() + b"\n")


def yamux(kind: int, flags: int, stream: int, length: int, body: bytes = b"", version: int = 0) -> bytes:
    return struct.pack("!BBHII", version, kind, flags, stream, length) + body


def data_frames(stream: int, octets: bytes) -> bytes:
    chunks = [octets[start : start + 60_000] for start in range(0, len(octets), 60_000)]
    return b"".join(yamux(DATA, 0, stream, len(chunk), chunk) for chunk in chunks)


def address_of(node: LibP2PNetwork | str) -> str:
    """The full multiaddr of a node in this process, or the one given of a node in another."""
    return node if isinstance(node, str) else node.addresses()[0]


@asynccontextmanager
async def raw_socket(node: LibP2PNetwork | str, source: str | None = None) -> AsyncIterator[trio.SocketStream]:
    """A TCP connection to a node, nothing said yet; from the local address ``source``, if given."""
    _, address = parse_peer_address(address_of(node))
    async with await trio.open_tcp_stream(address.host, address.port, local_address=source) as stream:
        yield stream


async def wait_closed(stream: trio.SocketStream, within_s: float) -> bytes:
    """What the node still sends until it closes the connection. Error: trio.TooSlowError if it does not."""
    received = b""
    with trio.fail_after(within_s):
        while True:
            try:
                chunk = await stream.receive_some(65_536)
            except (trio.BrokenResourceError, ConnectionError):
                return received
            if not chunk:
                return received
            received += chunk


@dataclass
class Hostile:
    """A connection with an authenticated peer id, over which yamux frames are written by hand."""

    name: str
    socket: trio.SocketStream
    secured: Any
    next_stream: int = 1
    deaf: bool = False
    received: dict[int, bytearray] = field(default_factory=dict)
    flags: dict[int, int] = field(default_factory=dict)
    closed: trio.Event = field(default_factory=trio.Event)
    changed: trio.Event = field(default_factory=trio.Event)
    sent_bytes: int = 0

    @property
    def peer(self) -> str:
        return peer_id(self.name)

    async def send(self, octets: bytes) -> None:
        await self.secured.write(octets)
        self.sent_bytes += len(octets)

    async def keep_company(self) -> None:
        """Answers the node's pings, and takes up every other stream it opens without a word, until cancelled."""
        greeted: dict[int, bool] = {}
        while not self.closed.is_set():
            self.changed = trio.Event()
            for stream, octets in list(self.received.items()):
                if stream % 2 == 1:
                    continue
                if stream not in greeted and octets.startswith(MULTISTREAM) and len(octets) > len(MULTISTREAM):
                    greeted[stream] = octets.endswith(line("/ipfs/ping/1.0.0"))
                    agreed = bytes(octets[len(MULTISTREAM) :])
                    octets.clear()
                    await self.pester(yamux(WINDOW_UPDATE, ACK, stream, 0) + data_frames(stream, MULTISTREAM + agreed))
                elif greeted.get(stream) and octets:
                    echo = bytes(octets)
                    octets.clear()
                    await self.pester(data_frames(stream, echo))
            await self.changed.wait()

    async def listen(self) -> None:
        """Collects what the node sends until the connection ends."""
        with suppress(Exception):  # the node hung up, in whatever way: that is what tests wait for
            while True:
                if self.deaf:
                    await trio.sleep_forever()
                header = await self._exactly(12)
                _, kind, flags, stream, length = struct.unpack("!BBHII", header)
                if kind == DATA:
                    self.received.setdefault(stream, bytearray()).extend(await self._exactly(length))
                if kind in (DATA, WINDOW_UPDATE):
                    self.flags[stream] = self.flags.get(stream, 0) | flags
                if kind == GO_AWAY:
                    break
                self._wake()
        self.closed.set()
        self._wake()

    async def open(self, protocol: str) -> int:
        """A stream with its protocol agreed; returns its number."""
        stream = self.next_stream
        self.next_stream += 2
        hello = MULTISTREAM + line(protocol)
        await self.send(yamux(WINDOW_UPDATE, SYN, stream, 0) + yamux(DATA, 0, stream, len(hello), hello))
        await self.until(lambda: line(protocol) in self.received.get(stream, b""))
        del self.received[stream][:]
        return stream

    async def accept(self, protocol: str) -> int:
        """Agrees to the stream the node opens for ``protocol`` and returns its number; leaves others hanging."""
        greeted: set[int] = set()
        with trio.fail_after(5):
            while True:
                for stream, octets in list(self.received.items()):
                    if stream % 2 == 0 and stream not in greeted:
                        greeted.add(stream)
                        await self.send(yamux(WINDOW_UPDATE, ACK, stream, 0))
                        await self.write(stream, MULTISTREAM)
                    if stream in greeted and octets == MULTISTREAM + line(protocol):
                        octets.clear()
                        await self.write(stream, line(protocol))
                        return stream
                self.changed = trio.Event()
                await self.changed.wait()

    async def write(self, stream: int, octets: bytes) -> None:
        await self.send(data_frames(stream, octets))

    async def end(self, stream: int) -> None:
        """Ends our side of a stream."""
        await self.send(yamux(WINDOW_UPDATE, FIN, stream, 0))

    async def pester(self, octets: bytes) -> None:
        """Sends what may make the node hang up meanwhile."""
        with suppress(Exception):  # whatever the connection raises when it is cut
            await self.send(octets)

    async def until(self, condition: Any, within_s: float = 5.0) -> None:
        with trio.fail_after(within_s):
            while not condition():
                self.changed = trio.Event()
                if condition():
                    return
                await self.changed.wait()

    async def hung_up(self, within_s: float = 5.0) -> None:
        with trio.fail_after(within_s):
            await self.closed.wait()

    def _wake(self) -> None:
        self.changed.set()

    async def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            chunk = await self.secured.read(count - len(received))
            if not chunk:
                raise EOFError
            received += chunk
        return received


@asynccontextmanager
async def hostile(
    node: LibP2PNetwork | str, name: str = "mallory", source: str | None = None
) -> AsyncIterator[Hostile]:
    """An authenticated connection to a node: TCP, Noise, yamux agreed. See ``raw_socket``."""
    peer, _ = parse_peer_address(address_of(node))
    async with raw_socket(node, source) as socket, trio.open_nursery() as nursery:
        raw = RawConnection(TrioTCPStream(socket), True)
        await raw.write(MULTISTREAM + line("/noise"))
        await _expect(raw, MULTISTREAM + line("/noise"))
        noise = NoiseTransport(create_new_key_pair(seed(name)), create_new_x25519_key_pair().private_key)
        secured = await noise.secure_outbound(raw, ID.from_base58(peer))
        await secured.write(MULTISTREAM + line("/yamux/1.0.0"))
        await _expect(secured, MULTISTREAM + line("/yamux/1.0.0"))
        connection = Hostile(name, socket, secured)
        nursery.start_soon(connection.listen)
        yield connection
        nursery.cancel_scope.cancel()


async def _expect(stream: Any, expected: bytes) -> None:
    received = b""
    with trio.fail_after(5):
        while len(received) < len(expected):
            chunk = await stream.read(len(expected) - len(received))
            if not chunk:
                raise EOFError
            received += chunk
    assert received == expected

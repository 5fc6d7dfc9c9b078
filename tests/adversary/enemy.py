"""What all enemies share: deeds that are counted, and ways to talk to a victim."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio

from p2p.libp2p.gossip import PROTOCOL as GOSSIP
from p2p.libp2p.gossip_wire import Signer, publish_frame
from tests.adversary.street import Victim
from tests.p2p.hostile import FIN, RST, Hostile, data_frames, hostile, peer_id, raw_socket, seed

from libp2p.io.exceptions import IOException  # isort: skip - after p2p.libp2p, which puts the stub in place

REFUSALS = (OSError, EOFError, IOException, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""How it feels to be hung up on."""
PATIENCE_S = 40.0


class Enemy:
    """One way to do harm. ``attack`` does it for ``seconds``; one that should be banned for it, until it is, or for
    PATIENCE_S. ``number`` tells apart those who do the same; ``source`` is the address on this machine it comes from.
    """

    is_banned = False

    def __init__(self, seconds: float, number: int = 0, source: str | None = None) -> None:
        self.seconds = seconds
        self.number = number
        self.source = source
        self.connections = 0
        self.sent_bytes = 0
        self.messages = 0
        self.banned_after_s: float | None = None

    @property
    def name(self) -> str:
        """Also of its key."""
        return f"{type(self).__name__} {self.number}"

    @property
    def peer(self) -> str:
        return peer_id(self.name)

    async def harm(self, victim: Victim) -> None:
        """The deed, once; ``attack`` repeats it while there is time."""
        raise NotImplementedError

    async def attack(self, victim: Victim) -> None:
        began_s = trio.current_time()
        with trio.move_on_after(PATIENCE_S if self.is_banned else self.seconds):
            while not (self.is_banned and self.banned_after_s is not None):
                refusals = 0
                try:
                    await self.harm(victim)
                except* REFUSALS:
                    refusals = 1  # hung up on, in whatever way: that is the victim's right
                if self.is_banned and victim.bans(self.peer):
                    self.banned_after_s = trio.current_time() - began_s
                await trio.sleep(0.05 * refusals)

    # -- ways to talk

    @asynccontextmanager
    async def connected(
        self, victim: Victim, name: str | None = None, source: str | None = None
    ) -> AsyncIterator[Hostile]:
        """An authenticated connection, under a name of its own if given. Errors: REFUSALS."""
        async with hostile(victim.address, name or self.name, source or self.source) as connection:
            self.connections += 1
            try:
                yield connection
            finally:
                self.sent_bytes += connection.sent_bytes

    @asynccontextmanager
    async def socket(self, victim: Victim, source: str | None = None) -> AsyncIterator[trio.SocketStream]:
        async with raw_socket(victim.address, source or self.source) as stream:
            self.connections += 1
            yield stream

    async def say(self, stream: trio.SocketStream, octets: bytes) -> None:
        await stream.send_all(octets)
        self.sent_bytes += len(octets)
        self.messages += 1

    @asynccontextmanager
    async def gossiping(self, victim: Victim) -> AsyncIterator[Gossiper]:
        """A connection with a gossip stream."""
        async with self.connected(victim) as connection:
            yield Gossiper(self, connection, await connection.open(GOSSIP))

    async def ask(self, connection: Hostile, protocol: str, octets: bytes) -> bytes:
        """Sends on a new stream and returns what comes until the victim ends it."""
        stream = await connection.open(protocol)
        self.messages += 1
        await connection.send(data_frames(stream, octets))
        await connection.until(lambda: connection.closed.is_set() or connection.flags.get(stream, 0) & (FIN | RST), 20)
        answer = bytes(connection.received.pop(stream, b""))
        if not connection.flags.get(stream, 0) & RST:
            await connection.end(stream)
        return answer


class Gossiper:
    """Says what it likes on a gossip stream."""

    def __init__(self, enemy: Enemy, connection: Hostile, stream: int) -> None:
        self.connection = connection
        self._enemy = enemy
        self._stream = stream
        self._signer = Signer(seed(enemy.name))

    async def frame(self, octets: bytes) -> None:
        """An RPC with its length."""
        self._enemy.messages += 1
        await self.connection.write(self._stream, octets)
        await trio.lowlevel.checkpoint()
        if self.connection.closed.is_set():
            raise EOFError

    async def publish(self, topic: str, content: bytes) -> None:
        await self.frame(publish_frame(self._signer.envelope(topic, content)))


async def in_parallel(count: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Runs ``work`` with 0 … ``count`` − 1 at once; refusals end their own only."""

    async def one(number: int) -> None:
        with suppress(*REFUSALS):
            try:
                await work(number)
            except BaseExceptionGroup as group:
                _, rest = group.split(REFUSALS)
                if rest is not None:
                    raise rest from group

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)

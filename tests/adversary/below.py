"""Enemies that never get as far as the chain: sockets, Noise, yamux, multistream, and the streams of the library."""

from __future__ import annotations

import os

import trio

from p2p.libp2p.streams import encode_varint, frame
from p2p.libp2p.yamux import WINDOW_BYTES
from tests.adversary.enemy import REFUSALS, Enemy, in_parallel
from tests.adversary.street import Victim
from tests.p2p.hostile import DATA, MULTISTREAM, PING, RST, SYN, WINDOW_UPDATE, data_frames, line, wait_closed, yamux

NOISE = MULTISTREAM + line("/noise")


class Garbage(Enemy):
    """Whatever comes to mind, at a socket."""

    KINDS = (
        os.urandom(4_096),
        bytes(70_000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes.fromhex("160301020001000200") + bytes(508),
        encode_varint(2**32 - 1) + bytes(65_536),
        frame(b"\xff\xfe\n"),
        NOISE + b"\xff\xff" + bytes(70_000),
        NOISE + b"\x00\x00" * 5_000,
        NOISE + b"\x00\x20" + os.urandom(32) + b"\xff\xff" + os.urandom(66_000),
    )

    async def harm(self, victim: Victim) -> None:
        async def one(number: int) -> None:
            async with self.socket(victim) as stream:
                await self.say(stream, self.KINDS[number])
                await wait_closed(stream, 0.3)

        await in_parallel(len(self.KINDS), one)


class HalfOpen(Enemy):
    """Connects from many addresses of this machine at once and says nothing, or half a handshake."""

    ADDRESSES = 40
    EACH = 6

    async def harm(self, victim: Victim) -> None:
        async def one(number: int) -> None:
            async with self.socket(victim, f"127.0.1.{1 + number % self.ADDRESSES}") as stream:
                await self.say(
                    stream, (b"", MULTISTREAM, NOISE, NOISE[:-1], NOISE + b"\x00\x20" + bytes(31))[number % 5]
                )
                await wait_closed(stream, max(0.2, self.seconds - 0.5))

        await in_parallel(self.ADDRESSES * self.EACH, one)


class ManyFaces(Enemy):
    """Proves a new peer id on every connection, from many addresses, and keeps the places it gets."""

    FACES = 60

    async def harm(self, victim: Victim) -> None:
        async def one(number: int) -> None:
            source = f"127.0.2.{1 + number % 30}"
            async with self.connected(victim, f"{self.name} {number}", source) as connection:
                with trio.move_on_after(max(0.2, self.seconds - 0.5)):
                    await connection.keep_company()

        await in_parallel(self.FACES, one)


class SlowLoris(Enemy):
    """A byte now and then, at every layer at once: none may wait for it for ever."""

    async def harm(self, victim: Victim) -> None:
        pause_s = 0.2

        async def drip(send: object, octets: bytes) -> None:
            for byte in octets:
                await send(bytes([byte]))  # type: ignore[operator]
                self.messages += 1
                await trio.sleep(pause_s)

        async def at_the_socket(octets: bytes) -> None:
            async with self.socket(victim) as stream:
                await drip(stream.send_all, octets)

        async def one(number: int) -> None:
            if number == 0:
                await at_the_socket(NOISE * 10)
            elif number == 1:
                await at_the_socket(bytes(1_000))
            elif number == 2:  # half a yamux frame
                async with self.connected(victim, f"{self.name} 2") as connection:
                    await drip(connection.send, yamux(DATA, SYN, 1, 60_000) + bytes(1_000))
            elif number == 3:  # half a negotiation, thirty times
                async with self.connected(victim, f"{self.name} 3") as connection:
                    for stream in range(1, 61, 2):
                        await connection.send(yamux(WINDOW_UPDATE, SYN, stream, 0))
                    for byte in MULTISTREAM * 10:
                        for stream in range(1, 61, 2):
                            await connection.send(yamux(DATA, 0, stream, 1, bytes([byte])))
                        await trio.sleep(pause_s)
            else:  # half a request, half a gossip message
                protocol = ("/ecloud/blocks/1", "/meshsub/1.1.0", "/ecloud/status/1")[number - 4]
                async with self.connected(victim, f"{self.name} {number}") as connection:
                    stream = await connection.open(protocol)

                    async def write(octets: bytes) -> None:
                        await connection.write(stream, octets)

                    await drip(write, encode_varint(60_000) + bytes(1_000))

        await in_parallel(7, one)


class BrokenMultiplexer(Enemy):
    """Frames that yamux does not know or does not allow."""

    is_banned = True
    KINDS = (
        yamux(DATA, 0, 1, 0, version=1),
        yamux(WINDOW_UPDATE, SYN, 1, 0) + yamux(DATA, 0, 1, WINDOW_BYTES + 1),
        yamux(DATA, 0, 77, 2**32 - 1),
        yamux(WINDOW_UPDATE, SYN, 1, 0) * 2,
        yamux(WINDOW_UPDATE, SYN, 2, 0),
        yamux(9, 99, 9, 9),
    )

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            self.messages += 1
            await connection.send(self.KINDS[self.connections % len(self.KINDS)])
            await connection.hung_up()


class StreamFlood(Enemy):
    """More streams than a peer may have."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            for stream in range(1, 4_000, 2):
                self.messages += 1
                await connection.send(yamux(WINDOW_UPDATE, SYN, stream, 0))
                if connection.closed.is_set():
                    return


class RapidReset(Enemy):
    """Opens streams and resets them at once: each costs the node a task."""

    async def harm(self, victim: Victim) -> None:
        hello = MULTISTREAM + line("/ecloud/blocks/1")
        async with self.connected(victim) as connection:
            for stream in range(1, 20_000, 2):
                self.messages += 1
                opened = yamux(DATA, SYN, stream, len(hello), hello)
                await connection.send(opened + yamux(WINDOW_UPDATE, RST, stream, 0))
                if connection.closed.is_set():
                    return


class DeafPinger(Enemy):
    """Asks for answers and does not take them."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            connection.deaf = True
            while not connection.closed.is_set():
                self.messages += 5_000
                await connection.send(yamux(PING, SYN, 0, 1) * 5_000)


class FrameTorrent(Enemy):
    """Empty frames, as many as the socket takes."""

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            while True:
                self.messages += 5_000
                await connection.send(yamux(DATA, 0, 99, 0) * 2_500 + yamux(WINDOW_UPDATE, 0, 99, 2**32 - 1) * 2_500)


class DeafGlutton(Enemy):
    """Opens all windows as far as they go, asks for all blocks on every stream, and reads nothing."""

    STREAMS = 30

    async def harm(self, victim: Victim) -> None:
        hello = MULTISTREAM + line("/ecloud/blocks/1") + frame(b"\x82\x01\x18\x40")
        async with self.connected(victim) as connection:
            connection.deaf = True
            for stream in range(1, 2 * self.STREAMS, 2):
                self.messages += 1
                opened = yamux(WINDOW_UPDATE, SYN, stream, 2**32 - 1)
                await connection.send(opened + yamux(DATA, 0, stream, len(hello), hello))
            await trio.sleep(self.seconds)


class BadNegotiator(Enemy):
    """Lines that multistream does not know, on stream after stream; and protocols nobody speaks."""

    KINDS = (
        frame(b"\xff\xfe\n"),
        encode_varint(2**31),
        MULTISTREAM + line("/unknown/1") * 50,
        MULTISTREAM + line("ls") * 50,
        b"\x00" * 500,
        MULTISTREAM + frame(b"x" * 1_023 + b"\n"),
    )

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            for number in range(60):
                octets = self.KINDS[number % len(self.KINDS)]
                stream = 1 + 2 * number
                self.messages += 1
                await connection.send(yamux(DATA, SYN, stream, len(octets), octets))
                await trio.sleep(0.005)
                await connection.send(yamux(WINDOW_UPDATE, RST, stream, 0))


class LibraryPest(Enemy):
    """Junk for the protocols of the library and of home networks: identify, ping, relays, hole punching."""

    PROTOCOLS = (
        *("/ipfs/id/push/1.0.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/libp2p/dcutr"),
        *("/libp2p/circuit/relay/0.2.0/hop", "/libp2p/circuit/relay/0.2.0/stop"),
    )
    KINDS = (
        b"\xff" * 200_000,
        frame(b"\x0a\xff\xff\xff\xff\x0f"),
        encode_varint(2**31) + bytes(200_000),
        os.urandom(9_000),
    )

    async def harm(self, victim: Victim) -> None:
        async def one(number: int) -> None:
            protocol = self.PROTOCOLS[number % len(self.PROTOCOLS)]
            async with self.connected(victim, f"{self.name} {number}") as connection:
                for octets in self.KINDS:
                    with trio.move_on_after(0.5):
                        stream = await connection.open(protocol)
                        self.messages += 1
                        await connection.send(data_frames(stream, octets))
                        await connection.send(yamux(WINDOW_UPDATE, RST, stream, 0))

        await in_parallel(len(self.PROTOCOLS), one)


BELOW: tuple[type[Enemy], ...] = (
    Garbage,
    HalfOpen,
    ManyFaces,
    SlowLoris,
    BrokenMultiplexer,
    StreamFlood,
    RapidReset,
    DeafPinger,
    FrameTorrent,
    DeafGlutton,
    BadNegotiator,
    LibraryPest,
)

__all__ = ["BELOW", "REFUSALS"]

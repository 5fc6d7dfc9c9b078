"""Enemies that speak the protocols of the chain: gossip, requests, certificates, transactions."""

from __future__ import annotations

import os
import time

import httpx
import trio

from consensus.block import Certificate
from consensus.messages import Certificates, Vote, Votes, encode_message
from ledger.encoding import encode
from ledger.keys import SigningKey, digest
from ledger.statements import Statement, StatementKind
from ledger.transactions import Signed, Token, Transaction, Transfer, sign_transaction
from node.protocol import BLOCKS, BODY, CERTIFICATES, STATUS, BlockRange, Status, TransactionBatch, topic
from p2p.libp2p.gossip_wire import MAX_RPC_BYTES, Controls, Signer, control_frame, publish_frame
from p2p.libp2p.streams import encode_varint, frame
from p2p.network import MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES
from tests.adversary.enemy import Enemy, in_parallel
from tests.adversary.street import Victim
from tests.p2p.hostile import DATA, FIN, data_frames, seed, yamux
from tests.support.chain import FEE_UWATT, make_home

CHAIN_TOPICS = ("transactions", "consensus", "blocks")


class GossipGarbage(Enemy):
    """Frames that are no RPC."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        async with self.gossiping(victim) as gossip:
            await gossip.frame(frame(os.urandom(200)) + frame(b"\x12\x00" * 1_001))
            await gossip.connection.until(lambda: bool(gossip.connection.flags.get(1, 0) & 8), 2)


class Oversize(Enemy):
    """Announces more than is allowed, in gossip and in requests, and means it."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            stream = await connection.open("/meshsub/1.1.0")
            await connection.write(stream, encode_varint(MAX_RPC_BYTES + 1))
            stream = await connection.open(BLOCKS)
            self.messages += 2
            await connection.pester(data_frames(stream, encode_varint(MAX_REQUEST_BYTES + 1) + bytes(200_000)))
            await connection.until(lambda: bool(connection.flags.get(stream, 0) & 8), 2)


class BadEnvelopes(Enemy):
    """Messages in the name of others, and with signatures of nobody."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        async with self.gossiping(victim) as gossip:
            signer, name = Signer(seed("someone else")), topic(victim.chain_id, "consensus")
            for number in range(30):
                envelope = bytearray(signer.envelope(name, b"%d" % number))
                envelope[-1 - number] ^= 1
                await gossip.frame(publish_frame(bytes(envelope)))


class BombThrower(Enemy):
    """CBOR that is small to send and large to unpack: deep, wide, tagged, endless."""

    is_banned = True
    KINDS = (
        b"\x81" * MAX_MESSAGE_BYTES,
        b"\x9f" * MAX_MESSAGE_BYTES,
        b"\x9a\x00\x0d\xbb\xa0" + b"\xf6" * (MAX_MESSAGE_BYTES - 5),
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x9a\x7f\xff\xff\xff" + b"\x80" * 1_000,
        b"\xc2\x5a\x00\x0d\x00\x00" + b"\xff" * 851_968,
        b"\xd8\x23\x78\x1e" + b"(a+)+" * 6,
        b"\x5a\xff\xff\xff\xff",
        b"\x83\x02\x9a\x00\x06\x00\x00" + b"\x80" * 400_000,
        b"\xbf" + b"\x01\x02" * 400_000 + b"\xff",
    )

    async def harm(self, victim: Victim) -> None:
        async with self.gossiping(victim) as gossip:
            for number, bomb in enumerate(self.KINDS):
                await gossip.publish(
                    topic(victim.chain_id, CHAIN_TOPICS[number % 3]), bomb + bytes([self.messages % 256])
                )


class ControlStorm(Enemy):
    """GRAFT and PRUNE in turn, IHAVE of what nobody has, IWANT of everything, topics without end."""

    async def harm(self, victim: Victim) -> None:
        topics = [topic(victim.chain_id, name) for name in CHAIN_TOPICS]
        async with self.gossiping(victim) as gossip:
            while True:
                identifiers = [os.urandom(32) for _ in range(1_000)]
                await gossip.frame(control_frame(Controls(subscribe=topics + [os.urandom(8).hex()] * 50)))
                await gossip.frame(control_frame(Controls(prune=[(name, 2**40) for name in topics] * 20)))
                await gossip.frame(control_frame(Controls(graft=topics * 20)))
                await gossip.frame(control_frame(Controls(ihave=[(name, identifiers) for name in topics])))
                await gossip.frame(control_frame(Controls(iwant=identifiers * 4)))


class Subscriber(Enemy):
    """Joins and leaves topics as fast as it can: each time it joins it is told what it may have missed."""

    async def harm(self, victim: Victim) -> None:
        names = [topic(victim.chain_id, name).encode() for name in CHAIN_TOPICS]
        changes = b"".join(
            b"\x0a"
            + encode_varint(len(name) + 4)
            + b"\x08"
            + bytes([joins])
            + b"\x12"
            + encode_varint(len(name))
            + name
            for _ in range(10)
            for name in names
            for joins in (1, 0)
        )
        async with self.gossiping(victim) as gossip:
            while True:
                await gossip.frame(frame(changes))


class Replayer(Enemy):
    """Says all it hears again, for ever, word by word."""

    async def harm(self, victim: Victim) -> None:
        topics = [topic(victim.chain_id, name) for name in CHAIN_TOPICS]
        async with self.gossiping(victim) as gossip, trio.open_nursery() as nursery:
            await gossip.frame(control_frame(Controls(subscribe=topics, graft=topics)))
            stream = await gossip.connection.accept("/meshsub/1.1.0")
            with trio.move_on_after(self.seconds / 2):
                await gossip.connection.hung_up(self.seconds)
            heard = bytes(gossip.connection.received.get(stream, b""))
            while heard:
                await gossip.frame(heard)
            nursery.cancel_scope.cancel()


class StrangeChain(Enemy):
    """A node of another chain."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            stream = await connection.open(STATUS)
            self.messages += 1
            await connection.write(stream, frame(encode(Status(1, bytes(32), 10**6, bytes(32), 0))))
            await connection.hung_up()


class BadRequests(Enemy):
    """Requests that are none, on every stream of ours."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            for protocol in (STATUS, BLOCKS, BODY, CERTIFICATES):
                await self.ask(connection, protocol, frame(os.urandom(33)))


class UnfinishedRequests(Enemy):
    """Opens as many streams as it may, sends half a request on each, and waits."""

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            for number in range(30):
                stream = await connection.open((STATUS, BLOCKS, BODY, CERTIFICATES)[number % 4])
                self.messages += 1
                await connection.write(stream, encode_varint(40) + bytes(20))
            await connection.hung_up(self.seconds)


class EndlessSync(Enemy):
    """Asks for the whole chain, on many streams, again and again."""

    async def harm(self, victim: Victim) -> None:
        request = frame(encode(BlockRange(first=1, count=64)))
        async with self.connected(victim) as connection:

            async def devour(_: int) -> None:
                while not connection.closed.is_set():
                    await self.ask(connection, BLOCKS, request)

            await in_parallel(16, devour)


class Forger(Enemy):
    """Certificates with signatures of nobody, and votes in the names of the members, for every height near the tip."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        name, anne = topic(victim.chain_id, "consensus"), make_home("anne").node.public_key
        height = await trio.to_thread.run_sync(victim.height) + 1
        async with self.gossiping(victim) as gossip:
            for number in range(40):
                kind = StatementKind(1 + number % 3)
                block_hash = None if kind is StatementKind.NULLIFY else os.urandom(32)
                at, view = height + number % 3, number % 2
                forged = Certificate(kind, at, view, block_hash, b"\x0f", os.urandom(256))
                vote = Vote(Statement(kind, at, view, block_hash), anne, os.urandom(64))
                await gossip.publish(name, encode_message(Certificates((forged,)), number))
                await gossip.publish(name, encode_message(Votes((vote,)), number))


class Nobody(Enemy):
    """Signed transactions of keys that the chain does not know, as many as it can send."""

    async def harm(self, victim: Victim) -> None:
        async with self.gossiping(victim) as gossip:
            while True:
                key = SigningKey(os.urandom(32))
                raws = tuple(_transfer(key, victim.chain_id, nonce).raw for nonce in range(20))
                await gossip.publish(topic(victim.chain_id, "transactions"), encode(TransactionBatch(raws, 1)))


class FalseNeighbour(Enemy):
    """Transactions in the name of a member, signed by nobody."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        anne = make_home("anne").account
        async with self.gossiping(victim) as gossip:
            for nonce in range(100, 140):
                signed = _transfer(anne, victim.chain_id, nonce)
                raw = encode(Signed(body=signed.body, signature=os.urandom(64)))
                await gossip.publish(topic(victim.chain_id, "transactions"), encode(TransactionBatch((raw,), nonce)))


class RichNeighbour(Enemy):
    """A member's own transactions: gossiped far beyond what may wait, replaced, and handed in at the door as well."""

    async def harm(self, victim: Victim) -> None:
        carla = make_home("carla").account
        name = topic(victim.chain_id, "transactions")
        async with self.gossiping(victim) as gossip, httpx.AsyncClient(base_url=victim.node.url) as door:
            fee_uwatt = FEE_UWATT
            while True:
                salt = time.time_ns()
                raws = [_transfer(carla, victim.chain_id, nonce, fee_uwatt).raw for nonce in range(200)]
                for start in range(0, len(raws), 50):
                    await gossip.publish(name, encode(TransactionBatch(tuple(raws[start : start + 50]), salt + start)))
                for raw in raws[:5]:
                    await door.post("/v1/transactions", content=raw, headers={"content-type": "application/cbor"})
                fee_uwatt += FEE_UWATT // 5


class Flooder(Enemy):
    """Well-formed messages of no interest, as many as the connection takes."""

    is_banned = True

    async def harm(self, victim: Victim) -> None:
        name, mine = topic(victim.chain_id, "consensus"), SigningKey(seed(self.name))
        async with self.gossiping(victim) as gossip:
            statement = Statement(StatementKind.NULLIFY, 10**9, 0, None)
            signature = mine.sign(statement.domain(), victim.chain_id, statement.message())
            vote = Vote(statement, mine.public_key, signature)
            while True:
                frames = [
                    publish_frame(Signer(seed(self.name)).envelope(name, encode_message(Votes((vote,)), salt)))
                    for salt in range(self.messages, self.messages + 500)
                ]
                self.messages += 499
                await gossip.frame(b"".join(frames))


class HalfClosed(Enemy):
    """Ends its own side of every stream at once and waits for what the node makes of it."""

    async def harm(self, victim: Victim) -> None:
        async with self.connected(victim) as connection:
            for number in range(200):
                stream = await connection.open((STATUS, BLOCKS, BODY, CERTIFICATES, "/meshsub/1.1.0")[number % 5])
                self.messages += 1
                await connection.send(yamux(DATA, FIN, stream, 0))


def _transfer(key: SigningKey, chain_id: bytes, nonce: int, fee_uwatt: int = FEE_UWATT) -> Transaction:
    pay = Transfer(recipient=digest(b"nobody"), token=Token.WATT, amount=1, memo="")
    return sign_transaction(key, chain_id, pay, nonce=nonce, fee_uwatt=fee_uwatt, valid_until_height=5_000)


ABOVE: tuple[type[Enemy], ...] = (
    GossipGarbage,
    Oversize,
    BadEnvelopes,
    BombThrower,
    ControlStorm,
    Subscriber,
    Replayer,
    StrangeChain,
    BadRequests,
    UnfinishedRequests,
    EndlessSync,
    Forger,
    Nobody,
    FalseNeighbour,
    RichNeighbour,
    Flooder,
    HalfClosed,
)

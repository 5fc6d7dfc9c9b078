"""Transactions between nodes: what is passed on, what costs, what leaves together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from ledger.encoding import decode, encode
from ledger.transactions import Transaction
from node.gossip import MAX_UNREAD_BYTES, QUEUE, SignatureCache, TransactionGossip
from node.protocol import MAX_BATCH_BYTES, MAX_BATCH_MESSAGE_BYTES, TransactionBatch, topic
from p2p.network import Verdict
from p2p.simulated import SimulatedNetwork
from tests.support.chain import Chain
from tests.support.transactions import payment
from tests.support.wires import peer_of, score, wires

pytestmark = pytest.mark.trio

CHAIN = Chain()
TOPIC = topic(CHAIN.chain_id, "transactions")
MEMBERS = {home.id for home in CHAIN.homes.values()}


def make_gossip(network: SimulatedNetwork, is_known: Callable[[bytes], bool] = lambda _: False) -> TransactionGossip:
    return TransactionGossip(
        network, TOPIC, CHAIN.chain_id, SignatureCache(), is_known, MEMBERS.__contains__, first_salt=7
    )


def batch(*transactions: Transaction | bytes, salt: int = 1) -> bytes:
    raws = tuple(one if isinstance(one, bytes) else one.raw for one in transactions)
    return encode(TransactionBatch(raws, salt))


class Street:
    """The node whose gossip is tested, and its neighbours: mallory sends, bob tells what was passed on."""

    def __init__(self, peers: dict[str, SimulatedNetwork], gossip: TransactionGossip) -> None:
        self.gossip = gossip
        self.node, self.mallory, self.bob = (peers[name] for name in ("anne", "mallory", "bob"))
        self.taken: list[Transaction] = []
        self.heard = self.bob.subscribe(TOPIC, lambda _peer, _data: Verdict.ACCEPT)

    async def take(self, transaction: Transaction) -> None:
        self.taken.append(transaction)
        await trio.lowlevel.checkpoint()

    async def passed_on(self, *messages: bytes) -> list[bytes]:
        """What of mallory's messages reaches bob within a second."""
        for message in messages:
            await self.mallory.publish(TOPIC, message)
        found: list[bytes] = []
        with trio.move_on_after(1):
            async for received in self.heard:
                found.append(received.data)  # noqa: PERF401 - it ends by the clock
        return found

    async def sent(self, count: int, within_s: float = 5.0) -> list[TransactionBatch]:
        found: list[TransactionBatch] = []
        with trio.fail_after(within_s):
            async for received in self.heard:
                found.append(decode(received.data, TransactionBatch, MAX_BATCH_MESSAGE_BYTES))
                if len(found) == count:
                    break
        return found


@asynccontextmanager
async def street(is_known: Callable[[bytes], bool] = lambda _: False, *, take: bool = True) -> AsyncIterator[Street]:
    async with wires("anne", "mallory", "bob") as peers, trio.open_nursery() as nursery:
        made = Street(peers, make_gossip(peers["anne"], is_known))
        nursery.start_soon(made.gossip.run_receiver)
        nursery.start_soon(made.gossip.run_sender)
        if take:
            nursery.start_soon(made.gossip.run_intake, made.take)
        yield made
        nursery.cancel_scope.cancel()


async def test_what_is_new_and_signed_is_taken_in_and_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    async with street() as here:
        one, two = payment(CHAIN, "anne"), payment(CHAIN, "bob")
        assert await here.passed_on(batch(one, two)) == [batch(one, two)]
        assert here.taken == [one, two]
        assert score(here.node, "mallory") == 100


def forged(transaction: Transaction) -> bytes:
    return transaction.raw[:-1] + bytes([transaction.raw[-1] ^ 1])


GOOD = payment(CHAIN, "anne")
WRONG: dict[str, bytes] = {
    "no batch": b"\xff\xff",
    "nothing": b"",
    "an empty batch": encode(((), 1)),
    "more than any batch holds": batch(*[b"x"] * 1_024)[:-1] + b"\x00\x00",
    "a transaction that is none": batch(GOOD, b"\x80"),
    "a transaction that is cut": batch(GOOD.raw[:-1]),
    "another chain": batch(payment(CHAIN, "anne", chain_id=bytes(32))),
    "a wrong signature": batch(GOOD, forged(payment(CHAIN, "bob"))),
    "too many bytes": batch(bytes(MAX_BATCH_MESSAGE_BYTES)),
}


@pytest.mark.parametrize("message", WRONG.values(), ids=WRONG)
async def test_a_batch_with_anything_wrong_in_it_costs_and_goes_no_further(
    autojump_clock: trio.testing.MockClock, message: bytes
) -> None:
    async with street() as here:
        assert await here.passed_on(message) == []
        assert here.taken == []
        assert score(here.node, "mallory") == 90


async def test_a_batch_in_which_nothing_is_new_goes_no_further_and_costs_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    known, new = payment(CHAIN, "anne"), payment(CHAIN, "bob")
    async with street(lambda transaction_id: transaction_id == known.id) as here:
        assert await here.passed_on(batch(known)) == []
        # But with something new it goes on, and the new is taken
        assert await here.passed_on(batch(known, new)) == [batch(known, new)]
        assert here.taken == [new]
        assert score(here.node, "mallory") == 100


async def test_strangers_transactions_are_neither_checked_nor_passed_on_and_what_comes_with_them_is_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Given a key that the state does not know
    CHAIN.add_home("stranger")
    stranger = payment(CHAIN, "stranger")
    async with street() as here:
        assert await here.passed_on(batch(stranger), batch(forged(stranger)), batch(stranger, GOOD)) == []
        assert here.taken == [GOOD]
        assert score(here.node, "mallory") == 100


async def test_what_cannot_be_taken_in_as_fast_as_it_comes_is_not_looked_at(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with street(take=False) as here:
        # Given more unread than is allowed
        message = batch(*(payment(CHAIN, "anne", nonce, amount=2**40) for nonce in range(300)))
        size = 0
        salt = 0
        while size <= MAX_UNREAD_BYTES:
            salt += 1
            assert here.gossip.validate(peer_of("mallory"), message) is Verdict.ACCEPT
            size += sum(len(raw) for raw in decode(message, TransactionBatch, len(message)).transactions)
        # Then not even a wrong one is noticed
        assert here.gossip.validate(peer_of("mallory"), b"\xff") is Verdict.IGNORE


async def test_own_transactions_leave_together_after_50_ms(autojump_clock: trio.testing.MockClock) -> None:
    async with street() as here:
        sent = [payment(CHAIN, "anne", nonce) for nonce in range(3)]
        began_s = trio.current_time()
        for transaction in sent:
            here.gossip.send(transaction)
            await trio.sleep(0.01)
            here.gossip.send(transaction)  # again, while it waits
        (message,) = await here.sent(1)
        assert list(message.transactions) == [one.raw for one in sent]
        assert 0.05 <= trio.current_time() - began_s < 0.2
        assert message.salt > 7


async def test_what_is_sent_again_is_a_new_message(autojump_clock: trio.testing.MockClock) -> None:
    async with street() as here:
        here.gossip.send(GOOD)
        (first,) = await here.sent(1)
        here.gossip.send(GOOD)
        (second,) = await here.sent(1)
        assert first.transactions == second.transactions
        assert second.salt > first.salt


async def test_many_transactions_leave_in_batches_that_others_take(autojump_clock: trio.testing.MockClock) -> None:
    async with street() as here:
        many = [payment(CHAIN, "anne", nonce) for nonce in range(1_000)]
        for transaction in many:
            here.gossip.send(transaction)
        # Then they do not wait once 64 KiB are full, and none is lost
        count = -(-sum(len(one.raw) for one in many) // (MAX_BATCH_BYTES + len(GOOD.raw)))
        messages = await here.sent(count)
        assert [raw for message in messages for raw in message.transactions] == [one.raw for one in many]
        assert all(len(encode(message)) <= MAX_BATCH_MESSAGE_BYTES for message in messages)


async def test_beyond_the_queue_the_oldest_is_not_sent(autojump_clock: trio.testing.MockClock) -> None:
    async with wires("anne") as peers:
        gossip = make_gossip(peers["anne"])
        many: Sequence[Transaction] = [replace(GOOD, id=index.to_bytes(32, "big")) for index in range(QUEUE + 5)]
        for transaction in many:
            gossip.send(transaction)
        assert len(gossip._outgoing) == QUEUE
        assert many[4].id not in gossip._outgoing
        assert many[-1].id in gossip._outgoing


async def test_a_receiver_that_failed_can_be_started_again(autojump_clock: trio.testing.MockClock) -> None:
    async with wires("anne", "mallory", "bob") as peers:
        here = Street(peers, make_gossip(peers["anne"]))
        # Given a receiver and an intake that were started and stopped
        for _ in range(2):
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(here.gossip.run_receiver)
                    nursery.start_soon(here.gossip.run_intake, here.take)
        # When they run once more
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.gossip.run_receiver)
            nursery.start_soon(here.gossip.run_intake, here.take)
            # Then what comes is taken
            assert await here.passed_on(batch(GOOD)) == [batch(GOOD)]
            assert here.taken == [GOOD]
            nursery.cancel_scope.cancel()


async def test_the_memory_of_good_signatures_is_bounded_and_knows_no_bad_ones() -> None:
    cache = SignatureCache(2)
    first, second, third = (payment(CHAIN, "anne", nonce) for nonce in range(3))
    bad = replace(first, signature=bytes(64))
    assert not cache.check(bad)
    for transaction in (first, second, third):
        assert cache.check(transaction)
    assert not cache.knows(first.id, first.signature)
    assert cache.knows(third.id, third.signature)
    # A signature that was good for a body says nothing of another signature
    assert not cache.check(replace(third, signature=bytes(64)))

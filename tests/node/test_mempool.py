"""What waits for a block: order, replacement, bounds, and what is forgotten."""

from __future__ import annotations

import pytest

from ledger.refusal import Refusal, TransactionRefused
from ledger.transactions import Transaction
from node.mempool import MAX_PER_SENDER, MAX_READINGS_PER_METER, WEIGHT_BYTES, Mempool
from tests.support.chain import Chain
from tests.support.transactions import meter_reading, payment

CHAIN = Chain()


def pay(name: str = "anne", nonce: int = 0, *, fee_uwatt: int = 1_000, valid_until_height: int = 50) -> Transaction:
    return payment(CHAIN, name, nonce, fee_uwatt=fee_uwatt, valid_until_height=valid_until_height)


def refusal_of(mempool: Mempool, transaction: Transaction) -> Refusal:
    with pytest.raises(TransactionRefused) as refused:
        mempool.add(transaction)
    return refused.value.refusal


def forget(mempool: Mempool, *included: Transaction, height: int = 2, **next_nonces: int) -> None:
    mempool.revise(
        [one.id for one in included],
        height,
        {CHAIN.home(name).id: nonce for name, nonce in next_nonces.items()},
        lambda reading: True,
    )


def test_it_yields_readings_first_then_each_sender_by_nonce() -> None:
    # Given transactions that came in any order
    mempool = Mempool()
    late, early = pay(nonce=1), pay(nonce=0)
    reading, bob = meter_reading(CHAIN, "carla", 7), pay("bob")
    for transaction in (late, bob, early, reading):
        mempool.add(transaction)
    # Then they are taken in an order in which they can be executed
    assert list(mempool) == [reading, early, late, bob]
    assert mempool.pending(CHAIN.home("anne").id) == [early, late]
    assert mempool.bytes == sum(len(one.raw) for one in (late, early, reading, bob))


def test_the_same_twice_is_a_duplicate() -> None:
    mempool = Mempool()
    mempool.add(pay())
    assert refusal_of(mempool, pay()) is Refusal.DUPLICATE
    assert len(mempool) == 1


@pytest.mark.parametrize(("fee_uwatt", "enough"), [(1_000, False), (1_099, False), (1_100, True), (5_000, True)])
def test_a_nonce_is_replaced_by_a_fee_a_tenth_higher(fee_uwatt: int, enough: bool) -> None:
    mempool = Mempool()
    first = pay(fee_uwatt=1_000)
    mempool.add(first)
    second = pay(fee_uwatt=fee_uwatt, valid_until_height=51)
    if enough:
        assert mempool.add(second) == first
        assert list(mempool) == [second]
        assert first.id not in mempool
    else:
        assert refusal_of(mempool, second) is Refusal.FEE_NOT_HIGHER
        assert list(mempool) == [first]


def test_what_could_not_be_written_down_is_taken_back_and_the_replaced_returns() -> None:
    mempool = Mempool()
    first, second = pay(), pay(fee_uwatt=2_000)
    mempool.add(first)
    replaced = mempool.add(second)
    mempool.take_back(second, replaced)
    assert list(mempool) == [first]
    assert mempool.bytes == len(first.raw)


def test_a_sender_and_a_meter_have_so_many_places() -> None:
    mempool = Mempool()
    for nonce in range(MAX_PER_SENDER):
        mempool.add(pay(nonce=nonce))
    assert refusal_of(mempool, pay(nonce=MAX_PER_SENDER)) is Refusal.SENDER_QUEUE_FULL
    # But a replacement takes no further place, and others have theirs
    mempool.add(pay(nonce=0, fee_uwatt=2_000))
    mempool.add(pay("bob"))
    for period in range(MAX_READINGS_PER_METER):
        mempool.add(meter_reading(CHAIN, "anne", period))
    assert refusal_of(mempool, meter_reading(CHAIN, "anne", 5_000)) is Refusal.SENDER_QUEUE_FULL


def test_a_full_pool_refuses_and_forgets_nothing() -> None:
    # Given a pool with room for two
    first, second = pay(), pay(nonce=1)
    mempool = Mempool(len(first.raw) + len(second.raw) + 2 * WEIGHT_BYTES)
    mempool.add(first)
    mempool.add(second)
    # Then a third is refused, be it another's or a reading
    assert refusal_of(mempool, pay("bob")) is Refusal.MEMPOOL_FULL
    assert refusal_of(mempool, meter_reading(CHAIN, "anne", 1)) is Refusal.MEMPOOL_FULL
    assert list(mempool) == [first, second]
    # And one that takes another's place is not
    mempool.add(pay(fee_uwatt=2_000))
    # When a block took one, there is room
    forget(mempool, second, anne=0)
    mempool.add(pay("bob"))


def test_after_a_block_goes_what_is_included_used_up_or_expired() -> None:
    mempool = Mempool()
    included, used_up, next_one = pay(nonce=0), pay(nonce=1), pay(nonce=2)
    expired, lasting = pay("bob", valid_until_height=1), pay("carla", valid_until_height=2)
    for transaction in (included, used_up, next_one, expired, lasting):
        mempool.add(transaction)
    forget(mempool, included, height=2, anne=2)
    assert list(mempool) == [next_one, lasting]
    assert mempool.next_nonce(CHAIN.home("anne").id, 2) == 3
    assert mempool.next_nonce(CHAIN.home("bob").id, 0) == 0


def test_readings_go_when_they_can_no_longer_be_accepted() -> None:
    mempool = Mempool()
    old, new = meter_reading(CHAIN, "anne", 3), meter_reading(CHAIN, "anne", 4)
    mempool.add(old)
    mempool.add(new)
    mempool.revise([], 2, {}, lambda reading: reading is new)
    assert list(mempool) == [new]
    mempool.revise([new.id], 3, {}, lambda reading: True)
    assert len(mempool) == 0
    assert mempool.bytes == 0

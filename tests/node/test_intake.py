"""The door for transactions: what is refused and why, a full disk, a restart, and what is sent again."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ledger.keys import SigningKey
from ledger.refusal import Refusal, TransactionRefused
from ledger.transactions import Transaction, decode_transaction
from node.gossip import SignatureCache, TransactionGossip
from node.intake import RESEND_EVERY_BLOCKS, Intake
from node.log import get
from node.mempool import Mempool
from node.mempool_file import MempoolFile
from node.protocol import topic
from p2p.simulated import SimulatedNetwork
from tests.support.chain import Chain
from tests.support.transactions import payment
from tests.support.wires import wires

pytestmark = pytest.mark.trio


class Door:
    """An intake before a chain in memory. ``restarted`` is the same after a restart."""

    def __init__(self, path: Path, chain: Chain | None = None, max_bytes: int = 10**6) -> None:
        self.chain = chain or Chain()
        self.path = path
        self.accepted: list[Transaction] = []
        self.committed: set[bytes] = set()
        self.intake = Intake(
            chain_id=self.chain.chain_id,
            base=self.chain.state,
            next_height=lambda: self.chain.height + 1,
            is_committed=self.committed.__contains__,
            signatures=SignatureCache(),
            mempool=Mempool(max_bytes),
            file=MempoolFile(path),
            wall=lambda: self.chain.open.earliest_ms,
            accepted=self.accepted.append,
            log=get("test"),
        )

    def produce(self, *transactions: Transaction) -> None:
        executed = self.chain.produce(transactions)
        self.committed |= {one.id for one in transactions}
        self.intake.revise(executed)

    async def refusal_of(self, raw: bytes) -> Refusal:
        with pytest.raises(TransactionRefused) as refused:
            await self.intake.submit(raw)
        return refused.value.refusal

    @property
    def waiting(self) -> list[Transaction]:
        return list(self.intake.mempool)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "mempool.log")


async def test_what_is_accepted_is_in_the_mempool_in_the_file_and_told(door: Door) -> None:
    one = payment(door.chain, "anne")
    assert await door.intake.submit(one.raw) == one
    assert door.waiting == [one]
    assert door.accepted == [one]
    assert MempoolFile(door.path).load() == [one.raw]


async def test_each_way_of_being_wrong_has_its_refusal(door: Door) -> None:
    chain = door.chain
    good = payment(chain, "anne")
    chain.add_home("stranger")
    refusals = {
        b"": Refusal.MALFORMED,
        b"\xff": Refusal.MALFORMED,
        bytes(20_000): Refusal.OVERSIZED,
        good.raw + b"\x00": Refusal.NOT_CANONICAL,
        good.raw[:-1] + b"\x01": Refusal.BAD_SIGNATURE,
        payment(chain, "anne", chain_id=bytes(32)).raw: Refusal.WRONG_CHAIN,
        payment(chain, "anne", 65).raw: Refusal.NONCE_TOO_HIGH,
        payment(chain, "anne", fee_uwatt=0).raw: Refusal.FEE_TOO_LOW,
        payment(chain, "anne", valid_until_height=0).raw: Refusal.EXPIRED,
        payment(chain, "anne", valid_until_height=10**9).raw: Refusal.VALID_TOO_LONG,
        payment(chain, "anne", amount=0).raw: Refusal.AMOUNT_ZERO,
        payment(chain, "anne", amount=10**15).raw: Refusal.INSUFFICIENT_WATT,
        payment(chain, "stranger").raw: Refusal.CANNOT_PAY_FEE,
    }
    for raw, refusal in refusals.items():
        assert await door.refusal_of(raw) is refusal
    # Then nothing of it is kept anywhere
    assert door.waiting == []
    assert door.accepted == []
    assert not door.path.exists()


async def test_what_waits_or_is_committed_is_a_duplicate(door: Door) -> None:
    one = payment(door.chain, "anne")
    await door.intake.submit(one.raw)
    assert await door.refusal_of(one.raw) is Refusal.DUPLICATE
    door.produce(one)
    assert door.waiting == []
    assert await door.refusal_of(one.raw) is Refusal.DUPLICATE
    # And a used nonce is used
    assert await door.refusal_of(payment(door.chain, "anne", 0, amount=7).raw) is Refusal.NONCE_USED


async def test_of_what_others_pass_on_the_refused_is_dropped_in_silence(door: Door) -> None:
    good, bad = payment(door.chain, "anne"), payment(door.chain, "bob", amount=10**15)
    for transaction in (good, bad, good):
        await door.intake.accept(transaction)
    assert door.waiting == [good]


async def test_the_state_tells_whose_keys_may_send(door: Door) -> None:
    home = door.chain.home("anne")
    for key in (home.id, home.node.public_key, home.meter.public_key):
        assert door.intake.may_send(key)
    assert not door.intake.may_send(SigningKey(bytes(32)).public_key)


async def test_while_the_disk_is_full_nothing_is_accepted(door: Door) -> None:
    door.intake.disk_full = True
    assert await door.refusal_of(payment(door.chain, "anne").raw) is Refusal.DISK_FULL
    door.intake.disk_full = False
    await door.intake.submit(payment(door.chain, "anne").raw)


async def test_what_cannot_be_written_down_is_refused_and_replaces_nothing(door: Door) -> None:
    # Given a transaction that waits, and a file that can no longer be written
    first, dearer = payment(door.chain, "anne"), payment(door.chain, "anne", fee_uwatt=5_000)
    await door.intake.submit(first.raw)
    content = door.path.read_bytes()
    door.intake.close()
    door.path.unlink()
    door.path.mkdir()
    # When another would take its place
    assert await door.refusal_of(dearer.raw) is Refusal.DISK_FULL
    # Then the first, which was acknowledged, still waits
    assert door.waiting == [first]
    assert door.accepted == [first]
    # And once there is room again the other is taken
    door.path.rmdir()
    door.path.write_bytes(content)
    await door.intake.submit(dearer.raw)
    assert door.waiting == [dearer]


async def test_a_full_mempool_refuses(tmp_path: Path) -> None:
    chain = Chain()
    small = Door(tmp_path / "mempool.log", chain, max_bytes=1_500)
    await small.intake.submit(payment(chain, "anne").raw)
    assert await small.refusal_of(payment(chain, "bob").raw) is Refusal.MEMPOOL_FULL


async def test_after_a_restart_what_is_still_valid_waits_again(door: Door) -> None:
    # Given three that wait, of which one is committed before the restart
    first, second, third = (payment(door.chain, "anne", nonce) for nonce in range(3))
    for transaction in (first, second, third):
        await door.intake.submit(transaction.raw)
    door.chain.produce([first])
    # When the node starts anew on the same file, which has a torn tail
    with door.path.open("ab") as file:
        file.write(b"\x00\x00")
    again = Door(door.path, door.chain)
    await again.intake.restore()
    assert again.waiting == [second, third]
    assert again.accepted == []


async def test_what_was_accepted_waits_after_a_restart_even_if_it_would_be_refused_by_now(door: Door) -> None:
    # Given that anne was told yes for nearly all she has, and that a payment of hers before it, which only another node
    # had, came into a block and spent it
    rich = payment(door.chain, "anne", 1, amount=900_000_000)
    await door.intake.submit(rich.raw)
    other = payment(door.chain, "anne", 0, amount=900_000_000)
    door.produce(other)
    assert door.waiting == [rich]
    assert await door.refusal_of(payment(door.chain, "anne", 1, amount=900_000_001).raw) is Refusal.INSUFFICIENT_WATT
    # When the node starts anew, then it still waits: its block's receipt will say why it was refused
    again = Door(door.path, door.chain)
    await again.intake.restore()
    assert again.waiting == [rich]


async def test_what_waited_before_a_restart_or_too_long_is_sent_again(
    door: Door, autojump_clock: trio.testing.MockClock
) -> None:
    async with wires("anne", "bob") as peers:
        # Given one that waits from before a restart
        old, new = payment(door.chain, "anne", 1), payment(door.chain, "bob", 1)
        await door.intake.submit(old.raw)
        again = Door(door.path, door.chain)
        await again.intake.restore()
        gossip = again.intake.gossip = make_gossip(peers["anne"], again)
        # Then the next block has it sent
        again.produce()
        again.produce()
        assert sent(gossip) == [old]
        # And what came since is sent at once, and again while it waits
        await again.intake.submit(new.raw)
        assert sent(gossip) == [new]
        for _ in range(RESEND_EVERY_BLOCKS + 1):
            again.produce()
        assert sent(gossip) == [old, new]


def make_gossip(network: SimulatedNetwork, door: Door) -> TransactionGossip:
    chain_id = door.chain.chain_id
    return TransactionGossip(
        network,
        topic(chain_id, "transactions"),
        chain_id,
        SignatureCache(),
        door.intake.is_known,
        door.intake.may_send,
        1,
    )


def sent(gossip: TransactionGossip) -> list[Transaction]:
    """What waits to leave; it is taken away."""
    raws = list(gossip._take_batch())
    return [decode_transaction(raw) for raw in raws]

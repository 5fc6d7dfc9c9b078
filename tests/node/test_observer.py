"""What becomes final, told to whoever watches."""

from __future__ import annotations

from ledger.records import CandidateStatus
from ledger.transactions import Rejoin
from node.client.events import (
    BlockFinal,
    CandidateRejoined,
    CandidateSuspended,
    Equivocation,
    NodeEvent,
    ReadingAccepted,
    TransactionFinal,
)
from node.observer import Observer
from node.views.reader import Reader
from storage.memory import MemoryChain
from tests.node.test_caretaker import caretaker_of, evidence_against
from tests.support.chain import Chain
from tests.support.disk import node_chain, stored
from tests.support.transactions import payment

from ledger.transactions import Transaction  # isort: skip


class Watched:
    """A chain and what an observer tells of it. ``produce`` returns the events of one block."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.node = node_chain(self.chain, MemoryChain())
        self.observer = Observer(self.node.store)

    def finality_ms(self, _height: int) -> int | None:
        return None

    def produce(self, *transactions: Transaction, view: int = 0, finality_ms: int | None = 300) -> list[NodeEvent]:
        skipped = tuple(self.chain.open.draw.leader_account(earlier) for earlier in range(view))
        self.chain.produce(transactions, view=view)
        found = self.node.execute_stored(stored(self.chain, self.chain.height), self.chain.verifier)
        assert found is not None
        self.node.commit(*found)
        with self.node.store.snapshot() as snapshot:
            return self.observer.block(Reader(snapshot, self), found[0], skipped, finality_ms)


def test_a_block_comes_first_with_who_made_it_and_who_did_not() -> None:
    watched = Watched()
    absent, leader = watched.chain.leader(0).name, watched.chain.leader(1).name
    block, *others = watched.produce(view=1)
    assert isinstance(block, BlockFinal)
    assert others == []
    assert (block.height, block.view, block.producer.name, block.finality_ms) == (1, 1, leader, 300)
    assert [(turn.view, turn.leader.name) for turn in block.skipped] == [(0, absent)]
    assert block.hash == watched.chain.blocks[0].hash.hex()


def test_a_payment_names_those_it_concerns() -> None:
    watched = Watched()
    block, paid = watched.produce(payment(watched.chain, "anne"), finality_ms=None)
    assert isinstance(block, BlockFinal)
    assert (block.transaction_count, block.reading_count, block.finality_ms) == (1, 0, None)
    assert isinstance(paid, TransactionFinal)
    assert (paid.kind, paid.refusal) == ("transfer", None)
    assert len(paid.accounts) == 2


def test_a_reading_tells_what_was_used_since_the_last() -> None:
    watched = Watched()
    chain = watched.chain
    for _ in range(5):
        watched.produce()
    # When a meter reads 20 and 4 Wh, and later 50 and 10 Wh
    events = watched.produce(chain.read("george", 20, 4))
    (first,) = (event for event in events if isinstance(event, ReadingAccepted))
    for _ in range(5):
        watched.produce()
    events = watched.produce(chain.read("george", 50, 10))
    (second,) = (event for event in events if isinstance(event, ReadingAccepted))
    # Then the events carry the differences, and whose they are
    assert (first.imported_wh, first.exported_wh) == (20, 4)
    assert (second.imported_wh, second.exported_wh) == (30, 6)
    assert second.owner.name == "george"
    # And an observer that starts later knows the registers from the state
    assert Observer(watched.node.store)._registers[chain.home("george").meter.public_key] == (50, 10)


def test_suspension_rejoining_and_conviction_are_told_once() -> None:
    watched = Watched()
    chain = watched.chain
    told: list[NodeEvent] = []
    while not told:
        told = [event for event in watched.produce(view=1) if isinstance(event, CandidateSuspended)]
    name = told[0].account.name
    assert name is not None
    assert chain.candidate(name).status == CandidateStatus.SUSPENDED
    assert not [event for event in watched.produce() if isinstance(event, CandidateSuspended)]
    # When it rejoins
    events = watched.produce(chain.sign(name, Rejoin()))
    assert [event.account.name for event in events if isinstance(event, CandidateRejoined)] == [name]
    # And when one is convicted
    others = [other for other in chain.homes if other != name]
    caretaker = caretaker_of(chain, others[0])
    caretaker.remember(evidence_against(chain, others[1]))
    events = watched.produce(*caretaker.due(chain.state, chain.height, 0, level=True))
    (convicted,) = (event for event in events if isinstance(event, Equivocation))
    assert convicted.convicted
    assert convicted.account.name == others[1]

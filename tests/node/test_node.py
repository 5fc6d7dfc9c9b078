"""Whole nodes together, in virtual time."""

from __future__ import annotations

import pytest
import trio

from ledger.records import CANDIDATES, CandidateStatus
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.transactions import Token, Transfer
from node.configuration import Configuration, override
from node.verification import verify_chain
from p2p.peer_identity import peer_id_from_public_key
from p2p.simulated import Faults
from storage.errors import Damaged
from storage.memory import MemoryChain, MemoryJournal
from tests.support.nodes import Neighbourhood, neighbourhood

pytestmark = pytest.mark.trio

LOSSY = Faults(delay_min_s=0.01, delay_max_s=0.2, loss=0.2, duplication=0.1, reordering=0.2)


def assert_one_chain(homes: Neighbourhood) -> None:
    """One block per height on every disk, and one state at equal heights."""
    common = min(running.height for running in homes.homes.values())
    for height in range(1, common + 1):
        assert len({running.store.block_hash(height) for running in homes.homes.values()}) == 1
    for running in homes.homes.values():
        verified = verify_chain(running.store, homes.genesis, lambda done, total: None)
        assert verified.height == running.height


def pay(homes: Neighbourhood, name: str, amount: int) -> Transfer:
    return Transfer(recipient=homes.homes[name].home.id, token=Token.WATT, amount=amount, memo="")


async def test_four_homes_agree_on_one_chain(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=1) as homes:
        # When time passes
        await homes.until_height(20)
        # Then everyone has the same chain, and everyone has made some of it
        assert_one_chain(homes)
        state = State(homes.homes["anne"].store)
        assert all(candidate.produced_total > 0 for _, candidate in CANDIDATES.scan(state))


async def test_they_agree_although_a_fifth_of_all_messages_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=2, faults=LOSSY) as homes:
        await homes.until_height(12, within_s=400)
        assert_one_chain(homes)


async def test_a_transaction_given_to_one_home_is_final_at_all(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=3) as homes:
        await homes.until_height(1)
        # When carla's node is given anne's transfer
        transaction = await homes.send("anne", pay(homes, "bob", 5_000_000), by="carla")
        # Then every home finds it in a block
        await homes.until(
            lambda: all(one.store.find_transaction(transaction.id) is not None for one in homes.homes.values())
        )
        # And giving it again is refused
        with pytest.raises(TransactionRefused) as refused:
            await homes.homes["bob"].node.submit(transaction.raw)  # type: ignore[union-attr]
        assert refused.value.refusal is Refusal.DUPLICATE


async def test_what_cannot_be_paid_is_refused_at_the_door_and_not_passed_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with neighbourhood(seed=4) as homes:
        await homes.until_height(1)
        with pytest.raises(TransactionRefused) as refused:
            await homes.send("anne", pay(homes, "bob", 10**15))
        assert refused.value.refusal is Refusal.INSUFFICIENT_WATT
        await trio.sleep(5)
        assert all(len(running.node.mempool) == 0 for running in homes.homes.values() if running.node)


async def test_an_absent_home_is_skipped_suspended_and_drawn_again_after_its_return(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with neighbourhood(seed=5) as homes:
        await homes.until_height(3)
        bob = homes.homes["bob"].home.id
        # Given bob's node is killed
        await homes.kill("bob")
        others = ["anne", "carla", "george"]
        store = homes.homes["anne"].store

        def standing() -> int:
            candidate = CANDIDATES.get(State(store), bob)
            assert candidate is not None
            return candidate.status

        # Then the others go on, and bob's missed turns suspend him
        await homes.until(lambda: standing() == CandidateStatus.SUSPENDED, within_s=600)
        # When he is back
        await homes.start("bob")
        await homes.until(lambda: homes.homes["bob"].height >= homes.homes["anne"].height - 1)
        # Then he rejoins by himself
        await homes.until(lambda: standing() == CandidateStatus.ACTIVE)
        # And makes blocks again
        candidate = CANDIDATES.get(State(store), bob)
        assert candidate is not None
        produced = candidate.produced_total

        def produced_now() -> int:
            now = CANDIDATES.get(State(store), bob)
            assert now is not None
            return now.produced_total

        await homes.until(lambda: produced_now() > produced, within_s=600)
        await homes.until_height(homes.homes["anne"].height, others)
        assert_one_chain(homes)


async def test_without_a_quorum_nothing_is_final_and_with_one_again_it_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with neighbourhood(seed=6) as homes:
        await homes.until_height(3)
        # Given the neighbourhood is cut in two halves
        peers = {name: running.node.peer_id for name, running in homes.homes.items() if running.node}
        homes.switch.partition([peers["anne"], peers["bob"]], [peers["carla"], peers["george"]])
        await trio.sleep(2)
        cut_at = max(running.height for running in homes.homes.values())
        # Then no half finalises anything
        await trio.sleep(120)
        assert max(running.height for running in homes.homes.values()) <= cut_at + 1
        # When the cut is healed
        homes.switch.heal()
        # Then blocks become final again
        await homes.until_height(cut_at + 5)
        assert_one_chain(homes)


async def test_a_home_that_comes_late_catches_up(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=7, start=["anne", "bob", "carla"]) as homes:
        await homes.until_height(40, ["anne", "bob", "carla"], within_s=1_000)
        await homes.start("george")
        await homes.until(lambda: homes.homes["george"].height >= 40, within_s=30)
        assert_one_chain(homes)


async def test_a_home_that_lost_its_journal_follows_before_it_votes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with neighbourhood(seed=8) as homes:
        await homes.until_height(4)
        # Given bob's journal is lost, not his chain
        await homes.kill("bob")
        homes.homes["bob"].journal = MemoryJournal()
        tip = homes.homes["anne"].height
        node = await homes.start("bob")
        # Then he does not vote at once
        assert not node.live().votes
        # But he does again two blocks above the tip he heard of
        await homes.until(lambda: node.live().votes)
        assert homes.homes["bob"].height >= tip + 1
        bob = homes.homes["bob"]
        assert bob.journal.vouches_for(bob.home.node.public_key)


async def test_a_home_that_fetches_its_chain_anew_does_not_vote_again_where_its_votes_are_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with neighbourhood(seed=11) as homes:
        await homes.until_height(6)
        # Given bob's chain is lost, not his journal, which keeps no votes of committed heights
        await homes.kill("bob")
        bob = homes.homes["bob"]
        passed = bob.height
        bob.store = MemoryChain()
        # When he starts with nobody to hear of
        others = [running.node.peer_id for name, running in homes.homes.items() if running.node]
        homes.switch.partition([peer_id_from_public_key(bob.home.node.public_key)], others)
        node = await homes.start("bob")
        await trio.sleep(60)
        # Then he says nothing at a height at which he may have said something else
        assert bob.height == 0
        assert not node.live().votes
        assert bob.journal.load(1).votes == {}
        # And once he has the chain again he votes
        homes.switch.heal()
        await homes.until(lambda: node.live().votes)
        assert bob.height >= passed


async def test_everyone_stops_at_the_halt_height(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=9, start=["anne"]) as homes:
        configuration = override(Configuration(), "node", halt_height=5)
        for name in ("bob", "carla", "george"):
            await homes.start(name, configuration)
        await homes.kill("anne")
        await homes.start("anne", configuration)
        await homes.until_height(5)
        await trio.sleep(60)
        assert {running.height for running in homes.homes.values()} == {5}


async def test_the_whole_neighbourhood_restarts_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=10) as homes:
        await homes.until_height(4)
        for name in homes.homes:
            await homes.kill(name)
        await trio.sleep(30)
        for name in homes.homes:
            await homes.start(name)
        await homes.until_height(10)
        assert_one_chain(homes)


async def test_damage_that_a_read_meets_ends_the_node_with_its_reason(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=12) as homes:
        await homes.until_height(2)
        bob = homes.homes["bob"]
        assert bob.node is not None
        # When somebody's question met a block that is not what was written
        bob.node.damaged(Damaged("chain", "its record fails its checksum", height=1))
        # Then the node ends, and says so
        await bob.ended.wait()
        assert isinstance(bob.failure, BaseExceptionGroup | Damaged)
        assert "at height 1" in str(getattr(bob.failure, "exceptions", [bob.failure])[0])
        bob.failure = None

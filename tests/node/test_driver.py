"""The driver through what its disk, its worker and its peers may do to it; whole nodes, virtual time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from consensus.engine import FinalBlockInvalid
from consensus.messages import Abridged, Certificates, Proposal, Votes, decode_message
from ledger.statements import StatementKind
from node.configuration import Configuration, override
from node.driver import MAX_WAITING_BYTES
from node.protocol import topic
from p2p.network import Verdict
from storage.errors import DiskFailed, DiskFull
from storage.interface import CommittedBlock, JournalContents, JournalRecord, ProposalRecord, VoteRecord
from storage.memory import MemoryChain, MemoryJournal
from tests.support.nodes import Neighbourhood, neighbourhood

pytestmark = pytest.mark.trio


class WatchedJournal(MemoryJournal):
    """Remembers all that was ever written, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.written: set[tuple[int, int, int | None]] = set()
        self.failure: Exception | None = None
        self.refused = 0

    def write(self, records: Sequence[JournalRecord]) -> None:
        if self.failure is not None:
            self.refused += 1
            raise self.failure
        super().write(records)
        for record in records:
            if isinstance(record, VoteRecord):
                self.written.add((record.height, record.view, record.kind))
            elif isinstance(record, ProposalRecord):
                self.written.add((record.height, record.view, None))


class FaultyChain(MemoryChain):
    """Fails to commit when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []

    def commit(self, committed: CommittedBlock) -> None:
        if self.failures and committed.height > 0:
            raise self.failures.pop(0)
        super().commit(committed)


async def said_by(homes: Neighbourhood, name: str, listener: str) -> list[tuple[int, int, int | None]]:
    """(height, view, kind; None for a proposal) of all that a home says from now on, as it reaches a listener."""
    network = await homes.join(listener)
    node_key = homes.homes[name].home.node.public_key
    said: list[tuple[int, int, int | None]] = []
    node = homes.homes[name].node
    assert node is not None

    def hear(_peer: str, data: bytes) -> Verdict:
        message = decode_message(data)
        if isinstance(message, Votes):
            said.extend(
                (vote.statement.height, vote.statement.view, vote.statement.kind)
                for vote in message.votes
                if vote.node_key == node_key
            )
        elif isinstance(message, Certificates):
            context = node._driver.context
            seat = None if context is None else context.committee.index_of_node_key(node_key)
            said.extend(
                (each.height, each.view, each.kind)
                for each in message.certificates
                if seat is not None and int.from_bytes(each.signers, "little") >> seat & 1
            )
        elif isinstance(message, Proposal | Abridged):
            proposal = message.proposal if isinstance(message, Abridged) else message
            if proposal.node_key == node_key:
                said.append((proposal.height, proposal.view, None))
        return Verdict.ACCEPT

    network.subscribe(topic(node.status().chain_id, "consensus"), hear)
    return said


async def test_nothing_is_said_that_was_not_written_before(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=21, start=["bob", "carla", "george"]) as homes:
        # Given anne, whose journal is watched, and a stranger who hears all she says
        journal = homes.homes["anne"].journal = WatchedJournal()
        await homes.start("anne")
        said = await said_by(homes, "anne", "stranger")
        await homes.until_height(12)
        # Then she has said votes and proposals, and each was on the disk
        assert {kind for _, _, kind in said} >= {None, StatementKind.NOTARIZE, StatementKind.FINALIZE}
        assert set(said) <= journal.written


async def test_while_the_journals_disk_is_full_a_node_says_nothing_and_then_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with neighbourhood(seed=22, start=["bob", "carla", "george"]) as homes:
        journal = homes.homes["anne"].journal = WatchedJournal()
        node = await homes.start("anne")
        await homes.until_height(3)
        # When anne's disk is full
        journal.failure = DiskFull("here", "no space left")
        await homes.until(lambda: journal.refused > 0)
        said = await said_by(homes, "anne", "stranger")
        await trio.sleep(20)
        # Then she says nothing, says so to her household, and takes no transaction, while the others go on
        assert said == []
        live = node.live()
        assert live.disk_full
        assert any("disk is full" in warning for warning in live.warnings)
        assert live.unhealthy is not None
        height = homes.homes["bob"].height
        assert height > homes.homes["anne"].height
        # When there is room, she catches up and speaks again
        journal.failure = None
        await homes.until_height(height + 3)
        await homes.until(lambda: not node.live().disk_full)
        assert said != []


async def test_a_commit_that_finds_the_disk_full_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=23, start=["bob", "carla", "george"]) as homes:
        store = homes.homes["anne"].store = FaultyChain()
        await homes.start("anne")
        await homes.until_height(2)
        store.failures = [DiskFull("here", "no space left")] * 3
        await homes.until_height(8)
        assert store.failures == []


@pytest.mark.parametrize("where", ["journal", "chain"])
async def test_a_disk_that_fails_ends_the_node(autojump_clock: trio.testing.MockClock, where: str) -> None:
    async with neighbourhood(seed=24, start=["bob", "carla", "george"]) as homes:
        anne = homes.homes["anne"]
        journal, store = WatchedJournal(), FaultyChain()
        anne.journal, anne.store = journal, store
        await homes.start("anne")
        await homes.until_height(2)
        failure = DiskFailed("here", "input/output error")
        if where == "journal":
            journal.failure = failure
        else:
            store.failures = [failure]
        with trio.fail_after(30):
            await anne.ended.wait()
        assert failure in leaves(anne.failure)
        anne.failure = None


async def test_a_defect_in_a_service_does_not_end_it_for_good(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=25, start=["bob", "carla", "george"]) as homes:
        # Given a defect that shows three times, in the middle of committing
        store = homes.homes["anne"].store = FaultyChain()
        node = await homes.start("anne")
        await homes.until_height(2)
        store.failures = [RuntimeError("a defect")] * 3
        # Then consensus begins again from the disk each time, and the home goes on as if it had restarted
        await homes.until_height(10)
        assert store.failures == []
        assert node._restarts()["consensus"] >= 3
        await homes.until(lambda: node.live().votes)


async def test_a_defect_while_catching_up_does_not_leave_a_home_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with neighbourhood(seed=30, start=["bob", "carla", "george"]) as homes:
        await homes.until_height(9, ["bob", "carla", "george"])
        # Given a home that comes late, and a defect that shows while it takes in what it missed
        store = homes.homes["anne"].store = FaultyChain()
        store.failures = [RuntimeError("a defect")] * 2
        node = await homes.start("anne")
        # Then it begins again, and is level in the end
        await homes.until_height(homes.homes["bob"].height + 2)
        assert store.failures == []
        assert node._restarts()["consensus"] == 2
        assert node._driver._waiting_bytes >= 0


class SpoiltChain(FaultyChain):
    """A disk that gives back another balance than was stored, from some height on."""

    def __init__(self) -> None:
        super().__init__()
        self.spoilt: bytes | None = None

    def get(self, key: bytes) -> bytes | None:
        value = super().get(key)
        if value is not None and key == self.spoilt:
            from msgspec.structs import replace

            from ledger.encoding import decode, encode
            from ledger.records import Account

            account = decode(value, Account, 1_000)
            return encode(replace(account, watt_uwatt=account.watt_uwatt + 1))
        return value


async def test_a_final_block_that_a_node_cannot_execute_ends_it_and_says_which(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with neighbourhood(seed=26, start=["bob", "carla", "george"]) as homes:
        from ledger.records import ACCOUNTS
        from ledger.transactions import Token, Transfer

        anne = homes.homes["anne"]
        store = SpoiltChain()
        anne.store = store
        await homes.start("anne")
        await homes.until_height(2)
        # Given anne's state is not what it should be
        bob = homes.homes["bob"].home.id
        store.spoilt = ACCOUNTS.prefix + bob
        # When the others finalise a block that touches it
        await homes.send("george", Transfer(recipient=bob, token=Token.WATT, amount=5, memo=""), by="carla")
        with trio.fail_after(60):
            await anne.ended.wait()
        # Then she stops, rather than to blame the others
        errors = leaves(anne.failure)
        assert any(isinstance(error, FinalBlockInvalid) for error in errors)
        assert f"height {anne.height + 1}" in "; ".join(map(str, errors))
        anne.failure = None
        await homes.until_height(anne.height + 4, ["bob", "carla", "george"])


async def test_what_waits_for_a_driver_that_stands_still_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=27, start=["bob", "carla", "george"]) as homes:
        journal = homes.homes["anne"].journal = WatchedJournal()
        node = await homes.start("anne")
        await homes.until_height(2)
        # Given anne's driver waits for her disk
        journal.failure = DiskFull("here", "no space left")
        await homes.until(lambda: journal.refused > 0)
        # When somebody sends proposals of a far height, as large as they may be
        from consensus.messages import encode_message
        from tests.support.chain import Chain, key_for

        block = Chain().build().block
        import msgspec

        large = msgspec.structs.replace(block, transactions=(bytes(16_000),) * 30)
        proposal = Proposal(10**6, 0, large, (), key_for("node", "stranger").public_key, bytes(64))
        for salt in range(100):
            node._driver.validate(node.peer_id, encode_message(proposal, salt))
        # Then what waits is bounded, and is worked off when there is room
        assert 0 < node._driver._waiting_bytes <= MAX_WAITING_BYTES
        journal.failure = None
        await homes.until(lambda: node._driver._waiting_bytes < 100_000)
        await homes.until_height(homes.homes["bob"].height + 2)


async def test_a_home_with_a_halt_height_fetches_nothing_above_it(autojump_clock: trio.testing.MockClock) -> None:
    async with neighbourhood(seed=28, start=["bob", "carla", "george"]) as homes:
        await homes.until_height(9, ["bob", "carla", "george"])
        await homes.start("anne", override(Configuration(), "node", halt_height=5))
        await homes.until(lambda: homes.homes["anne"].height == 5)
        await homes.until_height(14, ["bob", "carla", "george"])
        assert homes.homes["anne"].height == 5
        # And nobody is thought ill of for having more
        node = homes.homes["anne"].node
        assert node is not None
        assert all(info.score == 100 for info in node.peers())


async def test_a_journal_of_a_height_that_was_committed_before_a_crash_does_no_harm(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class KeepsAll(MemoryJournal):
        """Crashes between commit and clearing, always: nothing is ever cleared."""

        def clear_through(self, height: int) -> None:
            pass

    async with neighbourhood(seed=29, start=["bob", "carla", "george"]) as homes:
        journal = homes.homes["anne"].journal = KeepsAll()
        await homes.start("anne")
        await homes.until_height(3)
        await homes.kill("anne")
        assert journal.load(1) != JournalContents()
        node = await homes.start("anne")
        await homes.until_height(7)
        assert node.live().votes


def leaves(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [] if error is None else [error]

"""Peers that mean harm, against whole nodes in virtual time: three honest homes go on, and the peer pays.

``mallory`` has a key that is nobody's; ``george`` is a member whose node has been replaced by its enemy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from consensus.block import Block, Certificate
from consensus.messages import (
    MAX_VOTES,
    Abridged,
    Certificates,
    Message,
    Proposal,
    Vote,
    Votes,
    WireMessage,
    decode_message,
    encode_message,
)
from ledger.encoding import decode, encode
from ledger.keys import SigningKey, digest
from ledger.records import CANDIDATES, CandidateStatus
from ledger.state import State
from ledger.statements import Statement, StatementKind
from ledger.transactions import MAX_TRANSACTION_BYTES, Signed, Token, Transfer, sign_transaction
from node.protocol import (
    BLOCKS,
    BODY,
    CERTIFICATES,
    MAX_BATCH_MESSAGE_BYTES,
    MAX_RANGE,
    PROTOCOL_VERSION,
    STATUS,
    Announcement,
    BlockRange,
    Status,
    TransactionBatch,
    topic,
)
from p2p.network import MAX_MESSAGE_BYTES, NetworkError, Verdict
from p2p.peer_identity import peer_id_from_public_key
from p2p.simulated import Faults, SimulatedNetwork
from storage.memory import MemoryJournal
from tests.support.chain import FEE_UWATT, make_home
from tests.support.nodes import Neighbourhood, neighbourhood

pytestmark = pytest.mark.trio

HONEST = ("anne", "bob", "carla")
TOPICS = ("transactions", "consensus", "blocks")


class Enemy:
    """Speaks as ``name`` with everyone, by hand; hears all that is said."""

    def __init__(self, homes: Neighbourhood, name: str, network: SimulatedNetwork) -> None:
        self.homes = homes
        self.network = network
        self.key = make_home(name).node
        self.chain_id = homes.homes["anne"].store.block_hash(0) or b""
        self.heard: list[WireMessage] = []
        self.on_message: Callable[[WireMessage], None] = self.heard.append
        self.passes_on = True
        network.subscribe(self.topic("consensus"), self._hear)
        for other in ("transactions", "blocks"):
            network.subscribe(self.topic(other), lambda _peer, _data: Verdict.ACCEPT)
        self.salt = 0

    def topic(self, name: str) -> str:
        return topic(self.chain_id, name)

    def _hear(self, _peer: str, data: bytes) -> Verdict:
        self.on_message(decode_message(data))
        return Verdict.ACCEPT if self.passes_on else Verdict.IGNORE

    async def say(self, message: WireMessage) -> None:
        self.salt += 1
        await self.network.publish(self.topic("consensus"), encode_message(message, self.salt))

    def vote(self, kind: StatementKind, height: int, view: int, block_hash: bytes | None) -> Vote:
        statement = Statement(kind, height, view, block_hash)
        return Vote(
            statement, self.key.public_key, self.key.sign(statement.domain(), self.chain_id, statement.message())
        )

    @property
    def height(self) -> int:
        """The open one."""
        return max(self.homes.homes[name].height for name in HONEST) + 1

    def scores(self) -> list[int]:
        """What the honest homes think of the enemy; 0 where it is banned."""
        found = []
        for name in HONEST:
            node = self.homes.homes[name].node
            assert node is not None
            found.append({info.peer: info.score for info in node.peers()}.get(self.network.peer_id, 0))
        return found


@asynccontextmanager
async def against(name: str, seed: int) -> AsyncIterator[tuple[Neighbourhood, Enemy]]:
    """Three honest homes at height 3 and the enemy in their midst; at the end they must still go on, unharmed."""
    async with neighbourhood(seed=seed, start=HONEST) as homes:
        await homes.until_height(3, HONEST)
        enemy = Enemy(homes, name, await homes.join(name))
        yield homes, enemy
        height = max(homes.homes[one].height for one in HONEST)
        await homes.until_height(height + 4, HONEST)
        for one in HONEST:
            node = homes.homes[one].node
            assert node is not None
            assert node._restarts() == {}, "a service failed"
            assert all(info.score == 100 for info in node.peers() if info.peer != enemy.network.peer_id), (
                "an honest peer was thought ill of"
            )
            assert node._network.metrics().get("validator_failed", 0) == 0
            assert node._network.metrics().get("stream_handler_failed", 0) == 0


async def until_banned(enemy: Enemy) -> None:
    await enemy.homes.until(lambda: enemy.scores() == [0, 0, 0])


GARBAGE: dict[str, Callable[[int], bytes]] = {
    "noise": lambda n: digest(bytes([n])) * 30,
    "nothing but a number": lambda n: bytes([n]),
    "deep nesting": lambda n: b"\x81" * 500 + bytes([n]),
    "a list of a length that is not there": lambda n: b"\x9b\xff\xff\xff\xff\xff\xff\xff" + bytes([n]),
    "endless lists": lambda n: b"\x9f" * 100 + bytes([n]),
    "tags": lambda n: b"\xc0" * 100 + bytes([n]),
    "all of a megabyte": lambda n: bytes([n]) * MAX_MESSAGE_BYTES,
}


@pytest.mark.parametrize("name", TOPICS)
async def test_garbage_on_a_topic(autojump_clock: trio.testing.MockClock, name: str) -> None:
    async with against("mallory", 31) as (_, enemy):
        for number in (1, 2):
            for make in GARBAGE.values():
                await enemy.network.publish(enemy.topic(name), make(number))
        await until_banned(enemy)


@pytest.mark.parametrize("protocol", [STATUS, BLOCKS, BODY, CERTIFICATES])
async def test_garbage_on_a_stream(autojump_clock: trio.testing.MockClock, protocol: str) -> None:
    async with against("mallory", 32) as (homes, enemy):
        anne = homes.homes["anne"].node
        assert anne is not None
        for number in (1, 2):
            for name, make in GARBAGE.items():
                if (protocol, name) != (CERTIFICATES, "nothing but a number"):  # that is a height
                    with pytest.raises((NetworkError, ValueError)):
                        await enemy.network.request(anne.peer_id, protocol, make(number)[:60_000])
        assert enemy.scores()[0] == 0


async def test_batches_over_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    async with against("mallory", 33) as (_, enemy):
        for salt in range(12):
            batch = TransactionBatch((bytes(MAX_TRANSACTION_BYTES),) * 6, salt)
            assert len(encode(batch)) > MAX_BATCH_MESSAGE_BYTES
            await enemy.network.publish(enemy.topic("transactions"), encode(batch))
        await until_banned(enemy)


async def test_a_flood_of_transactions_of_keys_that_nobody_knows(autojump_clock: trio.testing.MockClock) -> None:
    async with against("mallory", 34) as (homes, enemy):
        anne = homes.homes["anne"].home.id
        for number in range(50):
            key = SigningKey(digest(b"sybil", bytes([number])))
            spam = sign_transaction(
                key,
                enemy.chain_id,
                Transfer(recipient=anne, token=Token.WATT, amount=1, memo=""),
                fee_uwatt=FEE_UWATT,
                valid_until_height=50,
            )
            batch = TransactionBatch((spam.raw,), number)
            await enemy.network.publish(enemy.topic("transactions"), encode(batch))
        await trio.sleep(2)
        # Then nothing of it waits anywhere, no signature of it was remembered, and it costs nothing: state differs
        for one in HONEST:
            node = homes.homes[one].node
            assert node is not None
            assert len(node.mempool) == 0
        assert enemy.scores() == [100, 100, 100]


def forged_certificates(enemy: Enemy) -> list[Message]:
    height = enemy.height
    return [
        Certificates((Certificate(kind, height, 0, block_hash, b"\x0f", signatures),))
        for kind, block_hash in ((1, bytes(32)), (2, None), (3, bytes(32)))
        for signatures in (bytes(4 * 64), b"\xff" * 256, bytes(64), b"")
    ]


def others_proposals(enemy: Enemy) -> list[Message]:
    """Of whoever's turn it is, the enemy proposes."""
    store = enemy.homes.homes["anne"].store
    stored = store.block(enemy.height - 1)
    assert stored is not None
    block = decode(stored, Block, MAX_MESSAGE_BYTES)
    found: list[Message] = []
    for view in range(12):
        header = msgspec.structs.replace(
            block.header, height=enemy.height, view=view, parent_hash=block.hash, transactions_root=bytes(32)
        )
        mine = msgspec.structs.replace(block, header=header)
        statement = Statement(StatementKind.PROPOSAL, enemy.height, view, mine.hash)
        signature = enemy.key.sign(statement.domain(), enemy.chain_id, statement.message())
        found.append(Proposal(enemy.height, view, mine, (), enemy.key.public_key, signature))
    return found


def badly_signed_votes(enemy: Enemy) -> list[Message]:
    """In the name of anne."""
    anne = enemy.homes.homes["anne"].home.node.public_key
    vote = enemy.vote(StatementKind.NULLIFY, enemy.height, 0, None)
    return [Votes((msgspec.structs.replace(vote, node_key=anne, signature=bytes([n]) * 64),)) for n in range(12)]


def the_same_vote_often(enemy: Enemy) -> list[Message]:
    vote = enemy.vote(StatementKind.NULLIFY, enemy.height, 0, None)
    return [Votes((vote,) * (n + 2)) for n in range(12)]


@pytest.mark.parametrize(
    "make", [forged_certificates, others_proposals, badly_signed_votes, the_same_vote_often], ids=lambda m: m.__name__
)
async def test_forged_messages_of_the_open_height(
    autojump_clock: trio.testing.MockClock, make: Callable[[Enemy], list[Message]]
) -> None:
    async with against("mallory", 35) as (homes, enemy):
        # Given the height has just opened, so that it is still open when the messages arrive
        height = enemy.height
        await homes.until_height(height, HONEST)
        for _ in range(3):
            for message in make(enemy):
                await enemy.say(message)
            await trio.sleep(0.5)
        await until_banned(enemy)


async def test_votes_of_a_stranger_are_of_no_interest(autojump_clock: trio.testing.MockClock) -> None:
    async with against("mallory", 36) as (homes, enemy):
        listener = Enemy(homes, "listener", await homes.join("listener"))
        for view in range(5):
            for height in (1, enemy.height, enemy.height + 1, enemy.height + 1_000):
                await enemy.say(Votes((enemy.vote(StatementKind.NULLIFY, height, view, None),)))
        await trio.sleep(2)
        # Then nobody passed them on, and nobody took offence
        strange = [
            vote
            for message in listener.heard
            if isinstance(message, Votes)
            for vote in message.votes
            if vote.node_key == enemy.key.public_key
        ]
        assert strange == []
        assert enemy.scores() == [100, 100, 100]


async def test_everything_said_is_replayed_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    async with against("mallory", 37) as (homes, enemy):
        await homes.until_height(6, HONEST)
        for _ in range(5):
            for message in enemy.heard[:200]:
                await enemy.say(message)
            await trio.sleep(1)
        # Then that is no offence, for honest nodes say things again, and no harm
        assert enemy.scores() == [100, 100, 100]


async def test_an_honest_leaders_block_altered_on_its_way_condemns_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The signature of a transaction is not covered by the block hash: who changes it must not make others believe
    that the leader made an invalid block, or they would stop when that block becomes final.
    """
    async with against("mallory", 38) as (homes, enemy), trio.open_nursery() as nursery:
        # Given mallory is quicker than the homes are among themselves, and alters every proposal
        peers = {name: peer_id_from_public_key(homes.homes[name].home.node.public_key) for name in HONEST}
        for one in peers.values():
            for other in peers.values():
                homes.switch.set_faults(Faults(0.08, 0.1), one, other)
            homes.switch.set_faults(Faults(0.001, 0.002), one, enemy.network.peer_id)
            homes.switch.set_faults(Faults(0.001, 0.002), enemy.network.peer_id, one)
        altered: list[Proposal] = []

        def alter(message: WireMessage) -> None:
            proposal = message.proposal if isinstance(message, Abridged) else message
            if isinstance(proposal, Proposal) and proposal.block.transactions:
                signed = decode(proposal.block.transactions[0], Signed, MAX_TRANSACTION_BYTES)
                bad = encode(Signed(body=signed.body, signature=bytes(64)))
                block = msgspec.structs.replace(proposal.block, transactions=(bad, *proposal.block.transactions[1:]))
                altered.append(msgspec.structs.replace(proposal, block=block))
                is_whole = proposal is message
                told = altered[-1] if is_whole else msgspec.structs.replace(message, proposal=altered[-1])
                nursery.start_soon(enemy.say, told)

        enemy.on_message, enemy.passes_on = alter, False
        # When blocks with transactions are made
        for nonce in range(5):
            pay = Transfer(recipient=enemy.key.public_key, token=Token.WATT, amount=5, memo="")
            transaction = await homes.send("anne", pay, nonce=nonce)
            await homes.until(
                lambda transaction=transaction: all(  # type: ignore[misc]
                    homes.homes[name].store.find_transaction(transaction.id) is not None for name in HONEST
                )
            )
        # Then they are final everywhere, and it was mallory who paid
        assert len({proposal.height for proposal in altered}) >= 1
        assert enemy.scores() != [100, 100, 100]
        nursery.cancel_scope.cancel()


async def test_who_claims_another_chain_is_banned_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with against("mallory", 39) as (homes, enemy):
        wrong = Status(PROTOCOL_VERSION, bytes(32), 10**6, bytes(32), 0)
        for name in HONEST:
            node = homes.homes[name].node
            assert node is not None
            with pytest.raises(NetworkError):
                await enemy.network.request(node.peer_id, STATUS, encode(wrong))
        assert enemy.scores() == [0, 0, 0]


async def serve_nothing(_peer: str, _request: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return encode(())


async def test_a_liar_about_its_height_is_not_believed_and_in_the_end_banned(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with against("mallory", 40) as (homes, enemy):

        async def lie(_peer: str, _request: bytes) -> bytes:
            await trio.lowlevel.checkpoint()
            return encode(Status(PROTOCOL_VERSION, enemy.chain_id, 10**9, bytes(32), homes.wall_ms()))

        enemy.network.serve(STATUS, lie)
        enemy.network.serve(BLOCKS, serve_nothing)
        behind: list[int] = []

        def look() -> bool:
            for name in HONEST:
                node = homes.homes[name].node
                assert node is not None
                behind.append(node._sync.progress().behind)
            return enemy.scores() == [0, 0, 0]

        await homes.until(look, within_s=600)
        assert max(behind) <= 2


async def test_a_liar_keeps_a_home_without_journal_from_voting_only_until_it_is_banned(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with against("mallory", 41) as (homes, enemy):

        async def lie(_peer: str, _request: bytes) -> bytes:
            await trio.lowlevel.checkpoint()
            return encode(Status(PROTOCOL_VERSION, enemy.chain_id, 10**9, bytes(32), homes.wall_ms()))

        enemy.network.serve(STATUS, lie)
        enemy.network.serve(BLOCKS, serve_nothing)
        # Given george starts for the first time, and hears of nobody but the liar
        george = homes.homes["george"]
        george_peer = make_home("george").node.public_key
        for name in HONEST:
            other = homes.homes[name].node
            assert other is not None
            homes.switch.block(peer_id_from_public_key(george_peer), other.peer_id)
            homes.switch.block(other.peer_id, peer_id_from_public_key(george_peer))
        node = await homes.start("george")
        await node.connect(homes.switch.address(enemy.network.peer_id))
        await trio.sleep(3)
        assert not node.live().votes
        # When the others can be reached, and the liar has been found out
        homes.switch.heal()
        # Then george votes
        await homes.until(lambda: node.live().votes and george.height > 3, within_s=600)
        assert george.journal.vouches_for(george.home.node.public_key)


async def test_a_member_that_lies_about_its_height_holds_no_new_journal_up_for_good(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with against("george", 42) as (homes, enemy):

        async def lie(_peer: str, _request: bytes) -> bytes:
            await trio.lowlevel.checkpoint()
            return encode(Status(PROTOCOL_VERSION, enemy.chain_id, 10**9, bytes(32), homes.wall_ms()))

        enemy.network.serve(STATUS, lie)
        enemy.network.serve(BLOCKS, serve_nothing)
        # Given bob lost his journal, without which there is no quorum
        await homes.kill("bob")
        homes.homes["bob"].journal = MemoryJournal()
        node = await homes.start("bob")
        await node.connect(homes.switch.address(enemy.network.peer_id))
        # Then he believes the liar, who is a member, only until it cannot show what it claims
        await homes.until(lambda: node._trust._votes_from > 0 or node.live().votes)
        await homes.until(
            lambda: {info.peer: info.score for info in node.peers()}.get(enemy.network.peer_id, 0) == 0, within_s=600
        )
        assert node._trust._votes_from < 10**9
        # And as all three are needed for a quorum, nothing but his old journal lets the neighbourhood go on
        await homes.kill("bob")
        homes.homes["bob"].journal.trust(homes.homes["bob"].home.node.public_key)
        await homes.start("bob")


async def test_endless_requests_for_blocks_harm_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with against("mallory", 43) as (homes, enemy), trio.open_nursery() as nursery:
        answered = 0

        async def devour(peer: str) -> None:
            nonlocal answered
            while True:
                try:
                    await enemy.network.request(peer, BLOCKS, encode(BlockRange(first=1, count=MAX_RANGE)))
                    answered += 1
                except NetworkError:
                    await trio.sleep(1)

        for name in HONEST:
            node = homes.homes[name].node
            assert node is not None
            for _ in range(8):
                nursery.start_soon(devour, node.peer_id)
        height = enemy.height
        await homes.until_height(height + 4, HONEST)
        assert answered > 10
        nursery.cancel_scope.cancel()


async def test_false_announcements_of_blocks(autojump_clock: trio.testing.MockClock) -> None:
    async with against("mallory", 44) as (homes, enemy):
        store = homes.homes["anne"].store
        for number in range(12):
            tip = store.tip()
            assert tip is not None
            stored = store.block(tip.height)
            assert stored is not None
            header = msgspec.structs.replace(decode(stored, Block, MAX_MESSAGE_BYTES).header, time_ms=number)
            certificate = Certificate(3, header.height, 0, header.hash, b"\x0f", bytes(256))
            await enemy.network.publish(enemy.topic("blocks"), encode(Announcement(header, certificate)))
            await trio.sleep(0.05)
        await until_banned(enemy)


async def test_a_member_that_equivocates_is_reported_and_expelled(autojump_clock: trio.testing.MockClock) -> None:
    async with against("george", 45) as (homes, enemy):
        height = enemy.height
        await homes.until_height(height, HONEST)
        # When george votes for two blocks in one view
        open_height = enemy.height
        first = enemy.vote(StatementKind.NOTARIZE, open_height, 0, digest(b"one"))
        second = enemy.vote(StatementKind.NOTARIZE, open_height, 0, digest(b"two"))
        await enemy.say(Votes((first,)))
        await enemy.say(Votes((second,)))
        # Then the others see to it that he is expelled
        george = homes.homes["george"].home.id
        store = homes.homes["anne"].store

        def status() -> int:
            candidate = CANDIDATES.get(State(store), george)
            assert candidate is not None
            return candidate.status

        await homes.until(lambda: status() == CandidateStatus.EXPELLED)


async def test_a_members_votes_in_every_view_and_height_are_only_votes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with against("george", 46) as (homes, enemy):
        # Given a member that nullifies all views there are, in messages as full as can be
        for start in range(0, 2_000, MAX_VOTES):
            votes = tuple(
                enemy.vote(StatementKind.NULLIFY, enemy.height, view, None) for view in range(start, start + MAX_VOTES)
            )
            await enemy.say(Votes(votes))
        await homes.until_height(enemy.height + 2, HONEST)

"""Staying level with the others, among them liars, the slow and the silent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import msgspec
import pytest
import trio

from consensus.block import Block
from consensus.committee import Committee
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError, decode, encode
from node.batches import Prepared, prepare
from node.catch_up import REST_AFTER_S, ServedBlockInvalid
from node.gossip import SignatureCache
from node.log import get
from node.protocol import (
    BLOCKS,
    BODY,
    CERTIFICATES,
    MAX_HELD_CERTIFICATES,
    MAX_RANGE,
    PROTOCOL_VERSION,
    STATUS,
    BlockRange,
    HeldCertificates,
    Status,
    StoredBlock,
    StoredBlocks,
)
from node.serving import SERVED_AT_ONCE_BYTES, SERVED_BYTES_PER_S, Serving
from node.signature_checker import InlineChecker
from node.sync import PASSED_OVER_S, Sync
from p2p.network import MAX_RESPONSE_BYTES, RequestFailed, RequestRefused
from p2p.simulated import SimulatedNetwork
from storage.errors import Damaged, Pruned
from storage.memory import MemoryChain
from tests.support.chain import Chain
from tests.support.disk import copy_chain, node_chain, stored
from tests.support.wires import peer_of, score, wires

pytestmark = pytest.mark.trio
DELTA_MS = 200
HEIGHT = 150


@pytest.fixture(scope="module")
def chain() -> Chain:
    made = Chain()
    for _ in range(HEIGHT):
        made.produce()
    return made


class Home:
    """A node without consensus: a chain in memory, sync, and what it serves."""

    def __init__(self, network: SimulatedNetwork, made: Chain, height: int, *, clock_ahead_ms: int = 0) -> None:
        self.made = made
        self.network = network
        self.store = MemoryChain()
        self.node = node_chain(made, self.store)
        self.claimed = 0
        self.imports: list[int] = []
        self.rested = False
        self._grow(height)
        wall = lambda: int(trio.current_time() * 1000) + clock_ahead_ms  # noqa: E731
        self.wall = wall
        self.sync = Sync(network, self, made.chain_id, DELTA_MS, wall, Random(1), get("test"))
        self.serving = Serving(network, self, get("test"))

    def _grow(self, height: int) -> None:
        for number in range(self.node.height + 1, height + 1):
            found = self.node.execute_stored(stored(self.made, number), self.made.verifier)
            assert found is not None
            self.node.commit(*found)

    @property
    def height(self) -> int:
        return self.node.height

    def status(self) -> Status:
        return Status(
            PROTOCOL_VERSION,
            self.made.chain_id,
            max(self.node.height, self.claimed),
            self.node.tip_hash,
            self.wall(),
            self.store.prune_floor(),
        )

    def committee(self) -> Committee:
        return self.node.open.committee

    def body_is_bound(self, block: Block) -> bool:
        return self.node.body_is_bound(block)

    def stored_block(self, height: int) -> StoredBlock | None:
        return self.node.stored_block(height)

    def body(self, block_hash: bytes) -> bytes | None:
        return self.store.block(self.height) if block_hash == self.node.tip_hash else None

    def held_certificates(self, height: int):  # type: ignore[no-untyped-def]
        return tuple(self.made.certificates[:300]) if height == 7 else ()

    async def prepare(self, blocks: tuple[StoredBlock, ...]) -> Prepared:
        try:
            prepared = prepare(blocks, SignatureCache())
        except (InvalidBlock, EncodingError) as error:
            raise ServedBlockInvalid(str(error)) from error
        if not await InlineChecker().are_good(prepared.unverified):
            raise ServedBlockInvalid("a bad signature")
        return prepared

    async def import_blocks(self, prepared: Prepared) -> None:
        self.imports.append(len(prepared.blocks))
        while rest := [block for block in prepared.blocks if block.height > self.node.height]:
            await trio.lowlevel.checkpoint()
            try:
                row = self.node.execute_row(rest)
            except (InvalidBlock, EncodingError) as error:
                raise ServedBlockInvalid(str(error)) from error
            if row is None:
                return
            self.node.commit_row(row)

    async def rest(self) -> None:
        self.rested = True
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def street(chain: Chain, heights: dict[str, int], **clocks: int) -> AsyncIterator[dict[str, Home]]:
    """Homes by name, the first of which syncs; the others answer."""
    homes: dict[str, Home] = {}

    def prepare(name: str, network: SimulatedNetwork) -> None:
        homes[name] = Home(network, chain, heights[name], clock_ahead_ms=clocks.get(name, 0))

    async with trio.open_nursery() as nursery, wires(*heights, prepare=prepare):
        first = next(iter(homes.values()))
        nursery.start_soon(first.sync.run_acquaintance)
        nursery.start_soon(first.sync.run_catch_up)
        yield homes
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    with trio.fail_after(within_s):
        while not holds():  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.05)


async def never(_peer: str, _request: bytes) -> bytes:
    await trio.sleep_forever()
    raise AssertionError


# -- catching up


async def test_what_is_missing_is_fetched_in_bounded_ranges(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, {"anne": 0, "bob": HEIGHT}) as homes:
        await until(lambda: homes["anne"].height == HEIGHT)
        assert sum(homes["anne"].imports) == HEIGHT
        assert max(homes["anne"].imports) <= MAX_RANGE
        assert homes["anne"].sync.progress().behind == 0


async def test_a_peer_that_grows_is_noticed_without_a_word_of_gossip(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, {"anne": 3, "bob": 3}) as homes:
        await trio.sleep(5)
        homes["bob"]._grow(9)
        await until(lambda: homes["anne"].height == 9, within_s=3 * 2 * DELTA_MS / 1000)


async def test_a_rumour_is_followed_at_once_and_no_more_often_than_is_good(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, {"anne": 3, "bob": 3}) as homes:
        await trio.sleep(5)
        asked = homes["bob"].network.metrics().get(f"served {STATUS}", 0)
        # Given somebody who talks of ever higher heights, a thousand times a second
        for height in range(1_000, 2_000):
            homes["anne"].sync.heard_of_height(height)
            await trio.sleep(0.001)
        # Then bob is not asked more than twice per Δ for it
        assert homes["bob"].network.metrics().get(f"served {STATUS}", 0) - asked <= 2 * 1_000 / DELTA_MS + 2


def wrong_block(chain: Chain) -> StoredBlock:
    good = stored(chain, 2)
    return StoredBlock(block=good.block, certificate=stored(chain, 1).certificate)


def altered_block(chain: Chain) -> StoredBlock:
    block = msgspec.structs.replace(chain.blocks[1].block, transactions=(b"x",))
    return StoredBlock(block=encode(block), certificate=stored(chain, 2).certificate)


def ahead(chain: Chain) -> StoredBlock:
    return stored(chain, 9)


def garbage(_chain: Chain) -> StoredBlock:
    return StoredBlock(block=b"\xff", certificate=b"")


@pytest.mark.parametrize("bad", [wrong_block, altered_block, ahead, garbage], ids=lambda make: make.__name__)
async def test_who_serves_a_wrong_block_pays_and_the_next_is_asked_at_once(
    chain: Chain, autojump_clock: trio.testing.MockClock, bad: Callable[[Chain], StoredBlock]
) -> None:
    async with street(chain, {"anne": 0, "mallory": HEIGHT, "bob": 0}) as homes:
        # Given only mallory claims to be ahead, and serves one right block and then a wrong one
        async def serve(_peer: str, _request: bytes) -> bytes:
            await trio.lowlevel.checkpoint()
            return encode((stored(chain, 1), bad(chain)))

        homes["mallory"].network.serve(BLOCKS, serve)
        await until(lambda: score(homes["anne"].network, "mallory") == 90)
        assert homes["anne"].height == 0
        # When bob has the blocks, they are had from him, while mallory is passed over
        began_s = trio.current_time()
        homes["bob"]._grow(20)
        await until(lambda: homes["anne"].height == 20)
        assert trio.current_time() - began_s < PASSED_OVER_S


async def serve_nothing(_peer: str, _request: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return encode(())


async def serve_garbage(_peer: str, _request: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return b"\xff"


@pytest.mark.parametrize(("answer", "price"), [(serve_nothing, 25), (serve_garbage, 10)])
async def test_who_cannot_show_the_height_it_claims_pays_until_it_is_banned(
    chain: Chain,
    autojump_clock: trio.testing.MockClock,
    answer: Callable[[str, bytes], Awaitable[bytes]],
    price: int,
) -> None:
    async with street(chain, {"anne": 3, "mallory": 3, "bob": 3}) as homes:
        homes["mallory"].claimed = 10**9
        homes["mallory"].network.serve(BLOCKS, answer)
        await until(lambda: score(homes["anne"].network, "mallory") == 100 - price)
        await until(lambda: score(homes["anne"].network, "mallory") == 0, within_s=300)
        assert homes["anne"].sync.claims().keys() == {peer_of("bob")}


async def test_who_does_not_answer_costs_time_but_the_others_are_asked(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, {"anne": 0, "mallory": 0, "bob": 0}) as homes:
        homes["mallory"].claimed = 10**9
        homes["mallory"].network.serve(BLOCKS, never)
        homes["bob"]._grow(HEIGHT)
        await until(lambda: homes["anne"].height == HEIGHT, within_s=30)


async def test_a_peer_slower_than_two_delta_still_serves(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    async with street(chain, {"anne": 0, "bob": HEIGHT}) as homes:
        bob = homes["bob"]
        quick = bob.serving.in_turn(bob.serving._blocks)

        async def slow(peer: str, request: bytes) -> bytes:
            await trio.sleep(20 * DELTA_MS / 1000)
            return await quick(peer, request)

        bob.network.serve(BLOCKS, slow)
        await until(lambda: homes["anne"].height == HEIGHT)
        assert score(homes["anne"].network, "bob") == 100


# -- statuses


async def test_another_chain_ends_the_acquaintance(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    other = Chain(["mallory", "carla"])
    async with street(chain, {"anne": 3, "bob": 3}) as homes:
        await until(lambda: peer_of("bob") in homes["anne"].sync.claims())
        homes["bob"].made = other  # from now on bob says he is of another chain
        await until(lambda: score(homes["anne"].network, "bob") == 0)
        assert homes["anne"].sync.claims() == {}
        assert homes["anne"].sync.clock_offset_ms() is None


async def test_another_version_ends_the_acquaintance(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    async with street(chain, {"anne": 3, "bob": 3}) as homes:
        status = msgspec.structs.replace(homes["bob"].status(), version=PROTOCOL_VERSION + 1)
        with pytest.raises(RequestFailed):
            await homes["bob"].network.request(peer_of("anne"), STATUS, encode(status))
        assert score(homes["anne"].network, "bob") == 0


async def test_nothing_is_kept_of_who_is_gone(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    async with street(chain, {"anne": 3, "bob": 3}) as homes:
        anne = homes["anne"]
        await until(lambda: anne.sync.claims() == {peer_of("bob"): 3})
        anne.network.disconnect(peer_of("bob"))
        # And a status that comes after its peer has gone is not kept either
        await anne.sync._take_status(peer_of("carla"), homes["bob"].status())
        await trio.testing.wait_all_tasks_blocked()
        assert anne.sync.claims() == {}


async def test_where_the_network_stands_is_not_for_one_liar_to_say(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    # Given four equal members; carla's claim is absurd, and she answers nothing else
    async with street(chain, {"anne": 5, "bob": 5, "carla": 5, "george": 5}) as homes:
        homes["carla"].claimed = 10**12
        homes["carla"].network.serve(BLOCKS, never)
        await until(lambda: len(homes["anne"].sync.claims()) == 3)
        await trio.sleep(3)
        assert homes["anne"].sync.progress().behind == 0
        assert homes["anne"].sync.claims()[peer_of("bob")] == 5


async def test_with_too_little_heard_the_highest_claim_counts(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, {"anne": 5, "bob": 5}) as homes:
        homes["bob"].claimed = 70
        homes["bob"].network.serve(BLOCKS, never)
        await until(lambda: homes["anne"].sync.progress().target == 70)


async def test_a_clock_that_is_off_is_seen_by_the_median(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    # Given one peer's clock is an hour ahead, and those of two others 90 ms
    ahead_ms = {"bob": 3_600_000, "carla": 90, "george": 90}
    async with street(chain, {"anne": 3, "bob": 3, "carla": 3, "george": 3}, **ahead_ms) as homes:
        assert homes["anne"].sync.clock_offset_ms() is None
        await until(lambda: len(homes["anne"].sync._clock_offsets_ms) == 3)
        offset_ms = homes["anne"].sync.clock_offset_ms()
        assert offset_ms is not None
        assert abs(offset_ms - 90) <= 30


# -- answers


@pytest.mark.parametrize(
    ("protocol", "request_"),
    [
        (STATUS, b""),
        (STATUS, b"\xff"),
        (STATUS, encode((1, 2, 3))),
        (BLOCKS, b"\xff"),
        (BLOCKS, encode((1, MAX_RANGE + 1))),
        (BLOCKS, encode((-1, 1))),
        (BODY, bytes(31)),
        (BODY, bytes(33)),
        (CERTIFICATES, b""),
        (CERTIFICATES, encode("seven")),
        (CERTIFICATES, encode(True)),
    ],
)
async def test_a_malformed_request_is_refused_and_costs(
    chain: Chain, autojump_clock: trio.testing.MockClock, protocol: str, request_: bytes
) -> None:
    async with street(chain, {"anne": 3, "mallory": 3}) as homes:
        with pytest.raises(RequestRefused):
            await homes["mallory"].network.request(peer_of("anne"), protocol, request_)
        assert score(homes["anne"].network, "mallory") == 90


async def test_answers_end_at_the_tip_and_at_their_bounds(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    async with street(chain, {"anne": HEIGHT, "bob": HEIGHT}) as homes:
        bob, anne = homes["bob"].network, peer_of("anne")

        async def blocks(first: int, count: int) -> int:
            answer = await bob.request(anne, BLOCKS, encode(BlockRange(first=first, count=count)))
            return len(decode(answer, StoredBlocks, MAX_RESPONSE_BYTES))

        assert await blocks(1, MAX_RANGE) == MAX_RANGE
        assert await blocks(HEIGHT - 1, MAX_RANGE) == 2
        assert await blocks(HEIGHT + 1, 5) == 0
        assert await blocks(0, 5) == 0
        assert await blocks(2**63 - 1, 5) == 0
        tip = chain.blocks[-1]
        assert decode(await bob.request(anne, BODY, tip.hash), Block, MAX_RESPONSE_BYTES) == tip.block
        with pytest.raises(RequestRefused):
            await bob.request(anne, BODY, bytes(32))
        held = decode(await bob.request(anne, CERTIFICATES, encode(7)), HeldCertificates, MAX_RESPONSE_BYTES)
        assert len(held) == min(HEIGHT, MAX_HELD_CERTIFICATES)
        assert score(homes["anne"].network, "bob") == 100


@pytest.mark.parametrize("error", [Pruned(3, 9), Damaged("here", "a page", height=3)])
async def test_what_is_pruned_or_damaged_is_refused(
    chain: Chain, autojump_clock: trio.testing.MockClock, error: Exception
) -> None:
    async with street(chain, {"anne": 9, "bob": 9}) as homes:
        anne = homes["anne"]

        def fails(_height: int) -> StoredBlock | None:
            raise error

        anne.stored_block = fails  # type: ignore[method-assign]
        with pytest.raises(RequestRefused):
            await homes["bob"].network.request(peer_of("anne"), BLOCKS, encode(BlockRange(first=3, count=1)))


async def test_an_endless_hunger_is_fed_at_a_pace(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    # Given blocks of 500 KB, and a peer that asks for them without end, sixteen at a time
    large = StoredBlock(block=bytes(500_000), certificate=b"")
    async with street(chain, {"anne": 3, "mallory": 3, "bob": 3}) as homes, trio.open_nursery() as nursery:
        homes["anne"].stored_block = lambda _height: large  # type: ignore[method-assign]
        served = 0

        async def devour() -> None:
            nonlocal served
            while True:
                answer = await homes["mallory"].network.request(
                    peer_of("anne"), BLOCKS, encode(BlockRange(first=1, count=MAX_RANGE)), timeout_s=60
                )
                served += len(answer)

        for _ in range(16):
            nursery.start_soon(devour)
        began_s = trio.current_time()
        await trio.sleep(30)
        # Then it gets what a node that catches up needs, and no more
        assert served <= SERVED_AT_ONCE_BYTES + 31 * SERVED_BYTES_PER_S
        assert served >= SERVED_BYTES_PER_S * (trio.current_time() - began_s) / 2
        # And others are answered as before
        with trio.fail_after(1):
            await homes["bob"].network.request(peer_of("anne"), BLOCKS, encode(BlockRange(first=1, count=1)))
        nursery.cancel_scope.cancel()


# -- bodies and certificates


async def test_a_body_is_had_from_whoever_has_it(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    async with street(chain, {"anne": 3, "mallory": 3, "bob": 9, "carla": 3}) as homes:
        wanted = chain.blocks[8]

        async def altered(_peer: str, _request: bytes) -> bytes:
            await trio.lowlevel.checkpoint()
            return encode(msgspec.structs.replace(wanted.block, transactions=(b"x",)))

        # Given those who should have it: one is silent, the other alters it
        homes["mallory"].network.serve(BODY, altered)
        homes["carla"].network.serve(BODY, never)
        found = await homes["anne"].sync.fetch_body(wanted.hash, [peer_of("mallory"), peer_of("carla")])
        assert found == wanted.block
        assert score(homes["anne"].network, "mallory") == 90
        # And what nobody has is not found; to lack a body is no offence and no reason to be passed over
        assert await homes["anne"].sync.fetch_body(bytes(32), []) is None
        assert peer_of("bob") in homes["anne"].sync._reachable()
        assert score(homes["anne"].network, "bob") == 100


async def test_certificates_are_had_from_two_at_once(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    async with street(chain, {"anne": 3, "bob": 3, "mallory": 3}) as homes:
        homes["mallory"].network.serve(CERTIFICATES, serve_garbage)
        found = await homes["anne"].sync.fetch_certificates(7)
        assert len(found) == min(HEIGHT, MAX_HELD_CERTIFICATES)
        assert score(homes["anne"].network, "mallory") == 90


async def test_the_chain_that_was_caught_up_is_the_same(chain: Chain) -> None:
    store = MemoryChain()
    assert copy_chain(chain, store).tip_hash == chain.blocks[-1].hash


async def test_what_a_pruned_peer_has_not_is_had_from_an_archive(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, {"anne": 0, "bob": HEIGHT, "carla": HEIGHT}) as homes:
        homes["bob"].store.prune(HEIGHT - 20)
        await until(lambda: homes["anne"].height == HEIGHT)
        assert score(homes["anne"].network, "bob") == score(homes["anne"].network, "carla") == 100


async def test_when_nothing_is_missing_the_checker_of_signatures_rests(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, {"anne": 0, "bob": HEIGHT}) as homes:
        await until(lambda: homes["anne"].height == HEIGHT)
        await trio.sleep(3 * REST_AFTER_S)
        assert homes["anne"].rested

"""A new node begins with a state; what liars serve is not taken, and the node votes afterwards like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import msgspec
import pytest
import trio

from ledger.encoding import decode, encode
from ledger.transactions import Token, Transfer
from node.fast_sync import FastSync, begin_fast
from node.log import get
from node.protocol import (
    COMMITTEE,
    PROTOCOL_VERSION,
    STATE,
    STATUS,
    CommitteePath,
    StatePart,
    StateRequest,
    Status,
)
from node.serving import Serving
from node.snapshots import IDLE_S, OPEN_AT_ONCE, Snapshots, _part, committee_path
from node.views.reader import Reader
from node.worker import InlineWorker
from p2p.network import MAX_RESPONSE_BYTES, RequestRefused
from p2p.simulated import SimulatedNetwork
from storage.errors import OutOfOrder, Pruned
from storage.interface import CommittedBlock
from storage.memory import MemoryChain
from tests.support.chain import Chain
from tests.support.disk import copy_chain, node_chain, stored
from tests.support.wires import peer_of, score, wires

pytestmark = pytest.mark.trio
HEIGHT = 60
ANCHOR = 20


@pytest.fixture(scope="module")
def chain() -> Chain:
    made = Chain()
    pay = Transfer(recipient=made.home("carla").id, token=Token.WATT, amount=5, memo="")
    for height in range(1, HEIGHT + 1):
        transactions = [made.sign("anne", pay)]
        if height == 30:
            transactions.append(made.change_node_key("george"))  # so that the committees differ in more than pools
        made.produce(transactions, view=1 if height % 11 == 0 else 0)
    return made


class Server:
    """Serves what a node with the whole chain serves."""

    def __init__(self, network: SimulatedNetwork, made: Chain) -> None:
        self.network = network
        self.node = copy_chain(made, MemoryChain())
        self.made = made
        serving = Serving(network, self, get("test"))
        self.snapshots = Snapshots(network, self.node.store, self, serving.in_turn, get("test"))
        network.serve(STATUS, self.status)

    async def status(self, _peer: str, _request: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return encode(Status(PROTOCOL_VERSION, self.made.chain_id, self.node.height, self.node.tip_hash, 0))

    def stored_block(self, height: int):  # type: ignore[no-untyped-def]
        return self.node.stored_block(height)

    def body(self, block_hash: bytes) -> bytes | None:
        return None

    def held_certificates(self, height: int):  # type: ignore[no-untyped-def]
        return ()

    def finality_ms(self, height: int) -> int | None:
        return None


@asynccontextmanager
async def street(chain: Chain, *names: str) -> AsyncIterator[tuple[SimulatedNetwork, dict[str, Server]]]:
    """``anne`` has nothing and asks; the others serve."""
    servers: dict[str, Server] = {}
    networks: dict[str, SimulatedNetwork] = {}

    def prepare(name: str, network: SimulatedNetwork) -> None:
        networks[name] = network
        if name != "anne":
            servers[name] = Server(network, chain)

    async with trio.open_nursery() as nursery, wires("anne", *names, prepare=prepare):
        for server in servers.values():
            nursery.start_soon(server.snapshots.run)
        yield networks["anne"], servers
        nursery.cancel_scope.cancel()


def fast(network: SimulatedNetwork, chain: Chain, trusted: int | None = ANCHOR) -> FastSync:
    named = None if trusted is None else (chain.blocks[trusted - 1].hash, trusted)
    return FastSync(network, chain.chain_id, named, Random(1), InlineWorker(), get("test"))


async def adopted(network: SimulatedNetwork, chain: Chain, trusted: int | None = ANCHOR) -> MemoryChain:
    store = MemoryChain()
    with trio.fail_after(120):
        assert await begin_fast(store, fast(network, chain, trusted)) == HEIGHT
    return store


@pytest.mark.parametrize("trusted", [1, ANCHOR, HEIGHT - 1, HEIGHT])
async def test_the_state_adopted_is_the_chain_s_and_the_node_goes_on_from_there(
    chain: Chain, autojump_clock: trio.testing.MockClock, trusted: int
) -> None:
    async with street(chain, "bob") as (network, servers):
        store = await adopted(network, chain, trusted)
        whole = servers["bob"].node.store
        assert store.tip() == whole.tip()
        assert list(store.scan(b"")) == list(whole.scan(b""))
        assert store.prune_floor() == HEIGHT
        with pytest.raises(Pruned):
            store.block(HEIGHT - 1)
    # And the next blocks are executed on it, over an epoch's end, by all that votes and draws depend on
    longer = Chain()
    pay = Transfer(recipient=longer.home("carla").id, token=Token.WATT, amount=5, memo="")
    for height in range(1, HEIGHT + 1):
        transactions = [longer.sign("anne", pay)]
        if height == 30:
            transactions.append(longer.change_node_key("george"))
        longer.produce(transactions, view=1 if height % 11 == 0 else 0)
    assert longer.blocks[-1].hash == chain.blocks[-1].hash
    node = node_chain(longer, store)
    assert node.height_context().parent_certificate == longer.certificates[-1]
    for _ in range(25):
        longer.produce()
        found = node.execute_stored(stored(longer, longer.height), longer.verifier)
        assert found is not None
        node.commit(*found)
    assert node.tip_hash == longer.blocks[-1].hash


async def test_without_a_named_header_two_peers_must_agree(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, "bob") as (network, _):
        with trio.move_on_after(30) as waiting:
            await fast(network, chain, None).fetch()
        assert waiting.cancelled_caught, "one peer's word is not enough"
    async with street(chain, "bob", "carla") as (network, _):
        store = await adopted(network, chain, None)
        assert store.tip() is not None


async def test_peers_that_disagree_are_believed_neither(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    other = Chain()
    for _ in range(HEIGHT):
        other.produce(view=1)
    async with street(chain, "bob", "mallory") as (network, servers):
        servers["mallory"].node = copy_chain(other, MemoryChain())
        with trio.move_on_after(30) as waiting:
            await fast(network, chain, None).fetch()
        assert waiting.cancelled_caught


Answer = Callable[[str, bytes], Awaitable[bytes]]


def altered(chain: Chain, change: Callable[[StatePart], StatePart]) -> Answer:
    honest = copy_chain(chain, MemoryChain())

    async def serve(_peer: str, request: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        wanted = decode(request, StateRequest, 1_000)
        return encode(change(_part(honest.store, HEIGHT, wanted.after)))

    return serve


def _without(part: StatePart) -> StatePart:
    return msgspec.structs.replace(part, records=part.records[:-1])


def _changed(part: StatePart) -> StatePart:
    (key, value), *rest = part.records
    return msgspec.structs.replace(part, records=((key, value + b"x"), *rest))


def _backwards(part: StatePart) -> StatePart:
    return msgspec.structs.replace(part, records=part.records[::-1])


def _endless(part: StatePart) -> StatePart:
    return msgspec.structs.replace(part, records=(), more=True)


def _no_head(part: StatePart) -> StatePart:
    return msgspec.structs.replace(part, head=None)


def _other_certificate(part: StatePart) -> StatePart:
    assert part.head is not None
    stored_ = msgspec.structs.replace(part.head.stored, certificate=encode(Chain().produce().block))
    return msgspec.structs.replace(part, head=msgspec.structs.replace(part.head, stored=stored_))


@pytest.mark.parametrize(
    "change", [_without, _changed, _backwards, _endless, _no_head, _other_certificate], ids=lambda one: one.__name__
)
async def test_who_serves_a_wrong_state_pays_and_another_is_asked(
    chain: Chain, autojump_clock: trio.testing.MockClock, change: Callable[[StatePart], StatePart]
) -> None:
    async with street(chain, "mallory") as (network, servers):
        servers["mallory"].network.serve(STATE, altered(chain, change))
        with trio.move_on_after(5) as waiting:
            await fast(network, chain).fetch()
        assert waiting.cancelled_caught
        assert score(network, "mallory") < 100
    async with street(chain, "mallory", "bob") as (network, servers):
        servers["mallory"].network.serve(STATE, altered(chain, change))
        assert (await adopted(network, chain)).tip() is not None
        assert score(network, "bob") == 100


async def test_who_leads_to_another_committee_pays(chain: Chain, autojump_clock: trio.testing.MockClock) -> None:
    async with street(chain, "mallory") as (network, servers):

        async def a_step_left_out(_peer: str, request: bytes) -> bytes:
            await trio.lowlevel.checkpoint()
            server = servers["mallory"]
            path = committee_path(Reader(server.node.store, server), decode(request, int, 100))
            # george's new key votes from 42 on
            return encode(CommitteePath(path.committee, tuple(step for step in path.steps if step.header.height != 41)))

        servers["mallory"].network.serve(COMMITTEE, a_step_left_out)
        with trio.move_on_after(5) as waiting:
            await fast(network, chain).fetch()
        assert waiting.cancelled_caught
        assert score(network, "mallory") < 100


async def test_a_block_that_is_not_the_one_named_is_not_begun_with(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, "bob") as (network, _):
        named = (bytes(32), ANCHOR)
        with trio.move_on_after(30) as waiting:
            await FastSync(network, chain.chain_id, named, Random(1), InlineWorker(), get("test")).fetch()
        assert waiting.cancelled_caught


async def test_states_are_kept_open_for_few_and_not_for_long(
    chain: Chain, autojump_clock: trio.testing.MockClock
) -> None:
    async with street(chain, "bob") as (network, servers):
        bob, server = peer_of("bob"), servers["bob"]

        async def ask(height: int, after: bytes = b"") -> StatePart:
            answer = await network.request(bob, STATE, encode(StateRequest(height, after)))
            return decode(answer, StatePart, MAX_RESPONSE_BYTES)

        first = await ask(0)
        assert first.height == HEIGHT
        assert (await ask(0)).height == HEIGHT
        assert len(server.snapshots._open) == 1 <= OPEN_AT_ONCE
        # The same height is served until nobody has asked for it for a while
        assert (await ask(HEIGHT, first.records[-1][0])).records == ()
        await trio.sleep(2 * IDLE_S)
        with pytest.raises(RequestRefused, match="not at hand"):
            await ask(HEIGHT, b"\x01")
        assert server.snapshots._open == {}
        # And a malformed request costs
        with pytest.raises(RequestRefused):
            await network.request(bob, STATE, b"\xff")
        assert score(server.network, "anne") == 90


async def test_a_store_with_a_chain_adopts_nothing(chain: Chain) -> None:
    node = copy_chain(chain, MemoryChain())
    with node.store.snapshot() as view:
        tip = view.tip()
    assert tip is not None
    await trio.lowlevel.checkpoint()
    block = CommittedBlock(5, bytes(32), bytes(32), bytes(32), b"", b"", b"", (), (), {}, {})
    with pytest.raises(OutOfOrder):
        node.store.adopt(block)

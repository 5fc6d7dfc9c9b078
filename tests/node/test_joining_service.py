"""Join requests among whole nodes in virtual time: passed on to every member's node, answered, bounded."""

from __future__ import annotations

import pytest
import trio

from ledger.encoding import decode, encode
from ledger.genesis import Genesis
from ledger.transactions import RegisterMember
from node.chain import MAX_GENESIS_BYTES
from node.client.events import JoinEnded, JoinRequested, NodeEvent
from node.joining import JoinAnswer, JoinRequest, decode_message
from node.joining_service import BURST, GENESIS_COST
from node.node import Node
from node.protocol import GENESIS, JOIN
from p2p.network import PeerId, RequestRefused
from p2p.simulated import SimulatedNetwork
from tests.node.joining_examples import DAY_MS, make_denial, make_invite, make_request
from tests.support.chain import key_for
from tests.support.nodes import Neighbourhood, neighbourhood

pytestmark = pytest.mark.trio
ADMITTED_AT_ONCE = BURST // GENESIS_COST


def chain_of(homes: Neighbourhood) -> bytes:
    return node_of(homes, "anne").status().chain_id


def node_of(homes: Neighbourhood, name: str) -> Node:
    node = homes.homes[name].node
    assert node is not None
    return node


def request_on(homes: Neighbourhood, who: str = "dora", *, made_after_ms: int = 0) -> JoinRequest:
    now_ms = homes.wall_ms()
    invite = make_invite(chain_of(homes), expires_ms=(now_ms // DAY_MS + 7) * DAY_MS)
    return make_request(invite, who, made_ms=now_ms + made_after_ms)


def held(homes: Neighbourhood, name: str) -> list[tuple[bytes, bool]]:
    return [(entry.request.id, entry.denial is not None) for entry in node_of(homes, name).join_requests()]


def score(node: Node, peer: PeerId) -> int:
    return {info.peer: info.score for info in node.peers()}[peer]


async def tell(network: SimulatedNetwork, peer: PeerId, message: bytes) -> tuple[bytes, ...]:
    return decode(await network.request(peer, JOIN, message), JoinAnswer, 10_000)


async def test_a_request_reaches_every_member_s_node_and_a_denial_the_newcomer(autojump_clock: trio.abc.Clock) -> None:
    async with neighbourhood(seed=1) as homes:
        await homes.until_height(1)
        newcomer = await homes.join("dora")
        request = request_on(homes)
        heard: list[NodeEvent] = []
        with node_of(homes, "george").events.subscribe() as subscription:
            # When the newcomer's node tells one of them
            answer = await tell(newcomer, node_of(homes, "carla").peer_id, request.message)
            # Then all hear of it
            assert answer == ()
            await homes.until(lambda: all(held(homes, name) == [(request.id, False)] for name in homes.homes))
            while not any(isinstance(event, JoinRequested) for event in heard):
                event = await subscription.next()
                assert event is not None
                heard.append(event)

            # When the approver denies it at bob's node
            told: list[bytes] = []

            async def listen(peer: PeerId, data: bytes) -> bytes:
                told.append(data)
                return encode(())

            newcomer.serve(JOIN, listen)
            denial = make_denial(request)
            node_of(homes, "bob").file_join(denial.message)
            # Then it has taken the request's place everywhere, and the newcomer is told
            await homes.until(lambda: all(held(homes, name) == [(request.id, True)] for name in homes.homes))
            await homes.until(lambda: denial.message in told)
            while not any(isinstance(event, JoinEnded) for event in heard):
                event = await subscription.next()
                assert event is not None
                heard.append(event)
            assert isinstance(heard[-1], JoinEnded)
            assert (heard[-1].outcome, heard[-1].reason) == ("denied", "who are you?")

        # and who asks again is answered with it
        again = request_on(homes, made_after_ms=100_000)
        (data,) = await tell(newcomer, node_of(homes, "carla").peer_id, again.message)
        assert decode_message(data) == denial


async def test_a_node_that_was_away_is_told_when_it_is_back(autojump_clock: trio.abc.Clock) -> None:
    async with neighbourhood(seed=2, start=("bob", "carla", "george")) as homes:
        await homes.until_height(1, ["bob", "carla", "george"])
        request = make_request(
            make_invite(node_of(homes, "bob").status().chain_id, expires_ms=homes.wall_ms() + DAY_MS),
            made_ms=homes.wall_ms(),
        )
        node_of(homes, "bob").file_join(request.message)
        # When
        await homes.start("anne")
        # Then
        await homes.until(lambda: held(homes, "anne") == [(request.id, False)])


async def test_what_an_approver_grants_goes(autojump_clock: trio.abc.Clock) -> None:
    async with neighbourhood(seed=3) as homes:
        await homes.until_height(1)
        request = request_on(homes)
        node_of(homes, "bob").file_join(request.message)
        await homes.until(lambda: held(homes, "anne") == [(request.id, False)])
        # When
        await homes.send("anne", RegisterMember(request.body.account, "dora", 0, "mill lane"))
        # Then
        await homes.until(lambda: not any(held(homes, name) for name in homes.homes))


async def test_a_genesis_for_who_knows_its_chain_and_not_without_end(autojump_clock: trio.abc.Clock) -> None:
    async with neighbourhood(seed=4, start=("anne", "bob", "carla", "george")) as homes:
        await homes.until_height(1)
        newcomer = await homes.join("dora")
        anne = node_of(homes, "anne")
        # When
        answer = await newcomer.request(anne.peer_id, GENESIS, chain_of(homes))
        # Then
        assert decode(answer, Genesis, MAX_GENESIS_BYTES) == homes.genesis
        with pytest.raises(RequestRefused, match="another chain"):
            await newcomer.request(anne.peer_id, GENESIS, bytes(32))
        for _ in range(ADMITTED_AT_ONCE - 2):
            await newcomer.request(anne.peer_id, GENESIS, chain_of(homes))
        with pytest.raises(RequestRefused, match="too many"):
            await newcomer.request(anne.peer_id, GENESIS, chain_of(homes))


async def test_rubbish_and_forgeries_cost_who_sends_them(autojump_clock: trio.abc.Clock) -> None:
    async with neighbourhood(seed=5) as homes:
        await homes.until_height(1)
        anne = node_of(homes, "anne")
        newcomer = await homes.join("dora")
        before = score(anne, newcomer.peer_id)
        # When
        with pytest.raises(RequestRefused, match="not a join message"):
            await tell(newcomer, anne.peer_id, b"\xff")
        # Then
        assert score(anne, newcomer.peer_id) < before
        # but what only the chain refuses costs nothing
        before = score(anne, newcomer.peer_id)
        stranger = make_invite(chain_of(homes), by=key_for("account", "eve"), expires_ms=homes.wall_ms() + DAY_MS)
        with pytest.raises(RequestRefused, match="nobody who is a member"):
            await tell(newcomer, anne.peer_id, make_request(stranger, made_ms=homes.wall_ms()).message)
        assert score(anne, newcomer.peer_id) >= before
        assert not any(held(homes, name) for name in homes.homes)


async def test_a_flood_of_messages_is_refused_before_it_is_read(autojump_clock: trio.abc.Clock) -> None:
    async with neighbourhood(seed=6) as homes:
        await homes.until_height(1)
        anne, newcomer = node_of(homes, "anne"), await homes.join("dora")
        request = request_on(homes)
        for _ in range(BURST):
            await tell(newcomer, anne.peer_id, request.message)
        with pytest.raises(RequestRefused, match="too many join messages"):
            await tell(newcomer, anne.peer_id, request.message)
        assert held(homes, "anne") == [(request.id, False)]

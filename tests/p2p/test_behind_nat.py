"""Homes behind home routers, in network namespaces with real NAT, each node a process of its own.

Skipped, saying why, where the machine has no namespaces, no nftables, or no root. ``make test-nat`` runs these alone
and fails instead of skipping.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.p2p import namespaces
from tests.p2p.hostile import peer_id

ROOT = Path(__file__).parents[2]
PUBLIC_HOST, ROUTER_A, ROUTER_B = 10, 21, 22
LISTEN = "/ip4/0.0.0.0/tcp/4001"
PUBLIC = f"/ip4/45.0.0.{PUBLIC_HOST}/tcp/4001/p2p/{peer_id('public')}"

pytestmark = pytest.mark.xdist_group("namespaces")


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    namespaces.demand()


@pytest.fixture
def street() -> Iterator[namespaces.Street]:
    with namespaces.street() as made:
        yield made


class Node:
    """A node in a namespace, and what it last said of itself: once a second, so what it counts is waited for."""

    def __init__(self, name: str, process: trio.Process) -> None:
        self.name = name
        self.process = process
        self.report: dict[str, Any] = {}
        self.lines = 0

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    self.report = json.loads(line)
                    self.lines += 1

    def address_of(self, name: str) -> str:
        """Under which address this node is connected with another; empty if it is not."""
        return str(self.report.get("peers", {}).get(peer_id(name), ""))

    def hears(self, *names: str) -> bool:
        return set(names) <= set(self.report.get("heard", ()))

    def asks(self, *names: str) -> bool:
        return {peer_id(name) for name in names} <= set(self.report.get("echoed", ()))

    def counted(self, name: str) -> int:
        return int(self.report.get("metrics", {}).get(name, 0))

    async def until(self, condition: Callable[[], bool], within_s: float) -> None:
        with trio.move_on_after(within_s):
            while not condition():  # noqa: ASYNC110 - the other process has no event for us
                await trio.sleep(0.1)
            return
        pytest.fail(f"{self.name} did not get there within {within_s} s: {json.dumps(self.report)[:2000]}")


@asynccontextmanager
async def running(
    street: namespaces.Street, place: str, name: str, *arguments: str, **environment: str
) -> AsyncIterator[Node]:
    """A node that runs in ``place`` while the block does."""
    command = [*street.enter(place), sys.executable, "-m", "tests.p2p.nat_node", name, LISTEN, *arguments]
    process = await trio.lowlevel.open_process(
        command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, **environment}
    )
    node = Node(name, process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.listen)
        try:
            await node.until(lambda: node.lines > 0, within_s=30)
            yield node
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


@pytest.mark.trio
@pytest.mark.slow
async def test_two_homes_behind_routers_meet_by_a_public_node_and_then_need_it_no_more(
    street: namespaces.Street,
) -> None:
    # Given a public node, and two homes behind routers of their own that know its address and nothing else
    street.public("public", PUBLIC_HOST)
    street.home_behind_router("a", ROUTER_A)
    street.home_behind_router("b", ROUTER_B)
    async with (
        running(street, "public", "public", "serve") as public,
        running(street, "home-a", "a", "auto", PUBLIC) as a,
        running(street, "home-b", "b", "auto", PUBLIC) as b,
    ):
        # Then each finds out that nobody can dial it, and is reached through the public node
        await a.until(lambda: a.counted("reachable") == 0 and public.counted("relay_reservations") == 2, within_s=20)
        await a.until(lambda: bool(a.address_of("b") and b.address_of("a")), within_s=30)
        await public.until(lambda: public.counted("circuits_relayed") >= 1, within_s=30)
        # And they punch a hole: the connection is direct, between the routers
        await a.until(lambda: a.address_of("b") == f"/ip4/45.0.0.{ROUTER_B}/tcp/4001", within_s=30)
        await b.until(lambda: b.address_of("a") == f"/ip4/45.0.0.{ROUTER_A}/tcp/4001", within_s=30)
        await a.until(lambda: a.counted("hole_punches_made") + b.counted("hole_punches_made") == 1, within_s=30)
        # And gossip and requests flow between all of them
        for node, others in ((public, "ab"), (a, "b"), (b, "a")):
            await node.until(lambda node=node, others=others: node.hears(*others) and node.asks(*others), within_s=30)
        # When the public node is cut off, the homes go on without it
        street.unplug(PUBLIC_HOST)
        await a.until(lambda: not a.address_of("public"), within_s=20)
        await a.until(lambda: a.hears("b") and a.asks("b") and b.hears("a") and b.asks("a"), within_s=10)
        # And they find it again when it is back
        street.unplug(PUBLIC_HOST, plugged=True)
        await a.until(lambda: a.asks("public", "b") and b.asks("public", "a"), within_s=30)


@pytest.mark.trio
@pytest.mark.slow
async def test_where_no_hole_can_be_punched_the_relay_carries_on_and_its_return_is_noticed(
    street: namespaces.Street,
) -> None:
    # Given two homes behind routers that give every connection a port of its own
    street.public("public", PUBLIC_HOST)
    street.home_behind_router("a", ROUTER_A, symmetric=True)
    street.home_behind_router("b", ROUTER_B, symmetric=True)
    async with (
        running(street, "home-a", "a", "auto", PUBLIC) as a,
        running(street, "home-b", "b", "auto", PUBLIC) as b,
    ):
        async with running(street, "public", "public", "serve"):
            # Then they try to punch a hole and fail, and talk through the public node
            await a.until(lambda: a.hears("b") and a.asks("b") and b.hears("a") and b.asks("a"), within_s=60)
            await a.until(lambda: a.counted("hole_punches_tried") + b.counted("hole_punches_tried") >= 3, within_s=60)
            assert a.counted("hole_punches_made") + b.counted("hole_punches_made") == 0
            await a.until(lambda: "/p2p-circuit" in a.address_of("b"), within_s=30)
            await b.until(lambda: "/p2p-circuit" in b.address_of("a"), within_s=30)
        # When the public node is killed, they lose each other
        await a.until(lambda: not a.address_of("b") and not b.address_of("a"), within_s=30)
        # And when it is back, they are back as well
        async with running(street, "public", "public", "serve") as public:
            await a.until(lambda: a.asks("public", "b") and b.asks("public", "a"), within_s=60)
            await public.until(lambda: public.counted("circuits_relayed") >= 1, within_s=30)
            # And nobody took anybody for an enemy
            offences = [name for node in (public, a, b) for name in node.report["metrics"] if "offence" in name]
            assert offences == []


@pytest.mark.trio
@pytest.mark.slow
async def test_homes_on_one_local_network_find_each_other_without_any_address(street: namespaces.Street) -> None:
    # Given two homes on one cable, without the internet and without an address to begin with
    street.add("left")
    street.add("right")
    street.link("left", "eth0", "right", "eth0")
    street.run("left", "ip", "addr", "add", "192.168.7.1/24", "dev", "eth0")
    street.run("right", "ip", "addr", "add", "192.168.7.2/24", "dev", "eth0")
    street.run("left", "ip", "route", "add", "224.0.0.0/4", "dev", "eth0")
    street.run("right", "ip", "route", "add", "224.0.0.0/4", "dev", "eth0")
    async with (
        running(street, "left", "a", "auto", LOCAL_DISCOVERY="on") as a,
        running(street, "right", "b", "auto", LOCAL_DISCOVERY="on") as b,
    ):
        await a.until(lambda: a.hears("b") and a.asks("b") and b.hears("a") and b.asks("a"), within_s=30)
        assert a.address_of("b").startswith("/ip4/192.168.7.2/")

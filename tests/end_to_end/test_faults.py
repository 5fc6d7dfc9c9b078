"""Faults among real nodes in processes of their own, under load: a member that contradicts itself, a street that is
switched off and on again at once, and one that is cut in two.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest
import trio

from consensus.messages import Vote, Votes, encode_message
from ledger.keys import digest
from ledger.statements import Statement, StatementKind
from ledger.transactions import Token, Transfer, sign_transaction
from node.client.client import NodeClient
from node.founding import read_genesis
from node.protocol import topic
from node.verification import verify_directory
from p2p.libp2p import LibP2PNetwork
from p2p.network import Verdict
from tests.adversary.street import Street, street
from tests.cli.running import answer, run
from tests.support.chain import FEE_UWATT, make_home
from tests.support.processes import NodeProcess, start_node

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("devnet"), pytest.mark.timeout(400)]

WITHIN_S = 120.0
STORMS = 2  # ``make kills`` has some twenty of them
CUT_S = 12
PAUSE_S = 0.1
PAY_EVERY_S = 0.3
HONEST = ("anne", "bob", "carla")


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(PAUSE_S)


class Payments:
    """Anne's payments, one after the other, to whichever node takes them; ``acknowledged`` are their ids."""

    def __init__(self, homes: Street) -> None:
        self.acknowledged: list[str] = []
        self._homes = homes
        self._stop = Event()

    def _pay(self) -> None:
        with httpx.Client(timeout=5) as client:
            for nonce in count():
                transaction = sign_transaction(
                    make_home("anne").account,
                    self._homes.chain_id,
                    Transfer(recipient=make_home("bob").id, token=Token.WATT, amount=1, memo=""),
                    nonce=nonce,
                    fee_uwatt=FEE_UWATT,
                    valid_until_height=5_000,
                )
                while not self._is_taken(client, transaction.raw):
                    if self._stop.wait(PAUSE_S):
                        return
                self.acknowledged.append(transaction.id.hex())
                if self._stop.wait(PAY_EVERY_S):
                    return

    def _is_taken(self, client: httpx.Client, raw: bytes) -> bool:
        for node in list(self._homes.nodes.values()):
            try:
                headers = {"content-type": "application/cbor"}
                found = client.post(node.url + "/v1/transactions", content=raw, headers=headers)
            except (httpx.TransportError, FileNotFoundError):
                continue  # it is down: another one is asked
            if found.status_code == httpx.codes.ACCEPTED or found.json().get("refusal") == "duplicate":
                return True
        return False

    @contextmanager
    def going_on(self) -> Iterator[None]:
        thread = Thread(target=self._pay, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def are_final(self) -> bool:
        """At every node."""
        with httpx.Client(timeout=10) as client:
            return all(
                client.get(f"{node.url}/v1/transactions/{one}").json().get("height") is not None
                for node in self._homes.nodes.values()
                for one in self.acknowledged
            )


def assert_one_chain(homes: Street) -> None:
    common = min(homes.heights().values())
    for height in (1, common // 2, common):
        assert len({node.get(f"/v1/blocks/{height}")["summary"]["hash"] for node in homes.nodes.values()}) == 1


# -- a member that signs two votes


async def contradict(homes: Street, name: str, convicted: Callable[[], bool]) -> None:
    """Joins under the node key of ``name`` and votes for two blocks in one view, until the others have seen to it."""
    key = make_home(name).node
    network = LibP2PNetwork(key.seed, ["/ip4/127.0.0.1/tcp/0"], [homes.victim(other).address for other in HONEST])
    consensus = topic(homes.chain_id, "consensus")

    async def listen() -> None:
        async for _ in network.subscribe(consensus, lambda _peer, _data: Verdict.IGNORE):
            pass

    def vote(height: int, block: bytes) -> Vote:
        statement = Statement(StatementKind.NOTARIZE, height, 0, digest(block))
        return Vote(statement, key.public_key, key.sign(statement.domain(), homes.chain_id, statement.message()))

    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)  # type: ignore[arg-type]  # trio-typing's stubs
        nursery.start_soon(listen)
        with trio.fail_after(WITHIN_S):
            for salt in count(time.time_ns() // 1_000_000):
                height = homes.nodes["anne"].status()["height"] + 1
                for block in (b"one", b"two"):
                    await network.publish(consensus, encode_message(Votes((vote(height, block),)), salt))
                await trio.sleep(PAUSE_S)
                if await trio.to_thread.run_sync(convicted):
                    break
        nursery.cancel_scope.cancel()


def test_a_member_that_contradicts_itself_is_convicted_and_everybody_sees_it(tmp_path: Path) -> None:
    with street(tmp_path) as homes:
        anne = homes.nodes["anne"]
        pool_mvote = anne.get("/v1/candidates/george")["candidate"]["pool_mvote"]
        # Given george's key in the hands of a program that signs two votes
        homes.nodes.pop("george").process.kill()
        trio.run(contradict, homes, "george", lambda: bool(anne.get("/v1/evidence")["convictions"]))
        # Then he is convicted in a block that all have, reported by somebody, his pool burned
        homes.all_reach(anne.status()["height"] + 1)
        for node in homes.nodes.values():
            (found,) = node.get("/v1/evidence")["convictions"]
            assert found["account"]["name"] == "george"
            assert found["reporter"]["name"] in HONEST
            assert (found["first"]["kind"], found["second"]["kind"]) == ("notarize", "notarize")
            assert 0 < found["burned_mvote"] <= 2 * pool_mvote
            george = node.get("/v1/candidates/george")["candidate"]
            assert (george["status"], george["pool_mvote"]) == ("expelled", 0)
        # And the command line says so
        shown = run("chain", "evidence", "--api", anne.url).stdout.splitlines()[1]
        assert shown.split()[1] == "george"
        assert "notarize twice at block" in shown
        standing = run("vote", "candidates", "--api", anne.url).stdout
        assert next(line.split()[1] for line in standing.splitlines() if line.startswith("george")) == "expelled"
        assert {one["account"]["name"] for one in answer("node", "peers", "--api", anne.url)["peers"]} >= {
            "bob",
            "carla",
        }
        # And the others go on without him, and his own node, honest again, is told
        homes.start("george")
        homes.nodes["george"].until(
            lambda: any("this home is expelled" in one for one in homes.nodes["george"].status()["warnings"])
        )


# -- all at once


def test_a_street_that_is_switched_off_and_on_again_and_again_loses_nothing(tmp_path: Path) -> None:
    with street(tmp_path) as homes:
        payments = Payments(homes)
        started: list[NodeProcess] = []
        try:
            with payments.going_on():
                for storm in range(STORMS):
                    height = max(homes.heights().values())
                    until(lambda: len(payments.acknowledged) > 3 * (storm + 1), "no payment is taken")  # noqa: B023
                    # When all nodes are killed at once, and started at once
                    for node in homes.nodes.values():
                        node.process.kill()
                    for node in homes.nodes.values():
                        assert node.process.wait(10) == -signal.SIGKILL
                    homes.nodes = {
                        name: NodeProcess(node.directory, start_node(node.directory, "--log-level", "error"))
                        for name, node in homes.nodes.items()
                    }
                    started += homes.nodes.values()
                    # Then they go on by themselves
                    for node in homes.nodes.values():
                        node.until(lambda node=node: node.status()["height"] >= height + 2, WITHIN_S)  # type: ignore[misc]  # noqa: B023
            # And all that was acknowledged is final everywhere, on one chain
            assert len(payments.acknowledged) > 3 * STORMS
            until(payments.are_final, "a payment that was acknowledged is not final")
            assert_one_chain(homes)
            assert all(
                candidate["status"] != "expelled"
                for candidate in homes.nodes["anne"].get("/v1/candidates")["candidates"]
            )
        finally:
            for node in started:
                node.process.kill()
                node.process.communicate()
        directory = tmp_path / "bob"
        assert verify_directory(directory, read_genesis(directory)[1], lambda done, count: None).height > 0


# -- cut in two


async def cut(homes: Street, sides: Sequence[Sequence[str]], seconds: int) -> None:
    """No node of one side speaks with one of the other for so long: each refuses the others."""
    for side in sides:
        for name in side:
            async with NodeClient.of_directory(homes.nodes[name].directory) as client:
                for other in (one for far in sides if far is not side for one in far):
                    await client.ban_peer(homes.victim(other).peer_id, seconds, "the street is cut in two")


def test_a_street_that_is_cut_in_two_under_load_goes_on_once_it_is_whole(tmp_path: Path) -> None:
    with street(tmp_path) as homes:
        payments = Payments(homes)
        with payments.going_on():
            until(lambda: len(payments.acknowledged) > 3, "no payment is taken")
            for sides in ((HONEST, ("george",)), (("anne", "bob"), ("carla", "george"))):
                # When the street is cut: one home from the others, then in two halves
                trio.run(cut, homes, sides, CUT_S)
                healed_at = time.monotonic() + CUT_S
                before = max(homes.heights().values())
                until(lambda: time.monotonic() > healed_at - CUT_S / 3, "time stands still")  # noqa: B023
                during = homes.heights()
                # Then the side with a quorum goes on, and a side without one finalises nothing
                for side in sides:
                    reached = max(during[name] for name in side)
                    assert reached > before + 1 if len(side) == len(HONEST) else reached <= before + 1
                # When it is whole again, then all go on by themselves
                homes.all_reach(max(during.values()) + 3, WITHIN_S)
                assert time.monotonic() > healed_at
        # And nothing that was acknowledged on either side is lost
        until(payments.are_final, "a payment that was acknowledged is not final")
        assert_one_chain(homes)

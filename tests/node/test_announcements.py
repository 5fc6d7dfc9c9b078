"""Final blocks as they are told to the world."""

from __future__ import annotations

import msgspec
import pytest
import trio

from ledger.encoding import encode
from node.announcements import Announcements
from node.protocol import Announcement, topic
from p2p.network import Verdict
from p2p.simulated import SimulatedNetwork
from tests.support.chain import Chain
from tests.support.wires import peer_of, wires

pytestmark = pytest.mark.trio


class Listener:
    """A node at height 2 (the open one) that listens."""

    def __init__(self, network: SimulatedNetwork) -> None:
        self.chain = Chain()
        self.chain.produce()
        self.chain.produce()
        self.heard: list[int] = []
        committees = {2: self.chain.open.parent_committee, 3: self.chain.open.committee}
        self.announcements = Announcements(
            network, topic(self.chain.chain_id, "blocks"), committees.get, self.chain.verifier, self.heard.append
        )

    def announcement(self, height: int = 2) -> Announcement:
        return Announcement(self.chain.blocks[height - 1].block.header, self.chain.certificates[height - 1])

    def verdict(self, data: bytes) -> Verdict:
        return self.announcements.validate(peer_of("mallory"), data)


async def test_a_final_block_reaches_those_without_a_seat(autojump_clock: trio.testing.MockClock) -> None:
    listeners: dict[str, Listener] = {}

    def prepare(name: str, network: SimulatedNetwork) -> None:
        listeners[name] = Listener(network)

    async with wires("anne", "bob", "stranger", prepare=prepare) as peers, trio.open_nursery() as nursery:
        for listener in listeners.values():
            nursery.start_soon(listener.announcements.run)
        # When anne has agreed on a block
        told = listeners["anne"].announcement()
        listeners["anne"].announcements.announce(told.header, told.certificate)
        # Then who has no seat hears of it, and bob, who has agreed on it too, is not told what he knows
        with trio.fail_after(5):
            while listeners["stranger"].heard != [2]:  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.1)
        assert listeners["bob"].heard == []
        assert peers["bob"].metrics().get("received " + topic(listeners["bob"].chain.chain_id, "blocks"), 0) == 0
        nursery.cancel_scope.cancel()


async def test_only_what_is_final_by_a_committee_it_knows_is_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    async with wires("anne") as peers:
        here = Listener(peers["anne"])
        good = here.announcement()
        assert here.verdict(encode(good)) is Verdict.ACCEPT
        header, certificate = good.header, good.certificate
        for wrong in (
            Announcement(msgspec.structs.replace(header, time_ms=1), certificate),
            Announcement(header, msgspec.structs.replace(certificate, signatures=bytes(4 * 64))),
            Announcement(header, here.chain.certificates[0]),
            Announcement(header, here.chain.certify(here.chain.blocks[0].block)),
        ):
            assert here.verdict(encode(wrong)) is Verdict.REJECT
        for garbage in (b"", b"\xff", encode(good) + b"\x00", encode((header,)), bytes(400_000)):
            assert here.verdict(garbage) is Verdict.REJECT


async def test_what_it_cannot_judge_tells_it_that_it_may_be_behind(autojump_clock: trio.testing.MockClock) -> None:
    async with wires("anne") as peers:
        here = Listener(peers["anne"])
        far = msgspec.structs.replace(here.announcement().header, height=90)
        assert here.verdict(encode(Announcement(far, here.announcement().certificate))) is Verdict.IGNORE
        assert here.heard == [90]

"""What a peer with a proper connection may send to the gossip stream, and what it costs the peer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import nacl.signing
import pytest
from libp2p.pubsub.pb import rpc_pb2

from p2p.libp2p import LibP2PNetwork
from p2p.libp2p.gossip import PROTOCOL
from p2p.libp2p.gossip_wire import MAX_RPC_BYTES, Controls, Signer, control_frame, publish_frame
from p2p.libp2p.streams import encode_varint, frame
from p2p.limits import Limits
from p2p.network import MAX_MESSAGE_BYTES, Verdict
from tests.p2p.conftest import StartNode, eventually
from tests.p2p.hostile import data_frames, hostile, peer_id, seed

TOPIC = "/ecloud/test/consensus/1"


def accept(_: str, __: bytes) -> Verdict:
    return Verdict.ACCEPT


def joined(network: LibP2PNetwork) -> None:
    network.subscribe(TOPIC, accept)


def score(network: LibP2PNetwork, name: str) -> int:
    return {info.peer: info.score for info in network.peers()}.get(peer_id(name), 0)


async def still_works(network: LibP2PNetwork, start_node: StartNode) -> None:
    """An honest peer connects, and a message of its reaches the node."""
    before = network.metrics().get(f"accept {TOPIC}", 0)
    honest = await start_node("honest", [network], prepare=joined)
    await eventually(lambda: any(TOPIC in info.topics for info in honest.peers()))
    await honest.publish(TOPIC, b"the node still hears " + str(before).encode())
    await eventually(lambda: network.metrics().get(f"accept {TOPIC}", 0) > before)


def envelope(author: str, content: bytes, /, **changes: object) -> bytes:
    """A properly signed message of ``author``, with fields changed after signing."""
    message = rpc_pb2.Message.FromString(Signer(seed(author)).envelope(TOPIC, content))
    for field, value in changes.items():
        setattr(message, field, value)
    return message.SerializeToString()


def rpcs(octets: bytearray) -> Iterator[rpc_pb2.RPC]:
    """The whole RPCs among what a node sent."""
    position = 0
    while position < len(octets):
        length, shift = 0, 0
        while True:
            length |= (octets[position] & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if octets[position - 1] < 0x80:
                break
        if position + length > len(octets):
            return
        yield rpc_pb2.RPC.FromString(bytes(octets[position : position + length]))
        position += length


MALFORMED = {
    "not a protobuf": frame(b"\xff\xff\xff\xff"),
    "a length inside that runs past the end": frame(b"\x12\xff\x01abc"),
    "a topic that is not UTF-8": frame(b"\x0a\x04\x12\x02\xff\xfe"),
    "a message without a topic": publish_frame(rpc_pb2.Message(data=b"x").SerializeToString()),
    "a message with two topics": publish_frame(rpc_pb2.Message(data=b"x", topicIDs=[TOPIC, "t"]).SerializeToString()),
    "more subscriptions than any node has": control_frame(Controls(subscribe=[str(each) for each in range(65)])),
    "more grafts than topics": control_frame(Controls(graft=["t"] * 65)),
    "more wanted ids than are kept": control_frame(Controls(iwant=[bytes(32)] * 5_001)),
    "more messages than fit a heartbeat": frame(b"\x12\x00" * 1_001),
}


@pytest.mark.trio
@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_rpc_costs_the_stream_and_score(start_node: StartNode, octets: bytes) -> None:
    # Given a node and a peer with a gossip stream
    network = await start_node("node", prepare=joined)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        # When the peer sends what is no RPC
        await mallory.write(stream, octets)
        # Then it pays, its stream is reset, and everyone else is served as before
        await eventually(lambda: network.metrics().get("offence_protocol_violation") == 1)
        assert score(network, "mallory") == 75
        await mallory.until(lambda: mallory.flags.get(stream, 0) & 8)
        await still_works(network, start_node)


@pytest.mark.trio
async def test_an_rpc_over_the_limit_is_refused_before_it_is_read(start_node: StartNode) -> None:
    network = await start_node("node", prepare=joined)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        # When only the length of a too large RPC arrives
        await mallory.write(stream, encode_varint(MAX_RPC_BYTES + 1))
        # Then the stream ends without waiting for the rest
        await eventually(lambda: network.metrics().get("offence_oversize") == 1)
        await mallory.until(lambda: mallory.flags.get(stream, 0) & 8)


@pytest.mark.trio
async def test_an_endless_length_is_refused(start_node: StartNode) -> None:
    network = await start_node("node", prepare=joined)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        await mallory.write(stream, b"\xff" * 10)
        await eventually(lambda: network.metrics().get("offence_oversize") == 1)


UNAUTHENTIC = {
    "junk author": {"from_id": b"junk"},
    "no author": {"from_id": b""},
    "author that is a hash and hides its key": {"from_id": bytes.fromhex("1220") + bytes(32)},
    "another author": {"from_id": bytes.fromhex("002408011220") + bytes(nacl.signing.SigningKey(bytes(32)).verify_key)},
    "author that is no point": {"from_id": bytes.fromhex("002408011220") + b"\xff" * 32},
    "junk key": {"key": b"\xff\xff\xff"},
    "another's key": {"key": bytes.fromhex("08011220") + bytes(32)},
    "no signature": {"signature": b""},
    "short signature": {"signature": b"1234"},
    "wrong signature": {"signature": bytes(64)},
    "other data than was signed": {"data": b"changed"},
    "another sequence number": {"seqno": bytes(8)},
    "a sequence number that is none": {"seqno": b"1"},
}


@pytest.mark.trio
@pytest.mark.parametrize("changes", UNAUTHENTIC.values(), ids=UNAUTHENTIC)
async def test_an_envelope_that_is_not_authentic_is_never_accepted(
    start_node: StartNode, changes: dict[str, object]
) -> None:
    # Given a node that hears someone else's message in an envelope that was tampered with
    network = await start_node("node", prepare=joined)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        await mallory.write(stream, publish_frame(envelope("author", b"vote", **changes)))
        # Then whoever handed it over pays
        await eventually(lambda: network.metrics().get("offence_invalid_message") == 1)
        assert score(network, "mallory") == 90
        assert f"accept {TOPIC}" not in network.metrics()
        # And the authentic message with the same data is accepted afterwards: forgery does not censor
        await mallory.write(stream, publish_frame(envelope("author", b"vote")))
        await mallory.write(stream, publish_frame(envelope("author", b"changed")))
        await eventually(lambda: network.metrics().get(f"accept {TOPIC}") == 2)


@pytest.mark.trio
async def test_a_message_of_another_is_accepted_with_and_without_its_key(start_node: StartNode) -> None:
    network = await start_node("node", prepare=joined)
    key = bytes.fromhex("08011220") + bytes(nacl.signing.SigningKey(seed("author")).verify_key)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        await mallory.write(stream, publish_frame(envelope("author", b"one")))
        await mallory.write(stream, publish_frame(envelope("author", b"two", key=key)))
        await eventually(lambda: network.metrics().get(f"accept {TOPIC}") == 2)
        assert score(network, "mallory") == 100


@pytest.mark.trio
async def test_rejected_messages_ban_and_are_not_forwarded(start_node: StartNode) -> None:
    # Given a node whose validator rejects, with an honest neighbour behind it
    def reject(network: LibP2PNetwork) -> None:
        network.subscribe(TOPIC, lambda _, data: Verdict.REJECT if data.startswith(b"bad") else Verdict.ACCEPT)

    network = await start_node("node", prepare=reject)
    behind = await start_node("behind", [network], prepare=joined)
    await eventually(lambda: any(TOPIC in info.mesh for info in network.peers()))
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        # When a peer hands over ten of them
        for number in range(10):
            await mallory.pester(data_frames(stream, publish_frame(envelope("author", b"bad %d" % number))))
        # Then it is banned and disconnected
        await mallory.hung_up()
        assert network.metrics()["bans"] == 1
    # And refused when it comes back
    async with hostile(network) as mallory:
        await mallory.hung_up()
    # And nothing of it went further
    await network.publish(TOPIC, b"good")
    await eventually(lambda: behind.metrics().get(f"accept {TOPIC}") == 1)
    assert behind.metrics()[f"received {TOPIC}"] == 1
    await still_works(network, start_node)


@pytest.mark.trio
async def test_a_message_rejected_before_costs_whoever_repeats_it(start_node: StartNode) -> None:
    network = await start_node("node", prepare=lambda each: each.subscribe(TOPIC, lambda *_: Verdict.REJECT) and None)
    async with hostile(network, "first") as first, hostile(network, "second") as second:
        bad = publish_frame(envelope("author", b"bad"))
        await first.write(await first.open(PROTOCOL), bad)
        await eventually(lambda: score(network, "first") == 90)
        await second.write(await second.open(PROTOCOL), bad)
        await eventually(lambda: score(network, "second") == 90)


@pytest.mark.trio
async def test_an_exception_in_a_validator_costs_nobody(start_node: StartNode) -> None:
    # Given a validator with a defect
    def broken(_: str, data: bytes) -> Verdict:
        if data == b"trigger":
            raise KeyError("a defect of ours")
        return Verdict.ACCEPT

    network = await start_node("node", prepare=lambda each: each.subscribe(TOPIC, broken) and None)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        # When a message triggers it
        await mallory.write(stream, publish_frame(envelope("author", b"trigger")))
        await eventually(lambda: network.metrics().get("validator_failed") == 1)
        # Then the stream goes on and nobody pays for our defect
        await mallory.write(stream, publish_frame(envelope("author", b"fine")))
        await eventually(lambda: network.metrics().get(f"accept {TOPIC}") == 1)
        assert score(network, "mallory") == 100


@pytest.mark.trio
async def test_oversize_messages_are_dropped_and_paid_for(start_node: StartNode) -> None:
    network = await start_node("node", prepare=joined)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        await mallory.write(stream, publish_frame(envelope("author", bytes(MAX_MESSAGE_BYTES + 1))))
        await eventually(lambda: network.metrics().get("offence_oversize") == 1)
        assert f"accept {TOPIC}" not in network.metrics()


@pytest.mark.trio
async def test_a_flood_is_paid_for_and_ends_in_a_ban(start_node: StartNode) -> None:
    # Given small budgets
    limits = Limits(messages_per_second=1, messages_burst=50)
    network = await start_node("node", limits=limits, prepare=joined)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        # When a peer sends a hundred valid messages at once
        for number in range(100):
            await mallory.pester(data_frames(stream, publish_frame(envelope("mallory", b"%d" % number))))
        # Then it is banned, and no more than its budget was looked at
        await mallory.hung_up()
        assert network.metrics()["bans"] == 1
        assert network.metrics()[f"accept {TOPIC}"] <= 50
    await still_works(network, start_node)


@pytest.mark.trio
async def test_control_messages_of_a_stranger_to_the_topic_are_harmless(start_node: StartNode) -> None:
    network = await start_node("node", prepare=joined)
    async with hostile(network) as mallory:
        stream = await mallory.open(PROTOCOL)
        unknown = hashlib.sha256(b"unknown").digest()
        controls = Controls(
            subscribe=["x" * 5_000, "", "other"],
            graft=["never heard of it", TOPIC, TOPIC],
            prune=[("never heard of it", 2**60), (TOPIC, 2**63)],
            ihave=[(TOPIC, [b"", b"short", unknown]), ("never heard of it", [unknown])],
            iwant=[b"", unknown],
        )
        await mallory.write(stream, control_frame(controls))
        # Then nothing of it harms
        await still_works(network, start_node)
        assert score(network, "mallory") == 100


@pytest.mark.trio
async def test_what_was_announced_is_asked_for_once_and_what_is_wanted_is_sent_three_times(
    start_node: StartNode,
) -> None:
    network = await start_node("node", prepare=joined)
    await network.publish(TOPIC, b"ours")
    ours, theirs = hashlib.sha256(b"ours").digest(), hashlib.sha256(b"theirs").digest()
    async with hostile(network) as mallory:
        theirs_to_us = await mallory.accept(PROTOCOL)
        stream = await mallory.open(PROTOCOL)
        # When the peer announces a message and asks five times for another
        await mallory.write(stream, control_frame(Controls(subscribe=[TOPIC], ihave=[(TOPIC, [ours, theirs])])))
        for _ in range(5):
            await mallory.write(stream, control_frame(Controls(iwant=[ours])))
        # Then it is asked for the one we lack, and sent the other at most three times
        answers = mallory.received[theirs_to_us]
        await mallory.until(lambda: theirs in answers and answers.count(b"\x12\x04ours") == 3)
        received = list(rpcs(answers))
        assert [list(wanted.messageIDs) for rpc in received for wanted in rpc.control.iwant] == [[theirs]]
        # And a new subscriber is told what it may have missed
        announced = [list(entry.messageIDs) for rpc in received for entry in rpc.control.ihave]
        assert announced[0] == [ours]

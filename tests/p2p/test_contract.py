"""The contract of ``p2p.network``, kept by the real and by the simulated network alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from p2p.libp2p import LibP2PNetwork
from p2p.limits import Limits
from p2p.network import (
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES,
    Banned,
    Connected,
    Disconnected,
    Network,
    NetworkError,
    NetworkEvent,
    Offence,
    RequestFailed,
    RequestRefused,
    Verdict,
)
from p2p.simulated import SimulatedNetwork, SimulatedSwitch
from tests.p2p.conftest import LOOPBACK, eventually
from tests.p2p.hostile import peer_id, seed

TOPIC = "/ecloud/test/transactions/1"
KINDS = ("libp2p", "simulated")


class Street:
    """Starts and stops nodes of one kind, and gives each its neighbours' addresses."""

    def __init__(self, kind: str, nursery: trio.Nursery) -> None:
        self.kind = kind
        self.nursery = nursery
        self.switch: SimulatedSwitch | None = None
        self.scopes: dict[str, tuple[trio.CancelScope, trio.Event]] = {}

    def build(
        self,
        name: str,
        bootstrap: list[str] | None = None,
        limits: Limits | None = None,
        state_path: Path | None = None,
    ) -> Network:
        limits = limits or Limits(score_recovery_per_minute=0)
        if self.kind == "libp2p":
            return LibP2PNetwork(seed(name), [LOOPBACK], bootstrap or [], state_path, limits)
        if self.switch is None:
            self.switch = SimulatedSwitch(7)
            self.nursery.start_soon(self.switch.run)
        return SimulatedNetwork(self.switch, peer_id(name), bootstrap or [], state_path, limits)

    async def start(self, network: Network) -> None:
        scope, stopped = trio.CancelScope(), trio.Event()
        self.scopes[network.peer_id] = (scope, stopped)

        async def run(task_status: trio.TaskStatus[None]) -> None:  # type: ignore[name-defined]
            with scope:
                await network.run(task_status=task_status)  # type: ignore[attr-defined]
            stopped.set()

        await self.nursery.start(run)

    async def stop(self, network: Network) -> None:
        scope, stopped = self.scopes[network.peer_id]
        scope.cancel()
        with trio.fail_after(1):
            await stopped.wait()

    async def pair(self, prepare: Callable[[Network], None] = lambda _: None) -> tuple[Network, Network]:
        """Two nodes that are connected and, where they share topics, hear one another."""
        first = self.build("first")
        prepare(first)
        await self.start(first)
        second = self.build("second", first.addresses())
        prepare(second)
        await self.start(second)
        await eventually(lambda: all(each.peers() for each in (first, second)))
        topics = bool(getattr(first, "_reception").topics())  # noqa: B009 - only to know what to wait for
        await eventually(lambda: not topics or all(each.peers()[0].mesh for each in (first, second)))
        return first, second


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(kind: str) -> trio.testing.MockClock:
    if kind == "simulated":
        return trio.testing.MockClock(autojump_threshold=0)
    return trio.testing.MockClock(rate=1.0, autojump_threshold=math.inf)


@pytest.fixture
async def street(kind: str, clock: trio.testing.MockClock, nursery: trio.Nursery) -> Street:
    return Street(kind, nursery)


def accept(network: Network) -> None:
    network.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)


async def next_event(events: object, kind: type[NetworkEvent]) -> NetworkEvent:
    with trio.fail_after(10):
        async for event in events:  # type: ignore[attr-defined]
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")


@pytest.mark.trio
async def test_a_published_message_reaches_subscribers_once_and_not_its_author(street: Street) -> None:
    # Given three nodes in a row
    first, second = street.build("first"), None
    received = {"first": first.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)}
    await street.start(first)
    second = street.build("second", first.addresses())
    received["second"] = second.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)
    await street.start(second)
    third = street.build("third", second.addresses())
    received["third"] = third.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)
    await street.start(third)
    await eventually(lambda: sum(bool(info.mesh) for info in second.peers()) == 2)
    # When the first publishes two messages, one of them twice
    for data in (b"one", b"one", b"two"):
        await first.publish(TOPIC, data)
    # Then both others have them once, in whatever order, from their neighbour
    with trio.fail_after(5):
        for name, neighbour in (("second", first), ("third", second)):
            messages = [await anext(received[name]) for _ in range(2)]
            assert sorted(message.data for message in messages) == [b"one", b"two"]
            assert {message.peer for message in messages} == {neighbour.peer_id}
    # And the author does not hear itself
    with trio.move_on_after(0.2) as silence:
        await anext(received["first"])
    assert silence.cancelled_caught


@pytest.mark.trio
async def test_a_large_message_arrives_whole_and_a_larger_one_is_refused(street: Street) -> None:
    first, second = street.build("first"), None
    await street.start(first)
    first.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)
    second = street.build("second", first.addresses())
    received = second.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)
    await street.start(second)
    await eventually(lambda: any(info.mesh for info in first.peers()))
    data = bytes(range(256)) * (MAX_MESSAGE_BYTES // 256)
    await first.publish(TOPIC, data)
    with trio.fail_after(10):
        assert (await anext(received)).data == data
    with pytest.raises(ValueError, match="at most 900000 bytes"):
        await first.publish(TOPIC, bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.trio
async def test_the_verdict_decides_on_delivery_and_score(street: Street) -> None:
    verdicts = {b"accept": Verdict.ACCEPT, b"ignore": Verdict.IGNORE, b"reject": Verdict.REJECT}
    first, second = street.build("first"), None
    received = first.subscribe(TOPIC, lambda _, data: verdicts[data])
    await street.start(first)
    second = street.build("second", first.addresses())
    accept(second)
    await street.start(second)
    await eventually(lambda: any(info.mesh for info in second.peers()))
    for data in (b"ignore", b"reject", b"not even known", b"accept"):
        await second.publish(TOPIC, data)
    # Then only the accepted one is delivered, and only the rejected one costs (the validator's own failure does not)
    with trio.fail_after(5):
        assert (await anext(received)).data == b"accept"
    await eventually(lambda: first.peers()[0].score == 90)


@pytest.mark.trio
async def test_a_topic_is_joined_once(street: Street) -> None:
    network = street.build("first")
    accept(network)
    with pytest.raises(ValueError, match="already joined"):
        accept(network)


@pytest.mark.trio
async def test_a_slow_subscriber_loses_the_oldest_messages_and_they_are_counted(street: Street) -> None:
    first = street.build("first", limits=Limits(subscription_queue=3))
    received = first.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)
    await street.start(first)
    second = street.build("second", first.addresses())
    accept(second)
    await street.start(second)
    await eventually(lambda: any(info.mesh for info in second.peers()))
    for number in range(5):
        await second.publish(TOPIC, b"%d" % number)
        await eventually(lambda number=number: first.metrics().get(f"accept {TOPIC}") == number + 1)  # type: ignore[attr-defined]
    assert [(await anext(received)).data for _ in range(3)] == [b"2", b"3", b"4"]
    assert first.metrics()[f"dropped {TOPIC}"] == 2  # type: ignore[attr-defined]


@pytest.mark.trio
async def test_a_request_is_answered(street: Street) -> None:
    first, second = await street.pair()

    async def reverse(peer: str, data: bytes) -> bytes:
        assert peer == second.peer_id
        return data[::-1]

    first.serve("/ecloud/reverse/1", reverse)
    assert await second.request(first.peer_id, "/ecloud/reverse/1", b"abc") == b"cba"
    assert await second.request(first.peer_id, "/ecloud/reverse/1", b"") == b""
    # And many at once, each its own answer
    answers: dict[int, bytes] = {}

    async def ask(number: int) -> None:
        answers[number] = await second.request(first.peer_id, "/ecloud/reverse/1", b"%02d" % number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(ask, number)
    assert answers == {number: (b"%02d" % number)[::-1] for number in range(20)}


@pytest.mark.trio
async def test_requests_and_answers_have_limits(street: Street) -> None:
    first, second = await street.pair()
    largest, too_large = bytes(MAX_RESPONSE_BYTES), bytes(MAX_RESPONSE_BYTES + 1)

    async def fill(_: str, data: bytes) -> bytes:
        return largest if len(data) == MAX_REQUEST_BYTES else too_large

    first.serve("/ecloud/fill/1", fill)
    assert await second.request(first.peer_id, "/ecloud/fill/1", bytes(MAX_REQUEST_BYTES), timeout_s=30) == largest
    with pytest.raises(RequestFailed):
        await second.request(first.peer_id, "/ecloud/fill/1", b"")
    with pytest.raises(ValueError, match="at most 65536 bytes"):
        await second.request(first.peer_id, "/ecloud/fill/1", bytes(MAX_REQUEST_BYTES + 1))


@pytest.mark.trio
async def test_requests_fail_in_ways_that_say_what_to_do(street: Street) -> None:
    first, second = await street.pair()

    async def refuse(_: str, __: bytes) -> bytes:
        raise RequestRefused("another chain")

    async def fail(_: str, __: bytes) -> bytes:
        raise KeyError("a defect")

    async def sleep(_: str, __: bytes) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    first.serve("/ecloud/refuse/1", refuse)
    first.serve("/ecloud/fail/1", fail)
    first.serve("/ecloud/sleep/1", sleep)
    with pytest.raises(RequestRefused, match="another chain"):
        await second.request(first.peer_id, "/ecloud/refuse/1", b"")
    with pytest.raises(RequestFailed):
        await second.request(first.peer_id, "/ecloud/fail/1", b"")
    with pytest.raises(RequestFailed):
        await second.request(first.peer_id, "/ecloud/nobody-serves-this/1", b"")
    with pytest.raises(RequestFailed, match="did not answer"):
        await second.request(first.peer_id, "/ecloud/sleep/1", b"", timeout_s=0.2)
    with pytest.raises(RequestFailed, match="not connected"):
        await second.request(peer_id("stranger"), "/ecloud/fail/1", b"")
    # And nobody paid for any of it
    assert first.peers()[0].score == second.peers()[0].score == 100
    assert await _still_answers(first, second)


async def _still_answers(first: Network, second: Network) -> bool:
    async def echo(_: str, data: bytes) -> bytes:
        return data

    first.serve("/ecloud/echo/1", echo)
    return await second.request(first.peer_id, "/ecloud/echo/1", b"hi") == b"hi"


@pytest.mark.trio
async def test_a_request_ends_when_its_peer_does(street: Street) -> None:
    first, second = await street.pair()
    asked = trio.Event()

    async def sleep(_: str, __: bytes) -> bytes:
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    first.serve("/ecloud/sleep/1", sleep)

    async def stop() -> None:
        await asked.wait()
        await street.stop(first)

    street.nursery.start_soon(stop)
    with trio.fail_after(5), pytest.raises(RequestFailed):
        await second.request(first.peer_id, "/ecloud/sleep/1", b"", timeout_s=60)


@pytest.mark.trio
async def test_connections_are_events_and_peers(street: Street) -> None:
    first = street.build("first")
    events = first.events()
    await street.start(first)
    second = street.build("second", first.addresses())
    await street.start(second)
    event = await next_event(events, Connected)
    assert event.peer == second.peer_id
    (info,) = first.peers()
    assert (info.peer, info.inbound, info.score) == (second.peer_id, True, 100)
    await eventually(lambda: bool(second.peers()) and second.peers()[0].latency_ms is not None)
    assert not second.peers()[0].inbound
    await street.stop(second)
    assert await next_event(events, Disconnected) == Disconnected(second.peer_id)
    assert first.peers() == []


@pytest.mark.trio
async def test_lost_peers_are_dialled_again(street: Street) -> None:
    # Given a connected pair
    first = street.build("first")
    await street.start(first)
    addresses = first.addresses()
    second = street.build("second", addresses)
    await street.start(second)
    events = second.events()
    await eventually(lambda: bool(second.peers()))
    # When one of them is away for a while and comes back under its address
    await street.stop(first)
    await next_event(events, Disconnected)
    await trio.sleep(2)
    if street.kind == "libp2p":
        first = LibP2PNetwork(seed("first"), [addresses[0].split("/p2p/")[0]])
    else:
        first = street.build("first")
    await street.start(first)
    # Then the other finds it by itself
    assert await next_event(events, Connected) == Connected(first.peer_id, second.peers()[0].address)


@pytest.mark.trio
async def test_a_peer_that_is_not_there_yet_is_dialled_until_it_is(street: Street) -> None:
    absent = street.build("absent")
    await street.start(absent)
    addresses = absent.addresses()
    await street.stop(absent)
    network = street.build("network")
    await street.start(network)
    assert await network.connect(addresses[0]) == absent.peer_id
    await trio.sleep(1)
    assert network.peers() == []
    if street.kind == "libp2p":
        absent = LibP2PNetwork(seed("absent"), [addresses[0].split("/p2p/")[0]])
    else:
        absent = street.build("absent")
    await street.start(absent)
    await eventually(lambda: bool(network.peers()), within_s=10)


@pytest.mark.trio
@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost:4001",
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/300.0.0.1/tcp/1/p2p/x",
        "/ip4/1.1.1.1/tcp/1/p2p/Qm",
        "/" * 999,
    ],
)
async def test_a_bad_address_is_refused_with_what_would_be_right(street: Street, address: str) -> None:
    network = street.build("network")
    await street.start(network)
    with pytest.raises(NetworkError, match="a right one is"):
        await network.connect(address)


@pytest.mark.trio
async def test_offences_add_up_to_a_ban_that_outlives_the_node(street: Street, tmp_path: Path) -> None:
    # Given a node with a memory
    first = street.build("first", state_path=tmp_path / "peers")
    events = first.events()
    await street.start(first)
    second = street.build("second", first.addresses())
    await street.start(second)
    await eventually(lambda: bool(first.peers()))
    # When a peer offends until its score is used up
    for left in (75, 50, 25):
        first.penalise(second.peer_id, Offence.PROTOCOL_VIOLATION, "a test")
        assert first.peers()[0].score == left
    first.penalise(second.peer_id, Offence.PROTOCOL_VIOLATION, "the last straw")
    # Then it is banned, with a reason, and disconnected
    banned = await next_event(events, Banned)
    assert isinstance(banned, Banned)
    assert (banned.peer, banned.reason) == (second.peer_id, "protocol_violation: the last straw")
    await next_event(events, Disconnected)
    assert first.metrics()["offence_protocol_violation"] == 4  # type: ignore[attr-defined]
    # And it stays out, though it dials on, also after a restart
    addresses = first.addresses()
    await street.stop(first)
    if street.kind == "libp2p":
        first = LibP2PNetwork(seed("first"), [addresses[0].split("/p2p/")[0]], (), tmp_path / "peers")
    else:
        first = street.build("first", state_path=tmp_path / "peers")
    await street.start(first)
    third = street.build("third", first.addresses())
    await street.start(third)
    await eventually(lambda: bool(first.peers()))
    await trio.sleep(1.5)
    assert [info.peer for info in first.peers()] == [third.peer_id]


@pytest.mark.trio
async def test_a_ban_ends(street: Street) -> None:
    first, second = await street.pair()
    await first.ban(second.peer_id, 1.0, "a short one")
    await eventually(lambda: first.peers() == [])
    await eventually(lambda: bool(first.peers()), within_s=20)
    assert first.peers()[0].score == 100


@pytest.mark.trio
async def test_a_ban_is_ended_by_hand(street: Street) -> None:
    first, second = await street.pair()
    await first.ban(second.peer_id, 3_600.0, "a long one")
    await eventually(lambda: first.peers() == [])
    # When it is pardoned
    assert first.pardon(second.peer_id)
    # Then it may come again, and there is nothing more to pardon
    await eventually(lambda: bool(first.peers()), within_s=20)
    assert first.peers()[0].score == 100
    assert not first.pardon(second.peer_id)


@pytest.mark.trio
async def test_remembered_peers_are_dialled_after_a_restart(street: Street, tmp_path: Path) -> None:
    first = street.build("first")
    await street.start(first)
    second = street.build("second", first.addresses(), state_path=tmp_path / "peers")
    await street.start(second)
    await eventually(lambda: bool(second.peers()))
    await street.stop(second)
    # When it starts again without a bootstrap list
    second = street.build("second", state_path=tmp_path / "peers")
    await street.start(second)
    await eventually(lambda: [info.peer for info in second.peers()] == [first.peer_id])


@pytest.mark.trio
async def test_stopping_ends_subscriptions_and_events(street: Street) -> None:
    first = street.build("first")
    received, events = first.subscribe(TOPIC, lambda *_: Verdict.ACCEPT), first.events()
    await street.start(first)
    await street.stop(first)
    with trio.fail_after(1):
        assert [each async for each in received] == []
        assert [each async for each in events] == []


@pytest.mark.trio
async def test_what_is_sent_to_one_neighbour_reaches_it_and_is_not_forwarded(street: Street) -> None:
    # Given three nodes in a row, that keep what they hear
    heard: dict[str, list[tuple[str, bytes]]] = {}

    def keep(network: Network) -> None:
        heard[network.peer_id] = []

        def hear(peer: str, data: bytes) -> Verdict:
            heard[network.peer_id].append((peer, data))
            return Verdict.KEEP

        network.subscribe(TOPIC, hear)

    first, second = await street.pair(keep)
    third = street.build("third", second.addresses())
    keep(third)
    await street.start(third)
    await eventually(lambda: set(second.neighbours(TOPIC)) == {first.peer_id, third.peer_id})
    # When the first sends the second one thing, and the second the third another
    assert first.send(second.peer_id, TOPIC, b"one")
    await eventually(lambda: heard[second.peer_id] == [(first.peer_id, b"one")])
    assert second.send(third.peer_id, TOPIC, b"two")
    await eventually(lambda: bool(heard[third.peer_id]))
    # Then each heard what it was sent, and the first message went no further
    assert heard[third.peer_id] == [(second.peer_id, b"two")]
    assert heard[first.peer_id] == []
    assert second.metrics()[f"keep {TOPIC}"] == 1
    # And nothing can be sent to who is not there, nor what is too large
    assert not first.send(third.peer_id, TOPIC, b"three")
    with pytest.raises(ValueError, match="at most"):
        first.send(second.peer_id, TOPIC, bytes(MAX_MESSAGE_BYTES + 1))

"""The line to a broker, with a real mosquitto and with the embedded broker; the test's name says which it was."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from devnet.making import free_ports
from home.broker import BrokerFailed, EmbeddedBroker
from home.keeping import keep_running
from home.mqtt import MAX_PACKET_BYTES, Broker, Handler, MqttBroken, MqttLink, Will
from node import log
from tests.home.brokers import KINDS, running_broker
from tests.home.lone_home import until

WITHIN_S = 60
WILL = Will("house/status", b"offline")


def link_to(port: int, name: str, handlers: dict[str, Handler] | None = None, will: Will = WILL) -> MqttLink:
    return MqttLink(Broker("127.0.0.1", port), name, will, handlers or {})


@asynccontextmanager
async def kept(link: MqttLink) -> AsyncIterator[MqttLink]:
    """The link runs as in a home: whenever it breaks it is tried again."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_running, "mqtt", link.run, (MqttBroken,), log.get("test"), Counter())
        await until(lambda: link.connected)
        yield link
        nursery.cancel_scope.cancel()


def collecting(found: list[bytes]) -> Handler:
    def take(payload: bytes) -> bool:
        found.append(payload)
        return True

    return take


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.trio
async def test_what_is_retained_is_known_to_who_comes_later(kind: str, tmp_path: Path) -> None:
    with trio.fail_after(WITHIN_S):
        async with running_broker(kind, tmp_path) as broker, kept(link_to(broker.port, "home")) as home:
            # Given a home that has published its breaker twice, before and after it was connected
            home.publish("house/breaker", b"open", retain=True)
            home.publish("house/breaker", b"closed", retain=True)
            # When somebody connects later
            found: list[bytes] = []
            async with kept(link_to(broker.port, "switch", {"house/breaker": collecting(found)}, Will("x", b""))):
                # Then he learns the last of it
                await until(lambda: found[-1:] == [b"closed"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.trio
async def test_a_broker_that_comes_back_is_told_again(kind: str, tmp_path: Path) -> None:
    found: list[bytes] = []
    with trio.fail_after(WITHIN_S):
        async with running_broker(kind, tmp_path) as broker, kept(link_to(broker.port, "home")) as home:
            home.publish("house/breaker", b"open", retain=True)
            # When the broker goes away, and something changes meanwhile
            await broker.stop()
            await until(lambda: not home.connected)
            home.publish("house/breaker", b"closed", retain=True)
            # And it is back
            await broker.start()
            await until(lambda: home.connected)
            async with kept(link_to(broker.port, "switch", {"house/breaker": collecting(found)}, Will("x", b""))):
                # Then it knows what is so now
                await until(lambda: found[-1:] == [b"closed"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.trio
async def test_who_leaves_in_good_order_is_offline_too(kind: str, tmp_path: Path) -> None:
    found: list[bytes] = []
    with trio.fail_after(WITHIN_S):
        async with (
            running_broker(kind, tmp_path) as broker,
            kept(link_to(broker.port, "switch", {"house/status": collecting(found)}, Will("x", b""))),
        ):
            async with kept(link_to(broker.port, "home")) as home:
                home.publish("house/status", b"online", retain=True)
                await until(lambda: found == [b"online"])
            await until(lambda: found == [b"online", b"offline"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.trio
async def test_messages_come_in_order_and_once(kind: str, tmp_path: Path) -> None:
    found: list[bytes] = []
    with trio.fail_after(WITHIN_S):
        async with (
            running_broker(kind, tmp_path) as broker,
            kept(link_to(broker.port, "home", {"house/signed": collecting(found)})),
            kept(link_to(broker.port, "meter", will=Will("x", b""))) as meter,
        ):
            for number in range(200):
                meter.publish("house/signed", str(number).encode(), retain=False)
            await until(lambda: len(found) >= 200)
    assert found == [str(number).encode() for number in range(200)]


@pytest.mark.trio
async def test_what_could_not_be_kept_is_asked_for_again(tmp_path: Path) -> None:
    # Given a home whose disk is full for the first two messages; mosquitto keeps a session, as the standard says
    found: list[bytes] = []

    def take(payload: bytes) -> bool:
        found.append(payload)
        return len(found) > 2

    with trio.fail_after(WITHIN_S):
        async with (
            running_broker("mosquitto", tmp_path) as broker,
            kept(link_to(broker.port, "home", {"house/signed": take})),
            kept(link_to(broker.port, "meter", will=Will("x", b""))) as meter,
        ):
            # When a message comes
            meter.publish("house/signed", b"reading", retain=False)
            # Then it comes until it was kept
            await until(lambda: len(found) >= 3)
    assert found == [b"reading"] * 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "does not speak MQTT|is gone"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak MQTT|is gone|no MQTT"),
        (b"\x20\x02\x00\x05", "refuse"),
        (b"\x20\xff\xff\xff\x7f" + bytes(100), "above|is gone"),
        (b"\x20\x02\x00\x00" + b"\x90\x03\x00\x01\x00" + b"\x30\xff\xff\xff\x7f" + bytes(100), "above"),
        (b"\x20\x02\x00\x00" + b"\x90\x03\x00\x01\x00" + b"\x30\x01\x00", "no MQTT|is gone"),
        (bytes(range(256)), "no MQTT|is gone"),
    ],
)
@pytest.mark.trio
async def test_a_broker_that_sends_rubbish_is_left_with_a_word(
    answer: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("home.mqtt.CONNECT_WITHIN_S", 1.0)

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        try:
            await stream.send_all(answer)
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass  # the link left: that is what is expected of it

    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            with pytest.raises(MqttBroken, match=words):
                await link_to(port, "home", {"house/signed": lambda _: True}).run()
            nursery.cancel_scope.cancel()
    assert MAX_PACKET_BYTES < 1 << 20


@pytest.mark.trio
async def test_where_there_is_no_broker_the_error_says_where() -> None:
    port = free_ports(1)[0]
    with pytest.raises(MqttBroken, match=f"no broker at 127.0.0.1:{port}"):
        await link_to(port, "home").run()


async def assert_refused(port: int, user: str, password: str) -> None:
    with trio.fail_after(WITHIN_S), pytest.raises(MqttBroken, match=r"refuse|gone"):
        await MqttLink(Broker("127.0.0.1", port, user, password), "thief", Will("x", b""), {}).run()


@pytest.mark.trio
async def test_the_embedded_broker_lets_in_its_user_only() -> None:
    port = free_ports(1)[0]
    broker = EmbeddedBroker("127.0.0.1", port, "anne", "secret")
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broker.run)
            await broker.listening.wait()
            await assert_refused(port, "", "")
            await assert_refused(port, "anne", "wrong")
            link = MqttLink(Broker("127.0.0.1", port, "anne", "secret"), "home", Will("x", b""), {})
            async with kept(link):
                assert link.connected
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_port_that_is_taken_is_said() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, trio.aclose_forcefully, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(WITHIN_S), pytest.raises(BrokerFailed, match=f"127.0.0.1:{port}"):
            await EmbeddedBroker("127.0.0.1", port).run()
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_the_embedded_broker_outlives_rubbish() -> None:
    port = free_ports(1)[0]
    broker = EmbeddedBroker("127.0.0.1", port)
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broker.run)
            await broker.listening.wait()
            for rubbish in (os.urandom(2_000), b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\x7f", b"\x10"):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(rubbish)
                await stream.aclose()
            found: list[bytes] = []
            async with (
                kept(link_to(port, "home", {"house/x": collecting(found)})),
                kept(link_to(port, "meter", will=Will("x", b""))) as meter,
            ):
                meter.publish("house/x", b"still here", retain=False)
                await until(holds(found))
            nursery.cancel_scope.cancel()


def holds(found: list[bytes]) -> Callable[[], bool]:
    return lambda: found == [b"still here"]

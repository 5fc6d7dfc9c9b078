"""The home's line to its MQTT broker (MQTT 3.1.1, OASIS standard): paho's client, driven by trio without a thread.

1. A connection that fails, a broker that says no or sends what is no MQTT end ``run`` with MqttBroken; whoever runs it
   calls it again. The session is kept at the broker under ``client_id``: what was sent with quality of service 1 while
   nobody was connected comes at the next connection, as does what was not acknowledged.
2. What is published retained is remembered and published again at each connection: a broker that forgot everything
   learns it again. Other messages are lost while there is no connection.
3. The broker says the last will, retained, when the connection ends without a word.
4. A message is acknowledged when its handler returns True, which it must only once what it says is safe. False ends
   the connection: the broker brings at the next one what is not acknowledged. A handler neither waits nor raises.
5. Nothing larger than MAX_PACKET_BYTES is taken in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as paho
import trio
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

KEEPALIVE_S: Final = 30
CONNECT_WITHIN_S: Final = 10.0
CONNECT_SOCKET_WITHIN_S: Final = 5.0
MAX_PACKET_BYTES: Final = 256 * 1024
PACKETS_AT_ONCE: Final = 64
GOODBYE_WITHIN_S: Final = 0.5
QOS: Final = 1

Handler = Callable[[bytes], bool]


class MqttBroken(Exception):
    """There is no connection to the broker (any more); trying again may help."""


@dataclass(frozen=True, slots=True)
class Broker:
    """``user`` empty: without a name. ``tls``: with the authorities that this machine knows."""

    host: str
    port: int
    user: str = ""
    password: str = ""
    tls: bool = False

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Will:
    topic: str
    payload: bytes


class MqttLink:
    """``handlers`` by topic: what is subscribed. ``publish`` may be called at any time."""

    def __init__(self, broker: Broker, client_id: str, will: Will, handlers: dict[str, Handler]) -> None:
        self._broker = broker
        self._client_id = client_id
        self._will = will
        self._handlers = handlers
        self._retained: dict[str, bytes] = {}
        self._client: paho.Client | None = None
        self._to_write = trio.Event()
        self._left = False
        self.connected = False

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """See rule 2."""
        if retain:
            if self._retained.get(topic) == payload:
                return
            self._retained[topic] = payload
        if self._client is not None and self.connected:
            self._client.publish(topic, payload, qos=QOS, retain=retain)

    async def run(self) -> None:
        """Until cancelled; then says goodbye, so that the last will is not said, and leaves the broker knowing what
        ``goodbye`` says. Errors: MqttBroken.
        """
        client, self._left = self._make_client(), False
        await self._open(client)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, client)
                nursery.start_soon(self._write, client)
                nursery.start_soon(self._keep_alive, client)
                await self._until_accepted(client)
        except* MqttBroken as group:
            raise MqttBroken(str(_first(group))) from group
        finally:
            self.connected, self._client = False, None
            with trio.move_on_after(GOODBYE_WITHIN_S) as scope:
                scope.shield = True
                await self._say_goodbye(client)

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=False,
            protocol=paho.MQTTv311,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_SOCKET_WITHIN_S
        client.will_set(self._will.topic, self._will.payload, qos=QOS, retain=True)
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            client.tls_set()
        client.on_message = self._on_message
        client.on_socket_register_write = self._on_something_to_write
        return client

    async def _open(self, client: paho.Client) -> None:
        """Errors: MqttBroken."""
        broker = self._broker

        def connect() -> None:
            client.connect(broker.host, broker.port, keepalive=KEEPALIVE_S)

        try:
            await trio.to_thread.run_sync(connect, abandon_on_cancel=True)  # type: ignore[call-arg]  # newer than trio-typing
        except (OSError, ValueError) as error:
            raise MqttBroken(f"no broker at {broker.where}: {error}") from error

    async def _until_accepted(self, client: paho.Client) -> None:
        accepted, subscribed = trio.Event(), trio.Event()
        refusal: list[str] = []

        def on_connect(_client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                refusal.append(str(reason))
            accepted.set()

        client.on_connect = on_connect
        client.on_subscribe = lambda *_: subscribed.set()
        with trio.move_on_after(CONNECT_WITHIN_S) as waiting:
            await accepted.wait()
            if refusal:
                raise MqttBroken(f"the broker at {self._broker.where} refuses: {refusal[0]}")
            if self._handlers:
                client.subscribe([(topic, QOS) for topic in self._handlers])
                await subscribed.wait()
        if waiting.cancelled_caught:
            raise MqttBroken(f"what answers at {self._broker.where} does not speak MQTT")
        self._client, self.connected = client, True
        for topic, payload in self._retained.items():
            client.publish(topic, payload, qos=QOS, retain=True)

    def _on_message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        handler = self._handlers.get(message.topic)
        if self._left or (handler is not None and not handler(bytes(message.payload))):
            self._left = True  # in their order: what came after it has to come again too
        else:
            client.ack(message.mid, message.qos)

    def _on_something_to_write(self, *_: Any) -> None:
        self._to_write.set()

    async def _read(self, client: paho.Client) -> None:
        while True:
            socket = client.socket()
            if socket is None:
                raise MqttBroken(f"the broker at {self._broker.where} is gone")
            await trio.lowlevel.wait_readable(socket.fileno())
            try:
                code = client.loop_read(PACKETS_AT_ONCE)
            except Exception as error:
                # paho decodes packets with struct and bytes methods: whatever they raise, it was no MQTT.
                raise MqttBroken(f"the broker at {self._broker.where} sends what is no MQTT: {error!r}") from error
            # paho has no limit of its own, and no name for this.
            if client._in_packet["remaining_length"] > MAX_PACKET_BYTES:
                raise MqttBroken(f"the broker at {self._broker.where} sends a packet above {MAX_PACKET_BYTES} bytes")
            self._require(code)
            if self._left:
                raise MqttBroken("a message could not be kept: it is asked for again")

    async def _write(self, client: paho.Client) -> None:
        while True:
            if not client.want_write():
                self._to_write = trio.Event()
                if not client.want_write():
                    await self._to_write.wait()
            socket = client.socket()
            if socket is None:
                raise MqttBroken(f"the broker at {self._broker.where} is gone")
            await trio.lowlevel.wait_writable(socket.fileno())
            self._require(client.loop_write())

    async def _keep_alive(self, client: paho.Client) -> None:
        while True:
            await trio.sleep(1)
            self._require(client.loop_misc())

    def _require(self, code: MQTTErrorCode) -> None:
        if code not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN}:
            raise MqttBroken(f"the broker at {self._broker.where} is gone: {paho.error_string(code)}")

    async def _say_goodbye(self, client: paho.Client) -> None:
        """The will, ourselves: who leaves in good order is offline too. Then what waits is written, and that is all."""
        socket = client.socket()
        if socket is not None:
            client.publish(self._will.topic, self._will.payload, qos=0, retain=True)
            client.disconnect()
            while client.want_write() and client.socket() is not None:
                await trio.lowlevel.wait_writable(socket.fileno())
                if client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
        if client.socket() is not None:
            socket = client.socket()
            assert socket is not None
            socket.close()


def _first(group: BaseExceptionGroup[MqttBroken]) -> MqttBroken:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first

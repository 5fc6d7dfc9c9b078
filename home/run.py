"""``ecloud home run``: reads the meter, signs, queues, submits; speaks MQTT; trades if it has a wallet.

1. It asks its node once for the chain and its periods, and remembers them, so that it can also start while the node is
   away. Taking readings needs no node; a reading is on the disk before anything else hears of it.
2. Source, broker and the line to it are kept running, each by itself (``home.keeping``): whatever is away, the others
   go on.
3. A node of another chain than the remembered one, a damaged queue and a key that is not there end the home, with what
   to do about it.
4. SIGTERM and SIGINT end it in good order within two seconds.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from home import topics
from home.autopilot.forecast import HISTORY_DAYS
from home.breaker import Decision
from home.cable import CableBroken, chunks
from home.configuration import EMBEDDED, OFF, Configuration, endpoint, house_of, limits_of
from home.control import Control
from home.delivery import QUEUE_NAME, Delivery, HomeError
from home.history import History, Registers
from home.keeping import keep_running
from home.metering import Meter, Schedule, SimulatedMeter, TakenReading
from home.p1 import Splitter, TelegramError
from home.profiles.series import ConnectionMeter
from home.reading_queue import QueueError, QueueFull, ReadingQueue
from home.signed_meter import ReadingError, SignedMeter
from home.status import HomeStatus, write_status
from home.telegram_meter import TelegramMeter, TelegramRules
from home.trading import Done, Owner, Trader
from ledger.keys import SigningKey
from node import log
from node.client.client import NodeClient
from node.clock import WallClock, system_wall_ms
from node.key_files import KeyFileError, load_seed

if TYPE_CHECKING:
    from home.mqtt import Handler, MqttLink

LONGEST_SLEEP_S: Final = 30.0
"""The wall clock may be set, or the machine sleep, while the home waits for a period's end."""
STATUS_EVERY_S: Final = 1.0
MAX_PASSWORD_BYTES: Final = 4_096
DAY_MS: Final = 86_400_000
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing is bound here)


@dataclass(frozen=True, slots=True)
class HomeSettings:
    """``connect`` makes a client of the home's node. ``wallet`` None: the home only meters."""

    directory: Path
    configuration: Configuration
    connect: Callable[[], NodeClient]
    wallet: SigningKey | None = None


class Home:
    """See the module's rules."""

    def __init__(self, settings: HomeSettings, wall: WallClock = system_wall_ms) -> None:
        self._settings = settings
        self._configuration = settings.configuration
        self._directory = settings.directory
        self._wall = wall
        self._log = log.get("home")
        self._started_at_ms = wall()
        self._restarts: Counter[str] = Counter()
        self._last: TakenReading | None = None
        self._source_works = False
        self._due_changed = trio.Event()
        self._telegrams: TelegramMeter | None = None
        self._signed: SignedMeter | None = None
        self._trader: Trader | None = None
        self._control: Control | None = None

    async def run(self) -> None:
        """Until cancelled. Errors: HomeError, QueueError, KeyFileError."""
        with ReadingQueue(self._directory / QUEUE_NAME) as queue:
            self._queue = queue
            identity = self._identity()
            async with self._settings.connect() as client, trio.open_nursery() as nursery:
                self._client = client
                self._delivery = Delivery(client, queue)
                self._meter_key = identity if isinstance(identity, bytes) else identity.public_key
                self._mqtt = self._start_mqtt(nursery)
                self._log.info("home runs", meter=self._meter_key.hex()[:16], waiting=len(queue))
                nursery.start_soon(self._tell_status)
                schedule = await self._delivery.first_schedule(self._directory)
                self._start_trading(nursery, schedule)
                self._start_meter(nursery, identity, schedule)
                nursery.start_soon(self._delivery.run, schedule)

    # -- the meter

    def _identity(self) -> SigningKey | bytes:
        """The meter's key, or the public one of a meter that signs itself. Errors: KeyFileError, HomeError."""
        path = self._directory / self._configuration.meter.key_file
        if self._configuration.meter.source != "signed":
            return SigningKey(load_seed(path))
        try:
            public_key = bytes.fromhex(path.read_text("ascii").strip())
        except (OSError, ValueError) as error:
            raise HomeError(f"{path} should hold the meter's public key in 64 hexadecimal digits: {error}") from error
        if len(public_key) != 32:
            raise HomeError(f"{path} should hold the meter's public key in 64 hexadecimal digits")
        return public_key

    def _start_meter(self, nursery: trio.Nursery, identity: SigningKey | bytes, schedule: Schedule) -> None:
        self._schedule = schedule
        source = self._configuration.meter.source
        if isinstance(identity, bytes):
            self._signed = SignedMeter(identity, schedule)
            return
        if source == "simulated":
            self._source_works = True
            meter: Meter = SimulatedMeter(identity, ConnectionMeter(house_of(self._configuration)), schedule)
        else:
            told = self._configuration.p1
            rules = TelegramRules(told.equipment, told.max_age_s, told.keep_every_s, told.keep_days)
            meter = self._telegrams = TelegramMeter(identity, schedule, self._directory, rules)
            if told.cable != "mqtt":
                reading = partial(self._read_cable, told.cable, told.baud)
                nursery.start_soon(keep_running, "p1", reading, (CableBroken,), self._log, self._restarts)
        nursery.start_soon(self._take_readings, meter)

    async def _take_readings(self, meter: Meter) -> None:
        while True:
            changed = self._due_changed = trio.Event()
            try:
                for reading in meter.due(self._wall(), self._queue.last_period):
                    self._take(reading)
            except (QueueFull, OSError) as error:
                # Nothing is lost yet: the registers go on, and what could not be kept is due again at the next try.
                self._log.error("reading not kept", detail=str(error))
            now_ms = self._wall()
            with trio.move_on_after(min(LONGEST_SLEEP_S, (self._schedule.next_end_ms(now_ms) - now_ms) / 1000)):
                await changed.wait()

    def _take(self, reading: TakenReading) -> None:
        """Errors: QueueFull, OSError, and then it was not taken."""
        self._queue.take(reading.period, reading.transaction.raw)
        self._delivery.wake()
        since = {}
        if self._last is not None and self._last.period == reading.period - 1:
            since = {
                "in_wh": reading.import_wh - self._last.import_wh,
                "out_wh": reading.export_wh - self._last.export_wh,
            }
        self._last = reading
        self._log.info(
            "reading taken",
            period=reading.period,
            import_wh=reading.import_wh,
            export_wh=reading.export_wh,
            **since,
            waiting=len(self._queue),
        )
        self._publish(topics.READING, _reading_facts(reading, self._schedule) | since, retain=True)
        if self._trader is not None:
            self._remember(reading)
            self._trader.wake()
        if self._control is not None:
            self._control.wake()

    def _remember(self, reading: TakenReading) -> None:
        """For the forecast."""
        try:
            self._history.add(Registers(reading.period, reading.import_wh, reading.export_wh))
        except OSError as error:
            self._log.error("history not written", detail=str(error))

    async def _read_cable(self, cable: str, baud: int) -> None:
        """Errors: CableBroken."""
        splitter = Splitter()
        try:
            async with aclosing(chunks(cable, self._directory, baud)) as pieces:
                async for piece in pieces:
                    for found in splitter.feed(piece):
                        self._on_piece(found)
        finally:
            self._source_works = False
            for torn in splitter.close():
                self._on_piece(torn)

    def _on_piece(self, found: bytes | TelegramError) -> None:
        assert self._telegrams is not None
        if isinstance(found, TelegramError):
            self._telegrams.refused[found.word] += 1
            self._log.warning("telegram refused", kind=found.word, detail=str(found))
        else:
            self._on_telegram(found)

    def _on_telegram(self, raw: bytes) -> bool:
        """For the cable and for MQTT: a telegram that cannot be used is never sent again, so it is acknowledged."""
        if self._telegrams is None:
            return True  # before the chain is known: the meter sends the next one
        ended = self._telegrams.open_period != self._wall() // self._schedule.period_ms
        try:
            self._telegrams.on_telegram(raw, self._wall())
        except TelegramError as error:
            self._log.warning("telegram refused", kind=error.word, detail=str(error))
        except OSError as error:
            self._log.error("telegram not kept", detail=str(error))
        else:
            self._source_works = True
            if ended:
                self._due_changed.set()
        return True

    def _on_signed(self, message: bytes) -> bool:
        """Acknowledged once it is in the queue, or can never be."""
        if self._signed is None:
            return False  # before the chain is known: the broker keeps it
        try:
            reading = self._signed.check(message)
        except ReadingError as error:
            self._log.warning("reading refused", kind=error.word, detail=str(error))
            return True
        self._source_works = True
        if self._queue.last_period is not None and reading.period <= self._queue.last_period:
            return True
        try:
            self._take(reading)
        except (QueueFull, OSError) as error:
            self._log.error("reading not kept", detail=str(error))
            return False
        return True

    # -- the market, the breaker

    def _start_trading(self, nursery: trio.Nursery, schedule: Schedule) -> None:
        """Errors: HomeError."""
        told, wallet = self._configuration, self._settings.wallet
        self._control = Control(self._client, self._meter_key, told.breaker.template, self._wall, self._on_control)
        nursery.start_soon(keep_running, "breaker", self._control.run, (), self._log, self._restarts)
        if wallet is None:
            return
        try:
            self._history = History(self._directory, HISTORY_DAYS * DAY_MS // schedule.period_ms)
        except OSError as error:
            raise HomeError(f"the history cannot be read: {error}") from error
        owner = Owner(limits_of(told), told.autopilot.yearly_kwh or None)
        self._trader = Trader(self._client, wallet, self._meter_key, owner, self._history, self._wall, self._on_action)
        nursery.start_soon(keep_running, "autopilot", self._trader.run, (), self._log, self._restarts)

    def _on_action(self, done: Done) -> None:
        self._publish(topics.ACTION, done, retain=False)

    def _on_control(self, decision: Decision, order: tuple[str, ...]) -> None:
        state = "open" if decision.is_open else "closed"
        self._publish(topics.BREAKER, {"state": state, "reason": decision.reason}, retain=True)
        shedding = {"shed": decision.shed, "order": order, "reason": decision.reason}
        self._publish(topics.SHEDDING, shedding, retain=True)

    # -- MQTT

    def _start_mqtt(self, nursery: trio.Nursery) -> MqttLink | None:
        """None where there is no MQTT, and then its libraries are not loaded. Errors: HomeError."""
        told = self._configuration.mqtt
        if told.broker == OFF:
            return None
        from home.broker import BrokerFailed, EmbeddedBroker  # noqa: PLC0415
        from home.mqtt import Broker, MqttBroken, MqttLink, Will  # noqa: PLC0415

        host, port = endpoint(told.listen if told.broker == EMBEDDED else told.broker)
        listening: trio.Event | None = None
        password = _password(self._directory / told.password_file) if told.password_file else ""
        if told.broker == EMBEDDED:
            broker = EmbeddedBroker(host, port, told.user, password)
            nursery.start_soon(keep_running, "broker", broker.run, (BrokerFailed,), self._log, self._restarts)
            host, listening = _ANYWHERE.get(host, host), broker.listening
        link = MqttLink(
            Broker(host, port, told.user, password, told.tls and told.broker != EMBEDDED),
            f"ecloud-{sha256(told.prefix.encode() + self._meter_key).hexdigest()[:12]}",
            Will(topics.topic(told.prefix, topics.STATUS), topics.OFFLINE),
            self._handlers(),
        )

        async def connect() -> None:
            if listening is not None:
                await listening.wait()
            await link.run()

        nursery.start_soon(keep_running, "mqtt", connect, (MqttBroken,), self._log, self._restarts)
        return link

    def _handlers(self) -> dict[str, Handler]:
        source, prefix = self._configuration.meter.source, self._configuration.mqtt.prefix
        if source == "signed":
            return {topics.topic(prefix, topics.SIGNED): self._on_signed}
        if source == "p1" and self._configuration.p1.cable == "mqtt":
            return {topics.topic(prefix, topics.TELEGRAM): self._on_telegram}
        return {}

    def _publish(self, name: str, facts: Any, *, retain: bool) -> None:
        if self._mqtt is not None:
            where = topics.topic(self._configuration.mqtt.prefix, name)
            self._mqtt.publish(where, msgspec.json.encode(facts), retain=retain)

    # -- what it says of itself

    async def _tell_status(self) -> None:
        """Writes and publishes it whenever it has changed in more than the time and the number of telegrams."""
        said: HomeStatus | None = None
        while True:
            found = self._status("online")
            if said is None or msgspec.structs.replace(found, now_ms=said.now_ms, telegrams=said.telegrams) != said:
                said = found
                self._write_status(found)
                self._publish(topics.STATUS, found, retain=True)
            await trio.sleep(STATUS_EVERY_S)

    def _write_status(self, status: HomeStatus) -> None:
        try:
            write_status(self._directory, status)
        except OSError as error:
            self._log.error("status not written", detail=str(error))

    def _status(self, state: str) -> HomeStatus:
        last, queue, told = self._last, self._queue, self._configuration
        return HomeStatus(
            state=state,
            pid=os.getpid(),
            started_at_ms=self._started_at_ms,
            now_ms=self._wall(),
            meter=self._meter_key.hex(),
            source=told.p1.cable if told.meter.source == "p1" else told.meter.source,
            source_works=self._source_works,
            node=self._client.where,
            node_answers=self._delivery.node_answers,
            mqtt=told.mqtt.listen if told.mqtt.broker == EMBEDDED else told.mqtt.broker,
            mqtt_connected=self._mqtt is not None and self._mqtt.connected,
            last_taken=queue.last_period,
            last_taken_end_ms=None if last is None else self._schedule.end_ms(last.period),
            last_final=self._delivery.last_final,
            import_wh=None if last is None else last.import_wh,
            export_wh=None if last is None else last.export_wh,
            waiting=len(queue),
            telegrams=0 if self._telegrams is None else self._telegrams.telegrams,
            refused=self._refused(),
            refused_by_chain=self._delivery.refused,
            missed=0 if self._telegrams is None else self._telegrams.missed,
            restarts=dict(self._restarts),
            **self._market_facts(),
        )

    def _market_facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        if self._control is not None and self._control.decision is not None:
            decision = self._control.decision
            facts |= {"breaker_open": decision.is_open, "breaker_reason": decision.reason, "shed": decision.shed}
        if self._trader is not None:
            trader = self._trader
            facts |= {
                "autopilot": trader.state,
                "open_orders": trader.open_orders,
                "last_actions": tuple(trader.last_actions),
            }
        return facts

    def _refused(self) -> dict[str, int]:
        source = self._telegrams or self._signed
        return {} if source is None else dict(source.refused)


def _reading_facts(reading: TakenReading, schedule: Schedule) -> dict[str, int]:
    """For people and programs in the house."""
    return {
        "period": reading.period,
        "begin_ms": schedule.end_ms(reading.period - 1),
        "end_ms": schedule.end_ms(reading.period),
        "import_wh": reading.import_wh,
        "export_wh": reading.export_wh,
    }


def _password(path: Path) -> str:
    """A file's first line. Errors: HomeError."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(MAX_PASSWORD_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"mqtt.password_file: {path}: {error}") from error


def run_home(settings: HomeSettings) -> list[str]:
    """Until SIGTERM or SIGINT; empty then, else why it ended."""
    reasons: list[str] = []
    try:
        trio.run(_until_signal, settings)
    except* (HomeError, QueueError, KeyFileError) as failures:
        reasons += [str(failure) for failure in each_failure(failures)]
    return reasons


async def _until_signal(settings: HomeSettings) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Home(settings).run)
            async for _ in signals:
                nursery.cancel_scope.cancel()


def each_failure(failures: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors in a group of groups."""
    for failure in failures.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            yield from each_failure(failure)
        else:
            yield failure

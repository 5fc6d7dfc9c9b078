"""A meter that signs, a broker, the home's process, a node: each is taken away, and no reading is lost or doubled.

With a real mosquitto and with the embedded broker; the test's name says which it was.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from devnet.making import free_ports
from home.configuration import Configuration, MeterSettings, MqttSettings, NodeSettings
from home.keeping import keep_running
from home.metering import SimulatedMeter
from home.mqtt import Broker, MqttBroken, MqttLink, Will
from home.profiles.series import ConnectionMeter
from node import log
from node.clock import system_wall_ms
from tests.home.brokers import KINDS, External, running_broker
from tests.home.lone_home import HOUSE, METER_KEY, LoneHome, until
from tests.home.processes import HomeProcess
from tests.home.test_run import assert_complete

TEST_WITHIN_S = 150
AGAIN_S = 0.3


class Cryptometer:
    """Signs at each period's end, and sends what the home has not said it has."""

    def __init__(self, home: LoneHome, port: int) -> None:
        self._schedule = home.schedule
        self._meter = SimulatedMeter(METER_KEY, ConnectionMeter(HOUSE), home.schedule)
        self.signed: dict[int, bytes] = {}
        self.heard = home.schedule.first_period - 1
        self.states: list[str] = []
        handlers = {"ecloud/home/reading": self._on_reading, "ecloud/home/status": self._on_status}
        self.link = MqttLink(Broker("127.0.0.1", port), "meter", Will("meter", b"gone"), handlers)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_running, "meter", self.link.run, (MqttBroken,), log.get("test"), Counter())
            while True:
                for reading in self._meter.due(system_wall_ms(), max(self.signed, default=None)):
                    self.signed[reading.period] = reading.transaction.raw
                for period, raw in self.signed.items():
                    if period > self.heard:
                        self.link.publish("ecloud/home/signed", raw, retain=False)
                await trio.sleep(AGAIN_S)

    def _on_reading(self, payload: bytes) -> bool:
        self.heard = max(self.heard, msgspec.json.decode(payload)["period"])
        return True

    def _on_status(self, payload: bytes) -> bool:
        self.states.append(msgspec.json.decode(payload)["state"])
        return True


def configuration_of(home: LoneHome, kind: str, port: int) -> Configuration:
    mqtt = MqttSettings(listen=f"127.0.0.1:{port}")
    return Configuration(
        node=NodeSettings(api=home.url),
        meter=MeterSettings(source="signed", key_file="meter.public"),
        mqtt=mqtt if kind == "embedded" else replace(mqtt, broker=f"127.0.0.1:{port}"),
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.trio
async def test_whoever_goes_away_and_comes_back(kind: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(TEST_WITHIN_S))
        # Given a meter that signs, a broker, the home's process and a node
        broker = await stack.enter_async_context(running_broker(kind, tmp_path)) if kind == "mosquitto" else None
        port = free_ports(1)[0] if broker is None else broker.port
        home = LoneHome(tmp_path, free_ports(1)[0])
        (tmp_path / "meter.public").write_text(METER_KEY.public_key.hex() + "\n")
        process = HomeProcess(tmp_path, configuration_of(home, kind, port))
        stack.callback(process.leave_nothing)
        meter = Cryptometer(home, port)
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(meter.run)
        process.start()
        async with home.running():
            await home.until_final(2)
            if isinstance(broker, External):
                # When the broker is away for two periods
                await broker.stop()
                before = len(meter.signed)
                await until(lambda: len(meter.signed) >= before + 2)
                await broker.start()
                await home.until_final(before + 2)
        # And the node for two
        before = home.taken()
        await until(lambda: home.taken() >= before + 2)
        async with home.running():
            await home.until_final(before + 2)
            # And the home, killed in the middle of it
            process.kill()
            if broker is not None:
                await until(lambda: meter.states[-1:] == ["offline"])  # its last will
            before = len(meter.signed)
            await until(lambda: len(meter.signed) >= before + 2)
            process.start()
            await home.until_final(before + 3)
            # Then it stops when it is told to: in less than a second, but here others may use the cores
            began = time.monotonic()
            assert await trio.to_thread.run_sync(process.stop) == 0
            assert time.monotonic() - began < 5.0
        nursery.cancel_scope.cancel()
    # And every period has its one reading
    assert_complete(home, before + 3)
    assert home.refused() == 0


@pytest.mark.trio
async def test_messages_that_are_no_readings_are_refused_and_harm_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(TEST_WITHIN_S))
        port = free_ports(1)[0]
        home = LoneHome(tmp_path, free_ports(1)[0])
        (tmp_path / "meter.public").write_text(METER_KEY.public_key.hex() + "\n")
        process = HomeProcess(tmp_path, configuration_of(home, "embedded", port))
        stack.callback(process.leave_nothing)
        meter = Cryptometer(home, port)
        nursery = await stack.enter_async_context(trio.open_nursery())
        process.start()
        nursery.start_soon(meter.run)
        async with home.running():
            # Given readings that come
            await home.until_final(1)
            # When somebody sends rubbish, and a reading whose signature was changed
            raw = bytearray(max(meter.signed.items())[1])
            raw[-1] ^= 1
            for message in (b"", b"rubbish", bytes(raw), bytes(70_000)):
                meter.link.publish("ecloud/home/signed", message, retain=False)
            # Then the meter's own go on
            await home.until_final(len(home.readings()) + 2)
        await trio.to_thread.run_sync(process.stop)
        nursery.cancel_scope.cancel()
    assert_complete(home, 3)
    assert process.log.count("no-reading") >= 3
    assert "signature-wrong" in process.log

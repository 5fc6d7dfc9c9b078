"""A home whose meter speaks P1 over a socket: telegrams become readings, and each can be proven from its telegrams."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from devnet.making import free_ports
from home.configuration import OFF, Configuration, MeterSettings, MqttSettings, NodeSettings, P1Settings
from home.keeping import keep_running
from home.mqtt import Broker, Handler, MqttBroken, MqttLink, Will
from home.status import read_status
from ledger.merkle import verify_inclusion
from ledger.transactions import SubmitReading, decode_transaction
from node import log
from node.client.client import NodeClient
from node.key_files import write_private
from tests.home.lone_home import METER_KEY, PERIOD_MS, LoneHome, until
from tests.home.processes import HomeProcess
from tests.home.telegrams import telegram

TEST_WITHIN_S = 120
EVERY_S = 0.05


class TalkingMeter:
    """Says its registers twenty times a second to whoever listens, in pieces, with a torn telegram now and then; hangs
    up once.
    """

    def __init__(self) -> None:
        self.said: set[tuple[int, int]] = set()
        self.calls = 0
        self._import_wh = 1_000

    async def serve(self, stream: trio.SocketStream) -> None:
        self.calls += 1
        number = 0
        try:
            while True:
                number += 1
                self._import_wh += 1
                raw = telegram(self._import_wh, 50)
                if number % 20 == 7:
                    raw = raw[:100] + b"\r\n"  # torn
                elif number % 20 == 14:
                    raw = raw.replace(b"000.050", b"000.051")  # damaged
                else:
                    self.said.add((self._import_wh, 50))
                await stream.send_all(raw[:33])
                await stream.send_all(raw[33:])
                await trio.sleep(EVERY_S)
                if self.calls == 1 and number == 50:
                    return  # the cable is pulled, once
        except trio.BrokenResourceError:
            pass  # the home was stopped

    async def listen(self, port: int) -> None:
        await trio.serve_tcp(self.serve, port, host="127.0.0.1")


def configuration_of(home: LoneHome, port: int) -> Configuration:
    return Configuration(
        node=NodeSettings(api=home.url),
        meter=MeterSettings(source="p1"),
        p1=P1Settings(cable=f"tcp:127.0.0.1:{port}", keep_every_s=0),
        mqtt=MqttSettings(broker=OFF),
    )


async def payload_in(home: LoneHome, period: int) -> SubmitReading:
    """The signed reading of a period, from its block."""
    async with NodeClient(home.url) as client:
        found = next(one for one in (await client.readings()).readings if one.period == period)
        transaction = await client.transaction(found.transaction_id)
    payload = decode_transaction(bytes.fromhex(transaction.raw)).payload
    assert isinstance(payload, SubmitReading)
    return payload


@pytest.mark.trio
async def test_telegrams_become_readings_that_can_be_proven(tmp_path: Path) -> None:
    write_private(tmp_path / "meter.key", METER_KEY.seed.hex().encode() + b"\n")
    home, meter, port = LoneHome(tmp_path, free_ports(1)[0]), TalkingMeter(), free_ports(1)[0]
    process = HomeProcess(tmp_path, configuration_of(home, port))
    try:
        with trio.fail_after(TEST_WITHIN_S):
            async with home.running(), trio.open_nursery() as nursery:
                # Given a home on the cable of a meter that is pulled once, and sends torn and damaged telegrams
                nursery.start_soon(partial(meter.listen, port))
                process.start()
                # When some periods have passed
                await until(lambda: meter.calls >= 2)
                await home.until_final(5)
                assert await trio.to_thread.run_sync(process.stop) == 0
                readings = home.readings()
                payload = await payload_in(home, max(readings))
                nursery.cancel_scope.cancel()
    finally:
        process.leave_nothing()
    # Then each reading has registers the meter said, within the tolerance of the period's end
    assert all((one.import_wh, one.export_wh) in meter.said for one in readings.values())
    assert all(abs(one.sampled_at_ms - (period + 1) * PERIOD_MS) <= 450 for period, one in readings.items())
    # And what was no telegram was named and counted
    status = read_status(tmp_path)
    assert status is not None
    assert status.refused["torn"] > 0
    assert status.refused["checksum-wrong"] > 0
    # And the telegram that was latched can be proven under the signed root
    shown = await trio.to_thread.run_sync(prove, tmp_path, max(readings))
    assert shown["samples_root"] == (payload.samples_root or b"").hex()
    raw, proof = shown["telegram"].encode(), [bytes.fromhex(one) for one in shown["proof"]]
    assert verify_inclusion(bytes.fromhex(shown["samples_root"]), raw, shown["index"], shown["size"], proof)
    assert raw == telegram(readings[max(readings)].import_wh, 50)


def prove(directory: Path, period: int) -> dict[str, object]:
    command = [sys.executable, "-m", "cli.main", "home", "prove", str(period), "--directory", str(directory), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


async def publish_telegrams(link: MqttLink, said: set[tuple[int, int]]) -> None:
    import_wh = 500
    while True:
        import_wh += 1
        said.add((import_wh, 9))
        link.publish("ecloud/home/telegram", telegram(import_wh, 9), retain=False)
        link.publish("ecloud/home/telegram", telegram(import_wh, 9)[:-7], retain=False)
        await trio.sleep(EVERY_S)


@pytest.mark.trio
async def test_telegrams_by_mqtt_become_readings_and_the_house_hears_of_them(tmp_path: Path) -> None:
    write_private(tmp_path / "meter.key", METER_KEY.seed.hex().encode() + b"\n")
    home, port = LoneHome(tmp_path, free_ports(1)[0]), free_ports(1)[0]
    mqtt = MqttSettings(listen=f"127.0.0.1:{port}")
    settings = replace(configuration_of(home, port), p1=P1Settings(cable="mqtt", keep_every_s=0), mqtt=mqtt)
    process = HomeProcess(tmp_path, settings)
    heard: dict[str, list[bytes]] = {name: [] for name in ("reading", "breaker", "shedding", "status")}
    handlers = {f"ecloud/home/{name}": hearing(found) for name, found in heard.items()}
    link, said = (
        MqttLink(Broker("127.0.0.1", port), "reader", Will("reader", b"gone"), handlers),
        set[tuple[int, int]](),
    )
    try:
        with trio.fail_after(TEST_WITHIN_S):
            async with home.running(), trio.open_nursery() as nursery:
                # Given a network reader that publishes telegrams, each followed by a torn one
                process.start()
                nursery.start_soon(keep_running, "reader", link.run, (MqttBroken,), log.get("test"), Counter())
                nursery.start_soon(publish_telegrams, link, said)
                # When some periods have passed
                await home.until_final(3)
                await until(lambda: all(heard.values()))
                nursery.cancel_scope.cancel()
    finally:
        process.leave_nothing()
    # Then each reading has registers of a telegram
    assert all((one.import_wh, one.export_wh) in said for one in home.readings().values())
    # And the house was told: the reading, the breaker, what to shed, and that the home is there
    assert set(json.loads(heard["reading"][-1])) >= {"period", "begin_ms", "end_ms", "import_wh", "export_wh"}
    assert json.loads(heard["breaker"][-1])["state"] == "closed"
    assert json.loads(heard["shedding"][-1])["order"] == ["non_essential", "heating_and_cooling", "essential"]
    assert json.loads(heard["status"][-1])["refused"]["torn"] > 0


def hearing(found: list[bytes]) -> Handler:
    def take(payload: bytes) -> bool:
        found.append(payload)
        return True

    return take

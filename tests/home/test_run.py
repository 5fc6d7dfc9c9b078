"""The home's process against a real node: no reading is lost or doubled, whoever goes away."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from devnet.making import free_ports
from home.configuration import OFF, Configuration, MqttSettings, NodeSettings, SimulatedSettings, render
from home.delivery import QUEUE_NAME, SCHEDULE_NAME, HomeError, keep_schedule, load_schedule
from home.profiles.series import ConnectionMeter, House
from home.reading_queue import ReadingQueue
from home.run import Home, HomeSettings
from node.client.client import NodeClient
from node.key_files import write_private
from tests.home.lone_home import HOUSE, METER_KEY, LoneHome, until

TEST_WITHIN_S = 120


@pytest.fixture
def home(tmp_path: Path) -> LoneHome:
    write_private(tmp_path / "meter.key", METER_KEY.seed.hex().encode() + b"\n")
    return LoneHome(tmp_path, free_ports(1)[0])


def settings_of(home: LoneHome, house: House = HOUSE) -> HomeSettings:
    """Also written to ``home.toml``, for a process."""
    configuration = Configuration(
        node=NodeSettings(api=home.url),
        simulated=SimulatedSettings(
            household=house.household,
            yearly_kwh=house.yearly_kwh,
            solar=-1 if house.solar is None else house.solar,
            peak_watt=house.peak_watt,
            start_sample=house.start_sample,
        ),
        mqtt=MqttSettings(broker=OFF),
    )
    (home.directory / "home.toml").write_text(render(configuration))
    return HomeSettings(home.directory, configuration, lambda: NodeClient(home.url))


def start_process(home: LoneHome) -> subprocess.Popen[str]:
    settings_of(home)
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "home", "run", "--directory", str(home.directory)],
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_complete(home: LoneHome, at_least: int) -> None:
    """Every period from the chain's first on has its one reading, and the registers are the house's."""
    readings = home.readings()
    periods = sorted(readings)
    assert len(periods) >= at_least
    assert periods == list(range(home.schedule.first_period, home.schedule.first_period + len(periods)))
    registers = ConnectionMeter(HOUSE)
    for number, period in enumerate(periods, 1):
        reading = readings[period]
        assert (reading.import_wh, reading.export_wh) == registers.registers(number)
        assert reading.sampled_at_ms == home.schedule.end_ms(period)
    totals = home.energy()
    assert totals.readings == len(periods)
    assert (totals.import_wh, totals.export_wh) == registers.registers(len(periods))
    assert not home.meter().suspended


@pytest.mark.parametrize("damage", [b"", b"{", b'{"period_ms": "\xff"}'])
def test_a_damaged_schedule_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / SCHEDULE_NAME).write_bytes(damage)
    with pytest.raises(HomeError, match="damaged"):
        load_schedule(tmp_path)


@pytest.mark.trio
async def test_every_period_is_read_signed_and_final(home: LoneHome) -> None:
    with trio.fail_after(TEST_WITHIN_S):
        # Given a node, and a meter that has never run
        async with home.running(), trio.open_nursery() as nursery:
            nursery.start_soon(Home(settings_of(home)).run)
            # When four periods have passed
            await home.until_final(4)
            nursery.cancel_scope.cancel()
    # Then each has its reading
    assert_complete(home, 4)
    assert load_schedule(home.directory) == home.schedule


@pytest.mark.trio
async def test_the_nodes_absence_only_makes_the_queue_longer(home: LoneHome) -> None:
    with trio.fail_after(TEST_WITHIN_S):
        async with trio.open_nursery() as nursery:
            # Given a meter whose node goes away after two readings
            async with home.running():
                nursery.start_soon(Home(settings_of(home)).run)
                await home.until_final(2)
            before = len(home.readings())
            # When it is away for three periods, and is back
            await until(lambda: home.taken() >= before + 3)
            assert len(home.readings()) == before
            async with home.running():
                await home.until_final(before + 5)
            nursery.cancel_scope.cancel()
    # Then the readings of its absence are there too
    assert_complete(home, before + 5)


@pytest.mark.trio
async def test_a_killed_meter_goes_on_where_its_registers_stand(home: LoneHome) -> None:
    with trio.fail_after(TEST_WITHIN_S):
        # Given a meter's process
        async with home.running():
            process = await trio.to_thread.run_sync(start_process, home)
            await home.until_final(2)
        # When it is killed while its node is away and readings wait
        await until(lambda: home.taken() > len(home.readings()))
        process.send_signal(signal.SIGKILL)
        log = await trio.to_thread.run_sync(process.communicate)
        assert process.returncode == -signal.SIGKILL
        assert "reading taken" in log[1]
        before = len(home.readings())
        # And both are started again, the meter first
        process = await trio.to_thread.run_sync(start_process, home)
        async with home.running():
            await home.until_final(before + 4)
            process.send_signal(signal.SIGTERM)
            await trio.to_thread.run_sync(process.communicate)
    # Then it stopped cleanly, and nothing is lost or doubled
    assert process.returncode == 0
    assert_complete(home, before + 4)


@pytest.mark.trio
async def test_a_reading_that_can_never_be_accepted_does_not_block_the_next(tmp_path: Path) -> None:
    # Given a meter that is registered for a far smaller connection than the house has
    write_private(tmp_path / "meter.key", METER_KEY.seed.hex().encode() + b"\n")
    home = LoneHome(tmp_path, free_ports(1)[0], import_nameplate_w=1)
    house = House(household=1, yearly_kwh=900_000)
    with trio.fail_after(TEST_WITHIN_S):
        async with home.running(), trio.open_nursery() as nursery:
            nursery.start_soon(Home(settings_of(home, house)).run)
            # When it has read three times
            await until(lambda: home.refused() >= 3)
            nursery.cancel_scope.cancel()
    # Then each was refused and is settled
    assert home.readings() == {}
    with ReadingQueue(tmp_path / QUEUE_NAME) as queue:
        assert len(queue) <= 1


@pytest.mark.trio
async def test_a_node_of_another_chain_gets_nothing(home: LoneHome) -> None:
    # Given a meter that remembers another chain
    keep_schedule(home.directory, msgspec.structs.replace(home.schedule, chain_id="00" * 32))
    with trio.fail_after(TEST_WITHIN_S):
        async with home.running():
            # When it is started on this node
            process = await trio.to_thread.run_sync(start_process, home)
            _, log = await trio.to_thread.run_sync(process.communicate)
    # Then it stops and says what to do
    assert process.returncode == 2
    assert "give the home its own node" in log
    assert home.readings() == {}


def test_without_its_key_a_meter_says_so(home: LoneHome) -> None:
    (home.directory / "meter.key").unlink()
    process = start_process(home)
    _, log = process.communicate(timeout=TEST_WITHIN_S)
    assert process.returncode == 2
    assert "there is no key file" in log

"""A simulated smart meter, a process of its own: ``python -m home.meter --key FILE --api URL --household I …``

1. It asks its node once for the chain and its periods, and remembers them, so that it can also start while the node is
   away.
2. At each period's end it signs a reading and queues it on disk; that needs no node.
3. Beside that it submits what is queued, one after the other, each until it is final or refused for good. The node's
   absence only makes the queue longer.
4. A node of another chain than the remembered one is an error: the meter stops and says so.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from home.metering import KEPT_REFUSALS, Schedule, SimulatedMeter
from home.profiles.series import ConnectionMeter, House
from home.reading_queue import QueuedReading, QueueError, QueueFull, ReadingQueue
from ledger.keys import SigningKey
from ledger.refusal import Refusal
from ledger.transactions import decode_transaction
from node import log
from node.client.client import NodeClient
from node.client.errors import ApiProblem, ClientError, NodeAway, NotFinal
from node.client.wallet import wait_final
from node.clock import WallClock, system_wall_ms
from node.key_files import KeyFileError, load_seed

QUEUE_NAME: Final = "readings.queue"
SCHEDULE_NAME: Final = "schedule.json"
FIRST_RETRY_S: Final = 0.25
LAST_RETRY_S: Final = 5.0
FINAL_WITHIN_S: Final = 30.0
LONGEST_SLEEP_S: Final = 30.0
"""The wall clock may be set, or the machine sleep, while the meter waits for a period's end."""

T = TypeVar("T")


class MeterError(Exception):
    """The meter cannot work; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """``directory`` keeps queue and schedule."""

    key_file: Path
    api_url: str
    house: House
    directory: Path


class MeterProcess:
    """See the module's rules."""

    def __init__(self, settings: MeterSettings, wall: WallClock = system_wall_ms) -> None:
        self._settings = settings
        self._wall = wall
        self._log = log.get("meter")
        self._taken = trio.Event()

    async def run(self) -> None:
        """Until cancelled. Errors: MeterError, QueueError, KeyFileError."""
        settings = self._settings
        key = SigningKey(load_seed(settings.key_file))
        registers = ConnectionMeter(settings.house)
        with ReadingQueue(settings.directory / QUEUE_NAME) as queue:
            async with NodeClient(settings.api_url) as client:
                schedule = load_schedule(settings.directory) or await self._first_schedule(client)
                meter = SimulatedMeter(key, registers, schedule)
                self._log.info("meter runs", meter=key.public_key.hex()[:16], waiting=len(queue))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._take_readings, meter, schedule, queue)
                    nursery.start_soon(self._submit_readings, client, schedule, queue)

    async def _first_schedule(self, client: NodeClient) -> Schedule:
        schedule = await self._until_answered(lambda: ask_schedule(client))
        keep_schedule(self._settings.directory, schedule)
        return schedule

    async def _take_readings(self, meter: SimulatedMeter, schedule: Schedule, queue: ReadingQueue) -> None:
        while True:
            try:
                self._take_due(meter, queue)
            except (QueueFull, OSError) as error:
                # Nothing is lost yet: the registers go on, and what could not be kept is due again at the next try.
                self._log.error("reading not kept", detail=str(error))
            now_ms = self._wall()
            await trio.sleep(min(LONGEST_SLEEP_S, (schedule.next_end_ms(now_ms) - now_ms) / 1000))

    def _take_due(self, meter: SimulatedMeter, queue: ReadingQueue) -> None:
        for reading in meter.due(self._wall(), queue.last_period):
            queue.take(reading.period, reading.transaction.raw)
            self._log.info(
                "reading taken",
                period=reading.period,
                import_wh=reading.import_wh,
                export_wh=reading.export_wh,
                waiting=len(queue),
            )
            self._taken.set()

    async def _submit_readings(self, client: NodeClient, schedule: Schedule, queue: ReadingQueue) -> None:
        await self._until_answered(lambda: check_chain(client, schedule))
        while True:
            oldest = queue.oldest()
            if oldest is None:
                self._taken = trio.Event()
                await self._taken.wait()
            else:
                await self._settle(queue, oldest.period, await self._deliver(client, oldest))

    async def _settle(self, queue: ReadingQueue, period: int, accepted: bool) -> None:
        while True:
            try:
                queue.settle(period, accepted)
            except OSError as error:
                self._log.error("queue not written", detail=str(error))
                await trio.sleep(LAST_RETRY_S)
            else:
                return

    async def _deliver(self, client: NodeClient, reading: QueuedReading) -> bool:
        """True once it is final, False once it is refused for good."""
        transaction_id = decode_transaction(reading.raw).id.hex()
        while True:
            refused = await self._until_answered(lambda: submit(client, reading.raw))
            if refused is not None:
                self._log.error("reading refused", period=reading.period, reason=str(refused))
                return False
            try:
                final = await wait_final(client, transaction_id, FINAL_WITHIN_S)
            except NotFinal:
                self._log.warning("reading not final yet: submitted again", period=reading.period)
            except ClientError as error:
                self._log.warning("node fails: reading submitted again", period=reading.period, detail=str(error))
                await trio.sleep(LAST_RETRY_S)
            else:
                noted = {"note": final.note} if final.note else {}
                self._log.info("reading final", period=reading.period, height=final.height, **noted)
                return final.refusal is None

    async def _until_answered(self, question: Callable[[], Awaitable[T]]) -> T:
        """Asks until the node answers, ever less often; says once why it has to."""
        retry_s, said = FIRST_RETRY_S, ""
        while True:
            try:
                return await question()
            except ClientError as error:
                if str(error) != said:
                    said = str(error)
                    self._log.warning("node away" if isinstance(error, NodeAway) else "node cannot", detail=said)
            await trio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)


async def submit(client: NodeClient, raw: bytes) -> ApiProblem | None:
    """None once the node has it; the problem if it is refused for good. Errors: ClientError: trying again may help."""
    try:
        await client.submit(raw)
    except ApiProblem as problem:
        if problem.refusal is Refusal.DUPLICATE:
            return None  # it has it: from before a restart, or by way of a peer
        if problem.refusal is None or problem.retry_may_help or problem.refusal in KEPT_REFUSALS:
            raise
        return problem
    return None


async def ask_schedule(client: NodeClient) -> Schedule:
    """Errors: ClientError."""
    genesis = await client.genesis()
    parameters = (await client.parameters()).parameters
    return Schedule(
        chain_id=genesis.chain_id,
        first_period=genesis.time_ms // parameters["period_ms"],
        period_ms=parameters["period_ms"],
        acceptance_window_ms=parameters["acceptance_window_ms"],
    )


async def check_chain(client: NodeClient, schedule: Schedule) -> None:
    """Errors: MeterError if the node is of another chain; ClientError."""
    chain_id = (await client.status()).chain_id
    if chain_id != schedule.chain_id:
        raise MeterError(
            f"the node at {client.where} is of chain {chain_id[:16]}…, this meter of {schedule.chain_id[:16]}…: give "
            f"the meter its own node, or remove {SCHEDULE_NAME} and {QUEUE_NAME} if it has moved to another chain"
        )


def load_schedule(directory: Path) -> Schedule | None:
    """What was remembered; None if nothing is. Errors: MeterError."""
    path = directory / SCHEDULE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Schedule)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MeterError(f"{path} is damaged ({error}); remove it: the node will be asked again") from error


def keep_schedule(directory: Path, schedule: Schedule) -> None:
    temporary = directory / f".{SCHEDULE_NAME}.new"
    temporary.write_bytes(msgspec.json.encode(schedule))
    temporary.replace(directory / SCHEDULE_NAME)


def read_arguments(arguments: Sequence[str]) -> MeterSettings:
    """Errors: SystemExit 2, with the sentence printed, for arguments that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m home.meter", description="A simulated smart meter.")
    parser.add_argument("--key", type=Path, required=True, help="the meter's key file")
    parser.add_argument("--api", required=True, help="URL of the home's node")
    parser.add_argument("--household", type=int, required=True, help="load profile, 0 to 4")
    parser.add_argument("--yearly-kwh", type=int, required=True, help="what the household consumes in a year")
    parser.add_argument("--solar", type=int, help="solar profile, 0 to 7; none without a roof")
    parser.add_argument("--peak-watt", type=int, default=0, help="the roof's peak power")
    parser.add_argument("--start-sample", type=int, default=0, help="quarter hour of the year at which the chain began")
    parser.add_argument("--directory", type=Path, help="where queue and schedule are kept; default: beside the key")
    found = parser.parse_args(arguments)
    try:
        house = House(found.household, found.yearly_kwh, found.solar, found.peak_watt, found.start_sample)
    except ValueError as error:
        parser.error(str(error))
    return MeterSettings(found.key, found.api, house, found.directory or found.key.parent)


async def run_until_signal(settings: MeterSettings) -> None:
    """Until SIGTERM or SIGINT. Errors: as ``MeterProcess.run``."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(MeterProcess(settings).run)
            async for _ in signals:
                nursery.cancel_scope.cancel()


def main() -> int:
    log.configure("info", as_json=False)
    settings = read_arguments(sys.argv[1:])
    reasons: list[BaseException] = []
    try:
        trio.run(run_until_signal, settings)
    except* (MeterError, QueueError, KeyFileError) as failures:
        reasons += each_failure(failures)
    for reason in reasons:
        log.get("meter").error("meter stops", reason=str(reason))
    return 1 if reasons else 0


def each_failure(failures: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors in a group of groups."""
    for failure in failures.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            yield from each_failure(failure)
        else:
            yield failure


if __name__ == "__main__":
    sys.exit(main())

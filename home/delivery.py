"""Bringing signed readings from the queue to the chain, one after the other, through whatever absences.

1. Each is submitted until it is final or refused for good; only then it leaves the queue, and the next has its turn.
2. The node's absence only makes the queue longer. A node that answers, but of another chain than the remembered one,
   is an error: the home stops and says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from home.metering import KEPT_REFUSALS, Schedule
from home.reading_queue import QueuedReading, ReadingQueue
from ledger.refusal import Refusal
from ledger.transactions import decode_transaction
from node import log
from node.client.client import NodeClient
from node.client.errors import ApiProblem, ClientError, NodeAway, NotFinal
from node.client.wallet import wait_final

QUEUE_NAME: Final = "readings.queue"
SCHEDULE_NAME: Final = "schedule.json"
FIRST_RETRY_S: Final = 0.25
LAST_RETRY_S: Final = 5.0
FINAL_WITHIN_S: Final = 30.0

T = TypeVar("T")


class HomeError(Exception):
    """The home cannot work; the message says what to do about it."""


class Delivery:
    """See the module's rules. ``node_answers`` and ``last_final`` are for who watches."""

    def __init__(self, client: NodeClient, queue: ReadingQueue) -> None:
        self._client = client
        self._queue = queue
        self._log = log.get("delivery")
        self._taken = trio.Event()
        self.node_answers = False
        self.last_final: int | None = None
        self.refused = 0

    async def first_schedule(self, directory: Path) -> Schedule:
        """What is remembered of the chain, else what the node says of it, which is remembered. Errors: HomeError."""
        remembered = load_schedule(directory)
        if remembered is not None:
            return remembered
        schedule = await self._until_answered(lambda: ask_schedule(self._client))
        keep_schedule(directory, schedule)
        return schedule

    def wake(self) -> None:
        """There is something in the queue."""
        self._taken.set()

    async def run(self, schedule: Schedule) -> None:
        """Until cancelled. Errors: HomeError."""
        await self._until_answered(lambda: check_chain(self._client, schedule))
        while True:
            oldest = self._queue.oldest()
            if oldest is None:
                self._taken = trio.Event()
                await self._taken.wait()
            else:
                await self._settle(oldest.period, await self._deliver(oldest))

    async def _settle(self, period: int, accepted: bool) -> None:
        while True:
            try:
                self._queue.settle(period, accepted)
            except OSError as error:
                self._log.error("queue not written", detail=str(error))
                await trio.sleep(LAST_RETRY_S)
            else:
                return

    async def _deliver(self, reading: QueuedReading) -> bool:
        """True once it is final, False once it is refused for good."""
        transaction_id = decode_transaction(reading.raw).id.hex()
        while True:
            refused = await self._until_answered(lambda: submit(self._client, reading.raw))
            if refused is not None:
                self._log.error("reading refused", period=reading.period, reason=str(refused))
                self.refused += 1
                return False
            try:
                final = await wait_final(self._client, transaction_id, FINAL_WITHIN_S)
            except NotFinal:
                self._log.warning("reading not final yet: submitted again", period=reading.period)
            except ClientError as error:
                self._log.warning("node fails: reading submitted again", period=reading.period, detail=str(error))
                await trio.sleep(LAST_RETRY_S)
            else:
                noted = {"note": final.note} if final.note else {}
                self._log.debug("reading final", period=reading.period, height=final.height, **noted)
                self.last_final = reading.period
                return final.refusal is None

    async def _until_answered(self, question: Callable[[], Awaitable[T]]) -> T:
        """Asks until the node answers, ever less often; says once why it has to."""
        retry_s, said = FIRST_RETRY_S, ""
        while True:
            try:
                answer = await question()
            except ClientError as error:
                self.node_answers = not isinstance(error, NodeAway)
                if str(error) != said:
                    said = str(error)
                    self._log.warning("node cannot" if self.node_answers else "node away", detail=said)
            else:
                self.node_answers = True
                if said:
                    self._log.info("node answers again")
                return answer
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
        sampling_tolerance_ms=parameters["sampling_tolerance_ms"],
    )


async def check_chain(client: NodeClient, schedule: Schedule) -> None:
    """Errors: HomeError if the node is of another chain; ClientError."""
    chain_id = (await client.status()).chain_id
    if chain_id != schedule.chain_id:
        raise HomeError(
            f"the node at {client.where} is of chain {chain_id[:16]}…, this home of {schedule.chain_id[:16]}…: give "
            f"the home its own node, or remove {SCHEDULE_NAME} and {QUEUE_NAME} if it has moved to another chain"
        )


def load_schedule(directory: Path) -> Schedule | None:
    """What was remembered; None if nothing is. Errors: HomeError."""
    path = directory / SCHEDULE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Schedule)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HomeError(f"{path} is damaged ({error}); remove it: the node will be asked again") from error


def keep_schedule(directory: Path, schedule: Schedule) -> None:
    temporary = directory / f".{SCHEDULE_NAME}.new"
    temporary.write_bytes(msgspec.json.encode(schedule))
    temporary.replace(directory / SCHEDULE_NAME)

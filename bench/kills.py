"""Real nodes killed with SIGKILL under load, again and again: ``make kills``.

1. A devnet of four homes, real nodes in processes of their own over libp2p on loopback, takes signed transfers through
   its nodes' APIs all the while.
2. One, two, or all four nodes are killed at once: at any instant; as a block becomes final (commit, clearing of the
   journal); as a turn begins (proposal, votes, fsync of the journal); while the node takes transactions in (its
   mempool's file). Each process is collected, and must have died of SIGKILL.
3. What a dead node left on its disk says where the kill hit. Nothing on the disk is touched; the same command starts
   the node again.
4. A node is *level* when it has every block that any node had before, and votes.
5. At the end every node must have every block and every transaction that any node called final, every transaction that
   any node acknowledged, the same block at every height, and a chain that verifies from the genesis on; and nobody may
   be convicted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Final

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.report import Table, save
from devnet import operations
from devnet.load import Load
from devnet.making import make_devnet
from devnet.manifest import HomeRecord, Manifest
from devnet.neighbourhood import PARAMETERS
from devnet.processes import ProcessId, stop_all
from devnet.up import lead_ms
from ledger.records import CANDIDATES, CandidateStatus
from ledger.state import State
from ledger.statements import StatementKind
from node.client.client import NodeClient
from node.client.errors import ClientError
from node.client.events import BlockFinal, TransactionFinal
from node.founding import read_genesis
from node.mempool_file import split_records
from node.run import MEMPOOL_FILE
from node.verification import verify_directory
from storage.chain import ChainDatabase
from storage.errors import MissingDatabase
from storage.interface import TransactionPlace
from storage.journal import Journal

HOMES: Final = 4
KILLS: Final = 200
PER_SECOND: Final = 12.0
TOGETHER: Final = (1, 1, 2, 1, 4)
"""How many nodes are killed at once, round after round."""
LEVEL_WITHIN_S: Final = 180.0
SETTLES_WITHIN_S: Final = 180.0
LONGEST_DOWN_S: Final = 3.0
AT_THE_TURN: Final = (0.0, 0.6)
AT_THE_COMMIT: Final = (0.5, 1.2)
"""When to kill, as parts of the time in which the last block became final."""
LONGEST_INTAKE_S: Final = 0.15
LOOK_EVERY_S: Final = 0.1


class KillsFailed(Exception):
    """What must hold after kills does not; says what."""


class Aim(StrEnum):
    ANYTIME = "at any instant"
    COMMIT = "as a block becomes final"
    TURN = "as a turn begins"
    INTAKE = "while it takes in transactions"


AIMS: Final = (Aim.ANYTIME, *3 * (Aim.TURN,), *3 * (Aim.COMMIT,), Aim.INTAKE)
"""Most kills are aimed at the moments that last least."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One process killed. ``hit``: what its disk says it was at. ``level_s``: from its next start until it is level."""

    name: str
    aim: Aim
    together: int
    hit: str
    torn_record: bool
    level_s: float


@dataclass(slots=True)
class Outcome:
    """``lost``, ``unequal`` and ``convicted`` must be 0. ``finals``: transactions that any node called final."""

    kills: list[Kill] = field(default_factory=list)
    acknowledged: int = 0
    finals: int = 0
    lost: int = 0
    unequal: int = 0
    convicted: int = 0
    verified: int = 0
    height: int = 0
    transactions: int = 0


class Campaign:
    """One devnet in ``root`` and all that is done to it. ``progress`` is called with the kills so far."""

    def __init__(self, root: Path, kills: int, seed: int, progress: Callable[[int], None]) -> None:
        begins_ms = time.time_ns() // 1_000_000 + lead_ms(HOMES, os.getloadavg()[0], os.cpu_count() or 1)
        self._manifest: Manifest = make_devnet(root, HOMES, begins_ms, 0)
        self._homes: dict[str, HomeRecord] = {home.name: home for home in self._manifest.homes}
        self._chain_id = bytes.fromhex(self._manifest.chain_id)
        self._load = Load(root, self._manifest.homes, self._chain_id, seed)
        self._random = Random(seed)
        self._wanted = kills
        self._progress = progress
        self._block_time_ms = begins_ms
        self._finality_ms = 0
        self._new_block = trio.Event()
        self._block_hashes: dict[int, set[str]] = {}
        self._final_ids: set[str] = set()
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """Errors: KillsFailed, and LoadRefused in a group."""
        for home in self._homes.values():
            operations.start(home.node)
        try:
            async with trio.open_nursery() as nursery:
                for home in self._homes.values():
                    nursery.start_soon(self._watch, home)
                nursery.start_soon(self._read_blocks)
                await self._until_level(list(self._homes), 0)
                await nursery.start(self._load.run, PER_SECOND)  # type: ignore[arg-type]  # trio-typing's stubs
                while len(self.outcome.kills) < self._wanted:
                    await self._round()
                    self._progress(len(self.outcome.kills))
                await self._settle()
                nursery.cancel_scope.cancel()
        finally:
            forced = stop_all(process for process in self._manifest.processes())
        if forced:
            raise KillsFailed(f"{forced} nodes did not stop when they were told to")
        self._compare()
        return self.outcome

    # -- a round

    async def _round(self) -> None:
        number = len(self.outcome.kills)
        count = min(TOGETHER[self._random.randrange(len(TOGETHER))], self._wanted - number)
        names = self._random.sample(list(self._homes), count)
        aim = self._random.choice(AIMS)
        await self._wait_for(aim, names[0])
        for name in names:
            kill(self._homes[name])
        self._load.focus = None
        left = {name: self._examine(self._homes[name]) for name in names}
        await trio.sleep(self._random.uniform(0, LONGEST_DOWN_S))
        height = max(self._block_hashes, default=0)
        for name in names:
            operations.start(self._homes[name].node)
        took_s = await self._until_level(names, height)
        self.outcome.kills += [Kill(name, aim, count, *left[name], took_s[name]) for name in names]

    async def _wait_for(self, aim: Aim, name: str) -> None:
        """Until the moment to kill."""
        if aim is Aim.ANYTIME:
            await trio.sleep(self._random.uniform(0, PARAMETERS.block_interval_ms / 1000))
        elif aim is Aim.INTAKE:
            self._load.focus = name
            await trio.sleep(self._random.uniform(0, LONGEST_INTAKE_S))
        else:
            with trio.move_on_after(LEVEL_WITHIN_S) as waiting:
                await self._new_block.wait()
            if waiting.cancelled_caught:
                raise KillsFailed(f"no block became final for {LEVEL_WITHIN_S:.0f} s")
            part = self._random.uniform(*(AT_THE_COMMIT if aim is Aim.COMMIT else AT_THE_TURN))
            moment_ms = self._block_time_ms + PARAMETERS.block_interval_ms + part * self._finality_ms
            await trio.sleep(max(0, moment_ms - time.time_ns() // 1_000_000) / 1000)

    async def _until_level(self, names: Sequence[str], height: int) -> dict[str, float]:
        """Seconds until each had ``height`` and voted. Errors: KillsFailed."""
        took_s: dict[str, float] = {}
        began_s = trio.current_time()

        async def wait(name: str) -> None:
            async with NodeClient(self._homes[name].api_url) as client:
                while True:
                    if not self._homes[name].node.alive:
                        raise KillsFailed(f"{name}'s node ended:\n{operations.last_lines(self._homes[name].node)}")
                    try:
                        status = await client.status()
                    except ClientError:
                        pass  # it is still starting
                    else:
                        if status.height >= height and status.engine.votes and status.engine.leader is not None:
                            took_s[name] = trio.current_time() - began_s
                            return
                    await trio.sleep(LOOK_EVERY_S)

        with trio.move_on_after(LEVEL_WITHIN_S):
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(wait, name)
        if late := set(names) - set(took_s):
            log = operations.last_lines(self._homes[min(late)].node)
            raise KillsFailed(f"{', '.join(sorted(late))} not level after {LEVEL_WITHIN_S:.0f} s:\n{log}")
        return took_s

    async def _watch(self, home: HomeRecord) -> None:
        """What a node calls final is noted for good."""
        async with NodeClient(home.api_url) as client, aclosing(client.events(0)) as events:
            async for event in events:
                if isinstance(event, TransactionFinal):
                    self._final_ids.add(event.id)
                elif isinstance(event, BlockFinal):
                    is_new = event.height not in self._block_hashes
                    self._block_hashes.setdefault(event.height, set()).add(event.hash)
                    if is_new:
                        self._block_time_ms = event.time_ms
                        self._finality_ms = event.finality_ms or self._finality_ms
                        happened, self._new_block = self._new_block, trio.Event()
                        happened.set()

    async def _read_blocks(self) -> None:
        """The transactions of every block: a block that a node missed being told of has no events for them."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(NodeClient(home.api_url)) for home in self._homes.values()]
            height = 1
            while True:
                news = self._new_block
                if height not in self._block_hashes:
                    await news.wait()
                for client in clients:
                    try:
                        block = await client.block(height)
                    except ClientError:
                        continue  # it is down, or behind: another one is asked
                    self._final_ids.update(one.id for one in block.transactions)
                    height += 1
                    break
                else:
                    await trio.sleep(LOOK_EVERY_S)

    def _examine(self, home: HomeRecord) -> tuple[str, bool]:
        """What a dead node was at, and whether a record of its mempool's file is cut short."""
        directory = Path(home.directory)
        waiting = directory / MEMPOOL_FILE
        written = waiting.read_bytes() if waiting.exists() else b""
        return _hit(directory, self._chain_id), split_records(written)[1] < len(written)

    # -- the end

    async def _settle(self) -> None:
        """Until all that was acknowledged is final everywhere. Errors: KillsFailed."""
        await self._load.stop()
        wanted = {transaction.hex() for transaction in self._load.acknowledged}
        with trio.move_on_after(SETTLES_WITHIN_S):
            while not wanted <= self._final_ids:  # noqa: ASYNC110 (four streams of events fill it)
                await trio.sleep(LOOK_EVERY_S)
            await self._until_level(list(self._homes), max(self._block_hashes))
            return
        missing = len(wanted - self._final_ids)
        raise KillsFailed(f"{missing} acknowledged transactions are not final {SETTLES_WITHIN_S:.0f} s after the load")

    def _compare(self) -> None:
        """Reads every chain from the disk of its node, which does not run any more."""
        outcome = self.outcome
        promised = set(self._load.acknowledged) | {bytes.fromhex(one) for one in self._final_ids}
        outcome.acknowledged, outcome.finals = len(self._load.acknowledged), len(self._final_ids)
        places: dict[bytes, set[TransactionPlace | None]] = {one: set() for one in promised}
        hashes = {height: set(found) for height, found in self._block_hashes.items()}
        for home in self._homes.values():
            directory = Path(home.directory)
            store = ChainDatabase.open(directory, chain_id=self._chain_id)
            try:
                tip = store.tip()
                outcome.height = max(outcome.height, 0 if tip is None else tip.height)
                for height, known in hashes.items():
                    found = store.block_hash(height)
                    known.add("missing" if found is None else found.hex())
                for transaction in promised:
                    places[transaction].add(store.find_transaction(transaction))
                outcome.convicted += sum(
                    candidate.status == CandidateStatus.EXPELLED for _, candidate in CANDIDATES.scan(State(store))
                )
            finally:
                store.close()
            verified = verify_directory(directory, read_genesis(directory)[1], lambda done, count: None)
            outcome.transactions = max(outcome.transactions, verified.transactions)
            outcome.verified += 1
        outcome.lost = sum(None in found for found in places.values())
        outcome.unequal = sum(len(known) > 1 for known in hashes.values())
        outcome.unequal += sum(len(known) > 1 for known in places.values())


def kill(home: HomeRecord) -> None:
    """Ends the node, and makes sure that it was this that ended it. Errors: KillsFailed."""
    process: ProcessId | None = home.node.process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    _, status = os.waitpid(process.pid, 0)
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        raise KillsFailed(f"{home.name}'s node had ended by itself:\n{operations.last_lines(home.node)}")


def _hit(directory: Path, chain_id: bytes) -> str:
    """What the disk of a dead node says it was at."""
    try:
        store = ChainDatabase.open(directory, chain_id=chain_id, read_only=True)
    except MissingDatabase:
        return "before its first block"
    try:
        tip = store.tip()
    finally:
        store.close()
    height = 0 if tip is None else tip.height
    journal = Journal.open(directory, chain_id=chain_id)
    try:
        if journal.load(height).votes:
            return "block committed, journal not yet cleared"
        contents = journal.load(height + 1)
    finally:
        journal.close()
    kinds = {kind for _, kind in contents.votes}
    if StatementKind.FINALIZE in kinds:
        return "finalize vote written, block not committed"
    if contents.proposals:
        return "own proposal written"
    if StatementKind.NOTARIZE in kinds:
        return "notarize vote written"
    if StatementKind.NULLIFY in kinds:
        return "nullify vote written"
    return "between two blocks"


def table(outcome: Outcome, command: str) -> Table:
    """Where the kills hit, and what became of it."""
    rows: list[tuple[str | int | float, ...]] = []
    hits = Counter(kill.hit for kill in outcome.kills)
    for hit, _ in hits.most_common():
        rows.append((hit, *_figures([kill for kill in outcome.kills if kill.hit == hit])))
    rows.append(("all", *_figures(outcome.kills)))
    torn = sum(kill.torn_record for kill in outcome.kills)
    return Table(
        name="kills",
        title=f"{len(outcome.kills)} kills (SIGKILL) of real nodes under load",
        command=command,
        columns=("where the kill hit", "kills", "alone", "two at once", "all four at once", "level p50 s", "p95 s"),
        rows=rows,
        notes=(
            f"{outcome.acknowledged:,} transactions were acknowledged; lost: {outcome.lost}. Blocks and places that "
            f"differ between nodes, or from what any node ever called final: {outcome.unequal}.",
            f"Repairs by hand: 0. Homes convicted: {outcome.convicted}. `chain verify` is good on {outcome.verified} "
            f"of {HOMES} nodes: {outcome.height:,} blocks, {outcome.transactions:,} transactions.",
            f"{torn} kills cut a record of the mempool's file short.",
            "Level: from the start of the process until it has every block that was final anywhere and votes; a node's "
            "imports take about 2.5 s of one core, and with two or four away nothing is final until they are back.",
        ),
    )


def _figures(kills: Sequence[Kill]) -> tuple[int | float, ...]:
    waits = sorted(kill.level_s for kill in kills)
    cuts = quantiles(waits, n=20) if len(waits) > 1 else waits * 19
    together = Counter(kill.together for kill in kills)
    others = together.total() - together[1] - together[HOMES]
    return len(kills), together[1], others, together[HOMES], round(cuts[9], 1), round(cuts[18], 1)


@contextmanager
def _bar(kills: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("kills"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=kills)
        yield lambda done: progress.update(task, completed=done)


def main() -> None:
    """Exit status 1 if anything was lost, differs, or somebody was convicted."""
    parser = argparse.ArgumentParser(description="Kills real nodes under load and looks for what is lost.")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="ecloud-kills-"))
    with _bar(arguments.kills) as progress:
        outcome = trio.run(Campaign(root, arguments.kills, arguments.seed, progress).run)
    save(table(outcome, "make kills"))
    if outcome.lost or outcome.unequal or outcome.convicted or outcome.verified < HOMES:
        sys.exit(f"the devnet is kept in {root}")
    shutil.rmtree(root)


if __name__ == "__main__":
    main()

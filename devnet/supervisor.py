"""``ecloud devnet up``: starts a neighbourhood, watches it, has faults happen to it, and stops it.

1. The nodes start first; once they answer, their homes. A program that ends in this time ends the start.
2. Afterwards the nodes' event streams tell what happens. A program that ends though it should run is an error if the
   devnet has a last block, else it is shown.
3. With a last block N every node halts at N by itself. The devnet is done when all nodes that should run have it; it
   has failed if none comes closer for ``STALLED_AFTER_S``.
4. However it ends, by itself, by an error, by Ctrl-C or SIGTERM: every process it started is stopped before it returns.
   Further signals while it stops change nothing.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from devnet import operations
from devnet.display import Display
from devnet.faults import Action, Fault
from devnet.manifest import DevnetError, HomeRecord, Manifest, Program, edit, load
from devnet.report import Report, collect_report
from devnet.tally import NodeTally, Tally
from node.client.client import NodeClient
from node.client.errors import ApiProblem, ClientError
from node.client.events import Away, Back, ClientEvent

ANSWER_WITHIN_S: Final = 120.0
"""From a node's start to its first answer: seconds, but minutes where forty of them share two cores."""
STALLED_AFTER_S: Final = 60.0
LOOK_EVERY_S: Final = 0.5
KNOCK_EVERY_S: Final = 0.1
REFRESH_S: Final = 1.0


class Failed(DevnetError):
    """The devnet did not get where it should; the message ends with the log's last lines where they tell why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``report`` is None if the devnet was stopped before its last block, or had none."""

    report: Report | None
    stopped: operations.Stopped


class Supervisor:
    """Runs one devnet that is made and whose manifest names this process as its supervisor."""

    def __init__(self, root: Path, display: Display, faults: Sequence[Fault] = ()) -> None:
        self._root = root
        self._display = display
        self._faults = list(faults)
        manifest = load(root)
        self._halt_height = manifest.halt_height
        self._tally = Tally({home.name: NodeTally() for home in manifest.homes})
        self._manifest = manifest
        self._changed = trio.Event()
        self._started = False
        self._progress_at_s = 0.0
        self._reported_down: set[str] = set()

    async def run(self) -> Outcome:
        """Until the last block, or a signal. Errors: Failed, DevnetError."""
        report: Report | None = None
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            stopped = operations.Stopped(0, 0)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
                    nursery.start_soon(self._refresh)
                    await start_programs(self._root, ANSWER_WITHIN_S)
                    report = await self._watch()
                    nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    stopped = await trio.to_thread.run_sync(stop, self._root)
        return Outcome(report, stopped)

    async def _watch(self) -> Report | None:
        self._manifest = load(self._root)
        self._started = True
        self._progress_at_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for home in self._manifest.homes:
                nursery.start_soon(self._follow, home)
            nursery.start_soon(self._watch_processes)
            nursery.start_soon(self._keep_candidates)
            nursery.start_soon(self._make_faults)
            if not self._halt_height:
                await trio.sleep_forever()
            await self._until_done()
            nursery.cancel_scope.cancel()
        return await collect_report(self._manifest, self._tally)

    # -- what the nodes tell

    async def _follow(self, home: HomeRecord) -> None:
        """Hands the node's events to the tally, through its absences."""
        async with NodeClient(home.api_url) as client:
            while True:
                await until_listening(home.api_port)
                try:
                    await self._follow_once(client, home)
                except ApiProblem as problem:
                    raise Failed(f"{home.name}'s node does not tell what happens: {problem}") from problem
                await trio.sleep(KNOCK_EVERY_S)

    async def _follow_once(self, client: NodeClient, home: HomeRecord) -> None:
        async with aclosing(client.events(self._tally.nodes[home.name].height)) as events:
            async for event in events:
                await self._on_event(client, home, event)
                if isinstance(event, Away):
                    return

    async def _on_event(self, client: NodeClient, home: HomeRecord, event: ClientEvent) -> None:
        node = self._tally.nodes[home.name]
        before = node.height
        if self._tally.on_event(home.name, event):
            assert self._tally.last is not None
            self._display.block(self._tally.last)
        if isinstance(event, Back):
            try:
                node.peers = {one.peer for one in (await client.peers()).peers}
            except ClientError:
                node.peers.clear()  # gone again already: the stream will say so
        if node.height > before:
            self._progress_at_s = trio.current_time()
        self._tell_change()

    async def _keep_candidates(self) -> None:
        """After each block the candidates' standings, from a node that has it."""
        asked = -1
        while True:
            changed = self._changed
            name = self._best_node()
            if name is not None and self._tally.height > asked:
                asked = self._tally.height
                async with NodeClient(self._manifest.home(name).api_url) as client:
                    try:
                        self._tally.on_candidates(await client.candidates())
                    except ClientError:
                        asked = -1  # the node left at this moment: ask another one at the next event
            else:
                await changed.wait()

    def _best_node(self) -> str | None:
        answering = [name for name, node in self._tally.nodes.items() if node.answers]
        return max(answering, key=lambda name: self._tally.nodes[name].height, default=None)

    def _tell_change(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # -- processes

    async def _watch_processes(self) -> None:
        """Another terminal may end and start programs: it says so in the manifest."""
        while True:
            self._manifest = await trio.to_thread.run_sync(load, self._root)
            for program in self._manifest.programs():
                if program.alive or not program.wanted:
                    self._reported_down.discard(program.name)
                elif program.name not in self._reported_down:
                    self._reported_down.add(program.name)
                    self._on_failed_program(program)
            self._tell_change()
            await trio.sleep(LOOK_EVERY_S)

    def _on_failed_program(self, program: Program) -> None:
        if self._halt_height:
            raise Failed(f"{program.name} ended by itself. Its last lines:\n{operations.last_lines(program)}")
        self._display.note(
            f"{program.name} ended by itself: see `ecloud devnet logs {program.name}`; start it again with `ecloud "
            f"devnet restart {program.name}`"
        )

    async def _make_faults(self) -> None:
        while self._faults:
            changed = self._changed
            if self._tally.height < self._faults[0].height:
                await changed.wait()
                continue
            fault = self._faults[0]
            await trio.to_thread.run_sync(_ACTIONS[fault.action], fault.name, self._root)
            self._manifest = load(self._root)
            self._display.note(f"block {self._tally.height}: {fault.action} {fault.name}")
            del self._faults[0]
            self._progress_at_s = trio.current_time()
            self._tell_change()

    # -- the end, and what is seen

    async def _until_done(self) -> None:
        """Errors: Failed."""
        while self._faults or not self._all_there():
            if trio.current_time() - self._progress_at_s > STALLED_AFTER_S:
                raise Failed(self._stall())
            changed = self._changed
            await changed.wait()

    def _all_there(self) -> bool:
        wanted = [home.name for home in self._manifest.homes if home.node.wanted]
        return bool(wanted) and all(self._tally.nodes[name].height >= self._halt_height for name in wanted)

    def _stall(self) -> str:
        heights = ", ".join(f"{name} {node.height}" for name, node in self._tally.nodes.items())
        behind = min(self._manifest.homes, key=lambda home: (not home.node.wanted, self._tally.nodes[home.name].height))
        return (
            f"no node came closer to block {self._halt_height} for {STALLED_AFTER_S:.0f} s ({heights}); with a third "
            f"of the votes away nothing becomes final. Last lines of {behind.name}'s node:\n"
            f"{operations.last_lines(behind.node)}"
        )

    async def _refresh(self) -> None:
        while True:
            self._display.show(self._tally, {home.name: self._state(home) for home in self._manifest.homes})
            changed = self._changed
            with trio.move_on_after(REFRESH_S):
                await changed.wait()

    def _state(self, home: HomeRecord) -> str:
        if not self._started:
            return "starts"
        state = operations.state_of(home.node)
        return "starts" if state == "runs" and not self._tally.nodes[home.name].answers else state


_ACTIONS: Final = {
    Action.KILL: operations.kill,
    Action.RESTART: operations.restart,
    Action.PAUSE: operations.pause,
    Action.RESUME: operations.resume,
}


async def start_programs(root: Path, within_s: float) -> None:
    """Starts all nodes, waits until they answer, then starts all homes. Errors: Failed."""
    with edit(root) as manifest:
        for home in manifest.homes:
            operations.start(home.node)
    with trio.move_on_after(within_s) as waiting:
        async with _failing_with(manifest), trio.open_nursery() as nursery:
            for home in manifest.homes:
                nursery.start_soon(until_listening, home.api_port)
    if waiting.cancelled_caught:
        raise Failed(f"not all nodes answered within {within_s:.0f} s; see the logs in {root}")
    with edit(root) as manifest:
        for home in manifest.homes:
            operations.start(home.house)


async def until_listening(port: int) -> None:
    """Waits until somebody listens on this port of the loopback interface."""
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(KNOCK_EVERY_S)
        else:
            await stream.aclose()
            return


def stop(root: Path) -> operations.Stopped:
    """Stops all programs and says so in the manifest."""
    with edit(root) as manifest:
        return operations.stop_programs(manifest)


@asynccontextmanager
async def _failing_with(manifest: Manifest) -> AsyncIterator[None]:
    """Errors: Failed if a node ends while the block runs."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_fail_when_one_ends, [home.node for home in manifest.homes]))
        yield
        nursery.cancel_scope.cancel()


async def _fail_when_one_ends(programs: Sequence[Program]) -> None:
    while True:
        for program in programs:
            if not program.alive:
                raise Failed(
                    f"{program.name}'s node ended while starting. Its last lines:\n{operations.last_lines(program)}"
                )
        await trio.sleep(LOOK_EVERY_S)


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()

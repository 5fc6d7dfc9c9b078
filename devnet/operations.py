"""What any terminal may do to a devnet that runs, by its directory: look, read logs, break and mend programs, stop it.

Each works on the manifest, so that whoever supervises the devnet learns of it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import trio

from devnet.manifest import DevnetError, HomeRecord, Manifest, Program, devnet_directory, edit, load
from devnet.processes import STOP_WITHIN_S, is_alive, is_paused, send_signal, spawn, stop_all, wait_gone
from home.status import read_status
from node.client.client import NodeClient
from node.client.errors import ClientError
from node.client.models import Status

LOOK_AGAIN_S: Final = 0.25
LAST_LINES: Final = 15
ANSWER_WITHIN_S: Final = 3.0
STOP_MORE_S: Final = 0.25
"""For each program that stops beside others: they share the machine's cores."""


class NodeState(msgspec.Struct, frozen=True):
    """``state`` and ``home_state`` (of ``ecloud home``): runs, paused or down. What the node itself says is None while
    it does not answer; ``autopilot``, ``open_orders``, ``waiting`` readings are what the home said last, None before.
    """

    name: str
    state: str
    home_state: str
    autopilot: str | None
    open_orders: int | None
    waiting: int | None
    pid: int | None
    api_url: str
    data_directory: str
    height: int | None
    tip: str | None
    state_root: str | None
    peers: int | None


class DevnetStatus(msgspec.Struct, frozen=True):
    directory: str
    running: bool
    halt_height: int
    nodes: list[NodeState]


@dataclass(frozen=True, slots=True)
class Stopped:
    """``programs`` were running; ``forced`` of them did not stop by themselves."""

    programs: int
    forced: int


def status(directory: Path | None = None) -> DevnetStatus:
    """Asks every node. Errors: NoDevnet."""
    root = devnet_directory(directory)
    manifest = load(root)
    answers = trio.run(_ask_all, manifest.homes)
    nodes = [_node_state(home, answer) for home, answer in zip(manifest.homes, answers, strict=True)]
    return DevnetStatus(str(root), manifest.is_running(), manifest.halt_height, nodes)


def logs(name: str, *, follow: bool = False, directory: Path | None = None) -> Iterator[str]:
    """The lines of a node's log, or of its home's (``bob.home``); with ``follow`` for ever. Errors: DevnetError."""
    program = load(devnet_directory(directory)).program(name)
    path = Path(program.log)
    if not path.exists():
        raise DevnetError(f"{name} has not been started yet")
    with path.open(encoding="utf-8", errors="replace") as file:
        begun = ""
        while True:
            line = begun + file.readline()
            if line.endswith("\n"):
                yield line[:-1]
                begun = ""
            elif follow:
                begun = line
                time.sleep(LOOK_AGAIN_S)
            else:
                if line:
                    yield line
                return


def last_lines(program: Program) -> str:
    """The end of its log."""
    try:
        text = Path(program.log).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-LAST_LINES:])


def kill(name: str, directory: Path | None = None) -> None:
    """Ends a node (``bob``) or a home (``bob.home``) at once, as a power cut would. Errors: DevnetError."""
    with edit(devnet_directory(directory)) as manifest:
        program = manifest.program(name)
        _require_alive(program)
        program.wanted = False  # written down first: its end is no failure
    assert program.process is not None
    send_signal(program.process, signal.SIGKILL)
    wait_gone([program.process], STOP_WITHIN_S)


def restart(name: str, directory: Path | None = None) -> None:
    """Starts a program that is down; one that runs is stopped first. Errors: DevnetError."""
    root = devnet_directory(directory)
    with edit(root) as manifest:
        if not manifest.is_running():
            raise DevnetError("the devnet is not running; start it again with: ecloud devnet up --keep")
        program = manifest.program(name)
        program.wanted = False
    if program.process is not None:
        stop_all([program.process])
    with edit(root) as manifest:
        start(manifest.program(name))


def pause(name: str, directory: Path | None = None) -> None:
    """Freezes a program: it keeps its connections and says nothing. Errors: DevnetError."""
    _signal(name, directory, signal.SIGSTOP)


def resume(name: str, directory: Path | None = None) -> None:
    """Errors: DevnetError."""
    _signal(name, directory, signal.SIGCONT)


def down(directory: Path | None = None) -> Stopped:
    """Stops the devnet and whoever supervises it. What is on disk stays. Errors: NoDevnet."""
    root = devnet_directory(directory)
    manifest = load(root)
    supervisor = manifest.supervisor
    if supervisor is not None and send_signal(supervisor, signal.SIGTERM):
        before = sum(program.alive for program in manifest.programs())
        if not wait_gone([supervisor], 4 * STOP_WITHIN_S + STOP_MORE_S * len(manifest.programs())):
            return Stopped(before, 0)
    with edit(root) as manifest:
        return stop_programs(manifest)


def start(program: Program) -> None:
    """Starts a program of a manifest that the caller saves. Errors: DevnetError."""
    try:
        program.process = spawn(program.command, Path(program.log))
    except OSError as error:
        raise DevnetError(f"{program.name} cannot be started: {error}") from error
    program.wanted = True


def stop_programs(manifest: Manifest) -> Stopped:
    """Stops all programs of a manifest that the caller saves."""
    running = [process for process in manifest.processes() if is_alive(process)]
    forced = stop_all(running, STOP_WITHIN_S + STOP_MORE_S * len(running))
    for program in manifest.programs():
        program.wanted = False
    manifest.supervisor = None
    return Stopped(len(running), forced)


def state_of(program: Program) -> str:
    """runs, paused, or down."""
    if program.process is None or not program.alive:
        return "down"
    return "paused" if is_paused(program.process) else "runs"


def _signal(name: str, directory: Path | None, number: signal.Signals) -> None:
    program = load(devnet_directory(directory)).program(name)
    _require_alive(program)
    assert program.process is not None
    send_signal(program.process, number)


def _require_alive(program: Program) -> None:
    if not program.alive:
        raise DevnetError(f"{program.name} is down; start it with: ecloud devnet restart {program.name}")


async def _ask_all(homes: list[HomeRecord]) -> list[Status | None]:
    answers: list[Status | None] = [None] * len(homes)

    async def ask(index: int, home: HomeRecord) -> None:
        if home.node.alive:
            answers[index] = await ask_status(home)

    async with trio.open_nursery() as nursery:
        for index, home in enumerate(homes):
            nursery.start_soon(ask, index, home)
    return answers


async def ask_status(home: HomeRecord) -> Status | None:
    """None if the node does not answer in time."""
    with trio.move_on_after(ANSWER_WITHIN_S):
        async with NodeClient(home.api_url) as client:
            try:
                return await client.status()
            except ClientError:
                return None  # it starts, stops or hangs: the caller shows that
    return None


def _node_state(home: HomeRecord, answer: Status | None) -> NodeState:
    said = read_status(Path(home.house_directory))
    return NodeState(
        name=home.name,
        state=state_of(home.node),
        home_state=state_of(home.house),
        autopilot=None if said is None else said.autopilot,
        open_orders=None if said is None else said.open_orders,
        waiting=None if said is None else said.waiting,
        pid=home.node.process.pid if home.node.process is not None and home.node.alive else None,
        api_url=home.api_url,
        data_directory=home.directory,
        height=None if answer is None else answer.height,
        tip=None if answer is None else answer.tip_hash,
        state_root=None if answer is None else answer.state_root,
        peers=None if answer is None else answer.peer_count,
    )

"""``up``: makes a devnet and runs it in the foreground, or starts it and leaves."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import trio
from rich.console import Console

from devnet import operations
from devnet.display import Display
from devnet.faults import parse_faults
from devnet.making import keep_devnet, make_devnet
from devnet.manifest import HOUSE_SUFFIX, DevnetError, Manifest, NoDevnet, devnet_directory, load, locked, save
from devnet.neighbourhood import homes_of
from devnet.processes import identify
from devnet.supervisor import ANSWER_WITHIN_S, Outcome, Supervisor, start_programs, stop
from node.founding import FoundingError

DEFAULT_NODES: Final = 4
LEAD_MS: Final = 2_000
START_CORE_MS: Final = 2_500
"""What starting a node takes of one core, nearly all of it imports."""
LONGEST_LEAD_MS: Final = 90_000
DONE: Final = 0
INTERRUPTED: Final = 130


def up(
    nodes: int | None = None,
    *,
    blocks: int | None = None,
    json_output: bool = False,
    detach: bool = False,
    directory: Path | None = None,
    at: Sequence[str] = (),
    keep: bool = False,
) -> int:
    """Runs a devnet; returns the exit status: 0, or 130 if a signal came before block ``blocks``.

    ``nodes``: how many homes (4). ``blocks``: stop by itself once every node has so many. ``json_output``: at the end
    one object on standard output (``devnet.report.Report``; detached ``devnet.operations.DevnetStatus``), all else on
    standard error. ``detach``: return once it runs. ``at``: faults, as in ``devnet.faults``. ``keep``: go on with the
    chain that is there. Errors: DevnetError, after everything it started has been stopped.
    """
    if blocks is not None and blocks < 1:
        raise DevnetError(f"--blocks {blocks}: at least 1")
    if detach and at:
        raise DevnetError("faults need somebody to make them happen: leave out --detach, or call kill and restart")
    root = devnet_directory(directory)
    halt_height = blocks or 0
    faults = parse_faults(at, _program_names(root, nodes, keep), halt_height)  # before anything is made or removed
    manifest = _prepare(root, nodes, halt_height, detach, keep)
    console = Console(stderr=json_output)
    if detach:
        return _leave_running(root, console, json_output)
    try:
        with Display(console, [home.name for home in manifest.homes]) as display:
            display.note(f"devnet of {len(manifest.homes)} homes in {root}; stop it with Ctrl-C")
            outcome = _run(Supervisor(root, display, faults))
    finally:
        stop(root)
    return _conclude(outcome, blocks, json_output, console)


def lead_ms(nodes: int, load: float, cores: int) -> int:
    """How far ahead the chain is to begin, so that every node is there: one that comes later follows for two blocks
    before it votes. ``load``: processes that want a core already.
    """
    return min(LONGEST_LEAD_MS, LEAD_MS + int(START_CORE_MS * max(1.0, (nodes + load) / cores)))


def _prepare(root: Path, nodes: int | None, halt_height: int, detach: bool, keep: bool) -> Manifest:
    """Makes the devnet, or readies the one that is there. Errors: DevnetError."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(root):
        _require_not_running(root)
        try:
            if keep:
                manifest = keep_devnet(root, halt_height)
                if nodes is not None and nodes != len(manifest.homes):
                    raise DevnetError(f"the devnet that is kept has {len(manifest.homes)} homes, not {nodes}")
            else:
                count = nodes if nodes is not None else DEFAULT_NODES
                begins_ms = time.time_ns() // 1_000_000 + lead_ms(count, os.getloadavg()[0], os.cpu_count() or 1)
                manifest = make_devnet(root, count, begins_ms, halt_height)
        except FoundingError as error:
            raise DevnetError(str(error)) from error
        manifest.supervisor = None if detach else identify(os.getpid())
        save(root, manifest)
    return manifest


def _program_names(root: Path, nodes: int | None, keep: bool) -> list[str]:
    """All that may be named in a fault. Errors: DevnetError."""
    if keep:
        return [program.name for program in load(root).programs()]
    names = [home.name for home in homes_of(nodes if nodes is not None else DEFAULT_NODES)]
    return names + [name + HOUSE_SUFFIX for name in names]


def _require_not_running(root: Path) -> None:
    try:
        manifest = load(root)
    except NoDevnet:
        return
    if manifest.is_running():
        raise DevnetError(
            f"a devnet of {len(manifest.homes)} homes runs in {root}: look at it with `ecloud devnet status`, stop it "
            "with `ecloud devnet down`, or give this one another --directory"
        )


def _leave_running(root: Path, console: Console, json_output: bool) -> int:
    try:
        trio.run(start_programs, root, ANSWER_WITHIN_S)
    except BaseException:
        stop(root)
        raise
    found = operations.status(root)
    if json_output:
        _print_json(found)
    else:
        console.print(f"{len(found.nodes)} homes run in {root}; stop them with: ecloud devnet down", soft_wrap=True)
    return DONE


def _run(supervisor: Supervisor) -> Outcome:
    """Errors: the first DevnetError of those that occurred together."""
    try:
        return trio.run(supervisor.run)
    except BaseExceptionGroup as group:
        expected, other = group.split(DevnetError)
        if other is not None or expected is None:
            raise
        raise first_of(expected) from group


def first_of(group: BaseExceptionGroup[DevnetError]) -> DevnetError:
    """The first error in a group of groups."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def _conclude(outcome: Outcome, blocks: int | None, json_output: bool, console: Console) -> int:
    stopped = outcome.stopped
    forced = f", {stopped.forced} of them by force" if stopped.forced else ""
    console.print(f"stopped {stopped.programs} programs{forced}")
    if outcome.report is not None:
        if json_output:
            _print_json(outcome.report)
        return DONE
    if blocks is not None:
        console.print(f"interrupted before block {blocks}")
        return INTERRUPTED
    return DONE


def _print_json(found: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    sys.stdout.flush()

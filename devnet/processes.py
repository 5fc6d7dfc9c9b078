"""Processes of a devnet: started with a log of their own, recognised for certain, stopped by their id.

1. A process is known by its id and the moment it started (clock ticks since the machine's boot, from
   ``/proc/ID/stat``) in this boot, so that an id which the system has given to another process is never signalled.
2. A process that is dead but not yet collected counts as gone.
3. Children run in sessions of their own: the terminal's Ctrl-C reaches the supervisor only. They do not see the
   ``ECLOUD_…`` variables of its environment, which would set the same port for all of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

STOP_WITHIN_S: Final = 5.0
LOOK_EVERY_S: Final = 0.05
_STATE: Final = 0  # fields of /proc/ID/stat, counted after the command's closing parenthesis
_START: Final = 19
_GONE: Final = "ZX"
_PAUSED: Final = "Tt"


class ProcessId(msgspec.Struct, frozen=True):
    """See rule 1."""

    pid: int
    started_ticks: int
    boot: str


def spawn(command: Sequence[str], log: Path) -> ProcessId:
    """Starts a child whose output is appended to ``log``. Errors: OSError."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ECLOUD_")}
    pid = os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    identity = identify(pid)
    assert identity is not None, "a child exists until it is collected"
    return identity


def identify(pid: int) -> ProcessId | None:
    """The process with this id; None if there is none."""
    fields = _stat(pid)
    return None if fields is None else ProcessId(pid, int(fields[_START]), _boot())


def is_alive(process: ProcessId) -> bool:
    """True until it has ended; a child of this process is collected then."""
    fields = _own_stat(process)
    if fields is not None and fields[_STATE] in _GONE:
        _collect(process.pid)
        return False
    return fields is not None


def is_paused(process: ProcessId) -> bool:
    fields = _own_stat(process)
    return fields is not None and fields[_STATE] in _PAUSED


def send_signal(process: ProcessId, number: signal.Signals) -> bool:
    """False if the process has ended."""
    if not is_alive(process):
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False  # ended between the two lines
    return True


def stop_all(processes: Iterable[ProcessId], within_s: float = STOP_WITHIN_S) -> int:
    """Ends all cleanly, and by force those that take longer; returns how many had to be forced. Waits until all are
    gone.
    """
    running = list(processes)
    for process in running:
        send_signal(process, signal.SIGTERM)
        send_signal(process, signal.SIGCONT)  # one that is paused could not end
    stragglers = wait_gone(running, within_s)
    for process in stragglers:
        send_signal(process, signal.SIGKILL)
    wait_gone(stragglers, within_s)
    return len(stragglers)


def wait_gone(processes: Sequence[ProcessId], within_s: float) -> list[ProcessId]:
    """Waits until all have ended; returns those that have not in time."""
    deadline = time.monotonic() + within_s
    while True:
        left = [process for process in processes if is_alive(process)]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(LOOK_EVERY_S)


def _own_stat(process: ProcessId) -> list[str] | None:
    """None if the process is gone, also if another one has its id now."""
    fields = _stat(process.pid)
    if fields is None or int(fields[_START]) != process.started_ticks or _boot() != process.boot:
        return None
    return fields


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _collect(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # not our child: its own parent collects it
        os.waitpid(pid, os.WNOHANG)

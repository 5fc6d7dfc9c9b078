"""What a running home says of itself: ``status.json`` in its directory, and the retained MQTT topic ``status``.

The file is replaced whole, at most once a second and when something changed. Whether the home still runs is told by
the lock on its queue, not by the file.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Final

import msgspec

STATUS_NAME: Final = "status.json"


class HomeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``refused``: telegrams or readings of the meter that were refused, by kind. ``missed``: periods without a
    telegram near their end. ``waiting``: readings that are not final yet. ``last_actions``: the autopilot's, newest
    last. ``shed``: what is to be switched off now. Times in ms, UTC.
    """

    state: str
    pid: int
    started_at_ms: int
    now_ms: int
    meter: str
    source: str
    source_works: bool
    node: str
    node_answers: bool
    mqtt: str
    mqtt_connected: bool
    last_taken: int | None = None
    last_taken_end_ms: int | None = None
    last_final: int | None = None
    import_wh: int | None = None
    export_wh: int | None = None
    waiting: int = 0
    telegrams: int = 0
    refused: dict[str, int] = {}
    refused_by_chain: int = 0
    missed: int = 0
    restarts: dict[str, int] = {}
    breaker_open: bool = False
    breaker_reason: str = ""
    shed: tuple[str, ...] = ()
    autopilot: str = "off"
    open_orders: int = 0
    last_actions: tuple[str, ...] = ()


def write_status(directory: Path, status: HomeStatus) -> None:
    """Errors: OSError."""
    temporary = directory / f".{STATUS_NAME}.new"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(status)) + b"\n")
    temporary.replace(directory / STATUS_NAME)


def read_status(directory: Path) -> HomeStatus | None:
    """None where no home has ever run, or what is there is of another version."""
    try:
        return msgspec.json.decode((directory / STATUS_NAME).read_bytes(), type=HomeStatus)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def is_running(queue: Path) -> bool:
    """Whether somebody holds the lock on the queue."""
    try:
        with queue.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False

"""What a devnet is made of, on disk (``devnet.json``), so that any command finds its processes.

1. The file is replaced whole; whoever changes it holds the lock from reading to writing (``edit``).
2. ``process`` is who runs now or ran last; ``wanted`` says whether it should run: a process that is gone though wanted
   has failed, one that is not wanted was ended on purpose.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from devnet.processes import ProcessId, is_alive

MANIFEST_NAME: Final = "devnet.json"
LOCK_NAME: Final = "devnet.lock"
DIRECTORY_VARIABLE: Final = "ECLOUD_DEVNET"
HOUSE_SUFFIX: Final = ".home"


class DevnetError(Exception):
    """What was asked of the devnet cannot be done; the message says why and what would be right."""


class NoDevnet(DevnetError):
    """There is no devnet in the directory."""


class Program(msgspec.Struct):
    """One program of a home: its node, called as the home, or ``ecloud home run``, called with ``.home`` behind."""

    name: str
    command: list[str]
    log: str
    process: ProcessId | None = None
    wanted: bool = False

    @property
    def alive(self) -> bool:
        return self.process is not None and is_alive(self.process)


class HomeRecord(msgspec.Struct):
    """``address`` is the account's; ``directory`` the node's data directory, ``house_directory`` that of ``ecloud
    home``; the wallet is ``name`` in ``wallets``.
    """

    name: str
    directory: str
    house_directory: str
    address: str
    node_key: str
    meter_key: str
    peer_id: str
    listen_port: int
    api_port: int
    node: Program
    house: Program

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"


class Manifest(msgspec.Struct):
    """``halt_height`` 0: the devnet runs until it is stopped. ``supervisor`` is None for a detached devnet."""

    chain_id: str
    genesis_time_ms: int
    halt_height: int
    supervisor: ProcessId | None
    homes: list[HomeRecord]

    def programs(self) -> list[Program]:
        return [program for home in self.homes for program in (home.node, home.house)]

    def processes(self) -> list[ProcessId]:
        return [program.process for program in self.programs() if program.process is not None]

    def is_running(self) -> bool:
        return any(program.alive for program in self.programs()) or (
            self.supervisor is not None and is_alive(self.supervisor)
        )

    def home(self, name: str) -> HomeRecord:
        """Errors: DevnetError naming the homes there are."""
        for home in self.homes:
            if home.name == name:
                return home
        raise DevnetError(f"no home is called {name!r}; there are {', '.join(home.name for home in self.homes)}")

    def program(self, name: str) -> Program:
        """By the home's name its node, with ``.home`` its ``ecloud home``. Errors: DevnetError."""
        if name.endswith(HOUSE_SUFFIX):
            return self.home(name.removesuffix(HOUSE_SUFFIX)).house
        return self.home(name).node


def devnet_directory(chosen: Path | None) -> Path:
    """The one chosen, or else ``$ECLOUD_DEVNET``, or else ``devnet`` in the user's state directory for ``ecloud``."""
    if chosen is not None:
        return chosen.absolute()
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named).absolute() if named else platformdirs.user_state_path("ecloud", appauthor=False) / "devnet"


def load(directory: Path) -> Manifest:
    """Errors: NoDevnet, DevnetError if the file is damaged."""
    path = directory / MANIFEST_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise NoDevnet(f"there is no devnet in {directory}; start one with: ecloud devnet up") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DevnetError(
            f"{path} is damaged ({error}); stop what still runs by hand and remove {directory}"
        ) from error


def save(directory: Path, manifest: Manifest) -> None:
    temporary = directory / f".{MANIFEST_NAME}.new"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    temporary.replace(directory / MANIFEST_NAME)


@contextmanager
def edit(directory: Path) -> Iterator[Manifest]:
    """Reads the manifest, and writes it back if the block ends without an error. Errors: as ``load``."""
    with locked(directory):
        manifest = load(directory)
        yield manifest
        save(directory, manifest)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Waits for other commands on the same devnet, which hold the lock for the blink of an eye. Errors: NoDevnet."""
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise NoDevnet(f"there is no devnet in {directory}; start one with: ecloud devnet up") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

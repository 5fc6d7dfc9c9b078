"""MQTT brokers for tests: a real mosquitto where this machine has one or Debian's packages can be had, and ours.

mosquitto's packages are downloaded as files and unpacked into a directory of this user (no root, nothing installed),
once for all test runs on this machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path

import pytest
import trio

from devnet.making import free_ports
from devnet.supervisor import until_listening
from home.broker import EmbeddedBroker

CACHE = Path(tempfile.gettempdir()) / f"ecloud-tests-mosquitto-{os.getuid()}"
DOWNLOAD_WITHIN_S = 90
NEVER_NEEDED = {"libc6", "adduser", "lsb-base", "init-system-helpers"}


class Mosquitto:
    """A broker in a process of its own, which can be stopped, killed and started again on the same port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_ports(1)[0]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {directory}/\nautosave_interval 1\nautosave_on_changes true\n"
            # Else it would become the user "mosquitto", whom this machine may not have.
            + ("user root\n" if os.getuid() == 0 else "")
        )

    def start(self) -> None:
        program, environment = mosquitto()
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self._directory / "mosquitto.conf")],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@contextmanager
def running_mosquitto(directory: Path) -> Iterator[Mosquitto]:
    """Skips the test, saying why, where there is no mosquitto."""
    try:
        mosquitto()
    except Unavailable as error:
        pytest.skip(f"{error}; the same test runs with the embedded broker")
    directory.mkdir(exist_ok=True)
    broker = Mosquitto(directory)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Unavailable(Exception):
    """There is no mosquitto to be had on this machine."""


@cache
def mosquitto() -> tuple[str, dict[str, str]]:
    """The program and its environment. Errors: Unavailable."""
    installed = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if installed is not None:
        return installed, dict(os.environ)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Unavailable("mosquitto is not installed, and this is no Debian")
    CACHE.mkdir(mode=0o700, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = CACHE / "unpacked/usr/sbin/mosquitto"
        if not program.exists():
            _download()
    libraries = ":".join(str(path) for path in (CACHE / "unpacked").glob("**/lib/*-linux-*"))
    environment = dict(os.environ) | {"LD_LIBRARY_PATH": libraries}
    tried = subprocess.run([program, "-h"], env=environment, capture_output=True, text=True, check=False)
    if "mosquitto version" not in tried.stdout:
        raise Unavailable(f"the mosquitto that was downloaded does not run: {tried.stderr.strip()}")
    return str(program), environment


def _download() -> None:
    """Errors: Unavailable."""
    try:
        listed = _run("apt-cache", "depends", "mosquitto")
        if "Depends:" not in listed and os.getuid() == 0:
            _run("apt-get", "update")
            listed = _run("apt-cache", "depends", "mosquitto")
        lines = [line.strip() for line in listed.splitlines()]
        needed = [line.removeprefix("Depends: ") for line in lines if line.startswith("Depends: ") and "<" not in line]
        libraries = [name for name in needed if name not in NEVER_NEEDED and ":" not in name]
        _run("apt-get", "download", "mosquitto", *libraries)
        for package in CACHE.glob("*.deb"):
            _run("dpkg", "-x", str(package), str(CACHE / "unpacked"))
    except (subprocess.SubprocessError, OSError) as error:
        raise Unavailable(f"mosquitto is not installed, and its packages cannot be had: {error}") from error


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        cwd=CACHE,
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_WITHIN_S,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


KINDS = ("mosquitto", "embedded")


class Embedded:
    """Our own, in this process. As ``Mosquitto``, but it forgets everything when it is stopped."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.port = free_ports(1)[0]
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()

    async def start(self) -> None:
        self._scope, self._stopped = trio.CancelScope(), trio.Event()
        broker = EmbeddedBroker("127.0.0.1", self.port)
        self._nursery.start_soon(self._run, broker, self._scope, self._stopped)
        await until_listening(self.port)

    async def stop(self) -> None:
        self._scope.cancel()
        await self._stopped.wait()

    async def _run(self, broker: EmbeddedBroker, scope: trio.CancelScope, stopped: trio.Event) -> None:
        with scope:
            await broker.run()
        stopped.set()


class External:
    """mosquitto, with the same methods."""

    def __init__(self, broker: Mosquitto) -> None:
        self.port = broker.port
        self._broker = broker

    async def start(self) -> None:
        await trio.to_thread.run_sync(self._broker.start)
        await until_listening(self.port)

    async def stop(self) -> None:
        await trio.to_thread.run_sync(self._broker.stop)


@asynccontextmanager
async def running_broker(kind: str, directory: Path) -> AsyncIterator[Embedded | External]:
    """One of KINDS, started. Skips the test, saying why, where there is no mosquitto."""
    if kind == "embedded":
        async with trio.open_nursery() as nursery:
            ours = Embedded(nursery)
            await ours.start()
            yield ours
            await ours.stop()
        return
    with running_mosquitto(directory / "mosquitto") as broker:
        await until_listening(broker.port)
        yield External(broker)

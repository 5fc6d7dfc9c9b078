"""A real node in a process of its own: the command a person types, on a data directory of its own.

with running_node(make_home_directory(tmp_path / "anne", genesis, "anne")) as node:
    node.status()["height"]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from ledger.encoding import encode
from ledger.genesis import Genesis
from node.configuration import Configuration, override
from node.founding import initialise_node
from tests.support.chain import PARAMETERS, make_genesis, make_home

ROOT = Path(__file__).parents[2]
STARTS_WITHIN_S = 60.0
QUICK = msgspec.structs.replace(PARAMETERS, block_interval_ms=200, message_delay_ms=100)


def lone_genesis() -> Genesis:
    """A network of one home, which agrees with itself five times a second."""
    return msgspec.structs.replace(make_genesis(["anne"], QUICK), time_ms=int(time.time() * 1000))


def make_home_directory(
    directory: Path, genesis: Genesis, name: str = "anne", *, api_port: int = 0, listen_port: int = 0
) -> Path:
    """A node's data directory, as ``ecloud node init`` makes it."""
    configuration = override(Configuration(), "network", listen=(f"/ip4/127.0.0.1/tcp/{listen_port}",))
    configuration = override(configuration, "api", port=api_port)
    initialise_node(directory, encode(genesis), configuration, make_home(name).node.seed)
    return directory


@dataclass(slots=True)
class NodeProcess:
    """``process``, and what its API says."""

    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return (self.directory / "api.url").read_text().strip()

    def get(self, path: str) -> Any:
        answer = httpx.get(self.url + path, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def status(self) -> Any:
        return self.get("/v1/status")

    def submit(self, raw: bytes) -> httpx.Response:
        return httpx.post(
            self.url + "/v1/transactions", content=raw, headers={"content-type": "application/cbor"}, timeout=10
        )

    def resident_kib(self) -> int:
        """Its memory (VmRSS)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))

    def open_files(self) -> int:
        """Its descriptors: files, sockets, pipes."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def until(self, holds: Callable[[], bool], within_s: float = STARTS_WITHIN_S) -> None:
        deadline = time.monotonic() + within_s
        while True:
            with suppress(httpx.TransportError, FileNotFoundError):  # not up yet
                if holds():
                    return
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                raise AssertionError(f"it ended with {self.process.returncode}: {self.process.stderr.read().decode()}")
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.02)

    def until_height(self, height: int) -> None:
        self.until(lambda: self.status()["height"] >= height)


def start_node(directory: Path, *flags: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    (directory / "api.url").unlink(missing_ok=True)
    command = [*before, sys.executable, "-m", "cli.main", "node", "run", "--data-dir", str(directory), *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


@contextmanager
def running_node(directory: Path, *flags: str) -> Iterator[NodeProcess]:
    """Waits until the node's API answers; kills what is left at the end."""
    process = start_node(directory, "--log-level", "error", *flags)
    node = NodeProcess(directory, process)
    try:
        node.until(lambda: bool(node.status()))
        yield node
    finally:
        process.kill()
        process.communicate()

"""``ecloud home run`` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from home.configuration import Configuration, render


class HomeProcess:
    """``configuration`` is written to ``home.toml``; the log goes to ``home.log``."""

    def __init__(self, directory: Path, configuration: Configuration) -> None:
        self.directory = directory
        (directory / "home.toml").write_text(render(configuration))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.directory / "home.log").read_text()

    def start(self) -> None:
        with (self.directory / "home.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "home", "run", "--directory", str(self.directory)],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        assert self._process.wait(10) == -9

    def stop(self, within_s: float = 10.0) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(within_s)

    def leave_nothing(self) -> None:
        """Whatever a failed test left."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait(10)

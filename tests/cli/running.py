"""Running commands: in this process, in one of its own, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from typer.testing import CliRunner, Result

from cli.main import app

PASSWORD = "correct horse"
PROGRAM = [sys.executable, "-m", "cli.main"]
ROOT = Path(__file__).parents[2]
TERMINAL_WITHIN_S = 60.0


def run(*arguments: str, answers: str | None = None, status: int = 0, password: str | None = PASSWORD) -> Result:
    """Runs ``ecloud`` in this process and requires an exit status, and a single line where it is an error."""
    environment = {} if password is None else {"ECLOUD_PASSWORD": password}
    log = structlog.get_config()
    result = CliRunner(env=environment).invoke(app, list(arguments), input=answers, prog_name="ecloud")
    structlog.configure(**log)  # a command sets up the log of its process, on a standard error that ends here
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


def refused(*arguments: str, status: int = 1, password: str | None = PASSWORD) -> str:
    """Runs what must fail; returns its one line, without its ``ecloud:``."""
    lines = run(*arguments, status=status, password=password).stderr.splitlines()
    said = [line for line in lines if line.startswith("ecloud: ")]
    assert len(said) == 1, lines
    assert lines[-1] == said[0]
    return said[0].removeprefix("ecloud: ")


def answer(*arguments: str) -> Any:
    """The JSON object on standard output."""
    return json.loads(run(*arguments, "--json").stdout)


def run_process(
    *arguments: str, home: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        env={**clean_environment(home), **(environment or {})},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def clean_environment(home: Path) -> dict[str, str]:
    """Without our settings; user directories are inside ``home``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ECLOUD_")}
    user = str(home / "user")
    return {**kept, "HOME": user, "XDG_DATA_HOME": user, "XDG_STATE_HOME": user, "PYTHONPATH": str(ROOT)}


def on_terminal(
    arguments: Sequence[str], dialogue: Sequence[tuple[str, str]], home: Path, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Runs a command on a terminal; after each text that it shows, types the answer. Returns status and all shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs the tests in the background may have it ignored
        os.chdir(ROOT)
        os.execve(
            sys.executable,
            [*PROGRAM, *arguments],
            {**clean_environment(home), "TERM": "xterm", "COLUMNS": "100", "LINES": "30", **(environment or {})},
        )
    shown, place = "", 0
    deadline = time.monotonic() + TERMINAL_WITHIN_S
    waiting = list(dialogue)
    while True:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"waited for {waiting[:1]} in vain: {shown}"
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:
            break  # the other end is closed: the command has ended
        if not chunk:
            break
        shown += chunk.decode(errors="replace")
        if waiting and waiting[0][0] in shown[place:]:
            place = len(shown)
            os.write(terminal, waiting.pop(0)[1].encode())
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert not waiting, f"never shown: {waiting[0][0]}; but: {shown}"
    return os.waitstatus_to_exitcode(status), shown

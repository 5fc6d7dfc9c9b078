"""Processes are known for certain, started apart, and stopped whatever they do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from devnet.processes import (
    ProcessId,
    identify,
    is_alive,
    is_paused,
    send_signal,
    spawn,
    stop_all,
    wait_gone,
)

SLEEPER = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


class Nursery:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[ProcessId] = []

    def start(self, program: str) -> ProcessId:
        """Returns once the program says that it is ready."""
        log = self.directory / f"{len(self.started)}.log"
        process = spawn([sys.executable, "-c", program], log)
        self.started.append(process)
        deadline = time.monotonic() + 30
        while "ready" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "ready" in log.read_text()
        return process


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    found = Nursery(tmp_path)
    yield found
    stop_all(found.started, within_s=1)


def test_a_process_is_alive_until_it_ends(nursery: Nursery) -> None:
    process = nursery.start(SLEEPER)
    assert is_alive(process)
    assert send_signal(process, signal.SIGKILL)
    assert wait_gone([process], 10) == []
    assert not is_alive(process)
    assert identify(process.pid) is None
    assert not send_signal(process, signal.SIGTERM)


@pytest.mark.parametrize("other", [{"started_ticks": 1}, {"boot": "another"}])
def test_another_process_with_the_same_id_is_never_touched(nursery: Nursery, other: dict[str, object]) -> None:
    # Given a manifest's memory of a process whose id has gone to another one since
    process = nursery.start(SLEEPER)
    remembered = msgspec.structs.replace(process, **other)
    # When the remembered one is to be stopped
    assert not is_alive(remembered)
    assert not send_signal(remembered, signal.SIGKILL)
    assert stop_all([remembered]) == 0
    # Then the other one still runs
    assert is_alive(process)


def test_all_stop_cleanly_and_stragglers_by_force(nursery: Nursery) -> None:
    # Given one that stops, one that is paused, and one that does not listen
    polite, paused, stubborn = nursery.start(SLEEPER), nursery.start(SLEEPER), nursery.start(STUBBORN)
    send_signal(paused, signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while not is_paused(paused) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_paused(paused)
    assert not is_paused(polite)
    # When all are stopped
    forced = stop_all([polite, paused, stubborn], within_s=1)
    # Then all are gone, one by force
    assert forced == 1
    assert not any(is_alive(process) for process in (polite, paused, stubborn))


def test_a_child_is_apart_from_the_terminal_and_from_our_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given settings that would give all nodes one port
    monkeypatch.setenv("ECLOUD_API_PORT", "4080")
    monkeypatch.setenv("KEPT", "yes")
    log = tmp_path / "log"
    log.write_text("before\n")
    program = "import os, sys; print(os.getsid(0) == os.getpid(), sorted(os.environ)); print('wrong', file=sys.stderr)"
    # When a child is started
    assert wait_gone([spawn([sys.executable, "-c", program], log)], 30) == []
    # Then it leads a session of its own, does not see them, and all it said is in its log
    text = log.read_text()
    assert text.startswith("before\n")
    assert "True" in text
    assert "'KEPT'" in text
    assert "ECLOUD" not in text
    assert "wrong" in text


def test_what_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn([str(tmp_path / "nothing")], tmp_path / "log")


def test_this_process_knows_itself() -> None:
    myself = identify(os.getpid())
    assert myself is not None
    assert is_alive(myself)

"""Real nodes killed under load: the small share of ``make kills`` that every test run can afford."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from bench import kills
from bench.kills import Campaign, KillsFailed, table
from devnet.manifest import HomeRecord, Program
from devnet.processes import spawn

KILLS = 10
SEED = 6

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("devnet"), pytest.mark.timeout(300)]


def test_nothing_is_lost_and_nothing_is_to_be_repaired(tmp_path: Path) -> None:
    # When nodes under load are killed ten times, one, two or all of them at once
    progress: list[int] = []
    outcome = trio.run(Campaign(tmp_path / "devnet", KILLS, SEED, progress.append).run)
    # Then each was killed, by SIGKILL and by nothing else, and was level again
    assert len(outcome.kills) == progress[-1] == KILLS
    assert {kill.together for kill in outcome.kills} == {1, 2, 4}
    # And every block and transaction that was final or acknowledged anywhere is in every chain
    assert outcome.acknowledged > 0
    assert outcome.lost == 0
    assert outcome.unequal == 0
    # And nobody has contradicted itself
    assert outcome.convicted == 0
    # And every chain verifies
    assert outcome.verified == kills.HOMES
    assert outcome.transactions >= outcome.acknowledged
    # And the table has every kill once
    rows = table(outcome, "make kills").rows
    assert rows[-1][1] == sum(int(row[1]) for row in rows[:-1]) == KILLS


def test_a_node_that_ended_by_itself_was_not_killed(tmp_path: Path) -> None:
    # Given a process that has just ended
    program = Program("anne", ["/bin/true"], str(tmp_path / "log"))
    program.process = spawn(program.command, Path(program.log))
    os.waitid(os.P_PID, program.process.pid, os.WEXITED | os.WNOWAIT)
    home = HomeRecord("anne", str(tmp_path), "", "", "", "", "", 0, 0, program, program)
    # Then killing it is no kill
    with pytest.raises(KillsFailed, match="ended by itself"):
        kills.kill(home)


def test_a_kill_is_seen_in_how_the_process_ended(tmp_path: Path) -> None:
    program = Program("anne", ["/bin/sleep", "60"], str(tmp_path / "log"))
    program.process = spawn(program.command, Path(program.log))
    home = HomeRecord("anne", str(tmp_path), "", "", "", "", "", 0, 0, program, program)
    kills.kill(home)
    with pytest.raises(ProcessLookupError):
        os.kill(program.process.pid, signal.SIGKILL)

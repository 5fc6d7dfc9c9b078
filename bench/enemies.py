"""Hostile peers against one of four real nodes, each alone and then all at once: ``make enemies``.

1. The street is four nodes in processes of their own (``tests.adversary.street``), a block a second; the enemies are
   those of ``tests.adversary``, all in this process. They attack one node, bob.
2. An enemy that should be banned attacks until it is, the others for a while. In the end all attack together, each from
   an address of its own, under a new name as soon as its old one is banned; but for the two that take all places at the
   door, which would keep the others out.
3. Exit status 1 if bob's node ends, the street stands still, an enemy is not banned that should be, or an honest home
   is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from bench.report import Cell, Table, save
from tests.adversary.above import ABOVE
from tests.adversary.below import BELOW, HalfOpen, ManyFaces
from tests.adversary.enemy import Enemy
from tests.adversary.street import Street, Victim, Watch, observed, street

KINDS: Final[Sequence[type[Enemy]]] = (*BELOW, *ABOVE)
VICTIM: Final = "bob"
TOGETHER: Final = [kind for kind in KINDS if kind not in (HalfOpen, ManyFaces)]
"""Those two take all places at the door, and keep the other enemies out."""
SLACK_BLOCKS: Final = 2


@dataclass(slots=True)
class _Result:
    """What one row of the table says. ``banned``: after how many seconds, or why there was none."""

    name: str
    connections: int
    sent_bytes: int
    messages: int
    banned: str
    watch: Watch
    problem: str | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        watch = self.watch
        return (
            self.name,
            self.connections,
            self.sent_bytes / 1e6,
            self.messages,
            self.banned,
            watch.memory_grown_kib / 1024,
            watch.last_height - watch.first_height,
            watch.skipped,
            watch.seconds,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each enemy that is not banned")
    parser.add_argument("--together", type=float, default=120.0, help="seconds of all at once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, street(Path(directory)) as homes:
        calm = _watch_nothing(homes, arguments.seconds)
        results = _one_by_one(homes, arguments.seconds)
        results.append(_all_at_once(homes, arguments.seconds, arguments.together))
        bob = homes.victim(VICTIM)
        innocent = [name for name in homes.nodes if bob.bans(homes.victim(name).peer_id)]
        memory_mib = bob.node.resident_kib() / 1024
    problems = [f"{result.name}: {result.problem}" for result in results if result.problem]
    problems += [f"{name} was banned" for name in innocent]
    save(_table([calm, *results], memory_mib, problems))
    return 1 if problems else 0


def _watch_nothing(homes: Street, seconds: float) -> _Result:
    async def wait() -> None:
        await trio.sleep(seconds)

    with observed(homes, VICTIM) as watch:
        trio.run(wait)
    return _Result("(nobody)", 0, 0, 0, "–", watch)


def _one_by_one(homes: Street, seconds: float) -> list[_Result]:
    results = []
    with Progress("{task.description:20}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        bar = progress.add_task("", total=len(KINDS))
        for kind in KINDS:
            progress.update(bar, description=kind.__name__)
            enemy = kind(seconds)
            with observed(homes, VICTIM) as watch:
                trio.run(enemy.attack, watch.victim)
            results.append(_judged(enemy, watch))
            progress.advance(bar)
    return results


def _judged(enemy: Enemy, watch: Watch) -> _Result:
    after_s = enemy.banned_after_s
    banned = "–" if not enemy.is_banned else "never" if after_s is None else f"{after_s:.1f} s"
    result = _Result(
        type(enemy).__name__, enemy.connections, enemy.sent_bytes, enemy.messages, banned, watch, _trouble(watch)
    )
    if watch.victim.bans(enemy.peer) != enemy.is_banned:
        result.problem = "is not banned" if enemy.is_banned else "is banned"
    return result


def _trouble(watch: Watch) -> str | None:
    if watch.victim.node.process.poll() is not None:
        return "bob's node ended"
    if watch.last_height < watch.first_height + min(SLACK_BLOCKS, int(watch.seconds / 2)):
        return "the street stood still"
    return None


def _all_at_once(homes: Street, seconds: float, together: float) -> _Result:
    done: list[Enemy] = []

    async def again_and_again(kind: type[Enemy], victim: Victim) -> None:
        number, source = 0, f"127.0.3.{1 + TOGETHER.index(kind)}"
        while True:
            number += 1
            enemy = kind(seconds, number, source)
            done.append(enemy)
            await enemy.attack(victim)

    async def attack(victim: Victim) -> None:
        with trio.move_on_after(together):
            async with trio.open_nursery() as nursery:
                for kind in TOGETHER:
                    nursery.start_soon(again_and_again, kind, victim)

    with observed(homes, VICTIM) as watch:
        trio.run(attack, watch.victim)
    return _Result(
        "all at once",
        sum(enemy.connections for enemy in done),
        sum(enemy.sent_bytes for enemy in done),
        sum(enemy.messages for enemy in done),
        f"{sum(watch.victim.bans(enemy.peer) for enemy in done)} were",
        watch,
        _trouble(watch),
    )


def _table(results: Sequence[_Result], memory_mib: float, problems: Sequence[str]) -> Table:
    return Table(
        name="enemies",
        title="Hostile peers",
        command="make enemies",
        columns=(
            "enemy",
            "connections",
            "MB sent",
            "messages",
            "banned after",
            "memory grown by, MiB",
            "blocks meanwhile",
            "turns skipped",
            "seconds",
        ),
        rows=[result.cells for result in results],
        notes=(
            "Four nodes, a block a second, and the enemies share this machine's cores; all attack the same node. "
            f"Memory is the attacked node's, before and after; in the end it has {memory_mib:.0f} MiB.",
            "All at once: without HalfOpen and ManyFaces, which would keep the others out.",
            "–: does nothing that a peer may be banned for, or proves no id that could be banned.",
            "A turn is skipped when its leader is too slow for the others; (nobody) is the same street left in peace.",
            *(f"**Failed**: {problem}." for problem in problems),
        ),
    )


if __name__ == "__main__":
    sys.exit(main())

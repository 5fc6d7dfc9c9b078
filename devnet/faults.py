"""What an operator has happen to a devnet: ``HEIGHT:ACTION:NAME``, for instance ``10:kill:bob``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from devnet.manifest import DevnetError


class Action(StrEnum):
    KILL = "kill"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"


class BadFault(DevnetError):
    """The text is no fault that can happen; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Happens once the first node has ``height`` final. ``name``: of a node, ``bob``, or of its home, ``bob.home``."""

    height: int
    action: Action
    name: str


def parse_faults(texts: Iterable[str], names: Sequence[str], halt_height: int) -> list[Fault]:
    """In the order they will happen. ``names``: all that may be named. Errors: BadFault."""
    faults = [_parse(text, names, halt_height) for text in texts]
    return sorted(faults, key=lambda fault: fault.height)


def _parse(text: str, names: Sequence[str], halt_height: int) -> Fault:
    words = text.split(":")
    if len(words) != 3 or not words[0].isdecimal():
        raise BadFault(f"{text!r}: a fault is HEIGHT:ACTION:NAME, for instance 10:kill:bob")
    height, name = int(words[0]), words[2]
    try:
        action = Action(words[1])
    except ValueError as error:
        raise BadFault(f"{text!r}: no action {words[1]!r}; there are {', '.join(Action)}") from error
    if name not in names:
        raise BadFault(f"{text!r}: nobody is called {name!r}; there are {', '.join(names)}")
    if height < 1 or (halt_height and height >= halt_height):
        last = f" … {halt_height - 1}" if halt_height else " on"
        raise BadFault(f"{text!r}: faults happen at blocks 1{last}")
    return Fault(height, action, name)

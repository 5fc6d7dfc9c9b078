"""Tasks beside a screen or dialog, which end with it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from textual.dom import DOMNode
from textual.worker import WorkType


def in_background(node: DOMNode, group: str, task: Callable[[], Coroutine[None, None, None]]) -> None:
    """Runs ``task``, in place of an earlier one of the same group that has not ended."""
    work: WorkType[None] = task
    node.run_worker(work, group=group, exclusive=True)

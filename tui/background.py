"""Tasks beside a screen or dialog, which end with it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.worker import WorkType


def in_background(node: DOMNode, group: str, task: Callable[[], Coroutine[None, None, None]]) -> None:
    """Runs ``task``, in place of an earlier one of the same group that has not ended.

    A task that finds its screen without widgets has outlived it: when the program ends or a dialog is answered, they go
    before the task is cancelled. Anywhere else that is a defect and raised.
    """

    async def run() -> None:
        try:
            await task()
        except NoMatches:
            if node.app.is_running and node in node.app.screen_stack:
                raise

    work: WorkType[None] = run
    node.run_worker(work, group=group, exclusive=True)

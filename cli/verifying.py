"""A chain recomputed from its files, with a bar where there is a terminal: for ``chain verify`` and ``node check``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.verification import Progress, Verified


class Fault(Exception):
    """Something stored is wrong. ``height`` is None where it is not one block's."""

    def __init__(self, height: int | None, detail: str) -> None:
        super().__init__(detail)
        self.height = height
        self.detail = detail


class Unverifiable(Exception):
    """There is nothing to verify, or it cannot be read; the text says what to do."""


def verify(directory: Path) -> Verified:
    """Errors: Fault, Unverifiable."""
    from node.founding import FoundingError, read_genesis
    from node.verification import ChainFault, verify_directory
    from storage.errors import Damaged, StorageError

    try:
        _, genesis = read_genesis(directory)
        with bar("verifying") as progress:
            return verify_directory(directory, genesis, progress)
    except ChainFault as error:
        raise Fault(error.height, str(error)) from error
    except Damaged as error:
        raise Fault(error.height, str(error)) from error
    except (FoundingError, StorageError) as error:
        raise Unverifiable(str(error)) from error


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """A bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, count: shown.update(task, completed=done, total=count)

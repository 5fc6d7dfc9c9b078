"""``ecloud node backup``: a compacted copy of a chain beside the node that writes it.

LMDB lets other processes read while one writes: the copy is that of one tip, whatever the node does meanwhile.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli import verifying

LOOK_EVERY_S: Final = 0.2


class CannotBackUp(Exception):
    """The text says what to do."""


@dataclass(frozen=True, slots=True)
class Backup:
    height: int
    size_bytes: int


def back_up(directory: Path, destination: Path) -> Backup:
    """Errors: CannotBackUp; then nothing of a chain is left in ``destination``."""
    from ledger.genesis import chain_id
    from node.configuration import FILE_NAME
    from node.founding import GENESIS_NAME, FoundingError, read_genesis
    from storage.chain import DIRECTORY, ChainDatabase
    from storage.errors import StorageError

    if destination.exists() and any(destination.iterdir()):
        raise CannotBackUp(f"{destination} is not empty; name an empty or a new directory for the backup")
    try:
        _, genesis = read_genesis(directory)
        store = ChainDatabase.open(directory, chain_id=chain_id(genesis), read_only=True)
    except (FoundingError, StorageError) as error:
        raise CannotBackUp(str(error)) from error
    try:
        destination.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _watched(destination, store.size_bytes()):
            store.backup(destination)
        for name in (GENESIS_NAME, FILE_NAME):
            if (directory / name).exists():
                shutil.copy2(directory / name, destination / name)
        copy = ChainDatabase.open(destination, chain_id=chain_id(genesis), read_only=True)
        try:
            tip = copy.tip()
        finally:
            copy.close()
    except StorageError as error:
        raise CannotBackUp(str(error)) from error
    except OSError as error:
        shutil.rmtree(destination / DIRECTORY, ignore_errors=True)
        raise CannotBackUp(f"cannot write the backup to {destination}: {error.strerror}") from error
    finally:
        store.close()
    return Backup(0 if tip is None else tip.height, (destination / DIRECTORY / "data.mdb").stat().st_size)


class _watched:  # noqa: N801 (used like a function)
    """A bar of how much is written, while LMDB copies without telling."""

    def __init__(self, destination: Path, size_bytes: int) -> None:
        self._file = destination / "chain.partial" / "data.mdb"
        self._size_bytes = size_bytes
        self._bar = verifying.bar("copying")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._progress = self._bar.__enter__()
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self._bar.__exit__(None, None, None)

    def _watch(self) -> None:
        while not self._done.wait(LOOK_EVERY_S):
            if self._file.exists():
                self._progress(self._file.stat().st_size, self._size_bytes)

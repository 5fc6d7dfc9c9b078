"""``ecloud node check``: every part of a data directory, each on its own, so that one that is wrong hides no other.

What a running node holds open is read beside it; its journal alone is not: it is being written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli import verifying


@dataclass(frozen=True, slots=True)
class Part:
    """``detail``: what was found, or what to do."""

    name: str
    ok: bool
    detail: str


class _Wrong(Exception):
    """The text says what to do."""


def check_directory(directory: Path) -> list[Part]:
    """In the order of ``CHECKS``."""
    return [_run(name, check, directory) for name, check in CHECKS.items()]


def _run(name: str, check: Callable[[Path], str], directory: Path) -> Part:
    try:
        return Part(name, True, check(directory))
    except (_Wrong, OSError) as error:
        return Part(name, False, str(error))


def _settings(directory: Path) -> str:
    from node.configuration import FILE_NAME, ConfigurationError, load

    try:
        load(directory)
    except ConfigurationError as error:
        raise _Wrong(str(error)) from error
    return FILE_NAME if (directory / FILE_NAME).exists() else f"no {FILE_NAME}: all defaults"


def _genesis(directory: Path) -> str:
    from ledger.genesis import chain_id
    from node.founding import FoundingError, read_genesis

    try:
        _, genesis = read_genesis(directory)
    except FoundingError as error:
        raise _Wrong(str(error)) from error
    return f"{genesis.name}, chain {chain_id(genesis).hex()}"


def _node_key(directory: Path) -> str:
    from ledger.keys import SigningKey
    from node.founding import NODE_KEY_NAME
    from node.key_files import KeyFileError, load_seed

    try:
        return SigningKey(load_seed(directory / NODE_KEY_NAME)).public_key.hex()
    except KeyFileError as error:
        raise _Wrong(str(error)) from error


def _chain(directory: Path) -> str:
    from node.client.format import count

    if not (directory / "chain" / "data.mdb").exists():
        return "none yet: it is fetched from the others"
    try:
        found = verifying.verify(directory)
    except verifying.Fault as error:
        raise _Wrong(error.detail) from error
    except verifying.Unverifiable as error:
        raise _Wrong(f"not looked at: {error}") from error
    return (
        f"{count(found.height)} blocks, {count(found.signatures)} signatures, {count(found.transactions)} transactions "
        f"executed anew, {count(found.state_records)} records, their root and all sums"
    )


def _journal(directory: Path) -> str:
    from ledger.genesis import chain_id
    from ledger.keys import SigningKey
    from node.founding import NODE_KEY_NAME, FoundingError, read_genesis
    from node.journal import load_contents
    from node.key_files import KeyFileError, load_seed
    from storage.environment import is_owned, structural_problems
    from storage.errors import Damaged, StorageError
    from storage.journal import DIRECTORY, Journal

    files = directory / DIRECTORY
    if not (files / "data.mdb").exists():
        return "none: the node will follow without voting until that is safe"
    if is_owned(files):
        return "open in the node that runs"
    try:
        _, genesis = read_genesis(directory)
        seed = load_seed(directory / NODE_KEY_NAME)
    except (FoundingError, KeyFileError) as error:
        raise _Wrong(f"not looked at: {error}") from error
    try:
        if problems := structural_problems(files):
            raise Damaged(files, problems[0])
        journal = Journal.open(directory, chain_id=chain_id(genesis))
        try:
            height = journal.cleared_through() + 1
            contents = load_contents(journal.load(height))
            vouches = journal.vouches_for(SigningKey(seed).public_key)
        finally:
            journal.close()
    except (StorageError, ValueError) as error:
        raise _Wrong(str(error)) from error
    said = f"{len(contents.votes)} votes and {len(contents.certificates)} certificates of block {height}"
    return said if vouches else f"{said}; not complete for this key: the node follows without voting at first"


def _waiting(directory: Path) -> str:
    from node.client.format import count, size
    from node.mempool_file import split_records
    from node.run import MEMPOOL_FILE

    path = directory / MEMPOOL_FILE
    data = path.read_bytes() if path.exists() else b""
    records, end = split_records(data)
    cut = (
        f"; the last {size(len(data) - end)} are cut short and are dropped at the next start" if end < len(data) else ""
    )
    return f"{count(len(records))} transactions written down{cut}"


CHECKS: Final[dict[str, Callable[[Path], str]]] = {
    "settings": _settings,
    "genesis": _genesis,
    "node key": _node_key,
    "chain": _chain,
    "journal": _journal,
    "waiting": _waiting,
}

"""What can go wrong on the disk, and what to do about it.

Every error of this room is a ``StorageError``; its text is one line that says what happened, where, and what to do
next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final


class StorageError(Exception):
    """The disk could not do what was asked. The text says what to do."""


class Damaged(StorageError):
    """Stored bytes are not what was written. ``height`` is the damaged block's, or None when it is not one block's
    record.

    Trying again does not help; fetching the chain from the peers does.
    """

    HINT: Final = "to resync: stop the node, move that directory away, start again; the chain comes from the peers"
    JOURNAL_HINT: Final = (
        "stop the node, move that directory away, start again; the node follows without voting until that is safe"
    )

    def __init__(self, where: Path | str, detail: str, *, height: int | None = None) -> None:
        self.where = str(where)
        self.detail = detail
        self.height = height
        at_height = "" if height is None else f" at height {height}"
        hint = self.JOURNAL_HINT if Path(where).name == "journal" else self.HINT
        super().__init__(f"{where} is damaged{at_height}: {detail}; {hint}")


class DiskFull(StorageError):
    """No room for this write. Nothing of it was stored and nothing stored before is lost; the same write works when
    there is room.
    """

    def __init__(self, where: Path | str, detail: str) -> None:
        self.where = str(where)
        super().__init__(f"no room on the disk of {where} ({detail}); free some space, the node goes on by itself")


class DiskFailed(StorageError):
    """The disk refused a write or a flush for another reason than room. What was acknowledged before is safe; reopen
    before trying again.
    """

    def __init__(self, where: Path | str, detail: str) -> None:
        self.where = str(where)
        super().__init__(f"the disk of {where} failed ({detail}); check the disk (dmesg), then restart the node")


class DirectoryInUse(StorageError):
    """Another process, or another object of this one, holds the directory."""

    def __init__(self, where: Path | str, owner: str) -> None:
        self.where = str(where)
        super().__init__(f"{where} is in use by {owner}; stop that node first, or give this one a directory of its own")


class MissingDatabase(StorageError):
    """Nothing was ever created here."""

    def __init__(self, where: Path | str) -> None:
        self.where = str(where)
        super().__init__(f"there is no database in {where}; create one with: ecloud node init")


class NewerSchema(StorageError):
    """A newer program wrote this directory; this one must not touch it."""

    def __init__(self, where: Path | str, found: int, known: int) -> None:
        self.where = str(where)
        self.found = found
        self.known = known
        super().__init__(f"{where} has schema {found}, this program knows up to {known}; update ecloud")


class WrongChain(StorageError):
    """The directory belongs to another chain."""

    def __init__(self, where: Path | str, found: bytes, wanted: bytes) -> None:
        self.where = str(where)
        self.found = found
        self.wanted = wanted
        super().__init__(
            f"{where} holds chain {found.hex()}, not {wanted.hex()}; point the node at its own data directory"
        )


class OutOfOrder(StorageError):
    """A block that does not follow the tip, or a certificate of a height that is not stored: a broken invariant of the
    caller.
    """


class VoteConflict(StorageError):
    """The journal already holds another vote of this node at the same height, view and kind: signing both would be
    equivocation.
    """

    def __init__(self, height: int, view: int, kind: int) -> None:
        super().__init__(
            f"the journal holds another vote of height {height}, view {view}, kind {kind}; "
            "stop the node and report this as a defect"
        )


class Pruned(StorageError):
    """The height lies below the prune floor; archive peers still have it."""

    def __init__(self, height: int, floor: int) -> None:
        self.height = height
        self.floor = floor
        super().__init__(f"height {height} was pruned, blocks are kept from {floor} on; ask an archive node")

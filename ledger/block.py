"""What the ledger is told about a block, and what it answers.

The facts about who produced it, whose turns were skipped and who signed its parent are established by ``consensus``;
the ledger takes them as given and does the accounting.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.effects import Effect, SettledLine
from ledger.encoding import Bytes32, Unsigned, Wire
from ledger.refusal import Refusal


@dataclass(frozen=True, slots=True)
class BlockContext:
    """Facts of one block, all checked by consensus before the ledger sees them.

    ``skipped``: accounts of the leaders of the views below the block's, in view order, an account as often as skipped.
    ``signers``: accounts whose signature the parent's finalize certificate carries. ``committee``: those who could
    have signed; both empty at height 1, whose parent is the genesis.
    ``beacon``: β of the producer's VRF proof, 64 bytes. ``seed``: the next height's seed, which follows from it.
    """

    chain_id: bytes
    height: int
    time_ms: int
    producer: bytes
    skipped: tuple[bytes, ...]
    signers: frozenset[bytes]
    committee: frozenset[bytes]
    beacon: bytes
    seed: bytes


class Receipt(Wire, frozen=True):
    """What became of one transaction. ``refusal`` is None when it took effect; the fee is taken either way.

    ``note`` says what else happened, for instance ``meter_suspended``; empty when nothing did.
    """

    transaction_id: Bytes32
    kind: Unsigned
    fee_uwatt: Unsigned
    refusal: str | None
    note: str

    @property
    def reason(self) -> Refusal | None:
        return None if self.refusal is None else Refusal(self.refusal)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Transaction ``index`` of the block concerns ``account``: as sender, payer, recipient, candidate or meter's
    owner. Behind the transactions come the block's effects: there ``index`` is the number of transactions and that of
    effects before, and ``kind`` the effect's above ``effects.HISTORY_KIND``.
    """

    account: bytes
    index: int
    kind: int


@dataclass(frozen=True, slots=True)
class BlockResult:
    """The net effect of a block: state changes (key → bytes, None deletes), a receipt per transaction, the index
    rows, what happened to accounts beside, what was settled.
    """

    changes: dict[bytes, bytes | None]
    receipts: tuple[Receipt, ...]
    history: tuple[HistoryEntry, ...]
    effects: tuple[Effect, ...]
    lines: tuple[SettledLine, ...]


class InvalidBlock(Exception):
    """The block breaks a rule that its producer had to keep; nothing of it may be applied."""


class BrokenInvariant(Exception):
    """A sum that must hold does not. This is a defect of the program, not of the block: the node stops."""

"""Transfers of WATT and GRID.

1. The amount is above zero, the recipient another account; it need not be a member's and need not exist yet.
2. The memo is at most 64 bytes of UTF-8.
"""

from __future__ import annotations

from typing import Any, Final

from ledger.balances import give_grid, give_watt, take_grid, take_watt
from ledger.execution import Execution, Rule
from ledger.refusal import Refusal, TransactionRefused
from ledger.transactions import MAX_MEMO_BYTES, Kind, Token, Transaction, Transfer


def check_transfer(transaction: Transaction, payload: Transfer) -> None:
    """Errors: TransactionRefused MALFORMED, AMOUNT_ZERO, SAME_ACCOUNT, OVERSIZED."""
    if payload.token not in (Token.WATT, Token.GRID):
        raise TransactionRefused(Refusal.MALFORMED, f"no token has the number {payload.token}; 1 is WATT, 2 is GRID")
    if payload.amount == 0:
        raise TransactionRefused(Refusal.AMOUNT_ZERO, "a transfer moves at least 1")
    if payload.recipient == transaction.sender:
        raise TransactionRefused(Refusal.SAME_ACCOUNT, "sender and recipient are the same account")
    memo_bytes = len(payload.memo.encode())
    if memo_bytes > MAX_MEMO_BYTES:
        raise TransactionRefused(Refusal.OVERSIZED, f"the memo has {memo_bytes} bytes, at most {MAX_MEMO_BYTES} fit")


def apply_transfer(execution: Execution, account: bytes, payload: Transfer) -> None:
    """Errors: TransactionRefused INSUFFICIENT_WATT, INSUFFICIENT_GRID."""
    if payload.token == Token.WATT:
        take_watt(execution.state, account, payload.amount)
        give_watt(execution.state, payload.recipient, payload.amount)
    else:
        take_grid(execution.state, account, payload.amount)
        give_grid(execution.state, payload.recipient, payload.amount)
    execution.concern(payload.recipient)


RULES: Final[dict[Kind, Rule[Any]]] = {Kind.TRANSFER: Rule(check_transfer, apply_transfer)}

"""The envelope of a transaction: who acts, in what order, and who pays. Readings have none of it.

1. The sender's key is a delegated node key, which may sign ``NODE_KEY_KINDS`` for its account; or else an account's
   own. An account exists once it was credited or registered. The account pays the fee, whichever key signed.
2. Nonces count from 0 for each key without gaps. A node key's is kept with the key, an account's with the account.
3. The fee is at least the minimum. The transaction is valid up to a height at most ``max_validity_blocks`` ahead.
4. What breaks one of these makes a block invalid that contains it.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from ledger.balances import get_account
from ledger.parameters import Parameters
from ledger.records import ACCOUNTS, NODE_KEYS, NodeKey
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.transactions import NODE_KEY_KINDS, Transaction
from ledger.units import watt_text


@dataclass(frozen=True, slots=True)
class Sender:
    """Who acts: ``account`` pays and is acted for, ``nonce`` is the next of the key that signed, ``node_key`` its
    record if it is one.
    """

    account: bytes
    nonce: int
    node_key: NodeKey | None


def resolve_sender(state: State, transaction: Transaction) -> Sender:
    """Errors: TransactionRefused KEY_NOT_ALLOWED, CANNOT_PAY_FEE (the account does not exist)."""
    node_key = NODE_KEYS.get(state, transaction.sender)
    if node_key is not None:
        if transaction.kind not in NODE_KEY_KINDS:
            words = ", ".join(sorted(kind.word for kind in NODE_KEY_KINDS))
            raise TransactionRefused(
                Refusal.KEY_NOT_ALLOWED, f"a node key signs {words}; use the account's key for {transaction.kind.word}"
            )
        return Sender(account=node_key.account, nonce=node_key.nonce, node_key=node_key)
    account = ACCOUNTS.get(state, transaction.sender)
    if account is None:
        raise TransactionRefused(
            Refusal.CANNOT_PAY_FEE, "the account does not exist; it begins with the first amount it is sent"
        )
    return Sender(account=transaction.sender, nonce=account.nonce, node_key=None)


def check_terms(state: State, parameters: Parameters, sender: Sender, transaction: Transaction, height: int) -> None:
    """Fee and validity for a block at ``height``. Errors: TransactionRefused FEE_TOO_LOW, EXPIRED, VALID_TOO_LONG,
    CANNOT_PAY_FEE.
    """
    if transaction.fee_uwatt < parameters.minimum_fee_uwatt:
        raise TransactionRefused(
            Refusal.FEE_TOO_LOW,
            f"the fee is {watt_text(transaction.fee_uwatt)}; it is at least {watt_text(parameters.minimum_fee_uwatt)}",
        )
    if transaction.valid_until_height < height:
        raise TransactionRefused(
            Refusal.EXPIRED, f"valid until height {transaction.valid_until_height}; the next block is {height}"
        )
    if transaction.valid_until_height > height + parameters.max_validity_blocks:
        raise TransactionRefused(
            Refusal.VALID_TOO_LONG,
            f"valid until height {transaction.valid_until_height}; at most {height + parameters.max_validity_blocks}",
        )
    available_uwatt = get_account(state, sender.account).watt_uwatt
    if available_uwatt < transaction.fee_uwatt:
        raise TransactionRefused(
            Refusal.CANNOT_PAY_FEE,
            f"the fee is {watt_text(transaction.fee_uwatt)}, the account has {watt_text(available_uwatt)}",
        )


def check_next_nonce(sender: Sender, transaction: Transaction) -> None:
    """Errors: TransactionRefused NONCE_USED, NONCE_TOO_HIGH."""
    if transaction.nonce < sender.nonce:
        raise TransactionRefused(Refusal.NONCE_USED, f"nonce {transaction.nonce} is used; the next is {sender.nonce}")
    if transaction.nonce > sender.nonce:
        raise TransactionRefused(
            Refusal.NONCE_TOO_HIGH, f"nonce {transaction.nonce} comes too early; the next is {sender.nonce}"
        )


def charge(state: State, sender: Sender, transaction: Transaction) -> None:
    """Takes nonce and fee, both checked before. The caller gives the fee to the producer."""
    account = get_account(state, sender.account)
    left_uwatt = account.watt_uwatt - transaction.fee_uwatt
    assert left_uwatt >= 0
    if sender.node_key is None:
        account = replace(account, nonce=sender.nonce + 1, watt_uwatt=left_uwatt)
    else:
        account = replace(account, watt_uwatt=left_uwatt)
        NODE_KEYS.put(state, replace(sender.node_key, nonce=sender.nonce + 1), transaction.sender)
    ACCOUNTS.put(state, account, sender.account)

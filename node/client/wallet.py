"""Signing for a node, with keys that never reach it: nonce and fee are asked for, the signature is made here."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import anyio

from ledger.keys import SigningKey, address_text
from ledger.refusal import Refusal
from ledger.transactions import Payload, SubmitReading, Transaction, sign_transaction
from node.client import models
from node.client.client import NodeClient
from node.client.errors import ApiProblem, NodeAway, NotFinal
from node.client.events import Back, ClientEvent, ReadingAccepted, TransactionFinal

VALIDITY_BLOCKS: Final = 1_000
"""How long a transaction may wait unless told otherwise; the chain may allow less."""
NOT_FOUND: Final = 404


async def sign(
    client: NodeClient,
    key: SigningKey,
    payload: Payload,
    *,
    fee_uwatt: int | None = None,
    valid_for_blocks: int | None = None,
) -> Transaction:
    """Signs the account's next transaction: its nonce from the node, counting those that wait, the fee the chain's
    minimum unless given. A reading has neither. Nothing is sent. Errors: as ``NodeClient``.
    """
    status = await client.status()
    chain_id = bytes.fromhex(status.chain_id)
    if isinstance(payload, SubmitReading):
        return sign_transaction(key, chain_id, payload)
    parameters = (await client.parameters()).parameters
    account = await client.account(address_text(key.public_key))
    blocks = min(VALIDITY_BLOCKS if valid_for_blocks is None else valid_for_blocks, parameters["max_validity_blocks"])
    return sign_transaction(
        key,
        chain_id,
        payload,
        nonce=account.next_nonce,
        fee_uwatt=parameters["minimum_fee_uwatt"] if fee_uwatt is None else fee_uwatt,
        valid_until_height=status.height + blocks,
    )


async def sign_and_submit(
    client: NodeClient,
    key: SigningKey,
    payload: Payload,
    *,
    fee_uwatt: int | None = None,
    valid_for_blocks: int | None = None,
) -> Transaction:
    """``sign``, then hand it over. Errors: ``ApiProblem`` with the refusal, ``NodeAway``.

    If another program took the nonce in between, it is signed once more with the next.
    """
    for last_try in (False, True):
        transaction = await sign(client, key, payload, fee_uwatt=fee_uwatt, valid_for_blocks=valid_for_blocks)
        try:
            await client.submit(transaction.raw)
        except ApiProblem as problem:
            if last_try or problem.refusal not in {Refusal.NONCE_USED, Refusal.FEE_NOT_HIGHER}:
                raise
        else:
            return transaction
    raise AssertionError("the second try returns or raises")


async def wait_final(client: NodeClient, transaction_id: str, timeout_s: float = 60.0) -> models.Transaction:
    """Waits until a block carries the transaction, through the node's absences; look at ``refusal`` for whether it took
    effect. Errors: NotFinal after ``timeout_s``.
    """
    with anyio.move_on_after(timeout_s):
        async with aclosing(client.events()) as events:
            async for event in events:
                if _worth_asking(event, transaction_id):
                    found = await _final(client, transaction_id)
                    if found is not None:
                        return found
    raise NotFinal(
        f"transaction {transaction_id} was not final after {timeout_s:.0f} s; it may still become so: "
        f"ecloud chain transaction {transaction_id}"
    )


def _worth_asking(event: ClientEvent, transaction_id: str) -> bool:
    if isinstance(event, TransactionFinal):
        return event.id == transaction_id
    if isinstance(event, ReadingAccepted):
        return event.transaction_id == transaction_id
    return isinstance(event, Back)


async def _final(client: NodeClient, transaction_id: str) -> models.Transaction | None:
    try:
        found = await client.transaction(transaction_id)
    except ApiProblem as problem:
        if problem.status == NOT_FOUND:
            return None  # a node that has just restarted may have to hear of it again
        raise
    except NodeAway:
        return None  # the stream will say when it is back
    return found if found.state == "final" else None

"""Transactions, decoded for people: fields by name, accounts by address and name, numbers of kinds as words."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag
from typing import Any, Final

import msgspec

from consensus.block import Block
from ledger.agreements import Licence, PoolRole
from ledger.block import Receipt
from ledger.contracts.templates import TemplateKind
from ledger.effects import HISTORY_KIND, EffectKind
from ledger.encoding import Wire
from ledger.market.matching import Side
from ledger.records import MeterKind, MeterRole, Role
from ledger.settlement.settle import PoolRule
from ledger.statements import Statement, StatementKind
from ledger.transactions import (
    AttestMember,
    JoinPool,
    OfferContract,
    OpenPool,
    PlaceOrder,
    RegisterMember,
    RegisterMeter,
    SetPoolRule,
    Token,
    Transaction,
    Transfer,
    decode_transaction,
)
from node.client import models
from node.client.models import iso_time
from node.views.reader import NotFound, Reader, hex_key, word

_ACCOUNT_FIELDS: Final = frozenset({"recipient", "account", "owner", "candidate"})


_WORDS: Final[dict[tuple[type[Wire], str], type[IntEnum]]] = {
    (Transfer, "token"): Token,
    (RegisterMeter, "kind"): MeterKind,
    (RegisterMeter, "role"): MeterRole,
    (Statement, "kind"): StatementKind,
    (PlaceOrder, "side"): Side,
    (OpenPool, "rule"): PoolRule,
    (SetPoolRule, "rule"): PoolRule,
    (OfferContract, "template"): TemplateKind,
}
_FLAGS: Final[dict[tuple[type[Wire], str], type[IntFlag]]] = {
    (RegisterMember, "roles"): Role,
    (OpenPool, "roles"): PoolRole,
    (JoinPool, "roles"): PoolRole,
    (AttestMember, "licences"): Licence,
}


def role_words(roles: int) -> list[str]:
    """``Role`` flags as words."""
    return [str(role.name).lower() for role in Role if role & roles]


def payload_view(reader: Reader, payload: Wire) -> dict[str, Any]:
    """See ``models.Transaction.payload``."""
    return {field: _field_view(reader, payload, field) for field in payload.__struct_fields__}


def _field_view(reader: Reader, payload: Wire, field: str) -> Any:
    value = getattr(payload, field)
    if field in _ACCOUNT_FIELDS and isinstance(value, bytes):
        return msgspec.to_builtins(reader.party(value))
    flags = _FLAGS.get((type(payload), field))
    if flags is not None:
        return [str(flag.name).lower() for flag in flags if flag & value]
    words = _WORDS.get((type(payload), field))
    return word(value, words) if words is not None else _plain(reader, value)


def _plain(reader: Reader, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Wire):
        return payload_view(reader, value)
    if isinstance(value, tuple):
        return [_plain(reader, item) for item in value]
    return value


def transaction_view(
    reader: Reader, transaction: Transaction, place: tuple[int, int, Block, Receipt] | None
) -> models.Transaction:
    """``place``: (height, index, block, receipt) of a final transaction, None for one that waits."""
    account, signed_by = reader.acting_account(transaction)
    height, index, block, receipt = place if place is not None else (None, None, None, None)
    time_ms = None if block is None else block.header.time_ms
    return models.Transaction(
        id=transaction.id.hex(),
        kind=transaction.kind.word,
        state="pending" if place is None else "final",
        sender=reader.party(account),
        signed_by=signed_by,
        sender_key=transaction.sender.hex(),
        nonce=transaction.nonce,
        fee_uwatt=transaction.fee_uwatt if receipt is None else receipt.fee_uwatt,
        valid_until_height=transaction.valid_until_height,
        payload=payload_view(reader, transaction.payload),
        size_bytes=len(transaction.raw),
        raw=transaction.raw.hex(),
        height=height,
        index=index,
        block_hash=None if block is None else block.hash.hex(),
        time_ms=time_ms,
        time=None if time_ms is None else iso_time(time_ms),
        refusal=None if receipt is None else receipt.refusal,
        note=None if receipt is None else receipt.note,
    )


def find_transaction(reader: Reader, transaction_id: str, waiting: Transaction | None) -> models.Transaction:
    """``waiting``: the mempool's, if it has one of this id. Errors: NotFound."""
    key = hex_key(transaction_id)
    if key is None:
        raise NotFound(f"{transaction_id!r} is no transaction id: it has 64 hexadecimal digits")
    place = reader.chain.find_transaction(key)
    if place is not None:
        return _final(reader, place.height, place.position)
    if waiting is not None:
        return transaction_view(reader, waiting, None)
    raise NotFound("no block has this transaction and none of that id waits here; was it submitted to another node?")


def pending_view(reader: Reader, waiting: Iterable[Transaction], total: int) -> models.PendingPage:
    return models.PendingPage(transactions=[transaction_view(reader, one, None) for one in waiting], total=total)


def history_view(reader: Reader, account: bytes, before: tuple[int, int] | None, limit: int) -> models.TransactionPage:
    """The account's transactions and what else happened to it, newest first."""
    items = reader.chain.history(account, before, limit)
    blocks: dict[int, tuple[Block, tuple[Receipt, ...]]] = {}
    shown, effects = [], []
    for item in items:
        if item.height == 0:
            continue  # the genesis has effects but no transactions
        if item.height not in blocks:
            blocks[item.height] = reader.block(item.height), reader.receipts(item.height)
        block, receipts = blocks[item.height]
        if item.kind >= HISTORY_KIND:
            effects.append(_effect_view(reader, block, item.position))
            continue
        transaction = decode_transaction(block.transactions[item.position])
        shown.append(
            transaction_view(reader, transaction, (item.height, item.position, block, receipts[item.position]))
        )
    more = len(items) == limit
    return models.TransactionPage(
        transactions=shown,
        next_before=f"{items[-1].height}:{items[-1].position}" if more else None,
        effects=effects,
    )


def _effect_view(reader: Reader, block: Block, index: int) -> models.AccountEffect:
    """The effect at this place of its account's history."""
    header = block.header
    effect = reader.account_effects(header.height)[index - len(block.transactions)]
    transaction = None if effect.transaction is None else decode_transaction(block.transactions[effect.transaction])
    return models.AccountEffect(
        height=header.height,
        index=index,
        time_ms=header.time_ms,
        time=iso_time(header.time_ms),
        kind=word(effect.kind, EffectKind),
        transaction=None if transaction is None else transaction.id.hex(),
        account=reader.party(effect.account),
        other=None if effect.other is None else reader.party(effect.other),
        period=effect.period,
        side=word(effect.side, Side) if effect.side else None,
        order=effect.order or None,
        trade=effect.trade or None,
        energy_wh=effect.energy_wh,
        price_uwatt_per_kwh=effect.price if effect.side else None,
        rate_uwatt_per_kwh=effect.rate if effect.trade else None,
        balance_uwatt=effect.balance_uwatt,
    )


def _final(reader: Reader, height: int, index: int) -> models.Transaction:
    block = reader.block(height)
    transaction = decode_transaction(block.transactions[index])
    view = transaction_view(reader, transaction, (height, index, block, reader.receipts(height)[index]))
    return msgspec.structs.replace(
        view,
        effects=[
            _effect_view(reader, block, place)
            for place, effect in enumerate(reader.account_effects(height), len(block.transactions))
            if effect.transaction == index
        ],
    )

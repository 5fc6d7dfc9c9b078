"""Convictions: who contradicted itself, who reported it, and what was burned.

1. A report that took effect stands in the history of whom it convicted, so it is found there; there is no other index.
2. Whose key it was is decided as the ledger decides it: by the committee of the height signed, else by who has the key
   now.
"""

from __future__ import annotations

from typing import Final

from ledger.evidence import EXPELLED_NOTE
from ledger.records import CANDIDATES, NODE_KEYS
from ledger.statements import SignedStatement, StatementKind
from ledger.transactions import Kind, ReportEquivocation, decode_transaction
from node.client import models
from node.client.models import iso_time
from node.views.reader import NotFound, Reader, word
from storage.errors import Pruned
from storage.interface import MAX_HISTORY_PAGE, HistoryItem

HISTORY_SEARCHED: Final = 10_000
"""Newest items of each candidate's history; at one reading a quarter hour a hundred days."""


def evidence_list(reader: Reader) -> models.EvidenceList:
    """All convictions that are found, newest first."""
    found: list[models.Conviction] = []
    complete = True
    for account, _ in CANDIDATES.scan(reader.state):
        items, whole = _reports_in_history(reader, account)
        complete = complete and whole
        for item in items:
            try:
                conviction = _conviction(reader, account, item)
            except Pruned:
                complete = False
                continue
            if conviction is not None:
                found.append(conviction)
    found.sort(key=lambda one: (-one.height, one.transaction_id))
    return models.EvidenceList(height=reader.height, convictions=found, complete=complete)


def _reports_in_history(reader: Reader, account: bytes) -> tuple[list[HistoryItem], bool]:
    """Reports that concern an account, and whether its whole history was searched."""
    found: list[HistoryItem] = []
    before: tuple[int, int] | None = None
    for _ in range(HISTORY_SEARCHED // MAX_HISTORY_PAGE):
        page = reader.chain.history(account, before, MAX_HISTORY_PAGE)
        found += [item for item in page if item.kind == Kind.REPORT_EQUIVOCATION]
        if len(page) < MAX_HISTORY_PAGE:
            return found, True
        before = (page[-1].height, page[-1].position)
    return found, False


def _conviction(reader: Reader, account: bytes, item: HistoryItem) -> models.Conviction | None:
    """None for a report that had no effect, or convicted another than ``account``, who then reported it."""
    receipt = reader.receipts(item.height)[item.position]
    if receipt.refusal is not None:
        return None
    block = reader.block(item.height)
    report = decode_transaction(block.transactions[item.position])
    payload = report.payload
    assert isinstance(payload, ReportEquivocation)
    first = payload.first.statement
    if _holder(reader, payload.node_key, first.height) != account:
        return None
    burned = receipt.note.removeprefix(EXPELLED_NOTE).strip()
    return models.Conviction(
        height=item.height,
        time_ms=block.header.time_ms,
        time=iso_time(block.header.time_ms),
        transaction_id=report.id.hex(),
        account=reader.party(account),
        node_key=payload.node_key.hex(),
        reporter=reader.party(reader.acting_account(report)[0]),
        signed_height=first.height,
        signed_view=first.view,
        first=_statement(payload.first),
        second=_statement(payload.second),
        burned_mvote=int(burned) if burned.isdecimal() else None,
    )


def _holder(reader: Reader, node_key: bytes, height: int) -> bytes | None:
    """Rule 2."""
    try:
        members = reader.committee_snapshot(height).members
    except (NotFound, Pruned):
        members = ()
    for member in members:
        if member.node_key == node_key:
            return member.account
    current = NODE_KEYS.get(reader.state, node_key)
    return None if current is None else current.account


def _statement(signed: SignedStatement) -> models.ContradictingStatement:
    block_hash = signed.statement.block_hash
    return models.ContradictingStatement(
        kind=word(signed.statement.kind, StatementKind),
        block_hash=None if block_hash is None else block_hash.hex(),
        signature=signed.signature.hex(),
    )

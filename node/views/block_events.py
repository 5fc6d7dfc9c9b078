"""What a block that has become final means, as events: made once, at its commit, from the state after it."""

from __future__ import annotations

from ledger.block import BlockResult
from ledger.records import CANDIDATES, READINGS, height_key
from ledger.transactions import Kind, SubmitReading, Transaction, decode_transaction
from node.client.events import (
    BlockFinal,
    CandidateRejoined,
    CandidateSuspended,
    Equivocation,
    NodeEvent,
    ReadingAccepted,
    TransactionFinal,
)
from node.client.models import iso_time
from node.views.draws import skipped_turns
from node.views.meters import reading_before
from node.views.reader import Reader


def block_final(reader: Reader, height: int) -> BlockFinal:
    """The event of a height that is stored; also what a client that was away is told later."""
    block = reader.block(height)
    header = block.header
    return BlockFinal(
        height=height,
        hash=block.hash.hex(),
        producer=reader.party(header.producer),
        view=header.view,
        time_ms=header.time_ms,
        time=iso_time(header.time_ms),
        finality_ms=reader.kept.finality_ms(height),
        transaction_count=len(block.transactions),
        reading_count=sum(receipt.kind == Kind.SUBMIT_READING for receipt in reader.receipts(height)),
        skipped=skipped_turns(reader, header),
    )


def block_events(reader: Reader, result: BlockResult) -> list[NodeEvent]:
    """Everything the block at the reader's tip did; the block itself comes last, so that whoever hears of it has heard
    the rest.
    """
    height = reader.height
    events: list[NodeEvent] = []
    concerned: dict[int, list[bytes]] = {}
    for entry in result.history:
        concerned.setdefault(entry.index, []).append(entry.account)
    for index, raw in enumerate(reader.block(height).transactions):
        transaction, receipt = decode_transaction(raw), result.receipts[index]
        reading = _reading(reader, transaction)
        if reading is not None:
            events.append(reading)
            continue
        accounts = concerned.get(index, [])
        events.append(
            TransactionFinal(
                id=transaction.id.hex(),
                kind=transaction.kind.word,
                height=height,
                refusal=receipt.refusal,
                note=receipt.note,
                accounts=[reader.party(account).address for account in accounts],
            )
        )
        if receipt.refusal is None:
            events.extend(_consequences(reader, transaction, accounts))
    for account, candidate in CANDIDATES.scan(reader.state):
        if candidate.suspended_height == height:
            events.append(CandidateSuspended(account=reader.party(account), height=height))
    events.append(block_final(reader, height))
    return events


def _reading(reader: Reader, transaction: Transaction) -> ReadingAccepted | None:
    """None for what is no reading, and for a second one of its period, which only suspends the meter."""
    payload = transaction.payload
    if not isinstance(payload, SubmitReading):
        return None
    record = READINGS.get(reader.state, transaction.sender, height_key(payload.period))
    if record is None or record.transaction_id != transaction.id:
        return None
    before = reading_before(reader, transaction.sender, payload.period)
    return ReadingAccepted(
        transaction_id=transaction.id.hex(),
        meter=transaction.sender.hex(),
        owner=reader.party(reader.acting_account(transaction)[0]),
        period=payload.period,
        imported_wh=None if before is None else payload.import_wh - before.import_wh,
        exported_wh=None if before is None else payload.export_wh - before.export_wh,
        minted_mvote=record.minted_mvote,
        height=reader.height,
    )


def _consequences(reader: Reader, transaction: Transaction, accounts: list[bytes]) -> list[NodeEvent]:
    sender = reader.acting_account(transaction)[0]
    if transaction.kind is Kind.REJOIN:
        return [CandidateRejoined(account=reader.party(sender), height=reader.height)]
    if transaction.kind is Kind.REPORT_EQUIVOCATION:
        guilty = [account for account in accounts if account != sender] or accounts
        return [Equivocation(account=reader.party(one), height=reader.height, convicted=True) for one in guilty]
    return []

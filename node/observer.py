"""Turns what became final into events for whoever watches the node."""

from __future__ import annotations

from typing import Final

from consensus.certificates import signatures_of
from consensus.chain_rules import ExecutedBlock
from ledger.encoding import decode
from ledger.keys import address_text
from ledger.records import CANDIDATES, METERS, READINGS, SNAPSHOTS, Candidate, CandidateStatus, Meter, height_key
from ledger.state import MAX_RECORD_BYTES, State
from ledger.transactions import Kind, SubmitReading, Transaction
from node.bill_observer import bill_events
from node.client.events import (
    BlockFinal,
    CandidateRejoined,
    CandidateSuspended,
    Equivocation,
    LowParticipation,
    NodeEvent,
    ReadingAccepted,
    TransactionFinal,
)
from node.client.models import Party, SkippedTurn, iso_time
from node.market_observer import MarketObserver
from node.sharing_observer import SharingObserver
from node.views.reader import Reader
from storage.interface import ChainView

_EMPTY: Final = (0, 0)


class Observer:
    """Remembers what a block changes — each meter's registers, each candidate's status and participation — to tell what
    happened.
    """

    def __init__(self, view: ChainView) -> None:
        state = State(view)
        self._registers = {key: (meter.import_wh, meter.export_wh) for key, meter in METERS.scan(state)}
        self._statuses = {key: candidate.status for key, candidate in CANDIDATES.scan(state)}
        self._participation = {
            key: (candidate.epoch_counted, candidate.epoch_signed) for key, candidate in CANDIDATES.scan(state)
        }
        self._market = MarketObserver(state)
        self._sharing = SharingObserver(state)

    def block(
        self, reader: Reader, executed: ExecutedBlock, skipped: tuple[bytes, ...], finality_ms: int | None
    ) -> list[NodeEvent]:
        """The events of one block, the block itself first. ``skipped``: leaders of the views below the block's."""
        header = executed.block.header
        readings = sum(transaction.kind is Kind.SUBMIT_READING for transaction in executed.transactions)
        events: list[NodeEvent] = [
            BlockFinal(
                height=header.height,
                hash=executed.hash.hex(),
                producer=reader.party(header.producer),
                view=header.view,
                time_ms=header.time_ms,
                time=iso_time(header.time_ms),
                finality_ms=finality_ms,
                transaction_count=len(executed.transactions),
                reading_count=readings,
                skipped=[SkippedTurn(view=view, leader=reader.party(one)) for view, one in enumerate(skipped)],
            )
        ]
        concerned = _concerned(executed)
        for index, (transaction, receipt) in enumerate(
            zip(executed.transactions, executed.result.receipts, strict=True)
        ):
            if isinstance(transaction.payload, SubmitReading):
                events += self._reading(reader, transaction, transaction.payload, header.height)
            else:
                events.append(
                    TransactionFinal(
                        id=transaction.id.hex(),
                        kind=transaction.kind.word,
                        height=header.height,
                        refusal=receipt.refusal,
                        note=receipt.note,
                        accounts=concerned.get(index, []),
                    )
                )
        return (
            events
            + self._absences(reader, executed)
            + self._changes(reader, executed)
            + self._market.block(reader, executed)
            + bill_events(reader, executed)
            + self._sharing.block(reader, executed)
        )

    def _reading(
        self, reader: Reader, transaction: Transaction, payload: SubmitReading, height: int
    ) -> list[NodeEvent]:
        record = READINGS.get(reader.state, transaction.sender, height_key(payload.period))
        meter = METERS.get(reader.state, transaction.sender)
        if record is None or meter is None or record.transaction_id != transaction.id:
            return []  # evidence of a double reading: its effect, the suspension, is in the transaction's receipt
        before = self._registers.get(transaction.sender, _EMPTY)
        self._registers[transaction.sender] = (payload.import_wh, payload.export_wh)
        return [
            ReadingAccepted(
                transaction_id=transaction.id.hex(),
                meter=transaction.sender.hex(),
                owner=reader.party(meter.owner),
                period=payload.period,
                imported_wh=payload.import_wh - before[0],
                exported_wh=payload.export_wh - before[1],
                height=height,
            )
        ]

    def _changes(self, reader: Reader, executed: ExecutedBlock) -> list[NodeEvent]:
        events: list[NodeEvent] = []
        height = executed.block.header.height
        for key, data in executed.result.changes.items():
            if key[:1] == METERS.prefix and data is not None and key[1:] not in self._registers:
                meter = decode(data, Meter, MAX_RECORD_BYTES)
                self._registers[key[1:]] = (meter.import_wh, meter.export_wh)
            if key[:1] != CANDIDATES.prefix or data is None:
                continue
            account, candidate = key[1:], decode(data, Candidate, MAX_RECORD_BYTES)
            status = candidate.status
            self._participation[account] = (candidate.epoch_counted, candidate.epoch_signed)
            before, self._statuses[account] = self._statuses.get(account), status
            if before is not None and before != status:
                events.append(_status_event(reader.party(account), height, status))
        return events

    def _absences(self, reader: Reader, executed: ExecutedBlock) -> list[NodeEvent]:
        """At an epoch's end: who signed too little in it. The records say it no more: they begin anew."""
        header, parameters = executed.block.header, reader.parameters
        if header.height % parameters.epoch_blocks:
            return []
        now_in = SNAPSHOTS.get(reader.state, height_key(header.height))
        assert now_in is not None, "it has just been taken"
        members = {member.account for member in now_in.members}
        committee, certificate = reader.committee(header.height - 1), executed.block.parent_certificate
        signers = set() if certificate is None else set(signatures_of(certificate, committee) or ())
        events: list[NodeEvent] = []
        for index, seat in enumerate(committee.seats):
            counted, signed = self._participation.get(seat.account, _EMPTY)
            counted, signed = counted + (certificate is not None), signed + (index in signers)
            if 2 * signed < counted and self._statuses.get(seat.account) != CandidateStatus.EXPELLED:
                events.append(
                    LowParticipation(
                        account=reader.party(seat.account),
                        height=header.height,
                        signed=signed,
                        counted=counted,
                        leaves=seat.account not in members,
                        weights_height=header.height + parameters.committee_delay_blocks,
                    )
                )
        return events


def _status_event(account: Party, height: int, status: int) -> NodeEvent:
    if status == CandidateStatus.SUSPENDED:
        return CandidateSuspended(account=account, height=height)
    if status == CandidateStatus.EXPELLED:
        return Equivocation(account=account, height=height, convicted=True)
    return CandidateRejoined(account=account, height=height)


def _concerned(executed: ExecutedBlock) -> dict[int, list[str]]:
    concerned: dict[int, list[str]] = {}
    for entry in executed.result.history:
        concerned.setdefault(entry.index, []).append(address_text(entry.account))
    return concerned

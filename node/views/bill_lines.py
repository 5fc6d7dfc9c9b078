"""What stands behind a bill: each line followed to the periods that made it, their trades and signed readings.

1. Which period added what to a line is kept beside the block that settled or corrected it (``ledger.effects``); trades
   are in the state for ``history_periods``; a reading is in the state for the acceptance window, and after that in its
   block, found by its owner's history.
2. So what a node shows depends on its blocks: one that has pruned them, or took over a state, says what it lacks.
3. A page covers at most ``MOST_PERIODS`` periods, whether they add to the line or not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ledger.billing.bills import BilledLine, lines_of
from ledger.effects import SettledLine
from ledger.market.grid_fee import amount_uwatt
from ledger.market.terms import gateway_of
from ledger.records import READINGS, SETTLED_PERIODS, TRADES, LineKind, MarketTrade, Reading, height_key
from ledger.registry import connection_meter
from ledger.settlement.lines import next_period
from ledger.settlement.titles import Title
from ledger.transactions import Kind, SubmitReading, Transaction, decode_transaction
from node.client import models
from node.client.models import iso_time
from node.views.bills import line_id, line_view, require_bill
from node.views.market import trade_view
from node.views.reader import NotFound, Reader
from storage.errors import Pruned

MOST_PERIODS: Final = 96
HISTORY_PAGE: Final = 200
MOST_HISTORY: Final = 4_000
_LOCAL: Final = frozenset({Title.CONTRACT, Title.PROPERTY, Title.POOL})


class _Part(NamedTuple):
    period: int
    height: int


@dataclass(slots=True)
class _Window:
    """The settled periods of a page: the block that settled each, and what ends the page. Corrections of the page are
    in blocks above ``from_height`` up to ``to_height``: those of the block that closed the cycle before may be of this
    one.
    """

    heights: dict[int, int]
    from_height: int
    to_height: int
    next_after: int | None
    not_kept: str | None = None


def explain(reader: Reader, cycle: int, member: bytes, line: str, after: int | None) -> models.LineExplanation:
    """Errors: NotFound."""
    require_bill(reader, cycle, member)
    found = next((one for one in lines_of(reader.state, cycle, member) if line_id(one) == line), None)
    if found is None:
        raise NotFound(f"this bill has no line {line!r}; its lines are in GET /v1/bills/{{who}}/{cycle}")
    window = _window(reader, cycle, after)
    sums = (
        _trade_parts(reader, found, window) if found.title is Title.TRADE else _line_parts(reader, cycle, found, window)
    )
    parties = [one for one in (found.debtor, found.creditor) if one != gateway_of(reader.state)]
    readings = {one: _Readings(reader, one, window) for one in parties}
    parts = [
        _part(reader, found, part, energies, [readings[one].of(part.period) for one in parties])
        for part, energies in sorted(sums.items())
    ]
    return models.LineExplanation(
        height=reader.height,
        cycle=cycle,
        member=reader.party(member),
        line=line_view(reader, member, found),
        parts=parts,
        next_after=window.next_after,
        not_kept=window.not_kept,
    )


def member_periods(reader: Reader, cycle: int, member: bytes, after: int | None) -> models.MemberPeriodPage:
    """Errors: NotFound."""
    require_bill(reader, cycle, member)
    window = _window(reader, cycle, after)
    readings = _Readings(reader, member, window)
    return models.MemberPeriodPage(
        height=reader.height,
        cycle=cycle,
        member=reader.party(member),
        periods=[_member_period(reader, member, period, window, readings) for period in window.heights],
        next_after=window.next_after,
        not_kept=window.not_kept,
    )


def _window(reader: Reader, cycle: int, after: int | None) -> _Window:
    state, periods = reader.state, reader.parameters.billing_cycle_periods
    first = cycle * periods if after is None else max(cycle * periods, after + 1)
    last = min((cycle + 1) * periods, next_period(state)) - 1
    heights = {}
    for period in range(first, min(last, first + MOST_PERIODS - 1) + 1):
        record = SETTLED_PERIODS.get(state, height_key(period))
        if record is not None:
            heights[period] = record.height
    end = first + MOST_PERIODS - 1
    before = SETTLED_PERIODS.get(state, height_key(first - 1))
    return _Window(
        heights=heights,
        from_height=0 if before is None else before.height - (after is None),
        to_height=heights[end] if end < last and end in heights else reader.height,
        next_after=end if end < last else None,
    )


def _line_parts(
    reader: Reader, cycle: int, line: BilledLine, window: _Window
) -> dict[_Part, list[tuple[int, int, int]]]:
    """(Wh, uwatt, grid fee) by period and block."""
    heights = set(window.heights.values())
    if line.kind is LineKind.CORRECTION:
        member = line.debtor if line.debtor != gateway_of(reader.state) else line.creditor
        heights |= {height for height, _ in _reading_transactions(reader, member, window, window.from_height)}
    sums = defaultdict(list)
    for height in sorted(heights):
        for one in _settled(reader, height, window):
            if one.cycle == cycle and _is_of(one, line):
                sums[_Part(one.period, height)].append((one.energy_wh, one.amount_uwatt, one.fee_uwatt))
    return sums


def _trade_parts(reader: Reader, line: BilledLine, window: _Window) -> dict[_Part, list[tuple[int, int, int]]]:
    sums = defaultdict(list)
    for period, height in window.heights.items():
        for _, trade in _trades(reader, period):
            if (trade.buyer, trade.seller, trade.price) == (line.debtor, line.creditor, line.price):
                fee = amount_uwatt(trade.energy_wh, trade.rate)
                sums[_Part(period, height)].append((trade.energy_wh, amount_uwatt(trade.energy_wh, trade.price), fee))
    return sums


def _part(
    reader: Reader,
    line: BilledLine,
    part: _Part,
    energies: list[tuple[int, int, int]],
    readings: list[models.RegisterProof | None],
) -> models.LinePart:
    energy_wh, amount, fee = (sum(column) for column in zip(*energies, strict=True))
    start_ms = part.period * reader.parameters.period_ms
    trades = []
    if line.title is Title.TRADE:
        trades = [
            trade_view(reader, part.period, number, trade)
            for number, trade in _trades(reader, part.period)
            if (trade.buyer, trade.seller, trade.price) == (line.debtor, line.creditor, line.price)
        ]
    return models.LinePart(
        period=part.period,
        start_ms=start_ms,
        start=iso_time(start_ms),
        height=part.height,
        energy_wh=energy_wh,
        amount_uwatt=amount,
        fee_uwatt=fee,
        trades=trades,
        readings=[one for one in readings if one is not None],
    )


def _member_period(
    reader: Reader, member: bytes, period: int, window: _Window, readings: _Readings
) -> models.MemberPeriod:
    height = window.heights[period]
    bought: dict[str, int] = defaultdict(int)
    sold: dict[str, int] = defaultdict(int)
    cost, estimated = 0, False
    for line in _settled(reader, height, window):
        if line.period != period or line.kind == LineKind.CORRECTION or member not in (line.debtor, line.creditor):
            continue
        estimated |= line.kind == LineKind.ESTIMATED
        name = "local" if line.title in _LOCAL else Title(line.title).name
        if line.debtor == member:
            bought[name] += line.energy_wh
            cost += line.amount_uwatt + line.fee_uwatt
        else:
            sold[name] += line.energy_wh
            cost -= line.amount_uwatt
    for _, trade in _trades(reader, period):
        value = amount_uwatt(trade.energy_wh, trade.price)
        if trade.buyer == member:
            bought["market"] += trade.energy_wh
            cost += value + amount_uwatt(trade.energy_wh, trade.rate)
        if trade.seller == member:
            sold["market"] += trade.energy_wh
            cost -= value
    start_ms = period * reader.parameters.period_ms
    return models.MemberPeriod(
        period=period,
        start_ms=start_ms,
        start=iso_time(start_ms),
        height=height,
        estimated=estimated,
        local_bought_wh=bought["local"],
        local_sold_wh=sold["local"],
        market_bought_wh=bought["market"],
        market_sold_wh=sold["market"],
        drawn_wh=bought[Title.RETAIL.name],
        shortfall_wh=bought[Title.SHORTFALL.name],
        fed_in_wh=sold[Title.FEED_IN.name],
        excess_wh=sold[Title.EXCESS.name],
        cost_uwatt=cost,
        reading=readings.of(period),
    )


def _is_of(settled: SettledLine, line: BilledLine) -> bool:
    return (settled.debtor, settled.creditor, settled.title, settled.price, settled.kind) == (
        line.debtor,
        line.creditor,
        line.title,
        line.price,
        line.kind,
    )


def _settled(reader: Reader, height: int, window: _Window) -> tuple[SettledLine, ...]:
    try:
        return reader.settled_lines(height)
    except Pruned as error:
        window.not_kept = f"this node keeps blocks from height {error.floor} on; ask an archive for what was before"
        return ()


def _trades(reader: Reader, period: int) -> list[tuple[int, MarketTrade]]:
    """By number."""
    return [(int.from_bytes(key[8:], "big"), trade) for key, trade in TRADES.scan(reader.state, height_key(period))]


def _reading_transactions(reader: Reader, owner: bytes, window: _Window, from_height: int) -> Iterable[tuple[int, int]]:
    """(height, position) of the readings that concern ``owner``, newest first, above ``from_height``."""
    before: tuple[int, int] | None = (window.to_height + 1, 0)
    for _ in range(MOST_HISTORY // HISTORY_PAGE):
        items = reader.chain.history(owner, before, HISTORY_PAGE)
        for item in items:
            if item.height <= from_height:
                return
            if item.kind == Kind.SUBMIT_READING:
                yield item.height, item.position
        if len(items) < HISTORY_PAGE:
            return
        before = (items[-1].height, items[-1].position)
    window.not_kept = f"more than {MOST_HISTORY} entries of a history would have to be read"


class _Readings:
    """The signed readings behind a window's periods, of one owner's connection meter: from the state where they are
    kept, else from their blocks.
    """

    def __init__(self, reader: Reader, owner: bytes, window: _Window) -> None:
        self._reader, self._owner, self._window = reader, owner, window
        member = reader.member(owner)
        found = None if member is None else connection_meter(reader.state, member)
        self._meter = None if found is None else found[0]
        self._from_blocks: dict[int, models.RegisterProof] | None = None

    def of(self, period: int) -> models.RegisterProof | None:
        """The reading of exactly this period; None for one that was estimated, or is not kept here."""
        if self._meter is None:
            return None
        kept = READINGS.get(self._reader.state, self._meter, height_key(period))
        if kept is not None:
            return self._from_state(self._meter, kept) if kept.periods == 1 else None
        if self._from_blocks is None:
            self._from_blocks = self._read_blocks(self._meter)
        return self._from_blocks.get(period)

    def _from_state(self, meter: bytes, kept: Reading) -> models.RegisterProof:
        place = self._reader.chain.find_transaction(kept.transaction_id)
        return models.RegisterProof(
            owner=self._reader.party(self._owner),
            meter=meter.hex(),
            transaction_id=kept.transaction_id.hex(),
            height=0 if place is None else place.height,
            sampled_at_ms=kept.sampled_at_ms,
            sampled_at=iso_time(kept.sampled_at_ms),
            import_before_wh=kept.import_wh - kept.imported_wh,
            import_wh=kept.import_wh,
            export_before_wh=kept.export_wh - kept.exported_wh,
            export_wh=kept.export_wh,
        )

    def _read_blocks(self, meter: bytes) -> dict[int, models.RegisterProof]:
        """A meter's periods only grow: so do they along its owner's history, and reading back may stop."""
        earliest = min(self._window.heights, default=0)
        found: dict[int, tuple[Transaction, SubmitReading, int]] = {}
        try:
            for height, position in _reading_transactions(self._reader, self._owner, self._window, 0):
                transaction = decode_transaction(self._reader.block(height).transactions[position])
                payload = transaction.payload
                assert isinstance(payload, SubmitReading)
                if transaction.sender != meter:
                    continue
                found[payload.period] = (transaction, payload, height)
                if payload.period < earliest:
                    break
        except Pruned as error:
            self._window.not_kept = (
                f"this node keeps blocks from height {error.floor} on; ask an archive for what was before"
            )
        return {period: self._proof(meter, found, period) for period in found}

    def _proof(
        self, meter: bytes, found: dict[int, tuple[Transaction, SubmitReading, int]], period: int
    ) -> models.RegisterProof:
        transaction, payload, height = found[period]
        before = found.get(period - 1)
        return models.RegisterProof(
            owner=self._reader.party(self._owner),
            meter=meter.hex(),
            transaction_id=transaction.id.hex(),
            height=height,
            sampled_at_ms=payload.sampled_at_ms,
            sampled_at=iso_time(payload.sampled_at_ms),
            import_before_wh=None if before is None else before[1].import_wh,
            import_wh=payload.import_wh,
            export_before_wh=None if before is None else before[1].export_wh,
            export_wh=payload.export_wh,
        )

"""Members' bills as the state keeps them: of the cycle that is open, as far as it is settled, and of those before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from ledger.billing.bills import (
    PAGE_MEMBERS,
    BilledLine,
    PreparedBill,
    is_closed,
    members_of,
    page_of,
    prepare,
    to_pay,
    to_receive,
)
from ledger.keys import digest
from ledger.market.terms import gateway_of
from ledger.records import (
    ARREARS,
    BILLING_CYCLES,
    BILLS,
    CLAIMS,
    CYCLE_MEMBERS,
    Bill,
    Claim,
    CycleMember,
    height_key,
)
from ledger.records import Arrears as ArrearsRecord
from ledger.settlement.lines import next_period
from node.client import models
from node.client.models import iso_time
from node.views.reader import NotFound, Reader

ID_CHARACTERS: Final = 16
_KEY_BYTES: Final = 32
_NO_CLAIM: Final = Claim()


def cycle_at(reader: Reader, period: int) -> int:
    return period // reader.parameters.billing_cycle_periods


def open_cycle(reader: Reader) -> int:
    return cycle_at(reader, next_period(reader.state))


def bill_page(reader: Reader, member: bytes, before: int | None, limit: int) -> models.BillPage:
    """The member's bills of cycles below ``before``, the open one first by default."""
    newest = open_cycle(reader) if before is None else min(before - 1, open_cycle(reader))
    found = (cycle for cycle in _cycles_down(reader, newest) if _sums(reader, cycle, member) is not None)
    cycles = list(islice(found, limit + 1))
    return models.BillPage(
        height=reader.height,
        member=reader.party(member),
        bills=[summary(reader, cycle, member) for cycle in cycles[:limit]],
        next_before=cycles[limit - 1] if len(cycles) > limit else None,
    )


def current_bill(reader: Reader, member: bytes) -> models.Bill:
    """The newest cycle's in which anything was settled for the member. Errors: NotFound."""
    for cycle in _cycles_down(reader, open_cycle(reader)):
        if _sums(reader, cycle, member) is not None:
            return bill_view(reader, cycle, member)
    raise NotFound(f"nothing has been settled for {reader.party(member).label} yet")


def bill_view(reader: Reader, cycle: int, member: bytes) -> models.Bill:
    """Errors: NotFound."""
    bill = require_bill(reader, cycle, member)
    return models.Bill(
        height=reader.height,
        summary=summary(reader, cycle, member),
        lines=[line_view(reader, member, line) for line in bill.lines],
        fees=[models.BillFee(debtor=reader.party(one), fee_uwatt=fee) for one, fee in sorted(bill.fees_uwatt.items())],
        claims=[_claim(reader, bill, other, claim) for other, claim in bill.claims.items()],
        lines_forgotten=bill.recorded is not None and BILLING_CYCLES.get(reader.state, height_key(cycle)) is None,
    )


def require_bill(reader: Reader, cycle: int, member: bytes) -> PreparedBill:
    """Errors: NotFound."""
    bill = prepare(reader.state, cycle, member)
    if bill is None:
        raise NotFound(
            f"in cycle {cycle} nothing was settled for {reader.party(member).label}; the open one is "
            f"{open_cycle(reader)}"
        )
    return bill


def summary(reader: Reader, cycle: int, member: bytes) -> models.BillSummary:
    """Of a bill that exists; what it costs follows from the sums, without reading the lines."""
    state = reader.state
    sums, recorded = _sums(reader, cycle, member), BILLS.get(state, height_key(cycle), member)
    assert sums is not None
    claims = {key[-_KEY_BYTES:]: claim for key, claim in CLAIMS.scan(state, height_key(cycle), member)}
    if recorded is None:
        pay_uwatt, receive_uwatt = sum(to_pay(claims).values()), sum(to_receive(claims).values())
    else:
        pay_uwatt, receive_uwatt = recorded.to_pay_uwatt, recorded.to_receive_uwatt
    from_escrow = sums.escrow_paid_uwatt - sums.escrow_received_uwatt
    cost = from_escrow + pay_uwatt - receive_uwatt
    is_gateway = member == gateway_of(state)
    first, last, start_ms, end_ms = _range(reader, cycle)
    return models.BillSummary(
        cycle=cycle,
        member=reader.party(member),
        state=_state_of(reader, cycle, member, recorded),
        is_gateway=is_gateway,
        page=sum(1 for other in members_of(state, cycle) if other < member) // PAGE_MEMBERS,
        first_period=first,
        last_period=last,
        start_ms=start_ms,
        start=iso_time(start_ms),
        end_ms=end_ms,
        end=iso_time(end_ms),
        settled_periods=sums.periods,
        estimated_periods=sums.estimated_periods,
        import_wh=sums.import_wh,
        export_wh=sums.export_wh,
        cost_uwatt=cost,
        from_escrow_uwatt=from_escrow,
        to_pay_uwatt=pay_uwatt,
        to_receive_uwatt=receive_uwatt,
        utility_cost_uwatt=None if is_gateway else sums.utility_cost_uwatt,
        sharing_cost_uwatt=None if is_gateway else sums.sharing_cost_uwatt,
        saving_uwatt=None if is_gateway else sums.utility_cost_uwatt - cost,
        recorded_height=None if recorded is None else recorded.recorded_height,
        due_ms=None if recorded is None else recorded.due_ms,
        due=None if recorded is None else iso_time(recorded.due_ms),
        paid_height=None if recorded is None else recorded.paid_height or None,
    )


def line_id(line: BilledLine) -> str:
    """The same on both parties' bills, and as long as the line grows."""
    numbers = (int(line.title), line.price, int(line.kind))
    key = b"".join((line.debtor, line.creditor, *(number.to_bytes(8, "big") for number in numbers)))
    return digest(key).hex()[:ID_CHARACTERS]


def line_view(reader: Reader, member: bytes, line: BilledLine) -> models.BillLine:
    total = line.amount_uwatt + line.fee_uwatt
    return models.BillLine(
        id=line_id(line),
        title=line.title.name.lower(),
        kind=line.kind.name.lower(),
        debtor=reader.party(line.debtor),
        creditor=reader.party(line.creditor),
        energy_wh=line.energy_wh,
        price_uwatt_per_kwh=line.price,
        amount_uwatt=line.amount_uwatt,
        fee_uwatt=line.fee_uwatt,
        cost_uwatt=total if line.debtor == member else -line.amount_uwatt,
        from_escrow=line.from_escrow,
    )


def cycle_page(reader: Reader, before: int | None, limit: int) -> models.BillingCyclePage:
    """Cycles below ``before``, the open one first by default."""
    newest = open_cycle(reader) if before is None else min(before - 1, open_cycle(reader))
    cycles = list(islice(_cycles_down(reader, newest), limit + 1))
    return models.BillingCyclePage(
        height=reader.height,
        cycle_periods=reader.parameters.billing_cycle_periods,
        cycles=[_cycle(reader, cycle) for cycle in cycles[:limit]],
        next_before=cycles[limit - 1] if len(cycles) > limit else None,
    )


def arrears_page(reader: Reader, after: bytes | None, limit: int) -> models.ArrearsPage:
    """``after``: the key of the last one shown."""
    rows: list[tuple[bytes, ArrearsRecord]] = []
    for key, _ in reader.chain.scan_above(ARREARS.key(after or b"")):
        if not key.startswith(ARREARS.prefix) or len(rows) > limit:
            break
        record = ARREARS.get(reader.state, key[1:])
        assert record is not None, "the key was just read"
        rows.append((key[1:], record))
    return models.ArrearsPage(
        height=reader.height,
        arrears=[
            models.Arrear(
                member=reader.party(key[:_KEY_BYTES]),
                cycle=int.from_bytes(key[_KEY_BYTES:], "big"),
                amount_uwatt=record.amount_uwatt,
                since_height=record.since_height,
            )
            for key, record in rows[:limit]
        ],
        next_after=_arrears_place(rows[limit - 1][0]) if len(rows) > limit else None,
    )


def _arrears_place(key: bytes) -> str:
    return f"{key[:_KEY_BYTES].hex()}:{int.from_bytes(key[_KEY_BYTES:], 'big')}"


def _cycle(reader: Reader, cycle: int) -> models.BillingCycle:
    state = reader.state
    first, last, start_ms, end_ms = _range(reader, cycle)
    members = sum(1 for _ in members_of(state, cycle))
    pages = -(-members // PAGE_MEMBERS)
    record, closed = BILLING_CYCLES.get(state, height_key(cycle)), is_closed(state, cycle)
    left = [page for page in range(pages) if closed and not _is_recorded(reader, cycle, page)]
    return models.BillingCycle(
        cycle=cycle,
        first_period=first,
        last_period=last,
        start_ms=start_ms,
        start=iso_time(start_ms),
        end_ms=end_ms,
        end=iso_time(end_ms),
        closed=closed,
        members=members,
        pages=pages,
        pages_left=left,
        recorded=sum(1 for _ in BILLS.scan(state, height_key(cycle))),
        unpaid=0 if record is None else record.unpaid,
    )


def _is_recorded(reader: Reader, cycle: int, page: int) -> bool:
    return BILLS.get(reader.state, height_key(cycle), page_of(reader.state, cycle, page)[0]) is not None


def _claim(reader: Reader, bill: PreparedBill, other: bytes, claim: Claim) -> models.BillClaim:
    pay_uwatt = max(0, claim.owed_uwatt - claim.due_uwatt)
    receive_uwatt = max(0, claim.due_uwatt - claim.owed_uwatt)
    payer = bill.recorded if pay_uwatt else BILLS.get(reader.state, height_key(bill.cycle), other)
    return models.BillClaim(
        counterparty=reader.party(other),
        owed_uwatt=claim.owed_uwatt,
        due_uwatt=claim.due_uwatt,
        to_pay_uwatt=pay_uwatt,
        to_receive_uwatt=receive_uwatt,
        settled=not (pay_uwatt or receive_uwatt) or (payer is not None and payer.paid_height > 0),
    )


def _state_of(reader: Reader, cycle: int, member: bytes, recorded: Bill | None) -> str:
    if recorded is None:
        return "closed" if is_closed(reader.state, cycle) else "open"
    if recorded.paid_height:
        return "paid"
    return "due" if ARREARS.get(reader.state, member, height_key(cycle)) is None else "arrears"


def _sums(reader: Reader, cycle: int, member: bytes) -> CycleMember | None:
    return CYCLE_MEMBERS.get(reader.state, height_key(cycle), member)


def _cycles_down(reader: Reader, newest: int) -> Iterator[int]:
    """Cycles in which anything was settled, newest first: they follow each other without gaps."""
    first = next(reader.chain.scan_above(CYCLE_MEMBERS.prefix), None)
    if first is None or not first[0].startswith(CYCLE_MEMBERS.prefix):
        return
    for cycle in range(newest, int.from_bytes(first[0][1:9], "big") - 1, -1):
        if next(members_of(reader.state, cycle), None) is not None:
            yield cycle


def _range(reader: Reader, cycle: int) -> tuple[int, int, int, int]:
    """First and last period, and when the cycle begins and ends, ms."""
    parameters = reader.parameters
    first = cycle * parameters.billing_cycle_periods
    last = first + parameters.billing_cycle_periods - 1
    return first, last, first * parameters.period_ms, (last + 1) * parameters.period_ms

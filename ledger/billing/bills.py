"""A member's bill of a cycle, as far as it is settled: a dry run that anyone can make, of an open cycle too.

1. A cycle is closed when its last period is settled. Nothing is added to a closed one: a reading that comes late makes
   a correction in the cycle that is open then.
2. Who is billed are the members that were settled in the cycle, and the gateway, by ascending id, 64 to a page.
3. A line says the same on the debtor's bill and on the creditor's; the grid fee on it is the gateway's. So over all
   bills of a cycle Σ ``cost_uwatt`` = 0, and Σ ``to_pay_uwatt`` = Σ ``to_receive_uwatt``.
4. Lines of trades and shortfalls were paid out of escrow when their period settled. All others are claims, set off
   between each two members: only the difference is to pay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from ledger.execution import get_parameters
from ledger.market.terms import gateway_of
from ledger.records import (
    BILL_LINES,
    BILLS,
    CLAIMS,
    CYCLE_MEMBERS,
    Bill,
    BillLine,
    Claim,
    CycleMember,
    LineKind,
    height_key,
)
from ledger.settlement.lines import next_period
from ledger.settlement.titles import PAID_FROM_ESCROW, Title
from ledger.state import State

PAGE_MEMBERS: Final = 64
_KEY_BYTES: Final = 32


class BilledLine(NamedTuple):
    """``debtor`` owes ``creditor`` the amount and the gateway the fee, or has paid both: ``from_escrow``. ``price`` in
    uwatt per kWh.
    """

    debtor: bytes
    creditor: bytes
    title: Title
    price: int
    kind: LineKind
    energy_wh: int
    amount_uwatt: int
    fee_uwatt: int

    @property
    def from_escrow(self) -> bool:
        return self.title in PAID_FROM_ESCROW


@dataclass(frozen=True, slots=True)
class PreparedBill:
    """``lines`` are those the member is a party of; the gateway's bill has besides, as ``fees_uwatt`` by debtor, the
    grid fees on the lines of others. ``recorded`` is None until the bill is recorded.
    """

    cycle: int
    member: bytes
    first_period: int
    last_period: int
    closed: bool
    sums: CycleMember
    lines: tuple[BilledLine, ...]
    fees_uwatt: Mapping[bytes, int]
    claims: Mapping[bytes, Claim]
    recorded: Bill | None

    @property
    def cost_uwatt(self) -> int:
        """What the member's energy costs it, all in all, less what it earns; fees included."""
        cost = -sum(self.fees_uwatt.values())
        for line in self.lines:
            cost += line.amount_uwatt + line.fee_uwatt if line.debtor == self.member else -line.amount_uwatt
        return cost

    @property
    def to_pay_uwatt(self) -> int:
        return sum(to_pay(self.claims).values())

    @property
    def to_receive_uwatt(self) -> int:
        return sum(to_receive(self.claims).values())


def is_closed(state: State, cycle: int) -> bool:
    return next_period(state) >= (cycle + 1) * get_parameters(state).billing_cycle_periods


def prepare(state: State, cycle: int, member: bytes) -> PreparedBill | None:
    """The member's bill as far as the cycle is settled; None if nothing of it was settled for the member. Of a cycle
    whose lines are forgotten (``upkeep``) the sums are left.
    """
    sums = CYCLE_MEMBERS.get(state, height_key(cycle), member)
    if sums is None:
        return None
    periods = get_parameters(state).billing_cycle_periods
    is_gateway = member == gateway_of(state)
    return PreparedBill(
        cycle=cycle,
        member=member,
        first_period=cycle * periods,
        last_period=(cycle + 1) * periods - 1,
        closed=is_closed(state, cycle),
        sums=sums,
        lines=tuple(lines_of(state, cycle, member)),
        fees_uwatt=_fees(state, cycle, member) if is_gateway else {},
        claims=claims_of(state, cycle, member),
        recorded=BILLS.get(state, height_key(cycle), member),
    )


def members_of(state: State, cycle: int) -> Iterator[bytes]:
    """Who is billed for a cycle, ascending."""
    for key, _ in CYCLE_MEMBERS.scan(state, height_key(cycle)):
        yield key[-_KEY_BYTES:]


def page_of(state: State, cycle: int, page: int) -> list[bytes]:
    """The members whose bills are recorded together; empty beyond the last page."""
    return list(islice(members_of(state, cycle), page * PAGE_MEMBERS, (page + 1) * PAGE_MEMBERS))


def lines_of(state: State, cycle: int, member: bytes) -> Iterator[BilledLine]:
    """What the member owes, then what it is owed, each by counterparty, title, price and kind."""
    yield from _lines(state, cycle, member)
    for debtor in members_of(state, cycle):
        if debtor != member:
            yield from _lines(state, cycle, debtor, member)


def claims_of(state: State, cycle: int, member: bytes) -> dict[bytes, Claim]:
    """By counterparty, ascending."""
    return {key[-_KEY_BYTES:]: claim for key, claim in CLAIMS.scan(state, height_key(cycle), member)}


def to_pay(claims: Mapping[bytes, Claim]) -> dict[bytes, int]:
    """What is left to pay to whom after setting off, uwatt."""
    return {other: one.owed_uwatt - one.due_uwatt for other, one in claims.items() if one.owed_uwatt > one.due_uwatt}


def to_receive(claims: Mapping[bytes, Claim]) -> dict[bytes, int]:
    """What is left to get from whom after setting off, uwatt."""
    return {other: one.due_uwatt - one.owed_uwatt for other, one in claims.items() if one.due_uwatt > one.owed_uwatt}


def _lines(state: State, cycle: int, *parties: bytes) -> Iterator[BilledLine]:
    for key, line in BILL_LINES.scan(state, height_key(cycle), *parties):
        yield billed_line(key, line)


def billed_line(key: bytes, line: BillLine) -> BilledLine:
    """Reads a key of ``BILL_LINES``."""
    return BilledLine(
        debtor=key[8:40],
        creditor=key[40:72],
        title=Title(key[72]),
        price=int.from_bytes(key[73:81], "big"),
        kind=LineKind(key[81]),
        energy_wh=line.energy_wh,
        amount_uwatt=line.amount_uwatt,
        fee_uwatt=line.fee_uwatt,
    )


def _fees(state: State, cycle: int, gateway: bytes) -> dict[bytes, int]:
    fees: dict[bytes, int] = {}
    for line in _lines(state, cycle):
        if line.fee_uwatt:
            assert gateway not in (line.debtor, line.creditor), "the grid fee is on energy between members"
            fees[line.debtor] = fees.get(line.debtor, 0) + line.fee_uwatt
    return fees

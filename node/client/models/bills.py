"""Bills: cycles, lines, what is left to pay, and what stands behind a line.

A *cycle* is a range of periods, ``first_period`` to ``last_period``; it closes when the last one is settled. ``state``
of a bill: ``open`` while its cycle is; ``closed`` until it is recorded; then ``due``, ``arrears`` or ``paid``. Costs
are what a member pays less what it earns; a negative cost is earned.
"""

from __future__ import annotations

from node.client.models.base import Model, Party
from node.client.models.market import Trade


class BillSummary(Model, frozen=True, kw_only=True):
    """A member's bill in sum, as far as its cycle is settled.

    ``cost_uwatt`` is all of it; of that ``from_escrow_uwatt`` was paid (negative: earned) when trades settled. What is
    left is set off by counterparty: ``to_pay_uwatt`` and ``to_receive_uwatt``. ``utility_cost_uwatt`` and
    ``sharing_cost_uwatt`` are what the same energy would have cost with the utility alone and with a plain sharing key;
    ``saving_uwatt`` is the first less the cost; all three are None for the utility itself. ``page`` is the page that
    records the bill.
    """

    cycle: int
    member: Party
    state: str
    is_gateway: bool
    page: int
    first_period: int
    last_period: int
    start_ms: int
    start: str
    end_ms: int
    end: str
    settled_periods: int
    estimated_periods: int
    import_wh: int
    export_wh: int
    cost_uwatt: int
    from_escrow_uwatt: int
    to_pay_uwatt: int
    to_receive_uwatt: int
    utility_cost_uwatt: int | None
    sharing_cost_uwatt: int | None
    saving_uwatt: int | None
    recorded_height: int | None
    due_ms: int | None
    due: str | None
    paid_height: int | None


class BillPage(Model, frozen=True, kw_only=True):
    """A member's bills, newest first. ``next_before`` is a cycle's number."""

    height: int
    member: Party
    bills: list[BillSummary]
    next_before: int | None


class BillLine(Model, frozen=True, kw_only=True):
    """What ``debtor`` owes ``creditor``: energy at one price under one title, and the grid fee that goes to the
    gateway.

    ``title``: contract, trade, property, pool, retail, feed_in, shortfall, excess. ``kind``: metered, estimated,
    correction. ``cost_uwatt`` is the line's part of the cost of whose bill this is. ``from_escrow``: paid when its
    period settled.
    """

    id: str
    title: str
    kind: str
    debtor: Party
    creditor: Party
    energy_wh: int
    price_uwatt_per_kwh: int
    amount_uwatt: int
    fee_uwatt: int
    cost_uwatt: int
    from_escrow: bool


class BillFee(Model, frozen=True, kw_only=True):
    """Grid fees on a member's lines with others: what they add to the gateway's bill."""

    debtor: Party
    fee_uwatt: int


class BillClaim(Model, frozen=True, kw_only=True):
    """What the lines leave between a member and a counterparty. After setting off one of ``to_pay_uwatt`` and
    ``to_receive_uwatt`` is zero. ``settled``: it is paid, or nothing is left.
    """

    counterparty: Party
    owed_uwatt: int
    due_uwatt: int
    to_pay_uwatt: int
    to_receive_uwatt: int
    settled: bool


class Bill(Model, frozen=True, kw_only=True):
    """``lines_forgotten``: lines and claims of an old cycle in which all is paid are not kept. ``fees`` only on the
    gateway's bill.
    """

    height: int
    summary: BillSummary
    lines: list[BillLine]
    fees: list[BillFee]
    claims: list[BillClaim]
    lines_forgotten: bool


class RegisterProof(Model, frozen=True, kw_only=True):
    """The signed reading behind a period: the registers at its begin and end. ``height`` is its block's; begin is None
    where the reading before is not kept here.
    """

    owner: Party
    meter: str
    transaction_id: str
    height: int
    sampled_at_ms: int
    sampled_at: str
    import_before_wh: int | None
    import_wh: int
    export_before_wh: int | None
    export_wh: int


class LinePart(Model, frozen=True, kw_only=True):
    """What one period adds to a line. ``height``: the block that settled or corrected it. ``trades`` are those of the
    period at the line's price. ``readings`` are of the two parties, the gateway excepted; a party without one was
    estimated.
    """

    period: int
    start_ms: int
    start: str
    height: int
    energy_wh: int
    amount_uwatt: int
    fee_uwatt: int
    trades: list[Trade]
    readings: list[RegisterProof]


class LineExplanation(Model, frozen=True, kw_only=True):
    """A line period by period, oldest first. ``next_after`` is a period. ``not_kept``: a sentence where this node no
    longer has, or never had, what is needed; an archive has it.
    """

    height: int
    cycle: int
    member: Party
    line: BillLine
    parts: list[LinePart]
    next_after: int | None
    not_kept: str | None


class MemberPeriod(Model, frozen=True, kw_only=True):
    """How one member's period was settled, in Wh. ``local``: contracts, property and pools; ``market``: trades;
    ``drawn``, ``shortfall``, ``fed_in`` and ``excess`` with the gateway. ``cost_uwatt`` of the period's lines; what
    came later as a correction is not in it. ``reading`` is None where the period was estimated.
    """

    period: int
    start_ms: int
    start: str
    height: int
    estimated: bool
    local_bought_wh: int
    local_sold_wh: int
    market_bought_wh: int
    market_sold_wh: int
    drawn_wh: int
    shortfall_wh: int
    fed_in_wh: int
    excess_wh: int
    cost_uwatt: int
    reading: RegisterProof | None


class MemberPeriodPage(Model, frozen=True, kw_only=True):
    """Oldest first; ``next_after`` is a period. ``not_kept`` as in ``LineExplanation``."""

    height: int
    cycle: int
    member: Party
    periods: list[MemberPeriod]
    next_after: int | None
    not_kept: str | None


class BillingCycle(Model, frozen=True, kw_only=True):
    """``pages`` record the bills of ``members``; ``pages_left`` are those that nobody has recorded yet."""

    cycle: int
    first_period: int
    last_period: int
    start_ms: int
    start: str
    end_ms: int
    end: str
    closed: bool
    members: int
    pages: int
    pages_left: list[int]
    recorded: int
    unpaid: int


class BillingCyclePage(Model, frozen=True, kw_only=True):
    """Newest first. ``next_before`` is a cycle's number."""

    height: int
    cycle_periods: int
    cycles: list[BillingCycle]
    next_before: int | None


class Arrear(Model, frozen=True, kw_only=True):
    """An unpaid bill past its due time."""

    member: Party
    cycle: int
    amount_uwatt: int
    since_height: int


class ArrearsPage(Model, frozen=True, kw_only=True):
    """By account; ``next_after`` is `account:cycle`, the account in hex."""

    height: int
    arrears: list[Arrear]
    next_after: str | None

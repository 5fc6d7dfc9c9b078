"""Bills for people: what lines are called, how they are grouped, what a bill's state means, what was saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from node.client.format import count, date_time, percent, watt
from node.client.models import Bill, BillClaim, BillLine, BillSummary, Party

TITLES: Final = {
    "contract": "contract",
    "trade": "market",
    "property": "solar share",
    "pool": "sharing pool",
    "retail": "utility",
    "feed_in": "fed in",
    "shortfall": "sold, not delivered",
    "excess": "bought, not used",
}
"""What a line is about. The last two: energy that was traded and did not flow, bought from and sold to the utility."""

_LOCAL: Final = frozenset({"contract", "trade", "property", "pool"})
_CORRECTION: Final = "correction"
_SHOWN_PARTS: Final = 10_000


class Group(NamedTuple):
    """Lines that stand together. The sums are of the lines; energy taken and given is not set off."""

    title: str
    lines: list[BillLine]
    energy_wh: int
    fee_uwatt: int
    cost_uwatt: int


def title_words(line: BillLine) -> str:
    return TITLES.get(line.title, line.title)


def counterparty(line: BillLine, member: Party) -> Party:
    return line.creditor if line.debtor == member else line.debtor


def groups(bill: Bill) -> list[Group]:
    """The bill's lines by where energy came from and went to, corrections last; groups without lines are left out."""
    named: dict[str, list[BillLine]] = {title: [] for title in _group_titles(bill.summary.is_gateway)}
    for line in bill.lines:
        named[_group_of(line, bill.summary)].append(line)
    return [_group(title, lines) for title, lines in named.items() if lines]


def _group(title: str, lines: Sequence[BillLine]) -> Group:
    ordered = sorted(lines, key=lambda line: (line.title, line.debtor.label, line.creditor.label, line.kind))
    return Group(
        title,
        ordered,
        sum(line.energy_wh for line in ordered),
        sum(line.fee_uwatt for line in ordered),
        sum(line.cost_uwatt for line in ordered),
    )


def _group_titles(is_gateway: bool) -> tuple[str, ...]:
    if is_gateway:
        return "Sold to members", "Bought from members", "Corrections"
    return (
        "From neighbours",
        "From the utility",
        "To neighbours",
        "To the utility",
        "Corrections",
    )


def _group_of(line: BillLine, summary: BillSummary) -> str:
    titles = _group_titles(summary.is_gateway)
    if line.kind == _CORRECTION:
        return titles[-1]
    buys = line.debtor == summary.member
    if summary.is_gateway:
        return titles[1] if buys else titles[0]
    return titles[(0 if buys else 2) + (line.title not in _LOCAL)]


def numbered(bill: Bill) -> list[BillLine]:
    """All lines in the order in which they are shown; the first has number 1."""
    return [line for group in groups(bill) for line in group.lines]


def find_line(bill: Bill, text: str) -> BillLine | None:
    """The line of this number, or whose id begins so; None if there is no such line, or several."""
    lines = numbered(bill)
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= len(lines):
        return lines[int(text) - 1]
    found = [line for line in lines if text and line.id.startswith(text)]
    return found[0] if len(found) == 1 else None


def state_words(summary: BillSummary, utc_offset_minutes: int = 0) -> str:
    """For instance ``to be paid by 2026-06-14 12:00:00``."""
    if summary.state == "open":
        periods = summary.last_period - summary.first_period + 1
        return f"open: {count(summary.settled_periods)} of {count(periods)} periods settled"
    if summary.state == "closed":
        return "closed, not recorded yet"
    if summary.state == "paid":
        return "paid" if summary.to_pay_uwatt else "nothing to pay"
    assert summary.due_ms is not None
    due = date_time(summary.due_ms, utc_offset_minutes)
    return f"overdue since {due}" if summary.state == "arrears" else f"to be paid by {due}"


def cost_words(cost_uwatt: int) -> str:
    """``12.50 WATT``, or ``12.50 WATT earned``."""
    return watt(cost_uwatt) if cost_uwatt >= 0 else f"{watt(-cost_uwatt)} earned"


def saving_words(summary: BillSummary) -> str | None:
    """What the neighbourhood saved the member against the utility; None for the utility itself."""
    saving, alone = summary.saving_uwatt, summary.utility_cost_uwatt
    if saving is None or alone is None:
        return None
    share = f", {percent(abs(saving) * _SHOWN_PARTS // abs(alone))}" if alone else ""
    if saving < 0:
        return f"{watt(-saving)} more than with the utility alone{share}"
    return f"{watt(saving)} better than with the utility alone{share}"


def comparison(summary: BillSummary) -> list[tuple[str, int]]:
    """(what, cost): this bill, and what it is compared with; only itself for the utility."""
    found = [("this bill", summary.cost_uwatt)]
    if summary.sharing_cost_uwatt is not None:
        found.append(("plain sharing key", summary.sharing_cost_uwatt))
    if summary.utility_cost_uwatt is not None:
        found.append(("utility alone", summary.utility_cost_uwatt))
    return found


def to_pay(bill: Bill) -> list[BillClaim]:
    return [claim for claim in bill.claims if claim.to_pay_uwatt]


def to_receive(bill: Bill) -> list[BillClaim]:
    return [claim for claim in bill.claims if claim.to_receive_uwatt]

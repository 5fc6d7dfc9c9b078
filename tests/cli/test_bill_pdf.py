"""A bill on paper, in a table and for a spreadsheet: made from the API's own example and from worse."""

from __future__ import annotations

import csv
import re

import pytest
from msgspec.structs import replace

from cli.bill_pdf import bill_pdf
from cli.bill_tables import bill_csv, print_bill, print_explanation
from node.api.examples import ANNE, BILL, BILL_LINE, EXPLANATION, GEORGE
from node.client.bills import comparison, find_line, groups, numbered, saving_words, state_words
from node.client.models import Bill, BillLine, Trade


def line(number: int, title: str, *, bought: bool, kind: str = "metered", cost: int = 1_000_000) -> BillLine:
    debtor, creditor = (ANNE, GEORGE) if bought else (GEORGE, ANNE)
    return replace(
        BILL_LINE,
        id=f"{number:016x}",
        title=title,
        kind=kind,
        debtor=debtor,
        creditor=creditor,
        cost_uwatt=cost if bought else -cost,
    )


def full() -> Bill:
    lines = [
        line(1, "feed_in", bought=False),
        line(2, "retail", bought=True, kind="correction"),
        line(3, "retail", bought=True, kind="estimated"),
        line(4, "pool", bought=False),
        line(5, "trade", bought=True),
        line(6, "contract", bought=True),
    ]
    return replace(BILL, lines=lines)


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def test_lines_are_grouped_by_where_energy_came_from_and_numbered_in_that_order() -> None:
    bill = full()
    assert [(group.title, [int(one.id, 16) for one in group.lines]) for group in groups(bill)] == [
        ("From neighbours", [6, 5]),
        ("From the utility", [3]),
        ("To neighbours", [4]),
        ("To the utility", [1]),
        ("Corrections", [2]),
    ]
    assert [int(one.id, 16) for one in numbered(bill)] == [6, 5, 3, 4, 1, 2]
    assert find_line(bill, "1") == bill.lines[5]
    assert find_line(bill, "0") is None
    assert find_line(bill, "0000000000000004") == bill.lines[3]
    assert find_line(bill, "") is None
    gateway = replace(bill, summary=replace(bill.summary, is_gateway=True))
    assert [group.title for group in groups(gateway)] == ["Sold to members", "Bought from members", "Corrections"]


def test_a_bill_s_state_and_saving_in_words() -> None:
    summary = BILL.summary
    assert state_words(replace(summary, state="open", settled_periods=7)) == "open: 7 of 2,880 periods settled"
    assert state_words(replace(summary, state="arrears")).startswith("overdue since 20")
    assert state_words(replace(summary, state="paid")) == "paid"
    assert state_words(replace(summary, state="paid", to_pay_uwatt=0)) == "nothing to pay"
    assert saving_words(summary) == "19.28 WATT better than with the utility alone, 20.7 %"
    worse = replace(summary, saving_uwatt=-500_000)
    assert saving_words(worse) == "0.50 WATT more than with the utility alone, 0.5 %"
    assert saving_words(replace(summary, saving_uwatt=None)) is None
    assert [name for name, _ in comparison(summary)] == ["this bill", "plain sharing key", "utility alone"]


def test_the_same_bill_is_the_same_file() -> None:
    made = bill_pdf(full(), "Sonnenstraße Süd")
    assert made.startswith(b"%PDF")
    assert pages(made) == 2
    assert made == bill_pdf(full(), "Sonnenstraße Süd")
    assert made != bill_pdf(replace(full(), summary=replace(BILL.summary, to_pay_uwatt=1)), "Sonnenstraße Süd")


@pytest.mark.parametrize(
    "bill",
    [
        replace(BILL, lines=[], claims=[], fees=[], lines_forgotten=True),
        replace(BILL, summary=replace(BILL.summary, is_gateway=True, saving_uwatt=None, utility_cost_uwatt=None)),
        replace(BILL, summary=replace(BILL.summary, state="open", recorded_height=None, due_ms=None)),
        replace(BILL, summary=replace(BILL.summary, cost_uwatt=-5, utility_cost_uwatt=0, sharing_cost_uwatt=0)),
        replace(BILL, summary=replace(BILL.summary, to_pay_uwatt=0, to_receive_uwatt=7, cost_uwatt=0)),
    ],
    ids=["lines forgotten", "gateway", "open", "earned", "receives"],
)
def test_bills_of_every_kind_can_be_written(bill: Bill, capsys: pytest.CaptureFixture[str]) -> None:
    assert pages(bill_pdf(bill, "lane")) == 1
    print_bill(bill)
    assert "costs in all" in capsys.readouterr().out


def test_a_long_bill_has_more_pages() -> None:
    lines = [line(number, "trade", bought=True) for number in range(1, 200)]
    assert pages(bill_pdf(replace(BILL, lines=lines), "lane")) >= 4


def test_a_spreadsheet_has_every_line_to_the_unit() -> None:
    bill = full()
    rows = list(csv.DictReader(bill_csv(bill).splitlines()))
    assert len(rows) == len(bill.lines) + len(bill.fees)
    shown = sum(int(row["cost_uwatt"]) for row in rows)
    assert shown == sum(one.cost_uwatt for one in bill.lines) - sum(fee.fee_uwatt for fee in bill.fees)


def test_an_explanation_names_trades_registers_and_what_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    trade = Trade(
        period=1,
        number=17,
        seller=GEORGE,
        buyer=ANNE,
        energy_wh=200,
        price_uwatt_per_kwh=204_000,
        rate_uwatt_per_kwh=24_000,
        value_uwatt=40_800,
        fee_uwatt=4_800,
        sell_order=3,
        buy_order=4,
        height=150_000,
    )
    (part,) = EXPLANATION.parts
    found = replace(EXPLANATION, not_kept="this node keeps blocks from height 9 on")
    print_explanation(found, [replace(part, trades=[trade]), replace(part, readings=[])])
    said = capsys.readouterr().out
    assert "anne owes george" in said
    assert "trade 17" in said
    assert "orders 3 and 4, block 150000" in said
    assert f"in 1,200.00 → 1,200.20 kWh, out 0.00 → 0.00 kWh; signed reading {'1f' * 32} in block 150120" in said
    assert "estimated, or corrected by a later one" in said
    assert "0.40 kWh of 190.00 kWh are explained: this node keeps blocks from height 9 on" in said

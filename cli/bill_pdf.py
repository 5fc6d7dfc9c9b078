"""A bill on paper, A4: who, when, how much; what was saved; every line; how to check it.

Amounts of lines are rounded to four decimals for reading, what is to be paid is exact. The file says nothing of when it
was made: the same bill is the same bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos

from node.client.bills import (
    Group,
    comparison,
    cost_words,
    counterparty,
    groups,
    numbered,
    saving_words,
    state_words,
    title_words,
    to_pay,
    to_receive,
)
from node.client.format import count, date_time, energy, watt
from node.client.models import Bill, BillLine, Party

FONT: Final = "DejaVuSans"
MARGIN_MM: Final = 18
ROW_MM: Final = 5.6
GREEN: Final = (26, 107, 74)
PALE: Final = (232, 243, 237)
GREY: Final = (110, 118, 114)
BLACK: Final = (24, 28, 26)
BAR_COLOURS: Final = (GREEN, (127, 176, 154), (190, 196, 193))
SHOWN_DECIMALS: Final = 4
_UWATT_SHOWN: Final = 10 ** (6 - SHOWN_DECIMALS)
_BAR_MM: Final = 82
_COLUMNS: Final = (8, 42, 28, 24, 22, 23, 27)  # number, what, with, kWh, price, grid fee, costs: 174 mm


def bill_pdf(bill: Bill, network: str) -> bytes:
    """``network`` is the neighbourhood's name."""
    page = _Paper(bill, network)
    page.add_page()
    _head(page)
    if bill.summary.saving_uwatt is not None:
        _comparison(page)
    for group in groups(bill):
        _group(page, group)
    if bill.lines_forgotten:
        _text(page, "The lines of this cycle are not kept any more: all of its bills are paid.", GREY)
    _sums(page)
    _how_to_check(page)
    return bytes(page.output())


class _Paper(FPDF):
    """Margins, fonts, and the foot of each page."""

    def __init__(self, bill: Bill, network: str) -> None:
        super().__init__(orientation="portrait", unit="mm", format="A4")
        self.bill, self.network = bill, network
        self.set_margins(MARGIN_MM, MARGIN_MM, MARGIN_MM)
        self.set_auto_page_break(True, margin=MARGIN_MM + 6)
        for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.add_font(FONT, style, _fonts() / file)
        self.set_creation_date(datetime.fromtimestamp(bill.summary.end_ms // 1_000, UTC))
        self.set_title(f"Bill of {bill.summary.member.label}, cycle {bill.summary.cycle}")
        self.set_creator("E-Cloud")

    def footer(self) -> None:
        self.set_y(-MARGIN_MM)
        self.set_font(FONT, "", 7)
        self.set_text_color(*GREY)
        self.cell(0, 4, f"{self.network} · bill {self.bill.summary.cycle} · {self.bill.summary.member.label}")
        self.cell(0, 4, f"{self.page_no()} / {{nb}}", align=Align.R)


@cache
def _fonts() -> Path:
    """matplotlib brings fonts that have every letter a name may have."""
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def _text(page: _Paper, text: str, colour: tuple[int, int, int] = BLACK, size: float = 8.5, style: str = "") -> None:
    """A paragraph over the whole width."""
    page.set_font(FONT, style, size)
    page.set_text_color(*colour)
    page.multi_cell(0, size * 0.52, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _head(page: _Paper) -> None:
    summary = page.bill.summary
    page.set_fill_color(*GREEN)
    page.rect(0, 0, page.w, 26, style="F")
    page.set_xy(MARGIN_MM, 8)
    page.set_text_color(255, 255, 255)
    page.set_font(FONT, "B", 17)
    page.cell(100, 9, "Your energy bill")
    page.set_font(FONT, "", 10)
    page.cell(0, 9, page.network, align=Align.R)
    page.set_xy(MARGIN_MM, 33)
    _facts(
        page,
        [
            ("For", summary.member.label),
            ("Bill", f"cycle {summary.cycle}"),
            ("From", f"{date_time(summary.start_ms)} UTC"),
            ("To", f"{date_time(summary.end_ms)} UTC"),
            ("Taken in", energy(summary.import_wh)),
            ("Fed in", energy(summary.export_wh)),
        ],
    )
    bottom = page.get_y()
    _amount_box(page)
    page.set_xy(MARGIN_MM, max(bottom, page.get_y()) + 5)


def _facts(page: _Paper, rows: list[tuple[str, str]]) -> None:
    for name, value in rows:
        page.set_x(MARGIN_MM)
        page.set_font(FONT, "", 9)
        page.set_text_color(*GREY)
        page.cell(22, ROW_MM, name)
        page.set_text_color(*BLACK)
        page.cell(70, ROW_MM, value, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _amount_box(page: _Paper) -> None:
    """What the reader looks for first, on the right."""
    summary = page.bill.summary
    receives = summary.to_receive_uwatt > summary.to_pay_uwatt
    left, top, width, height = 112.0, 33.0, page.w - MARGIN_MM - 112.0, 34.0
    page.set_fill_color(*PALE)
    page.rect(left, top, width, height, style="F", round_corners=True, corner_radius=2)
    page.set_xy(left + 5, top + 4)
    page.set_font(FONT, "", 9)
    page.set_text_color(*GREY)
    page.cell(width - 10, 5, "You receive" if receives else "You pay")
    page.set_xy(left + 5, top + 10)
    page.set_font(FONT, "B", 17)
    page.set_text_color(*GREEN)
    amount = summary.to_receive_uwatt - summary.to_pay_uwatt
    page.cell(width - 10, 9, watt(abs(amount)))
    page.set_xy(left + 5, top + 21)
    page.set_font(FONT, "", 8)
    page.set_text_color(*BLACK)
    note = f"{watt(summary.to_pay_uwatt)} to pay, " if receives and summary.to_pay_uwatt else ""
    page.multi_cell(width - 10, 4, note + state_words(summary))
    page.set_y(top + height)


def _comparison(page: _Paper) -> None:
    summary = page.bill.summary
    _title(page, "What you saved")
    saving = saving_words(summary)
    assert saving is not None
    _text(page, saving[0].upper() + saving[1:] + ".", size=9)
    page.ln(1.5)
    rows = comparison(summary)
    largest = max((abs(cost) for _, cost in rows), default=0) or 1
    for (name, cost), colour in zip(rows, BAR_COLOURS, strict=True):
        page.set_x(MARGIN_MM)
        page.set_font(FONT, "", 8.5)
        page.set_text_color(*BLACK)
        page.cell(36, ROW_MM, name)
        page.set_fill_color(*colour)
        length = _BAR_MM * abs(cost) / largest
        if length:
            page.rect(page.get_x(), page.get_y() + 0.8, length, ROW_MM - 1.6, style="F")
        page.set_x(page.get_x() + _BAR_MM + 3)
        page.cell(0, ROW_MM, cost_words(cost), align=Align.R, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.ln(2)


def _title(page: _Paper, text: str) -> None:
    page.set_font(FONT, "B", 10.5)
    page.set_text_color(*GREEN)
    page.cell(0, 7, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _group(page: _Paper, group: Group) -> None:
    if page.will_page_break(7 + 3 * ROW_MM):
        page.add_page()
    _title(page, group.title)
    _row(page, ("", "what", "with", "kWh", "WATT/kWh", "grid fee", "WATT"), GREY, size=7)
    page.set_draw_color(*GREEN)
    page.line(MARGIN_MM, page.get_y(), page.w - MARGIN_MM, page.get_y())
    numbers = {line.id: number for number, line in enumerate(numbered(page.bill), 1)}
    for place, line in enumerate(group.lines):
        page.set_fill_color(*PALE)
        _row(page, _cells(line, numbers[line.id], page.bill.summary.member), BLACK, filled=place % 2 == 1)
    page.set_draw_color(*GREY)
    page.line(MARGIN_MM, page.get_y(), page.w - MARGIN_MM, page.get_y())
    fee = _rounded(group.fee_uwatt) if group.fee_uwatt else ""
    _row(
        page,
        ("", "together", "", energy(group.energy_wh, unit=False), "", fee, _rounded(group.cost_uwatt)),
        BLACK,
        style="B",
    )
    page.ln(2)


def _cells(line: BillLine, number: int, member: Party) -> tuple[str, ...]:
    kind = "" if line.kind == "metered" else f", {line.kind}"
    ticks = line.price_uwatt_per_kwh // 100
    return (
        str(number),
        title_words(line) + kind,
        _fitting(counterparty(line, member).label),
        energy(line.energy_wh, unit=False),
        f"{ticks // 10_000}.{ticks % 10_000:04d}",
        _rounded(line.fee_uwatt) if line.fee_uwatt else "",
        _rounded(line.cost_uwatt),
    )


def _row(
    page: _Paper,
    cells: tuple[str, ...],
    colour: tuple[int, int, int],
    *,
    size: float = 8,
    style: str = "",
    filled: bool = False,
) -> None:
    page.set_font(FONT, style, size)
    page.set_text_color(*colour)
    for place, (text, width) in enumerate(zip(cells, _COLUMNS, strict=True)):
        page.cell(width, ROW_MM, text, align=Align.L if place in (1, 2) else Align.R, fill=filled)
    page.ln(ROW_MM)


def _sums(page: _Paper) -> None:
    bill, summary = page.bill, page.bill.summary
    rows = [("grid fees of members", -sum(fee.fee_uwatt for fee in bill.fees))] if bill.fees else []
    rows += [("costs in all", summary.cost_uwatt), ("paid when settled", summary.from_escrow_uwatt)]
    left = [(f"to pay to {one.counterparty.label}", one.to_pay_uwatt) for one in to_pay(bill)]
    left += [(f"to get from {one.counterparty.label}", one.to_receive_uwatt) for one in to_receive(bill)]
    if page.will_page_break(7 + (len(rows) + len(left) + 1) * ROW_MM):
        page.add_page()
    _title(page, "Together")
    for name, amount in [*((name, cost_words(amount)) for name, amount in rows), *((n, watt(a)) for n, a in left)]:
        page.set_font(FONT, "", 9)
        page.set_text_color(*BLACK)
        page.cell(100, ROW_MM, name)
        page.cell(0, ROW_MM, amount, align=Align.R, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.ln(2)


def _how_to_check(page: _Paper) -> None:
    summary = page.bill.summary
    estimated = f" {count(summary.estimated_periods)} of them were estimated." if summary.estimated_periods else ""
    recorded = (
        f"It is recorded in block {count(summary.recorded_height)}."
        if summary.recorded_height is not None
        else "It is not recorded yet: until then it is what everybody computes from the chain."
    )
    _text(
        page,
        f"This bill covers {count(summary.settled_periods)} settled periods.{estimated} {recorded} Your neighbours "
        "have the same lines on theirs; who takes energy pays its grid fee. Amounts of lines are rounded to four "
        "decimals; what is to be paid is exact. To see which periods, trades and signed meter readings make a line: "
        f" ecloud bill explain NUMBER {summary.cycle}",
        GREY,
        7.5,
    )


def _rounded(amount_uwatt: int) -> str:
    """Four decimals, half up."""
    shown = (abs(amount_uwatt) + _UWATT_SHOWN // 2) // _UWATT_SHOWN
    whole, fraction = divmod(shown, 10**SHOWN_DECIMALS)
    return f"{'−' if amount_uwatt < 0 and shown else ''}{whole:,}.{fraction:0{SHOWN_DECIMALS}d}"


def _fitting(name: str) -> str:
    """An address is cut to what a column holds."""
    return name if len(name) <= 16 else name[:15] + "…"

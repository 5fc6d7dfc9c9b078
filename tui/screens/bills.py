"""Bills: what a member's energy cost and earned, cycle by cycle; lines, what stands behind a line, what was saved;
paying.

1. The member is the account this node works for, else that of the first wallet of this machine.
2. Of the bill under the cursor the upper right shows what it cost beside what the utility alone and a plain sharing key
   would have cost, and what is left to pay; the lower half has its lines. Costs are in the colour of consumption, what
   was earned in that of production.
3. What stands behind the line under the cursor is shown on request; in a tall window always. Of a long line the oldest
   page only.
4. Bills are read when a period was settled or a bill recorded, paid or overdue. Paying is confirmed first, with every
   amount.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Resize
from textual.widgets import Static

from ledger.transactions import PayBill
from node.client import bills as words
from node.client import format as show
from node.client.errors import ApiProblem, ClientError
from node.client.models import Bill, BillLine, BillSummary, LineExplanation, LinePart, RegisterProof
from node.client.wallets import Wallet
from tui.background import in_background
from tui.dialogs.confirm import ConfirmDialog, Intent
from tui.dialogs.result import ResultDialog
from tui.dialogs.trade import price
from tui.drawing import bar
from tui.feed import Part
from tui.palette import ATTENTION, CONSUMPTION, FOREGROUND, GOOD, MUTED, PRIMARY, PRODUCTION, WRONG
from tui.screens.base import LiveScreen
from tui.widgets.facts import Fact
from tui.widgets.live_table import Column, LiveTable, Row
from tui.widgets.top_bar import Place

SHOWN_BILLS: Final = 24
SHOWN_PARTS: Final = 40
LABEL_CELLS: Final = 14
AMOUNT_CELLS: Final = 12
NOT_FOUND: Final = 404
_STATE_COLOURS: Final = {"open": MUTED, "closed": MUTED, "due": ATTENTION, "arrears": WRONG, "paid": GOOD}
_BAR_COLOURS: Final = (PRIMARY, MUTED, ATTENTION)

CYCLE_COLUMNS: Final = (
    Column("from", 11),
    Column("state", 8, grow=True),
    Column("costs", 11, right=True),
    Column("saved", 11, right=True, from_width=52),
)
LINE_COLUMNS: Final = (
    Column("no.", 3, right=True),
    Column("line", 19),
    Column("with", 8, grow=True),
    Column("kWh", 8, right=True),
    Column("price", 6, right=True),
    Column("grid fee", 9, right=True, from_width=90),
    Column("costs", 10, right=True),
    Column("", 10),
)


class BillsScreen(LiveScreen):
    PLACE: ClassVar[Place] = Place("bills", "i", "Bills", "What energy cost and earned, line by line; saving; paying")
    AUTO_FOCUS = "#cycles"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "pay", "Pay", tooltip="what the bill under the cursor leaves to pay"),
        Binding("x", "explain", "Explain", tooltip="what stands behind the line under the cursor"),
    ]

    def body(self) -> ComposeResult:
        with Horizontal(id="bills-top"):
            cycles = LiveTable(CYCLE_COLUMNS, id="cycles")
            cycles.add_class("panel")
            yield cycles
            yield Static(id="bill-sum", classes="panel")
        with Vertical(id="bills-bottom"):
            lines = LiveTable(LINE_COLUMNS, id="bill-lines")
            lines.add_class("panel")
            yield lines
            with VerticalScroll(id="line-parts", classes="panel"):
                yield Static(id="line-facts")

    def on_mount(self) -> None:
        self._bills: list[BillSummary] = []
        self._bill: Bill | None = None
        self._explained: LineExplanation | None = None
        self._wallet: Wallet | None = None

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._show_sum)

    # ------------------------------------------------------------------------------------------------- reading

    def show_feed(self, parts: Part) -> None:
        if parts & Part.BILLS or (parts & Part.STATUS and not self._bills):
            in_background(self, "bills", self._read_all)

    @on(LiveTable.Chosen, "#cycles")
    def choose_bill(self) -> None:
        self._explained = None
        in_background(self, "bill", self._read_bill)

    @on(LiveTable.Chosen, "#bill-lines")
    def choose_line(self) -> None:
        in_background(self, "line", self._read_line)

    @on(LiveTable.Opened, "#bill-lines")
    def open_line(self) -> None:
        self.add_class("-explaining")

    async def _read_all(self) -> None:
        who = self._member()
        if who is None:
            self._show_cycles()
            return
        try:
            self._bills = (await self.session.client.bills(who, limit=SHOWN_BILLS)).bills
        except ApiProblem as problem:
            if problem.status != NOT_FOUND:
                self.notify(problem.detail, severity="warning")
            return
        except ClientError:
            return  # the banner says that the node is away; what was shown stays
        self._show_cycles()
        await self._read_bill()

    async def _read_bill(self) -> None:
        summary, who = self._chosen_bill(), self._member()
        if summary is None or who is None:
            return
        try:
            self._bill = await self.session.client.bill(who, summary.cycle)
        except ClientError:
            return  # as above
        self._show_sum()
        self._show_lines()
        await self._read_line()

    async def _read_line(self) -> None:
        line, who, bill = self._chosen_line(), self._member(), self._bill
        if line is None or who is None or bill is None:
            self._explained = None
        else:
            try:
                self._explained = await self.session.client.explain_line(who, bill.summary.cycle, line.id)
            except ClientError:
                return  # as above
        self._show_parts()

    def _member(self) -> str | None:
        """Rule 1."""
        status = self.session.feed.status
        wallets = self.session.keystore.list_wallets().wallets
        own = None if status is None or status.account is None else status.account.address
        self._wallet = next((wallet for wallet in wallets if own in (None, wallet.address)), None)
        return own if own is not None else (None if self._wallet is None else self._wallet.address)

    def _chosen_bill(self) -> BillSummary | None:
        chosen = self.query_one("#cycles", LiveTable).chosen
        return next((one for one in self._bills if str(one.cycle) == chosen), None)

    def _chosen_line(self) -> BillLine | None:
        chosen = self.query_one("#bill-lines", LiveTable).chosen
        return None if self._bill is None else next((one for one in self._bill.lines if one.id == chosen), None)

    # ------------------------------------------------------------------------------------------------- showing

    def _show_cycles(self) -> None:
        table = self.query_one("#cycles", LiveTable)
        table.border_title = f"Bills of {self._bills[0].member.label}" if self._bills else "No bill yet"
        table.border_subtitle = "" if self._bills else "nothing has been settled"
        table.show_rows([self._cycle_row(one) for one in self._bills])

    def _cycle_row(self, one: BillSummary) -> Row:
        saved = Text("–", MUTED, end="") if one.saving_uwatt is None else _signed(one.saving_uwatt, GOOD, WRONG)
        return str(one.cycle), (
            self._moment(one.start_ms),
            Text("nothing to pay" if _owes_nothing(one) else one.state, _STATE_COLOURS.get(one.state, MUTED), end=""),
            _signed(one.cost_uwatt, CONSUMPTION, PRODUCTION),
            saved,
        )

    def _moment(self, time_ms: int) -> str:
        """``05-01 12:15``."""
        return show.date_time(time_ms, self.session.feed.utc_offset_minutes)[5:16]

    def _show_sum(self) -> None:
        panel, bill = self.query_one("#bill-sum", Static), self._bill
        if bill is None or panel.content_size.width < LABEL_CELLS + AMOUNT_CELLS + 4:
            return
        summary = bill.summary
        panel.border_title = "Saving" if summary.saving_uwatt is not None else "Costs"
        panel.border_subtitle = words.state_words(summary, self.session.feed.utc_offset_minutes)
        lines = self._bars(summary, panel.content_size.width)
        saving = words.saving_words(summary)
        if saving is not None:
            lines.append(Text(saving, GOOD if (summary.saving_uwatt or 0) >= 0 else WRONG))
        lines += [_left("to pay to", claim.counterparty.label, claim.to_pay_uwatt) for claim in words.to_pay(bill)]
        lines += [_left("to get from", one.counterparty.label, one.to_receive_uwatt) for one in words.to_receive(bill)]
        panel.update(Text("\n").join(lines))

    def _bars(self, summary: BillSummary, width: int) -> list[Text]:
        rows = words.comparison(summary)
        most = max(abs(cost) for _, cost in rows)
        lines = []
        for (name, cost), colour in zip(rows, _BAR_COLOURS, strict=False):
            line = Text(f"{name.removeprefix('plain '):<{LABEL_CELLS}}", MUTED, no_wrap=True, end="")
            line.append_text(bar(abs(cost), most, width - LABEL_CELLS - AMOUNT_CELLS - 1, colour))
            amount = _short(cost)
            lines.append(line.append(f" {amount:>{AMOUNT_CELLS}}", CONSUMPTION if cost >= 0 else PRODUCTION))
        return lines

    def _show_lines(self) -> None:
        bill, table = self._bill, self.query_one("#bill-lines", LiveTable)
        if bill is None:
            return
        table.border_title = f"Lines of cycle {bill.summary.cycle}"
        table.border_subtitle = "not kept any more: all of it is paid" if bill.lines_forgotten else ""
        rows: list[Row] = []
        for number, line in enumerate(words.numbered(bill), 1):
            rows.append(self._line_row(number, line, bill.summary))
        table.show_rows(rows)

    def _line_row(self, number: int, line: BillLine, summary: BillSummary) -> Row:
        other = words.counterparty(line, summary.member)
        kind = "" if line.kind == "metered" else line.kind
        fee = show.watt(line.fee_uwatt, unit=False) if line.fee_uwatt else ""
        return line.id, (
            str(number),
            words.title_words(line),
            Text(other.label, self.session.colour_of(other), end=""),
            show.energy(line.energy_wh, unit=False),
            price(line.price_uwatt_per_kwh),
            Text(fee, MUTED, end=""),
            _signed(line.cost_uwatt, CONSUMPTION, PRODUCTION),
            Text(kind or ("paid" if line.from_escrow else ""), ATTENTION if kind else MUTED, end=""),
        )

    def _show_parts(self) -> None:
        found, panel = self._explained, self.query_one("#line-parts", VerticalScroll)
        if found is None:
            panel.border_title = "Behind the line"
            self.query_one("#line-facts", Static).update("")
            return
        line = found.line
        panel.border_title = f"Behind the line · {words.title_words(line)}, {show.energy(line.energy_wh)}"
        more = len(found.parts) > SHOWN_PARTS or found.next_after is not None
        panel.border_subtitle = "all of it: ecloud bill explain" if more else ""
        text = Text()
        for part in found.parts[:SHOWN_PARTS]:
            text.append_text(self._part(part))
        if found.not_kept is not None:
            text.append(f"{found.not_kept}\n", ATTENTION)
        self.query_one("#line-facts", Static).update(text)

    def _part(self, part: LinePart) -> Text:
        text = Text.assemble((self._moment(part.start_ms), f"bold {FOREGROUND}"))
        text.append(f"  {show.energy(part.energy_wh)}  {show.watt(part.amount_uwatt)}", FOREGROUND)
        text.append(f"  settled by block {show.count(part.height)}\n", MUTED)
        for trade in part.trades:
            text.append(f"  trade {trade.number}", PRIMARY)
            text.append(f" of {show.energy(trade.energy_wh)}, orders {trade.sell_order} and {trade.buy_order}\n", MUTED)
        for proof in part.readings:
            text.append_text(_registers(proof))
        if not part.readings:
            text.append("  no reading of this period: estimated, or corrected by a later one\n", ATTENTION)
        return text

    # -------------------------------------------------------------------------------------------------- paying

    def action_explain(self) -> None:
        self.toggle_class("-explaining")
        self.query_one("#line-parts" if self.has_class("-explaining") else "#bill-lines").focus()

    def action_pay(self) -> None:
        bill = self._bill
        if bill is None or self.session.feed.away is not None:
            self.notify("there is no bill to pay now", severity="warning")
        elif bill.summary.state not in ("due", "arrears"):
            self.notify(f"this bill cannot be paid: it is {words.state_words(bill.summary)}", severity="warning")
        elif self._wallet is None:
            self.notify(f"no wallet of {bill.summary.member.label} is on this machine", severity="warning")
        else:
            in_background(self, "pay", partial(self._ask, bill, self._wallet))

    async def _ask(self, bill: Bill, wallet: Wallet) -> None:
        client = self.session.client
        try:
            fee_uwatt = (await client.parameters()).parameters["minimum_fee_uwatt"]
            funds_uwatt = (await client.account(wallet.address)).watt_uwatt
        except ClientError as error:
            self.notify(str(error), severity="warning")
            return
        intent = intent_of_payment(bill, wallet, fee_uwatt, funds_uwatt)
        sentence = f"pay the bill of cycle {bill.summary.cycle}"
        self.app.push_screen(ConfirmDialog(self.session, intent), partial(self._follow, sentence))

    def _follow(self, sentence: str, transaction_id: str | None) -> None:
        in_background(self, "bills", self._read_all)
        if transaction_id is not None:
            self.app.push_screen(ResultDialog(self.session, sentence, transaction_id))


def intent_of_payment(bill: Bill, wallet: Wallet, fee_uwatt: int, funds_uwatt: int) -> Intent:
    """What the confirmation states, and what is signed."""
    summary = bill.summary
    left = funds_uwatt - summary.to_pay_uwatt - fee_uwatt
    rows: list[Fact] = [
        ("pay", Text(show.watt(summary.to_pay_uwatt), f"bold {ATTENTION}")),
        ("bill", f"cycle {summary.cycle}, {words.state_words(summary)}"),
        *((f"to {claim.counterparty.label}", show.watt(claim.to_pay_uwatt)) for claim in words.to_pay(bill)),
        ("fee", show.watt(fee_uwatt)),
        ("from", f"{wallet.name}, then left with {show.watt(left)}"),
    ]
    if left < 0:
        rows.append(("", Text("that is not enough: the node will refuse it", WRONG)))
    again = "It may have arrived; sending it again cannot pay twice."
    return Intent(wallet, PayBill(cycle=summary.cycle), fee_uwatt, tuple(rows), "Pay", again)


def _registers(proof: RegisterProof) -> Text:
    text = Text.assemble((f"  {proof.owner.label}'s meter", MUTED))
    for name, before_wh, now_wh in (
        ("in", proof.import_before_wh, proof.import_wh),
        ("out", proof.export_before_wh, proof.export_wh),
    ):
        before = "?" if before_wh is None else show.energy(before_wh, unit=False)
        text.append(f" · {name} {before} → {show.energy(now_wh)}", FOREGROUND)
    return text.append(f" · {show.short(proof.transaction_id)}\n", MUTED)


def _left(what: str, who: str, amount_uwatt: int) -> Text:
    return Text.assemble((f"{what} {who}  ", MUTED), (show.watt(amount_uwatt), f"bold {FOREGROUND}"))


def _signed(amount_uwatt: int, colour: str, negative: str) -> Text:
    return Text(_short(amount_uwatt), colour if amount_uwatt >= 0 else negative, end="")


def _short(amount_uwatt: int) -> str:
    """Four decimals, half up: what a column holds. The line's own facts are exact."""
    tenths = (abs(amount_uwatt) + 50) // 100
    return f"{'−' if amount_uwatt < 0 and tenths else ''}{tenths // 10_000:,}.{tenths % 10_000:04d}"


def _owes_nothing(one: BillSummary) -> bool:
    return one.state == "paid" and not one.to_pay_uwatt

"""Chain: blocks, their transactions, a transaction's fields, the raw bytes; and accounts, by jumping to them.

1. The list follows the tip while the cursor is on the newest block; moved away, it stays where the reader is.
2. Enter goes deeper, Escape comes back. In a wide window list and detail stand side by side.
3. Typing a number, or ``/`` and a height, an id, an address or a name, jumps there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Key
from textual.widgets import Input, Static

from node.client import format as show
from node.client.errors import ApiProblem, ClientError
from node.client.models import Account, Block, BlockSummary, Transaction, TransactionPage
from tui.background import in_background
from tui.decode import (
    HISTORY_COLUMNS,
    TRANSACTION_COLUMNS,
    account_facts,
    block_facts,
    entry_row,
    transaction_facts,
    transaction_rows,
)
from tui.feed import Part
from tui.palette import ATTENTION, MUTED
from tui.screens.base import Go, LiveScreen
from tui.widgets.facts import Fact, facts
from tui.widgets.live_table import Column, LiveTable, Row
from tui.widgets.top_bar import Place

PAGE: Final = 100
NEWER_AROUND_A_JUMP: Final = 20
HISTORY_PAGE: Final = 50
HEX_ID: Final = 64
NOT_FOUND: Final = 404

BLOCK_COLUMNS: Final = (
    Column("height", 8, right=True),
    Column("time", 8),
    Column("producer", 9, grow=True),
    Column("tx", 4, right=True),
    Column("final in", 8, right=True),
    Column("view", 4, right=True, from_width=56),
    Column("hash", 12, from_width=72),
)


@dataclass(frozen=True, slots=True)
class Raw:
    """A transaction's bytes."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class AccountShown:
    account: Account
    history: TransactionPage


Shown = Block | Transaction | Raw | AccountShown


class ChainScreen(LiveScreen):
    PLACE: ClassVar[Place] = Place("chain", "c", "Chain", "Blocks, transactions, accounts, field by field")
    AUTO_FOCUS = "#blocks"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash", "jump", "Jump", key_display="/", tooltip="jump to a height, id, address or name; or type a height"
        ),
        Binding("t", "tip", "Tip", tooltip="go to the newest block and follow it"),
        Binding("x", "raw", "Raw bytes", tooltip="the bytes of the transaction shown"),
        Binding("escape", "back", "Back", tooltip="back from what Enter or a jump has opened"),
    ]

    def body(self) -> ComposeResult:
        with Vertical(id="jump"):
            hint = "height, transaction or block id, address, name"
            yield Input(placeholder=hint, id="jump-input", select_on_focus=False)
            yield Static(id="jump-answer", markup=False)
        with Horizontal(id="chain"):
            blocks = LiveTable(BLOCK_COLUMNS, id="blocks")
            blocks.add_class("panel")
            blocks.border_title = "Blocks"
            yield blocks
            with Vertical(id="detail", classes="panel"):
                with VerticalScroll(id="facts"):
                    yield Static(id="facts-text")
                yield LiveTable(TRANSACTION_COLUMNS, id="transactions")
                yield LiveTable(HISTORY_COLUMNS, id="history")

    def on_mount(self) -> None:
        self._jumped: list[BlockSummary] | None = None  # the list while it is not the feed's
        self._older: list[BlockSummary] = []  # read below the feed's
        self._deeper: list[Shown] = []  # what Enter and jumps have opened, above the block under the cursor
        self._base: Block | None = None

    # ------------------------------------------------------------------------------------------------- the list

    def show_feed(self, parts: Part) -> None:
        if parts & (Part.BLOCKS | Part.CANDIDATES):
            self._show_blocks()

    def _blocks(self) -> list[BlockSummary]:
        if self._jumped is not None:
            return self._jumped
        newest = self.session.feed.blocks
        if not newest:
            return []
        oldest = newest[-1].height
        return newest + [block for block in self._older if block.height < oldest]

    def _show_blocks(self) -> None:
        table = self.query_one("#blocks", LiveTable)
        table.show_rows([self._block_row(block) for block in self._blocks()])
        following = table.is_following and self._jumped is None
        table.border_subtitle = "follows the tip" if following else "t follows the tip again"
        if self._base is None and table.chosen is not None:
            self._load_block(int(table.chosen))

    def _block_row(self, block: BlockSummary) -> Row:
        count = Text(show.count(block.transaction_count), ATTENTION if block.refused_count else "", end="")
        return str(block.height), (
            show.count(block.height),
            show.clock_time(block.time_ms, self.session.feed.utc_offset_minutes),
            Text(block.producer.label, self.session.colour_of(block.producer), end=""),
            count,
            show.duration(block.finality_ms),
            Text(str(block.view), ATTENTION if block.view else MUTED, end=""),
            Text(show.short(block.hash, 12), MUTED, end=""),
        )

    @on(LiveTable.Chosen, "#blocks")
    def choose_block(self, event: LiveTable.Chosen) -> None:
        self._deeper.clear()
        self._load_block(int(event.key))
        self._show_blocks_subtitle()

    def _show_blocks_subtitle(self) -> None:
        table = self.query_one("#blocks", LiveTable)
        following = table.is_following and self._jumped is None
        table.border_subtitle = "follows the tip" if following else "t follows the tip again"

    @on(LiveTable.AtEnd, "#blocks")
    def read_older(self) -> None:
        blocks = self._blocks()
        if blocks and blocks[-1].height > 1:
            in_background(self, "older", partial(self._read_older, blocks[-1].height))

    async def _read_older(self, before: int) -> None:
        try:
            page = await self.session.client.blocks(before=before, limit=PAGE)
        except ClientError as error:
            self.notify(str(error), severity="warning")
            return
        if self._jumped is not None:
            self._jumped = self._jumped + [block for block in page.blocks if block.height < self._jumped[-1].height]
        else:
            self._older = [block for block in self._older if block.height >= before] + page.blocks
        self._show_blocks()

    # ----------------------------------------------------------------------------------------------- the detail

    @on(LiveTable.Opened, "#blocks")
    def open_block(self) -> None:
        self.add_class("-detail")
        if self._base is not None and self._base.transactions:
            self.query_one("#transactions").focus()
        else:
            self.query_one("#facts").focus()

    @on(LiveTable.Opened, "#transactions")
    @on(LiveTable.Opened, "#history")
    def open_transaction(self, event: LiveTable.Opened) -> None:
        height, colon, _ = event.key.partition(":")
        if colon:  # what a block did to the account: shown with the block
            self.post_message(Go("chain", height))
            return
        in_background(self, "detail", partial(self._open_transaction, event.key))

    async def _open_transaction(self, transaction_id: str) -> None:
        try:
            self._open(await self.session.client.transaction(transaction_id))
        except ClientError as error:
            self.notify(str(error), severity="warning")

    def action_raw(self) -> None:
        if self._deeper and isinstance(self._deeper[-1], Transaction):
            self._open(Raw(self._deeper[-1]))

    def action_back(self) -> None:
        if self.has_class("-jumping"):
            self._close_jump()
        elif self._deeper:
            self._deeper.pop()
            self._show_detail()
        else:
            self.remove_class("-detail")
            self.query_one("#blocks").focus()

    def _open(self, shown: Shown) -> None:
        self.add_class("-detail")
        self._deeper.append(shown)
        self._show_detail()

    def _load_block(self, height: int) -> None:
        in_background(self, "detail", partial(self._read_block, height))

    async def _read_block(self, height: int) -> None:
        try:
            self._base = await self.session.client.block(height)
        except ClientError:
            return  # the banner says that the node is away; what was shown stays
        self._show_detail()

    def _show_detail(self) -> None:
        shown = self._deeper[-1] if self._deeper else self._base
        if shown is None:
            return
        panel = self.query_one("#detail", Vertical)
        transactions, history = self.query_one("#transactions", LiveTable), self.query_one("#history", LiveTable)
        transactions.display, history.display = isinstance(shown, Block), isinstance(shown, AccountShown)
        panel.border_title, rows = self._described(shown)
        self.query_one("#facts-text", Static).update(facts(rows))
        self.query_one("#facts", VerticalScroll).scroll_home(animate=False)
        self.set_class(isinstance(shown, Transaction | Raw), "-facts-only")
        if isinstance(shown, Block):
            transactions.show_rows(transaction_rows(self.session, shown))
        elif isinstance(shown, AccountShown):
            own = shown.account.account.address
            history.show_rows([entry_row(self.session, one, own) for one in shown.history.entries])
        if self._deeper:
            (history if isinstance(shown, AccountShown) else self.query_one("#facts")).focus()
        elif self.focused is self.query_one("#facts"):
            transactions.focus()

    def _described(self, shown: Shown) -> tuple[str, list[Fact]]:
        if isinstance(shown, Block):
            count = len(shown.transactions)
            plural = "" if count == 1 else "s"
            title = f"Block {show.count(shown.summary.height)} · {count} transaction{plural}"
            return title, block_facts(self.session, shown)
        if isinstance(shown, Transaction):
            return f"Transaction · {show.words(shown.kind)}", transaction_facts(self.session, shown)
        if isinstance(shown, Raw):
            one = shown.transaction
            return f"Raw · {show.size(one.size_bytes)} of canonical CBOR", [("hex", one.raw)]
        return f"Account · {show.short(shown.account.account.label, 24)}", account_facts(self.session, shown.account)

    # ------------------------------------------------------------------------------------------------- jumping

    def on_key(self, event: Key) -> None:
        if event.character is not None and event.character.isdecimal() and not self.has_class("-jumping"):
            event.stop()
            self._open_jump(event.character)

    def action_jump(self) -> None:
        self._open_jump("")

    def show_target(self, target: str) -> None:
        in_background(self, "jump", partial(self._jump, target))

    def _open_jump(self, text: str) -> None:
        self.add_class("-jumping")
        field = self.query_one("#jump-input", Input)
        field.value = text
        field.cursor_position = len(text)
        self.query_one("#jump-answer", Static).update("")
        field.focus()

    def _close_jump(self) -> None:
        self.remove_class("-jumping")
        self.query_one("#detail" if self._deeper else "#blocks").focus()

    @on(Input.Submitted, "#jump-input")
    def submit_jump(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.show_target(event.value.strip())

    async def _jump(self, target: str) -> None:
        try:
            missing = await self._go_to(target)
        except ApiProblem as problem:
            missing = problem.detail
        except ClientError as error:
            missing = str(error)
        if missing is None:
            self.remove_class("-jumping")
        elif self.has_class("-jumping"):
            self.query_one("#jump-answer", Static).update(missing)
        else:
            self.notify(missing, severity="warning")

    async def _go_to(self, target: str) -> str | None:
        """Shows the target; a sentence if there is none. Errors: ClientError."""
        client = self.session.client
        plain = target.replace(",", "")
        if plain.isdecimal() and len(plain) < HEX_ID:
            return await self._go_to_height(int(plain))
        if len(target) == HEX_ID and all(character in "0123456789abcdef" for character in target.lower()):
            try:
                self._open(await client.transaction(target.lower()))
            except ApiProblem as problem:
                if problem.status != NOT_FOUND:
                    raise
                try:
                    block = await client.block(target.lower())
                except ApiProblem as second:
                    if second.status != NOT_FOUND:
                        raise
                    return f"no transaction and no block has the id {show.short(target, 20)}"
                return await self._go_to_height(block.summary.height)
            return None
        try:
            account = await client.account(target)
        except ApiProblem as problem:
            if problem.status != NOT_FOUND:
                raise
            return f"nothing is called {target!r}: type a height, an id or hash in full, a name or an address"
        history = await client.history(account.account.address, limit=HISTORY_PAGE)
        self._open(AccountShown(account, history))
        return None

    async def _go_to_height(self, height: int) -> str | None:
        tip = self.session.feed.blocks[0].height if self.session.feed.blocks else 0
        if not 1 <= height <= tip:
            return f"there is no block {show.count(height)} yet; the newest is {show.count(tip)}"
        table = self.query_one("#blocks", LiveTable)
        self._deeper.clear()
        if not table.choose_row(str(height)):
            newest = min(height + NEWER_AROUND_A_JUMP, tip)
            self._jumped = (await self.session.client.blocks(before=newest + 1, limit=PAGE)).blocks
            self._show_blocks()
            table.choose_row(str(height))
        self.add_class("-detail")
        await self._read_block(height)
        self.query_one("#transactions" if self._base is not None and self._base.transactions else "#facts").focus()
        return None

    def action_tip(self) -> None:
        """Back to the newest block, and following it."""
        self._jumped = None
        self._deeper.clear()
        self.remove_class("-detail")
        table = self.query_one("#blocks", LiveTable)
        blocks = self._blocks()
        self._show_blocks()
        if blocks:
            table.choose_row(str(blocks[0].height))
        table.focus()

"""Wallet: the wallets of this machine, what their accounts hold, what happened to them; sending and receiving.

1. Keys stay in the keystore. A wallet is opened only to sign what has just been confirmed, and closed again.
2. Balances and history are read when a block is final, for as long as the screen is in front.
3. The history leaves out the meter's readings, of which there is one every period: a payment would be lost among them.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from node.client import format as show
from node.client.errors import ApiProblem, ClientError
from node.client.models import Account, AccountEffect, Transaction, TransactionPage
from node.client.wallets import Wallet
from tui.background import in_background
from tui.decode import HISTORY_COLUMNS, entry_key, entry_row
from tui.dialogs.confirm import ConfirmDialog
from tui.dialogs.receive import ReceiveDialog
from tui.dialogs.result import ResultDialog
from tui.dialogs.send import Order, SendDialog, intent_of
from tui.feed import Part
from tui.palette import ATTENTION, FOREGROUND, MUTED
from tui.screens.base import Go, LiveScreen
from tui.widgets.live_table import Column, LiveTable, Row
from tui.widgets.top_bar import Place

PAGE: Final = 100
ENOUGH: Final = 30
MOST_PAGES: Final = 5
READING: Final = "submit_reading"
MAX_WALLETS: Final = 32

COLUMNS: Final = (
    Column("wallet", 10, grow=True),
    Column("WATT", 16, right=True),
    Column("GRID", 16, right=True),
    Column("VOTE kept", 11, right=True),
    Column("VOTE cast", 11, right=True),
    Column("address", 16, from_width=104),
)


class WalletScreen(LiveScreen):
    PLACE: ClassVar[Place] = Place("wallet", "w", "Wallet", "Balances, history, send with confirmation, receive")
    AUTO_FOCUS = "#wallets"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "send", "Send", tooltip="send from the wallet under the cursor"),
        Binding("r", "receive", "Receive", tooltip="the address of the wallet under the cursor"),
    ]

    def body(self) -> ComposeResult:
        with Vertical(id="wallet"):
            wallets = LiveTable(COLUMNS, id="wallets")
            wallets.add_class("panel")
            wallets.border_title = "Wallets of this machine"
            yield wallets
            yield Static(id="no-wallet", classes="panel")
            history = LiveTable(HISTORY_COLUMNS, id="wallet-history")
            history.add_class("panel")
            history.border_title = "History"
            yield history

    def on_mount(self) -> None:
        self._wallets: list[Wallet] = []
        self._accounts: dict[str, Account] = {}  # by address
        self._waiting: list[Transaction] = []
        self._history: list[Transaction | AccountEffect] = []
        self._next_before: str | None = None

    # ------------------------------------------------------------------------------------------------- reading

    def on_screen_resume(self) -> None:
        listing = self.session.keystore.list_wallets()
        self._wallets = listing.wallets[:MAX_WALLETS]
        for damage in listing.damaged:
            self.notify(str(damage), title="A wallet cannot be read", severity="error", timeout=20)
        super().on_screen_resume()
        self._show_wallets()

    def show_feed(self, parts: Part) -> None:
        if parts & (Part.BLOCKS | Part.CANDIDATES):
            in_background(self, "wallets", self._read_all)

    @on(LiveTable.Chosen, "#wallets")
    def choose_wallet(self) -> None:
        self._history, self._waiting = [], []
        self._show_history()
        in_background(self, "wallets", self._read_all)

    async def _read_all(self) -> None:
        """Accounts of all wallets, and the newest page of the chosen one's history."""
        client, chosen = self.session.client, self._chosen()
        try:
            for wallet in self._wallets:
                self._accounts[wallet.address] = await client.account(wallet.address)
            self._show_wallets()
            if chosen is None:
                return
            page = await self._read_page(chosen, None)
            self._waiting = []
            if self._accounts[chosen.address].pending_count:
                pending = (await client.pending()).transactions
                self._waiting = [one for one in pending if one.sender.address == chosen.address]
        except ApiProblem as problem:
            self.notify(problem.detail, severity="warning")
            return
        except ClientError:
            return  # the banner says that the node is away; what was shown stays
        known = {entry_key(one) for one in page.entries}
        older = [one for one in self._history if entry_key(one) not in known]
        joined = len(older) < len(self._history)
        self._history = page.entries + (older if joined else [])
        if not joined:
            self._next_before = page.next_before
        self._show_history()

    async def _read_page(self, wallet: Wallet, before: str | None) -> TransactionPage:
        """A page without readings: as many of the node's as it takes to find something, within bounds."""
        found: list[Transaction] = []
        effects: list[AccountEffect] = []
        for _ in range(MOST_PAGES):
            page = await self.session.client.history(wallet.address, before=before, limit=PAGE)
            found += [one for one in page.transactions if one.kind != READING]
            effects += page.effects
            before = page.next_before
            if before is None or len(found) + len(effects) >= ENOUGH:
                break
        return TransactionPage(transactions=found, next_before=before, effects=effects)

    @on(LiveTable.AtEnd, "#wallet-history")
    def read_older(self) -> None:
        chosen = self._chosen()
        if chosen is not None and self._next_before is not None:
            in_background(self, "older", partial(self._read_older, chosen, self._next_before))

    async def _read_older(self, wallet: Wallet, before: str) -> None:
        try:
            page = await self._read_page(wallet, before)
        except ClientError as error:
            self.notify(str(error), severity="warning")
            return
        if wallet == self._chosen() and before == self._next_before:
            self._history += page.entries
            self._next_before = page.next_before
            self._show_history()

    # ------------------------------------------------------------------------------------------------- showing

    def _chosen(self) -> Wallet | None:
        address = self.query_one("#wallets", LiveTable).chosen
        return next((wallet for wallet in self._wallets if wallet.address == address), None)

    def _show_wallets(self) -> None:
        table, none = self.query_one("#wallets", LiveTable), self.query_one("#no-wallet", Static)
        table.display, none.display = bool(self._wallets), not self._wallets
        none.update(
            Text.assemble(
                ("There is no wallet on this machine, in\n", FOREGROUND),
                (f"{self.session.keystore.directory}\n\n", MUTED),
                ("Make one with   ", FOREGROUND),
                ("ecloud wallet create NAME", f"bold {ATTENTION}"),
            )
        )
        table.styles.height = min(len(self._wallets), 8) + 3
        table.show_rows([self._wallet_row(wallet) for wallet in self._wallets])

    def _wallet_row(self, wallet: Wallet) -> Row:
        account = self._accounts.get(wallet.address)
        name = Text(wallet.name, f"bold {FOREGROUND}", end="")
        if account is None:
            return wallet.address, (name, "…", "…", "…", "…", show.short(wallet.address, 16))
        if account.account.name not in {None, wallet.name}:
            name.append(f" ({account.account.name})", MUTED)
        return wallet.address, (
            name,
            Text(show.watt(account.watt_uwatt, unit=False, aligned=True), f"bold {FOREGROUND}", end=""),
            show.grid(account.grid_ugrid, unit=False, aligned=True),
            show.vote(account.votes_mvote, unit=False, aligned=True),
            show.vote(account.votes_cast_mvote, unit=False, aligned=True),
            Text(show.short(wallet.address, 16), MUTED, end=""),
        )

    def _show_history(self) -> None:
        chosen = self._chosen()
        table = self.query_one("#wallet-history", LiveTable)
        table.border_title = "History" if chosen is None else f"History of {chosen.name}"
        table.border_subtitle = "older ones follow" if self._next_before is not None else ""
        if chosen is not None:
            known = [*self._waiting, *self._history]
            table.show_rows([entry_row(self.session, one, chosen.address) for one in known])

    # --------------------------------------------------------------------------------------- sending, receiving

    @on(LiveTable.Opened, "#wallet-history")
    def open_transaction(self, event: LiveTable.Opened) -> None:
        self.post_message(Go("chain", event.key.partition(":")[0]))  # what a block did is shown with the block

    def action_receive(self) -> None:
        chosen = self._chosen()
        if chosen is None:
            self.notify("there is no wallet to receive with", severity="warning")
        else:
            self.app.push_screen(ReceiveDialog(chosen, self._accounts.get(chosen.address)))

    def action_send(self) -> None:
        chosen = self._chosen()
        account = None if chosen is None else self._accounts.get(chosen.address)
        if chosen is None:
            self.notify("there is no wallet to send from", severity="warning")
        elif account is None or self.session.feed.away is not None:
            self.notify("the node is away: nothing can be sent now", severity="warning")
        else:
            self.app.push_screen(SendDialog(self.session, chosen, account), self._confirm)

    def _confirm(self, order: Order | None) -> None:
        if order is not None:
            self.app.push_screen(ConfirmDialog(self.session, intent_of(order)), partial(self._follow, order))

    def _follow(self, order: Order, transaction_id: str | None) -> None:
        in_background(self, "wallets", self._read_all)
        if transaction_id is not None:
            self.app.push_screen(ResultDialog(self.session, order.sentence, transaction_id))

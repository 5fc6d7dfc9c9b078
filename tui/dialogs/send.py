"""Sending, in two steps: what to send to whom, then a confirmation (``confirm``) that states all of it.

The first step checks what can be checked without a key: the amount, the recipient, the balance. The second states
recipient by name and address, amount, fee, and what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label, RadioButton, RadioSet

from ledger.keys import parse_address
from ledger.transactions import MAX_MEMO_BYTES, Token, Transfer
from node.client import format as show
from node.client.errors import ApiProblem
from node.client.models import Account, Party
from node.client.wallets import Wallet
from tui.dialogs.confirm import Intent
from tui.dialogs.form import FormDialog, WrongField
from tui.palette import ATTENTION, FOREGROUND
from tui.session import Session
from tui.widgets.facts import Fact

NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent: ``amount`` in uwatt or ugrid. ``sender`` is the account as it was when asked."""

    wallet: Wallet
    sender: Account
    recipient: Account
    token: Token
    amount: int
    fee_uwatt: int
    memo: str

    @property
    def amount_text(self) -> str:
        return show.watt(self.amount) if self.token is Token.WATT else show.grid(self.amount)

    @property
    def sentence(self) -> str:
        return f"{self.amount_text} to {self.recipient.account.label}"

    def left_after(self) -> tuple[int, int]:
        """(uwatt, ugrid) that remain; negative where it is not enough."""
        watt, grid = self.sender.watt_uwatt - self.fee_uwatt, self.sender.grid_ugrid
        return (watt - self.amount, grid) if self.token is Token.WATT else (watt, grid - self.amount)


class SendDialog(FormDialog[Order]):
    """Answers with the order, None when cancelled."""

    def __init__(self, session: Session, wallet: Wallet, account: Account) -> None:
        held = f"{show.watt(account.watt_uwatt)}, {show.grid(account.grid_ugrid)}"
        super().__init__(f"Send · {wallet.name}", "nothing is sent before you confirm", held)
        self._session = session
        self._wallet = wallet
        self._account = account

    def fields(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label("to")
            yield Input(placeholder="name or address", id="recipient")
        with Horizontal(classes="field"):
            yield Label("amount")
            yield Input(placeholder="12.50", id="amount")
        with Horizontal(classes="field"):
            yield Label("token")
            with RadioSet(id="token"):
                yield RadioButton("WATT", value=True)
                yield RadioButton("GRID")
        with Horizontal(classes="field"):
            yield Label("memo")
            yield Input(placeholder="optional, anyone can read it", id="memo")

    async def answer(self) -> Order:
        """What the fields say. Errors: WrongField, AmountError, ClientError."""
        who = self.query_one("#recipient", Input).value.strip()
        if not who:
            raise WrongField("to whom? a member's name, or an address that begins with ec")
        token = Token.WATT if self.query_one("#token", RadioSet).pressed_index == 0 else Token.GRID
        text = self.query_one("#amount", Input).value
        amount = show.parse_watt(text) if token is Token.WATT else show.parse_grid(text)
        if amount == 0:
            raise WrongField("an amount of 0 would move nothing")
        memo = self.query_one("#memo", Input).value.strip()
        if len(memo.encode()) > MAX_MEMO_BYTES:
            raise WrongField(f"the memo has {len(memo.encode())} bytes; {MAX_MEMO_BYTES} are the most")
        recipient = await self._recipient(who)
        fee_uwatt = (await self._session.client.parameters()).parameters["minimum_fee_uwatt"]
        order = Order(self._wallet, self._account, recipient, token, amount, fee_uwatt, memo)
        self._check_order(order)
        return order

    async def _recipient(self, who: str) -> Account:
        try:
            return await self._session.client.account(who)
        except ApiProblem as problem:
            if problem.status != NOT_FOUND:
                raise
            raise WrongField(f"nobody here is called {show.short(who, 24)!r}, and it is no address") from problem

    def _check_order(self, order: Order) -> None:
        if order.recipient.account == order.sender.account:
            raise WrongField("this is the wallet's own account")
        watt, grid = order.left_after()
        if watt < 0:
            raise WrongField(
                f"not enough WATT: with the fee of {show.watt(order.fee_uwatt)}, {show.watt(-watt)} are missing"
            )
        if grid < 0:
            raise WrongField(f"not enough GRID: {show.grid(-grid)} are missing")


def intent_of(order: Order) -> Intent:
    """What the confirmation states, and what is signed."""
    watt, grid = order.left_after()
    left = show.watt(watt) if order.token is Token.WATT else f"{show.grid(grid)}, {show.watt(watt)}"
    rows: list[Fact] = [
        ("send", Text(order.amount_text, f"bold {ATTENTION}")),
        ("to", Text(_name(order.recipient.account), f"bold {FOREGROUND}")),
        ("", order.recipient.account.address),
        ("fee", show.watt(order.fee_uwatt)),
        ("from", f"{order.wallet.name}, then left with {left}"),
    ]
    if order.memo:
        rows.append(("memo", order.memo))
    if not order.recipient.exists:
        rows.append(("", Text("nothing has ever happened to this account: check the address", ATTENTION)))
    payload = Transfer(parse_address(order.recipient.account.address), int(order.token), order.amount, order.memo)
    return Intent(
        wallet=order.wallet,
        payload=payload,
        fee_uwatt=order.fee_uwatt,
        stated=tuple(rows),
        verb="Send",
        again="It may have arrived; sending it again cannot pay twice.",
    )


def _name(party: Party) -> str:
    return "(no member)" if party.name is None else party.name

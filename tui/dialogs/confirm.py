"""The last step before anything is signed: what will happen, with every amount, and the wallet's password.

1. The wallet is opened only when the password is given, in a thread, and the seed is forgotten with the call.
2. A signed transaction that may have reached the node is sent again as it is, never signed anew: it has one nonce and
   so can take effect once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from ledger.keys import SigningKey
from ledger.transactions import Payload, Transaction
from node.client import format as show
from node.client.errors import ApiProblem, ClientError, NodeAway
from node.client.refusals import advice
from node.client.wallet import sign
from node.client.wallets import KeyFileError, Wallet
from tui.background import in_background
from tui.session import Session
from tui.widgets.facts import Fact, facts

VALID_FOR_BLOCKS: Final = 240


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be signed. ``stated``: all of it in words and amounts. ``verb`` stands on the button; ``again`` says
    why sending it a second time does no harm.
    """

    wallet: Wallet
    payload: Payload
    fee_uwatt: int
    stated: tuple[Fact, ...]
    verb: str
    again: str


class ConfirmDialog(ModalScreen[str | None]):
    """Answers with the id of the transaction the node has taken, None when it was not sent."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, session: Session, intent: Intent) -> None:
        super().__init__()
        self._session = session
        self._intent = intent
        self._signed: Transaction | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Confirm"
            yield Static(facts(self._intent.stated))
            with Horizontal(classes="field"):
                yield Label("password")
                yield Input(password=True, placeholder=f"of the wallet {self._intent.wallet.name}", id="password")
            yield Static(id="problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(self._intent.verb, variant="warning", id="send", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        if not self.query_one("#send", Button).disabled:  # else it is on its way, and what becomes of it must be seen
            self.dismiss(None)

    @on(Button.Pressed, "#send")
    @on(Input.Submitted, "#password")
    def send(self) -> None:
        in_background(self, "send", self._send)

    async def _send(self) -> None:
        problem, button = self.query_one("#problem", Static), self.query_one("#send", Button)
        button.disabled = True
        try:
            if self._signed is None:
                problem.update("opening the wallet …")
                self._signed = await self._sign()
            problem.update("sending …")
            transaction_id = await self._session.client.submit(self._signed.raw)
        except KeyFileError as error:
            self._fail(str(error))
        except NodeAway as error:
            again = "" if self._signed is None else f" {self._intent.again}"
            self._fail(f"{error}.{again}")
        except ClientError as error:
            self._signed = None  # refused as it was: another try is signed anew
            self._fail(_refusal(error))
        else:
            self.dismiss(transaction_id)

    async def _sign(self) -> Transaction:
        intent, password = self._intent, self.query_one("#password", Input).value
        seed = await asyncio.to_thread(self._session.keystore.unlock, intent.wallet.name, password)
        return await sign(
            self._session.client,
            SigningKey(seed),
            intent.payload,
            fee_uwatt=intent.fee_uwatt,
            valid_for_blocks=VALID_FOR_BLOCKS,
        )

    def _fail(self, text: str) -> None:
        self.query_one("#problem", Static).update(text)
        self.query_one("#send", Button).disabled = False
        field = self.query_one("#password", Input)
        field.focus()
        if self._signed is None:
            field.value = ""


def _refusal(error: ClientError) -> str:
    if not isinstance(error, ApiProblem) or error.problem.refusal is None:
        return str(error)
    way_out = advice(error.problem.refusal)
    said = f"refused: {show.words(error.problem.refusal)} · {error.detail}"
    return said if way_out is None else f"{said}; {way_out}"

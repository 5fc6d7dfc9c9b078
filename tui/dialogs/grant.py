"""Answering a join request: a confirmation that states all of it and asks for the password of the approver's wallet.

1. Only when the password is given is the wallet opened, in a thread, and the seed is forgotten with the answer.
2. Granting is several transactions of one account, handed over one after the other: each is signed when the one before
   has been taken. One that may have reached the node is sent again as it is, never signed anew.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from ledger.keys import SigningKey
from ledger.transactions import Transaction
from node.client import format as show
from node.client.errors import ApiProblem, ClientError, NodeAway
from node.client.joining import MAX_REASON_CHARACTERS, Grant, denial_message
from node.client.models import JoinRequest
from node.client.wallet import sign
from node.client.wallets import KeyFileError, Wallet
from tui.background import in_background
from tui.palette import ATTENTION, FOREGROUND
from tui.session import Session
from tui.widgets.facts import Fact, facts

VALID_FOR_BLOCKS = 240


class AnswerDialog(ModalScreen[str | None]):
    """Answers with what ``_answer`` returns, None when nothing was sent."""

    VERB: ClassVar[str]
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, session: Session, wallet: Wallet) -> None:
        super().__init__()
        self._session = session
        self._wallet = wallet

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self.VERB
            yield Static(facts(self._stated()))
            yield from self._fields()
            with Horizontal(classes="field"):
                yield Label("password")
                yield Input(password=True, placeholder=f"of the wallet {self._wallet.name}", id="password")
            yield Static(id="problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(self.VERB, variant="warning", id="answer", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    @abstractmethod
    def _stated(self) -> list[Fact]: ...

    def _fields(self) -> ComposeResult:
        """Beside the password."""
        return iter(())

    @abstractmethod
    async def _answer(self, key: SigningKey) -> str:
        """Signs and sends. Errors: ClientError, JoinError."""

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        if not self.query_one("#answer", Button).disabled:  # else it is on its way, and what becomes of it must be seen
            self.dismiss(None)

    @on(Button.Pressed, "#answer")
    @on(Input.Submitted, "#password")
    def answer(self) -> None:
        in_background(self, "answer", self._unlock_and_answer)

    async def _unlock_and_answer(self) -> None:
        problem, button = self.query_one("#problem", Static), self.query_one("#answer", Button)
        button.disabled = True
        password = self.query_one("#password", Input).value
        try:
            problem.update("opening the wallet …")
            seed = await asyncio.to_thread(self._session.keystore.unlock, self._wallet.name, password)
            problem.update("sending …")
            result = await self._answer(SigningKey(seed))
        except KeyFileError as error:
            self._fail(str(error))
        except NodeAway as error:
            self._fail(f"{error}. Some of it may have arrived; sending it again does nothing twice.")
        except ApiProblem as problem_document:
            refusal = problem_document.problem.refusal
            word = "" if refusal is None else f"refused: {show.words(refusal)} · "
            self._fail(f"{word}{problem_document.detail}")
        except (ClientError, ValueError) as error:  # JoinError is a ValueError
            self._fail(str(error))
        else:
            self.dismiss(result)

    def _fail(self, text: str) -> None:
        self.query_one("#problem", Static).update(text)
        self.query_one("#answer", Button).disabled = False
        field = self.query_one("#password", Input)
        field.value = ""
        field.focus()


class GrantDialog(AnswerDialog):
    """Answers with the id of the registration."""

    VERB = "Grant"

    def __init__(self, session: Session, wallet: Wallet, grant: Grant) -> None:
        super().__init__(session, wallet)
        self._grant = grant
        self._signed: list[Transaction] = []
        self._taken = 0

    def _stated(self) -> list[Fact]:
        emphasised = {"member": FOREGROUND, "is given": ATTENTION, "you pay": ATTENTION}
        rows: list[Fact] = []
        for label, value in self._grant.facts():
            first, *more = value.split("\n")
            style = f"bold {emphasised[label]}" if label in emphasised else ""
            rows += [(label, Text(first, style)), *(("", line) for line in more)]
        return [*rows, ("signed by", self._wallet.name)]

    async def _answer(self, key: SigningKey) -> str:
        client = self._session.client
        for place, payload in enumerate(self._grant.payloads):
            if place < self._taken:
                continue
            if place == len(self._signed):
                self._signed.append(await sign(client, key, payload, valid_for_blocks=VALID_FOR_BLOCKS))
            try:
                await client.submit(self._signed[place].raw)
            except ApiProblem:
                self._signed.pop()  # refused as it was: another try is signed anew
                raise
            self._taken += 1
        return self._signed[0].id.hex()


class DenyDialog(AnswerDialog):
    """Answers with the id of the request."""

    VERB = "Deny"

    def __init__(self, session: Session, wallet: Wallet, request: JoinRequest) -> None:
        super().__init__(session, wallet)
        self._request = request

    def _stated(self) -> list[Fact]:
        request = self._request
        return [
            ("deny", Text(request.name, f"bold {ATTENTION}")),
            ("account", request.address),
            ("invited by", request.inviter.label),
            ("signed by", self._wallet.name),
            ("", "On this invite the account is not heard again."),
        ]

    def _fields(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label("reason")
            yield Input(placeholder="what the newcomer is told", id="reason", max_length=MAX_REASON_CHARACTERS)

    async def _answer(self, key: SigningKey) -> str:
        client = self._session.client
        chain_id = bytes.fromhex((await client.status()).chain_id)
        reason = self.query_one("#reason", Input).value.strip()
        return await client.file_join(denial_message(key, chain_id, self._request, reason))

"""A form to fill in before something is confirmed: fields, what is wrong with them, Continue and Cancel.

Each form says in ``fields`` what is asked and in ``answer`` what the fields come to; what is wrong is shown below
them, and the form stays until it is right or cancelled.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from node.client.errors import ClientError
from node.client.format import AmountError
from node.client.market import PeriodError
from tui.background import in_background
from tui.palette import MUTED

T = TypeVar("T")


class WrongField(Exception):
    """A field is wrong; the text says what would be right."""


class FormDialog(ModalScreen[T | None]):
    """Answers with what the fields come to, None when cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, promise: str, held: str) -> None:
        """``promise``: what does not happen yet; ``held``: what the account has."""
        super().__init__()
        self._title = title
        self._promise = promise
        self._held = held

    @abstractmethod
    def fields(self) -> ComposeResult: ...

    @abstractmethod
    async def answer(self) -> T:
        """Errors: WrongField, AmountError, PeriodError, ClientError."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self._title
            box.border_subtitle = self._promise
            yield from self.fields()
            yield Static(Text.assemble(("you have   ", MUTED), self._held), classes="held")
            yield Static(id="problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Continue", variant="primary", id="continue", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    @on(Button.Pressed, "#cancel")
    def cancel(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#continue")
    @on(Input.Submitted)
    def go_on(self) -> None:
        in_background(self, "check", self._check)

    async def _check(self) -> None:
        problem = self.query_one("#problem", Static)
        problem.update("")
        try:
            found = await self.answer()
        except (WrongField, AmountError, PeriodError, ClientError) as wrong:
            problem.update(str(wrong))
        else:
            self.dismiss(found)

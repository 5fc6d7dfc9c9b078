"""What becomes of a transaction just sent: waiting, final, or refused in its block. Follows the node's events."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from node.client import format as show
from node.client.errors import ClientError
from node.client.events import Back, ClientEvent, TransactionFinal
from tui.background import in_background
from tui.palette import ATTENTION, FOREGROUND, GOOD, MUTED
from tui.session import Session


class ResultDialog(ModalScreen[None]):
    """Closing it early changes nothing: the history has the transaction too."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "dismiss", "Close", key_display="esc")]

    def __init__(self, session: Session, sentence: str, transaction_id: str) -> None:
        super().__init__()
        self._session = session
        self._sentence = sentence
        self._transaction_id = transaction_id
        self._text = Text.assemble(("waiting for a block …", f"bold {ATTENTION}"))

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Sent"
            yield Static(id="result")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._show()
        in_background(self, "ask", self._ask)  # it may have become final while the dialog was opening

    def take_event(self, event: ClientEvent) -> None:
        """Called by the application with every event of the node."""
        if (isinstance(event, TransactionFinal) and event.id == self._transaction_id) or isinstance(event, Back):
            in_background(self, "ask", self._ask)

    async def _ask(self) -> None:
        try:
            found = await self._session.client.transaction(self._transaction_id)
        except ClientError:
            return  # the node is away or has not heard of it yet; the next event asks again
        if found.height is None:
            return
        where = f" in block {show.count(found.height)}"
        if found.refusal is None:
            self._text = Text.assemble(("final", f"bold {GOOD}"), where)
        else:
            refused = f"refused: {show.words(found.refusal)}"
            fee = f"; the fee of {show.watt(found.fee_uwatt)} is paid"
            self._text = Text.assemble((refused, f"bold {ATTENTION}"), where, fee)
        self._show()

    def _show(self) -> None:
        what = Text.assemble(
            (self._sentence, f"bold {FOREGROUND}"), "\n\n", self._text, "\n\n", (self._transaction_id, MUTED)
        )
        self.query_one("#result", Static).update(what)

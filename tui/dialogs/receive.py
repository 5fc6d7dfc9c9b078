"""The address of a wallet, to be given to somebody."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from node.client.models import Account
from node.client.wallets import Wallet
from tui.palette import FOREGROUND, MUTED, PRIMARY


class ReceiveDialog(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "Copy the address"),
        Binding("escape,enter,r", "dismiss", "Close", key_display="esc"),
    ]

    def __init__(self, wallet: Wallet, account: Account | None) -> None:
        super().__init__()
        self._wallet = wallet
        self._name = None if account is None else account.account.name

    def compose(self) -> ComposeResult:
        text = Text()
        if self._name is not None:
            text.append("Neighbours can send to the name\n\n", MUTED)
            text.append(f"  {self._name}\n\n", f"bold {PRIMARY}")
            text.append("and anyone to the address\n\n", MUTED)
        else:
            text.append("Anyone can send to the address\n\n", MUTED)
        text.append(f"  {self._wallet.address}", f"bold {FOREGROUND}")
        with Vertical(classes="dialog") as box:
            box.border_title = f"Receive · {self._wallet.name}"
            yield Static(text)
        yield Footer(show_command_palette=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._wallet.address)
        self.notify("the address is in the clipboard, if this terminal allows it")

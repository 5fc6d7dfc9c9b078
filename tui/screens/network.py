"""Network: who this node is connected with, and who asks to join.

1. Peers are read when one comes or goes, and when a block is final, for as long as the screen is in front.
2. A join request is granted with one key and a confirmation that states all of it and asks for the password of an
   approver's wallet; denied likewise, with a reason for the newcomer.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from node.client import format as show
from node.client.errors import ApiProblem, ClientError
from node.client.joining import JoinError, plan_grant, require_approver, require_grantable
from node.client.models import Account, JoinRequest, Peer
from node.client.wallets import Wallet
from tui.background import in_background
from tui.dialogs.grant import DenyDialog, GrantDialog
from tui.dialogs.result import ResultDialog
from tui.feed import Part
from tui.palette import ATTENTION, FOREGROUND, GOOD, MUTED, WRONG
from tui.screens.base import LiveScreen
from tui.widgets.live_table import Column, LiveTable, Row
from tui.widgets.top_bar import Place

PEER_COLUMNS: Final = (
    Column("", 1),
    Column("home", 10),
    Column("address", 21, grow=True),
    Column("latency", 8, right=True),
    Column("received", 9, right=True),
    Column("sent", 9, right=True),
    Column("mesh", 4, right=True, from_width=84),
    Column("score", 5, right=True, from_width=84),
    Column("peer", 14, from_width=110),
)
REQUEST_COLUMNS: Final = (
    Column("wishes to be", 14),
    Column("feeder", 8),
    Column("meters", 12),
    Column("invited by", 10),
    Column("asked", 19, from_width=100),
    Column("", 16, grow=True),
)
GOOD_SCORE: Final = 80


class NetworkScreen(LiveScreen):
    PLACE: ClassVar[Place] = Place("network", "p", "Network", "Peers with latency and bytes, who asks to join")
    AUTO_FOCUS = "#peers"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "grant", "Grant", tooltip="make the newcomer under the cursor a member"),
        Binding("d", "deny", "Deny", tooltip="deny the request under the cursor, with a reason"),
    ]

    def body(self) -> ComposeResult:
        with Vertical(id="network"):
            peers = LiveTable(PEER_COLUMNS, id="peers")
            peers.add_class("panel")
            peers.border_title = "Peers"
            yield peers
            nobody = Static(id="no-peers", classes="panel")
            nobody.border_title = "Peers"
            yield nobody
            requests = LiveTable(REQUEST_COLUMNS, id="requests")
            requests.add_class("panel")
            yield requests
            none = Static(id="no-requests", classes="panel")
            none.border_title = "Who asks to join"
            yield none

    # ------------------------------------------------------------------------------------------------- showing

    def show_feed(self, parts: Part) -> None:
        if parts & (Part.PEERS | Part.STATUS):
            self._show_peers(self.session.feed.peers)
        if parts & Part.JOINS:
            self._show_requests(self.session.feed.joins)
        if parts & Part.BLOCKS and not parts & Part.PEERS:
            self.session.feed.mark(Part.PEERS)  # their latency and bytes, while somebody looks

    def _show_peers(self, peers: list[Peer]) -> None:
        table, none = self.query_one("#peers", LiveTable), self.query_one("#no-peers", Static)
        table.display, none.display = bool(peers), not peers
        none.update(
            Text("Nobody: this node is connected with no other. Check the network, or wait for one.", ATTENTION)
        )
        received, sent = sum(one.bytes_received for one in peers), sum(one.bytes_sent for one in peers)
        table.border_title = f"Peers · {show.count(len(peers))}"
        table.border_subtitle = f"{show.size(received)} received, {show.size(sent)} sent"
        ordered = sorted(peers, key=lambda one: ("~" if one.account is None else one.account.label, one.peer))
        table.show_rows([self._peer_row(one) for one in ordered])

    def _peer_row(self, peer: Peer) -> Row:
        latency = Text("–", MUTED, end="")
        if peer.latency_us is not None:
            latency = Text(_latency(peer.latency_us), FOREGROUND, end="")
        home = Text("no member", MUTED, end="")
        if peer.account is not None:
            home = Text(peer.account.label, f"bold {self.session.colour_of(peer.account)}", end="")
        score = GOOD if peer.score >= GOOD_SCORE else ATTENTION if peer.score > GOOD_SCORE // 2 else WRONG
        return peer.peer, (
            Text("←" if peer.inbound else "→", MUTED, end=""),
            home,
            peer.address,
            latency,
            show.size(peer.bytes_received),
            show.size(peer.bytes_sent),
            str(len(peer.mesh)),
            Text(str(peer.score), score, end=""),
            Text(show.short(peer.peer, 14), MUTED, end=""),
        )

    def _show_requests(self, requests: list[JoinRequest]) -> None:
        table, none = self.query_one("#requests", LiveTable), self.query_one("#no-requests", Static)
        table.display, none.display = bool(requests), not requests
        waiting = sum(one.state == "waiting" for one in requests)
        table.border_title = f"Who asks to join · {show.count(waiting)} waiting"
        table.border_subtitle = "g grants, d denies"
        none.update(
            Text.assemble(
                ("Nobody. To invite a neighbour:  ", MUTED), ("ecloud network invite NAME", f"bold {FOREGROUND}")
            )
        )
        table.show_rows([self._request_row(one) for one in requests])
        if requests and self.focused is self.query_one("#peers") and waiting:
            table.focus()  # somebody waits for an answer

    def _request_row(self, request: JoinRequest) -> Row:
        if request.state == "denied":
            state = Text(f"denied{f': {request.reason}' if request.reason else ''}", WRONG, end="")
        elif request.obstacle is not None:
            state = Text(request.obstacle, ATTENTION, end="")
        else:
            state = Text("waits for an approver", GOOD, end="")
        return request.id, (
            Text(request.name, f"bold {FOREGROUND}", end=""),
            request.feeder,
            ", ".join(meter.kind for meter in request.meters) or Text("none", MUTED, end=""),
            request.inviter.label,
            show.date_time(request.made_ms, self.session.feed.utc_offset_minutes),
            state,
        )

    # --------------------------------------------------------------------------------------- granting, denying

    def action_grant(self) -> None:
        in_background(self, "answer", partial(self._answer, granting=True))

    def action_deny(self) -> None:
        in_background(self, "answer", partial(self._answer, granting=False))

    async def _answer(self, *, granting: bool) -> None:
        """Opens the confirmation, or says why there is nothing to confirm."""
        key = self.query_one("#requests", LiveTable).chosen
        request = next((one for one in self.session.feed.joins if one.id == key), None)
        if request is None:
            self.notify("nobody asks to join", severity="warning")
            return
        if request.state == "denied":
            self.notify(f"the request of {request.name} is denied already", severity="warning")
            return
        try:
            wallet, approver = await self._approver()
            if granting:
                fee_uwatt = (await self.session.client.parameters()).parameters["minimum_fee_uwatt"]
                grant = plan_grant(request, fee_uwatt)
                require_grantable(grant, approver)
                self.app.push_screen(GrantDialog(self.session, wallet, grant), partial(self._follow, request.name))
            else:
                self.app.push_screen(DenyDialog(self.session, wallet, request), self._read_again)
        except JoinError as error:
            self.notify(str(error), severity="warning")
        except ApiProblem as problem:
            self.notify(problem.detail, severity="warning")
        except ClientError:
            self.notify("the node is away: nothing can be answered now", severity="warning")

    async def _approver(self) -> tuple[Wallet, Account]:
        """The first wallet of this machine that is an approver's. Errors: JoinError, ClientError."""
        for wallet in self.session.keystore.list_wallets().wallets:
            account = await self.session.client.account(wallet.address)
            try:
                require_approver(account)
            except JoinError:
                continue
            return wallet, account
        raise JoinError("no wallet of this machine is an approver's: only an approver grants or denies requests")

    def _follow(self, name: str, transaction_id: str | None) -> None:
        self._read_again(None)
        if transaction_id is not None:
            self.app.push_screen(ResultDialog(self.session, f"{name} becomes a member", transaction_id))

    def _read_again(self, _: object) -> None:
        self.session.feed.mark(Part.JOINS)


def _latency(latency_us: int) -> str:
    return f"{latency_us // 1000}.{latency_us % 1000 // 100} ms"

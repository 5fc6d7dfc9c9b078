"""``NodeClient``: all that a program may ask of a node, one method per question.

Accounts are named by address, member's name, or public key in hex; transactions and blocks by hex, blocks also by
height. Every method raises ``NodeAway``, ``ApiProblem`` or ``UnexpectedAnswer``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

import msgspec

from node.client import models
from node.client.connection import SOCKET_NAME, TOKEN_NAME, URL_NAME, Connection
from node.client.errors import NodeAway
from node.client.event_stream import follow_events
from node.client.events import ClientEvent

T = TypeVar("T")


class NodeClient:
    """Use as an async context manager, under trio or asyncio. One client may be used by many tasks."""

    def __init__(
        self, base_url: str | None = None, *, unix_socket: Path | None = None, token: str | None = None
    ) -> None:
        """By URL (default: port 4080 of this machine) or by unix socket. ``token`` is for the administrator's
        methods.
        """
        self._connection = Connection(base_url, unix_socket=unix_socket, token=token)

    @classmethod
    def of_directory(cls, directory: Path) -> NodeClient:
        """The node that runs on a data directory of this machine: its socket, else the URL it left there, and its
        token. Errors: NodeAway if none has ever served there.
        """
        token_file, socket, url_file = directory / TOKEN_NAME, directory / SOCKET_NAME, directory / URL_NAME
        try:
            token = token_file.read_text("ascii").strip() if token_file.exists() else None
        except PermissionError:
            token = None  # another user's node: what needs no token still works over its URL
        if socket.exists():
            return cls(unix_socket=socket, token=token)
        if url_file.exists():
            return cls(url_file.read_text("ascii").strip(), token=token)
        raise NodeAway(f"no node runs on {directory}; start it with: ecloud node run --data-dir {directory}")

    async def __aenter__(self) -> NodeClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._connection.aclose()

    @property
    def where(self) -> str:
        """The URL or socket, for people."""
        return self._connection.where

    # ------------------------------------------------------------------------------------------------ the node

    async def status(self) -> models.Status:
        return await self._connection.get("/v1/status", models.Status)

    async def health(self) -> models.Health:
        """Errors: ApiProblem (503) with the reason while the node is not well."""
        return await self._connection.get("/health", models.Health)

    async def peers(self) -> models.PeerList:
        return await self._connection.get("/v1/peers", models.PeerList)

    async def metrics(self) -> str:
        """Prometheus' text format."""
        return await self._connection.get_text("/metrics")

    def events(self, after_height: int | None = None) -> AsyncGenerator[ClientEvent, None]:
        """What happens, for ever: connects, resumes after the last block seen, reports ``Away`` and ``Back``.

        ``after_height``: begin with the blocks after this height instead of with what happens next. Close it
        (``contextlib.aclosing``) when leaving the loop early. Errors: only ``ApiProblem`` that trying again cannot
        mend.
        """
        return follow_events(self._connection, after_height)

    # ----------------------------------------------------------------------------------------------- the chain

    async def genesis(self) -> models.Genesis:
        return await self._connection.get("/v1/genesis", models.Genesis)

    async def parameters(self) -> models.ParameterList:
        return await self._connection.get("/v1/parameters", models.ParameterList)

    async def committee(self, height: int | None = None) -> models.Committee:
        """Default: of the height that is open."""
        return await self._connection.get("/v1/committee", models.Committee, height=height)

    async def draw(self, height: int | None = None, view: int | None = None) -> models.Draw:
        """Default: the next height, and the view its block was made in (0 while there is none)."""
        place = "next" if height is None else str(height)
        return await self._connection.get(f"/v1/draws/{place}", models.Draw, view=view)

    async def evidence(self) -> models.EvidenceList:
        """Who was convicted of contradicting itself."""
        return await self._connection.get("/v1/evidence", models.EvidenceList)

    async def blocks(self, before: int | None = None, limit: int | None = None) -> models.BlockPage:
        return await self._connection.get("/v1/blocks", models.BlockPage, before=before, limit=limit)

    async def block(self, height_or_hash: int | str) -> models.Block:
        return await self._connection.get(f"/v1/blocks/{_segment(height_or_hash)}", models.Block)

    async def certificate(self, height: int) -> models.Certificate:
        return await self._connection.get(f"/v1/blocks/{height}/certificate", models.Certificate)

    async def transaction(self, transaction_id: str) -> models.Transaction:
        return await self._connection.get(f"/v1/transactions/{_segment(transaction_id)}", models.Transaction)

    async def pending(self, limit: int | None = None) -> models.PendingPage:
        return await self._connection.get("/v1/transactions/pending", models.PendingPage, limit=limit)

    async def submit(self, raw: bytes) -> str:
        """Hands over a signed transaction; returns its id. Errors: ApiProblem with the ``refusal``."""
        accepted = await self._connection.post(
            "/v1/transactions", models.Accepted, content=raw, content_type="application/cbor"
        )
        return accepted.id

    async def prove_account(self, who: str, since: int | None = None) -> models.StateProof:
        return await self._connection.get(f"/v1/proofs/accounts/{_segment(who)}", models.StateProof, since=since)

    async def prove_transaction(self, transaction_id: str, since: int | None = None) -> models.TransactionProof:
        path = f"/v1/proofs/transactions/{_segment(transaction_id)}"
        return await self._connection.get(path, models.TransactionProof, since=since)

    # ------------------------------------------------------------------------------- accounts, votes, readings

    async def account(self, who: str) -> models.Account:
        return await self._connection.get(f"/v1/accounts/{_segment(who)}", models.Account)

    async def history(self, who: str, before: str | None = None, limit: int | None = None) -> models.TransactionPage:
        path = f"/v1/accounts/{_segment(who)}/history"
        return await self._connection.get(path, models.TransactionPage, before=before, limit=limit)

    async def members(self) -> models.MemberList:
        return await self._connection.get("/v1/members", models.MemberList)

    async def candidates(self) -> models.CandidateList:
        return await self._connection.get("/v1/candidates", models.CandidateList)

    async def candidate(self, who: str) -> models.CandidateDetail:
        return await self._connection.get(f"/v1/candidates/{_segment(who)}", models.CandidateDetail)

    async def votes(self, who: str) -> models.Votes:
        return await self._connection.get(f"/v1/votes/{_segment(who)}", models.Votes)

    async def meters(self) -> models.MeterList:
        return await self._connection.get("/v1/meters", models.MeterList)

    async def meter(self, key: str) -> models.Meter:
        return await self._connection.get(f"/v1/meters/{_segment(key)}", models.Meter)

    async def readings(self, meter: str | None = None, limit: int | None = None) -> models.ReadingList:
        return await self._connection.get("/v1/readings", models.ReadingList, meter=meter, limit=limit)

    # ---------------------------------------------------------------------------------------------- the market

    async def market(self, first: int | None = None, limit: int | None = None, *, busy: bool = False) -> models.Market:
        """Periods from ``first`` on, by default the first open one. ``busy``: only those with orders or trades."""
        return await self._connection.get(
            "/v1/market", models.Market, first=first, limit=limit, busy="true" if busy else None
        )

    async def book(self, period: int, depth: int | None = None, orders: int | None = None) -> models.Book:
        """``depth`` price levels and ``orders`` single orders a side."""
        return await self._connection.get(f"/v1/market/periods/{period}/book", models.Book, depth=depth, orders=orders)

    async def trades(self, period: int, before: int | None = None, limit: int | None = None) -> models.TradePage:
        path = f"/v1/market/periods/{period}/trades"
        return await self._connection.get(path, models.TradePage, before=before, limit=limit)

    async def feeder_headroom(self, period: int) -> models.FeederList:
        return await self._connection.get(f"/v1/market/periods/{period}/feeders", models.FeederList)

    async def open_orders(self, who: str, after: str | None = None, limit: int | None = None) -> models.OrderPage:
        path = f"/v1/market/orders/{_segment(who)}"
        return await self._connection.get(path, models.OrderPage, after=after, limit=limit)

    async def positions(self, who: str) -> models.PositionList:
        return await self._connection.get(f"/v1/market/positions/{_segment(who)}", models.PositionList)

    async def prices(self, first: int | None = None, limit: int | None = None) -> models.PriceHistory:
        """``limit`` periods from ``first`` on; by default those up to the last that has traded."""
        return await self._connection.get("/v1/market/prices", models.PriceHistory, first=first, limit=limit)

    async def tariffs(self) -> models.TariffList:
        return await self._connection.get("/v1/market/tariffs", models.TariffList)

    async def settled_periods(self, before: int | None = None, limit: int | None = None) -> models.SettledPage:
        return await self._connection.get("/v1/market/settled", models.SettledPage, before=before, limit=limit)

    async def settled_period(self, period: int) -> models.SettledPeriod:
        return await self._connection.get(f"/v1/market/settled/{period}", models.SettledPeriod)

    # ------------------------------------------------------------------------------------- sharing pools and contracts

    async def pools(self) -> models.PoolList:
        return await self._connection.get("/v1/pools", models.PoolList)

    async def pool(self, which: int | str) -> models.PoolInfo:
        """By number or name."""
        return await self._connection.get(f"/v1/pools/{quote(str(which), safe='')}", models.PoolInfo)

    async def templates(self) -> models.TemplateList:
        return await self._connection.get("/v1/contracts/templates", models.TemplateList)

    async def contracts(self, before: int | None = None, limit: int | None = None) -> models.ContractPage:
        return await self._connection.get("/v1/contracts", models.ContractPage, before=before, limit=limit)

    async def contract(self, offer: int) -> models.Contract:
        return await self._connection.get(f"/v1/contracts/{offer}", models.Contract)

    async def deliveries(self, offer: int, before: int | None = None, limit: int | None = None) -> models.DeliveryPage:
        return await self._connection.get(
            f"/v1/contracts/{offer}/deliveries", models.DeliveryPage, before=before, limit=limit
        )

    async def agreements(self, who: str) -> models.Agreements:
        return await self._connection.get(f"/v1/accounts/{quote(who, safe='')}/agreements", models.Agreements)

    # --------------------------------------------------------------------------------------------------- bills

    async def bills(self, who: str, before: int | None = None, limit: int | None = None) -> models.BillPage:
        """In sum, newest first."""
        return await self._connection.get(f"/v1/bills/{_segment(who)}", models.BillPage, before=before, limit=limit)

    async def bill(self, who: str, cycle: int | None = None) -> models.Bill:
        """Default: the newest, as far as it is settled."""
        place = "current" if cycle is None else str(cycle)
        return await self._connection.get(f"/v1/bills/{_segment(who)}/{place}", models.Bill)

    async def explain_line(self, who: str, cycle: int, line: str, after: int | None = None) -> models.LineExplanation:
        path = f"/v1/bills/{_segment(who)}/{cycle}/lines/{_segment(line)}"
        return await self._connection.get(path, models.LineExplanation, after=after)

    async def member_periods(self, who: str, cycle: int, after: int | None = None) -> models.MemberPeriodPage:
        path = f"/v1/bills/{_segment(who)}/{cycle}/periods"
        return await self._connection.get(path, models.MemberPeriodPage, after=after)

    async def billing_cycles(self, before: int | None = None, limit: int | None = None) -> models.BillingCyclePage:
        return await self._connection.get("/v1/billing/cycles", models.BillingCyclePage, before=before, limit=limit)

    async def arrears(self, after: str | None = None, limit: int | None = None) -> models.ArrearsPage:
        return await self._connection.get("/v1/billing/arrears", models.ArrearsPage, after=after, limit=limit)

    # ------------------------------------------------------------------------------------------------- joining

    async def join_requests(self) -> models.JoinRequestList:
        return await self._connection.get("/v1/join-requests", models.JoinRequestList)

    async def file_join(self, message: bytes) -> str:
        """Hands over a signed join request, or an approver's denial of one, as ``node.joining`` encodes both; returns
        the request's id. Errors: ApiProblem that says why it is not heard.
        """
        accepted = await self._connection.post(
            "/v1/join-requests", models.Accepted, content=message, content_type="application/cbor"
        )
        return accepted.id

    # ------------------------------------------------------------------------------------------- administration

    async def connect_peer(self, address: str) -> str:
        """Keeps the node connected to a multiaddr; returns a sentence. Needs the token."""
        return await self._administer("peers", models.ConnectRequest(address=address))

    async def ban_peer(self, peer: str, duration_s: int, reason: str) -> str:
        return await self._administer("bans", models.BanRequest(peer=peer, duration_s=duration_s, reason=reason))

    async def pardon_peer(self, peer: str) -> str:
        """Ends a ban. Needs the token. Errors: ApiProblem 404 if there is none."""
        return await self._administer("pardons", models.PardonRequest(peer=peer))

    async def stop_node(self) -> str:
        return await self._administer("stop", None)

    async def _administer(self, what: str, request: models.AdminRequest | None) -> str:
        content = b"{}" if request is None else msgspec.json.encode(request)
        done = await self._connection.post(
            f"/v1/admin/{what}", models.Done, content=content, content_type="application/json"
        )
        return done.detail


def ask(client: NodeClient, question: Callable[[NodeClient], Awaitable[T]]) -> T:
    """For commands that are not asynchronous: opens, asks, closes. ``ask(client, lambda node: node.status())``."""
    import trio  # noqa: PLC0415 (programs that bring their own event loop need none)

    async def run() -> T:
        async with client:
            return await question(client)

    return trio.run(run)


def _segment(value: int | str) -> str:
    return quote(str(value), safe="")

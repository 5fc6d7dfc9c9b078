"""What the terminal knows of the node: read once at the start, then kept current by the node's events.

1. Nothing is polled. An event says that something has changed and marks the parts of the picture it touches; one task
   reads the marked parts, so that a burst of events (catching up, many blocks a second) costs one reading of each.
2. When the node goes away, all that is known stays, ``away`` says since when and why, and the client goes on trying;
   when it is back everything is read anew.
3. A single request that fails while the stream stands is told as ``trouble`` and tried again at the next event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import Flag, auto
from typing import Final

from node.client.client import NodeClient
from node.client.errors import ApiProblem, ClientError
from node.client.events import (
    AuctionCleared,
    Away,
    Back,
    BillInArrears,
    BillPaid,
    BillRecorded,
    BlockFinal,
    BookClosed,
    BooksChanged,
    CandidateRejoined,
    CandidateSuspended,
    ClientEvent,
    CycleClosed,
    Equivocation,
    JoinEnded,
    JoinRequested,
    Missed,
    PeerBanned,
    PeerConnected,
    PeerDisconnected,
    PeriodSettled,
    ReadingAccepted,
    SyncProgress,
    TransactionPending,
    ViewChanged,
    Warned,
)
from node.client.models import BlockSummary, Candidate, Conviction, Draw, Genesis, JoinRequest, Peer, Reading, Status

KEPT_BLOCKS: Final = 400
PAGE_BLOCKS: Final = 100
KEPT_READINGS: Final = 200


class Part(Flag):
    """The parts of the picture, each read by one request; market and bills are read by their screens, which know
    what they show.
    """

    STATUS = auto()
    BLOCKS = auto()
    DRAW = auto()
    CANDIDATES = auto()
    PEERS = auto()
    READINGS = auto()
    EVIDENCE = auto()
    JOINS = auto()
    MARKET = auto()
    BILLS = auto()


ALL_PARTS: Final = ~Part(0)

_TOUCHES: Final[dict[type[ClientEvent], Part]] = {
    Back: ALL_PARTS,
    BlockFinal: Part.STATUS | Part.BLOCKS | Part.DRAW | Part.CANDIDATES,
    Missed: Part.BLOCKS,
    TransactionPending: Part.STATUS,
    ReadingAccepted: Part.READINGS,
    PeerConnected: Part.PEERS | Part.STATUS,
    PeerDisconnected: Part.PEERS | Part.STATUS,
    PeerBanned: Part.PEERS,
    JoinRequested: Part.JOINS,
    JoinEnded: Part.JOINS,
    Equivocation: Part.CANDIDATES | Part.EVIDENCE,
    CandidateSuspended: Part.CANDIDATES,
    CandidateRejoined: Part.CANDIDATES,
    ViewChanged: Part.STATUS | Part.DRAW,
    SyncProgress: Part.STATUS,
    Warned: Part.STATUS,
    BooksChanged: Part.MARKET,
    BookClosed: Part.MARKET,
    AuctionCleared: Part.MARKET,
    PeriodSettled: Part.MARKET | Part.BILLS,
    CycleClosed: Part.BILLS,
    BillRecorded: Part.BILLS,
    BillPaid: Part.BILLS,
    BillInArrears: Part.BILLS,
}


@dataclass(frozen=True, slots=True)
class Absence:
    """The node has not answered since ``since_ms`` (this machine's clock)."""

    since_ms: int
    detail: str


class Feed:
    """Follows one node. ``listener`` is called in the event loop after each change with what changed."""

    def __init__(self, client: NodeClient, now_ms: Callable[[], int]) -> None:
        self.client = client
        self.away: Absence | None = None
        self.trouble: str | None = None
        self.genesis: Genesis | None = None
        self.status: Status | None = None
        self.blocks: list[BlockSummary] = []  # newest first, without gaps
        self.draw: Draw | None = None  # the next one
        self.candidates: list[Candidate] = []
        self.weighed_height = 0  # when everybody is weighed again
        self.convictions: list[Conviction] = []  # newest first
        self.peers: list[Peer] = []
        self.joins: list[JoinRequest] = []  # oldest first
        self.meter: str | None = None  # at the grid connection of the node's account
        self.readings: list[Reading] = []  # of that meter, newest period first
        self.on_change: Callable[[Part], None] = lambda parts: None
        self.on_event: Callable[[ClientEvent], None] = lambda event: None
        self._now_ms = now_ms
        self._marked = Part(0)
        self._wake = asyncio.Event()

    @property
    def utc_offset_minutes(self) -> int:
        """The chain's local time."""
        return 0 if self.genesis is None else self.genesis.parameters["utc_offset_minutes"]

    async def follow(self) -> None:
        """Takes the node's events for as long as the terminal runs."""
        try:
            async with aclosing(self.client.events()) as happenings:
                async for event in happenings:
                    self._take(event)
        except ApiProblem as problem:
            # What answers will never let us follow it: the screens say so and stay.
            self._take(Away(detail=str(problem), retry_in_ms=0))

    def _take(self, event: ClientEvent) -> None:
        if isinstance(event, Away):
            since_ms = self._now_ms() if self.away is None else self.away.since_ms
            self.away = Absence(since_ms, event.detail)
            self.on_change(Part(0))
        else:
            self.away = None
        self.mark(_TOUCHES.get(type(event), Part(0)))
        self.on_event(event)

    def mark(self, parts: Part) -> None:
        """Has the parts read again."""
        if parts:
            self._marked |= parts
            self._wake.set()

    async def read(self) -> None:
        """Reads what is marked, for as long as the terminal runs."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            parts, self._marked = self._marked, Part(0)
            try:
                for part in parts:
                    await self._read_part(part)
                self.trouble = None
            except ClientError as error:
                self._marked |= parts
                self.trouble = str(error)
            self.on_change(parts)

    async def _read_part(self, part: Part) -> None:
        if part is Part.STATUS:
            if self.genesis is None:
                self.genesis = await self.client.genesis()
            self.status = await self.client.status()
        elif part is Part.BLOCKS:
            await self._read_blocks()
        elif part is Part.DRAW:
            self.draw = await self.client.draw()
        elif part is Part.CANDIDATES:
            found = await self.client.candidates()
            self.candidates, self.weighed_height = found.candidates, found.weighed_height
        elif part is Part.PEERS:
            self.peers = (await self.client.peers()).peers
        elif part is Part.EVIDENCE:
            self.convictions = (await self.client.evidence()).convictions
        elif part is Part.JOINS:
            self.joins = (await self.client.join_requests()).requests
        elif part is Part.READINGS:
            await self._read_readings()

    async def _read_readings(self) -> None:
        """Of the meter at the grid connection of the account this node works for, if it has both."""
        if self.status is None or self.status.account is None:
            return
        if self.meter is None:
            meters = (await self.client.meters()).meters
            own = [meter for meter in meters if meter.owner.address == self.status.account.address]
            self.meter = next((meter.meter for meter in own if meter.role == "connection"), None)
        if self.meter is not None:
            self.readings = (await self.client.readings(self.meter, limit=KEPT_READINGS)).readings

    async def _read_blocks(self) -> None:
        """Prepends the blocks above the newest known one; starts anew if there are more than a page of them."""
        page = await self.client.blocks(limit=PAGE_BLOCKS)
        known = self.blocks[0].height if self.blocks else 0
        newer = [block for block in page.blocks if block.height > known]
        joined = bool(newer) and newer[-1].height == known + 1
        self.blocks = [*newer, *self.blocks][:KEPT_BLOCKS] if joined or not newer else list(page.blocks)

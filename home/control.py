"""Keeps the breaker's and the shedding's facts up to date, from the node: once for each reading, and at the start.

While the node is away the last decision stands: a breaker neither opens nor closes for want of news.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from home.breaker import Decision, Facts, decide
from ledger.contracts.templates import TEMPLATES, TemplateKind
from node import log
from node.client.client import NodeClient
from node.client.errors import ClientError
from node.clock import WallClock

LOOK_AGAIN_S: Final = 60.0


class Control:
    """``tell`` hears of each decision that differs from the one before, and of the template's order."""

    def __init__(
        self,
        client: NodeClient,
        meter: bytes,
        template: str,
        wall: WallClock,
        tell: Callable[[Decision, tuple[str, ...]], None],
    ) -> None:
        self._client = client
        self._meter = meter
        self._order = TEMPLATES[TemplateKind[template.upper()]].shedding
        self._wall = wall
        self._tell = tell
        self._due = trio.Event()
        self._log = log.get("breaker")
        self.decision: Decision | None = None

    def wake(self) -> None:
        """A period has ended."""
        self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._due = trio.Event()
            try:
                found = decide(await self._facts())
            except ClientError as error:
                self._log.debug("breaker stays as it is", detail=str(error))
            else:
                if found != self.decision:
                    self.decision = found
                    state = "open" if found.is_open else "closed"
                    self._log.info("breaker", state=state, shed=list(found.shed), reason=found.reason)
                    self._tell(found, self._order)
            with trio.move_on_after(LOOK_AGAIN_S):
                await self._due.wait()

    async def _facts(self) -> Facts:
        """Errors: ClientError."""
        client = self._client
        period_ms = (await client.parameters()).parameters["period_ms"]
        owner = (await client.meter(self._meter.hex())).owner
        member = await client.account(owner.address)
        feeder = None if member.member is None else member.member.feeder
        found = await client.feeder_headroom(self._wall() // period_ms)
        own = next((one for one in found.feeders if one.feeder == feeder), None)
        return Facts(
            overdue_uwatt=await self._overdue_uwatt(owner.address),
            used_wh=0 if own is None else own.into_wh,
            threshold_wh=0 if own is None else own.threshold_wh,
            limit_wh=0 if own is None else own.limit_wh,
            order=self._order,
        )

    async def _overdue_uwatt(self, address: str) -> int:
        """What the member's bills in arrears still ask. Errors: ClientError."""
        overdue_uwatt = 0
        after: str | None = None
        while True:
            page = await self._client.arrears(after=after)
            overdue_uwatt += sum(one.amount_uwatt for one in page.arrears if one.member.address == address)
            after = page.next_after
            if after is None:
                return overdue_uwatt

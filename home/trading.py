"""The autopilot at work: looks at the node, asks ``home.autopilot`` what to do, signs it, and says why.

1. Once for each reading taken: the newest view is put together from the node's API and the house's own history; what
   the autopilot decides is signed with the member's wallet and handed to the node; then its finality is waited for, so
   that the next view knows of it.
2. Nothing of an order is remembered here: own open orders and trades are read back from the node each time, so a
   restart changes nothing, and a person may trade beside it with the same wallet.
3. A refusal, by the node or in a block, is said with its word and is no end: the next view is a new one. While the node
   is away nothing is decided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
import trio

from home.autopilot import Action, Book, Limits, OpenOrder, Place, Terms, Totals, View, decide, terms_of
from home.history import History
from ledger.keys import SigningKey, address_text
from ledger.market.matching import Side
from ledger.parameters import Parameters
from ledger.transactions import CancelOrder, OrderReference, Payload, PlaceOrder
from node import log
from node.client import models
from node.client.client import NodeClient
from node.client.errors import ApiProblem, ClientError, NotFinal, UnexpectedAnswer
from node.client.wallet import sign_and_submit, wait_final
from node.clock import WallClock

BOOK_ORDERS: Final = 64
ORDERS_PAGE: Final = 500
SETTLED_PAGE: Final = 100
ACTIONS_KEPT: Final = 5
LONGEST_WAIT_S: Final = 60.0
MS_PER_HOUR: Final = 3_600_000
SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}


@dataclass(frozen=True, slots=True)
class Owner:
    """What the owner says. ``yearly_kwh`` None: not known. Of a battery nothing is said: the connection's registers,
    from which the forecast is made, are behind it.
    """

    limits: Limits
    yearly_kwh: int | None = None


class Done(msgspec.Struct, frozen=True):
    """One action and what became of it, for the log, MQTT and status. ``result``: ``final``, ``waits`` or the
    refusal.
    """

    time_ms: int
    action: str
    result: str

    @property
    def line(self) -> str:
        at = datetime.fromtimestamp(self.time_ms / 1000, UTC)
        return f"{at:%H:%M:%S} {self.action}" + ("" if self.result == "final" else f" [{self.result}]")


class Trader:
    """See the module's rules. ``tell`` hears of every action."""

    def __init__(
        self,
        client: NodeClient,
        wallet: SigningKey,
        meter: bytes,
        owner: Owner,
        history: History,
        wall: WallClock,
        tell: Callable[[Done], None],
    ) -> None:
        self._client = client
        self._wallet = wallet
        self._who = address_text(wallet.public_key)
        self._meter = meter
        self._owner = owner
        self._history = history
        self._wall = wall
        self._tell = tell
        self._log = log.get("autopilot")
        self._due = trio.Event()
        self._totals: dict[int, Totals] = {}
        self.state = "begins with the next reading"
        self.open_orders = 0
        self.last_actions: deque[str] = deque(maxlen=ACTIONS_KEPT)

    def wake(self) -> None:
        """A reading was taken."""
        self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            try:
                await self._once()
            except* ClientError as failures:
                self._say(f"waits: {first_of(failures)}", warn=True)

    async def _once(self) -> None:
        """Errors: ClientError."""
        view, parameters = await self._look()
        self.open_orders = len(view.open_orders)
        if self._owner.limits.enabled:
            actions = decide(view)
            self._say("trades", warn=False)
        else:
            actions = ()
            self._say("off: autopilot.enabled is false", warn=False)
        wait_s = min(LONGEST_WAIT_S, parameters.period_ms / 1000)
        with trio.move_on_after(wait_s):
            async with trio.open_nursery() as nursery:
                # One after the other: each takes the next number of the account. Their blocks are awaited together.
                for action in actions:
                    await self._act(action, nursery, wait_s)

    # -- acting

    async def _act(self, action: Action, nursery: trio.Nursery, wait_s: float) -> None:
        """Errors: ClientError that is no refusal."""
        try:
            transaction = await sign_and_submit(self._client, self._wallet, payload_of(action))
        except ApiProblem as problem:
            if problem.refusal is None:
                raise
            self._report(action, str(problem))
        else:
            nursery.start_soon(self._until_final, action, transaction.id.hex(), wait_s)

    async def _until_final(self, action: Action, transaction_id: str, wait_s: float) -> None:
        try:
            found = await wait_final(self._client, transaction_id, wait_s)
        except NotFinal:
            self._report(action, "waits for a block")
        except ClientError as error:
            self._report(action, f"handed over; {error}")
        else:
            self._report(action, "final" if found.refusal is None else f"refused: {found.refusal}")

    def _report(self, action: Action, result: str) -> None:
        done = Done(self._wall(), sentence(action), result)
        self.last_actions.append(done.line)
        refused = result.startswith("refused")
        (self._log.warning if refused else self._log.info)(done.action, result=result)
        self._tell(done)

    def _say(self, state: str, *, warn: bool) -> None:
        if state != self.state:
            self.state = state
            (self._log.warning if warn else self._log.info)("autopilot", state=state)

    # -- looking

    async def _look(self) -> tuple[View, Parameters]:
        """Errors: ClientError."""
        client, limits = self._client, self._owner.limits
        parameters = parameters_of(await client.parameters())
        terms = terms_of(parameters)
        meter = await client.meter(self._meter.hex())
        account = await client.account(self._who)
        positions = await client.positions(self._who)
        now_ms = self._wall()
        first = terms.next_open_period(now_ms)
        books = {period: await self._book(period) for period in range(first, first + limits.horizon_periods)}
        await self._hear_of_settled(terms)
        view = View(
            time_ms=now_ms,
            terms=terms,
            limits=limits,
            history=self._history.measured(),
            export_limit_wh=meter.export_nameplate_w * terms.metered_ms // MS_PER_HOUR,
            balance_uwatt=account.watt_uwatt,
            books=books,
            neighbourhood=dict(self._totals),
            net_sold_wh={one.period: one.net_wh for one in positions.positions},
            open_orders=await self._own_orders(),
            pool_price=await self._pool_price(first),
            yearly_kwh=self._owner.yearly_kwh,
        )
        return view, parameters

    async def _book(self, period: int) -> Book:
        """Of others only."""
        book = await self._client.book(period, depth=1, orders=BOOK_ORDERS)
        return Book(bids=self._others(book.bid_orders), asks=self._others(book.ask_orders))

    def _others(self, orders: list[models.Order]) -> tuple[tuple[int, int], ...]:
        return tuple((one.limit_uwatt_per_kwh, one.left_wh) for one in orders if one.account.address != self._who)

    async def _own_orders(self) -> tuple[OpenOrder, ...]:
        found: list[OpenOrder] = []
        after: str | None = None
        while True:
            page = await self._client.open_orders(self._who, after=after, limit=ORDERS_PAGE)
            found += [
                OpenOrder(one.period, one.number, SIDES[one.side], one.limit_uwatt_per_kwh, one.left_wh)
                for one in page.orders
            ]
            after = page.next_after
            if after is None:
                return tuple(found)

    async def _pool_price(self, period: int) -> int | None:
        """Of the sharing pool in which the home takes part then. Errors: ClientError."""
        for pool in (await self._client.agreements(self._who)).pools:
            for one in pool.members:
                begun = one.from_period <= period and (one.until_period is None or period < one.until_period)
                if one.member.address == self._who and one.willing and begun:
                    return pool.price_uwatt_per_kwh
        return None

    async def _hear_of_settled(self, terms: Terms) -> None:
        """Brings ``_totals`` up to date: the settled periods of the last day."""
        newest = max(self._totals, default=-1)
        before: int | None = None
        while True:
            page = await self._client.settled_periods(before=before, limit=SETTLED_PAGE)
            for one in page.settled:
                self._totals[one.period] = Totals(export_wh=one.export_wh, import_wh=one.import_wh)
            before = page.next_before
            if before is None or before <= newest or page.next_settled_period - before > terms.periods_per_day:
                break
        oldest = max(self._totals, default=0) - terms.periods_per_day
        self._totals = {period: totals for period, totals in self._totals.items() if period >= oldest}


def first_of(failures: BaseExceptionGroup[ClientError]) -> ClientError:
    """Of a group of groups."""
    first = failures.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def parameters_of(found: models.ParameterList) -> Parameters:
    """Errors: UnexpectedAnswer, of a node that knows fewer."""
    missing = [name for name in Parameters.__struct_fields__ if name not in found.parameters]
    if missing:
        raise UnexpectedAnswer(f"the node does not say the parameter {missing[0]}: it is older than this home")
    return Parameters(**{name: found.parameters[name] for name in Parameters.__struct_fields__})


def payload_of(action: Action) -> Payload:
    if isinstance(action, Place):
        return PlaceOrder(int(action.side), action.periods, action.energy_wh, action.limit_uwatt_per_kwh)
    return CancelOrder(tuple(OrderReference(period, number) for period, number in action.orders))


def sentence(action: Action) -> str:
    """One line: what, and why."""
    if not isinstance(action, Place):
        return f"takes out {len(action.orders)} order{'s' * (len(action.orders) != 1)}: {action.reason}"
    return action.reason

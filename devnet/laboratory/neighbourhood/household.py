"""One home: its meter, which signs a reading for each period, and its autopilot, whose actions it signs.

1. The meter reads at the end of each period; the reading goes into the block of that moment.
2. The autopilot is asked once an hour, a quarter of the homes in each quarter hour, right after that block: its orders
   go into the next one. So it never knows a period that has not ended: of what it orders for at that moment, the first
   period begins a quarter hour later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from devnet.laboratory.neighbourhood.founding import Resident
from home.autopilot.forecast import HISTORY_DAYS, WINDOW
from home.autopilot.strategy import decide
from home.autopilot.types import Book, Cancel, Limits, Measured, OpenOrder, Place, Terms, Totals, View
from home.profiles.series import ConnectionMeter
from ledger.balances import get_account
from ledger.execution import get_tip
from ledger.market.matching import Side
from ledger.market.open_orders import get_order, get_position
from ledger.market.terms import period_energy_wh
from ledger.parameters import Parameters
from ledger.records import OWN_ORDERS
from ledger.state import State
from ledger.transactions import (
    CancelOrder,
    OrderReference,
    Payload,
    PlaceOrder,
    SubmitReading,
    Transaction,
    sign_transaction,
)

VALID_BLOCKS: Final = 8
HORIZON_PERIODS: Final = 4


class Household:
    """See the module's rules. ``first_period`` is the chain's."""

    def __init__(
        self, resident: Resident, chain: bytes, parameters: Parameters, terms: Terms, first_period: int
    ) -> None:
        self.resident = resident
        self.history: list[Measured] = []
        self._registers = ConnectionMeter(resident.house)
        self._chain = chain
        self._parameters = parameters
        self._terms = terms
        self._first_period = first_period
        self._nonce = 0
        self._remembered = (HISTORY_DAYS + 1) * terms.periods_per_day + WINDOW

    def measure(self, period: int) -> Transaction:
        """The signed reading of ``period``, the one after the last measured."""
        samples = period - self._first_period + 1
        before, now = self._registers.registers(samples - 1), self._registers.registers(samples)
        house = self.resident.house
        produced_wh = house.production_wh(samples) - house.production_wh(samples - 1)
        drawn_wh, fed_in_wh = now.import_wh - before.import_wh, now.export_wh - before.export_wh
        self.history.append(Measured(period, drawn_wh, fed_in_wh, max(produced_wh, fed_in_wh)))
        payload = SubmitReading(
            period=period,
            import_wh=now.import_wh,
            export_wh=now.export_wh,
            sampled_at_ms=(period + 1) * self._terms.period_ms,
            phases=(),
            samples_root=None,
        )
        return sign_transaction(self.resident.meter, self._chain, payload)

    def is_due(self, period: int) -> bool:
        return (period + self.resident.number) % HORIZON_PERIODS == 0

    def act(
        self, state: State, books: Mapping[int, Book], neighbourhood: Mapping[int, Totals], pool_price: int | None
    ) -> Iterator[Transaction]:
        """What the autopilot does now, signed."""
        height = get_tip(state).height
        for action in decide(self.view(state, books, neighbourhood, pool_price)):
            yield self.sign(_payload(action), height + VALID_BLOCKS)

    def sign(self, payload: Payload, valid_until_height: int) -> Transaction:
        """By the account, with its next nonce."""
        transaction = sign_transaction(
            self.resident.account,
            self._chain,
            payload,
            nonce=self._nonce,
            fee_uwatt=self._parameters.minimum_fee_uwatt,
            valid_until_height=valid_until_height,
        )
        self._nonce += 1
        return transaction

    def view(
        self, state: State, books: Mapping[int, Book], neighbourhood: Mapping[int, Totals], pool_price: int | None
    ) -> View:
        """All that the home knows at this moment."""
        account, time_ms = self.resident.id, get_tip(state).time_ms
        first = self._terms.next_open_period(time_ms)
        positions = ((period, get_position(state, period, account)) for period in range(first, first + HORIZON_PERIODS))
        return View(
            time_ms=time_ms,
            terms=self._terms,
            limits=Limits(horizon_periods=HORIZON_PERIODS),
            history=tuple(self.history[-self._remembered :]),
            export_limit_wh=period_energy_wh(self._parameters, self.resident.house.peak_watt),
            balance_uwatt=get_account(state, account).watt_uwatt,
            books=books,
            neighbourhood=neighbourhood,
            net_sold_wh={period: position.sold_wh - position.bought_wh for period, position in positions},
            open_orders=tuple(_open_orders(state, account, first)),
            pool_price=pool_price,
            yearly_kwh=self.resident.house.yearly_kwh,
        )


def _open_orders(state: State, account: bytes, first: int) -> Iterator[OpenOrder]:
    for key, own in OWN_ORDERS.scan(state, account):
        period, number = (int.from_bytes(part, "big") for part in (key[-16:-8], key[-8:]))
        if period >= first:
            side = Side(own.side)
            order = get_order(state, period, side, own.limit, number)
            yield OpenOrder(period, number, side, own.limit, order.left_wh)


def _payload(action: Place | Cancel) -> Payload:
    if isinstance(action, Cancel):
        return CancelOrder(orders=tuple(OrderReference(period, number) for period, number in action.orders))
    return PlaceOrder(
        side=int(action.side),
        periods=action.periods,
        energy_wh=action.energy_wh,
        limit_uwatt_per_kwh=action.limit_uwatt_per_kwh,
    )

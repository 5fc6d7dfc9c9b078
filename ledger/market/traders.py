"""Who may agree on energy, and how much a connection can sell.

1. A member with a connection meter that is not suspended, and not the gateway; without a gateway nobody, since nothing
   could be settled.
2. What a member sold less what it bought on the market, what it offers there, and the limits of the contracts it sells
   under are, for each period, at most what its export nameplate allows in it. Contracts count in the periods in which
   they can deliver.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.contracts.standing import offered_wh
from ledger.execution import Execution
from ledger.market.grid_fee import Place
from ledger.market.open_orders import get_position
from ledger.market.terms import gateway_of, period_energy_wh, place_of
from ledger.records import MEMBERS, Member
from ledger.refusal import Refusal, TransactionRefused
from ledger.registry import connection_meter


@dataclass(frozen=True, slots=True)
class Trader:
    """``export_limit_wh`` is what the connection can export in a period."""

    account: bytes
    place: Place
    export_limit_wh: int


def require_trader(execution: Execution, account: bytes) -> Trader:
    """Errors: TransactionRefused NOT_A_MEMBER, NO_GATEWAY, GATEWAY_DOES_NOT_TRADE, NO_CONNECTION_METER,
    METER_SUSPENDED.
    """
    state = execution.state
    member = MEMBERS.get(state, account)
    if member is None:
        raise TransactionRefused(Refusal.NOT_A_MEMBER, "only members trade energy")
    gateway = gateway_of(state)
    if gateway is None:
        raise TransactionRefused(Refusal.NO_GATEWAY, "nothing can be settled before a gateway is registered")
    if gateway == account:
        raise TransactionRefused(
            Refusal.GATEWAY_DOES_NOT_TRADE, "the gateway buys and sells at its tariffs, at settlement"
        )
    return Trader(account, place_of(state, member), _export_limit_wh(execution, member))


def require_nameplate(
    execution: Execution, trader: Trader, period: int, energy_wh: int, contracts_wh: int | None = None
) -> None:
    """Whether ``energy_wh`` more may be offered for the period; nothing of it is in the state yet. ``contracts_wh``:
    what the trader may have to deliver under contracts, where the caller knows it. Errors: TransactionRefused
    BEYOND_NAMEPLATE.
    """
    position = get_position(execution.state, period, trader.account)
    sold_wh = position.sold_wh - position.bought_wh
    if contracts_wh is None:
        contracts_wh = offered_wh(execution.state, execution.parameters, trader.account, period)
    if sold_wh + position.open_sell_wh + contracts_wh + energy_wh > trader.export_limit_wh:
        raise TransactionRefused(
            Refusal.BEYOND_NAMEPLATE,
            f"{energy_wh} Wh, with {sold_wh} Wh sold, {position.open_sell_wh} Wh offered and {contracts_wh} Wh under "
            f"contract in period {period}; the export nameplate allows {trader.export_limit_wh} Wh",
        )


def _export_limit_wh(execution: Execution, member: Member) -> int:
    """Errors: TransactionRefused NO_CONNECTION_METER, METER_SUSPENDED."""
    connection = connection_meter(execution.state, member)
    if connection is None:
        raise TransactionRefused(
            Refusal.NO_CONNECTION_METER, "without a connection meter nothing that is agreed on can be settled"
        )
    if connection[1].suspended:
        raise TransactionRefused(Refusal.METER_SUSPENDED, "the connection meter signed two readings for one period")
    return period_energy_wh(execution.parameters, connection[1].export_nameplate_w)

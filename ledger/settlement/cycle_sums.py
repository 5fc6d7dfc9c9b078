"""What a billing cycle comes to for each of its members, summed up while it is settled: what bills are made of.

1. ``add_lines`` goes with every line that is recorded, ``add_period`` and ``add_correction`` with the energy behind it.
2. Lines of trades and shortfalls are paid from escrow; every other leaves two claims, of the amount with the creditor
   and of the grid fee with the gateway, each kept from both sides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from ledger.market.terms import gateway_of
from ledger.records import CLAIMS, CYCLE_MEMBERS, Claim, CycleMember, height_key
from ledger.settlement.comparison import sharing_costs, utility_costs
from ledger.settlement.settle import Line, Period
from ledger.settlement.titles import PAID_FROM_ESCROW
from ledger.state import State

_NOTHING: Final = CycleMember()
_NO_CLAIM: Final = Claim()


class _Flow:
    """What lines add to one member."""

    __slots__ = ("delivered_wh", "paid_uwatt", "received_uwatt", "received_wh")

    def __init__(self) -> None:
        self.received_wh = self.delivered_wh = self.paid_uwatt = self.received_uwatt = 0


def add_lines(state: State, cycle: int, lines: Iterable[Line]) -> None:
    gateway = gateway_of(state)
    assert gateway is not None, "without a gateway nobody owes anything"
    flows: dict[bytes, _Flow] = defaultdict(_Flow)
    owed: dict[tuple[bytes, bytes], int] = defaultdict(int)
    for line in lines:
        debtor, creditor = flows[line.debtor], flows[line.creditor]
        debtor.received_wh += line.energy_wh
        creditor.delivered_wh += line.energy_wh
        if line.title in PAID_FROM_ESCROW:
            debtor.paid_uwatt += line.amount_uwatt + line.fee_uwatt
            creditor.received_uwatt += line.amount_uwatt
            flows[gateway].received_uwatt += line.fee_uwatt
        else:
            owed[line.debtor, line.creditor] += line.amount_uwatt
            if line.fee_uwatt:
                assert line.debtor != gateway
                owed[line.debtor, gateway] += line.fee_uwatt
                flows[gateway]  # it is billed too
    for member, flow in flows.items():
        before = _get(state, cycle, member)
        after = replace(
            before,
            received_wh=before.received_wh + flow.received_wh,
            delivered_wh=before.delivered_wh + flow.delivered_wh,
            escrow_paid_uwatt=before.escrow_paid_uwatt + flow.paid_uwatt,
            escrow_received_uwatt=before.escrow_received_uwatt + flow.received_uwatt,
        )
        CYCLE_MEMBERS.put(state, after, height_key(cycle), member)
    _add_claims(state, cycle, owed)


def add_period(state: State, cycle: int, period: Period) -> None:
    """Energy and comparisons of one settled period."""
    utility, sharing = utility_costs(period), sharing_costs(period)
    for member, connection in period.connections.items():
        before = _get(state, cycle, member)
        after = replace(
            before,
            periods=before.periods + 1,
            estimated_periods=before.estimated_periods + (not connection.metered),
            import_wh=before.import_wh + connection.import_wh,
            export_wh=before.export_wh + connection.export_wh,
            utility_cost_uwatt=before.utility_cost_uwatt + utility[member],
            sharing_cost_uwatt=before.sharing_cost_uwatt + sharing[member],
        )
        CYCLE_MEMBERS.put(state, after, height_key(cycle), member)


def add_correction(state: State, cycle: int, member: bytes, *, import_wh: int, export_wh: int, cost_uwatt: int) -> None:
    """What a late reading adds to what was settled by estimate; any of it may be negative."""
    before = _get(state, cycle, member)
    after = replace(
        before,
        import_wh=before.import_wh + import_wh,
        export_wh=before.export_wh + export_wh,
        utility_cost_uwatt=before.utility_cost_uwatt + cost_uwatt,
        sharing_cost_uwatt=before.sharing_cost_uwatt + cost_uwatt,
    )
    CYCLE_MEMBERS.put(state, after, height_key(cycle), member)


def _get(state: State, cycle: int, member: bytes) -> CycleMember:
    return CYCLE_MEMBERS.get(state, height_key(cycle), member) or _NOTHING


def _add_claims(state: State, cycle: int, owed: Mapping[tuple[bytes, bytes], int]) -> None:
    for one, another in dict.fromkeys((min(parties), max(parties)) for parties in owed):
        for member, other in ((one, another), (another, one)):
            place = (height_key(cycle), member, other)
            before = CLAIMS.get(state, *place) or _NO_CLAIM
            claim = Claim(
                owed_uwatt=before.owed_uwatt + owed.get((member, other), 0),
                due_uwatt=before.due_uwatt + owed.get((other, member), 0),
            )
            CLAIMS.put(state, claim, *place)

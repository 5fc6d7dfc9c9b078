"""What a period would have cost a member otherwise: with the utility alone, and with a plain sharing key.

Both are costs less earnings, in uwatt, from the energy that was metered or estimated:

1. The utility alone sells all that is taken out at retail, and buys all that is fed in at feed-in.
2. The plain sharing key is one pool of everybody and no market. Who fed in at least as much as it took out shares what
   it fed in among the others, in proportion to what they took out, nearest first, at the mean of retail and feed-in
   rounded down to the tick; the grid fee is paid on it as on any local energy, without congestion. The utility does the
   rest. Who is silent has no part in it.
3. A reading that came late changes both by what it would have changed had the member neither traded nor had contracts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ledger.market.grid_fee import amount_uwatt, to_tick
from ledger.settlement.residual import Correction, Gap, Silent, gap_reading, late_reading
from ledger.settlement.settle import Period, Pool, PoolRule, settle

_POOL_NUMBER: Final = 1


def utility_costs(period: Period) -> dict[bytes, int]:
    """By member."""
    tariff = period.tariff
    return {
        member: amount_uwatt(one.import_wh, tariff.retail) - amount_uwatt(one.export_wh, tariff.feed_in)
        for member, one in period.connections.items()
    }


def sharing_costs(period: Period) -> dict[bytes, int]:
    """By member."""
    metered = {member: one for member, one in period.connections.items() if one.metered}
    producers = frozenset(member for member, one in metered.items() if one.export_wh >= one.import_wh)
    pool = Pool(
        number=_POOL_NUMBER,
        producers=producers,
        shares_bps=dict.fromkeys((member for member in metered if member not in producers), 0),
        rule=PoolRule.PROPORTIONAL,
        price=to_tick((period.tariff.retail + period.tariff.feed_in) // 2),
    )
    shared = replace(period, offers=(), trades=(), systems=(), pools=(pool,), congested=frozenset())
    costs = dict.fromkeys(period.connections, 0)
    for line in settle(shared).lines:
        if line.debtor in costs:
            costs[line.debtor] += line.amount_uwatt + line.fee_uwatt
        if line.creditor in costs:
            costs[line.creditor] -= line.amount_uwatt
    return costs


def late_cost(silent: Silent, export_wh: int, import_wh: int) -> int:
    """What the reading of exactly this period adds to both."""
    plain = replace(silent, net_wh=0, offered_wh=0, wanted_wh=0)
    return _cost(late_reading(plain, export_wh, import_wh))


def gap_cost(gap: Gap, export_wh: int, import_wh: int) -> int:
    """What a reading that covers all periods of ``gap`` adds to both."""
    return _cost(gap_reading(replace(gap, matched_wh=0), export_wh, import_wh))


def _cost(corrections: list[Correction]) -> int:
    """Amounts are rounded as those of the lines are: towards zero."""
    amounts = (amount_uwatt(abs(one.energy_wh), one.price) * (1 if one.energy_wh > 0 else -1) for one in corrections)
    return sum(amounts)

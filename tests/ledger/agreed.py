"""A street whose members have agreements: what pools and contracts are tested on.

It is six in the morning of a Tuesday in ``FIRST_PERIOD``, so that residential contracts deliver at their plain price.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ledger.agreements import PoolShare, PreferredPrice
from ledger.genesis import GenesisFeeder
from ledger.market.terms import closing_ms
from ledger.records import BILL_LINES, LineKind
from ledger.refusal import Refusal
from ledger.settlement.lines import next_period
from ledger.settlement.titles import Title
from ledger.transactions import OfferContract, OpenPool, Payload, SubscribeContract
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    NAMES,
    PARAMETERS,
    PERIOD_MS,
    UTILITY,
    Neighbourhood,
    account_key,
    make_genesis,
)

NEXT: Final = FIRST_PERIOD + 1
FEE: Final = 24_000  # on one feeder
SIX_IN_THE_MORNING: Final = replace(PARAMETERS, utc_offset_minutes=840)
RICH_UGRID: Final = 3_000_000_000
PERIODS: Final = 10
NAME_OF: Final = {account_key(name).public_key: name for name in (*NAMES, UTILITY, "dora")}


def key(name: str) -> bytes:
    return account_key(name).public_key


def street(grid_ugrid: int = RICH_UGRID, **genesis: Any) -> Neighbourhood:
    terms: dict[str, Any] = {
        "with_gateway": True,
        "parameters": SIX_IN_THE_MORNING,
        "feeders": (GenesisFeeder("feeder-1", "substation-1"),),
    }
    made = make_genesis(**terms | genesis)
    members = tuple(
        member if member.name == UTILITY else replace(member, grid_ugrid=grid_ugrid) for member in made.members
    )
    supply = sum(member.grid_ugrid for member in members) + made.grid_reserve_ugrid
    return Neighbourhood(replace(made, members=members, grid_supply_ugrid=supply))


def do(made: Neighbourhood, name: str, payload: Payload) -> Refusal | None:
    """In a block of its own, 1 ms later, so that gates stay open."""
    return made.refusal(made.sign(name, payload), after_ms=1, producer="carla")


def do_at_gate(made: Neighbourhood, name: str, payload: Payload, early_ms: int, period: int = NEXT) -> Refusal | None:
    """In a block so long before the period's gate closes."""
    at_ms = closing_ms(made.parameters, period) - early_ms
    return made.refusal(made.sign(name, payload), after_ms=at_ms - made.time_ms, producer="carla")


def pool(*shares: tuple[str, int], rule: int = 3, price: int = 100_000, roles: int = 1) -> OpenPool:
    return OpenPool(
        name="roof",
        roles=roles,
        rule=rule,
        price_uwatt_per_kwh=price,
        shares=tuple(PoolShare(account=key(name), share_bps=bps) for name, bps in shares),
    )


def offer(
    limit_wh: int = 500,
    price: int | None = 150_000,
    *,
    template: int = 1,
    start: int = NEXT,
    end: int = NEXT + PERIODS,
    preferred: dict[str, int] | None = None,
) -> OfferContract:
    return OfferContract(
        template=template,
        limit_wh=limit_wh,
        start_period=start,
        end_period=end,
        price_uwatt_per_kwh=price,
        preferred=tuple(
            PreferredPrice(account=key(name), price_uwatt_per_kwh=own) for name, own in (preferred or {}).items()
        ),
    )


def subscription(limit_wh: int = 500, number: int = 1, limit: int = 150_000) -> SubscribeContract:
    return SubscribeContract(offer=number, limit_wh=limit_wh, limit_uwatt_per_kwh=limit)


def spent_uwatt(made: Neighbourhood, name: str) -> int:
    """Without the fees of the transactions."""
    account = made.account(name)
    return 1_000_000_000 - account.watt_uwatt - 1_000 * account.nonce


def staked_ugrid(made: Neighbourhood, name: str) -> int:
    return RICH_UGRID - made.account(name).grid_ugrid


def meter(made: Neighbourhood, period: int, **energies_wh: tuple[int, int]) -> None:
    """Everybody's readings up to ``period`` with (export, import) in that one and nothing before; then it is
    settled.
    """
    made.time_ms = max(made.time_ms, (period + 1) * PERIOD_MS)
    before = [made.reading(name, period - 1, 0, 0) for name in energies_wh]
    now = [made.reading(name, period, import_wh, export_wh) for name, (export_wh, import_wh) in energies_wh.items()]
    made.block(*before, *now, producer="carla")
    settle_up_to(made, period)


def settle_up_to(made: Neighbourhood, period: int) -> None:
    """Empty blocks until the period is settled."""
    made.time_ms = max(made.time_ms, (period + 1) * PERIOD_MS)
    while next_period(made.state) <= period:
        made.block(producer="carla")


def lines(made: Neighbourhood, *titles: Title) -> list[tuple[Title, str, str, int, int, int]]:
    """(title, debtor, creditor, Wh, uwatt, grid fee) of metered lines, of these titles or of all."""
    found = []
    for place, line in BILL_LINES.scan(made.state):
        title = Title(place[72])
        if place[81] == LineKind.METERED and (not titles or title in titles):
            parties = NAME_OF[place[8:40]], NAME_OF[place[40:72]]
            found.append((title, *parties, line.energy_wh, line.amount_uwatt, line.fee_uwatt))
    return sorted(found)

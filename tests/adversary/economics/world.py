"""A street on a real ledger where somebody tries to gain: what happens goes through blocks, and at the end everybody's
money is counted.

An attack is a story told twice, with the same energy through the same connections: once as honest people would have it
and once with the trick. Whoever is in on it is one purse. ``World.purse_uwatt`` counts tokens and, for what was settled
and not yet paid, claims less debts; blocks are made by a home that is in on nothing, so that fees are lost to all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from ledger.genesis import GenesisFeeder
from ledger.parameters import Parameters
from ledger.records import BILL_LINES, MARKET_PERIODS, ORDERS, SETTLED_PERIODS, BillLine, LineKind, height_key
from ledger.refusal import Refusal
from ledger.settlement.lines import next_period
from ledger.settlement.titles import PAID_FROM_ESCROW, Title
from ledger.transactions import Payload, PlaceOrder, Transaction
from tests.ledger.neighbourhood import (
    PARAMETERS,
    PERIOD_MS,
    UTILITY,
    Neighbourhood,
    account_key,
    make_genesis,
)

RETAIL, FEED_IN = PARAMETERS.retail_uwatt_per_kwh, PARAMETERS.feed_in_uwatt_per_kwh
SAME_FEEDER_FEE: Final = 24_000
SAME_SUBSTATION_FEE: Final = 32_000
CONGESTED_FEE: Final = 52_000
"""Grid fee rates of the default tariff, uwatt per kWh; the last within a substation."""
FEE_UWATT: Final = 1_000
HOMES: Final = ("anne", "bob", "carla", "george")
PRODUCER: Final = "anne"
ONE_FEEDER: Final = (GenesisFeeder("feeder-1", "substation-1", 400_000),)
TWO_FEEDERS: Final = (*ONE_FEEDER, GenesisFeeder("feeder-2", "substation-1", 400_000))
STEP_MS: Final = 50
GRID_UGRID: Final = 3_000_000_000
"""Enough for the stake of any contract."""
SIX_IN_THE_MORNING: Final = replace(PARAMETERS, utc_offset_minutes=840)
"""For some hours residential contracts deliver at their plain price."""
BUY, SELL = 1, 2


class World:
    """Homes without nodes of their own keep the voting tokens they are given; anne has one, makes the blocks and takes
    no part. Homes alternate between the feeders.
    """

    def __init__(
        self,
        *,
        homes: tuple[str, ...] = HOMES,
        feeders: tuple[GenesisFeeder, ...] = ONE_FEEDER,
        storage_wh: int = 0,
        parameters: Parameters = PARAMETERS,
        **changed: int,
    ) -> None:
        genesis = make_genesis(
            homes,
            replace(parameters, **{"forward_periods": 96} | changed),
            without_node=homes[1:],
            storage_wh=storage_wh,
            with_gateway=True,
            feeders=feeders,
        )
        members = tuple(
            member if member.name == UTILITY else replace(member, grid_ugrid=GRID_UGRID) for member in genesis.members
        )
        supply = len(homes) * GRID_UGRID + genesis.grid_reserve_ugrid
        self.street = Neighbourhood(replace(genesis, members=members, grid_supply_ugrid=supply))
        self.homes = homes
        self.registers = dict.fromkeys(homes, (0, 0))
        self.withheld: dict[str, list[Transaction]] = {home: [] for home in homes}

    @property
    def running(self) -> int:
        """The period that runs."""
        return self.street.time_ms // PERIOD_MS

    def act(self, name: str, payload: Payload) -> Refusal | None:
        """One transaction in a block of its own."""
        return self.street.refusal(self.street.sign(name, payload), producer=PRODUCER, after_ms=STEP_MS)

    def done(self, name: str, payload: Payload) -> None:
        refused = self.act(name, payload)
        assert refused is None, f"{name}: {refused}"

    def order(self, name: str, side: int, period: int, energy_wh: int, price: int) -> Refusal | None:
        return self.act(name, PlaceOrder(side, (period,), energy_wh, price))

    def trade(self, seller: str, buyer: str, period: int, energy_wh: int, price: int) -> None:
        """The buyer takes what the seller offers, with nobody in between."""
        assert self.order(seller, SELL, period, energy_wh, price) is None
        assert self.order(buyer, BUY, period, energy_wh, price) is None

    def pass_period(
        self, energies: Mapping[str, tuple[int, int]] | None = None, *, withhold: Collection[str] = ()
    ) -> int:
        """Lets the period that runs end, with (import, export) Wh of those who have any. Everybody's reading is in the
        next block but those of ``withhold``, which are kept. Returns the period.
        """
        period = self.running
        self.street.time_ms = (period + 1) * PERIOD_MS
        sent = []
        for home in self.homes:
            import_wh, export_wh = (energies or {}).get(home, (0, 0))
            self.registers[home] = self.registers[home][0] + import_wh, self.registers[home][1] + export_wh
            reading = self.street.reading(home, period, *self.registers[home])
            if home in withhold:
                self.withheld[home].append(reading)
            else:
                sent.append(reading)
        self.street.block(*sent, producer=PRODUCER, after_ms=STEP_MS)
        return period

    def bring_to_light(self, home: str, *, all_of_them: bool = False) -> None:
        """Submits the last reading that was withheld, or all of them."""
        readings, self.withheld[home] = self.withheld[home], []
        self.street.block(*(readings if all_of_them else readings[-1:]), producer=PRODUCER, after_ms=STEP_MS)

    def settle(self, period: int) -> None:
        """Empty blocks until the period is settled."""
        while next_period(self.street.state) <= period:
            self.street.block(producer=PRODUCER, after_ms=2_000)

    def purse_uwatt(self, *names: str) -> int:
        """What these people have together, once nothing is open any more."""
        state = self.street.state
        assert not list(ORDERS.scan(state)), "an order is open"
        assert not any(market.escrow_uwatt for _, market in MARKET_PERIODS.scan(state)), "a trade is not settled"
        accounts = {account_key(name).public_key for name in names}
        total = sum(self.street.account(name).watt_uwatt for name in names)
        for debtor, creditor, title, _, line in self.lines():
            if title in PAID_FROM_ESCROW:
                continue
            total += line.amount_uwatt * (creditor in accounts) - line.amount_uwatt * (debtor in accounts)
            total -= line.fee_uwatt * (debtor in accounts)
            if account_key(UTILITY).public_key in accounts:
                total += line.fee_uwatt
        return total

    def votes_mvote(self, *names: str) -> int:
        return sum(self.street.account(name).votes_mvote for name in names)

    def lines(self) -> Iterable[tuple[bytes, bytes, Title, LineKind, BillLine]]:
        """(debtor, creditor, title, kind, sums) of all cycles."""
        for key, line in BILL_LINES.scan(self.street.state):
            yield key[8:40], key[40:72], Title(key[72]), LineKind(key[81]), line

    def grid_fees_uwatt(self) -> int:
        return sum(line.fee_uwatt for *_, line in self.lines())

    def minted_mvote(self, period: int) -> int:
        """What the period minted, late readings left out."""
        found = SETTLED_PERIODS.get(self.street.state, height_key(period))
        assert found is not None
        return found.minted_mvote


def kwh(energy_wh: int, price: int) -> int:
    """What energy costs at a price per kWh; exact where the tests use it."""
    amount, rest = divmod(energy_wh * price, 1_000)
    assert rest == 0
    return amount

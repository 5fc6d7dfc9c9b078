"""What a run came to: energies, prices, and what each home saved against the utility.

1. *Alone* a home uses of its production what it needs at that moment; *pooled* the neighbourhood uses all that anyone
   has over and anyone lacks in the same period: Σ min(Σ E, Σ I). *With the market* it is what settlement certified as
   having gone from one member to another. Self-sufficiency is that, own use included, over the consumption;
   self-consumption the same over the production.
2. A home's bill is what its settlement lines come to, grid fees included: what the chain's bills are made of. Its
   saving is what the utility alone would have cost, imports at retail less exports at feed-in, less that bill and less
   the fees of its transactions. Fees go to the producers of blocks, who are homes too: what a home earned so is counted
   apart, not as a saving.
3. ``conservation`` is what does not balance, in Wh and uwatt together: the gateway's energy against all registers, and
   all lines against each other. It is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from devnet.laboratory.neighbourhood.founding import Resident
from devnet.laboratory.neighbourhood.setting import Setting
from home.autopilot.types import Measured
from ledger.market.grid_fee import amount_uwatt
from ledger.records import BILL_LINES, MARKET_PERIODS, SETTLED_PERIODS, height_key
from ledger.state import State

UWATT_PER_WATT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """One settled period; energies in Wh, ``price`` the mean of its trades in uwatt per kWh, None without any."""

    period: int
    export_wh: int
    import_wh: int
    trade_wh: int
    pool_wh: int
    fed_in_wh: int
    excess_wh: int
    drawn_wh: int
    shortfall_wh: int
    certified_wh: int
    price: int | None

    @property
    def poolable_wh(self) -> int:
        return min(self.export_wh, self.import_wh)


@dataclass(frozen=True, slots=True)
class HomeFigures:
    """One home over the whole run; money in uwatt, positive where the home pays."""

    name: str
    load_wh: int
    production_wh: int
    import_wh: int
    export_wh: int
    utility_uwatt: int
    bill_uwatt: int
    fees_uwatt: int
    earned_uwatt: int

    @property
    def saving_uwatt(self) -> int:
        return self.utility_uwatt - self.bill_uwatt - self.fees_uwatt


@dataclass(frozen=True, slots=True)
class Shares:
    """Three ways of living, each 0 … 1."""

    alone: float
    market: float
    pooled: float


@dataclass(frozen=True, slots=True)
class Figures:
    """See the module's rules. ``own_use_wh``: by period, what the homes used of their own production. ``transactions``
    by kind, ``refused`` by reason.
    """

    setting: Setting
    homes: tuple[HomeFigures, ...]
    periods: tuple[PeriodFigures, ...]
    own_use_wh: tuple[int, ...]
    pool_price: int | None
    transactions: Mapping[str, int]
    refused: Mapping[str, int]
    blocks: int
    conservation: int
    wall_seconds: float
    cpu_seconds: float

    @property
    def self_sufficiency(self) -> Shares:
        return self._shares(sum(home.load_wh for home in self.homes))

    @property
    def self_consumption(self) -> Shares:
        return self._shares(sum(home.production_wh for home in self.homes))

    @property
    def gain(self) -> float:
        """The part of what perfect pooling yields over living alone that the market reached; 1 if that is nothing."""
        poolable_wh = sum(period.poolable_wh for period in self.periods)
        return sum(period.certified_wh for period in self.periods) / poolable_wh if poolable_wh else 1.0

    @property
    def savings_watt(self) -> list[float]:
        """By home, WATT."""
        return [home.saving_uwatt / UWATT_PER_WATT for home in self.homes]

    @property
    def cpu_seconds_per_day(self) -> float:
        return self.cpu_seconds / self.setting.days

    def as_json(self) -> dict[str, object]:
        """What ``ecloud lab neighbourhood --json`` prints; savings in WATT."""
        savings = self.savings_watt
        return {
            "self_sufficiency": _rounded(self.self_sufficiency),
            "self_consumption": _rounded(self.self_consumption),
            "gain": round(self.gain, 4),
            "saving_per_home": {"min": round(min(savings), 4), "mean": round(fmean(savings), 4)},
            "homes": self.setting.homes,
            "pv": self.setting.pv,
            "days": self.setting.days,
            "seed": self.setting.seed,
            "blocks": self.blocks,
            "transactions": dict(self.transactions),
            "refused": dict(self.refused),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "wall_seconds": round(self.wall_seconds, 2),
            "conservation": self.conservation,
        }

    def _shares(self, whole_wh: int) -> Shares:
        own_wh = sum(self.own_use_wh)
        certified_wh = sum(period.certified_wh for period in self.periods)
        poolable_wh = sum(period.poolable_wh for period in self.periods)
        if not whole_wh:
            return Shares(0.0, 0.0, 0.0)
        return Shares(own_wh / whole_wh, (own_wh + certified_wh) / whole_wh, (own_wh + poolable_wh) / whole_wh)


def period_figures(state: State, period: int) -> PeriodFigures:
    """Of a period that has been settled."""
    settled = SETTLED_PERIODS.get(state, height_key(period))
    assert settled is not None
    market = MARKET_PERIODS.get(state, height_key(period))
    price = market.value_uwatt * 1_000 // market.energy_wh if market is not None and market.energy_wh else None
    return PeriodFigures(
        period=period,
        export_wh=settled.export_wh,
        import_wh=settled.import_wh,
        trade_wh=settled.trade_wh,
        pool_wh=settled.pool_wh,
        fed_in_wh=settled.fed_in_wh,
        excess_wh=settled.excess_wh,
        drawn_wh=settled.drawn_wh,
        shortfall_wh=settled.shortfall_wh,
        certified_wh=settled.certified_wh,
        price=price,
    )


def figures_of(
    *,
    setting: Setting,
    residents: Sequence[Resident],
    state: State,
    periods: Sequence[PeriodFigures],
    histories: Sequence[Sequence[Measured]],
    fees_uwatt: Mapping[bytes, int],
    earned_uwatt: Mapping[bytes, int],
    transactions: Counter[str],
    refused: Counter[str],
    pool_price: int | None,
    blocks: int,
    wall_seconds: float,
    cpu_seconds: float,
) -> Figures:
    """Puts together what a finished run left."""
    bills_uwatt, unbalanced_uwatt = _bills(state)
    parameters = setting.parameters
    own_use = (sum(row.production_wh - row.export_wh for row in rows) for rows in zip(*histories, strict=True))
    homes = []
    for one, history in zip(residents, histories, strict=True):
        drawn_wh, fed_in_wh = sum(row.import_wh for row in history), sum(row.export_wh for row in history)
        homes.append(
            HomeFigures(
                name=one.name,
                load_wh=sum(row.load_wh for row in history),
                production_wh=sum(row.production_wh for row in history),
                import_wh=drawn_wh,
                export_wh=fed_in_wh,
                utility_uwatt=sum(
                    amount_uwatt(row.import_wh, parameters.retail_uwatt_per_kwh)
                    - amount_uwatt(row.export_wh, parameters.feed_in_uwatt_per_kwh)
                    for row in history
                ),
                bill_uwatt=bills_uwatt[one.id],
                fees_uwatt=fees_uwatt.get(one.id, 0),
                earned_uwatt=earned_uwatt.get(one.id, 0),
            )
        )
    return Figures(
        setting=setting,
        homes=tuple(homes),
        periods=tuple(periods),
        own_use_wh=tuple(own_use),
        pool_price=pool_price,
        transactions=transactions,
        refused=refused,
        blocks=blocks,
        conservation=unbalanced_uwatt + _unbalanced_wh(homes, periods),
        wall_seconds=wall_seconds,
        cpu_seconds=cpu_seconds,
    )


def _bills(state: State) -> tuple[Counter[bytes], int]:
    """What each account's lines come to, uwatt, and what is wrong with their sum."""
    bills: Counter[bytes] = Counter()
    fees_uwatt = 0
    for key, line in BILL_LINES.scan(state):
        debtor, creditor = key[8:40], key[40:72]
        bills[debtor] += line.amount_uwatt + line.fee_uwatt
        bills[creditor] -= line.amount_uwatt
        fees_uwatt += line.fee_uwatt
    return bills, abs(sum(bills.values()) - fees_uwatt)


def _unbalanced_wh(homes: Sequence[HomeFigures], periods: Sequence[PeriodFigures]) -> int:
    gateway_wh = sum(one.drawn_wh + one.shortfall_wh - one.fed_in_wh - one.excess_wh for one in periods)
    return abs(gateway_wh - sum(home.import_wh - home.export_wh for home in homes))


def _rounded(shares: Shares) -> dict[str, float]:
    return {name: round(getattr(shares, name), 4) for name in ("alone", "market", "pooled")}

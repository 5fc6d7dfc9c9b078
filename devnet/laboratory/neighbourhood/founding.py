"""Who lives in the neighbourhood, and the genesis of its chain.

1. The first ``pv`` homes have a roof. Household, roof, year's consumption and peak power are drawn from the seed, each
   evenly: 2,400 … 5,600 kWh a year, 4 … 10 kW.
2. Homes alternate between three feeders of one substation. Each has a node and is a candidate, and one connection
   meter; the gateway, called utility, has neither. The first home is the approver.
3. The chain begins at local midnight of ``first_day`` in 2016, the year of the profiles.
4. Keys follow from the home's number, as in every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from devnet.laboratory.neighbourhood.setting import Setting
from home.profiles.archive import SAMPLES_PER_DAY
from home.profiles.series import HOUSEHOLDS, SOLAR_SYSTEMS, House
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember
from ledger.keys import SigningKey, digest
from ledger.records import MeterKind, MeterRole, Role
from ledger.transactions import RegisterMeter

FEEDERS: Final = ("F1", "F2", "F3")
SUBSTATION: Final = "S"
YEAR_BEGINS_MS: Final = 1_451_602_800_000  # 1 January 2016, midnight in Central Europe
DAY_MS: Final = 86_400_000
CONNECTION_W: Final = 17_250  # 3 phases of 25 A at 230 V
WATT_UWATT: Final = 1_000_000_000
YEARLY_KWH: Final = range(2_400, 5_601, 100)
PEAK_WATT: Final = range(4_000, 10_001, 500)


@dataclass(frozen=True, slots=True)
class Resident:
    """One home: its keys and its house."""

    number: int
    account: SigningKey
    node: SigningKey
    meter: SigningKey
    house: House

    @property
    def id(self) -> bytes:
        return self.account.public_key

    @property
    def name(self) -> str:
        return f"home-{self.number:02d}"


@dataclass(frozen=True, slots=True)
class Founding:
    genesis: Genesis
    residents: tuple[Resident, ...]
    utility: bytes


def found(setting: Setting) -> Founding:
    """The neighbourhood of a setting."""
    random = Random(f"{setting.seed}/neighbourhood")  # noqa: S311  reproducible is what an experiment must be
    residents = tuple(_resident(number, setting, random) for number in range(setting.homes))
    utility = _key("account", setting.homes).public_key
    genesis = Genesis(
        name="Laboratory",
        time_ms=YEAR_BEGINS_MS + setting.first_day * DAY_MS,
        parameters=setting.parameters,
        feeders=tuple(GenesisFeeder(feeder, SUBSTATION) for feeder in FEEDERS),
        members=(*(_member(one) for one in residents), _utility(utility)),
        meters=tuple(_meter(one) for one in residents),
        grid_supply_ugrid=0,
        grid_reserve_ugrid=0,
    )
    return Founding(genesis, residents, utility)


def _resident(number: int, setting: Setting, random: Random) -> Resident:
    has_roof = number < setting.pv
    house = House(
        household=random.randrange(len(HOUSEHOLDS)),
        yearly_kwh=random.choice(YEARLY_KWH),
        solar=random.randrange(len(SOLAR_SYSTEMS)) if has_roof else None,
        peak_watt=random.choice(PEAK_WATT) if has_roof else 0,
        start_sample=setting.first_day * SAMPLES_PER_DAY,
    )
    return Resident(number, _key("account", number), _key("node", number), _key("meter", number), house)


def _key(purpose: str, number: int) -> SigningKey:
    return SigningKey(digest(f"laboratory, {purpose} of home {number}".encode()))


def _member(one: Resident) -> GenesisMember:
    return GenesisMember(
        account=one.id,
        name=one.name,
        roles=int(Role.APPROVER) if one.number == 0 else 0,
        feeder=FEEDERS[one.number % len(FEEDERS)],
        node_key=one.node.public_key,
        watt_uwatt=WATT_UWATT,
        grid_ugrid=0,
        voting_rule=None,
    )


def _utility(account: bytes) -> GenesisMember:
    return GenesisMember(
        account=account,
        name="utility",
        roles=int(Role.GATEWAY),
        feeder=FEEDERS[0],
        node_key=None,
        watt_uwatt=0,
        grid_ugrid=0,
        voting_rule=None,
    )


def _meter(one: Resident) -> RegisterMeter:
    return RegisterMeter(
        meter=one.meter.public_key,
        owner=one.id,
        kind=MeterKind.LOAD if one.house.solar is None else MeterKind.SOLAR,
        role=MeterRole.CONNECTION,
        import_nameplate_w=CONNECTION_W,
        export_nameplate_w=one.house.peak_watt,
        storage_capacity_wh=0,
        import_wh=0,
        export_wh=0,
    )

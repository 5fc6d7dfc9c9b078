"""The simulated neighbourhood: its homes with real keys, who of them is byzantine, and its genesis.

1. The keys of a home are the same in every run. Which homes are byzantine is drawn: less than a third of the weight, in
   most runs as many as that allows.
2. Everybody begins with the same ballot. Weights grow apart by what homes do: cast and withdraw votes, produce, pay
   fines, and meter what they export.
3. The first honest home is the approver. Meters have periods of six block intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

from devnet.laboratory.chaos.setting import Setting
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember
from ledger.keys import SigningKey, digest
from ledger.parameters import BOUNDS, Parameters
from ledger.records import MeterKind, MeterRole, Role
from ledger.transactions import RegisterMeter

GENESIS_TIME_MS: Final = 1_750_000_000_000
EPOCH_BLOCKS: Final = 8
COMMITTEE_DELAY_BLOCKS: Final = 3
WATT_UWATT: Final = 1_000_000_000_000
FEEDER: Final = "mill lane"
PERIOD_BLOCKS: Final = 6


@dataclass(frozen=True, slots=True)
class Member:
    """One home and its keys."""

    number: int
    account: SigningKey
    node: SigningKey
    meter: SigningKey

    @property
    def id(self) -> bytes:
        return self.account.public_key

    @property
    def node_key(self) -> bytes:
        return self.node.public_key

    @property
    def name(self) -> str:
        return f"home-{self.number}"


@dataclass(frozen=True, slots=True)
class Founding:
    """``members`` by number; ``byzantine`` are the numbers of the enemies."""

    genesis: Genesis
    members: tuple[Member, ...]
    byzantine: frozenset[int]

    @property
    def honest(self) -> tuple[int, ...]:
        return tuple(member.number for member in self.members if member.number not in self.byzantine)


@lru_cache(maxsize=256)
def member(number: int) -> Member:
    def key(purpose: str) -> SigningKey:
        return SigningKey(digest(f"chaos, {purpose} of home {number}".encode()))

    return Member(number, key("account"), key("node"), key("meter"))


def found(setting: Setting, random: Random) -> Founding:
    """The neighbourhood of one run."""
    members = tuple(member(number) for number in range(setting.homes))
    byzantine = _draw_enemies(setting, random)
    approver = next(number for number in range(setting.homes) if number not in byzantine)
    genesis = Genesis(
        name="Chaos",
        time_ms=GENESIS_TIME_MS,
        parameters=_parameters(setting),
        feeders=(GenesisFeeder(FEEDER, "north"),),
        members=tuple(
            GenesisMember(
                account=one.id,
                name=one.name,
                roles=int(Role.APPROVER) if one.number == approver else 0,
                feeder=FEEDER,
                node_key=one.node_key,
                watt_uwatt=WATT_UWATT,
                grid_ugrid=0,
                voting_rule=None,
            )
            for one in members
        ),
        meters=tuple(
            RegisterMeter(
                meter=one.meter.public_key,
                owner=one.id,
                kind=MeterKind.SOLAR,
                role=MeterRole.CONNECTION,
                import_nameplate_w=17_000,
                export_nameplate_w=10_000,
                storage_capacity_wh=0,
                import_wh=0,
                export_wh=0,
            )
            for one in members
        ),
        grid_supply_ugrid=0,
        grid_reserve_ugrid=0,
    )
    return Founding(genesis, members, byzantine)


def _parameters(setting: Setting) -> Parameters:
    return Parameters(
        block_interval_ms=setting.interval_ms,
        epoch_blocks=EPOCH_BLOCKS,
        committee_delay_blocks=COMMITTEE_DELAY_BLOCKS,
        period_ms=min(PERIOD_BLOCKS * setting.interval_ms, BOUNDS["period_ms"][1]),
        sampling_tolerance_ms=5_000,
        acceptance_window_ms=BOUNDS["acceptance_window_ms"][1],
    )


def _draw_enemies(setting: Setting, random: Random) -> frozenset[int]:
    """At n = 13 four enemies of equal weight would hold a third as soon as one honest home is suspended: three at
    most, where they are all of one weight.
    """
    if not setting.enemies:
        return frozenset()
    if setting.most:
        return frozenset(random.sample(range(setting.homes), (setting.homes - 1) // 3))
    most = 3 * setting.homes // 10
    count = most if random.random() < 0.7 else random.randint(min(1, most), most)
    return frozenset(random.sample(range(setting.homes), count))

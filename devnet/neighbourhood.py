"""The neighbourhood of a devnet: who lives there, and the chain parameters of its compressed time.

1. The first four homes are those of E-Cloud's own example: anne, bob, carla, and george, who has the generator, keeps
   20 % of the voting tokens it mints and casts the rest 50/30/20 on the other three. Of the homes after them every
   third has a solar roof.
2. Time runs ``COMPRESSION`` times faster: a quarter hour of the load and solar profiles passes in a period of 10 s. All
   that is measured in metered time shrinks alike.
3. Homes alternate between the feeders F1 and F2 of the substation S. The first home is the approver. The gateway, which
   buys and sells what the homes do not among themselves, is a member without a node and a meter, called utility.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from devnet.manifest import DevnetError
from home.profiles.archive import SAMPLES_PER_DAY
from home.profiles.series import HOUSEHOLDS, SOLAR_SYSTEMS, House
from ledger.parameters import Parameters
from ledger.records import MeterKind, Role
from node.founding import NO_ROLES, MemberPlan, MeterPlan, NetworkPlan, VotingPlan

NETWORK_NAME: Final = "devnet"
UTILITY: Final = "utility"
MAX_HOMES: Final = 40
SUBSTATION: Final = "S"
FEEDERS: Final = ("F1", "F2")
METERED_MS: Final = 900_000
PERIOD_MS: Final = 10_000
COMPRESSION: Final = METERED_MS // PERIOD_MS
DAY_MS: Final = 86_400_000
WATT_UWATT: Final = 100_000_000
GRID_UGRID: Final = 1_000_000_000
GRID_RESERVE_UGRID: Final = 1_000_000_000_000
CONNECTION_W: Final = 17_250  # 3 phases of 25 A at 230 V
FIRST_SAMPLE: Final = 200 * SAMPLES_PER_DAY + 10 * SAMPLES_PER_DAY // 24  # ten o'clock of a July morning

PARAMETERS: Final = Parameters(
    block_interval_ms=2_000,
    message_delay_ms=500,
    period_ms=PERIOD_MS,
    metered_ms_per_period=METERED_MS,
    sampling_tolerance_ms=60_000 // COMPRESSION,
    acceptance_window_ms=DAY_MS // COMPRESSION,
    gate_closure_ms=300_000 // COMPRESSION,
    reading_deadline_ms=7_200_000 // COMPRESSION,
    billing_cycle_periods=SAMPLES_PER_DAY,
    payment_term_ms=DAY_MS // COMPRESSION,
    utc_offset_minutes=0,  # the same moments in the terminal as in the command line
    epoch_blocks=24,  # a home that was away is weighed again within a demonstration
    committee_delay_blocks=6,
)

NAMES: Final = (
    *("anne", "bob", "carla", "george"),
    *("dora", "emil", "fatma", "hugo", "ines", "jan", "katja", "luis", "mona", "nils", "olga", "paul"),
    *("quinn", "rosa", "sven", "tilda", "umut", "vera", "willem", "xenia", "yusuf", "zoe"),
    *("aaron", "bella", "cyril", "dilan", "elsa", "felix", "greta", "henk", "irma", "jonas"),
    *("karim", "lena", "marco", "nora"),
)
assert len(set(NAMES)) == MAX_HOMES

GEORGE: Final = 3
_GEORGES_VOTES: Final = VotingPlan(keep_bps=2_000, cast=(("anne", 5_000), ("bob", 3_000), ("carla", 2_000)))
_YEARLY_KWH: Final = (2_800, 3_500, 4_200, 5_000, 3_100, 2_400, 3_900)
_PEAK_WATT: Final = (6_000, 8_000, 9_500, 5_000)
_GEORGES_HOUSE: Final = House(household=0, yearly_kwh=3_000, solar=2, peak_watt=12_000, start_sample=FIRST_SAMPLE)


class BadNeighbourhood(DevnetError):
    """There is no neighbourhood of this size; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Home:
    name: str
    feeder: str
    house: House


@dataclass(frozen=True, slots=True)
class HomeKeys:
    """Public keys, 32 bytes each."""

    account: bytes
    node_key: bytes
    meter: bytes


def homes_of(count: int) -> tuple[Home, ...]:
    """The first ``count`` homes. Errors: BadNeighbourhood."""
    if not 1 <= count <= MAX_HOMES:
        raise BadNeighbourhood(f"a devnet has 1 to {MAX_HOMES} homes, not {count}")
    return tuple(
        Home(name=NAMES[index], feeder=FEEDERS[index % len(FEEDERS)], house=_house(index)) for index in range(count)
    )


def plan_network(homes: Sequence[Home], keys: Sequence[HomeKeys], utility: bytes, time_ms: int) -> NetworkPlan:
    """``utility`` is the gateway's account, a public key. ``time_ms``: when the chain begins; its first block is made
    one block interval later at the earliest.
    """
    members = [
        MemberPlan(
            name=home.name,
            feeder=home.feeder,
            account=own.account,
            node_key=own.node_key,
            roles=Role.APPROVER if index == 0 else NO_ROLES,
            watt_uwatt=WATT_UWATT,
            grid_ugrid=GRID_UGRID,
            meter=MeterPlan(
                key=own.meter,
                kind=MeterKind.LOAD if home.house.solar is None else MeterKind.SOLAR,
                import_nameplate_w=CONNECTION_W,
                export_nameplate_w=home.house.peak_watt,
            ),
            voting=_GEORGES_VOTES if index == GEORGE else None,
        )
        for index, (home, own) in enumerate(zip(homes, keys, strict=True))
    ]
    gateway = MemberPlan(name=UTILITY, feeder=FEEDERS[0], account=utility, roles=Role.GATEWAY, watt_uwatt=WATT_UWATT)
    return NetworkPlan(
        name=NETWORK_NAME,
        time_ms=time_ms,
        parameters=PARAMETERS,
        feeders=tuple((feeder, SUBSTATION) for feeder in FEEDERS),
        members=(*members, gateway),
        grid_reserve_ugrid=GRID_RESERVE_UGRID,
    )


def _house(index: int) -> House:
    if index == GEORGE:
        return _GEORGES_HOUSE
    has_roof = index > GEORGE and (index - GEORGE) % 3 == 0
    return House(
        household=index % len(HOUSEHOLDS),
        yearly_kwh=_YEARLY_KWH[index % len(_YEARLY_KWH)],
        solar=index % len(SOLAR_SYSTEMS) if has_roof else None,
        peak_watt=_PEAK_WATT[index % len(_PEAK_WATT)] if has_roof else 0,
        start_sample=FIRST_SAMPLE,
    )

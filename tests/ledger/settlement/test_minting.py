"""What settled energy mints, and who gets it."""

from __future__ import annotations

import pytest

from ledger.pools import expel
from ledger.records import (
    READINGS,
    SETTLED_PERIODS,
    CandidateStatus,
    MeterKind,
    MeterRole,
    RuleTarget,
    height_key,
)
from ledger.settlement.lines import next_period
from ledger.transactions import RegisterMeter, SetVotingRule
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    GENESIS_TIME_MS,
    PARAMETERS,
    PERIOD_MS,
    Neighbourhood,
    account_key,
    make_genesis,
    meter_key,
    seeded_key,
)

BALLOT = PARAMETERS.initial_ballot_mvote


def ante(pool_mvote: int) -> int:
    return pool_mvote // PARAMETERS.ante_divisor


def minted(street: Neighbourhood, *growth: tuple[int, int]) -> list[int]:
    """What each of consecutive periods mints for bob, given cumulative (import, export)."""
    for index, (import_wh, export_wh) in enumerate(growth):
        street.time_ms = max(street.time_ms, GENESIS_TIME_MS + (index + 1) * PERIOD_MS)
        street.block(street.reading("bob", FIRST_PERIOD + index, import_wh, export_wh))
    street.settle_all()
    found = []
    for index in range(len(growth)):
        settled = SETTLED_PERIODS.get(street.state, height_key(FIRST_PERIOD + index))
        assert settled is not None
        found.append(settled.minted_mvote)
    return found


def settle_first(street: Neighbourhood) -> dict[str, int]:
    """Blocks by carla until the first period is settled; each home's pool before the block that settles it."""
    while True:
        pools = {name: street.candidate(name).pool_mvote for name in ("anne", "bob")}
        street.block(producer="carla")
        if next_period(street.state) > FIRST_PERIOD:
            return pools


@pytest.mark.parametrize("kind", [MeterKind.SOLAR, MeterKind.WIND, MeterKind.MIXED])
def test_produced_energy_mints_one_mvote_per_wh(kind: MeterKind) -> None:
    street = Neighbourhood(make_genesis(kinds={"bob": kind}))
    before = street.supply().votes_minted_mvote
    assert minted(street, (100, 700), (100, 900)) == [700, 200]
    assert street.supply().votes_minted_mvote == before + 900
    held = READINGS.get(street.state, meter_key("bob").public_key, height_key(FIRST_PERIOD))
    assert held is not None
    assert held.minted_mvote == 700


@pytest.mark.parametrize("kind", [MeterKind.LOAD, MeterKind.BATTERY])
def test_load_and_battery_mint_nothing(kind: MeterKind) -> None:
    street = Neighbourhood(make_genesis(kinds={"bob": kind}))
    assert minted(street, (100, 700)) == [0]


def test_what_a_storage_gives_back_does_not_mint() -> None:
    # Given a storage of 1000 Wh: imported 600 (B = 600); exported 900, of which 600 are given back; imported 1800
    # (B = 1000, its capacity); exported 1500, of which 1000 are
    street = Neighbourhood(make_genesis(storage_wh=1_000))
    assert minted(street, (600, 0), (600, 900), (2_400, 900), (2_400, 2_400)) == [0, 300, 0, 500]
    assert street.meter("bob").stored_wh == 0


def test_a_battery_cycled_for_votes_earns_none() -> None:
    street = Neighbourhood(make_genesis(storage_wh=10_000))
    growth = [((cycle + 2) // 2 * 900, (cycle + 1) // 2 * 900) for cycle in range(10)]
    assert minted(street, *growth) == [0] * 10


def test_what_flowed_first_within_a_reading_makes_no_difference() -> None:
    # Given a full storage of 1000 Wh that gives all of it back and is filled again within one period
    street = Neighbourhood(make_genesis(storage_wh=1_000))
    assert minted(street, (1_000, 0), (2_000, 1_000), (2_000, 2_000)) == [0, 0, 0]


def test_a_storage_cycled_many_times_within_one_reading_mints_nothing() -> None:
    street = Neighbourhood(make_genesis(storage_wh=1_000))
    street.time_ms = GENESIS_TIME_MS + 8 * PERIOD_MS
    before = street.supply().votes_minted_mvote
    street.block(street.reading("bob", FIRST_PERIOD + 7, 4_000, 4_500))
    street.settle_all()
    assert street.supply().votes_minted_mvote == before + 500
    assert street.meter("bob").stored_wh == 0


def test_storage_at_a_sub_meter_counts_for_the_connection() -> None:
    street = Neighbourhood()
    payload = RegisterMeter(
        meter=seeded_key("battery").public_key,
        owner=account_key("bob").public_key,
        kind=MeterKind.BATTERY,
        role=MeterRole.SUB,
        import_nameplate_w=3_000,
        export_nameplate_w=3_000,
        storage_capacity_wh=1_000,
        import_wh=0,
        export_wh=0,
    )
    assert street.refusal(street.sign("anne", payload)) is None
    assert minted(street, (600, 0), (600, 900)) == [0, 300]


def test_energy_over_a_gap_mints_when_its_last_period_is_settled() -> None:
    street = Neighbourhood()
    street.time_ms = GENESIS_TIME_MS + 3 * PERIOD_MS
    before = street.supply().votes_minted_mvote
    street.block(street.reading("bob", FIRST_PERIOD + 2, 100, 3_000))
    street.settle_all()
    assert street.supply().votes_minted_mvote == before + 3_000


def test_a_late_reading_mints_when_it_comes() -> None:
    street = Neighbourhood()
    street.time_ms = GENESIS_TIME_MS + PERIOD_MS
    settle_first(street)
    before = street.supply().votes_minted_mvote
    street.block(street.reading("bob", FIRST_PERIOD, 0, 900))
    assert street.supply().votes_minted_mvote == before + 900


def test_without_a_rule_all_is_cast_on_oneself_if_active() -> None:
    street = Neighbourhood()
    street.time_ms = GENESIS_TIME_MS + PERIOD_MS
    street.block(street.reading("bob", FIRST_PERIOD, 0, 1_000), producer="carla")
    pool = settle_first(street)["bob"]
    assert street.account("bob").votes_mvote == 0
    assert street.shares("bob", "bob") == BALLOT + 1_000 * BALLOT // (pool - ante(pool))


def test_without_a_rule_it_is_kept_if_suspended_or_no_candidate() -> None:
    street = Neighbourhood(make_genesis(without_node=["carla"]))
    street.time_ms = GENESIS_TIME_MS + PERIOD_MS
    street.set_candidate("bob", status=CandidateStatus.SUSPENDED, suspended_height=1)
    street.block(street.reading("bob", FIRST_PERIOD, 0, 1_000), street.reading("carla", FIRST_PERIOD, 0, 500))
    street.settle_all()

    assert street.account("bob").votes_mvote == 1_000
    assert street.account("carla").votes_mvote == 500


def test_a_rule_keeps_its_part_and_splits_the_rest() -> None:
    # E-Cloud's example: George keeps 20 %
    street = Neighbourhood()
    targets = (
        RuleTarget(candidate=account_key("anne").public_key, share_bps=7_500),
        RuleTarget(candidate=account_key("bob").public_key, share_bps=2_500),
    )
    street.block(street.sign("george", SetVotingRule(keep_bps=2_000, targets=targets)), producer="carla")
    street.time_ms = GENESIS_TIME_MS + PERIOD_MS
    street.block(street.reading("george", FIRST_PERIOD, 0, 1_001), producer="carla")
    pools = settle_first(street)

    # 200 kept (20 % of 1001, rounded down), 801 split 600.75 : 200.25
    assert street.account("george").votes_mvote == 200
    assert street.candidate("anne").pool_mvote == pools["anne"] - ante(pools["anne"]) + 601
    assert street.candidate("bob").pool_mvote == pools["bob"] - ante(pools["bob"]) + 200
    assert street.shares("anne", "george") > 0


def test_the_part_of_an_expelled_target_is_kept() -> None:
    street = Neighbourhood()
    targets = (
        RuleTarget(candidate=account_key("anne").public_key, share_bps=5_000),
        RuleTarget(candidate=account_key("bob").public_key, share_bps=5_000),
    )
    street.block(street.sign("george", SetVotingRule(keep_bps=0, targets=targets)), producer="carla")
    state = street.state
    expel(state, account_key("bob").public_key)
    street.reader.apply(state.changes())
    street.time_ms = GENESIS_TIME_MS + PERIOD_MS
    street.block(street.reading("george", FIRST_PERIOD, 0, 1_000), producer="carla")
    settle_first(street)

    assert street.account("george").votes_mvote == 500
    assert street.candidate("bob").pool_mvote == 0

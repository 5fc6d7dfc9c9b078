"""The devnet's homes and their genesis: E-Cloud's example first, sensible at every size."""

from __future__ import annotations

from itertools import pairwise

import pytest

from devnet.neighbourhood import (
    COMPRESSION,
    CONNECTION_W,
    MAX_HOMES,
    PARAMETERS,
    UTILITY,
    BadNeighbourhood,
    HomeKeys,
    homes_of,
    plan_network,
)
from home.profiles.series import ConnectionMeter
from ledger.genesis import Genesis, genesis_changes
from ledger.keys import SigningKey
from ledger.parameters import check_parameters
from ledger.records import MeterKind, Role
from ledger.registry import check_name
from node.founding import found_network

DAY = 96


def genesis_of(count: int) -> Genesis:
    keys = [
        HomeKeys(*(SigningKey(bytes([index, kind]) * 16).public_key for kind in range(3))) for index in range(count)
    ]
    return found_network(
        plan_network(homes_of(count), keys, SigningKey(bytes([255]) * 32).public_key, 1_750_000_000_000)
    )


@pytest.mark.parametrize("count", [1, 3, 4, 13, MAX_HOMES])
def test_every_size_is_a_genesis_the_ledger_accepts(count: int) -> None:
    genesis = genesis_of(count)
    assert genesis_changes(genesis)
    *homes, gateway = genesis.members
    assert len(homes) == len(genesis.meters) == count
    assert all(member.node_key is not None for member in homes)
    assert (gateway.name, gateway.roles, gateway.node_key) == (UTILITY, Role.GATEWAY, None)


def test_the_first_four_are_the_examples_and_george_has_the_generator() -> None:
    genesis = genesis_of(4)
    assert [member.name for member in genesis.members] == ["anne", "bob", "carla", "george", UTILITY]
    assert [member.feeder for member in genesis.members] == ["F1", "F2", "F1", "F2", "F1"]
    assert [meter.kind for meter in genesis.meters] == [MeterKind.LOAD] * 3 + [MeterKind.SOLAR]
    assert [member.roles for member in genesis.members] == [Role.APPROVER, 0, 0, 0, Role.GATEWAY]
    # And he keeps 20 % of his votes and splits the rest among the others
    rule = genesis.members[3].voting_rule
    assert rule is not None
    assert rule.keep_bps == 2_000
    assert [(target.candidate, target.share_bps) for target in rule.targets] == [
        (genesis.members[0].account, 5_000),
        (genesis.members[1].account, 3_000),
        (genesis.members[2].account, 2_000),
    ]


def test_of_the_later_homes_every_third_has_a_roof() -> None:
    roofs = [home.house.solar is not None for home in homes_of(MAX_HOMES)]
    assert [index for index, roof in enumerate(roofs) if roof] == list(range(3, MAX_HOMES, 3))


@pytest.mark.parametrize("count", [-1, 0, MAX_HOMES + 1])
def test_other_sizes_are_refused(count: int) -> None:
    with pytest.raises(BadNeighbourhood, match="1 to 40"):
        homes_of(count)


def test_time_is_compressed_alike_everywhere() -> None:
    check_parameters(PARAMETERS)
    assert PARAMETERS.metered_ms_per_period == COMPRESSION * PARAMETERS.period_ms
    assert 86_400_000 // PARAMETERS.acceptance_window_ms == COMPRESSION
    assert PARAMETERS.period_ms > 2 * PARAMETERS.block_interval_ms


@pytest.mark.parametrize("home", homes_of(MAX_HOMES), ids=lambda home: home.name)
def test_no_house_exceeds_its_nameplates_in_a_week(home: object) -> None:
    assert isinstance(home, type(homes_of(1)[0]))
    check_name(home.name)
    meter = ConnectionMeter(home.house)
    readings = [meter.registers(sample) for sample in range(7 * DAY)]
    for before, after in pairwise(readings):
        assert (after.import_wh - before.import_wh) * 4 <= CONNECTION_W * 1.1
        assert (after.export_wh - before.export_wh) * 4 <= home.house.peak_watt * 1.1


def test_george_sells_from_the_first_periods_on() -> None:
    george = ConnectionMeter(homes_of(4)[3].house)
    assert george.registers(4).export_wh > 1_000

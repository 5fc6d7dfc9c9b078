"""The beginning: what follows from a genesis, and what is said about one that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ledger.committee import committee_at
from ledger.encoding import decode, encode
from ledger.genesis import (
    Genesis,
    GenesisError,
    GenesisFeeder,
    chain_id,
    check_genesis,
    genesis_changes,
    genesis_seed,
)
from ledger.keys import digest
from ledger.parameters import BOUNDS, ParameterError, Parameters, check_parameters
from ledger.records import (
    FEEDERS,
    GRID_RESERVE,
    TIP,
    VOTING_RULES,
    CandidateStatus,
    MeterRole,
    RuleTarget,
    Tip,
    VotingRule,
)
from ledger.records import (
    PARAMETERS as PARAMETERS_TABLE,
)
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    GENESIS_TIME_MS,
    GRID_UGRID,
    PARAMETERS,
    RESERVE_UGRID,
    WATT_UWATT,
    Neighbourhood,
    account_key,
    make_genesis,
    meter_key,
    node_key,
    seeded_key,
)

GENESIS = make_genesis()
BALLOT = PARAMETERS.initial_ballot_mvote


def test_the_chain_id_is_the_hash_of_the_genesis_and_survives_a_file() -> None:
    assert chain_id(GENESIS) == digest(b"ecloud/genesis/1", encode(GENESIS))
    assert chain_id(decode(encode(GENESIS), Genesis, 10**6)) == chain_id(GENESIS)
    assert chain_id(replace(GENESIS, name="other street")) != chain_id(GENESIS)


def test_everything_in_it_is_in_the_state() -> None:
    rule = VotingRule(keep_bps=2_000, targets=(RuleTarget(candidate=account_key("anne").public_key, share_bps=10_000),))
    genesis = replace(GENESIS, members=(*GENESIS.members[:3], replace(GENESIS.members[3], voting_rule=rule)))
    street = Neighbourhood(genesis)

    assert PARAMETERS_TABLE.get(street.state) == PARAMETERS
    assert [key for key, _ in FEEDERS.scan(street.state)] == [b"feeder-1"]
    assert street.account("bob").watt_uwatt == WATT_UWATT
    assert street.supply().watt_minted_uwatt == 4 * WATT_UWATT
    assert street.supply().grid_ugrid == 4 * GRID_UGRID + RESERVE_UGRID
    reserve = GRID_RESERVE.get(street.state)
    assert reserve is not None
    assert reserve.ugrid == RESERVE_UGRID
    assert street.supply().votes_minted_mvote == 4 * BALLOT
    george = street.candidate("george")
    assert (george.status, george.pool_mvote, george.last_mined_height) == (CandidateStatus.ACTIVE, BALLOT, 0)
    assert street.meter("bob").last_period == FIRST_PERIOD - 1
    assert street.member("bob").meters == (meter_key("bob").public_key,)
    assert VOTING_RULES.get(street.state, account_key("george").public_key) == rule
    assert TIP.get(street.state) == Tip(
        height=0, time_ms=GENESIS_TIME_MS, seed=genesis_seed(street.chain_id), previous_producer=None
    )


def test_members_with_a_node_key_are_the_first_committee() -> None:
    street = Neighbourhood(make_genesis(without_node=["carla"]))
    members = committee_at(street.reader, 1).members
    assert {member.account for member in members} == {
        account_key(name).public_key for name in ("anne", "bob", "george")
    }
    assert {member.weight for member in members} == {BALLOT // 2}


def test_the_order_of_the_lists_does_not_change_the_state_except_for_its_seed() -> None:
    backwards = replace(GENESIS, members=GENESIS.members[::-1], meters=GENESIS.meters[::-1])
    one, other = genesis_changes(GENESIS), genesis_changes(backwards)
    assert {key for key in one if one[key] != other[key]} == {TIP.key()}
    assert list(one) == list(other) == sorted(one)


def changed_member(number: int, **fields: Any) -> Genesis:
    members = list(GENESIS.members)
    members[number] = replace(members[number], **fields)
    return replace(GENESIS, members=tuple(members))


def changed_meter(number: int, **fields: Any) -> Genesis:
    meters = list(GENESIS.meters)
    meters[number] = replace(meters[number], **fields)
    return replace(GENESIS, meters=tuple(meters))


def changed_parameters(**fields: int) -> Genesis:
    return replace(GENESIS, parameters=replace(PARAMETERS, **fields))


@pytest.mark.parametrize(
    ("genesis", "message"),
    [
        (replace(GENESIS, name=""), "name ''"),
        (replace(GENESIS, name="a\nb"), "printable"),
        (replace(GENESIS, time_ms=5), "at least one period"),
        (changed_parameters(epoch_blocks=7), "epoch_blocks = 7 is outside 8 … 10000"),
        (changed_parameters(committee_delay_blocks=8), "less than epoch_blocks"),
        (changed_parameters(initial_ballot_mvote=999), "nobody would be in the committee"),
        (changed_parameters(max_members=3), "max_members = 3"),
        (replace(GENESIS, members=()), "at least one"),
        (replace(GENESIS, feeders=GENESIS.feeders * 2), "feeder 'feeder-1' occurs 2 times"),
        (replace(GENESIS, feeders=(GenesisFeeder(name="feeder-1", substation=""),)), "substation ''"),
        (replace(GENESIS, feeders=()), "no feeder is called 'feeder-1'"),
        (changed_member(1, name="anne"), "member name 'anne' occurs 2 times"),
        (changed_member(1, name="Bob"), "begins with a letter"),
        (changed_member(1, feeder="feeder-2"), "there are \\['feeder-1'\\]"),
        (changed_member(1, roles=64), "roles 64"),
        (changed_member(0, roles=0), "nobody is an approver"),
        (changed_member(1, account=account_key("anne").public_key), "occurs 2 times"),
        (changed_member(1, node_key=node_key("anne").public_key), "occurs 2 times"),
        (changed_member(1, node_key=account_key("bob").public_key), "occurs 2 times"),
        (changed_member(1, node_key=meter_key("bob").public_key), "occurs 2 times"),
        (make_genesis(without_node=["anne", "bob", "carla", "george"]), "nobody has a node key"),
        (changed_member(1, voting_rule=VotingRule(keep_bps=0, targets=())), "voting rule of 'bob'"),
        (
            changed_member(
                1,
                voting_rule=VotingRule(
                    keep_bps=0, targets=(RuleTarget(candidate=seeded_key("x").public_key, share_bps=10_000),)
                ),
            ),
            "no member with a node key",
        ),
        (changed_member(1, watt_uwatt=2**63 - 1), "can be counted"),
        (changed_member(1, grid_ugrid=GRID_UGRID + 1), "sum to 27000001"),
        (changed_meter(1, owner=seeded_key("x").public_key), "is no member"),
        (changed_meter(1, kind=9), "kind 9"),
        (changed_meter(1, role=3), "role 3"),
        (changed_meter(1, export_nameplate_w=10**9 + 1), "export_nameplate_w is at most"),
        (changed_meter(1, owner=account_key("anne").public_key), "2 connection meters"),
        (changed_meter(1, meter=meter_key("anne").public_key), "occurs 2 times"),
        (
            replace(
                changed_meter(1, owner=account_key("anne").public_key, role=MeterRole.SUB),
                parameters=replace(PARAMETERS, max_meters_per_member=1),
            ),
            "max_meters_per_member = 1",
        ),
    ],
)
def test_what_is_wrong_is_said(genesis: Genesis, message: str) -> None:
    with pytest.raises(GenesisError, match=message):
        check_genesis(genesis)
    with pytest.raises(GenesisError):
        genesis_changes(genesis)


@pytest.mark.parametrize("name", BOUNDS)
def test_every_parameter_is_kept_within_its_bounds(name: str) -> None:
    smallest, largest = BOUNDS[name]
    assert smallest <= getattr(Parameters(), name) <= largest
    for value in (smallest - 1, largest + 1):
        with pytest.raises(ParameterError, match=name):
            check_parameters(replace(Parameters(), **{name: value}))

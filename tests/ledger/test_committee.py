"""Snapshots: who is in, who goes when, with what weight; and how long they are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.committee import (
    CommitteeUnknown,
    committee_at,
    committee_hash,
    next_snapshot,
    snapshot_height,
)
from ledger.encoding import encode
from ledger.keys import digest
from ledger.parameters import Parameters
from ledger.records import SNAPSHOTS, Candidate, CandidateStatus, CommitteeSnapshot
from tests.ledger.neighbourhood import NAMES, PARAMETERS, Neighbourhood, make_genesis

MINIMUM = PARAMETERS.pool_minimum_mvote


def account(number: int) -> bytes:
    return bytes([number]) * 32


def candidate(pool_mvote: int = 100_000, **fields: int) -> Candidate:
    return replace(
        Candidate(
            status=CandidateStatus.ACTIVE,
            pool_mvote=pool_mvote,
            shares=pool_mvote,
            reputation_milli=0,
            last_mined_height=0,
            frozen=(),
            missed_in_row=0,
            missed_total=0,
            produced_total=0,
            epoch_counted=10,
            epoch_signed=10,
            suspended_height=0,
        ),
        **fields,
    )


def suspended(height: int = 5, **fields: int) -> Candidate:
    return candidate(status=CandidateStatus.SUSPENDED, suspended_height=height, **fields)


def absent(signed: int = 0, **fields: int) -> Candidate:
    return candidate(epoch_signed=signed, **fields)


EXPELLED = replace(candidate(0), status=int(CandidateStatus.EXPELLED))
NOBODY = CommitteeSnapshot(members=())


def snapshot(candidates: list[Candidate], previous: CommitteeSnapshot = NOBODY) -> CommitteeSnapshot:
    """Candidates by number; each one's node key is the same number's."""
    numbered = {account(number): one for number, one in enumerate(candidates)}
    return next_snapshot(numbered, {key: key for key in numbered}, previous, PARAMETERS)


def numbers(found: CommitteeSnapshot) -> list[int]:
    return [member.account[0] for member in found.members]


def after(count: int, changed: dict[int, Candidate], pools: list[int] | None = None) -> list[int]:
    """Who is in the snapshot after one with ``count`` members, of whom some changed."""
    before = [candidate(pool) for pool in pools or [100_000] * count]
    now = [changed.get(number, one) for number, one in enumerate(before)]
    return numbers(snapshot(now, snapshot(before)))


class TestWeights:
    @pytest.mark.parametrize(
        ("pools", "weights"),
        [
            ([5_000], [2_500]),  # alone: L = half of the median, and at most L
            ([100_000] * 4, [50_000] * 4),
            ([1_000, 100_000, 100_000, 9_000_000], [50_000, 50_000, 50_000, 50_000]),  # n = 4: all equal
            # n = 7: L = 50,000, at most 2 L
            (
                [1_000, 60_000, 100_000, 100_000, 110_000, 90_000, 9**9],
                [50_000, 60_000, *[100_000] * 3, 90_000, 100_000],
            ),
            ([1_000, 2_000], [500, 500]),  # the low median
        ],
    )
    def test_weight_is_the_pool_within_bounds(self, pools: list[int], weights: list[int]) -> None:
        found = snapshot([candidate(pool) for pool in pools])
        assert [member.weight for member in found.members] == weights
        assert [member.pool_mvote for member in found.members] == pools

    @given(st.lists(st.integers(MINIMUM, 10**15), min_size=4, max_size=40))
    def test_nobody_reaches_a_third(self, pools: list[int]) -> None:
        weights = [member.weight for member in snapshot([candidate(pool) for pool in pools]).members]
        assert 3 * max(weights) < sum(weights)


class TestWhoIsIn:
    def test_the_active_with_a_pool_and_enough_signatures(self) -> None:
        found = snapshot(
            [
                candidate(MINIMUM),
                candidate(MINIMUM - 1),
                suspended(),
                EXPELLED,
                absent(4),
                absent(5),
                candidate(epoch_counted=0, epoch_signed=0),
            ]
        )
        assert numbers(found) == [0, 5, 6]

    def test_the_expelled_and_the_poor_go_at_once(self) -> None:
        assert after(6, {1: EXPELLED, 2: candidate(MINIMUM - 1)}) == [0, 3, 4, 5]

    def test_of_the_suspended_and_absent_at_most_a_tenth_of_the_weight_goes(self) -> None:
        assert after(9, {1: suspended()}) == list(range(9))
        assert after(10, {1: suspended()}) == [0, *range(2, 10)]
        assert after(20, {1: suspended(), 2: absent(), 3: absent()}) == [0, *range(3, 20)]

    def test_the_longest_suspended_go_first_then_those_with_the_fewest_signatures(self) -> None:
        assert after(10, {1: absent(0), 2: suspended(7), 3: suspended(6)}) == [0, 1, 2, *range(4, 10)]
        assert after(10, {1: absent(2), 2: absent(1)}) == [0, 1, *range(3, 10)]
        assert after(10, {1: absent(2), 2: absent(2)}) == [0, *range(2, 10)]

    def test_who_does_not_fit_into_the_tenth_stays_and_a_lighter_one_may_still_go(self) -> None:
        # n = 10, L = 50,000: weights 150,000 (at most 3 L), 50,000 and eight of 100,000: a tenth is 100,000
        pools = [900_000, 50_000] + [100_000] * 8
        assert after(10, {0: suspended(1, pool_mvote=900_000), 1: suspended(2, pool_mvote=50_000)}, pools) == [
            0,
            *range(2, 10),
        ]

    def test_four_remain_where_there_were_four(self) -> None:
        poor = candidate(MINIMUM - 1)
        assert after(5, {0: poor, 1: poor}) in ([0, 2, 3, 4], [1, 2, 3, 4])
        assert after(4, {0: poor, 1: suspended(), 2: absent()}) == [0, 1, 2, 3]
        assert after(3, {0: poor}) == [1, 2]

    def test_those_taken_out_last_come_back_first(self) -> None:
        # the poorer goes before the less poor
        assert after(5, {0: candidate(MINIMUM - 2), 1: candidate(MINIMUM - 1)}) == [1, 2, 3, 4]

    def test_the_expelled_go_even_where_fewer_than_four_remain(self) -> None:
        assert after(4, {0: EXPELLED}) == [1, 2, 3]
        assert after(4, {0: EXPELLED, 1: EXPELLED, 2: candidate(1)}) == [2, 3]

    def test_where_nobody_would_be_left_nothing_changes(self) -> None:
        before = snapshot([candidate(200_000), candidate(300_000)])
        assert snapshot([EXPELLED, EXPELLED], before) == before
        assert snapshot([candidate(1), candidate(2)], before) == before

    def test_one_that_stays_has_its_present_pool_and_key(self) -> None:
        before = [candidate() for _ in range(4)]
        now = [suspended(pool_mvote=7), *before[1:]]
        found = next_snapshot(
            {account(number): one for number, one in enumerate(now)},
            {account(number): account(number + 100) for number in range(4)},
            snapshot(before),
            PARAMETERS,
        )
        assert (found.members[0].pool_mvote, found.members[0].node_key) == (7, account(100))
        assert found.members[0].weight == 50_000

    @given(
        st.lists(st.integers(MINIMUM, 10**9), min_size=4, max_size=25),
        st.dictionaries(st.integers(0, 24), st.sampled_from([suspended(), absent(), candidate(1), suspended(3)])),
    )
    def test_the_limits_hold_for_any_neighbourhood(self, pools: list[int], changed: dict[int, Candidate]) -> None:
        before = snapshot([candidate(pool) for pool in pools])
        weight_of = {member.account[0]: member.weight for member in before.members}
        remaining = after(len(pools), changed, pools)
        removed = set(weight_of) - set(remaining)

        assert len(remaining) >= 4
        forced = [number for number in removed if changed[number] != candidate(1)]
        assert sum(weight_of[number] for number in forced) <= sum(weight_of.values()) // 10


class TestInForce:
    @pytest.mark.parametrize(
        ("height", "expected"), [(0, 0), (1, 0), (95, 0), (101, 0), (102, 96), (197, 96), (198, 192)]
    )
    def test_a_snapshot_is_in_force_some_blocks_after_it_was_taken(self, height: int, expected: int) -> None:
        assert snapshot_height(height, Parameters()) == expected

    def test_the_chain_takes_one_at_each_epochs_end_and_keeps_those_still_needed(self) -> None:
        street = Neighbourhood()
        taken = {0: committee_at(street.reader, 1)}
        for _ in range(5 * PARAMETERS.epoch_blocks):
            street.block(producer=NAMES[street.height % 4])
            if street.height % PARAMETERS.epoch_blocks == 0:
                taken[street.height] = committee_at(street.reader, street.height + PARAMETERS.committee_delay_blocks)
            # known: this height's and the next one's, and an epoch back
            for height in range(max(0, street.height - PARAMETERS.epoch_blocks), street.height + 2):
                assert committee_at(street.reader, height) == taken[snapshot_height(height, PARAMETERS)]
            assert len(list(SNAPSHOTS.scan(street.state))) <= 3
        assert len(set(map(committee_hash, taken.values()))) == 6

    def test_a_committee_that_is_not_kept_says_so(self) -> None:
        street = Neighbourhood()
        for _ in range(4 * PARAMETERS.epoch_blocks):
            street.block(producer=NAMES[street.height % 4])
        with pytest.raises(CommitteeUnknown, match="height 1"):
            committee_at(street.reader, 1)
        with pytest.raises(CommitteeUnknown):
            committee_at(street.state, 1_000)

    def test_the_hash_is_of_the_encoded_snapshot(self) -> None:
        found = snapshot([candidate()])
        assert committee_hash(found) == digest(b"ecloud/committee/1", encode(found))

    def test_an_absent_member_is_out_for_an_epoch_and_then_back(self) -> None:
        # Given eleven homes, so that one is less than a tenth
        homes = tuple(f"home{number}" for number in range(11))
        street = Neighbourhood(make_genesis(homes))

        def epoch(absent_homes: list[str]) -> int:
            for _ in range(PARAMETERS.epoch_blocks):
                street.block(producer=homes[street.height % 10], absent=absent_homes)
            return len(committee_at(street.reader, street.height + PARAMETERS.committee_delay_blocks).members)

        assert epoch([]) == 11
        assert epoch(["home10"]) == 10
        assert epoch([]) == 11

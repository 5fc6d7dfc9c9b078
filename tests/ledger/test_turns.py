"""What every block does to the candidates, by the figures."""

from __future__ import annotations

from dataclasses import replace as replace_fields

import pytest
from msgspec.structs import replace

from ledger.block import BlockContext, InvalidBlock
from ledger.committee import committee_at
from ledger.execute import execute_block
from ledger.keys import Domain
from ledger.pools import expel, worth_mvote
from ledger.records import CandidateStatus, FrozenPot
from ledger.statements import SignedStatement, Statement, StatementKind
from ledger.transactions import Rejoin, ReportEquivocation
from tests.ledger.neighbourhood import NAMES, PARAMETERS, Neighbourhood, account_key, make_genesis, node_key

BALLOT = PARAMETERS.initial_ballot_mvote
ANTE = BALLOT // PARAMETERS.ante_divisor


def without_epochs() -> Neighbourhood:
    return Neighbourhood(make_genesis(parameters=replace(PARAMETERS, epoch_blocks=1_000)))


def test_all_active_candidates_ante_into_the_producers_frozen_pot() -> None:
    street = without_epochs()
    street.block(producer="george")

    for name in NAMES:
        assert street.candidate(name).pool_mvote == BALLOT - ANTE
    george = street.candidate("george")
    assert george.frozen == (FrozenPot(release_height=1 + PARAMETERS.freeze_blocks, amount_mvote=4 * ANTE),)
    assert (george.reputation_milli, george.last_mined_height, george.produced_total) == (1_000, 1, 1)


def test_a_pot_joins_the_pool_after_the_freeze() -> None:
    street = without_epochs()
    street.block(producer="george")
    for height in (2, 3):
        street.block(producer="anne")
        assert street.candidate("george").frozen[0].release_height == 4, height
    street.block(producer="anne")

    george = street.candidate("george")
    assert street.height == 4
    assert george.frozen == ()
    pool = BALLOT - ANTE  # the first ante is of 100,000, the next two of less
    pool -= pool // PARAMETERS.ante_divisor
    pool -= pool // PARAMETERS.ante_divisor
    pool += 4 * ANTE  # what was released antes in the same block
    assert george.pool_mvote == pool - pool // PARAMETERS.ante_divisor


def test_a_skipped_leader_pays_a_hundred_antes_and_loses_reputation_and_age() -> None:
    street = without_epochs()
    street.block(producer="bob")
    street.block(producer="anne", skipped=["bob"])

    bob = street.candidate("bob")
    pool = BALLOT - ANTE
    pool -= pool // PARAMETERS.ante_divisor
    fine = pool * PARAMETERS.missed_turn_antes // PARAMETERS.ante_divisor
    assert bob.pool_mvote == pool - fine
    assert (bob.reputation_milli, bob.last_mined_height, bob.missed_in_row, bob.missed_total) == (0, 2, 1, 1)
    assert bob.status == CandidateStatus.ACTIVE
    anne = street.candidate("anne")
    assert anne.frozen[0].amount_mvote == fine + 4 * ((BALLOT - ANTE) // PARAMETERS.ante_divisor)


def test_reputation_does_not_fall_below_zero() -> None:
    street = without_epochs()
    street.block(skipped=["bob"])
    assert street.candidate("bob").reputation_milli == 0


def test_two_misses_in_a_row_suspend() -> None:
    street = without_epochs()
    street.block(skipped=["bob"])
    street.block(producer="carla")
    street.block(skipped=["bob"])

    bob = street.candidate("bob")
    assert (bob.status, bob.suspended_height) == (CandidateStatus.SUSPENDED, 3)


def test_producing_in_between_begins_the_row_anew() -> None:
    street = without_epochs()
    street.block(skipped=["bob"])
    street.block(producer="bob")
    street.block(skipped=["bob"])

    assert street.candidate("bob").status == CandidateStatus.ACTIVE
    assert street.candidate("bob").missed_total == 2


def test_a_suspended_candidate_pays_no_ante_but_its_fines() -> None:
    street = without_epochs()
    street.block(skipped=["bob", "bob"])
    pool = street.candidate("bob").pool_mvote
    street.block()
    assert street.candidate("bob").pool_mvote == pool
    street.block(skipped=["bob"])

    bob = street.candidate("bob")
    assert bob.pool_mvote == pool - pool * PARAMETERS.missed_turn_antes // PARAMETERS.ante_divisor
    assert (bob.status, bob.suspended_height) == (CandidateStatus.SUSPENDED, 1)


def test_a_suspended_producer_is_rewarded_and_stays_suspended_until_it_rejoins() -> None:
    street = without_epochs()
    street.block(skipped=["bob", "bob"])
    street.block(producer="bob")

    bob = street.candidate("bob")
    assert (bob.status, bob.reputation_milli, bob.missed_in_row) == (CandidateStatus.SUSPENDED, 1_000, 0)
    assert bob.frozen[0].amount_mvote > 0
    street.block(street.sign("bob", Rejoin(), key=node_key("bob")))
    assert street.candidate("bob").status == CandidateStatus.ACTIVE


def test_who_was_skipped_and_then_produced_is_fined_and_rewarded() -> None:
    street = without_epochs()
    street.block(producer="bob", skipped=["bob"])

    bob = street.candidate("bob")
    assert (bob.reputation_milli, bob.missed_in_row, bob.missed_total, bob.produced_total) == (1_000, 0, 1, 1)
    fine = (BALLOT - ANTE) * PARAMETERS.missed_turn_antes // PARAMETERS.ante_divisor
    assert bob.frozen[0].amount_mvote == 4 * ANTE + fine


def test_a_fine_never_exceeds_the_pool() -> None:
    street = Neighbourhood(
        make_genesis(parameters=replace(PARAMETERS, ante_divisor=100, missed_turn_antes=10_000, epoch_blocks=1_000))
    )
    street.block(producer="anne", skipped=["bob", "bob"])

    bob = street.candidate("bob")
    assert (bob.pool_mvote, bob.shares) == (0, BALLOT)
    assert street.candidate("anne").frozen[0].amount_mvote == 4 * (BALLOT // 100) + BALLOT - BALLOT // 100


def expel_bob(street: Neighbourhood) -> None:
    state = street.state
    expel(state, account_key("bob").public_key)
    street.reader.apply(state.changes())


def test_an_expelled_leader_that_is_skipped_stays_as_it_is() -> None:
    street = without_epochs()
    expel_bob(street)
    before = street.candidate("bob")
    street.block(skipped=["bob", "bob", "bob"])

    assert street.candidate("bob") == before


def test_the_pot_of_an_expelled_producer_is_burned() -> None:
    street = without_epochs()
    expel_bob(street)
    before, burned = street.candidate("bob"), street.supply().votes_burned_mvote
    street.block(producer="bob", skipped=["carla"])

    assert street.candidate("bob") == before
    fine = (BALLOT - ANTE) * PARAMETERS.missed_turn_antes // PARAMETERS.ante_divisor
    assert street.supply().votes_burned_mvote == burned + 3 * ANTE + fine


def test_a_producer_convicted_in_its_own_block_loses_the_pot_it_just_won() -> None:
    street = without_epochs()
    street.block(producer="bob")
    statements = [
        Statement(kind=int(StatementKind.NOTARIZE), height=1, view=0, block_hash=bytes([number]) * 32)
        for number in (1, 2)
    ]
    first, second = (
        SignedStatement(
            statement=statement,
            signature=node_key("bob").sign(Domain.VOTE, street.chain_id, statement.message()),
        )
        for statement in statements
    )
    report = ReportEquivocation(node_key=node_key("bob").public_key, first=first, second=second)
    watt = street.account("bob").watt_uwatt
    (receipt,) = street.block(street.sign("carla", report), producer="bob")

    assert receipt.refusal is None
    bob = street.candidate("bob")
    assert bob.status == CandidateStatus.EXPELLED
    assert worth_mvote(bob) == 0
    assert street.supply().votes_burned_mvote > BALLOT
    assert street.account("bob").watt_uwatt == watt + 1_000  # the fee was earned before


def test_participation_is_counted_for_the_parents_committee() -> None:
    street = without_epochs()
    street.block()
    street.block(absent=["bob"])
    street.block()

    assert [(street.candidate(name).epoch_counted, street.candidate(name).epoch_signed) for name in NAMES] == [
        (2, 2),
        (2, 1),
        (2, 2),
        (2, 2),
    ]


def test_at_an_epochs_end_reputation_decays_and_participation_begins_anew() -> None:
    street = Neighbourhood()
    for _ in range(PARAMETERS.epoch_blocks):
        street.block(producer="anne")

    anne = street.candidate("anne")
    assert anne.reputation_milli == PARAMETERS.epoch_blocks * 1_000 * 15 // 16
    members = committee_at(street.reader, street.height + PARAMETERS.committee_delay_blocks).members
    assert max(member.reputation_milli for member in members) == anne.reputation_milli  # decayed before the snapshot
    assert (anne.epoch_counted, anne.epoch_signed) == (0, 0)


def context_with(street: Neighbourhood, **fields: object) -> BlockContext:
    return replace_fields(street.context(), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"producer": account_key("stranger").public_key},
        {"skipped": (account_key("stranger").public_key,)},
        {"signers": frozenset({account_key("stranger").public_key})},
        {"height": 2},
        {"height": 0},
        {"time_ms": 5},
        {"time_ms": Neighbourhood().time_ms},
    ],
)
def test_a_context_that_cannot_be_makes_the_block_invalid(fields: dict[str, object]) -> None:
    street = Neighbourhood()
    with pytest.raises(InvalidBlock):
        execute_block(street.reader, context_with(street, **fields), [])

"""Blocks as a whole: order, envelopes, receipts, what a producer selects and what a node admits."""

from __future__ import annotations

from dataclasses import replace as replace_fields
from itertools import permutations

import pytest
from msgspec.structs import replace

from ledger.block import BlockResult, InvalidBlock
from ledger.execute import MAX_NONCE_GAP, PrescribedOrder, execute_block, select_transactions
from ledger.keys import Domain, digest
from ledger.records import TIP, Tip
from ledger.refusal import Refusal
from ledger.transactions import (
    CastVotes,
    DelegateNodeKey,
    Kind,
    Payload,
    Rejoin,
    SetVotingRule,
    Transaction,
    Transfer,
    sign_transaction,
)
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    GENESIS_TIME_MS,
    NAMES,
    PARAMETERS,
    PERIOD_MS,
    WATT_UWATT,
    Neighbourhood,
    account_key,
    make_genesis,
    node_key,
    seeded_key,
)

FEE = 1_000


def pay(to: str, amount: int = 5) -> Transfer:
    return Transfer(recipient=account_key(to).public_key, token=1, amount=amount, memo="")


def a_full_hand(street: Neighbourhood) -> list[Transaction]:
    """Readings of two periods and transactions of three senders, two with several nonces, all good."""
    street.time_ms = GENESIS_TIME_MS + 2 * PERIOD_MS
    return [
        *(street.reading(name, FIRST_PERIOD + period, 10 * period, 10 * period) for name in NAMES for period in (0, 1)),
        *(street.sign("bob", pay("carla"), nonce=nonce) for nonce in range(3)),
        *(street.sign("carla", pay("anne"), nonce=nonce) for nonce in range(2)),
        street.sign("bob", Rejoin(), key=node_key("bob")),
    ]


class TestOrder:
    def test_readings_come_first_then_senders_as_the_beacon_says(self) -> None:
        street = Neighbourhood()
        hand = a_full_hand(street)
        context = street.context()
        taken, _ = select_transactions(street.reader, context, hand, 10**6, 10**3)

        readings = [(one.payload.period, one.sender) for one in taken[:8]]  # type: ignore[union-attr]
        assert readings == sorted(readings)
        rest = [(digest(context.beacon, one.sender), one.nonce) for one in taken[8:]]
        assert rest == sorted(rest)
        assert len(taken) == len(hand)

    def test_another_beacon_prescribes_another_order_of_senders(self) -> None:
        street = Neighbourhood()
        senders = [street.sign(name, pay("stranger")) for name in NAMES]
        orders = set()
        for number in range(20):
            context = replace_fields(street.context(), beacon=bytes([number]) * 64)
            taken, _ = select_transactions(street.reader, context, senders, 10**6, 10**3)
            orders.add(tuple(one.sender for one in taken))
        assert len(orders) > 5

    def test_any_other_order_makes_the_block_invalid(self) -> None:
        street = Neighbourhood()
        hand = a_full_hand(street)
        context = street.context()
        ordered, _ = select_transactions(street.reader, context, hand, 10**6, 10**3)
        for at in range(len(ordered) - 1):
            swapped = [*ordered[:at], ordered[at + 1], ordered[at], *ordered[at + 2 :]]
            with pytest.raises(InvalidBlock, match="order"):
                execute_block(street.reader, context, swapped)

    def test_the_same_transaction_twice_makes_the_block_invalid(self) -> None:
        street = Neighbourhood()
        transaction = street.sign("bob", pay("carla"))
        assert street.is_invalid(transaction, transaction)

    def test_two_transactions_with_one_nonce_make_the_block_invalid(self) -> None:
        street = Neighbourhood()
        assert street.is_invalid(street.sign("bob", pay("carla", 1)), street.sign("bob", pay("carla", 2)))


class TestEnvelope:
    """An envelope that is wrong is refused at the door, and makes a block invalid."""

    def check(self, street: Neighbourhood, transaction: Transaction, refusal: Refusal) -> None:
        assert street.admission(transaction) is refusal
        assert street.is_invalid(transaction)

    def test_a_nonce_that_is_used(self) -> None:
        street = Neighbourhood()
        transaction = street.sign("bob", pay("carla"))
        street.block(transaction)
        self.check(street, transaction, Refusal.NONCE_USED)

    def test_a_nonce_too_far_ahead_or_a_gap_in_a_block(self) -> None:
        street = Neighbourhood()
        self.check(street, street.sign("bob", pay("carla"), nonce=MAX_NONCE_GAP + 1), Refusal.NONCE_TOO_HIGH)
        waiting = street.sign("bob", pay("carla"), nonce=MAX_NONCE_GAP)
        assert street.admission(waiting) is None
        assert street.is_invalid(waiting)

    def test_expired(self) -> None:
        street = Neighbourhood()
        street.block()
        self.check(street, street.sign("bob", pay("carla"), valid_until_height=1), Refusal.EXPIRED)
        assert street.admission(street.sign("bob", pay("carla"), valid_until_height=2)) is None

    def test_valid_too_long(self) -> None:
        street = Neighbourhood()
        longest = 1 + PARAMETERS.max_validity_blocks
        self.check(street, street.sign("bob", pay("carla"), valid_until_height=longest + 1), Refusal.VALID_TOO_LONG)
        assert street.refusal(street.sign("bob", pay("carla"), valid_until_height=longest)) is None

    def test_a_fee_too_low(self) -> None:
        street = Neighbourhood()
        self.check(street, street.sign("bob", pay("carla"), fee_uwatt=FEE - 1), Refusal.FEE_TOO_LOW)

    def test_a_fee_that_cannot_be_paid(self) -> None:
        street = Neighbourhood()
        self.check(street, street.sign("bob", pay("carla"), fee_uwatt=WATT_UWATT + 1), Refusal.CANNOT_PAY_FEE)
        self.check(street, street.sign("stranger", pay("carla")), Refusal.CANNOT_PAY_FEE)

    def test_a_fee_that_can_no_longer_be_paid_at_that_point(self) -> None:
        street = Neighbourhood()
        everything = street.sign("bob", pay("carla", WATT_UWATT - FEE))
        after = street.sign("bob", pay("carla"), nonce=1)
        assert street.is_invalid(everything, after)
        taken, _ = select_transactions(street.reader, street.context(), [everything, after], 10**6, 10)
        assert taken == [everything]

    def test_a_node_key_that_may_not(self) -> None:
        street = Neighbourhood()
        for payload in (pay("carla"), CastVotes(candidate=account_key("bob").public_key, amount_mvote=1)):
            self.check(street, street.sign("bob", payload, key=node_key("bob")), Refusal.KEY_NOT_ALLOWED)

    def test_another_chain(self) -> None:
        street = Neighbourhood()
        other = sign_transaction(account_key("bob"), bytes(32), pay("carla"), fee_uwatt=FEE, valid_until_height=5)
        self.check(street, other, Refusal.WRONG_CHAIN)

    def test_too_many_bytes(self) -> None:
        street = Neighbourhood()
        good = street.sign("bob", pay("carla"))
        self.check(street, replace_fields(good, raw=good.raw + bytes(16 * 1024)), Refusal.OVERSIZED)

    def test_a_minimum_fee_of_zero_needs_no_fee(self) -> None:
        street = Neighbourhood(make_genesis(parameters=replace(PARAMETERS, minimum_fee_uwatt=0)))
        assert street.refusal(street.sign("bob", pay("carla", WATT_UWATT), fee_uwatt=0)) is None
        assert street.refusal(street.sign("bob", Rejoin(), fee_uwatt=0)) is Refusal.NOT_SUSPENDED
        assert street.admission(street.sign("stranger", pay("bob"), fee_uwatt=0)) is Refusal.CANNOT_PAY_FEE


class TestReceipts:
    def test_one_that_fails_takes_its_fee_and_nonce_and_changes_nothing_else(self) -> None:
        street = Neighbourhood()
        before = street.account("bob")
        carla = street.account("carla")
        (receipt,) = street.block(street.sign("bob", pay("carla", WATT_UWATT)), producer="anne")

        assert receipt.reason is Refusal.INSUFFICIENT_WATT
        assert receipt.fee_uwatt == FEE
        assert street.account("bob") == replace(before, nonce=1, watt_uwatt=WATT_UWATT - FEE)
        assert street.account("carla") == carla
        assert street.account("anne").watt_uwatt == WATT_UWATT + FEE
        assert [entry.account for entry in street.last_result.history] == [account_key("bob").public_key]

    def test_later_ones_of_the_sender_go_on_after_a_failure(self) -> None:
        street = Neighbourhood()
        receipts = street.block(
            street.sign("bob", pay("carla", WATT_UWATT), nonce=0), street.sign("bob", pay("carla"), nonce=1)
        )
        assert [receipt.reason for receipt in receipts] == [Refusal.INSUFFICIENT_WATT, None]

    def test_every_transaction_has_a_receipt_in_the_blocks_order_and_a_row_per_account(self) -> None:
        street = Neighbourhood()
        hand = a_full_hand(street)
        taken, result = select_transactions(street.reader, street.context(), hand, 10**6, 10**3)

        assert [receipt.transaction_id for receipt in result.receipts] == [one.id for one in taken]
        assert [receipt.kind for receipt in result.receipts] == [int(one.kind) for one in taken]
        rows = [(entry.account, entry.index) for entry in result.history]
        assert len(rows) == len(set(rows))
        assert {index for _, index in rows} == set(range(len(taken)))


class TestTip:
    def test_it_says_where_the_chain_stands(self) -> None:
        street = Neighbourhood()
        context = street.context("george")
        street.commit(context, execute_block(street.reader, context, []))
        assert TIP.get(street.state) == Tip(
            height=1,
            time_ms=context.time_ms,
            seed=context.seed,
            previous_producer=account_key("george").public_key,
        )

    def test_executing_changes_nothing_below(self) -> None:
        street = Neighbourhood()
        before = dict(street.reader.data)
        execute_block(street.reader, street.context(), [street.sign("bob", pay("carla"))])
        assert dict(street.reader.data) == before


class TestSelection:
    def assert_same(self, street: Neighbourhood, taken: list[Transaction], result: BlockResult) -> None:
        assert execute_block(street.reader, street.context(), taken) == result

    def test_it_leaves_out_what_would_make_the_block_invalid(self) -> None:
        street = Neighbourhood()
        good = a_full_hand(street)
        bad = [
            street.sign("bob", pay("anne"), nonce=0),
            street.sign("bob", pay("anne"), nonce=9),
            street.sign("stranger", pay("anne")),
            street.sign("george", pay("anne"), fee_uwatt=FEE - 1),
            street.sign("george", pay("anne"), valid_until_height=0),
            street.sign("george", pay("george")),
            street.sign("george", pay("anne"), key=node_key("george")),
            sign_transaction(account_key("george"), bytes(32), pay("anne"), fee_uwatt=FEE, valid_until_height=5),
            street.reading("bob", FIRST_PERIOD + 2, 30, 30),
            street.reading("bob", FIRST_PERIOD - 1, 0, 0),
            street.reading("bob", FIRST_PERIOD + 1, -5, 10, sampled_at_ms=1),
            street.reading("bob", FIRST_PERIOD, 0, 0, key=seeded_key("no meter")),
        ]
        taken, result = select_transactions(street.reader, street.context(), [*bad[1:], *good], 10**6, 10**3)

        # the last but two readings of bob's are second ones for a period: evidence, and as such taken
        assert {one.id for one in good} <= {one.id for one in taken}
        self.assert_same(street, taken, result)

    def test_it_takes_what_fits_and_goes_on_past_what_does_not(self) -> None:
        street = Neighbourhood()
        hand = a_full_hand(street)
        sizes = sorted(len(one.raw) for one in hand)
        for max_bytes in (0, sizes[0] - 1, sizes[0], sum(sizes) // 2, sum(sizes)):
            taken, result = select_transactions(street.reader, street.context(), hand, max_bytes, 10**3)
            assert sum(len(one.raw) for one in taken) <= max_bytes
            self.assert_same(street, taken, result)
        assert len(taken) == len(hand)
        for max_count in (0, 1, 5):
            taken, result = select_transactions(street.reader, street.context(), hand, 10**6, max_count)
            assert len(taken) == max_count
            self.assert_same(street, taken, result)

    def test_readings_for_many_blocks_leave_the_others_a_quarter(self) -> None:
        # Given more readings than fit a block, as after an outage, and as many transfers
        street = Neighbourhood()
        readings = [street.reading("bob", FIRST_PERIOD + number, 30, 30) for number in range(3)]
        readings += [street.reading("george", FIRST_PERIOD + number, 0, 0) for number in range(3)]
        transfers = [street.sign("anne", pay("bob"), nonce=nonce) for nonce in range(6)]
        context = street.context(after_ms=10 * PARAMETERS.period_ms)
        # When blocks for four, or for as many bytes, are made
        size = max(len(one.raw) for one in [*readings, *transfers])
        for max_bytes, max_count in ((10**6, 4), (4 * size, 10**3)):
            taken, result = select_transactions(street.reader, context, [*readings, *transfers], max_bytes, max_count)
            # Then both are in them
            assert {one.kind for one in taken} == {Kind.SUBMIT_READING, Kind.TRANSFER}
            assert execute_block(street.reader, context, taken) == result
        # And room that nobody else needs is the readings'
        taken, _ = select_transactions(street.reader, context, readings, 10**6, 4)
        assert len(taken) == 4
        taken, _ = select_transactions(street.reader, context, [*readings, *transfers[:1]], 10**6, 8)
        assert len(taken) == 7

    def test_the_order_in_which_candidates_are_offered_does_not_matter(self) -> None:
        street = Neighbourhood()
        hand = a_full_hand(street)[6:]
        context = street.context()
        reference = select_transactions(street.reader, context, hand, 10**6, 10**3)
        for shuffled in list(permutations(hand))[::577]:
            assert select_transactions(street.reader, context, iter(shuffled), 10**6, 10**3) == reference

    def test_the_chains_own_limits_hold_for_both_sides(self) -> None:
        parameters = replace(PARAMETERS, max_block_transactions=3, max_block_bytes=16 * 1024)
        street = Neighbourhood(make_genesis(parameters=parameters))
        many = [street.sign("bob", pay("carla"), nonce=nonce) for nonce in range(4)]
        taken, _ = select_transactions(street.reader, street.context(), many, 10**6, 10**3)
        assert len(taken) == 3
        assert street.is_invalid(*many)

        large = replace(parameters, max_block_transactions=1_000)
        street = Neighbourhood(make_genesis(parameters=large))
        many = [street.sign("bob", pay("carla"), nonce=nonce) for nonce in range(100)]
        taken, result = select_transactions(street.reader, street.context(), many, 10**6, 10**3)
        assert len(taken) < 100
        self.assert_same(street, taken, result)
        assert street.is_invalid(*many)


class TestAdmission:
    """What the API takes in and the mempool keeps."""

    @pytest.mark.parametrize(
        ("payload", "refusal"),
        [
            (pay("carla"), None),
            (pay("carla", WATT_UWATT), Refusal.INSUFFICIENT_WATT),
            (pay("carla", WATT_UWATT - FEE), None),
            (pay("carla", WATT_UWATT - FEE + 1), Refusal.INSUFFICIENT_WATT),
            (CastVotes(candidate=account_key("carla").public_key, amount_mvote=1), Refusal.INSUFFICIENT_VOTES),
            (SetVotingRule(keep_bps=10_000, targets=()), None),
            (Rejoin(), Refusal.NOT_SUSPENDED),
        ],
    )
    def test_with_the_next_nonce_the_payload_is_tried(self, payload: Payload, refusal: Refusal | None) -> None:
        street = Neighbourhood()
        for name in ("bob", "anne"):
            assert street.admission(street.sign(name, payload)) is refusal

    def test_with_a_later_nonce_it_is_not_since_earlier_ones_may_change_what_holds(self) -> None:
        street = Neighbourhood()
        assert street.admission(street.sign("bob", pay("carla", 10 * WATT_UWATT), nonce=1)) is None

    def test_with_all_earlier_ones_waiting_it_is_tried_after_them(self) -> None:
        # Given bob's first transfer waits, which leaves him half of what he has
        street = Neighbourhood()
        first = street.sign("bob", pay("carla", WATT_UWATT // 2))
        half = WATT_UWATT - WATT_UWATT // 2 - 2 * FEE
        # Then what is left can be promised, and no more
        assert street.admission(street.sign("bob", pay("carla", half), nonce=1), waiting=[first]) is None
        more = street.sign("bob", pay("carla", half + 1), nonce=1)
        assert street.admission(more, waiting=[first]) is Refusal.INSUFFICIENT_WATT
        # But one that is to take the place of the first is tried without it
        assert street.admission(street.sign("bob", pay("carla", WATT_UWATT - FEE)), waiting=[first]) is None

    def test_a_conflicting_reading_is_let_in_as_evidence(self) -> None:
        street = Neighbourhood()
        street.time_ms = GENESIS_TIME_MS + PERIOD_MS
        street.block(street.reading("bob", FIRST_PERIOD, 1, 1))
        assert street.admission(street.reading("bob", FIRST_PERIOD, 2, 2)) is None

    def test_it_changes_nothing(self) -> None:
        street = Neighbourhood()
        before = dict(street.reader.data)
        street.admission(street.sign("bob", pay("carla")))
        assert dict(street.reader.data) == before


def test_a_node_key_rotated_in_a_block_acts_no_more_in_that_block() -> None:
    street = Neighbourhood()
    fresh = seeded_key("fresh node")
    proof = fresh.sign(Domain.NODE_KEY, street.chain_id, account_key("bob").public_key)
    rotation = street.sign("bob", DelegateNodeKey(node_key=fresh.public_key, proof=proof))
    rejoin = street.sign("bob", Rejoin(), key=node_key("bob"))
    for number in range(4):
        context = replace_fields(street.context(), beacon=bytes([number]) * 64)
        taken, _ = select_transactions(street.reader, context, [rotation, rejoin], 10**6, 10)
        order = PrescribedOrder(context.beacon)
        rotates_first = order.key(rotation) < order.key(rejoin)
        assert taken == ([rotation] if rotates_first else [rejoin, rotation])

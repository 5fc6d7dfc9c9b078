"""Recording and paying bills: once, all or nothing, to the unit."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.block import BrokenInvariant
from ledger.effects import EffectKind
from ledger.records import BILLING_CYCLES, BILLS, CYCLE_MEMBERS, BillingCycle, Role, height_key
from ledger.refusal import Refusal
from ledger.settlement.lines import next_period
from ledger.transactions import RecordBills, RegisterMember, Transfer
from tests.ledger.billing.street import (
    CYCLE,
    NAMES,
    TERM_MS,
    bill_of,
    billed_street,
    end_period,
    pay,
    pay_with_others,
    record,
    recorded_bill,
    traded_cycle,
)
from tests.ledger.billing.sums import require_balanced_bills
from tests.ledger.neighbourhood import FIRST_PERIOD, UTILITY, Neighbourhood, account_key, seeded_key

FEE = 1_000


def closed() -> Neighbourhood:
    made = billed_street()
    traded_cycle(made)
    return made


def recorded() -> Neighbourhood:
    made = closed()
    assert record(made) is None
    return made


class TestRecording:
    def test_anybody_records_what_everybody_can_prepare(self) -> None:
        made = closed()
        prepared = {name: bill_of(made, name) for name in NAMES.values()}
        assert record(made, sender="carla") is None
        for name, before in prepared.items():
            bill = recorded_bill(made, name)
            assert (bill.to_pay_uwatt, bill.to_receive_uwatt) == (before.to_pay_uwatt, before.to_receive_uwatt)
            assert (bill.recorded_height, bill.due_ms) == (made.height, made.time_ms + TERM_MS)
            assert bill.paid_height == (0 if bill.to_pay_uwatt else made.height)
        found = BILLING_CYCLES.get(made.state, height_key(CYCLE))
        assert found == BillingCycle(members=5, recorded=5, unpaid=2)
        require_balanced_bills(made.state)

    def test_recording_moves_no_tokens_but_the_fee(self) -> None:
        made = closed()
        before = {name: made.account(name).watt_uwatt for name in NAMES.values()}
        record(made, sender="carla")
        after = {name: made.account(name).watt_uwatt for name in NAMES.values()}
        assert after == before | {"carla": before["carla"] - FEE, "anne": before["anne"] + FEE}

    def test_it_stands_in_the_history_of_everybody_billed(self) -> None:
        made = recorded()
        assert {entry.account for entry in made.last_result.history} == set(NAMES)

    def test_an_open_cycle_is_refused(self) -> None:
        made = closed()
        assert record(made, cycle=CYCLE + 1) is Refusal.CYCLE_OPEN
        assert record(made, cycle=CYCLE + 10**6) is Refusal.CYCLE_OPEN

    def test_a_cycle_in_which_nothing_was_settled_is_refused(self) -> None:
        assert record(closed(), cycle=CYCLE - 1) is Refusal.UNKNOWN_CYCLE

    def test_a_page_beyond_the_last_is_refused(self) -> None:
        assert record(closed(), page=1) is Refusal.UNKNOWN_PAGE

    def test_a_page_is_recorded_once(self) -> None:
        made = recorded()
        before = dict(BILLS.scan(made.state))
        assert record(made, sender="bob") is Refusal.BILLS_RECORDED
        assert dict(BILLS.scan(made.state)) == before

    def test_of_two_in_one_block_the_second_is_refused(self) -> None:
        made = closed()
        receipts = made.block(*(made.sign(name, RecordBills(cycle=CYCLE, page=0)) for name in ("bob", "carla")))
        assert sorted((receipt.reason for receipt in receipts), key=str) == [None, Refusal.BILLS_RECORDED]

    def test_pages_are_recorded_in_any_order_and_sum_to_zero_together(self) -> None:
        names = tuple(f"home-{number}" for number in range(70))
        made = billed_street(names=names)
        end_period(made, FIRST_PERIOD + 1)
        made.block(producer=names[0])
        while next_period(made.state) < FIRST_PERIOD + 2:
            made.block(producer=names[0])
        for page in (1, 0):
            assert made.refusal(made.sign(names[0], RecordBills(CYCLE, page)), producer=names[0]) is None
            require_balanced_bills(made.state)
        assert made.refusal(made.sign(names[0], RecordBills(CYCLE, 2)), producer=names[0]) is Refusal.UNKNOWN_PAGE
        bills = [bill for _, bill in BILLS.scan(made.state, height_key(CYCLE))]
        assert len(bills) == 71
        assert sum(bill.to_pay_uwatt - bill.to_receive_uwatt for bill in bills) == 0

    def test_who_is_registered_later_does_not_move_the_pages(self) -> None:
        made = closed()
        newcomer = RegisterMember(account=seeded_key("dora").public_key, name="dora", roles=0, feeder="feeder-1")
        assert made.refusal(made.sign("anne", newcomer)) is None
        assert record(made) is None
        assert len(list(BILLS.scan(made.state))) == 5

    @pytest.mark.parametrize("who", ["bob", UTILITY])
    def test_billed_energy_that_was_not_settled_stops_the_program(self, who: str) -> None:
        made = closed()
        state = made.state
        key = (height_key(CYCLE), account_key(who).public_key)
        sums = CYCLE_MEMBERS.get(state, *key)
        assert sums is not None
        CYCLE_MEMBERS.put(state, replace(sums, received_wh=sums.received_wh + 1), *key)
        made.reader.apply(state.changes())
        with pytest.raises(BrokenInvariant, match="Wh billed"):
            record(made)

    def test_without_a_gateway_nothing_is_billed(self) -> None:
        made = billed_street()
        genesis = replace(
            made.genesis, members=tuple(one for one in made.genesis.members if not one.roles & Role.GATEWAY)
        )
        alone = Neighbourhood(genesis)
        end_period(alone, FIRST_PERIOD + 1)
        alone.block(alone.reading("bob", FIRST_PERIOD, 400, 0))
        while next_period(alone.state) < FIRST_PERIOD + 2:
            alone.block()
        assert record(alone) is Refusal.UNKNOWN_CYCLE


class TestPaying:
    def test_a_customer_pays_the_gateway(self) -> None:
        made = recorded()
        before = {name: made.account(name).watt_uwatt for name in ("bob", UTILITY)}
        assert pay(made, "bob") is None
        assert made.account("bob").watt_uwatt == before["bob"] - 180_000 - FEE
        assert made.account(UTILITY).watt_uwatt == before[UTILITY] + 180_000
        assert recorded_bill(made, "bob").paid_height == made.height
        assert {entry.account for entry in made.last_result.history} == {
            account_key(name).public_key for name in ("bob", UTILITY)
        }

    def test_the_gateway_pays_its_members(self) -> None:
        made = recorded()
        before = {name: made.account(name).watt_uwatt for name in ("anne", "george")}
        assert made.refusal(made.sign("bob", Transfer(account_key(UTILITY).public_key, 1, 5_000, ""))) is None
        assert pay(made, UTILITY) is None
        assert made.account("george").watt_uwatt == before["george"] + 145_000
        assert made.account("anne").watt_uwatt == before["anne"] + 27_000 + 2 * FEE
        require_balanced_bills(made.state)

    def test_every_step_of_a_payment_is_told(self) -> None:
        made = recorded()
        assert pay(made, UTILITY) is None
        told = [one for one in made.last_result.effects if one.kind == EffectKind.BILL_PAID]
        assert {(NAMES[one.account], one.other and NAMES[one.other], one.balance_uwatt) for one in told} == {
            (UTILITY, "anne", -27_000),
            ("anne", UTILITY, 27_000),
            (UTILITY, "george", -145_000),
            ("george", UTILITY, 145_000),
        }
        assert {(one.period, one.transaction) for one in told} == {(FIRST_PERIOD + 1, 0)}

    def test_when_all_have_paid_everybody_has_what_the_bills_say(self) -> None:
        made = billed_street()
        start = {name: made.account(name) for name in NAMES.values()}
        traded_cycle(made)
        costs = {name: bill_of(made, name).cost_uwatt for name in NAMES.values()}
        record(made)
        assert [receipt.reason for receipt in pay_with_others(made, "bob", UTILITY)] == [None, None]
        for name, cost in costs.items():
            account = made.account(name)
            earned = FEE * sum(made.account(one).nonce for one in NAMES.values()) if name == "anne" else 0
            assert account.watt_uwatt == start[name].watt_uwatt - cost - FEE * account.nonce + earned, name
        found = BILLING_CYCLES.get(made.state, height_key(CYCLE))
        assert found is not None
        assert found.unpaid == 0

    def test_what_is_not_recorded_cannot_be_paid(self) -> None:
        made = closed()
        assert pay(made, "bob") is Refusal.BILL_NOT_RECORDED
        record(made)
        assert pay(made, "bob", cycle=CYCLE + 1) is Refusal.BILL_NOT_RECORDED

    def test_a_bill_is_paid_once(self) -> None:
        made = recorded()
        assert pay(made, "bob") is None
        before = made.account("bob").watt_uwatt
        assert pay(made, "bob") is Refusal.BILL_PAID
        assert made.account("bob").watt_uwatt == before - FEE

    def test_a_bill_that_leaves_nothing_to_pay_is_paid(self) -> None:
        assert pay(recorded(), "george") is Refusal.BILL_PAID

    def test_who_has_too_little_pays_nothing_of_it(self) -> None:
        made = recorded()
        leaving = made.account("bob").watt_uwatt - 179_999 - 2 * FEE
        made.block(made.sign("bob", Transfer(account_key("carla").public_key, 1, leaving, "")))
        utility = made.account(UTILITY).watt_uwatt
        assert pay(made, "bob") is Refusal.INSUFFICIENT_WATT
        assert made.account("bob").watt_uwatt == 179_999
        assert made.account(UTILITY).watt_uwatt == utility
        assert recorded_bill(made, "bob").paid_height == 0
        require_balanced_bills(made.state)

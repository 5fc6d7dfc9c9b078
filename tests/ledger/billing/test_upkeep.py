"""Bills that are not paid in time; and when old lines are forgotten."""

from __future__ import annotations

from ledger.billing import upkeep
from ledger.execution import Execution
from ledger.records import (
    ARREARS,
    BILL_LINES,
    BILLING_CYCLES,
    BILLS,
    CLAIMS,
    CYCLE_MEMBERS,
    DUE_BILLS,
    Arrears,
    BillingCycle,
    BillLine,
    DueBill,
    height_key,
)
from ledger.refusal import Refusal
from ledger.settlement.lines import next_period
from ledger.state import State
from tests.ledger.billing.street import (
    CYCLE,
    TERM_MS,
    bill_of,
    billed_street,
    pay,
    record,
    recorded_bill,
    traded_cycle,
)
from tests.ledger.billing.sums import require_balanced_bills
from tests.ledger.neighbourhood import FIRST_PERIOD, PARAMETERS, UTILITY, Neighbourhood, account_key

BOB = account_key("bob").public_key


def recorded(**street: int) -> Neighbourhood:
    made = billed_street(**street)
    traded_cycle(made)
    assert record(made) is None
    return made


def arrears(made: Neighbourhood, name: str) -> list[Arrears]:
    return [found for _, found in ARREARS.scan(made.state, account_key(name).public_key)]


def execution(made: Neighbourhood, state: State, time_ms: int) -> Execution:
    return Execution(state, made.parameters, made.chain_id, made.height + 1, time_ms)


class TestArrears:
    def test_an_unpaid_bill_is_in_arrears_once_its_time_has_passed(self) -> None:
        made = recorded()
        due_ms = recorded_bill(made, "bob").due_ms
        made.block(after_ms=due_ms - made.time_ms)
        assert arrears(made, "bob") == []
        made.block(after_ms=1)
        assert arrears(made, "bob") == [Arrears(amount_uwatt=180_000, since_height=made.height)]
        assert arrears(made, UTILITY) == [Arrears(amount_uwatt=172_000, since_height=made.height)]
        assert arrears(made, "george") == []
        require_balanced_bills(made.state)

    def test_paying_ends_it(self) -> None:
        made = recorded()
        made.block(after_ms=TERM_MS + 1)
        assert pay(made, "bob") is None
        assert arrears(made, "bob") == []
        require_balanced_bills(made.state)

    def test_a_bill_paid_in_time_never_gets_there(self) -> None:
        made = recorded()
        assert pay(made, "bob") is None
        made.block(after_ms=TERM_MS + 1)
        assert arrears(made, "bob") == []

    def test_a_block_notes_so_many_the_oldest_first(self) -> None:
        made = billed_street()
        state = made.state
        for number in range(upkeep.MAX_NOTED + 3):
            DUE_BILLS.put(state, DueBill(amount_uwatt=1), height_key(number), height_key(1), number.to_bytes(32, "big"))
        upkeep.note_arrears(execution(made, state, made.time_ms))
        left = [int.from_bytes(key[:8], "big") for key, _ in DUE_BILLS.scan(state)]
        assert left == [upkeep.MAX_NOTED, upkeep.MAX_NOTED + 1, upkeep.MAX_NOTED + 2]
        assert len(list(ARREARS.scan(state))) == upkeep.MAX_NOTED


class TestForgetting:
    def settle_past_history(self, made: Neighbourhood, history_periods: int) -> None:
        while next_period(made.state) < FIRST_PERIOD + 2 + history_periods:
            made.block(after_ms=4_000)
        for _ in range(PARAMETERS.epoch_blocks):
            made.block(after_ms=1)

    def test_a_cycle_that_is_paid_is_forgotten_after_its_history_but_for_bills_and_sums(self) -> None:
        made = recorded(history_periods=6)
        assert pay(made, "bob") is None
        assert pay(made, UTILITY) is None
        self.settle_past_history(made, 5)
        assert list(BILL_LINES.scan(made.state, height_key(CYCLE)))
        self.settle_past_history(made, 6)
        for table in (BILL_LINES, CLAIMS, BILLING_CYCLES):
            assert not list(table.scan(made.state, height_key(CYCLE))), table.record
        assert len(list(BILLS.scan(made.state, height_key(CYCLE)))) == 5
        assert len(list(CYCLE_MEMBERS.scan(made.state, height_key(CYCLE)))) == 5
        assert recorded_bill(made, "bob").to_pay_uwatt == 180_000
        assert bill_of(made, "bob").lines == ()
        assert list(BILL_LINES.scan(made.state, height_key(CYCLE + 1))), "the next cycle is not recorded"
        assert record(made) is Refusal.BILLS_RECORDED

    def test_not_while_a_bill_is_unpaid(self) -> None:
        made = recorded()
        assert pay(made, "bob") is None
        self.settle_past_history(made, 2)
        assert list(BILL_LINES.scan(made.state, height_key(CYCLE)))
        assert list(CLAIMS.scan(made.state, height_key(CYCLE)))
        assert pay(made, UTILITY) is None
        require_balanced_bills(made.state)

    def test_not_while_a_page_is_not_recorded(self) -> None:
        made = recorded()
        state = made.state
        BILLING_CYCLES.put(state, BillingCycle(members=70, recorded=64, unpaid=0), height_key(CYCLE))
        later = FIRST_PERIOD + 100
        made.reader.apply(state.changes())
        while next_period(made.state) < FIRST_PERIOD + 5:
            made.block(after_ms=4_000)
        state = made.state
        upkeep.forget_lines(execution(made, state, later))
        assert state.changes() == {}

    def test_an_unpaid_cycle_does_not_hold_up_the_next(self) -> None:
        made = recorded()  # bob and the gateway have not paid
        while next_period(made.state) < FIRST_PERIOD + 4:
            made.block(after_ms=4_000)
        assert record(made, cycle=CYCLE + 1) is None
        for name in ("anne", "bob", "carla", "george"):
            assert pay(made, name, cycle=CYCLE + 1) in (None, Refusal.BILL_PAID)
        self.settle_past_history(made, 6)
        assert list(BILL_LINES.scan(made.state, height_key(CYCLE)))
        assert not list(BILL_LINES.scan(made.state, height_key(CYCLE + 1)))

    def test_at_most_so_many_records_at_once(self) -> None:
        made = recorded()
        while next_period(made.state) < FIRST_PERIOD + 5:
            made.block(after_ms=4_000)
        state = made.state
        BILLING_CYCLES.put(state, BillingCycle(members=1, recorded=1, unpaid=0), height_key(3))
        for number in range(upkeep.MAX_FORGOTTEN + 10):
            line = BillLine(energy_wh=1, amount_uwatt=1, fee_uwatt=0)
            BILL_LINES.put(state, line, height_key(3), number.to_bytes(74, "big"))
        upkeep.forget_lines(execution(made, state, made.time_ms))
        assert len(list(BILL_LINES.scan(state, height_key(3)))) == 10
        assert BILLING_CYCLES.get(state, height_key(3)) is not None
        upkeep.forget_lines(execution(made, state, made.time_ms))
        assert not list(BILL_LINES.scan(state, height_key(3)))
        assert BILLING_CYCLES.get(state, height_key(3)) is None
        assert BILL_LINES.get(state, height_key(CYCLE), BOB) is None

"""A member's bill: its lines, its claims, what it is compared with; the same on both sides."""

from __future__ import annotations

from ledger.billing.bills import members_of, page_of, prepare
from ledger.records import CYCLE_MEMBERS, Claim, CycleMember, LineKind, height_key
from ledger.settlement.lines import next_period
from ledger.settlement.silence import estimate_wh
from ledger.settlement.titles import Title
from ledger.transactions import PlaceOrder
from tests.ledger.billing.street import CYCLE, NAMES, bill_of, billed_street, end_period, traded_cycle
from tests.ledger.billing.sums import require_balanced_bills
from tests.ledger.neighbourhood import FIRST_PERIOD, UTILITY, Neighbourhood, account_key, meter_key, seeded_key

Shown = tuple[str, str, Title, int, int, int]


def shown(made: Neighbourhood, name: str) -> list[Shown]:
    """(debtor, creditor, title, Wh, uwatt, grid fee) of a bill's lines."""
    return sorted(
        (NAMES[line.debtor], NAMES[line.creditor], line.title, line.energy_wh, line.amount_uwatt, line.fee_uwatt)
        for line in bill_of(made, name).lines
    )


class TestABill:
    def test_a_customer_s_lines(self) -> None:
        made = billed_street()
        traded_cycle(made)
        assert shown(made, "bob") == [
            ("bob", "george", Title.TRADE, 300, 45_000, 7_200),
            ("bob", UTILITY, Title.RETAIL, 600, 180_000, 0),
        ]
        assert {line.from_escrow for line in bill_of(made, "bob").lines if line.title is Title.TRADE} == {True}

    def test_a_producer_s_lines(self) -> None:
        made = billed_street()
        traded_cycle(made)
        assert shown(made, "george") == [
            ("bob", "george", Title.TRADE, 300, 45_000, 7_200),
            ("george", UTILITY, Title.RETAIL, 50, 15_000, 0),
            ("george", UTILITY, Title.SHORTFALL, 100, 30_000, 0),
            (UTILITY, "george", Title.FEED_IN, 2_000, 160_000, 0),
        ]

    def test_customer_and_producer_agree_line_by_line(self) -> None:
        made = billed_street()
        traded_cycle(made)
        bob, george = bill_of(made, "bob"), bill_of(made, "george")
        between = {account_key("bob").public_key, account_key("george").public_key}
        common = [[line for line in bill.lines if {line.debtor, line.creditor} == between] for bill in (bob, george)]
        assert common[0] == common[1] != []

    def test_what_is_left_to_pay_is_set_off_by_counterparty_and_without_what_escrow_paid(self) -> None:
        made = billed_street()
        traded_cycle(made)
        utility = account_key(UTILITY).public_key
        bob, george = bill_of(made, "bob"), bill_of(made, "george")
        assert bob.claims == {utility: Claim(owed_uwatt=180_000, due_uwatt=0)}
        assert george.claims == {utility: Claim(owed_uwatt=15_000, due_uwatt=160_000)}
        assert (bob.to_pay_uwatt, bob.to_receive_uwatt) == (180_000, 0)
        assert (george.to_pay_uwatt, george.to_receive_uwatt) == (0, 145_000)
        assert (bob.cost_uwatt, george.cost_uwatt) == (232_200, 15_000 + 30_000 - 45_000 - 160_000)

    def test_the_gateway_s_bill_has_everybody_s_grid_fees(self) -> None:
        made = billed_street()
        traded_cycle(made)
        gateway = bill_of(made, UTILITY)
        assert gateway.fees_uwatt == {account_key("bob").public_key: 7_200}
        assert gateway.cost_uwatt == 160_000 + 72_000 - 45_000 - 15_000 - 30_000 - 180_000 - 7_200
        assert (gateway.to_pay_uwatt, gateway.to_receive_uwatt) == (145_000 + 27_000, 180_000)
        require_balanced_bills(made.state)

    def test_energy_and_comparisons(self) -> None:
        made = billed_street()
        traded_cycle(made)
        bob, george = bill_of(made, "bob").sums, bill_of(made, "george").sums
        assert (bob.periods, bob.estimated_periods, bob.import_wh, bob.export_wh) == (2, 0, 900, 0)
        assert (george.import_wh, george.export_wh) == (50, 2_200)
        assert bob.utility_cost_uwatt == 270_000
        assert george.utility_cost_uwatt == 15_000 - 176_000
        # the mean of 300,000 and 80,000 is 190,000, the fee 24,000: 400 Wh of 2,900 in the first, 200 in the second
        assert bob.sharing_cost_uwatt == 400 * 214 + 200 * 214 + 300 * 300
        # bob takes 400 of the first period's surplus, from anne and george as 900 to 2,000; all 200 of the second's
        part_wh = 276
        assert george.sharing_cost_uwatt == 15_000 - part_wh * 190 - (2_000 - part_wh) * 80 - 200 * 190

    def test_an_open_cycle_can_be_looked_at_as_far_as_it_is_settled(self) -> None:
        made = billed_street()
        end_period(made, FIRST_PERIOD)
        made.block(made.reading("bob", FIRST_PERIOD, 70, 0))
        while next_period(made.state) == FIRST_PERIOD:
            made.block()
        bill = bill_of(made, "bob")
        assert (bill.closed, bill.recorded) == (False, None)
        assert (bill.first_period, bill.last_period) == (FIRST_PERIOD, FIRST_PERIOD + 1)
        assert (bill.sums.periods, bill.to_pay_uwatt) == (1, 21_000)

    def test_preparing_changes_nothing(self) -> None:
        made = billed_street()
        traded_cycle(made)
        state = made.state
        prepare(state, CYCLE, account_key("bob").public_key)
        assert state.changes() == {}

    def test_there_is_none_for_a_stranger_and_none_before_anything_was_settled(self) -> None:
        made = billed_street()
        assert prepare(made.state, CYCLE, account_key("bob").public_key) is None
        traded_cycle(made)
        assert prepare(made.state, CYCLE, seeded_key("stranger").public_key) is None
        assert prepare(made.state, CYCLE + 1, account_key("bob").public_key) is None


class TestEstimates:
    def test_a_silent_member_is_billed_by_estimate_and_corrected_in_the_open_cycle(self) -> None:
        made = billed_street()
        end_period(made, FIRST_PERIOD)
        made.block()
        made.settle_all()
        while next_period(made.state) < FIRST_PERIOD + 2:
            made.block()
        before = bill_of(made, "bob")
        (line,) = [line for line in before.lines if line.debtor == before.member]
        assert line.kind is LineKind.ESTIMATED
        assert before.sums.estimated_periods == 2
        made.block(made.reading("bob", FIRST_PERIOD, 10, 70))
        assert bill_of(made, "bob") == before, "a closed cycle does not change"
        corrected = bill_of(made, "bob", CYCLE + 1)
        kinds = {(one.title, one.kind, one.energy_wh) for one in corrected.lines}
        first_wh = before.sums.import_wh - _second_estimate(before.sums, line.energy_wh, made)
        assert kinds == {
            (Title.RETAIL, LineKind.CORRECTION, first_wh - 10),
            (Title.FEED_IN, LineKind.CORRECTION, 70),
        }
        assert (corrected.sums.import_wh, corrected.sums.export_wh) == (10 - first_wh, 70)
        assert corrected.sums.utility_cost_uwatt == (10 - first_wh) * 300 - 70 * 80
        assert corrected.sums.sharing_cost_uwatt == corrected.sums.utility_cost_uwatt
        require_balanced_bills(made.state)

    def test_who_trades_and_is_silent_is_compared_as_if_it_had_not_traded(self) -> None:
        """A late reading adds what the utility alone would have billed, though the market's purchase stands."""
        made = billed_street()
        traded_cycle_without_bobs_readings(made)
        cycle = next_period(made.state) // 2
        made.block(made.reading("bob", FIRST_PERIOD, 400, 0), made.reading("bob", FIRST_PERIOD + 1, 900, 0))
        sums = [bill_of(made, "bob", one).sums for one in range(CYCLE, cycle + 1)]
        imported = sum(one.import_wh for one in sums)
        silent_later = sum(one.estimated_periods for one in sums) - 2
        assert silent_later == 0
        assert imported == 900
        assert sum(one.utility_cost_uwatt for one in sums) == 270_000


class TestPages:
    def test_members_are_sorted_by_id_the_gateway_among_them(self) -> None:
        made = billed_street()
        traded_cycle(made)
        everybody = sorted(NAMES)
        assert list(members_of(made.state, CYCLE)) == everybody == page_of(made.state, CYCLE, 0)
        assert page_of(made.state, CYCLE, 1) == []

    def test_a_page_has_64_members(self) -> None:
        made = billed_street()
        state = made.state
        keys = sorted(seeded_key("page", number).public_key for number in range(150))
        for key in keys:
            CYCLE_MEMBERS.put(state, CycleMember(), height_key(7), key)
        assert [page_of(state, 7, page) for page in range(4)] == [keys[:64], keys[64:128], keys[128:], []]


def traded_cycle_without_bobs_readings(made: Neighbourhood) -> None:
    for name, side in (("george", 2), ("bob", 1)):
        made.block(made.sign(name, PlaceOrder(side, (FIRST_PERIOD + 1,), energy_wh=300, limit_uwatt_per_kwh=150_000)))
    end_period(made, FIRST_PERIOD)
    made.block(made.reading("george", FIRST_PERIOD, 0, 300))
    end_period(made, FIRST_PERIOD + 1)
    made.block(made.reading("george", FIRST_PERIOD + 1, 0, 600))
    while next_period(made.state) < FIRST_PERIOD + 2:
        made.block()


def _second_estimate(sums: CycleMember, line_wh: int, made: Neighbourhood) -> int:
    """Of two estimates the second period's, which the profile of the hour gives."""
    assert sums.import_wh == line_wh
    return estimate_wh(made.state, made.parameters, meter_key("bob").public_key, FIRST_PERIOD + 1)

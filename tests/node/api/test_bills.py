"""The bills' paths: what they say of a cycle that was traded, metered, estimated and corrected, and of what is not
there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.market.matching import Side
from ledger.settlement.lines import next_period
from ledger.state import State
from ledger.transactions import PayBill, PlaceOrder, RecordBills
from node.client.client import NodeClient
from node.client.errors import ApiProblem
from node.client.events import BillInArrears, BillPaid, BillRecorded, CycleClosed, NodeEvent, Warned
from node.client.models import Bill, LinePart, Problem
from node.views import bill_lines
from tests.node.api.household import Household, household, served
from tests.support.chain import PARAMETERS

pytestmark = pytest.mark.trio

CYCLE_PERIODS = 4
SHORT = replace(
    PARAMETERS, billing_cycle_periods=CYCLE_PERIODS, gate_closure_ms=2_000, payment_term_ms=60_000, forward_periods=40
)
NAMES = ("anne", "bob", "carla", "george")


def settled_before(home: Household) -> int:
    with home.chain.snapshot() as view:
        return next_period(State(view))


def settle_up_to(home: Household, period: int) -> None:
    while settled_before(home) <= period:
        home.produce()


def billed(home: Household) -> int:
    """A cycle, closed, and its number: in its third period bob has bought 300 Wh from george for 0.20, of which he uses
    200. All are metered but carla, whose reading of the second period is late, and of the third missing.
    """
    home.produce()
    cycle = home.now_ms // home.made.open.parameters.period_ms // CYCLE_PERIODS + 2
    first = cycle * CYCLE_PERIODS
    period_ms = home.made.open.parameters.period_ms
    for who, side in (("george", Side.SELL), ("bob", Side.BUY)):
        order = PlaceOrder(side=side, periods=(first + 2,), energy_wh=300, limit_uwatt_per_kwh=200_000)
        home.produce([home.made.sign(who, order)])
    for period in range(settled_before(home), first - 1):
        home.produce(time_ms=max(home.now_ms, (period + 1) * period_ms))
        settle_up_to(home, period)
    late = None
    for place, period in enumerate(range(first - 1, first + CYCLE_PERIODS)):
        readings = [
            home.made.read("bob", 200 * place, 0, period=period),
            home.made.read("george", 10 * place, 500 * place, period=period),
        ]
        if place != 2 and place != 3:
            readings.append(home.made.read("carla", 50 * place, 0, period=period))
        home.produce(readings, time_ms=(period + 1) * period_ms)
        if place == 2:
            late = home.made.read("carla", 100, 0, period=period)
        settle_up_to(home, period)
        if place == 2:
            assert late is not None
            home.produce([late])
    return cycle


async def problem_of(question: Awaitable[Any]) -> Problem:
    with pytest.raises(ApiProblem) as caught:
        await question
    return caught.value.problem


async def all_parts(client: NodeClient, who: str, bill: Bill, line: str) -> list[LinePart]:
    parts: list[LinePart] = []
    after = None
    while True:
        page = await client.explain_line(who, bill.summary.cycle, line, after)
        assert page.not_kept is None
        parts += page.parts
        after = page.next_after
        if after is None:
            return parts


async def test_a_customer_s_bill(tmp_path: Path) -> None:
    with household(tmp_path, SHORT) as home:
        cycle = billed(home)
        async with served(tmp_path, home) as serving:
            # When
            bill = await serving.client.bill("bob", cycle)
            # Then
            lines = {line.title: line for line in bill.lines}
            assert set(lines) == {"trade", "retail", "excess"}
            trade, retail = lines["trade"], lines["retail"]
            assert (trade.debtor.name, trade.creditor.name, trade.from_escrow) == ("bob", "george", True)
            assert (trade.energy_wh, trade.amount_uwatt, trade.fee_uwatt) == (300, 60_000, 300 * 24)
            assert trade.cost_uwatt == 60_000 + 300 * 24
            assert (retail.energy_wh, retail.kind, retail.creditor.name) == (600, "metered", "anne")
            assert lines["excess"].cost_uwatt == -100 * 80
            summary = bill.summary
            assert summary.cost_uwatt == sum(line.cost_uwatt for line in bill.lines)
            assert summary.from_escrow_uwatt == trade.cost_uwatt
            assert summary.to_pay_uwatt == 600 * 300 - 100 * 80
            assert (summary.utility_cost_uwatt, summary.import_wh) == (800 * 300, 800)
            assert summary.saving_uwatt == 800 * 300 - summary.cost_uwatt
            assert (summary.state, summary.recorded_height, summary.due_ms) == ("closed", None, None)
            assert (summary.settled_periods, summary.estimated_periods) == (4, 0)
            (claim,) = bill.claims
            assert (claim.counterparty.name, claim.to_pay_uwatt, claim.settled) == ("anne", summary.to_pay_uwatt, False)


async def test_bills_of_a_cycle_agree_and_sum_to_zero(tmp_path: Path) -> None:
    with household(tmp_path, SHORT) as home:
        cycle = billed(home)
        async with served(tmp_path, home) as serving:
            bills = {name: await serving.client.bill(name, cycle) for name in NAMES}
            assert sum(bill.summary.cost_uwatt for bill in bills.values()) == 0
            for name, bill in bills.items():
                fees = sum(fee.fee_uwatt for fee in bill.fees)
                assert bill.summary.cost_uwatt == sum(line.cost_uwatt for line in bill.lines) - fees, name
            (of_bob,) = [line for line in bills["bob"].lines if line.title == "trade"]
            (of_george,) = [line for line in bills["george"].lines if line.title == "trade"]
            assert (of_bob.id, of_bob.energy_wh, of_bob.fee_uwatt) == (
                of_george.id,
                of_george.energy_wh,
                of_george.fee_uwatt,
            )
            assert of_george.cost_uwatt == -of_george.amount_uwatt
            gateway = bills["anne"]
            assert [(fee.debtor.name, fee.fee_uwatt) for fee in gateway.fees] == [("bob", 300 * 24)]
            assert gateway.summary.is_gateway
            assert gateway.summary.saving_uwatt is None


@pytest.mark.parametrize("most_periods", [96, 3, 1])
async def test_every_line_is_explained_to_the_last_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_periods: int
) -> None:
    monkeypatch.setattr(bill_lines, "MOST_PERIODS", most_periods)
    with household(tmp_path, SHORT) as home:
        cycle = billed(home)
        async with served(tmp_path, home) as serving:
            for name in NAMES:
                for number in (cycle, cycle - 1):
                    bill = await serving.client.bill(name, number)
                    for line in bill.lines:
                        parts = await all_parts(serving.client, name, bill, line.id)
                        sums = [sum(column) for column in zip(*map(_figures, parts), strict=True)]
                        assert sums == [line.energy_wh, line.amount_uwatt, line.fee_uwatt], (name, line)


def _figures(part: LinePart) -> tuple[int, int, int]:
    return part.energy_wh, part.amount_uwatt, part.fee_uwatt


async def test_a_line_leads_to_its_trades_and_signed_readings(tmp_path: Path) -> None:
    with household(tmp_path, SHORT) as home:
        cycle = billed(home)
        async with served(tmp_path, home) as serving:
            bill = await serving.client.bill("bob", cycle)
            (line,) = [one for one in bill.lines if one.title == "trade"]
            # When
            (part,) = await all_parts(serving.client, "bob", bill, line.id)
            # Then
            assert part.period == cycle * CYCLE_PERIODS + 2
            (trade,) = part.trades
            assert (trade.number, trade.seller.name, trade.sell_order, trade.buy_order) == (1, "george", 1, 2)
            of_bob, of_george = part.readings
            assert (of_bob.import_before_wh, of_bob.import_wh) == (400, 600)
            assert (of_george.export_before_wh, of_george.export_wh) == (1_000, 1_500)
            # And the readings are transactions of the chain, signed by the meters
            for proof in part.readings:
                transaction = await serving.client.transaction(proof.transaction_id)
                assert (transaction.kind, transaction.height) == ("submit_reading", proof.height)
                assert transaction.sender_key == proof.meter
                assert transaction.payload["import_wh"] == proof.import_wh


async def test_readings_that_the_state_has_forgotten_are_found_in_their_blocks(tmp_path: Path) -> None:
    parameters = replace(SHORT, acceptance_window_ms=10_000)
    with household(tmp_path, parameters) as home:
        cycle = billed(home)
        for _ in range(40):
            home.produce()
        async with served(tmp_path, home) as serving:
            assert not [one for one in (await serving.client.readings()).readings if one.owner.name == "bob"]
            bill = await serving.client.bill("bob", cycle)
            (line,) = [one for one in bill.lines if one.title == "trade"]
            (part,) = await all_parts(serving.client, "bob", bill, line.id)
            of_bob, of_george = part.readings
            assert (of_bob.import_before_wh, of_bob.import_wh) == (400, 600)
            assert (of_george.export_before_wh, of_george.export_wh) == (1_000, 1_500)


async def test_estimates_and_corrections(tmp_path: Path) -> None:
    with household(tmp_path, SHORT) as home:
        cycle = billed(home)
        async with served(tmp_path, home) as serving:
            bill = await serving.client.bill("carla", cycle)
            kinds = {(line.title, line.kind) for line in bill.lines}
            assert {("retail", "metered"), ("retail", "estimated"), ("retail", "correction")} <= kinds
            estimated = next(line for line in bill.lines if line.kind == "estimated")
            parts = await all_parts(serving.client, "carla", bill, estimated.id)
            first = cycle * CYCLE_PERIODS
            assert {part.period for part in parts} == {first + 1, first + 2, first + 3}
            correction = next(line for line in bill.lines if line.kind == "correction")
            parts = await all_parts(serving.client, "carla", bill, correction.id)
            # the second period's reading came late, the fourth's covers the third
            assert {part.period for part in parts} <= {first + 1, first + 3}
            late = next(part for part in parts if part.period == first + 1)
            assert [(one.import_before_wh, one.import_wh) for one in late.readings] == [(50, 100)]
            assert bill.summary.import_wh == 200 - 50 + 50
            assert bill.summary.estimated_periods == 3


async def test_how_a_member_s_periods_were_settled(tmp_path: Path) -> None:
    with household(tmp_path, SHORT) as home:
        cycle = billed(home)
        async with served(tmp_path, home) as serving:
            bill = await serving.client.bill("bob", cycle)
            page = await serving.client.member_periods("bob", cycle)
            assert [one.period for one in page.periods] == [cycle * CYCLE_PERIODS + place for place in range(4)]
            third = page.periods[2]
            assert (third.market_bought_wh, third.excess_wh, third.drawn_wh, third.estimated) == (300, 100, 0, False)
            assert third.reading is not None
            assert sum(one.cost_uwatt for one in page.periods) == bill.summary.cost_uwatt
            seller = (await serving.client.member_periods("george", cycle)).periods[2]
            assert (seller.market_sold_wh, seller.fed_in_wh, seller.drawn_wh) == (300, 200, 10)
            silent = (await serving.client.member_periods("carla", cycle)).periods[2]
            assert (silent.estimated, silent.reading) == (True, None)


async def test_recording_and_paying_are_told_and_shown(tmp_path: Path) -> None:
    with household(tmp_path, SHORT) as home, home.events.subscribe() as events:
        cycle = billed(home)
        home.produce([home.made.sign("carla", RecordBills(cycle=cycle, page=0))])
        home.produce([home.made.sign("bob", PayBill(cycle=cycle))])
        home.produce(time_ms=home.now_ms + SHORT.payment_term_ms)
        async with served(tmp_path, home) as serving:
            client = serving.client
            bob, carla, george = [(await client.bill(name, cycle)).summary for name in ("bob", "carla", "george")]
            assert (bob.state, carla.state, george.state) == ("paid", "arrears", "paid")
            assert bob.paid_height == george.recorded_height + 1 if george.recorded_height else False
            assert carla.due_ms is not None
            (claim,) = (await client.bill("george", cycle)).claims
            assert (claim.counterparty.name, claim.settled) == ("anne", False)
            found = {one.member.name: one.amount_uwatt for one in (await client.arrears()).arrears}
            assert found == {"anne": claim.to_receive_uwatt, "carla": carla.to_pay_uwatt}
            first_page = await client.arrears(limit=1)
            assert first_page.next_after is not None
            rest = await client.arrears(first_page.next_after)
            assert len(first_page.arrears + rest.arrears) == 2
            assert rest.next_after is None
        told = await _told(home, events)
        assert [event.cycle for event in told if isinstance(event, CycleClosed)][-1] == cycle
        recorded = {event.member.name: event for event in told if isinstance(event, BillRecorded)}
        assert set(recorded) == set(NAMES)
        assert recorded["bob"].to_pay_uwatt == bob.to_pay_uwatt
        assert [(event.member.name, event.amount_uwatt) for event in told if isinstance(event, BillPaid)] == [
            ("bob", bob.to_pay_uwatt)
        ]
        assert {event.member.name for event in told if isinstance(event, BillInArrears)} == {"anne", "carla"}


async def _told(home: Household, events: Any) -> list[NodeEvent]:
    end = Warned(text="that was all", cleared=False)
    home.events.publish(end)
    told: list[NodeEvent] = []
    while end not in told:
        event = await events.next()
        assert event is not None
        told.append(event)
    return told


async def test_bills_and_cycles_in_pages(tmp_path: Path) -> None:
    with household(tmp_path, SHORT) as home:
        cycle = billed(home)
        async with served(tmp_path, home) as serving:
            client = serving.client
            current = (await client.bill("bob")).summary
            assert (current.cycle, current.state) == (cycle, "closed")
            settle_up_to(home, (cycle + 1) * CYCLE_PERIODS)
            assert (await client.bill("bob")).summary.state == "open"
            page = await client.bills("bob", limit=2)
            assert [bill.cycle for bill in page.bills] == [cycle + 1, cycle]
            assert page.next_before == cycle
            older = await client.bills("bob", before=page.next_before)
            assert [bill.cycle for bill in older.bills] == list(range(cycle - 1, older.bills[-1].cycle - 1, -1))
            assert older.next_before is None
            cycles = (await client.billing_cycles(limit=2)).cycles
            assert [(one.cycle, one.closed, one.pages_left) for one in cycles] == [
                (cycle + 1, False, []),
                (cycle, True, [0]),
            ]
            home.produce([home.made.sign("carla", RecordBills(cycle=cycle, page=0))])
            (now,) = (await client.billing_cycles(before=cycle + 1, limit=1)).cycles
            assert (now.pages_left, now.members, now.recorded) == ([], 4, 4)
            assert now.unpaid > 0


async def test_what_is_not_there(tmp_path: Path) -> None:
    with household(tmp_path, SHORT) as home:
        async with served(tmp_path, home) as serving:
            client = serving.client
            assert (await problem_of(client.bill("bob"))).status == 404
            assert (await client.bills("bob")).bills == []
            assert (await client.billing_cycles()).cycles == []
            cycle = billed(home)
            questions: list[Callable[[], Awaitable[Any]]] = [
                lambda: client.bill("nobody"),
                lambda: client.bill("bob", cycle + 1_000),
                lambda: client.explain_line("bob", cycle, "00"),
                lambda: client.explain_line("bob", cycle + 1_000, "00"),
                lambda: client.member_periods("bob", cycle + 1_000),
            ]
            for question in questions:
                assert (await problem_of(question())).status == 404
            for after in (
                "x",
                "00:1",
                "00" * 32 + ":",
                "00" * 32 + ":-1",
                "zz" * 32 + ":1",
                "00" * 32 + ":" + "9" * 19,
            ):
                assert (await problem_of(client.arrears(after))).status == 400, after

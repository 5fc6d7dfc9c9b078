"""E-Cloud's own example from the first block to the last payment: George generates, Anne has half of it, Bob three
tenths, Carla the rest; then the bills say so, everybody pays, and each has what the example says.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.agreements import PoolRole, PoolShare
from ledger.billing.bills import prepare
from ledger.records import ORIGINS, SETTLED_PERIODS, height_key
from ledger.settlement.lines import next_period
from ledger.settlement.settle import PoolRule
from ledger.settlement.titles import Title
from ledger.transactions import JoinPool, OpenPool, PayBill, RecordBills
from tests.ledger.neighbourhood import (
    NAMES,
    PARAMETERS,
    PERIOD_MS,
    UTILITY,
    WATT_UWATT,
    Neighbourhood,
    account_key,
    make_genesis,
)

CYCLE_PERIODS = 4
PRICE, FEE = 150_000, 24_000
RETAIL, FEED_IN = PARAMETERS.retail_uwatt_per_kwh, PARAMETERS.feed_in_uwatt_per_kwh
SHARES = {"anne": 5_000, "bob": 3_000, "carla": 2_000}
NEEDS = {"anne": 700, "bob": 200, "carla": 500}
MADE_WH = 1_000
EXPECTED = {
    # rule → what each gets of the pool in a period, and what of George's kWh is left for the utility
    PoolRule.FIXED: ({"anne": 500, "bob": 200, "carla": 200}, 100),
    PoolRule.BOTH: ({"anne": 540, "bob": 200, "carla": 260}, 0),
}
TX_FEE = 1_000


def key(name: str) -> bytes:
    return account_key(name).public_key


def replay(rule: PoolRule) -> tuple[Neighbourhood, int]:
    """A cycle of four periods, the pool in the last three of them; all settled."""
    parameters = replace(PARAMETERS, billing_cycle_periods=CYCLE_PERIODS)
    street = Neighbourhood(make_genesis(parameters=parameters, with_gateway=True))
    while street.time_ms // PERIOD_MS % CYCLE_PERIODS:
        street.time_ms += PERIOD_MS
    first = street.time_ms // PERIOD_MS
    shares = tuple(PoolShare(account, bps) for account, bps in sorted((key(name), bps) for name, bps in SHARES.items()))
    opened = OpenPool("roof", int(PoolRole.PRODUCER), int(rule), PRICE, shares)
    assert street.refusal(street.sign("george", opened), after_ms=100) is None
    joins = [street.sign(name, JoinPool(1, int(PoolRole.CONSUMER), 0, PRICE)) for name in SHARES]
    assert all(receipt.reason is None for receipt in street.block(*joins, after_ms=100))
    for index in range(-1, CYCLE_PERIODS):
        period = first + index
        street.time_ms = max(street.time_ms, (period + 1) * PERIOD_MS)
        passed = max(0, index)
        readings = [street.reading(name, period, passed * NEEDS[name], 0) for name in NEEDS] if index >= 0 else []
        if index >= 0:
            readings.append(street.reading("george", period, 0, passed * MADE_WH))
        street.block(*readings, after_ms=100)
    while next_period(street.state) < first + CYCLE_PERIODS:
        street.block()
    return street, first


@pytest.mark.parametrize("rule", EXPECTED)
def test_george_generates_and_his_neighbours_share_to_the_last_payment(rule: PoolRule) -> None:
    shared_wh, left_wh = EXPECTED[rule]
    street, first = replay(rule)
    cycle, periods = first // CYCLE_PERIODS, CYCLE_PERIODS - 1
    # Then each period was settled as the example says, with a certificate for every shared Wh
    for period in range(first + 1, first + CYCLE_PERIODS):
        settled = SETTLED_PERIODS.get(street.state, height_key(period))
        assert settled is not None
        assert (settled.pool_wh, settled.fed_in_wh) == (sum(shared_wh.values()), left_wh)
        assert settled.minted_mvote == MADE_WH
        origins = ORIGINS.get(street.state, height_key(period))
        assert origins is not None
        assert {one.consumer: one.energy_wh for one in origins.certificates} == {
            key(name): energy_wh for name, energy_wh in shared_wh.items()
        }
    # and the bills have it by line
    for name, energy_wh in shared_wh.items():
        bill = prepare(street.state, cycle, key(name))
        assert bill is not None
        by_title = {line.title: line for line in bill.lines}
        assert by_title[Title.POOL].energy_wh == periods * energy_wh
        assert by_title[Title.POOL].creditor == key("george")
        assert by_title[Title.POOL].amount_uwatt == periods * energy_wh * PRICE // 1_000
        assert by_title[Title.POOL].fee_uwatt == periods * energy_wh * FEE // 1_000
        rest_wh = periods * (NEEDS[name] - energy_wh)
        assert (by_title[Title.RETAIL].energy_wh if rest_wh else 0) == rest_wh
    # When they are recorded and paid
    before = {name: street.account(name).watt_uwatt for name in (*NAMES, UTILITY)}
    assert street.refusal(street.sign("carla", RecordBills(cycle, 0)), producer="anne") is None
    payers = ("anne", "bob", "carla", *([UTILITY] if left_wh else []))
    for name in payers:
        assert street.refusal(street.sign(name, PayBill(cycle)), producer="anne") is None, name
    # Then everybody has paid what it used, George has what he shared and fed in, and the grid its fee
    cost = {
        name: periods * (energy_wh * (PRICE + FEE) + (NEEDS[name] - energy_wh) * RETAIL) // 1_000
        for name, energy_wh in shared_wh.items()
    }
    earned = periods * (sum(shared_wh.values()) * PRICE + left_wh * FEED_IN) // 1_000
    paid = {name: street.account(name).watt_uwatt - before[name] for name in before}
    fees = {name: TX_FEE * (name in payers) + TX_FEE * (name == "carla") for name in before}
    produced = TX_FEE * (len(payers) + 1)
    assert paid["anne"] == -cost["anne"] - fees["anne"] + produced
    assert paid["bob"] == -cost["bob"] - fees["bob"]
    assert paid["carla"] == -cost["carla"] - fees["carla"]
    assert paid["george"] == earned
    assert paid[UTILITY] == sum(cost.values()) - earned - fees[UTILITY]
    assert sum(street.account(name).watt_uwatt for name in before) == len(before) * WATT_UWATT

"""What a period would have cost otherwise: with the utility alone, and with a plain sharing key."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ledger.market.grid_fee import Place, Tariff
from ledger.settlement.comparison import gap_cost, late_cost, sharing_costs, utility_costs
from ledger.settlement.residual import Gap, Silent
from ledger.settlement.settle import Connection, Period, Trade, settle

TARIFF = Tariff(
    mechanism=1,
    retail=300_000,
    feed_in=80_000,
    fee_model=1,
    fee_base=40_000,
    same_feeder_discount_bps=4_000,
    same_substation_discount_bps=2_000,
    distance_surcharge_bps=1_000,
    congestion_surcharge_bps=5_000,
    congestion_threshold_bps=8_000,
    fee_of_value_bps=500,
)
HERE, THERE = Place("oak", "S"), Place("mill", "T")
GATEWAY = b"G" * 32
ANNE, BOB, GEORGE = b"a" * 32, b"b" * 32, b"g" * 32


def period(**energies: tuple[int, int]) -> Period:
    """(export, import) by name; all on one feeder."""
    names = {"anne": ANNE, "bob": BOB, "george": GEORGE}
    connections = {names[name]: Connection(HERE, *energy, metered=True) for name, energy in energies.items()}
    return Period(TARIFF, GATEWAY, connections)


connections = st.dictionaries(
    st.sampled_from([bytes([number]) * 32 for number in range(6)]),
    st.builds(Connection, st.sampled_from([HERE, THERE]), st.integers(0, 3_000), st.integers(0, 3_000), st.just(True))
    | st.builds(Connection, st.just(HERE), st.just(0), st.integers(0, 3_000), st.just(False)),
    min_size=1,
)


def test_the_utility_alone_sells_at_retail_and_buys_at_feed_in() -> None:
    assert utility_costs(period(anne=(150, 900), george=(2_000, 50))) == {
        ANNE: 900 * 300 - 150 * 80,
        GEORGE: 50 * 300 - 2_000 * 80,
    }


def test_a_plain_key_splits_the_surplus_by_consumption_at_the_mean_with_the_grid_fee() -> None:
    costs = sharing_costs(period(anne=(0, 900), bob=(0, 300), george=(800, 0)))
    assert costs[ANNE] == 600 * (190 + 24) + 300 * 300
    assert costs[BOB] == 200 * (190 + 24) + 100 * 300
    assert costs[GEORGE] == -800 * 190


def test_who_feeds_in_at_least_as_much_as_it_takes_gives_and_does_not_take() -> None:
    costs = sharing_costs(period(anne=(500, 500), bob=(0, 300)))
    assert costs[ANNE] == 500 * 300 - 300 * 190 - 200 * 80
    assert costs[BOB] == 300 * (190 + 24)


def test_trades_change_neither() -> None:
    plain = period(anne=(0, 900), george=(800, 0))
    traded = replace(plain, trades=(Trade(GEORGE, ANNE, 500, 200_000, 24_000),), congested=frozenset({"oak"}))
    assert utility_costs(traded) == utility_costs(plain)
    assert sharing_costs(traded) == sharing_costs(plain)


@given(found=connections)
def test_nobody_pays_more_under_the_key_than_to_the_utility_and_the_silent_pay_the_same(
    found: dict[bytes, Connection],
) -> None:
    made = Period(TARIFF, GATEWAY, found)
    utility, shared = utility_costs(made), sharing_costs(made)
    assert set(utility) == set(shared) == set(found)
    for member, connection in found.items():
        rounding = len(found) + 2  # each line is rounded down by itself
        assert shared[member] <= utility[member] + rounding
        if not connection.metered:
            assert shared[member] == utility[member]


@given(found=connections)
def test_without_trades_the_utility_alone_is_what_is_settled(found: dict[bytes, Connection]) -> None:
    made = Period(TARIFF, GATEWAY, found)
    costs = dict.fromkeys(found, 0)
    for line in settle(made).lines:
        if line.debtor in costs:
            costs[line.debtor] += line.amount_uwatt
        if line.creditor in costs:
            costs[line.creditor] -= line.amount_uwatt
    assert costs == utility_costs(made)


def test_a_late_reading_adds_what_the_utility_would_have_billed() -> None:
    silent = Silent(
        estimate_wh=400, net_wh=-300, offered_wh=50, wanted_wh=60, retail=300_000, feed_in=80_000, offered_at=80_000
    )
    assert late_cost(silent, export_wh=70, import_wh=1_000) == 600 * 300 - 70 * 80
    assert late_cost(silent, export_wh=0, import_wh=100) == -300 * 300
    assert late_cost(silent, export_wh=0, import_wh=400) == 0


def test_a_gap_is_compared_as_if_nothing_had_been_bought_in_it() -> None:
    gap = Gap(estimate_wh=1_000, matched_wh=300, highest_retail=310_000, lowest_retail=290_000, lowest_feed_in=70_000)
    assert gap_cost(gap, export_wh=100, import_wh=1_500) == 500 * 310 - 100 * 70
    assert gap_cost(gap, export_wh=0, import_wh=800) == -200 * 290

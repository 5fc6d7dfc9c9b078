"""The laboratory's neighbourhood, small: three homes, one roof, one day."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from consensus.draw import draw_for
from devnet.laboratory.neighbourhood import world as laboratory
from devnet.laboratory.neighbourhood.figures import Figures
from devnet.laboratory.neighbourhood.founding import FEEDERS, found
from devnet.laboratory.neighbourhood.household import Household
from devnet.laboratory.neighbourhood.plot import write_plot
from devnet.laboratory.neighbourhood.setting import Setting, SettingError
from devnet.laboratory.neighbourhood.tables import days_of, write_csv
from devnet.laboratory.neighbourhood.world import run
from home.autopilot.types import View
from ledger.block import BlockContext
from ledger.execute import PrescribedOrder
from ledger.market.grid_fee import Mechanism
from ledger.state import State
from ledger.transactions import Transaction

SMALL = Setting(homes=3, pv=1, days=1)


@cache
def played(setting: Setting) -> Figures:
    return run(setting)


def test_a_day_brings_its_homes_something_and_balances() -> None:
    figures = played(SMALL)
    assert figures.conservation == 0
    assert figures.refused == {}
    assert len(figures.periods) == 96
    sufficiency, consumption = figures.self_sufficiency, figures.self_consumption
    assert 0 < sufficiency.alone < sufficiency.market <= sufficiency.pooled < 1
    assert 0 < consumption.alone < consumption.market <= consumption.pooled < 1
    assert figures.gain >= 0.95
    assert min(figures.savings_watt) > 0
    assert all(day.traded_wh > 0 and day.shared_wh > 0 for day in days_of(figures))


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    def without_times(figures: Figures) -> Figures:
        return replace(figures, wall_seconds=0.0, cpu_seconds=0.0)

    assert without_times(run(SMALL)) == without_times(played(SMALL))
    assert without_times(played(replace(SMALL, seed=2))) != without_times(replace(played(SMALL), setting=SMALL))


def test_what_the_homes_paid_is_what_they_got_and_the_grid_and_utility_had() -> None:
    """Given a day, then bills are what energy went where: recomputed here from the periods' sums."""
    figures = played(replace(SMALL, traded=False))
    parameters = SMALL.parameters
    shared_wh = sum(one.pool_wh for one in figures.periods)
    alone = sum(home.utility_uwatt for home in figures.homes)
    bills = sum(home.bill_uwatt for home in figures.homes)
    # What is shared costs the homes its grid fee in place of retail, and earns no feed-in: sums floor by line.
    gained = shared_wh * (parameters.retail_uwatt_per_kwh - parameters.feed_in_uwatt_per_kwh - 32_000) / 1_000
    assert alone - bills == pytest.approx(gained, rel=0.001)
    assert figures.gain == 1.0


def test_fees_are_paid_and_earned_among_the_homes() -> None:
    figures = played(SMALL)
    paid = sum(home.fees_uwatt for home in figures.homes)
    assert paid == sum(home.earned_uwatt for home in figures.homes) > 0
    signed = sum(number for kind, number in figures.transactions.items() if kind != "submit_reading")
    assert paid == signed * SMALL.parameters.minimum_fee_uwatt


def test_without_a_pool_orders_alone_bring_less_than_with_it() -> None:
    figures = played(replace(SMALL, pooled=False))
    assert 0 < figures.gain < played(SMALL).gain
    assert all(one.pool_wh == 0 for one in figures.periods)
    assert figures.conservation == 0


def test_with_neither_orders_nor_pool_each_home_lives_alone() -> None:
    figures = played(replace(SMALL, pooled=False, traded=False))
    assert figures.self_sufficiency.market == figures.self_sufficiency.alone
    assert figures.savings_watt == [0.0, 0.0, 0.0]


def test_prices_stay_between_feed_in_and_retail() -> None:
    parameters = SMALL.parameters
    prices = [one.price for one in played(SMALL).periods if one.price is not None]
    assert prices
    assert all(parameters.feed_in_uwatt_per_kwh < price < parameters.retail_uwatt_per_kwh for price in prices)


def test_an_auction_trades_too() -> None:
    figures = played(replace(SMALL, mechanism=Mechanism.AUCTION))
    assert figures.conservation == 0
    assert sum(one.trade_wh for one in figures.periods) > 0
    assert min(figures.savings_watt) > 0


def test_without_a_roof_there_is_nothing_to_share() -> None:
    figures = played(Setting(homes=2, pv=0, days=1))
    assert figures.gain == 1.0
    assert figures.self_consumption.pooled == 0.0
    assert set(figures.transactions) == {"submit_reading"}
    assert figures.savings_watt == [0.0, 0.0]


def test_each_block_is_made_by_who_was_drawn_and_all_of_it_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a run that is watched, then every producer is the draw's and every transaction's signature is checked."""
    seen: list[bytes] = []
    checked: set[bytes] = set()
    execute, verify = laboratory.execute_onto, Transaction.has_valid_signature

    def watched(state: State, context: BlockContext, transactions: list[Transaction]) -> object:
        assert draw_for(state, context.height).leader_account(0) == context.producer
        assert {one.id for one in transactions} <= checked
        assert transactions == sorted(transactions, key=PrescribedOrder(context.beacon).key)
        seen.append(context.producer)
        return execute(state, context, transactions)

    def checks(transaction: Transaction) -> bool:
        checked.add(transaction.id)
        return verify(transaction)

    monkeypatch.setattr(laboratory, "execute_onto", watched)
    monkeypatch.setattr(Transaction, "has_valid_signature", checks)
    figures = run(SMALL)
    assert len(seen) == figures.blocks
    assert {seen.count(one.id) for one in found(SMALL).residents} != {0}
    assert min(seen.count(one.id) for one in found(SMALL).residents) > figures.blocks // 6


def test_an_autopilot_knows_nothing_that_has_not_been_metered(monkeypatch: pytest.MonkeyPatch) -> None:
    leads: list[int] = []
    view_of = Household.view

    def watched(home: Household, *facts: Any) -> View:
        view = view_of(home, *facts)
        leads.append(view.terms.next_open_period(view.time_ms) - view.history[-1].period)
        return view

    monkeypatch.setattr(Household, "view", watched)
    run(SMALL)
    assert set(leads) == {2}, "the period that runs and the one being traded are both unknown"


def test_homes_are_spread_over_the_feeders_and_their_sizes_follow_the_seed() -> None:
    founding = found(Setting())
    assert sum(one.house.solar is not None for one in founding.residents) == 27
    assert {member.feeder for member in founding.genesis.members} == set(FEEDERS)
    assert found(Setting()).genesis == founding.genesis
    assert [one.house for one in found(Setting(seed=2)).residents] != [one.house for one in founding.residents]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (Setting(homes=1), "homes must be 2 … 200, not 1"),
        (Setting(homes=201), "homes must be 2 … 200, not 201"),
        (Setting(homes=5, pv=6), "pv must be 0 … 5, the number of homes, not 6"),
        (Setting(pv=-1), "pv must be 0 … 37"),
        (Setting(days=0), "days must be 1 … 366, not 0"),
        (Setting(seed=-1), "seed must be 0 or more, not -1"),
        (Setting(first_day=366), "the first day must be 0 … 365, not 366"),
    ],
)
def test_what_cannot_be_is_said(setting: Setting, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        run(setting)


def test_the_tables_say_what_the_figures_say(tmp_path: Path) -> None:
    figures = played(SMALL)
    write_csv(figures, tmp_path / "new" / "tables")
    rows = {
        name: list(csv.DictReader((tmp_path / "new" / "tables" / f"{name}.csv").read_text().splitlines()))
        for name in ("homes", "days", "periods")
    }
    assert [row["home"] for row in rows["homes"]] == ["home-00", "home-01", "home-02"]
    assert sum(int(row["certified_wh"]) for row in rows["periods"]) == sum(one.certified_wh for one in figures.periods)
    assert (rows["periods"][0]["begins"], len(rows["periods"])) == ("2016-04-15 00:00", 96)
    (day,) = rows["days"]
    sources = ("own_use_wh", "traded_wh", "shared_wh", "bought_from_utility_wh")
    load_wh = sum(home.load_wh for home in figures.homes)
    assert abs(sum(int(day[source]) for source in sources) - load_wh) <= 96, "registers floor once a period and home"
    savings = [float(row["saving_watt"]) for row in rows["homes"]]
    assert savings == pytest.approx(figures.savings_watt, abs=1e-6)


def test_a_picture_can_be_made_of_any_run(tmp_path: Path) -> None:
    for number, setting in enumerate((SMALL, Setting(homes=2, pv=0, days=1))):
        path = tmp_path / f"{number}.png"
        write_plot(played(setting), path)
        assert path.read_bytes().startswith(b"\x89PNG")

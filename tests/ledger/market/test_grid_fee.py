"""What the grid costs, by how far apart the parties live."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.market.grid_fee import (
    TICK_UWATT_PER_KWH,
    FeeModel,
    Tier,
    amount_uwatt,
    fee_rate,
    highest_fee_rate,
    highest_price,
    tier_between,
)
from tests.ledger.market.terrain import F1, F2, F3, TARIFF

PERCENTAGE = replace(TARIFF, fee_model=int(FeeModel.PERCENTAGE))
tariffs = st.builds(
    lambda base, distance, congestion, share, model: replace(
        TARIFF,
        fee_base=base,
        distance_surcharge_bps=distance,
        congestion_surcharge_bps=congestion,
        fee_of_value_bps=share,
        fee_model=int(model),
    ),
    st.integers(0, 200_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.sampled_from(FeeModel),
)
prices = st.integers(0, 4_000).map(lambda ticks: ticks * TICK_UWATT_PER_KWH)


def test_tiers() -> None:
    assert tier_between(F1, F1) is Tier.SAME_FEEDER
    assert tier_between(F1, F2) is Tier.SAME_SUBSTATION
    assert tier_between(F2, F3) is Tier.REST


@pytest.mark.parametrize(
    ("tier", "congested", "rate"),
    [
        (Tier.SAME_FEEDER, False, 24_000),
        (Tier.SAME_FEEDER, True, 24_000),
        (Tier.SAME_SUBSTATION, False, 32_000),
        (Tier.SAME_SUBSTATION, True, 52_000),
        (Tier.REST, False, 44_000),
        (Tier.REST, True, 64_000),
    ],
)
def test_rates_of_the_distance_model(tier: Tier, congested: bool, rate: int) -> None:
    assert fee_rate(TARIFF, tier, congested, 200_000) == rate


def test_a_rate_is_floored_to_the_tick() -> None:
    assert fee_rate(replace(TARIFF, fee_base=1_999), Tier.SAME_FEEDER, False, 0) == 1_100


def test_a_percentage_of_the_value_does_not_ask_where_they_live() -> None:
    # 15 kWh at 0.12 and 10 kWh at 0.15: value 3.30, fee 5 % = 0.165
    rates = {tier: fee_rate(PERCENTAGE, tier, True, 120_000) for tier in Tier}
    assert set(rates.values()) == {6_000}
    fee = amount_uwatt(15_000, 6_000) + amount_uwatt(10_000, fee_rate(PERCENTAGE, Tier.REST, False, 150_000))
    assert fee == 165_000


@given(tariff=tariffs, limit=prices, better=prices, tier=st.sampled_from(Tier), congested=st.booleans())
def test_no_trade_within_the_limit_costs_more_than_the_highest_rate(
    tariff: object, limit: int, better: int, tier: Tier, congested: bool
) -> None:
    price = min(limit, better)
    rate = fee_rate(tariff, tier, congested, price)  # type: ignore[arg-type]
    assert rate % TICK_UWATT_PER_KWH == 0
    assert rate <= highest_fee_rate(tariff, limit)  # type: ignore[arg-type]


@given(tariff=tariffs, tier=st.sampled_from(Tier), congested=st.booleans())
def test_the_highest_price_leaves_the_fee_within_retail(tariff: object, tier: Tier, congested: bool) -> None:
    price = highest_price(tariff, tier, congested)  # type: ignore[arg-type]
    if price >= 0:
        assert price + fee_rate(tariff, tier, congested, price) <= TARIFF.retail  # type: ignore[arg-type]

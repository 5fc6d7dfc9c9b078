"""The market's benchmark measures what it says: same stream, same trades, the optimum's welfare."""

from __future__ import annotations

from bench.market import (
    Result,
    blocks_measured,
    clear_at_once,
    optimal_welfare,
    period_to_settle,
    table_of,
    trade_one_by_one,
)
from bench.market_streams import MEMBERS, TARIFF, TRADES, stream_of
from ledger.market.grid_fee import TICK_UWATT_PER_KWH
from ledger.market.matching import Side
from ledger.settlement.settle import settle


def test_the_stream_lies_between_feed_in_and_retail_on_thousands_of_levels_and_trades() -> None:
    stream = stream_of(10_000)
    prices = {quote.price for quote in stream}
    assert TARIFF.feed_in <= min(prices) * TICK_UWATT_PER_KWH
    assert max(prices) * TICK_UWATT_PER_KWH <= TARIFF.retail
    assert len(prices) > 1_500
    result = trade_one_by_one(stream)
    offered = sum(quote.quantity for quote in stream if quote.side is Side.SELL)
    assert offered // 4 < result.lots < offered


def test_the_auction_reaches_the_optimum() -> None:
    for seed in range(5):
        stream = stream_of(300, seed)
        assert clear_at_once(stream).welfare == optimal_welfare(stream) > 0


def test_the_period_has_what_the_document_says() -> None:
    period = period_to_settle()
    assert (len(period.connections), len(period.trades)) == (MEMBERS, TRADES) == (200, 2_000)
    assert len(settle(period).lines) > TRADES


def test_blocks_settle_and_close_what_the_document_says() -> None:
    changed = {what: int(result.split()[0].replace(",", "")) for what, _, result in blocks_measured()}
    assert changed["a block that settles 2,000 trades of 200 members"] > 2_000
    assert changed["a block that takes out 1,000 orders"] > 2_000
    assert changed["a block that holds an auction of 1,000 orders"] > 2_000


def test_a_peer_that_could_not_be_measured_is_named() -> None:
    ours = Result(100, 0.5, 7, 900)
    table = table_of({"E-Cloud": ours, "slow": Result(100, 1.0, 7)}, {"E-Cloud": ours, "gone": "no wheel"}, 1_000, 9.5)
    assert ("book: slow", "100 orders/s", "2", "7 lots of 100 orders") in [
        (row[0], row[1], str(row[2]).removesuffix(".0"), row[3]) for row in table.rows
    ]
    assert "gone could not be measured: no wheel." in table.notes

"""What the nodes tell, put together: each block once, and no fork goes unseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from devnet.tally import Forked, NodeTally, Tally, percentile
from node.api.examples import SETTLED_PERIOD, TRADES
from node.client.events import Away, Back, BlockFinal, PeerConnected, PeerDisconnected, PeriodSettled, TradeMade
from node.client.models import Party


def block(height: int, hash_: str = "aa", *, producer: str = "anne", view: int = 0, ms: int | None = 100) -> BlockFinal:
    return BlockFinal(
        height=height,
        hash=hash_,
        producer=Party(address="ec", name=producer),
        view=view,
        time_ms=0,
        time="",
        finality_ms=ms,
        transaction_count=3,
        reading_count=2,
        skipped=[],
    )


@pytest.fixture
def tally() -> Tally:
    return Tally({"anne": NodeTally(), "bob": NodeTally()})


def test_a_block_counts_once_whoever_tells_of_it(tally: Tally) -> None:
    # When both nodes tell of block 1, and one of block 2
    news = [
        tally.on_event("anne", block(1, "aa", view=2)),
        tally.on_event("bob", block(1, "aa", view=2, ms=140)),
        tally.on_event("bob", block(2, "bb", producer="bob", ms=None)),
    ]
    # Then two are news, and count once
    assert news == [True, False, True]
    assert (tally.height, tally.readings, tally.views_skipped) == (2, 4, 2)
    assert tally.produced == {"anne": 1, "bob": 1}
    # And finality is everybody's who saw it
    assert tally.finality_ms == [100, 140]
    assert (tally.nodes["anne"].height, tally.nodes["bob"].height) == (1, 2)
    assert tally.nodes["bob"].tip == "bb"


def test_two_blocks_at_one_height_are_a_fork(tally: Tally) -> None:
    tally.on_event("anne", block(1, "aa"))
    with pytest.raises(Forked, match=r"block 1 is bb at bob's, but aa"):
        tally.on_event("bob", block(1, "bb"))


def test_a_node_that_comes_late_is_still_compared(tally: Tally) -> None:
    for height in range(1, 5):
        tally.on_event("anne", block(height, f"{height}"))
    tally.on_event("bob", block(1, "1"))
    with pytest.raises(Forked):
        tally.on_event("bob", block(2, "other"))


def test_absence_and_peers_are_followed(tally: Tally) -> None:
    tally.on_event("bob", Back(height=0))
    # A peer told of twice, by the stream and by the list, is one
    tally.on_event("bob", PeerConnected(peer="p", address="a"))
    tally.on_event("bob", PeerConnected(peer="p", address="a"))
    assert (tally.nodes["bob"].answers, tally.nodes["bob"].peers) == (True, {"p"})
    tally.on_event("bob", PeerDisconnected(peer="p"))
    tally.on_event("bob", PeerDisconnected(peer="p"))
    assert tally.nodes["bob"].peers == set()
    tally.on_event("bob", Away(detail="gone", retry_in_ms=250))
    assert not tally.nodes["bob"].answers


def test_percentiles_are_samples() -> None:
    assert percentile([], 50) is None
    assert percentile([7], 95) == 7
    assert percentile([4, 1, 3, 2], 50) == 2
    assert percentile(list(range(1, 101)), 95) == 95


@given(st.lists(st.integers(0, 10_000), min_size=1), st.integers(1, 100))
def test_so_many_percent_of_the_samples_are_not_above_a_percentile(samples: list[int], percent: int) -> None:
    found = percentile(samples, percent)
    assert found is not None
    assert sum(sample <= found for sample in samples) * 100 >= percent * len(samples)
    assert sum(sample < found for sample in samples) * 100 < percent * len(samples)


def test_a_trade_and_a_settled_period_count_once_whoever_tells_of_them(tally: Tally) -> None:
    (trade,) = TRADES.trades
    # When both nodes tell of two trades of one period and one of another, and of a period that is settled
    for name in ("anne", "bob"):
        for one in (trade, replace(trade, number=2, energy_wh=300), replace(trade, period=trade.period + 1)):
            tally.on_event(name, TradeMade(trade=one))
        tally.on_event(name, PeriodSettled(settled=SETTLED_PERIOD))
    # Then
    market = tally.market
    assert (market.trades, market.energy_wh) == (3, 1_700)
    assert (market.sold_wh, market.bought_wh) == ({"george": 1_700}, {"anne": 1_700})
    assert (market.settled, market.import_wh, market.certified_wh) == (1, 2_350, 1_850)
    assert market.unbalanced_wh == 0
    # And what does not balance is never lost
    tally.on_event("anne", PeriodSettled(settled=replace(SETTLED_PERIOD, period=trade.period, energy_check_wh=-7)))
    assert market.unbalanced_wh == 7

"""What a node tells of an auction, and of a halt that closes many books at once."""

from __future__ import annotations

from msgspec.structs import replace

from ledger.market.matching import Side
from ledger.state import State
from ledger.transactions import PlaceOrder, Transaction
from node.client.events import AuctionCleared, BookClosed, BooksChanged, NodeEvent, TradeMade
from node.market_observer import MOST_CLOSED, MarketObserver
from node.views.reader import Reader
from storage.memory import MemoryChain
from tests.support.chain import PARAMETERS, Chain
from tests.support.disk import node_chain, stored

PERIOD_MS = PARAMETERS.period_ms


class Watched:
    """A chain with auctions, a node that follows it, and what it tells of the market."""

    def __init__(self) -> None:
        self.made = Chain(parameters=replace(PARAMETERS, market_mechanism=2, gate_closure_ms=4_000))
        self.node = node_chain(self.made, MemoryChain())
        with self.node.store.snapshot() as view:
            self.observer = MarketObserver(State(view))

    def finality_ms(self, _height: int) -> int | None:
        return None

    def produce(self, *transactions: Transaction, time_ms: int | None = None) -> list[NodeEvent]:
        self.made.produce(transactions, time_ms=time_ms)
        found = self.node.execute_stored(stored(self.made, self.made.height), self.made.verifier)
        assert found is not None
        self.node.commit(*found)
        with self.node.store.snapshot() as view:
            return self.observer.block(Reader(view, self), found[0])


def order(side: Side, period: int, energy_wh: int, limit: int) -> PlaceOrder:
    return PlaceOrder(int(side), (period,), energy_wh, limit)


def test_an_auction_is_told_with_its_price_and_its_trades() -> None:
    watched = Watched()
    made = watched.made
    watched.produce()
    period = made.open.earliest_ms // PERIOD_MS + 2
    # Given orders that cross, of which nothing is traded before gate closure
    placed = watched.produce(
        made.sign("george", order(Side.SELL, period, 500, 100_000)),
        made.sign("bob", order(Side.BUY, period, 300, 200_000)),
        made.sign("carla", order(Side.BUY, period, 400, 160_000)),
    )
    (changed,) = placed
    assert isinstance(changed, BooksChanged)
    assert (changed.books[0].best_bid_uwatt_per_kwh, changed.books[0].best_ask_uwatt_per_kwh) == (200_000, 100_000)
    # When the gate closes
    told = watched.produce(time_ms=period * PERIOD_MS - 4_000)
    # Then the book is told closed, the trades one by one, and the auction as a whole, at one price
    (cleared,) = [event for event in told if isinstance(event, AuctionCleared)]
    trades = [event.trade for event in told if isinstance(event, TradeMade)]
    assert (cleared.period, cleared.trades, cleared.energy_wh) == (period, len(trades), 500)
    assert sum(trade.energy_wh for trade in trades) == 500
    assert {trade.price_uwatt_per_kwh for trade in trades} == {cleared.price_uwatt_per_kwh}
    assert 100_000 <= cleared.price_uwatt_per_kwh <= 160_000
    assert {(trade.sell_order, trade.buy_order) for trade in trades} == {(0, 0)}
    closed = [event.book for event in told if isinstance(event, BookClosed)]
    assert period in [book.period for book in closed]
    # And never again
    later = watched.produce(time_ms=period * PERIOD_MS)
    assert not [event for event in later if isinstance(event, AuctionCleared | TradeMade)]


def test_after_a_long_halt_only_the_last_books_are_told_closed() -> None:
    watched = Watched()
    watched.produce()
    begins_ms = watched.made.open.earliest_ms
    # When nothing happens for five hundred periods
    told = watched.produce(time_ms=begins_ms + 500 * PERIOD_MS)
    # Then the last ones are told, in order, none twice
    closed = [event.book.period for event in told if isinstance(event, BookClosed)]
    assert len(closed) == MOST_CLOSED
    assert closed == list(range(closed[0], closed[0] + MOST_CLOSED))
    following = watched.produce(time_ms=begins_ms + 501 * PERIOD_MS)
    assert [event.book.period for event in following if isinstance(event, BookClosed)] == [closed[-1] + 1]

"""How fast the market and the settlement are, beside other people's: ``make bench-market``.

1. *Books*: one stream of limit orders at ticks of 100 uwatt per kWh between feed-in and retail, so that a book has
   thousands of levels; nobody is on both sides. Our book in memory checks feeders' headroom, congestion and own orders
   on the way, and computes the grid fee of each fill; the others do none of it. What is traded is compared.
2. *Clearing*: 1,000 orders at once. Welfare is the sum of limits bought less limits sold, against the optimum found by
   sorting all lots.
3. *Settlement*: a period of 200 members, 2,000 trades, contracts and a pool; and as a block has to do it, with all
   records read and written (``bench.market_blocks``), as closing a book of 1,000 orders.
4. Peers come from PyPI into an environment each, under a temporary directory; the project's is never touched. One that
   cannot be installed or run is named with its last words. Figures are CPU seconds, the best of three runs.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from rich.progress import Progress

from bench.market_blocks import closing, due_period, full_book, settling
from bench.market_streams import MEMBERS, PLACES, SEED, TARIFF, TRADES, Quote, member, place_of, stream_of
from bench.report import Table, machine, show
from ledger.market.auction import clear
from ledger.market.book import Book
from ledger.market.grid_fee import LOT_WH, TICK_UWATT_PER_KWH, Mechanism
from ledger.market.matching import Feeders, Order, Side
from ledger.settlement.settle import Connection, Offer, Period, Pool, PoolRule, Subscription, Trade, settle

NAME: Final = "market"
COMMAND: Final = "make bench-market"
ORDERS: Final = 20_000
SLOW_ORDERS: Final = 2_000  # for a library that takes minutes for all of them
CLEARED_ORDERS: Final = 1_000
REPEATS: Final = 3
INSTALL_S: Final = 600
RUN_S: Final = 300
WIDE: Final = {place.feeder: 10**12 for place in PLACES}
NUMPY_OF_ITS_TIME: Final = ("numpy<2", "pandas<2.2")

T = TypeVar("T")


class Result(NamedTuple):
    orders: int
    seconds: float
    lots: int
    welfare: int = 0


def trade_one_by_one(stream: Sequence[Quote]) -> Result:
    """Our book in memory. Buyers and sellers are different members."""
    orders = []
    for number, quote in enumerate(stream):
        who = number % (MEMBERS // 2) + (MEMBERS // 2 if quote.side is Side.SELL else 0)
        limit, energy_wh = quote.price * TICK_UWATT_PER_KWH, quote.quantity * LOT_WH
        orders.append((member(who), place_of(who), quote.side, limit, energy_wh))

    def run() -> int:
        book = Book(Feeders(WIDE, TARIFF.congestion_threshold_bps), TARIFF)
        traded_wh = 0
        for order in orders:
            _, matched = book.place(*order)
            for fill in matched.fills:
                traded_wh += fill.energy_wh
        return traded_wh // LOT_WH

    seconds, lots = best_of(run)
    return Result(len(stream), seconds, lots)


def clear_at_once(stream: Sequence[Quote]) -> Result:
    """Our auction, with counterparties and their grid fees."""
    orders = []
    for number, quote in enumerate(stream):
        who = number % (MEMBERS // 2) + (MEMBERS // 2 if quote.side is Side.SELL else 0)
        limit, energy_wh = quote.price * TICK_UWATT_PER_KWH, quote.quantity * LOT_WH
        orders.append(Order(number, member(who), place_of(who), quote.side, limit, energy_wh))
    seconds, clearing = best_of(lambda: clear(orders, Feeders(WIDE, TARIFF.congestion_threshold_bps), TARIFF))
    welfare = lots = 0
    for number, energy_wh in clearing.accepted_wh.items():
        bought = stream[number].side is Side.BUY
        lots += energy_wh // LOT_WH if bought else 0
        welfare += stream[number].price * (energy_wh // LOT_WH) * (1 if bought else -1)
    return Result(len(stream), seconds, lots, welfare)


def optimal_welfare(stream: Sequence[Quote]) -> int:
    """Lot by lot, best with best, as long as it gains."""
    bids = sorted((one.price for one in stream if one.side is Side.BUY for _ in range(one.quantity)), reverse=True)
    asks = sorted(one.price for one in stream if one.side is Side.SELL for _ in range(one.quantity))
    return sum(max(0, bid - ask) for bid, ask in zip(bids, asks, strict=False))


def period_to_settle(seed: int = SEED) -> Period:
    """200 members on four feeders, 2,000 trades, 20 contracts of 20 subscribers, a pool of the rest."""
    rng = random.Random(seed)
    members = [member(number) for number in range(MEMBERS)]
    connections = {
        key: Connection(place_of(number), rng.randint(0, 3_000) * (number % 3 == 0), rng.randint(0, 900), True)
        for number, key in enumerate(members)
    }
    trades = []
    for _ in range(TRADES):
        seller, buyer = rng.sample(members, 2)
        price = rng.randint(1_000, 2_500) * TICK_UWATT_PER_KWH
        trades.append(Trade(seller, buyer, rng.randint(1, 20) * LOT_WH, price, 24_000))
    offers = [
        Offer(
            number, members[3 * number], 2_000, {buyer: Subscription(150_000, 300) for buyer in rng.sample(members, 20)}
        )
        for number in range(20)
    ]
    pool = Pool(1, frozenset(members[::3]), dict.fromkeys(members[1::3], 100), PoolRule.BOTH, 100_000)
    return Period(TARIFF, bytes(32), connections, offers, trades, (), (pool,))


def best_of(run: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of the quickest of three runs, and what it returned."""
    quickest = float("inf")
    for _ in range(REPEATS):
        begun = time.process_time()
        result = run()
        quickest = min(quickest, time.process_time() - begun)
    return quickest, result


def blocks_measured() -> list[tuple[str, float, str]]:
    """(what, CPU seconds, result) of what a block does before its transactions."""
    measured = []
    for what, run in (
        (f"a block that settles {TRADES:,} trades of {MEMBERS} members", settling(due_period())),
        ("a block that holds an auction of 1,000 orders", closing(full_book(Mechanism.AUCTION))),
        ("a block that takes out 1,000 orders", closing(full_book(Mechanism.CONTINUOUS))),
    ):
        seconds, changed = best_of(run)
        measured.append((what, seconds, f"{changed:,} records changed"))
    return measured


def peer_result(directory: Path, name: str, stream: Sequence[Quote], *pins: str) -> Result | str:
    """What a peer makes of the stream, or why it could not be asked."""
    environment = directory / name
    python = environment / "bin" / "python"
    orders = directory / f"{name}.json"
    orders.write_text(json.dumps([(int(side), price, quantity) for side, price, quantity in stream]))
    program = Path(__file__).with_name("market_peers.py")
    try:
        venv.create(environment, with_pip=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", name, *pins]
        _run([python, *install], INSTALL_S, directory)
        answer: dict[str, Any] = json.loads(
            _run([python, "-I", program, name, orders], RUN_S, directory).splitlines()[-1]
        )
    except subprocess.CalledProcessError as failed:
        lines = (failed.stderr or failed.stdout or "it said nothing").strip().splitlines()
        return lines[-1][:160]
    except subprocess.TimeoutExpired as failed:
        return f"not done within {failed.timeout:.0f} s"
    return Result(answer["orders"], answer["seconds"], answer["lots"], answer.get("welfare", 0))


def _run(command: Sequence[str | Path], seconds: float, directory: Path) -> str:
    """In ``directory``, where peers leave what they leave. Errors: CalledProcessError, TimeoutExpired."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds, cwd=directory).stdout


def table_of(
    books: dict[str, Result | str],
    clearings: dict[str, Result | str],
    optimum: int,
    settle_ms: float,
    blocks: Sequence[tuple[str, float, str]] = (),
) -> Table:
    rows, notes = [], []
    (ours, *_), (our_clearing, *_) = books.values(), clearings.values()
    assert isinstance(ours, Result)
    assert isinstance(our_clearing, Result)
    for name, result in books.items():
        if isinstance(result, str):
            notes.append(f"{name} could not be measured: {result}.")
            continue
        rate = result.orders / result.seconds
        ratio = ours.orders / ours.seconds / rate
        rows.append(
            (
                f"book: {name}",
                f"{rate:,.0f} orders/s",
                f"{ratio:,.1f}",
                f"{result.lots:,} lots of {result.orders:,} orders",
            )
        )
    for name, result in clearings.items():
        if isinstance(result, str):
            notes.append(f"{name} could not be measured: {result}.")
            continue
        ratio = result.seconds / our_clearing.seconds
        share = 100 * result.welfare / optimum
        rows.append(
            (
                f"clearing: {name}",
                f"{1_000 * result.seconds:,.2f} ms",
                f"{ratio:,.1f}",
                f"{share:.2f} % of the best welfare",
            )
        )
    rows.append(
        (
            "settling a period",
            f"{settle_ms:,.1f} ms",
            "",
            f"{MEMBERS} members, {TRADES:,} trades, 400 subscriptions, a pool",
        )
    )
    rows.extend((what, f"{1_000 * seconds:,.1f} ms", "", result) for what, seconds, result in blocks)
    notes.append("CPU time of one core, the best of three runs; the ratio is how many times quicker E-Cloud is.")
    notes.append(
        "E-Cloud's book checks feeders, congestion and own orders and computes the grid fee of each fill; its auction "
        "finds counterparties and fees too. The others do neither. order-matching is given a tenth of the orders."
    )
    return Table(
        name=NAME,
        title="The market's books, its auction, and settlement",
        command=COMMAND,
        columns=("what", "measured", "times slower than E-Cloud", "result"),
        rows=rows,
        notes=notes,
    )


def main() -> int:
    stream, short, crowd = stream_of(ORDERS), stream_of(ORDERS)[:SLOW_ORDERS], stream_of(CLEARED_ORDERS, SEED + 1)
    books: dict[str, Result | str] = {"E-Cloud": trade_one_by_one(stream)}
    clearings: dict[str, Result | str] = {"E-Cloud": clear_at_once(crowd)}
    period = period_to_settle()
    settle_s, _ = best_of(lambda: settle(period))
    with tempfile.TemporaryDirectory(prefix="ecloud-bench-market-") as found, Progress() as progress:
        task = progress.add_task("peers", total=4)
        directory = Path(found)
        for name, orders, results, pins in (
            ("lightmatchingengine", stream, books, ()),
            ("order-matching", short, books, ("pandera[polars]",)),
            ("pymarket", crowd, clearings, NUMPY_OF_ITS_TIME),
            ("assume-framework", crowd, clearings, ()),
        ):
            progress.update(task, description=name)
            results[name] = peer_result(directory, name, orders, *pins)
            progress.advance(task)
    ours, theirs = books["E-Cloud"], books["lightmatchingengine"]
    if isinstance(ours, Result) and isinstance(theirs, Result) and ours.lots != theirs.lots:
        print(f"the books disagree: {ours.lots} lots and {theirs.lots}", file=sys.stderr)
        return 1
    show(table_of(books, clearings, optimal_welfare(crowd), 1_000 * settle_s, blocks_measured()))
    print(machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())

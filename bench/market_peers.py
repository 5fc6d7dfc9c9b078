# mypy: ignore-errors
"""Runs one market library on a stream of orders, in an environment of its own: ``python market_peers.py NAME FILE``.

It imports nothing of the project, and only the library it is asked for. FILE holds the stream as JSON:
[[side, price, quantity], …], side 1 buys, prices in ticks, quantities in lots. Prints one JSON object: ``orders``,
``seconds`` of CPU time, ``lots`` traded, and for clearings ``welfare`` in ticks · lots.
"""

import json
import random
import sys
import time
from pathlib import Path

REPEATS = 3


def lightmatchingengine(stream):
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine  # noqa: PLC0415

    engine = LightMatchingEngine()
    lots = 0
    begun = time.process_time()
    for side, price, quantity in stream:
        _, trades = engine.add_order("period", price, quantity, side)
        if trades:
            lots += sum(trade.trade_qty for trade in trades if trade.trade_side == side)
    return {"seconds": time.process_time() - begun, "lots": lots}


def order_matching(stream):
    from datetime import datetime, timedelta  # noqa: PLC0415

    from loguru import logger  # noqa: PLC0415
    from order_matching.enums import Side  # noqa: PLC0415
    from order_matching.matching_engine import MatchingEngine  # noqa: PLC0415
    from order_matching.order import LimitOrder  # noqa: PLC0415
    from order_matching.orders import Orders  # noqa: PLC0415

    logger.remove()  # it writes a line for every order
    engine = MatchingEngine(seed=1)
    start = datetime(2026, 1, 1)
    orders = [
        LimitOrder(
            side=Side.BUY if side == 1 else Side.SELL,
            price=float(price),
            size=float(quantity),
            timestamp=start + timedelta(milliseconds=number),
            order_id=str(number),
            trader_id=str(number),
        )
        for number, (side, price, quantity) in enumerate(stream)
    ]
    lots = 0
    begun = time.process_time()
    for order in orders:
        engine.place(orders=Orders([order]))
        lots += sum(trade.size for trade in engine.match(timestamp=order.timestamp).trades)
    return {"seconds": time.process_time() - begun, "lots": round(lots)}


def pymarket(stream):
    import pymarket as library  # noqa: PLC0415

    market = library.Market()
    for number, (side, price, quantity) in enumerate(stream):
        market.accept_bid(quantity, price, number, side == 1)
    begun = time.process_time()
    transactions, _ = market.run("huang")
    seconds = time.process_time() - begun
    lots = welfare = 0
    for number, quantity in transactions.get_df()[["bid", "quantity"]].itertuples(index=False):
        side, price, _ = stream[int(number)]
        lots += quantity if side == 1 else 0
        welfare += price * quantity * (1 if side == 1 else -1)
    return {"seconds": seconds, "lots": round(lots), "welfare": round(welfare)}


def assume(stream):
    from datetime import datetime, timedelta  # noqa: PLC0415

    from assume.common.market_objects import MarketConfig, MarketProduct  # noqa: PLC0415
    from assume.markets.clearing_algorithms.simple import PayAsClearRole  # noqa: PLC0415
    from dateutil.rrule import HOURLY, rrule  # noqa: PLC0415

    start = datetime(2026, 1, 1)
    product = (start, start + timedelta(minutes=15), None)
    orders = [
        {
            "start_time": product[0],
            "end_time": product[1],
            "only_hours": None,
            "price": price,
            "volume": -quantity if side == 1 else quantity,
            "agent_addr": str(number),
            "bid_id": str(number),
        }
        for number, (side, price, quantity) in enumerate(stream)
    ]
    random.seed(1)
    hours = rrule(HOURLY, dtstart=start, until=start + timedelta(days=1))
    products = [MarketProduct(duration=timedelta(minutes=15), count=1)]
    role = PayAsClearRole(MarketConfig(market_id="street", opening_hours=hours, market_products=products))
    begun = time.process_time()
    accepted, _, _, *_ = role.clear(orders, [product])
    seconds = time.process_time() - begun
    bought = sum(-order["accepted_volume"] for order in accepted if order["volume"] < 0)
    welfare = -sum(order["accepted_volume"] * order["price"] for order in accepted)
    return {"seconds": seconds, "lots": bought, "welfare": welfare}


PEERS = {
    "lightmatchingengine": lightmatchingengine,
    "order-matching": order_matching,
    "pymarket": pymarket,
    "assume-framework": assume,
}

if __name__ == "__main__":
    peer = PEERS[sys.argv[1]]
    given = [tuple(order) for order in json.loads(Path(sys.argv[2]).read_text())]
    results = [peer(given) for _ in range(REPEATS)]
    print(json.dumps({"orders": len(given)} | min(results, key=lambda result: result["seconds"])))

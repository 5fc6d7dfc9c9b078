"""What the market's benchmarks are run on: members, their places, a tariff, and a stream of orders."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from ledger.market.grid_fee import TICK_UWATT_PER_KWH, Place, Tariff
from ledger.market.matching import Side
from ledger.market.terms import tariff_of_parameters
from ledger.parameters import Parameters

SEED: Final = 1
MEMBERS: Final = 200
TRADES: Final = 2_000
TARIFF: Final[Tariff] = tariff_of_parameters(Parameters())
PLACES: Final = tuple(Place(f"F{number}", f"S{number // 2}") for number in range(4))


class Quote(NamedTuple):
    """``price`` in ticks, ``quantity`` in lots."""

    side: Side
    price: int
    quantity: int


def stream_of(count: int, seed: int = SEED) -> list[Quote]:
    """Orders around the middle between feed-in and retail; a third and more trade at once."""
    rng = random.Random(seed)
    lowest, highest = TARIFF.feed_in // TICK_UWATT_PER_KWH, TARIFF.retail // TICK_UWATT_PER_KWH
    found = []
    for _ in range(count):
        side = rng.choice((Side.BUY, Side.SELL))
        middle = (lowest + highest) // 2 + (-250 if side is Side.BUY else 250)
        price = min(highest, max(lowest, round(rng.gauss(middle, 400))))
        found.append(Quote(side, price, rng.randint(1, 100)))
    return found


def member(number: int) -> bytes:
    return number.to_bytes(32, "big")


def place_of(number: int) -> Place:
    return PLACES[number % len(PLACES)]

"""What to buy and sell, at which limit, and whether it is worth a transaction.

Let s be a period's surplus behind car and battery, in all its forecast values, and P their share above x. Prices are
per kWh without grid fee; o_s, o_b, e and g as in ``prices``.

1. *The newsvendor's worth.* The lot that ends at x is worth to a seller P · o_s + (1 − P) · retail, since what is sold
   and not produced is paid at retail; to a buyer P · o_b + (1 − P) · feed-in − fee, since what is bought and not used
   goes at feed-in, fee lost. (Edgeworth 1888; Arrow, Harris and Marschak 1951; for energy Pinson et al. 2007.)
2. *Quantity*: with e, or the best price in the book if that is better, every lot that is worth more than that to a
   buyer, less than that to a seller, but none that is less likely than
   ``LEAST_PERMILLE``, and within the owner's limits, the export nameplate and the tokens at hand. *Limit*: a seller's
   is e, a buyer's halfway between e and the mean worth of its lots: they meet, and no trade costs more than it is
   worth.
3. ``horizon_periods`` that follow each other and want the same side share one order, a strip, of what is right for them
   on average. An order is placed if it gains at least ``GAIN_IN_FEES`` transaction fees once it is filled. A buyer
   places none where nobody is likely to sell: nothing is offered, and g is below ``SOMEBODY_PERMILLE``.
4. Orders that have come to be worth less than their limit are taken out, if that saves more than it costs. Periods with
   own orders or trades get no second one, and as long as the next one has any, nothing new is ordered: so whoever asks
   every quarter hour gets strips too, not one dear order for each period.
5. Fee is the usual one, within a substation. A limit and the highest fee together never exceed retail, so that nobody
   pays more than that, whoever the seller is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from home.autopilot.devices import forecasts_behind
from home.autopilot.forecast import Forecast
from home.autopilot.prices import PERMILLE, Options, mean, options
from home.autopilot.types import (
    MINUTES_PER_DAY,
    MINUTES_PER_HOUR,
    Action,
    Book,
    Cancel,
    OpenOrder,
    Place,
    Terms,
    View,
)
from ledger.market.grid_fee import LOT_WH, TICK_UWATT_PER_KWH, WH_PER_KWH, amount_uwatt, to_tick
from ledger.market.matching import Side

LEAST_PERMILLE: Final = 150
GAIN_IN_FEES: Final = 4
SOMEBODY_PERMILLE: Final = 50
UWATT_PER_WATT: Final = 1_000_000
_NO_BOOK: Final = Book()


@dataclass(frozen=True, slots=True)
class Block:
    """Lots of one side, all together: ``worth`` per kWh on average."""

    energy_wh: int
    worth: int


def decide(view: View) -> tuple[Action, ...]:
    """The actions of this moment, cancellations first."""
    if not view.limits.enabled:
        everything = tuple((order.period, order.number) for order in view.open_orders)
        return (Cancel(everything, "the autopilot is switched off"),) if everything else ()
    first = view.terms.next_open_period(view.time_ms)
    periods = range(first, first + view.limits.horizon_periods)
    forecasts = forecasts_behind(view, periods)
    actions: list[Action] = list(_withdrawals(view, forecasts))
    balance_uwatt = view.balance_uwatt - len(actions) * view.terms.transaction_fee_uwatt
    for side, group in _strips(view, forecasts):
        place = _order(view, side, group, balance_uwatt)
        if place is not None:
            balance_uwatt -= _cost_uwatt(view.terms, place)
            actions.append(place)
    return tuple(actions)


def block(side: Side, surplus_wh: Sequence[int], outside: Options, terms: Terms, most_wh: int) -> Block | None:
    """Rule 2: the lots that are worth trading at the expected price. ``surplus_wh`` ascends."""
    count = len(surplus_wh)
    ascending = surplus_wh if side is Side.SELL else [-value for value in reversed(surplus_wh)]
    energy_wh = total = below = 0
    while energy_wh + LOT_WH <= most_wh:
        while below < count and ascending[below] < energy_wh + LOT_WH:
            below += 1
        if (count - below) * PERMILLE < LEAST_PERMILLE * count:
            break
        if side is Side.SELL:
            worth = ((count - below) * outside.unsold + below * terms.retail) // count
            if worth >= outside.expected:
                break
        else:
            worth = ((count - below) * outside.unbought + below * terms.feed_in) // count - terms.usual_fee
            if worth <= outside.expected:
                break
        total += worth
        energy_wh += LOT_WH
    return Block(energy_wh, total * LOT_WH // energy_wh) if energy_wh else None


def _strips(view: View, forecasts: dict[int, Forecast]) -> Iterator[tuple[Side, list[Forecast]]]:
    """Rule 3: neighbouring periods that are free and want the same side."""
    busy = {order.period for order in view.open_orders} | {period for period, net in view.net_sold_wh.items() if net}
    if view.terms.next_open_period(view.time_ms) in busy:
        return

    def side_of(found: Forecast) -> Side | None:
        if found.period in busy or view.terms.hour(found.period) not in view.limits.hours:
            return None
        return Side.SELL if found.surplus_wh[len(found.surplus_wh) // 2] > 0 else Side.BUY

    for (side, _), group in groupby(
        enumerate(forecasts.values()), lambda item: (side_of(item[1]), item[1].period - item[0])
    ):
        if side is not None and (view.limits.may_sell if side is Side.SELL else view.limits.may_buy):
            yield side, [found for _, found in group]


def _order(view: View, side: Side, group: Sequence[Forecast], balance_uwatt: int) -> Place | None:
    terms, limits = view.terms, view.limits
    outside = mean([_options(view, side, found.period) for found in group])
    surplus_wh = sorted(value for found in group for value in found.surplus_wh)
    most_wh = (
        limits.max_energy_wh if limits.max_energy_wh is not None else abs(surplus_wh[-1 if side is Side.SELL else 0])
    )
    if side is Side.SELL:
        most_wh = min(most_wh, view.export_limit_wh)
    found = block(side, surplus_wh, outside, terms, most_wh)
    if found is None:
        return None
    limit = _limit(view, side, outside, found)
    if limit is None:
        return None
    energy_wh = min(found.energy_wh, _affordable_wh(terms, side, limit, len(group), balance_uwatt))
    if not energy_wh or not _is_worth_it(view, side, group, outside, Block(energy_wh, found.worth)):
        return None
    periods = tuple(one.period for one in group)
    return Place(side, periods, energy_wh, limit, _reason(terms, side, group, energy_wh, limit, outside))


def _options(view: View, side: Side, period: int) -> Options:
    """With the better price that the book offers, if it does: rule 2."""
    found, book = options(view, period), view.books.get(period, _NO_BOOK)
    if side is Side.SELL and book.bids:
        return replace(found, expected=max(found.expected, book.bids[0][0]))
    if side is Side.BUY and book.asks:
        return replace(found, expected=min(found.expected, book.asks[0][0]))
    return found


def _limit(view: View, side: Side, outside: Options, found: Block) -> int | None:
    """Rule 2, within what the owner and the market allow; None where they leave nothing."""
    terms, limits = view.terms, view.limits
    if side is Side.SELL:
        limit = -to_tick(-max(outside.expected, terms.feed_in, limits.min_sell_price or 0))
        return limit if limit <= terms.retail else None
    limit = to_tick(min((outside.expected + found.worth) // 2, terms.retail - terms.highest_fee))
    if limits.max_buy_price is not None:
        limit = min(limit, to_tick(limits.max_buy_price))
    return limit if limit >= terms.feed_in else None


def _affordable_wh(terms: Terms, side: Side, limit: int, periods: int, balance_uwatt: int) -> int:
    """Whole lots whose locks the tokens at hand cover."""
    per_kwh = limit + terms.highest_fee if side is Side.BUY else terms.retail - limit
    free_uwatt = balance_uwatt - terms.transaction_fee_uwatt
    if free_uwatt <= 0:
        return 0
    if not per_kwh:
        return free_uwatt  # it locks nothing
    return free_uwatt * WH_PER_KWH // (per_kwh * periods) // LOT_WH * LOT_WH


def _is_worth_it(view: View, side: Side, group: Sequence[Forecast], outside: Options, found: Block) -> bool:
    """Rule 3."""
    offered = any(view.books[one.period].asks for one in group if one.period in view.books)
    if side is Side.BUY and not offered and outside.given_permille < SOMEBODY_PERMILLE:
        return False
    gained_uwatt = amount_uwatt(len(group) * found.energy_wh, abs(found.worth - outside.expected))
    return gained_uwatt >= GAIN_IN_FEES * view.terms.transaction_fee_uwatt


def _withdrawals(view: View, forecasts: dict[int, Forecast]) -> Iterator[Cancel]:
    """Rule 4."""
    terms = view.terms
    regretted: list[tuple[int, int]] = []
    loss_uwatt = 0
    for order in view.open_orders:
        found = forecasts.get(order.period)
        if found is None:
            continue
        lost = _loss_uwatt(order, found, options(view, order.period), terms)
        if lost > 0:
            regretted.append((order.period, order.number))
            loss_uwatt += lost
    if loss_uwatt >= GAIN_IN_FEES * terms.transaction_fee_uwatt:
        yield Cancel(tuple(sorted(regretted)), f"the forecast has changed: kept, they would lose {_watt(loss_uwatt)}")


def _loss_uwatt(order: OpenOrder, found: Forecast, outside: Options, terms: Terms) -> int:
    """What the order is expected to lose if it is filled at its limit; negative where it gains."""
    scenarios = found.surplus_wh
    if order.side is Side.SELL:
        met_wh = sum(min(order.left_wh, max(0, value)) for value in scenarios) // len(scenarios)
        worth = met_wh * outside.unsold + (order.left_wh - met_wh) * terms.retail
        return (worth - order.left_wh * order.limit_uwatt_per_kwh) // WH_PER_KWH
    met_wh = sum(min(order.left_wh, max(0, -value)) for value in scenarios) // len(scenarios)
    worth = met_wh * outside.unbought + (order.left_wh - met_wh) * terms.feed_in
    return (order.left_wh * (order.limit_uwatt_per_kwh + terms.usual_fee) - worth) // WH_PER_KWH


def _cost_uwatt(terms: Terms, place: Place) -> int:
    """What placing it takes from the account: the lock, at the most, and the fee."""
    limit = place.limit_uwatt_per_kwh
    per_kwh = limit + terms.highest_fee if place.side is Side.BUY else terms.retail - limit
    return amount_uwatt(len(place.periods) * place.energy_wh, per_kwh) + terms.transaction_fee_uwatt


def _reason(terms: Terms, side: Side, group: Sequence[Forecast], energy_wh: int, limit: int, outside: Options) -> str:
    first, last = group[0].period, group[-1].period
    end = terms.minute(last) + MINUTES_PER_DAY // terms.periods_per_day
    hours = f"{_clock(terms.minute(first))}-{_clock(end)}"
    expected_wh = sum(found.expected_wh for found in group)
    what = f"{'sell' if side is Side.SELL else 'buy'} {_kwh(len(group) * energy_wh)} at {_watt(limit)} for {hours}"
    if side is Side.SELL:
        return f"{what}: forecast surplus {_kwh(expected_wh)}, else it earns {_watt(outside.unsold)}"
    return f"{what}: forecast need {_kwh(-expected_wh)}, else it costs {_watt(outside.unbought)}"


def _clock(minute: int) -> str:
    hours, minutes = divmod(minute % MINUTES_PER_DAY, MINUTES_PER_HOUR)
    return f"{hours:02d}:{minutes:02d}"


def _kwh(energy_wh: int) -> str:
    sign = "-" if energy_wh < 0 else ""
    whole, rest = divmod(abs(energy_wh), WH_PER_KWH)
    return f"{sign}{whole}.{rest // LOT_WH:02d} kWh"


def _watt(uwatt: int) -> str:
    """With as many decimals as a tick has, trailing zeros left out down to two."""
    whole, rest = divmod(uwatt, UWATT_PER_WATT)
    digits = f"{rest:06d}"[:4]
    return f"{whole}.{digits[:2]}{digits[2:].rstrip('0')}"


assert TICK_UWATT_PER_KWH * 10_000 == UWATT_PER_WATT, "four decimals show every price"

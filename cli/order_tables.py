"""What ``ecloud order`` shows: orders, positions, books, and what became of an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from node.client.market import Outcome
    from node.client.models import Book, Market, Order, PositionList, Transaction

NONE_TEXT: Final = "–"


def when_text(market: Market, period: int) -> str:
    from node.client.market import period_text

    return period_text(period, market.period_ms, market.utc_offset_minutes, market.now_ms)


def price_text(uwatt_per_kwh: int | None, *, unit: bool = True) -> str:
    """With four decimals, the tick; ``–`` for None."""
    if uwatt_per_kwh is None:
        return NONE_TEXT
    ticks = uwatt_per_kwh // 100
    return f"{ticks // 10_000}.{ticks % 10_000:04d}{' WATT/kWh' if unit else ''}"


def print_outcome_json(found: Transaction, done: list[Outcome]) -> None:
    print_json(
        {
            "id": found.id,
            "height": found.height,
            "refusal": found.refusal,
            "note": found.note,
            "orders": [one._asdict() for one in done],
            "filled_wh": sum(one.filled_wh for one in done),
            "value_uwatt": sum(one.value_uwatt for one in done),
            "fee_uwatt": sum(one.fee_uwatt for one in done),
            "locked_uwatt": sum(one.locked_uwatt for one in done),
            "released_uwatt": sum(one.balance_uwatt for one in found.effects if one.kind == "order_released"),
        }
    )


def print_outcome(market: Market, found: Transaction, done: list[Outcome]) -> None:
    from node.client.format import count, energy, watt

    released = [one for one in found.effects if one.kind == "order_released"]
    if released:
        returned = watt(sum(one.balance_uwatt for one in released))
        typer.echo(f"{count(len(released))} taken out of the book; {returned} came back")
    for one in done:
        head = f"order {one.number}, {when_text(market, one.period)}: "
        for fill in one.fills:
            other = "" if fill.other is None else f" {'from' if one.side == 'buy' else 'to'} {fill.other.label}"
            typer.echo(f"{head}{energy(fill.energy_wh)}{other} at {price_text(fill.price_uwatt_per_kwh)}")
        if one.rests_wh:
            typer.echo(
                f"{head}{energy(one.rests_wh)} in the book at {price_text(one.limit_uwatt_per_kwh)}; "
                f"locks {watt(one.locked_uwatt)}"
            )
        elif one.filled_wh < one.energy_wh:
            typer.echo(f"{head}{energy(one.energy_wh - one.filled_wh)} cancelled: it met your own order")
    filled_wh = sum(one.filled_wh for one in done)
    if filled_wh:
        value, fee = sum(one.value_uwatt for one in done), sum(one.fee_uwatt for one in done)
        pays = f" and {watt(fee)} grid fee" if done[0].side == "buy" else ""
        typer.echo(f"filled {energy(filled_wh)} for {watt(value)}{pays}")
    typer.echo(f"final in block {found.height}")


def print_orders(market: Market, orders: list[Order]) -> None:
    from node.client.format import energy, watt

    print_table(
        [">order", ">period", "delivery", "side", ">kWh", ">of", ">WATT/kWh", ">locked, WATT"],
        [
            [
                str(one.number),
                str(one.period),
                when_text(market, one.period),
                one.side,
                energy(one.left_wh, unit=False, aligned=True),
                energy(one.energy_wh, unit=False, aligned=True),
                price_text(one.limit_uwatt_per_kwh, unit=False),
                watt(one.locked_uwatt, unit=False, aligned=True),
            ]
            for one in orders
        ],
        empty="no open orders",
    )


def print_positions(market: Market, positions: PositionList) -> None:
    from node.client.format import count, energy

    print_table(
        [">period", "delivery", ">sold, kWh", ">bought, kWh", ">open orders", "book"],
        [
            [
                str(one.period),
                when_text(market, one.period),
                energy(one.sold_wh, unit=False, aligned=True),
                energy(one.bought_wh, unit=False, aligned=True),
                count(one.open_orders),
                "open" if one.is_open else "closed",
            ]
            for one in positions.positions
        ],
        empty="nothing bought or sold for periods to come",
    )


def print_book(market: Market, found: Book) -> None:
    from node.client.format import clock_time, count, energy

    summary = found.summary
    closes = clock_time(summary.closes_ms, market.utc_offset_minutes)
    rows = [
        ("period", f"{summary.period}, {when_text(market, summary.period)}"),
        (
            "book",
            f"open until {closes}" if summary.is_open else "settled" if summary.settled else f"closed at {closes}",
        ),
        ("last price", price_text(summary.last_price_uwatt_per_kwh)),
        ("traded", f"{energy(summary.energy_wh)} in {count(summary.trades)} trades"),
    ]
    print_facts(rows)
    typer.echo()
    levels = [("sell", level) for level in reversed(found.asks)] + [("buy", level) for level in found.bids]
    print_table(
        ["side", ">WATT/kWh", ">kWh", ">orders"],
        [
            [
                side,
                price_text(level.price_uwatt_per_kwh, unit=False),
                energy(level.energy_wh, unit=False, aligned=True),
                count(level.orders),
            ]
            for side, level in levels
        ],
        empty="the book is empty",
    )

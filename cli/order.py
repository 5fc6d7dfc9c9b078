"""``ecloud order``: the market of energy. What is bought and sold, when, for how much; books, trades, own orders.

Energy is in kWh, prices in WATT per kWh without the grid fee, which the buyer pays on top. When: a period's number,
``next``, or the neighbourhood's clock, like ``18:00``, ``tomorrow 18:00`` or ``18:00-20:00 for 7 days``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from cli.common import EXIT_USAGE, Api, AsJson, DataDirectory, DevnetNode, Where, ask, fail, new_app
from cli.order_tables import (
    price_text,
    print_book,
    print_orders,
    print_outcome,
    print_outcome_json,
    print_positions,
    when_text,
)
from cli.output import print_json, print_table
from cli.signing import (
    Fee,
    NoWait,
    PasswordFile,
    Signing,
    Timeout,
    WalletDirectory,
    WalletName,
    Yes,
    confirm,
    fee_of,
    find_account,
    own_wallet,
    require_effect,
    sign_and_follow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.market.matching import Side
    from ledger.transactions import Payload
    from node.client.client import NodeClient
    from node.client.models import Market, Order, OrderPage, PositionList, Tariff

app = new_app("The market: buy and sell energy, books, trades, your orders.")

SHOWN_PERIODS: Final = 24
MOST_PERIODS: Final = 1_000
SHOWN_TRADES: Final = 20
MOST_TRADES: Final = 1_000
SHOWN_LEVELS: Final = 10
ORDERS_PAGE: Final = 1_000
MOST_PAGES: Final = 32
CONFIRMED_PERIODS: Final = 4

WhenArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="WHEN...", help="A period: its number, next, 18:00, tomorrow 18:00, 18:00-20:00 for 7 days."
    ),
]


class _Terms(NamedTuple):
    """What an order will be, before anybody has said yes. ``tariffs`` by period."""

    market: Market
    periods: tuple[int, ...]
    tariffs: dict[int, Tariff]
    minimum_fee_uwatt: int


@app.command()
def buy(
    energy: Annotated[str, typer.Argument(metavar="KWH", help="How much in each period, like 1.5.")],
    price: Annotated[str, typer.Argument(metavar="PRICE", help="At the most, WATT per kWh, like 0.18.")],
    when: WhenArguments,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    fee: Fee = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    json: AsJson = False,
) -> None:
    """Buy energy: it is filled at once by whoever sells for less, the rest waits in the book.

    The highest possible cost, grid fee included, is locked; what it costs less comes back.
    """
    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    _place(signing, "buy", energy, price, " ".join(when))


@app.command()
def sell(
    energy: Annotated[str, typer.Argument(metavar="KWH", help="How much in each period, like 1.5.")],
    price: Annotated[str, typer.Argument(metavar="PRICE", help="At the least, WATT per kWh, like 0.12.")],
    when: WhenArguments,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    fee: Fee = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    json: AsJson = False,
) -> None:
    """Sell energy: it is taken at once by whoever pays more, the rest waits in the book.

    A deposit is locked, which buys from the utility what is sold and then not delivered; else it comes back.
    """
    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    _place(signing, "sell", energy, price, " ".join(when))


@app.command()
def quote(
    when: WhenArguments,
    buy: Annotated[str | None, typer.Option("--buy", metavar="KWH@PRICE", help="A purchase, like 1.5@0.12.")] = None,
    sell: Annotated[str | None, typer.Option("--sell", metavar="KWH@PRICE", help="A sale, like 2@0.25.")] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    fee: Fee = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    json: AsJson = False,
) -> None:
    """Put a purchase and a sale in place of all your orders of one period, in one step."""
    from ledger.market.matching import Side
    from ledger.transactions import ReplaceQuote

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    if buy is None and sell is None:
        fail("say --buy KWH@PRICE, --sell KWH@PRICE, or both; to take orders out: ecloud order cancel", EXIT_USAGE)
    (buy_wh, bid), (sell_wh, ask_) = (_two_of("--buy", buy), _two_of("--sell", sell))
    terms = _terms(signing.where, " ".join(when))
    if len(terms.periods) != 1:
        fail("a quote is for one period", EXIT_USAGE)
    rows = [("quote", "in place of all your orders of the period")]
    for side, energy_wh, limit in ((Side.BUY, buy_wh, bid), (Side.SELL, sell_wh, ask_)):
        if energy_wh:
            rows += _order_rows(terms, side, energy_wh, limit)
    (period,) = terms.periods
    _carry_out(signing, terms, rows, "Place it?", ReplaceQuote(period, buy_wh, bid, sell_wh, ask_))


@app.command()
def cancel(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[NUMBER...]", help="Numbers of your orders.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All your open orders.")] = False,
    period: Annotated[
        str | None, typer.Option("--period", metavar="WHEN", help="All your open orders of these periods.")
    ] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    fee: Fee = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    json: AsJson = False,
) -> None:
    """Take open orders out of their books; what they lock comes back."""
    from ledger.transactions import MAX_CANCELLED_ORDERS, CancelOrder, OrderReference
    from node.client.format import energy, watt

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    if sum((bool(numbers), everything, period is not None)) != 1:
        fail("say which: numbers, --period WHEN, or --all", EXIT_USAGE)
    terms = _terms(signing.where, period or "next")
    _, own = own_wallet(signing.where, signing.wallet, signing.wallets)
    orders = ask(signing.where, lambda client: _all_orders(client, own.address))
    if numbers:
        missing = set(numbers) - {order.number for order in orders}
        if missing:
            fail(f"{own.name} has no open order {min(missing)}; it is filled or cancelled already: ecloud order list")
        orders = [order for order in orders if order.number in numbers]
    elif period is not None:
        orders = [order for order in orders if order.period in terms.periods]
    if not orders:
        fail(f"{own.name} has no open orders{' there' if period else ''}")
    if len(orders) > MAX_CANCELLED_ORDERS:
        fail(f"{len(orders)} orders; at most {MAX_CANCELLED_ORDERS} are cancelled at once: use --period", EXIT_USAGE)
    rows = [
        (
            f"cancel {order.number}",
            f"{order.side} {energy(order.left_wh)} at {price_text(order.limit_uwatt_per_kwh)}, "
            f"{when_text(terms.market, order.period)}",
        )
        for order in orders
    ]
    rows.append(("comes back", watt(sum(order.locked_uwatt for order in orders))))
    references = tuple(OrderReference(order.period, order.number) for order in orders)
    _carry_out(signing, terms, rows, "Cancel?", CancelOrder(orders=references))


@app.command(name="list")
def list_orders(
    who: Annotated[
        str | None, typer.Argument(metavar="[WHO]", help="A member or address; else the wallet's own.")
    ] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    json: AsJson = False,
) -> None:
    """Show open orders, and what was bought and sold for periods that are not settled."""
    where = Where(api, data_dir, node)
    name = who or own_wallet(where, wallet, wallets)[1].address
    market, orders, positions = ask(where, lambda client: _standing(client, name))
    if json:
        print_json({"orders": orders, "positions": positions.positions, "height": positions.height})
        return
    print_orders(market, orders)
    typer.echo()
    print_positions(market, positions)


@app.command()
def book(
    when: WhenArguments,
    depth: Annotated[int, typer.Option("--depth", min=1, max=1_000, help="Price levels a side.")] = SHOWN_LEVELS,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show one period's book: who would buy and sell how much, best prices in the middle."""
    where = Where(api, data_dir, node)
    terms = _terms(where, " ".join(when))
    found = ask(where, lambda client: client.book(terms.periods[0], depth=depth))
    if json:
        print_json(found)
    else:
        print_book(terms.market, found)


@app.command()
def trades(
    when: WhenArguments,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST_TRADES, help="How many at the most.")] = SHOWN_TRADES,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show one period's trades, newest first."""
    from node.client.format import count, energy, watt

    where = Where(api, data_dir, node)
    terms = _terms(where, " ".join(when))
    found = ask(where, lambda client: client.trades(terms.periods[0], limit=limit))
    if json:
        print_json(found)
        return
    print_table(
        [">trade", "seller", "buyer", ">kWh", ">WATT/kWh", ">value, WATT", ">grid fee, WATT", ">block"],
        [
            [
                str(one.number),
                one.seller.label,
                one.buyer.label,
                energy(one.energy_wh, unit=False, aligned=True),
                price_text(one.price_uwatt_per_kwh, unit=False),
                watt(one.value_uwatt, unit=False, aligned=True),
                watt(one.fee_uwatt, unit=False, aligned=True),
                count(one.height),
            ]
            for one in found.trades
        ],
        empty=f"nothing was traded for {when_text(terms.market, found.period)} (period {found.period})",
    )


@app.command()
def periods(
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST_PERIODS, help="How many.")] = SHOWN_PERIODS,
    busy: Annotated[bool, typer.Option("--busy", help="Only those with orders or trades.")] = False,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show the periods whose books are open: best prices, trades, and when they close."""
    from node.client.format import clock_time, count, energy

    found = ask(Where(api, data_dir, node), lambda client: client.market(limit=limit, busy=busy))
    if json:
        print_json(found)
        return
    print_table(
        [">period", "delivery", "closes", ">bid", ">ask", ">last", ">trades", ">kWh"],
        [
            [
                str(one.period),
                when_text(found, one.period),
                clock_time(one.closes_ms, found.utc_offset_minutes),
                price_text(one.best_bid_uwatt_per_kwh, unit=False),
                price_text(one.best_ask_uwatt_per_kwh, unit=False),
                price_text(one.last_price_uwatt_per_kwh, unit=False),
                count(one.trades),
                energy(one.energy_wh, unit=False, aligned=True),
            ]
            for one in found.periods
        ],
        empty="no open book has orders or trades; see them all without --busy",
    )
    tariff = found.tariff
    typer.echo()
    typer.echo(
        f"{found.mechanism} market; the utility sells at {price_text(tariff.retail_uwatt_per_kwh)} and buys at "
        f"{price_text(tariff.feed_in_uwatt_per_kwh)}; books are open up to {when_text(found, found.last_open_period)}"
    )


# ------------------------------------------------------------------------------------------------------- what is done


def _place(signing: Signing, word: str, energy: str, price: str, when: str) -> None:
    from ledger.market.matching import Side
    from ledger.transactions import PlaceOrder

    side = Side[word.upper()]
    energy_wh, limit = _energy_and_price(energy, price)
    terms = _terms(signing.where, when)
    payload = PlaceOrder(int(side), terms.periods, energy_wh, limit)
    _carry_out(signing, terms, _order_rows(terms, side, energy_wh, limit), f"{word.capitalize()}?", payload)


def _order_rows(terms: _Terms, side: Side, energy_wh: int, limit: int) -> list[tuple[str, str]]:
    """What a person says yes to."""
    from ledger.market.grid_fee import amount_uwatt
    from ledger.market.matching import Side as Sides
    from node.client.format import count, energy, watt
    from node.client.market import lock_uwatt

    number = len(terms.periods)
    each = energy(energy_wh)
    if number > 1:
        each += f" in each of {count(number)} periods, {energy(energy_wh * number)} in all"
    named = [f"{when_text(terms.market, period)} (period {period})" for period in terms.periods[:CONFIRMED_PERIODS]]
    if number > CONFIRMED_PERIODS:
        last = terms.periods[-1]
        named[-1:] = ["…", f"{when_text(terms.market, last)} (period {last})"]
    locked = sum(lock_uwatt(terms.tariffs[period], side, energy_wh, limit) for period in terms.periods)
    buys = side is Sides.BUY
    rows = [("buy" if buys else "sell", each), ("at the most" if buys else "at the least", price_text(limit))]
    rows.append(("delivery", "\n".join(named)))
    if buys:
        rows.append(
            ("costs at the most", f"{watt(locked)}, with the highest grid fee; locked until filled or cancelled")
        )
    else:
        rows.append(("brings at the least", watt(amount_uwatt(energy_wh, limit) * number)))
        rows.append(("deposit", f"{watt(locked)}; locked until it is delivered or cancelled"))
    return rows


def _carry_out(
    signing: Signing, terms: _Terms, rows: Sequence[tuple[str, str]], question: str, payload: Payload
) -> None:
    from node.client.format import watt
    from node.client.market import outcomes

    keystore, own = own_wallet(signing.where, signing.wallet, signing.wallets)
    fee_uwatt = fee_of(signing, terms.minimum_fee_uwatt)
    confirm(question, [*rows, ("wallet", f"{own.name}  {own.address}"), ("fee", watt(fee_uwatt))], signing)
    found = sign_and_follow(signing, keystore, own, payload, fee_uwatt)
    if found is None:
        return
    done = outcomes(found.effects, found.note, own.address)
    if signing.as_json:
        print_outcome_json(found, done)
    require_effect(found)
    if not signing.as_json:
        print_outcome(terms.market, found, done)


def _terms(where: Where, when: str) -> _Terms:
    """Ends the command for what is no period."""
    from node.client.market import PeriodError

    try:
        return ask(where, lambda client: _ask_terms(client, when))
    except PeriodError as error:
        fail(str(error), EXIT_USAGE)


async def _ask_terms(client: NodeClient, when: str) -> _Terms:
    """Errors: PeriodError."""
    from node.client.market import parse_periods

    market = await client.market(limit=1)
    periods = parse_periods(when, market)
    known = (await client.tariffs()).tariffs
    in_force = {period: [one for one in known if one.first_period <= period][-1] for period in periods}
    minimum = (await client.parameters()).parameters["minimum_fee_uwatt"]
    return _Terms(market, periods, in_force, minimum)


async def _all_orders(client: NodeClient, who: str) -> list[Order]:
    found: list[Order] = []
    after: str | None = None
    for _ in range(MOST_PAGES):
        page: OrderPage = await client.open_orders(who, after=after, limit=ORDERS_PAGE)
        found += page.orders
        after = page.next_after
        if after is None:
            break
    return found


async def _standing(client: NodeClient, who: str) -> tuple[Market, list[Order], PositionList]:
    account = await find_account(client, who)
    address = account.account.address
    return await client.market(limit=1), await _all_orders(client, address), await client.positions(address)


def _energy_and_price(energy: str, price: str) -> tuple[int, int]:
    """Wh and uwatt per kWh. Ends the command for what is neither."""
    from node.client.format import AmountError
    from node.client.market import parse_energy, parse_price

    try:
        return parse_energy(energy), parse_price(price)
    except AmountError as error:
        fail(str(error), EXIT_USAGE)


def _two_of(option: str, text: str | None) -> tuple[int, int]:
    """Of ``KWH@PRICE``; (0, 0) where a side is left out."""
    if text is None:
        return 0, 0
    energy, at, price = text.partition("@")
    if not at:
        fail(f"{option} {text}: say energy and price as KWH@PRICE, for instance 1.5@0.12", EXIT_USAGE)
    return _energy_and_price(energy, price)

"""The market: books, trades, positions, settled periods.

A *period* is a number: milliseconds since 1970, divided by ``period_ms``. Prices and rates are uwatt per kWh.
"""

from __future__ import annotations

from node.client.models.base import Model, Party


class Tariff(Model, frozen=True, kw_only=True):
    """The terms of the books of ``first_period`` and after. ``mechanism``: continuous or auction; ``fee_model``:
    distance or percentage.
    """

    first_period: int
    mechanism: str
    retail_uwatt_per_kwh: int
    feed_in_uwatt_per_kwh: int
    fee_model: str
    fee_base_uwatt_per_kwh: int
    same_feeder_discount_bps: int
    same_substation_discount_bps: int
    distance_surcharge_bps: int
    congestion_surcharge_bps: int
    congestion_threshold_bps: int
    fee_of_value_bps: int


class TariffList(Model, frozen=True, kw_only=True):
    """Oldest first; each holds until the next one's first period."""

    height: int
    tariffs: list[Tariff]


class MarketPeriod(Model, frozen=True, kw_only=True):
    """One delivery period. Its book takes orders while ``is_open``: until ``closes_ms``, gate closure.

    ``best_bid`` and ``best_ask`` are None where nobody bids or asks; ``last_price`` is None before the first trade.
    ``cleared``: its auction was held. ``settled``: nothing of it is open any more.
    """

    period: int
    start_ms: int
    start: str
    closes_ms: int
    closes: str
    is_open: bool
    best_bid_uwatt_per_kwh: int | None
    best_ask_uwatt_per_kwh: int | None
    last_price_uwatt_per_kwh: int | None
    trades: int
    energy_wh: int
    value_uwatt: int
    cleared: bool
    settled: bool


class Market(Model, frozen=True, kw_only=True):
    """The market as a whole, and periods from ``from_period`` on, ascending. ``next_from`` asks for those after them,
    None at the end.

    ``tariff`` is that of the first open period. Books from ``first_open_period`` to ``last_open_period`` take orders.
    All periods before ``next_settled_period`` are settled. Energy is traded in lots, prices are whole ticks.
    ``gateway`` is None where there is none: then nobody trades.
    """

    height: int
    now_ms: int
    now: str
    mechanism: str
    tariff: Tariff
    gateway: Party | None
    period_ms: int
    gate_closure_ms: int
    utc_offset_minutes: int
    lot_wh: int
    tick_uwatt_per_kwh: int
    max_open_orders: int
    first_open_period: int
    last_open_period: int
    next_settled_period: int
    from_period: int
    next_from: int | None
    periods: list[MarketPeriod]


class BookLevel(Model, frozen=True, kw_only=True):
    """All orders of one side at one price."""

    price_uwatt_per_kwh: int
    energy_wh: int
    orders: int


class Order(Model, frozen=True, kw_only=True):
    """An open order: ``energy_wh`` when it was placed, ``left_wh`` not yet filled, ``locked_uwatt`` held for it.
    ``side``: buy or sell. ``height``: the block that placed it.
    """

    period: int
    number: int
    side: str
    account: Party
    limit_uwatt_per_kwh: int
    energy_wh: int
    left_wh: int
    locked_uwatt: int
    height: int


class Book(Model, frozen=True, kw_only=True):
    """One period's book: levels best first, and its single orders in the order in which they are met.

    ``bid_levels`` and ``ask_levels`` count all levels, of which at most ``depth`` are listed; ``bid_wh`` and ``ask_wh``
    and the orders are of all of them.
    """

    height: int
    summary: MarketPeriod
    tariff: Tariff
    bids: list[BookLevel]
    asks: list[BookLevel]
    bid_levels: int
    ask_levels: int
    bid_wh: int
    ask_wh: int
    bid_orders: list[Order]
    ask_orders: list[Order]


class OrderPage(Model, frozen=True, kw_only=True):
    """An account's open orders, by period and number. ``next_after`` is ``period:number``, to be sent back as
    ``after``.
    """

    height: int
    account: Party
    orders: list[Order]
    next_after: str | None


class Trade(Model, frozen=True, kw_only=True):
    """``number`` counts within the period. The buyer pays ``value_uwatt`` to the seller and ``fee_uwatt``, at
    ``rate``, to the gateway. Orders are 0 where an auction paired members.
    """

    period: int
    number: int
    seller: Party
    buyer: Party
    energy_wh: int
    price_uwatt_per_kwh: int
    rate_uwatt_per_kwh: int
    value_uwatt: int
    fee_uwatt: int
    sell_order: int
    buy_order: int
    height: int


class TradePage(Model, frozen=True, kw_only=True):
    """A period's trades, newest first. ``next_before`` is a trade's number."""

    height: int
    period: int
    trades: list[Trade]
    next_before: int | None


class Position(Model, frozen=True, kw_only=True):
    """What an account traded for a period that is not settled, and what it has open there.

    ``net_wh`` is what it sold less what it bought. ``sellable_wh``: how much more it may offer, by its export
    nameplate; None without a connection meter.
    """

    period: int
    start_ms: int
    start: str
    is_open: bool
    sold_wh: int
    bought_wh: int
    net_wh: int
    open_sell_wh: int
    open_orders: int
    sellable_wh: int | None


class PositionList(Model, frozen=True, kw_only=True):
    """Ascending; periods in which the account has nothing are left out."""

    height: int
    account: Party
    positions: list[Position]


class SettledPeriod(Model, frozen=True, kw_only=True):
    """What a period came to, and when it was settled. ``docs/protocol.md``, Settlement, has the meanings.

    ``self_sufficiency_bps``: of what was taken out, what came from members, not from the gateway; ``self_consumption``:
    of what was fed in, what members took. None where nothing was taken out or fed in. ``energy_check_wh`` is what the
    gateway sold less what it bought, less what was taken out less what was fed in: always 0.
    """

    period: int
    start_ms: int
    start: str
    height: int
    metered: int
    silent: int
    export_wh: int
    import_wh: int
    contract_wh: int
    trade_wh: int
    property_wh: int
    pool_wh: int
    fed_in_wh: int
    excess_wh: int
    drawn_wh: int
    shortfall_wh: int
    certified_wh: int
    minted_mvote: int
    self_sufficiency_bps: int | None
    self_consumption_bps: int | None
    energy_check_wh: int


class SettledPage(Model, frozen=True, kw_only=True):
    """Newest first."""

    height: int
    next_settled_period: int
    settled: list[SettledPeriod]
    next_before: int | None


class PricePoint(Model, frozen=True, kw_only=True):
    """A period's prices. ``mean`` is weighted by energy; ``last`` and ``mean`` are None without trades."""

    period: int
    start_ms: int
    start: str
    last_uwatt_per_kwh: int | None
    mean_uwatt_per_kwh: int | None
    energy_wh: int
    value_uwatt: int
    trades: int
    retail_uwatt_per_kwh: int
    feed_in_uwatt_per_kwh: int


class PriceHistory(Model, frozen=True, kw_only=True):
    """One point a period, ascending, those without trades included; trades are kept for a time only."""

    height: int
    points: list[PricePoint]


class FeederHeadroom(Model, frozen=True, kw_only=True):
    """What was traded across a feeder's border in a period, either way, and what still can be. Above the threshold
    trades pay the congestion surcharge.
    """

    feeder: str
    substation: str
    limit_wh: int
    threshold_wh: int
    out_wh: int
    into_wh: int
    left_out_wh: int
    left_into_wh: int
    congested: bool


class FeederList(Model, frozen=True, kw_only=True):
    height: int
    period: int
    feeders: list[FeederHeadroom]

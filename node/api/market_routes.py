"""``/v1/market`` paths: books, trades, positions, prices, settled periods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from ledger.encoding import MAX_INTEGER
from node.api import examples
from node.api.account_routes import Who
from node.api.documentation import answers
from node.api.problems import ApiError
from node.api.reading import ChainAccess
from node.client.models import Model
from node.service import NodeService
from node.views.market import Market, tariff_list

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
DAY: Final = 96
SHOWN_LEVELS: Final = 20
SHOWN_ORDERS: Final = 50

Period = Annotated[int, Path(ge=0, le=MAX_INTEGER, examples=[1])]
OptionalPeriod = Annotated[int | None, Query(ge=0, le=MAX_INTEGER)]
Before = Annotated[int | None, Query(ge=0, le=MAX_INTEGER, description="a page's `next_before`")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
After = Annotated[
    str | None,
    Query(
        max_length=48,
        description="`period:number`: a page's `next_after`",
        json_schema_extra={"pattern": "^[0-9]{1,18}:[0-9]{1,18}$"},  # refused below, in words
    ),
]

Answer = Callable[[Callable[[Market], Model]], Awaitable[Response]]


def market_router(service: NodeService, chain: ChainAccess) -> APIRouter:
    """Under ``/v1``."""
    router = APIRouter(tags=["market"])

    async def answer(question: Callable[[Market], Model]) -> Response:
        now_ms = service.live().now_ms
        return await chain.answer(lambda reader: question(Market(reader, now_ms)))

    _add_market_paths(router, chain, answer)
    _add_period_paths(router, answer)
    _add_account_paths(router, answer)
    return router


def _add_market_paths(router: APIRouter, chain: ChainAccess, answer: Answer) -> None:
    @router.get("/market", summary="The market, and its periods", responses=answers(examples.MARKET))
    async def market(
        first: Annotated[int | None, Query(ge=0, le=MAX_INTEGER, description="default: the first open one")] = None,
        limit: Limit = DAY,
        busy: Annotated[bool, Query(description="only periods with orders or trades")] = False,
    ) -> Response:
        return await answer(lambda market: market.overview(first, limit, busy=busy))

    @router.get("/market/prices", summary="Prices by period", responses=answers(examples.PRICES))
    async def prices(first: OptionalPeriod = None, limit: Limit = DAY) -> Response:
        return await answer(lambda market: market.prices(first, limit))

    @router.get("/market/tariffs", summary="Tariffs and fees, since the genesis", responses=answers(examples.TARIFFS))
    async def tariffs() -> Response:
        return await chain.answer(tariff_list)

    @router.get("/market/settled", summary="Settled periods, newest first", responses=answers(examples.SETTLED))
    async def settled(before: Before = None, limit: Limit = DAY) -> Response:
        return await answer(lambda market: market.settled(before, limit))

    @router.get(
        "/market/settled/{period}",
        summary="What one period came to",
        responses=answers(examples.SETTLED_PERIOD, problems=(404,)),
    )
    async def settled_period(period: Period) -> Response:
        return await answer(lambda market: market.settled_period(period))


def _add_period_paths(router: APIRouter, answer: Answer) -> None:
    @router.get(
        "/market/periods/{period}/book",
        summary="One period's book",
        responses=answers(examples.BOOK, problems=(404,)),
    )
    async def book(
        period: Period,
        depth: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="price levels a side")] = SHOWN_LEVELS,
        orders: Annotated[int, Query(ge=0, le=LARGEST_PAGE, description="single orders a side")] = SHOWN_ORDERS,
    ) -> Response:
        return await answer(lambda market: market.book(period, depth, orders))

    @router.get(
        "/market/periods/{period}/trades",
        summary="One period's trades, newest first",
        responses=answers(examples.TRADES, problems=(404,)),
    )
    async def trades(period: Period, before: Before = None, limit: Limit = PAGE) -> Response:
        return await answer(lambda market: market.trades(period, before, limit))

    @router.get(
        "/market/periods/{period}/feeders",
        summary="What the feeders can still carry in a period",
        responses=answers(examples.FEEDER_LIST, problems=(404,)),
    )
    async def feeders(period: Period) -> Response:
        return await answer(lambda market: market.feeders(period))


def _add_account_paths(router: APIRouter, answer: Answer) -> None:
    @router.get(
        "/market/orders/{who}", summary="An account's open orders", responses=answers(examples.ORDERS, problems=(404,))
    )
    async def own_orders(who: Who, after: After = None, limit: Limit = PAGE) -> Response:
        place = None if after is None else _place(after)
        return await answer(lambda market: market.own_orders(market.reader.resolve(who), place, limit))

    @router.get(
        "/market/positions/{who}",
        summary="What an account traded in periods that are not settled",
        responses=answers(examples.POSITIONS, problems=(404,)),
    )
    async def positions(who: Who) -> Response:
        return await answer(lambda market: market.positions(market.reader.resolve(who)))


def _place(after: str) -> tuple[int, int]:
    """``period:number``. Errors: ApiError."""
    parts = after.split(":")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and int(part) <= MAX_INTEGER for part in parts):
        raise ApiError(400, f"after = {after!r}: send back a page's next_after, for instance 1963584:17")
    return int(parts[0]), int(parts[1])

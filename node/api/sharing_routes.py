"""``/v1`` paths of sharing pools and contracts, and of what an account has agreed on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from ledger.encoding import MAX_INTEGER
from node.api import examples
from node.api.account_routes import Who
from node.api.documentation import answers
from node.api.reading import ChainAccess, as_response
from node.client.models import Model
from node.service import NodeService
from node.views.contracts import agreements_of, contract_page, delivery_page, find_contract, template_list
from node.views.pools import find_pool, pool_list
from node.views.reader import Reader

PAGE: Final = 20
LARGEST_PAGE: Final = 100
LARGEST_DELIVERIES: Final = 1_000

Which = Annotated[str, Path(max_length=128, description="a pool's number or name", examples=["1"])]
Number = Annotated[int, Path(ge=0, le=MAX_INTEGER, description="an offer's number", examples=[1])]
Before = Annotated[int | None, Query(ge=0, le=MAX_INTEGER, description="a page's `next_before`")]

Answer = Callable[[Callable[[Reader, int], Model]], Awaitable[Response]]


def sharing_router(service: NodeService, chain: ChainAccess) -> APIRouter:
    """Under ``/v1``."""
    router = APIRouter(tags=["sharing"])

    async def answer(question: Callable[[Reader, int], Model]) -> Response:
        now_ms = service.live().now_ms
        return await chain.answer(lambda reader: question(reader, now_ms))

    _add_pool_paths(router, answer)
    _add_contract_paths(router, answer)
    return router


def _add_pool_paths(router: APIRouter, answer: Answer) -> None:
    @router.get("/pools", summary="Sharing pools", responses=answers(examples.POOLS))
    async def pools() -> Response:
        return await answer(pool_list)

    @router.get("/pools/{pool}", summary="One pool", responses=answers(examples.POOL, problems=(404,)))
    async def pool(pool: Which) -> Response:
        return await answer(lambda reader, now_ms: find_pool(reader, pool, now_ms))

    @router.get(
        "/accounts/{who}/agreements",
        summary="An account's pool, contracts and licences",
        responses=answers(examples.AGREEMENTS, problems=(404,)),
    )
    async def agreements(who: Who) -> Response:
        return await answer(lambda reader, now_ms: agreements_of(reader, reader.resolve(who), now_ms))


def _add_contract_paths(router: APIRouter, answer: Answer) -> None:
    @router.get("/contracts", summary="Offers that stand, newest first", responses=answers(examples.CONTRACTS))
    async def contracts(before: Before = None, limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = PAGE) -> Response:
        return await answer(lambda reader, now_ms: contract_page(reader, before, limit, now_ms))

    @router.get("/contracts/templates", summary="What a contract may be", responses=answers(examples.TEMPLATES))
    async def templates() -> Response:
        return as_response(template_list())

    @router.get(
        "/contracts/{offer}",
        summary="One offer, and who has subscribed",
        responses=answers(examples.CONTRACT, problems=(404,)),
    )
    async def contract(offer: Number) -> Response:
        return await answer(lambda reader, now_ms: find_contract(reader, offer, now_ms))

    @router.get(
        "/contracts/{offer}/deliveries",
        summary="What was delivered under an offer, newest first",
        responses=answers(examples.DELIVERIES, problems=(404,)),
    )
    async def deliveries(
        offer: Number,
        before: Before = None,
        limit: Annotated[int, Query(ge=1, le=LARGEST_DELIVERIES)] = LARGEST_PAGE,
    ) -> Response:
        return await answer(lambda reader, _: delivery_page(reader, offer, before, limit))

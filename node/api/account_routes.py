"""``/v1`` paths that read members, accounts, votes, meters and readings."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from ledger.encoding import MAX_INTEGER
from ledger.transactions import Transaction
from node.api import examples
from node.api.documentation import answers
from node.api.problems import ApiError
from node.api.reading import ChainAccess
from node.client import models
from node.service import NodeService
from node.views import accounts, meters, transactions
from node.views.reader import Reader

PAGE: Final = 20
LARGEST_PAGE: Final = 100
LARGEST_READINGS: Final = 1_000

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
Before = Annotated[
    str | None,
    Query(
        max_length=48,
        description="`height:index` of the page before, or a height",
        json_schema_extra={"pattern": "^[0-9]{1,18}(:[0-9]{1,18})?$"},  # refused below, in words
    ),
]
Who = Annotated[
    str, Path(max_length=128, description="address, member's name, or public key in hex", examples=["anne"])
]
MeterKey = Annotated[str, Path(max_length=128, description="the meter's key in hex")]


def account_router(service: NodeService, chain: ChainAccess) -> APIRouter:
    router = APIRouter(tags=["accounts"])
    _add_account_paths(router, service, chain)
    _add_meter_paths(router, chain)
    return router


def _add_account_paths(router: APIRouter, service: NodeService, chain: ChainAccess) -> None:
    @router.get("/accounts/{who}", summary="One account", responses=answers(examples.ACCOUNT, problems=(404,)))
    async def account(who: Who) -> Response:
        waiting: list[Transaction] = service.mempool.pending(await chain.read(lambda reader: reader.resolve(who)))
        return await chain.answer(lambda reader: accounts.account_view(reader, reader.resolve(who), waiting))

    @router.get(
        "/accounts/{who}/history",
        summary="What concerned an account, newest first",
        responses=answers(examples.TRANSACTIONS, problems=(404,)),
    )
    async def history(who: Who, before: Before = None, limit: Limit = PAGE) -> Response:
        place = None if before is None else _place(before)

        def question(reader: Reader) -> models.TransactionPage:
            return transactions.history_view(reader, reader.resolve(who), place, limit)

        return await chain.answer(question)

    @router.get("/members", summary="All members", responses=answers(examples.MEMBERS))
    async def members() -> Response:
        return await chain.answer(accounts.member_list)

    @router.get("/candidates", summary="All candidates, largest pool first", responses=answers(examples.CANDIDATES))
    async def candidates() -> Response:
        return await chain.answer(accounts.candidate_list)

    @router.get(
        "/candidates/{who}",
        summary="One candidate and its backers",
        responses=answers(examples.CANDIDATE_DETAIL, problems=(404,)),
    )
    async def candidate(who: Who) -> Response:
        return await chain.answer(lambda reader: accounts.candidate_detail(reader, who))

    @router.get("/votes/{who}", summary="What an account has cast", responses=answers(examples.VOTES, problems=(404,)))
    async def votes(who: Who) -> Response:
        return await chain.answer(lambda reader: accounts.votes_view(reader, reader.resolve(who)))


def _add_meter_paths(router: APIRouter, chain: ChainAccess) -> None:
    @router.get("/meters", summary="All meters", responses=answers(examples.METERS))
    async def meter_list() -> Response:
        return await chain.answer(meters.meter_list)

    @router.get("/meters/{key}", summary="One meter", responses=answers(examples.METER, problems=(404,)))
    async def meter(key: MeterKey) -> Response:
        return await chain.answer(lambda reader: meters.find_meter(reader, key))

    @router.get(
        "/readings", summary="Readings, newest period first", responses=answers(examples.READINGS, problems=(404,))
    )
    async def readings(
        meter: Annotated[str | None, Query(max_length=128)] = None,
        limit: Annotated[int, Query(ge=1, le=LARGEST_READINGS)] = LARGEST_PAGE,
    ) -> Response:
        return await chain.answer(lambda reader: meters.reading_list(reader, meter, limit))


def _place(before: str) -> tuple[int, int]:
    """``height`` or ``height:index``. Errors: ApiError."""
    height, _, index = before.partition(":")
    for part in (height, index or "0"):
        if not (part.isascii() and part.isdecimal()) or int(part) > MAX_INTEGER:
            raise ApiError(400, f"before = {before!r}: send back a page's next_before, for instance 1200:3")
    return int(height), min(int(index or "0"), 2**32 - 1)

"""``/v1/bills``, ``/v1/billing`` paths: bills, what stands behind their lines, cycles, arrears."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from ledger.encoding import MAX_INTEGER
from node.api import examples
from node.api.account_routes import Who
from node.api.documentation import answers
from node.api.problems import ApiError
from node.api.reading import ChainAccess
from node.views import bill_lines, bills

PAGE: Final = 12
LARGEST_PAGE: Final = 100
LARGEST_ARREARS: Final = 1_000
LARGEST_CYCLE: Final = MAX_INTEGER // 100_000
"""A cycle has at most 100,000 periods: so its periods' numbers are integers of the ledger."""

Cycle = Annotated[int, Path(ge=0, le=LARGEST_CYCLE, examples=[675])]
Before = Annotated[int | None, Query(ge=0, le=MAX_INTEGER, description="a page's `next_before`")]
After = Annotated[int | None, Query(ge=0, le=MAX_INTEGER, description="a page's `next_after`")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
ArrearsAfter = Annotated[
    str | None,
    Query(
        max_length=84,
        description="`account:cycle`: a page's `next_after`",
        json_schema_extra={"pattern": "^[0-9a-f]{64}:[0-9]{1,18}$"},  # refused below, in words
    ),
]


def bill_router(chain: ChainAccess) -> APIRouter:
    """Under ``/v1``."""
    router = APIRouter(tags=["bills"])
    _add_bill_paths(router, chain)
    _add_line_paths(router, chain)
    _add_billing_paths(router, chain)
    return router


def _add_bill_paths(router: APIRouter, chain: ChainAccess) -> None:
    @router.get(
        "/bills/{who}", summary="A member's bills, newest first", responses=answers(examples.BILLS, problems=(404,))
    )
    async def page(who: Who, before: Before = None, limit: Limit = PAGE) -> Response:
        return await chain.answer(lambda reader: bills.bill_page(reader, reader.resolve(who), before, limit))

    @router.get(
        "/bills/{who}/current",
        summary="The bill of the cycle that is open, as far as it is settled",
        responses=answers(examples.BILL, problems=(404,)),
    )
    async def current(who: Who) -> Response:
        return await chain.answer(lambda reader: bills.current_bill(reader, reader.resolve(who)))

    @router.get(
        "/bills/{who}/{cycle}",
        summary="One bill, recorded or as it would be",
        responses=answers(examples.BILL, problems=(404,)),
    )
    async def bill(who: Who, cycle: Cycle) -> Response:
        return await chain.answer(lambda reader: bills.bill_view(reader, cycle, reader.resolve(who)))


def _add_line_paths(router: APIRouter, chain: ChainAccess) -> None:
    @router.get(
        "/bills/{who}/{cycle}/lines/{line}",
        summary="What stands behind a line: periods, trades, signed readings",
        responses=answers(examples.EXPLANATION, problems=(404,)),
    )
    async def line(
        who: Who,
        cycle: Cycle,
        line: Annotated[str, Path(max_length=64, description="a line's `id`")],
        after: After = None,
    ) -> Response:
        return await chain.answer(lambda reader: bill_lines.explain(reader, cycle, reader.resolve(who), line, after))

    @router.get(
        "/bills/{who}/{cycle}/periods",
        summary="How a member's periods were settled",
        responses=answers(examples.MEMBER_PERIODS, problems=(404,)),
    )
    async def periods(who: Who, cycle: Cycle, after: After = None) -> Response:
        return await chain.answer(lambda reader: bill_lines.member_periods(reader, cycle, reader.resolve(who), after))


def _add_billing_paths(router: APIRouter, chain: ChainAccess) -> None:
    @router.get("/billing/cycles", summary="Billing cycles, newest first", responses=answers(examples.BILLING_CYCLES))
    async def cycles(before: Before = None, limit: Limit = PAGE) -> Response:
        return await chain.answer(lambda reader: bills.cycle_page(reader, before, limit))

    @router.get("/billing/arrears", summary="Bills that are overdue", responses=answers(examples.ARREARS))
    async def arrears(
        after: ArrearsAfter = None, limit: Annotated[int, Query(ge=1, le=LARGEST_ARREARS)] = LARGEST_PAGE
    ) -> Response:
        place = None if after is None else _place(after)
        return await chain.answer(lambda reader: bills.arrears_page(reader, place, limit))


def _place(after: str) -> bytes:
    """``account:cycle``. Errors: ApiError."""
    account, _, cycle = after.partition(":")
    try:
        key = bytes.fromhex(account)
        if len(key) == len(after[:64]) // 2 and cycle.isascii() and cycle.isdecimal() and int(cycle) <= MAX_INTEGER:
            return key + int(cycle).to_bytes(8, "big")
    except ValueError:
        pass  # said below
    raise ApiError(400, f"after = {after!r}: send back a page's next_after: an account in hex, a colon, a cycle")

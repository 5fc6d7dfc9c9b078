"""``/v1`` paths that read the chain: blocks, draws, transactions, proofs."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from ledger.encoding import MAX_INTEGER
from ledger.refusal import Refusal, TransactionRefused
from ledger.transactions import MAX_TRANSACTION_BYTES, decode_transaction
from node.api import examples
from node.api.account_routes import Who
from node.api.documentation import answers, body, json_body
from node.api.problems import ApiError
from node.api.reading import ChainAccess, as_response
from node.client import models
from node.service import NodeService
from node.views import blocks, draws, evidence, proofs, transactions
from node.views.reader import Reader, hex_key

CBOR: Final = "application/cbor"
JSON: Final = "application/json"
PAGE: Final = 20
LARGEST_PAGE: Final = 100

Height = Annotated[int, Path(ge=0, le=MAX_INTEGER)]
OptionalHeight = Annotated[int | None, Query(ge=1, le=MAX_INTEGER)]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
View = Annotated[int | None, Query(ge=0, le=MAX_INTEGER, description="default: the view the block was made in")]
Place = Annotated[str, Path(max_length=128, description="a height, or a block's hash in hex", examples=["1"])]
Text = Annotated[str, Path(max_length=128)]


def chain_router(service: NodeService, chain: ChainAccess) -> APIRouter:
    router = APIRouter(tags=["chain"])
    _add_block_paths(router, service, chain)
    _add_transaction_paths(router, service, chain)
    return router


def _add_block_paths(router: APIRouter, service: NodeService, chain: ChainAccess) -> None:
    @router.get("/genesis", summary="The chain's beginning", responses=answers(examples.GENESIS))
    async def genesis() -> Response:
        return as_response(blocks.genesis_view(service.genesis))

    @router.get("/parameters", summary="The numbers the chain is run by", responses=answers(examples.PARAMETERS))
    async def parameters() -> Response:
        return await chain.answer(blocks.parameter_list)

    @router.get("/committee", summary="Who votes", responses=answers(examples.COMMITTEE, problems=(404,)))
    async def committee(height: OptionalHeight = None) -> Response:
        return await chain.answer(lambda reader: blocks.committee_view(reader, height))

    @router.get(
        "/draws/next",
        summary="Who is drawn for the height that is open",
        responses=answers(examples.DRAW, problems=(404,)),
    )
    async def next_draw(view: View = None) -> Response:
        live = service.live()

        def question(reader: Reader) -> models.Draw:
            height = reader.height + 1
            return draws.draw_view(reader, height, view, live.view if live.height == height else 0)

        return await chain.answer(question)

    @router.get(
        "/draws/{height}",
        summary="Who was drawn for a height, by which numbers",
        responses=answers(examples.DRAW, problems=(404,)),
    )
    async def draw(height: Height, view: View = None) -> Response:
        return await chain.answer(lambda reader: draws.draw_view(reader, height, view, 0))

    @router.get("/evidence", summary="Who was convicted of contradicting itself", responses=answers(examples.EVIDENCE))
    async def convictions() -> Response:
        return await chain.answer(evidence.evidence_list)

    @router.get("/blocks", summary="Final blocks, newest first", responses=answers(examples.BLOCKS))
    async def block_list(before: OptionalHeight = None, limit: Limit = PAGE) -> Response:
        return await chain.answer(lambda reader: blocks.block_page(reader, before, limit))

    @router.get("/blocks/{height_or_hash}", summary="One block", responses=answers(examples.BLOCK, problems=(404,)))
    async def block(height_or_hash: Place) -> Response:
        return await chain.answer(lambda reader: blocks.block_view(reader, height_or_hash))

    @router.get(
        "/blocks/{height_or_hash}/certificate",
        summary="The quorum that made a block final",
        responses=answers(examples.CERTIFICATE, problems=(404,)),
    )
    async def certificate(height_or_hash: Place) -> Response:
        return await chain.answer(
            lambda reader: blocks.certificate_view(reader, blocks.find_height(reader, height_or_hash))
        )

    @router.get(
        "/proofs/accounts/{who}",
        summary="An account's record, provable without trusting this node",
        responses=answers(examples.PROOF, problems=(404,)),
    )
    async def proof(who: Who, since: OptionalHeight = None) -> Response:
        return await chain.answer(lambda reader: proofs.prove_account(reader, reader.resolve(who), since))

    @router.get(
        "/proofs/transactions/{transaction_id}",
        summary="A transaction and its receipt, provable without trusting this node",
        responses=answers(examples.TRANSACTION_PROOF, problems=(404,)),
    )
    async def transaction_proof(transaction_id: Text, since: OptionalHeight = None) -> Response:
        return await chain.answer(lambda reader: proofs.prove_transaction(reader, transaction_id, since))


def _add_transaction_paths(router: APIRouter, service: NodeService, chain: ChainAccess) -> None:
    @router.get("/transactions/pending", summary="What waits for a block", responses=answers(examples.PENDING))
    async def pending(limit: Limit = LARGEST_PAGE) -> Response:
        waiting = list(service.mempool)
        return await chain.answer(lambda reader: transactions.pending_view(reader, waiting[:limit], len(waiting)))

    @router.get(
        "/transactions/{transaction_id}",
        summary="One transaction, decoded",
        responses=answers(examples.TRANSACTION, problems=(404,)),
    )
    async def transaction(transaction_id: Text) -> Response:
        key = hex_key(transaction_id)
        waiting = None if key is None else service.mempool.get(key)
        return await chain.answer(lambda reader: transactions.find_transaction(reader, transaction_id, waiting))

    @router.post(
        "/transactions",
        status_code=202,
        summary="Hand over a signed transaction",
        responses=answers(examples.ACCEPTED, status=202, problems=(415, 422, 503)),
        openapi_extra=body(
            {
                CBOR: {"schema": {"type": "string", "format": "binary", "maxLength": MAX_TRANSACTION_BYTES}},
                JSON: json_body(examples.SUBMIT),
            }
        ),
    )
    async def submit(request: Request) -> Response:
        raw = _raw_transaction(request.headers.get("content-type", ""), await request.body())
        transaction_id = decode_transaction(raw).id
        await service.submit(raw)
        return as_response(models.Accepted(id=transaction_id.hex()), 202)


def _raw_transaction(content_type: str, content: bytes) -> bytes:
    """Errors: ApiError, TransactionRefused MALFORMED."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == CBOR:
        return content
    if media_type != JSON:
        raise ApiError(415, f'send the raw bytes as {CBOR}, or {JSON} {{"raw": "…hex…"}}')
    try:
        return bytes.fromhex(msgspec.json.decode(content, type=models.SubmitRequest).raw)
    except (msgspec.DecodeError, ValueError) as error:
        raise TransactionRefused(Refusal.MALFORMED, f'expected {{"raw": "…hex…"}}: {error}') from error

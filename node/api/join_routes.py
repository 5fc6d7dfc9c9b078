"""Paths about newcomers: who asks to join, and handing over a request or a denial. Both are signed elsewhere."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from node.api import examples
from node.api.documentation import answers, body, json_body
from node.api.problems import ApiError
from node.api.reading import ChainAccess, as_response
from node.client import models
from node.joining import MAX_JOIN_MESSAGE_BYTES, JoinError
from node.service import NodeService
from node.views.joins import join_list

CBOR = "application/cbor"
JSON = "application/json"


def join_router(service: NodeService, chain: ChainAccess) -> APIRouter:
    """Under ``/v1``."""
    router = APIRouter(tags=["joining"])

    @router.get("/join-requests", summary="Who asks to join", responses=answers(examples.JOIN_REQUESTS))
    async def join_requests() -> Response:
        entries = service.join_requests()
        return await chain.answer(lambda reader: join_list(reader, entries))

    @router.post(
        "/join-requests",
        status_code=202,
        summary="Hand over a signed join request, or an approver's denial of one",
        responses=answers(examples.ACCEPTED, status=202, problems=(415,)),
        openapi_extra=body(
            {
                CBOR: {"schema": {"type": "string", "format": "binary", "maxLength": MAX_JOIN_MESSAGE_BYTES}},
                JSON: json_body(examples.SUBMIT),
            }
        ),
    )
    async def hand_over(request: Request) -> Response:
        raw = _raw_message(request.headers.get("content-type", ""), await request.body())
        try:
            entry = service.file_join(raw)
        except JoinError as error:
            raise ApiError(400, str(error)) from error
        return as_response(models.Accepted(id=entry.request.id.hex()), 202)

    return router


def _raw_message(content_type: str, content: bytes) -> bytes:
    """Errors: ApiError."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == CBOR:
        return content
    if media_type != JSON:
        raise ApiError(415, f"{media_type or 'no content type'}: send {CBOR}, or {JSON} with the bytes in hex as raw")
    try:
        return bytes.fromhex(msgspec.json.decode(content, type=models.SubmitRequest).raw)
    except (msgspec.DecodeError, ValueError) as error:
        raise ApiError(400, f"not a join message in hex: {error}") from error

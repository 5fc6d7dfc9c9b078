"""Paths about the node itself: status, peers, events, metrics, and what its administrator may do."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.background import BackgroundTask

from ledger.encoding import MAX_INTEGER
from node.api import examples
from node.api.documentation import answers, body, json_body, problem_answers
from node.api.problems import ApiError
from node.api.reading import ChainAccess, as_response
from node.api.sse import EventStream
from node.client import models
from node.client.models import Model
from node.service import NodeService
from node.views import node as views
from node.views.reader import Reader
from p2p.peer_identity import public_key_from_peer_id

LONGEST_BAN_S: Final = 30 * 86_400
LONGEST_REASON: Final = 200
VERSION: Final = importlib.metadata.version("ecloud")
TOKEN_NEEDED: Final[dict[str, Any]] = {"security": [{"token": []}]}

M = TypeVar("M", bound=Model)


def node_router(service: NodeService, chain: ChainAccess) -> APIRouter:
    """Under ``/v1``."""
    router = APIRouter(tags=["node"])

    @router.get("/status", summary="How the node is", responses=answers(examples.STATUS))
    async def status() -> Response:
        live, waiting, peer_count = service.live(), service.mempool, len(service.peers())
        mempool = models.MempoolStatus(transactions=len(waiting), size_bytes=waiting.bytes)

        def question(reader: Reader) -> models.Status:
            return views.status_view(
                reader,
                live,
                name=service.name,
                document=service.genesis,
                version=VERSION,
                node_key=service.node_key,
                peer_id=service.peer_id,
                mempool=mempool,
                peer_count=peer_count,
            )

        return await chain.answer(question)

    @router.get("/peers", summary="Connected peers", responses=answers(examples.PEERS))
    async def peers() -> Response:
        found, listening, announced = service.peers(), service.listening(), service.announced()
        since_ms, bans = dict(service.connected_since()), list(service.bans())
        return await chain.answer(lambda reader: views.peer_list(reader, found, listening, announced, since_ms, bans))

    @router.get(
        "/events",
        summary="What happens, as server-sent events",
        responses={
            200: {
                "description": "`block_final` carries its height as `id:`; with `Last-Event-ID` the blocks missed "
                "come first. The schema is that of the `data:` of one event.",
                "content": {
                    "text/event-stream": {
                        "schema": {"$ref": "#/components/schemas/BlockFinal"},
                        "example": 'id: 1200\nevent: block_final\ndata: {"type":"block_final","height":1200}\n\n',
                    }
                },
            },
            **problem_answers(400, 503),
        },
    )
    async def events(last_event_id: Annotated[str | None, Header()] = None) -> Response:
        return EventStream(chain, service.events, None if last_event_id is None else _event_id(last_event_id))

    _add_admin_paths(router, service)
    return router


def root_router(service: NodeService, chain: ChainAccess) -> APIRouter:
    """At the root: what supervisors and Prometheus look for."""
    router = APIRouter(tags=["node"])

    @router.get(
        "/health", summary="Whether the node follows the chain", responses=answers(examples.HEALTH, problems=(503,))
    )
    async def health() -> Response:
        unhealthy = service.live().unhealthy
        if unhealthy is not None:
            raise ApiError(503, unhealthy)
        height, peer_count = await chain.read(lambda reader: reader.height), len(service.peers())
        return as_response(models.Health(healthy=True, reason=f"height {height}, {peer_count} peers"))

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        responses={
            200: {
                "description": "Prometheus' text format.",
                "content": {"text/plain": {"schema": {"type": "string"}, "example": "ecloud_height 1200.0\n"}},
            }
        },
    )
    async def metrics() -> Response:
        return Response(generate_latest(service.registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return router


def _add_admin_paths(router: APIRouter, service: NodeService) -> None:
    @router.post(
        "/admin/peers",
        summary="Connect to a peer and stay connected",
        responses=answers(examples.DONE, problems=(401,)),
        openapi_extra=TOKEN_NEEDED | body({"application/json": json_body(examples.CONNECT)}),
    )
    async def connect(request: Request) -> Response:
        asked = await _decoded(request, models.ConnectRequest)
        return as_response(models.Done(detail=f"connected to {await service.connect(asked.address)}"))

    @router.post(
        "/admin/bans",
        summary="Ban a peer",
        responses=answers(examples.DONE, problems=(401,)),
        openapi_extra=TOKEN_NEEDED | body({"application/json": json_body(examples.BAN)}),
    )
    async def ban(request: Request) -> Response:
        asked = await _decoded(request, models.BanRequest)
        if not 1 <= asked.duration_s <= LONGEST_BAN_S:
            raise ApiError(400, f"duration_s = {asked.duration_s} is outside 1 … {LONGEST_BAN_S}")
        if len(asked.reason) > LONGEST_REASON:
            raise ApiError(400, f"a reason has at most {LONGEST_REASON} characters")
        _require_peer_id(asked.peer)
        await service.ban(asked.peer, asked.duration_s, asked.reason)
        return as_response(models.Done(detail=f"{asked.peer} is banned for {asked.duration_s} s"))

    @router.post(
        "/admin/pardons",
        summary="End a peer's ban",
        responses=answers(examples.DONE, problems=(401, 404)),
        openapi_extra=TOKEN_NEEDED | body({"application/json": json_body(examples.PARDON)}),
    )
    async def pardon(request: Request) -> Response:
        asked = await _decoded(request, models.PardonRequest)
        _require_peer_id(asked.peer)
        if not service.pardon(asked.peer):
            raise ApiError(404, f"{asked.peer} is not banned; GET /v1/peers lists who is")
        return as_response(models.Done(detail=f"{asked.peer} is not banned any more"))

    @router.post(
        "/admin/stop",
        summary="Stop the node",
        responses=answers(examples.DONE, problems=(401,)),
        openapi_extra=TOKEN_NEEDED,
    )
    async def stop() -> Response:
        async def after_the_answer() -> None:
            service.stop()

        response = as_response(models.Done(detail="the node stops"))
        response.background = BackgroundTask(after_the_answer)
        return response


def _require_peer_id(text: str) -> None:
    """Errors: ApiError."""
    try:
        public_key_from_peer_id(text)
    except ValueError as error:
        raise ApiError(400, f"{text!r} is no peer id: {error}") from error


async def _decoded(request: Request, type_: type[M]) -> M:
    """Errors: ApiError."""
    try:
        return msgspec.json.decode(await request.body(), type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"not a {type_.__name__}: {error}") from error


def _event_id(text: str) -> int:
    """Errors: ApiError."""
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_INTEGER:
        raise ApiError(400, f"Last-Event-ID {text!r}: send back the last id: of the stream, a height")
    return int(text)

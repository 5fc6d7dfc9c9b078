"""The ASGI application: gate, paths, problem documents, OpenAPI."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import FastAPI, Response
from starlette.types import ASGIApp

from node.api import problems
from node.api.account_routes import account_router
from node.api.bill_routes import bill_router
from node.api.chain_routes import chain_router
from node.api.documentation import complete
from node.api.gate import Gate
from node.api.join_routes import join_router
from node.api.market_routes import market_router
from node.api.metrics import ApiMetrics
from node.api.node_routes import VERSION, node_router, root_router
from node.api.reading import ChainAccess
from node.api.sharing_routes import sharing_router
from node.log import get
from node.service import NodeService


def create_application(service: NodeService, token: str, metrics: ApiMetrics) -> ASGIApp:
    """``token`` is the administrator's."""
    app = FastAPI(openapi_url="/openapi.json", docs_url=None, redoc_url=None, default_response_class=Response)
    chain = ChainAccess(service)
    app.include_router(root_router(service, chain))
    app.include_router(node_router(service, chain), prefix="/v1")
    app.include_router(chain_router(service, chain), prefix="/v1")
    app.include_router(account_router(service, chain), prefix="/v1")
    app.include_router(join_router(service, chain), prefix="/v1")
    app.include_router(market_router(service, chain), prefix="/v1")
    app.include_router(sharing_router(service, chain), prefix="/v1")
    app.include_router(bill_router(chain), prefix="/v1")
    problems.install(app, get("api"), service.damaged)

    @cache
    def openapi() -> dict[str, Any]:
        return complete(app, VERSION)

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's way to extend the document
    return Gate(app, token, metrics)

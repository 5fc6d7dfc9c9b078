"""The OpenAPI document: schemas from ``node.client.models`` themselves, an example for every answer.

FastAPI knows paths and parameters; what is answered it cannot know, since the types are msgspec's. ``answers`` declares
it for one path, and ``complete`` writes schemas and examples in.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from node.api import examples
from node.api.problems import MEDIA_TYPE
from node.client import events, models
from node.client.models import Model

_SCHEMAS: Final = "#/components/schemas/"
_TITLE: Final = "E-Cloud node"
_DESCRIPTION: Final = """\
What a household's programs may ask of its node. Served on loopback and on a unix socket; wallet keys never come here:
programs sign, the node passes on. Amounts are integers with the unit in the name; moments are given in milliseconds UTC
and as ISO 8601 text. Accounts are named by address, member's name, or public key in hex. Errors are problem documents
(RFC 9457) whose `refusal` is the ledger's own word."""
_PROBLEMS: Final = {
    400: ("The request is not valid.", "limit: Input should be less than or equal to 100", None),
    401: ("The administrator's token is missing or wrong.", "send 'Authorization: Bearer …'", None),
    404: ("There is no such thing; the detail says what to do.", "no member is called 'ann'", None),
    415: ("Another content type is needed.", 'send application/cbor, or application/json {"raw": hex}', None),
    422: ("The transaction is refused.", "the fee is 10 uwatt; at least 1000 are needed", "fee_too_low"),
    500: ("The node failed; its log says more.", "Damaged; the node's log says more", None),
    503: ("The node cannot do this now; try again.", "the disk is full", "disk_full"),
}
_EXAMPLES: Final = {
    type(example).__name__: msgspec.to_builtins(example)
    for example in vars(examples).values()
    if isinstance(example, Model)
}


def answers(
    example: Model, *, status: int = 200, problems: tuple[int, ...] = (), about: str = ""
) -> dict[int | str, Any]:
    """FastAPI's ``responses``: this model with this example, and these problems beside those of every path."""
    name = type(example).__name__
    described: dict[int | str, Any] = {
        status: {
            "description": about or _first_line(type(example)),
            "content": {"application/json": {"schema": {"$ref": _SCHEMAS + name}}},
        }
    }
    return described | problem_answers(400, *problems)


def problem_answers(*statuses: int) -> dict[int | str, Any]:
    return {status: _problem(status) for status in statuses}


def body(media_types: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """FastAPI's ``openapi_extra`` for a path that reads its body itself."""
    return {"requestBody": {"required": True, "content": media_types}}


def json_body(example: Model) -> dict[str, Any]:
    return {"schema": {"$ref": _SCHEMAS + type(example).__name__}}


def complete(app: FastAPI, version: str) -> dict[str, Any]:
    """The whole document."""
    document = get_openapi(title=_TITLE, version=version, description=_DESCRIPTION, routes=app.routes)
    for path in document["paths"].values():
        for operation in path.values():
            if _is_fastapi_s(operation["responses"].get("422")):
                del operation["responses"]["422"]
            contents = [response.get("content", {}) for response in operation["responses"].values()]
            contents.append(operation.get("requestBody", {}).get("content", {}))
            for content in contents:
                if "application/json" in content:
                    _add_example(content["application/json"])
    components = document.setdefault("components", {})
    components["schemas"] = _schemas()
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "The content of api.token (0600)."}
    }
    return document


def _add_example(described: dict[str, Any]) -> None:
    """Here, since FastAPI leaves what is None out of the examples it is given."""
    name = described["schema"]["$ref"].removeprefix(_SCHEMAS)
    described["example"] = _EXAMPLES[name]


def _problem(status: int) -> dict[str, Any]:
    about, detail, refusal = _PROBLEMS[status]
    example = {
        "type": "urn:ecloud:problem:refused" if refusal else "urn:ecloud:problem:not_found",
        "title": about,
        "status": status,
        "detail": detail,
        "refusal": refusal,
        "retry_may_help": status == 503,
    }
    return {
        "description": about,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _SCHEMAS + "Problem"}, "example": example}},
    }


def _is_fastapi_s(response: dict[str, Any] | None) -> bool:
    """FastAPI declares its own validation errors as 422; ours are 400."""
    return response is not None and "HTTPValidationError" in str(response)


def _schemas() -> dict[str, Any]:
    types = [getattr(models, name) for name in models.__all__]
    structs = [type_ for type_ in types if isinstance(type_, type) and issubclass(type_, Model) and type_ is not Model]
    _, schemas = msgspec.json.schema_components([*structs, events.NodeEvent], ref_template=_SCHEMAS + "{name}")
    return schemas


def _first_line(type_: type) -> str:
    return (type_.__doc__ or type_.__name__).strip().split("\n")[0]

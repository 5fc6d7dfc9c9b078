"""The OpenAPI document says what the API does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from node.client import events, models
from tests.node.api.household import household, served

pytestmark = pytest.mark.trio

METHODS = {"get", "post", "put", "delete", "patch"}


async def document(tmp_path: Path) -> dict[str, Any]:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            answer: dict[str, Any] = (await http.get("/openapi.json")).json()
            return answer


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "$ref":
                yield part
            else:
                yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


async def test_document_is_whole(tmp_path: Path) -> None:
    # When
    openapi = await document(tmp_path)
    # Then
    assert openapi["openapi"].startswith("3.1")
    operations = [one for path in openapi["paths"].values() for method, one in path.items() if method in METHODS]
    assert len({one["operationId"] for one in operations}) == len(operations) >= 28
    schemas = openapi["components"]["schemas"]
    assert {reference.removeprefix("#/components/schemas/") for reference in references(openapi)} <= set(schemas)
    assert "HTTPValidationError" not in json.dumps(openapi)


async def test_every_answer_has_an_example_of_its_own_type(tmp_path: Path) -> None:
    openapi = await document(tmp_path)
    seen = 0
    for path, methods in openapi["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            contents = [response["content"] for response in operation["responses"].values()]
            contents += [operation["requestBody"]["content"]] if "requestBody" in operation else []
            for content in contents:
                for media_type, described in content.items():
                    if media_type in {"application/json", "application/problem+json"}:
                        assert "$ref" in described.get("schema", {}), (path, described)
                        name = described["schema"]["$ref"].rsplit("/", 1)[1]
                        # Then: it decodes to its type, and is whole
                        example = msgspec.convert(described["example"], getattr(models, name), strict=True)
                        assert msgspec.to_builtins(example).keys() >= described["example"].keys()
                        seen += 1
                    elif media_type != "application/cbor":
                        assert described["example"]
    assert seen > 60


async def test_administration_declares_its_token(tmp_path: Path) -> None:
    openapi = await document(tmp_path)
    for path, methods in openapi["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) == path.startswith("/v1/admin/"), path
    assert openapi["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


async def test_every_event_is_described(tmp_path: Path) -> None:
    openapi = await document(tmp_path)
    for type_ in events.NodeEvent.__args__:
        assert type_.__name__ in openapi["components"]["schemas"]

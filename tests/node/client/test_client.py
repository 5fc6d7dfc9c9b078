"""The client's own behaviour: finding a node, and what it says when there is none. Paths: tests/node/api/test_paths."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import trio

from node.client import models
from node.client.client import NodeClient, ask
from node.client.errors import ApiProblem, ClientError, NodeAway, UnexpectedAnswer
from node.client.models import Problem, iso_time
from tests.node.api.household import household, served


def http_answer(body: bytes, content_type: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def asked_of(answer: bytes) -> None:
    """Asks something for its status that answers every request with these bytes. Errors: the client's."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        async with NodeClient(f"http://127.0.0.1:{listener.socket.getsockname()[1]}") as client:
            try:
                await client.status()
            except ClientError as error:
                failure = error
            nursery.cancel_scope.cancel()
    raise failure


@pytest.mark.trio
async def test_no_node_is_said_in_a_sentence(tmp_path: Path) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    for client in (NodeClient(f"http://127.0.0.1:{port}"), NodeClient(unix_socket=tmp_path / "api.sock")):
        async with client:
            with pytest.raises(NodeAway, match=r"no node answers at .*; start it with: ecloud node run"):
                await client.status()


@pytest.mark.trio
async def test_a_directory_without_a_node(tmp_path: Path) -> None:
    with pytest.raises(NodeAway, match=f"no node runs on {tmp_path}"):
        NodeClient.of_directory(tmp_path)


@pytest.mark.trio
@pytest.mark.parametrize("url", ["", "http://", "ftp://127.0.0.1", "127.0.0.1:4080", "http://127.0.0.1:999999"])
async def test_what_is_no_address_is_said_so(url: str) -> None:
    async with NodeClient(url) as client:
        if url:
            with pytest.raises(NodeAway):
                await client.status()
        else:
            assert client.where == "http://127.0.0.1:4080"


def test_url_and_socket_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        NodeClient("http://127.0.0.1:1", unix_socket=tmp_path / "api.sock")


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [
        http_answer(b"hi", "text/html"),
        http_answer(b"{}"),
        http_answer(b"[1]"),
        http_answer(b"{"),
        http_answer(b'{"height":"\xff"}'),
        http_answer(b'{"detail":"\xff"}', "application/problem+json", "404 Not Found"),
        http_answer(b"hi", "text/plain", "404 Not Found"),
        http_answer(b"{}", "application/problem+json", "404 Not Found"),
    ],
)
async def test_what_is_no_node_is_not_believed(answer: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        await asked_of(answer)


@pytest.mark.trio
@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_a_broken_connection_is_a_node_away(answer: bytes) -> None:
    with pytest.raises(NodeAway, match="broke"):
        await asked_of(answer)


@pytest.mark.trio
async def test_a_refusal_of_a_newer_node_is_kept_as_a_word() -> None:
    problem = Problem(type="t", title="Refused", status=422, detail="too blue", refusal="colour_wrong")
    answer = http_answer(msgspec.json.encode(problem), "application/problem+json", "422 Unprocessable Content")
    with pytest.raises(ApiProblem, match="colour_wrong: too blue") as caught:
        await asked_of(answer)
    assert caught.value.refusal is None
    assert caught.value.problem.refusal == "colour_wrong"


@pytest.mark.trio
async def test_the_client_works_under_asyncio_too(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce()
        async with served(tmp_path, home) as serving:

            def in_another_world() -> list[Any]:
                async def main() -> list[Any]:
                    async with NodeClient(serving.address.url) as client:
                        events = client.events(after_height=0)
                        seen: list[Any] = [await client.status(), await anext(events), await anext(events)]
                        await events.aclose()
                        return seen

                return anyio.run(main, backend="asyncio")

            # When
            status, back, block = await trio.to_thread.run_sync(in_another_world)
            # Then
            assert status == await serving.client.status()
            assert (back.height, block.height) == (1, 1)


@pytest.mark.trio
async def test_commands_ask_without_being_asynchronous(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            url = serving.address.url
            status = await trio.to_thread.run_sync(lambda: ask(NodeClient(url), lambda node: node.status()))
            assert status.height == 0


def test_clients_do_not_load_the_node() -> None:
    """What a terminal or a command imports at its start."""
    program = "import sys, json, node.client.wallet, node.client.client; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout))
    rooms = {"fastapi", "hypercorn", "libp2p", "lmdb", "consensus", "storage", "p2p", "prometheus_client", "starlette"}
    assert not rooms & loaded
    assert not {"node.service", "node.chain", "node.views", "node.api"} & loaded


def test_times_as_text() -> None:
    assert iso_time(1_777_777_777_123) == "2026-05-03T03:09:37.123Z"
    assert iso_time(0) == "1970-01-01T00:00:00.000Z"


def test_models_ignore_what_they_do_not_know() -> None:
    assert msgspec.json.decode(b'{"id":"aa","colour":"blue"}', type=models.Accepted) == models.Accepted(id="aa")

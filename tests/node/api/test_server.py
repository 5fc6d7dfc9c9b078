"""Sockets that cannot be had are named; a stop is quick."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from node.api.server import ApiConfig, CannotServe, load_or_make_token, serve_api
from node.client.client import NodeClient
from tests.node.api.household import household, served

pytestmark = pytest.mark.trio


async def test_port_in_use_is_named(tmp_path: Path) -> None:
    with household(tmp_path) as home, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotServe, match=f"127.0.0.1 port {port} .*config.toml"):
            await serve_api(home, ApiConfig(tmp_path, port=port))


async def test_what_stands_where_the_socket_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "api.sock").write_text("not a socket")
    with household(tmp_path) as home, pytest.raises(CannotServe, match=r"api\.sock .*remove that file"):
        await serve_api(home, ApiConfig(tmp_path, port=0))


async def test_a_socket_left_by_a_killed_node_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "api.sock"))
    with household(tmp_path) as home:
        async with served(tmp_path, home), NodeClient.of_directory(tmp_path) as client:
            assert (await client.status()).height == 0


async def test_a_path_too_long_for_a_socket_leaves_tcp(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with household(deep) as home:
        async with served(deep, home) as serving:
            assert serving.address.unix_socket is None
            async with NodeClient.of_directory(deep) as client:
                assert client.where == serving.address.url
                assert (await client.status()).height == 0


async def test_ipv6_loopback(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with trio.open_nursery() as nursery:
            config = ApiConfig(tmp_path, host="::1", port=0, unix_socket=False)
            try:
                address = await nursery.start(partial(serve_api, home, config))
            except CannotServe:
                pytest.skip("this machine has no IPv6 loopback")
            assert address.url.startswith("http://[::1]:")
            async with NodeClient(address.url) as client:
                assert (await client.status()).height == 0
            nursery.cancel_scope.cancel()


async def test_a_broken_token_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "api.token").write_text("short")
    with pytest.raises(CannotServe, match="holds no token"):
        load_or_make_token(tmp_path / "api.token")
    with pytest.raises(CannotServe, match="cannot read or make"):
        load_or_make_token(tmp_path / "nowhere" / "api.token")


async def test_an_open_event_stream_does_not_hold_a_stop_up(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            stream = await trio.open_tcp_stream("127.0.0.1", serving.port)
            await stream.send_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with trio.fail_after(5):
                await stream.receive_some(4096)
            stopping = trio.current_time()
        assert trio.current_time() - stopping < 2
        await stream.aclose()
        assert len(home.events) == 0

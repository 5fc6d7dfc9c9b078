"""What the API lets in: hosts, origins, sizes, tokens."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import trio

from node.api.gate import MAX_BODY_BYTES
from node.client.client import NodeClient
from node.client.errors import ApiProblem
from node.client.models import BanRequest
from tests.node.api.household import household, served

pytestmark = pytest.mark.trio

PEER = "12D3KooWBQuEFL7UXJMBLG3CjbiQMFeRPDRMNaDMzSWXH8JP2hFE"


async def test_host_must_be_loopback(tmp_path: Path) -> None:
    """A web page whose name resolves to 127.0.0.1 sends its own name."""
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            for host in (
                "evil.example",
                f"evil.example:{serving.port}",
                "127.0.0.1.evil.example",
                "10.0.0.1",
                "[::2",
                "",
            ):
                # When
                answer = await http.get("/v1/status", headers={"host": host})
                # Then
                assert answer.status_code in {400, 403}, host
                assert "height" not in answer.text
            for host in ("127.0.0.1", f"localhost:{serving.port}", "LOCALHOST", "[::1]:80"):
                assert (await http.get("/v1/status", headers={"host": host})).status_code == 200, host


async def test_web_pages_of_other_sites_cannot_submit(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            cbor = {"content-type": "application/cbor"}
            for headers in (
                {"origin": "http://evil.example"},
                {"origin": "null"},
                {"origin": "http://127.0.0.1:1"},
                {"origin": f"https://127.0.0.1:{serving.port}"},
                {"sec-fetch-site": "cross-site"},
                {"sec-fetch-site": "same-site"},
            ):
                # When
                answer = await http.post("/v1/transactions", content=b"\xff", headers=cbor | headers)
                # Then
                assert answer.status_code == 403, headers
                assert answer.headers["content-type"] == "application/problem+json"
            own = {"origin": serving.address.url, "sec-fetch-site": "same-origin"}
            assert (await http.post("/v1/transactions", content=b"\xff", headers=cbor | own)).status_code == 422
            # And nothing invites a page to read
            answer = await http.get("/v1/status", headers={"origin": "http://evil.example"})
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_oversized_bodies_are_refused_unread(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            head = b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor\r\n"
            announced = head + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)
            chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
            for sent in (announced, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + chunk):
                async with await trio.open_tcp_stream("127.0.0.1", serving.port) as stream:
                    # When
                    await stream.send_all(sent)
                    with trio.fail_after(5):
                        answer = await stream.receive_some(4096)
                    # Then
                    assert answer.startswith(b"HTTP/1.1 413"), answer
            assert (await serving.client.status()).height == 0


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.api.gate.BODY_TIMEOUT_S", 0.2)
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            head = b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor\r\n"
            async with await trio.open_tcp_stream("127.0.0.1", serving.port) as stream:
                await stream.send_all(head + b"Content-Length: 10\r\n\r\nabc")
                with trio.fail_after(5):
                    answer = await stream.receive_some(4096)
                assert answer.startswith(b"HTTP/1.1 408"), answer


async def test_administration_needs_the_token(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            wrong = NodeClient(serving.address.url, token="0" * 64)
            async with wrong:
                for client in (serving.stranger, wrong):
                    for question in (
                        client.connect_peer("/ip4/127.0.0.1/tcp/1/p2p/x"),
                        client.ban_peer(PEER, 60, "because"),
                        client.pardon_peer(PEER),
                        client.stop_node(),
                    ):
                        # When
                        with pytest.raises(ApiProblem) as caught:
                            await question
                        # Then
                        assert caught.value.status == 401
                        assert "api.token" in caught.value.detail
            assert (home.connected, home.banned, home.stopped.is_set()) == ([], [], False)
            # And with it
            assert PEER in await serving.client.connect_peer("/ip4/127.0.0.1/tcp/1/p2p/x")
            await serving.client.ban_peer(PEER, 60, "because")
            assert "stops" in await serving.client.stop_node()
            assert home.connected == ["/ip4/127.0.0.1/tcp/1/p2p/x"]
            assert home.banned == [(PEER, 60, "because")]
            assert "not banned any more" in await serving.client.pardon_peer(PEER)
            assert home.banned == []
            with pytest.raises(ApiProblem) as nobody:
                await serving.client.pardon_peer(PEER)
            assert nobody.value.status == 404
            with trio.fail_after(2):
                await home.stopped.wait()


async def test_the_token_is_the_owner_s_alone_and_stays(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home):
            token = (tmp_path / "api.token").read_text()
            assert (tmp_path / "api.token").stat().st_mode & 0o777 == 0o600
            assert len(token.strip()) == 64
        async with served(tmp_path, home):
            assert (tmp_path / "api.token").read_text() == token


async def test_bodies_that_are_no_text_are_wrong_requests(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            headers = {
                "content-type": "application/json",
                "authorization": "Bearer " + (tmp_path / "api.token").read_text().strip(),
            }
            for path, status in (("/v1/admin/peers", 400), ("/v1/admin/bans", 400), ("/v1/transactions", 422)):
                # When
                answer = await http.post(path, content=b'{"address":"\xff\xfe"}', headers=headers)
                # Then
                assert answer.status_code == status, answer.text


async def test_administrator_s_wrong_requests_are_explained(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            for question in (
                serving.client.connect_peer("nonsense"),
                serving.client.ban_peer("nonsense", 60, "because"),
                serving.client.pardon_peer("nonsense"),
                serving.client.ban_peer(PEER, 0, "because"),
                serving.client.ban_peer(PEER, 10**9, "because"),
                serving.client.ban_peer(PEER, 60, "x" * 201),
                serving.client._administer("bans", None),
                serving.client._administer("peers", BanRequest(peer=PEER, duration_s=1, reason="")),
            ):
                with pytest.raises(ApiProblem) as caught:
                    await question
                assert caught.value.status == 400
                assert caught.value.detail
            assert (home.connected, home.banned) == ([], [])

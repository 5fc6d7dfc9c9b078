"""Newcomers over the API: their requests are listed with what stands against them, and taken in from outside."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from ledger.keys import address_text
from node.client.errors import ApiProblem
from node.joining import JoinRequest
from node.joining_pool import AGAIN_AFTER_MS
from tests.node.api.household import Household, household, served
from tests.node.joining_examples import DAY_MS, make_denial, make_invite, make_request
from tests.support.chain import key_for

pytestmark = pytest.mark.trio


def request_at(home: Household, who: str = "dora", *, later_ms: int = 0) -> JoinRequest:
    invite = make_invite(home.made.chain_id, expires_ms=home.now_ms + DAY_MS)
    return make_request(invite, who, made_ms=home.now_ms + later_ms)


async def test_a_request_is_taken_and_listed(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            assert (await serving.client.join_requests()).requests == []
            # Given
            request = request_at(home)
            # When a program without the token hands it over
            filed = await serving.stranger.file_join(request.message)
            # Then
            (listed,) = (await serving.client.join_requests()).requests
            assert listed.id == filed == request.id.hex()
            assert (listed.name, listed.state, listed.obstacle) == ("dora", "waiting", None)
            assert listed.address == address_text(key_for("account", "dora").public_key)
            assert (listed.feeder, listed.substation) == ("mill lane", "north")
            assert listed.inviter.name == "anne"
            (meter,) = listed.meters
            assert (meter.kind, meter.role, meter.export_nameplate_w) == ("solar", "connection", 9_800)


async def test_a_denial_takes_its_place(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            request = request_at(home)
            await serving.client.file_join(request.message)
            # When
            await serving.client.file_join(make_denial(request).message)
            # Then
            (listed,) = (await serving.client.join_requests()).requests
            assert (listed.state, listed.reason) == ("denied", "who are you?")
            assert listed.denied_by is not None
            assert listed.denied_by.name == "anne"
            # and asking again is answered with it
            with pytest.raises(ApiProblem, match="the request was denied: who are you"):
                await serving.client.file_join(request_at(home, later_ms=AGAIN_AFTER_MS).message)


async def test_what_is_no_request_is_answered_with_why(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            with pytest.raises(ApiProblem, match="not a join message"):
                await serving.client.file_join(b"\xff")
            for content_type, content, status in (
                ("text/plain", b"", 415),
                ("application/json", b"{}", 400),
                ("application/json", b'{"raw": "xy"}', 400),
                ("application/json", b'{"raw": "80"}', 400),
            ):
                answer = await http.post("/v1/join-requests", content=content, headers={"content-type": content_type})
                assert answer.status_code == status, content
            taken = await http.post("/v1/join-requests", json={"raw": request_at(home).message.hex()})
            assert taken.status_code == 202

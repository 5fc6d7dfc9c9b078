"""Events as a program sees them: live, resumed, and through the node's absences."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from ledger.transactions import Token, Transfer
from node.client.client import NodeClient
from node.client.errors import ApiProblem
from node.client.events import (
    Away,
    Back,
    BlockFinal,
    ClientEvent,
    Dropped,
    Missed,
    PeerDisconnected,
    ReadingAccepted,
    TransactionFinal,
    TransactionPending,
    decode_event,
    encode_event,
)
from node.event_hub import MAX_SUBSCRIBERS, QUEUE_LENGTH
from tests.node.api.household import FINALITY_MS, household, served

pytestmark = pytest.mark.trio


async def following(events: AsyncGenerator[ClientEvent, None], count: int) -> list[ClientEvent]:
    """The next ``count`` events, in bounded time."""
    with trio.fail_after(10):
        return [await anext(events) for _ in range(count)]


def heights(events: list[ClientEvent]) -> list[int]:
    return [event.height for event in events if isinstance(event, BlockFinal)]


async def test_what_happens_arrives_in_order(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce(time_ms=home.now_ms + 20_000)
        async with served(tmp_path, home) as serving, aclosing(serving.client.events()) as events:
            assert await following(events, 1) == [Back(height=1)]
            # When
            made = home.made
            payment = Transfer(recipient=made.home("bob").id, token=Token.WATT, amount=5, memo="")
            transaction = made.sign("anne", payment)
            await serving.client.submit(transaction.raw)
            home.produce([transaction, made.read("george", 100, 900)], view=1, time_ms=home.now_ms + 10_000)
            # Then
            pending, block, *rest = await following(events, 4)
            assert isinstance(pending, TransactionPending)
            assert isinstance(block, BlockFinal)
            assert (block.height, block.view, block.finality_ms, block.reading_count) == (2, 1, FINALITY_MS, 1)
            assert len(block.skipped) == 1
            [reading] = [event for event in rest if isinstance(event, ReadingAccepted)]
            assert (reading.owner.name, reading.exported_wh) == ("george", 900)
            [final] = [event for event in rest if isinstance(event, TransactionFinal)]
            assert (final.id, final.refusal) == (transaction.id.hex(), None)
            assert len(final.accounts) == 2


async def test_a_program_begins_where_it_left_off(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        for _ in range(3):
            home.produce(view=1)
        home.produce()
        async with served(tmp_path, home) as serving, aclosing(serving.client.events(after_height=1)) as events:
            # Then: what was missed, then what is live
            back, *missed = await following(events, 4)
            assert back == Back(height=4)
            assert heights(missed) == [2, 3, 4]
            first = missed[0]
            assert isinstance(first, BlockFinal)
            assert len(first.skipped) == 1
            home.produce()
            assert heights(await following(events, 1)) == [5]


async def test_a_replayed_block_says_what_the_live_one_said(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, aclosing(serving.client.events()) as events:
            await following(events, 1)
            home.produce(view=2)
            [live] = await following(events, 1)
            async with aclosing(serving.client.events(after_height=0)) as later:
                assert await following(later, 2) == [Back(height=1), live]


async def test_a_long_absence_is_told_not_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.api.sse.MAX_REPLAYED_BLOCKS", 3)
    monkeypatch.setattr("node.api.sse.REPLAYED_TOGETHER", 2)
    with household(tmp_path) as home:
        for _ in range(8):
            home.produce()
        async with served(tmp_path, home) as serving, aclosing(serving.client.events(after_height=1)) as events:
            _, missed, *replayed = await following(events, 5)
            # Then
            assert missed == Missed(from_height=2, up_to_height=5)
            assert heights(replayed) == [6, 7, 8]


async def test_pruned_blocks_are_told_as_missed(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        for _ in range(8):
            home.produce()
        home.chain.prune(6)
        async with served(tmp_path, home) as serving, aclosing(serving.client.events(after_height=1)) as events:
            _, missed, *replayed = await following(events, 5)
            assert missed == Missed(from_height=2, up_to_height=5)
            assert heights(replayed) == [6, 7, 8]


async def test_a_node_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce()
        async with served(tmp_path, home) as serving:
            socket = serving.address.unix_socket
            client = NodeClient(unix_socket=socket)
            events = client.events()
            assert await following(events, 1) == [Back(height=1)]
            home.produce()
            assert heights(await following(events, 1)) == [2]
        async with client, aclosing(events):
            # When: it is gone
            [away] = await following(events, 1)
            assert isinstance(away, Away)
            assert away.retry_in_ms > 0
            assert "node" in away.detail
            # And comes back two blocks later
            home.produce()
            home.produce()
            async with served(tmp_path, home):
                back, *missed = await following(events, 3)
                # Then: none is missing, none comes twice
                assert back == Back(height=4)
                assert heights(missed) == [3, 4]
                home.produce()
                assert heights(await following(events, 1)) == [5]


async def test_away_is_said_once_an_absence(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """On a virtual clock, an hour without a node: one word, and the waits grow to ten seconds."""
    async with NodeClient(unix_socket=tmp_path / "api.sock") as client:
        seen: list[ClientEvent] = []
        with trio.move_on_after(3_600):
            async with aclosing(client.events()) as events:
                async for event in events:
                    seen.append(event)  # noqa: PERF401 (what was seen counts when time is up, too)
        [away] = seen
        assert isinstance(away, Away)
        assert "ecloud node run" in away.detail


async def test_who_does_not_keep_up_is_dropped_with_a_word_and_resumes(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce()
        async with served(tmp_path, home) as serving, aclosing(serving.client.events()) as events:
            await following(events, 1)
            # When: more happens at once than a queue holds
            for number in range(QUEUE_LENGTH + 10):
                home.events.publish(PeerDisconnected(peer=str(number)))
            home.produce()
            # Then: what waited, the word, and after a while the block
            waited = await following(events, QUEUE_LENGTH)
            assert waited[-1] == PeerDisconnected(peer=str(QUEUE_LENGTH - 1))
            dropped, away, back, block = await following(events, 4)
            assert isinstance(dropped, Dropped)
            assert isinstance(away, Away)
            assert back == Back(height=2)
            assert heights([block]) == [2]


async def test_only_so_many_may_follow(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            held = [home.events.subscribe() for _ in range(MAX_SUBSCRIBERS)]
            for one in held:
                one.__enter__()
            # When
            answer = await http.get("/v1/events")
            # Then
            assert (answer.status_code, answer.json()["retry_may_help"]) == (503, True)
            for one in held:
                one.__exit__(None, None, None)


async def test_a_wrong_event_id_is_refused_for_good(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            for wrong in ("x", "-1", "1" * 30):
                answer = await http.get("/v1/events", headers={"last-event-id": wrong})
                assert answer.status_code == 400, wrong
            async with aclosing(serving.client.events(after_height=-1)) as events:
                with pytest.raises(ApiProblem, match="Last-Event-ID"):
                    await following(events, 1)


async def test_a_height_that_is_not_yet_replays_nothing(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce()
        async with served(tmp_path, home) as serving, aclosing(serving.client.events(after_height=10**6)) as events:
            assert await following(events, 1) == [Back(height=1)]
            home.produce()
            assert heights(await following(events, 1)) == [2]


async def test_a_silent_stream_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.api.sse.KEEP_ALIVE_S", 0.05)
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            async with await trio.open_tcp_stream("127.0.0.1", serving.port) as stream:
                await stream.send_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                received = b""
                with trio.fail_after(5):
                    while received.count(b": the node is here") < 3:
                        received += await stream.receive_some(4096)
            assert b"event:" not in received


async def test_a_node_that_falls_silent_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that accepts and never answers, as a machine that hangs."""
    monkeypatch.setattr("node.client.connection.TIMEOUT_S", 0.1)
    monkeypatch.setattr("node.client.connection.SILENCE_S", 0.1)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with listener, NodeClient(f"http://127.0.0.1:{port}") as client, aclosing(client.events()) as events:
        [away] = await following(events, 1)
        assert isinstance(away, Away)
        assert "does not answer in time" in away.detail


async def test_what_is_no_node_is_said_to_be_none() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with NodeClient(f"http://127.0.0.1:{port}") as client, aclosing(client.events()) as events:
            [away] = await following(events, 1)
            assert isinstance(away, Away)
            assert "does not send events as a node does" in away.detail
        nursery.cancel_scope.cancel()


async def test_events_survive_their_encoding() -> None:
    event = PeerDisconnected(peer="p")
    assert decode_event(encode_event(event)) == event
    # And an event of a newer node is passed over
    assert decode_event(b'{"type":"eclipse","height":5}') is None
    # And a newer node may say more
    assert decode_event(b'{"type":"peer_disconnected","peer":"p","why":"bored"}') == event

"""The multiplexer, two of them back to back over pipes in memory."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from p2p.libp2p import yamux
from p2p.libp2p.yamux import FRAME_BYTES, WINDOW_BYTES, Yamux, YamuxStream

from libp2p.peer.id import ID  # isort: skip - after p2p.libp2p, which puts the stub in place
from libp2p.stream_muxer.exceptions import (  # isort: skip
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)


class Pipe:
    """A secured connection's interface over a pair of memory streams; ``held`` stops writing."""

    def __init__(self, stream: trio.StapledStream, is_initiator: bool) -> None:  # type: ignore[type-arg]
        self.stream = stream
        self.is_initiator = is_initiator
        self.written: list[bytes] = []
        self.held = trio.Event()
        self.held.set()

    async def read(self, n: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(n))

    async def write(self, data: bytes) -> None:
        await self.held.wait()
        self.written.append(data)
        await self.stream.send_all(data)

    async def close(self) -> None:
        await self.stream.aclose()

    def get_remote_address(self) -> tuple[str, int]:
        return ("127.0.0.1", 1)


@dataclass
class Pair:
    ours: Yamux
    theirs: Yamux
    our_pipe: Pipe
    their_pipe: Pipe
    violations: list[str] = field(default_factory=list)
    floods: list[str] = field(default_factory=list)


@pytest.fixture
async def pair(nursery: trio.Nursery) -> Pair:
    streams = trio.testing.memory_stream_pair()
    pipes = [Pipe(stream, initiator) for stream, initiator in zip(streams, (True, False), strict=True)]
    violations: list[str] = []
    floods: list[str] = []
    ends = [Yamux(pipe, ID(b"peer"), 4, violations.append, floods.append) for pipe in pipes]
    for end in ends:
        nursery.start_soon(end.start)
        await end.event_started.wait()
    return Pair(ends[0], ends[1], pipes[0], pipes[1], violations, floods)


async def streams(pair: Pair) -> tuple[YamuxStream, YamuxStream]:
    ours = await pair.ours.open_stream()
    return ours, await pair.theirs.accept_stream()


async def read_all(stream: YamuxStream) -> bytes:
    received = b""
    with trio.fail_after(5):
        while True:
            try:
                received += await stream.read(10_000)
            except MuxedStreamEOF:
                return received


@pytest.mark.trio
async def test_both_sides_open_streams_and_finish_them(pair: Pair) -> None:
    for opener, accepter, number in ((pair.ours, pair.theirs, 1), (pair.theirs, pair.ours, 2)):
        near = await opener.open_stream()
        far = await accepter.accept_stream()
        assert near.stream_id == far.stream_id == number
        await near.write(b"question")
        await near.close()
        assert await read_all(far) == b"question"
        await far.write(b"answer")
        await far.close()
        assert await read_all(near) == b"answer"
        with pytest.raises(MuxedStreamClosed):
            await near.write(b"more")
    await trio.testing.wait_all_tasks_blocked()
    assert pair.ours._streams == pair.theirs._streams == {}


@pytest.mark.trio
async def test_writers_that_wait_for_a_full_queue_all_go_on(pair: Pair, nursery: trio.Nursery) -> None:
    # Given four writers whose data together is more than the queue takes, while nothing can be sent
    pair.our_pipe.held = trio.Event()
    writers = [await pair.ours.open_stream() for _ in range(4)]
    data = bytes(WINDOW_BYTES - 1)
    for writer in writers:
        nursery.start_soon(writer.write, data)
    await trio.testing.wait_all_tasks_blocked()
    # When it can
    pair.our_pipe.held.set()
    # Then all of each one's data arrives
    for _ in writers:
        reader = await pair.theirs.accept_stream()
        received = 0
        with trio.fail_after(5):
            while received < len(data):
                received += len(await reader.read(WINDOW_BYTES))


@pytest.mark.trio
async def test_much_data_crosses_in_bounded_frames(pair: Pair, nursery: trio.Nursery) -> None:
    near, far = await streams(pair)
    data = bytes(range(256)) * 8_192

    async def send() -> None:
        await near.write(data)
        await near.close()

    nursery.start_soon(send)
    assert await read_all(far) == data
    longest = max(struct.unpack_from("!I", chunk, 8)[0] for chunk in pair.our_pipe.written if chunk[1] == 0)
    assert longest <= FRAME_BYTES


@pytest.mark.trio
async def test_an_unread_stream_holds_its_sender_and_no_other(pair: Pair, nursery: trio.Nursery) -> None:
    # Given a stream whose reader sleeps
    near, far = await streams(pair)
    done = trio.Event()

    async def send() -> None:
        await near.write(bytes(WINDOW_BYTES + 1))
        done.set()

    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked(0.01)
    # Then its sender waits, for ever if need be, and no more than the window is kept
    assert not done.is_set()
    assert len(far._unread) == WINDOW_BYTES
    # And another stream goes on
    other_near, other_far = await streams(pair)
    await other_near.write(b"hello")
    assert await other_far.read() == b"hello"
    # And the first goes on when its reader wakes
    await far.read(WINDOW_BYTES)
    with trio.fail_after(1):
        await done.wait()


@pytest.mark.trio
async def test_two_busy_peers_do_not_wait_for_each_other(pair: Pair) -> None:
    # Given both sides writing much at once, each on its own stream, while both read
    near, far = await streams(pair)
    data = bytes(2_000_000)
    received: dict[str, int] = {"near": 0, "far": 0}

    async def read(name: str, stream: YamuxStream) -> None:
        while received[name] < len(data):
            received[name] += len(await stream.read())

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.write, data)
            nursery.start_soon(far.write, data)
            nursery.start_soon(read, "near", near)
            nursery.start_soon(read, "far", far)


@pytest.mark.trio
async def test_a_cancelled_write_never_cuts_a_frame(pair: Pair) -> None:
    # Given a connection that takes nothing, and a writer that gives up
    near, _ = await streams(pair)
    pair.our_pipe.held = trio.Event()
    with trio.move_on_after(0.05):
        await near.write(bytes(WINDOW_BYTES))
    await near.reset()
    # When the connection goes on
    pair.our_pipe.held.set()
    # Then other streams are understood
    other_near, other_far = await streams(pair)
    await other_near.write(b"hello")
    with trio.fail_after(5):
        assert await other_far.read() == b"hello"
    assert pair.violations == []


@pytest.mark.trio
async def test_reset_ends_both_directions(pair: Pair) -> None:
    near, far = await streams(pair)
    await near.write(b"data")
    await trio.testing.wait_all_tasks_blocked()
    await near.reset()
    await trio.testing.wait_all_tasks_blocked()
    for stream in (near, far):
        with pytest.raises(MuxedStreamReset):
            await stream.read()
        with pytest.raises(MuxedStreamReset):
            await stream.write(b"x")
    assert pair.ours._streams == pair.theirs._streams == {}


@pytest.mark.trio
async def test_places_of_streams_are_given_back(pair: Pair) -> None:
    for _ in range(10):
        opened = [await streams(pair) for _ in range(4)]
        await trio.testing.wait_all_tasks_blocked()
        refused = await pair.ours.open_stream()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(MuxedStreamReset):
            await refused.read()
        for near, _ in opened:
            await near.reset()
        await trio.testing.wait_all_tasks_blocked()
    assert pair.floods == ["streams"] * 10


@pytest.mark.trio
async def test_the_end_of_a_connection_reaches_everyone(pair: Pair) -> None:
    near, far = await streams(pair)
    await pair.ours.close()
    await pair.ours.close()
    with trio.fail_after(2):
        await pair.theirs.event_closed.wait()
        for stream in (near, far):
            with pytest.raises(MuxedStreamError):
                await stream.read()
        for end in (pair.ours, pair.theirs):
            with pytest.raises(MuxedConnUnavailable):
                await end.accept_stream()
            with pytest.raises(MuxedStreamError):
                await end.open_stream()
    assert pair.violations == []


@pytest.mark.trio
async def test_a_peer_that_takes_nothing_is_given_up(
    pair: Pair, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yamux, "STALL_S", 0.05)
    near, _ = await streams(pair)
    pair.our_pipe.held = trio.Event()
    await near.write(b"never taken")
    with trio.fail_after(5):
        await pair.ours.event_closed.wait()
    with pytest.raises(MuxedStreamError):
        await near.write(b"more")


@pytest.mark.trio
async def test_a_granted_window_has_a_bound(pair: Pair) -> None:
    near, far = await streams(pair)
    for _ in range(10):
        pair.theirs.send_control(1, 0, far.stream_id, 2**32 - 1)
    await trio.testing.wait_all_tasks_blocked()
    assert near.send_window == yamux.MAX_WINDOW_BYTES < math.inf

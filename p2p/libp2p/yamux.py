"""Yamux (https://github.com/hashicorp/yamux/blob/master/spec.md) with every quantity bounded, in place of the library's
own.

Why not the library's (py-libp2p 0.8.1): it takes any amount of data beyond the receive window and any number of
streams; it writes inside the caller's task, so that a cancelled request cuts a frame in half and ruins the connection;
its reader writes, so that two busy peers can wait for each other for ever; a sender out of window looks every 10 ms and
gives its stream up after 5 s; a one-byte read sends a frame. ``docs/adr/0004-our-own-yamux-and-gossipsub.md`` has
figures.

1. A frame is ``version(1)=0 ‖ type(1) ‖ flags(2) ‖ stream(4) ‖ length(4)``, big-endian, then ``length`` bytes if the
   type is DATA.
2. Whoever dialled opens odd streams, the other even ones. A SYN for a stream that exists, or of our own parity, is a
   violation.
3. Each direction of a stream starts with a window of 256 KiB. Data beyond it is a violation. Half a window read grants
   as much again.
4. A peer has at most ``max_streams`` streams open; a further one is answered with RST and reported. Data for a stream
   that is gone is read and dropped.
5. Frames are paced: a connection that sends more than FRAMES_PER_SECOND (after a burst) is read more slowly, so it
   cannot occupy the node, and each second of that is reported as a flood.
6. One task reads, one task writes. ``YamuxStream.write`` hands frames to the writing task and waits while more than
   QUEUE_HIGH_BYTES wait. Cancelling it can leave a message unfinished on its stream, which must then be reset, but
   never half a frame on the connection.
7. A connection whose peer takes no byte for STALL_S seconds, or that makes us queue more than MAX_QUEUED_ANSWERS
   answers, is closed.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.io.utils import read_exactly
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)

from p2p.limits import TokenBucket

_HEADER = struct.Struct("!BBHII")
_DATA, _WINDOW_UPDATE, _PING, _GO_AWAY = range(4)
_SYN, _ACK, _FIN, _RST = 1, 2, 4, 8
_KNOWN_FLAGS = _SYN | _ACK | _FIN | _RST

WINDOW_BYTES = 256 * 1024
MAX_WINDOW_BYTES = 16 * 1024 * 1024
"""No send window grows beyond this, whatever the peer grants."""
FRAME_BYTES = 32 * 1024
"""Of payload, per frame we send: short enough that a vote passes a block on its way."""
_BATCH_BYTES = 60 * 1024
QUEUE_HIGH_BYTES = 256 * 1024
MAX_QUEUED_ANSWERS = 4_096
FRAMES_PER_SECOND = 2_000.0
FRAMES_BURST = 10_000.0
_FRAMES_BETWEEN_CHECKPOINTS = 32
_PACE_S = 0.05
_PAUSES_PER_OFFENCE = 20
STALL_S = 20.0
_BODY_S = 60.0
_GOODBYE_S = 0.2


class YamuxViolation(Exception):
    """The peer broke the protocol; the connection ends."""


class YamuxStream(IMuxedStream):  # type: ignore[misc]
    """One stream. Reading and writing may happen in two tasks at once, but only one task each."""

    def __init__(self, stream_id: int, connection: Yamux) -> None:
        self.stream_id = stream_id
        self.muxed_conn = connection
        self.send_window = WINDOW_BYTES
        self.receive_window = WINDOW_BYTES
        self._unread = bytearray()
        self._granted_later = 0
        self._changed = trio.Event()
        self._window_opened = trio.Event()
        self.finished_sending = False
        self.finished_receiving = False
        self.was_reset = False

    async def read(self, n: int | None = None) -> bytes:
        """At least one byte, at most ``n``. Errors: MuxedStreamEOF at the end, MuxedStreamReset."""
        while not self._unread:
            if self.was_reset:
                raise MuxedStreamReset("the stream was reset")
            if self.finished_receiving:
                raise MuxedStreamEOF("the stream is finished")
            self._changed = trio.Event()
            await self._changed.wait()
        count = len(self._unread) if n is None or n < 0 else min(n, len(self._unread))
        chunk = bytes(self._unread[:count])
        del self._unread[:count]
        self._granted_later += count
        if self._granted_later >= WINDOW_BYTES // 2 and not self.finished_receiving:
            self.receive_window += self._granted_later
            self.muxed_conn.send_control(_WINDOW_UPDATE, 0, self.stream_id, self._granted_later)
            self._granted_later = 0
        return chunk

    async def write(self, data: bytes) -> None:
        """All of ``data``. Errors: MuxedStreamClosed, MuxedStreamReset, MuxedStreamError when the connection is
        gone.
        """
        sent = 0
        while sent < len(data):
            if self.was_reset:
                raise MuxedStreamReset("the stream was reset")
            if self.finished_sending:
                raise MuxedStreamClosed("the stream is closed for writing")
            if self.send_window == 0:
                self._window_opened = trio.Event()
                await self._window_opened.wait()
                continue
            count = min(self.send_window, FRAME_BYTES, len(data) - sent)
            self.send_window -= count
            await self.muxed_conn.send_data(self.stream_id, data[sent : sent + count])
            sent += count

    async def close(self) -> None:
        """Ends our direction; reading goes on."""
        if not self.finished_sending:
            self.finished_sending = True
            self.muxed_conn.send_control(_WINDOW_UPDATE, _FIN, self.stream_id, 0)
            self.muxed_conn.forget_if_finished(self)
        await trio.lowlevel.checkpoint()

    close_write = close

    async def reset(self) -> None:
        """Ends both directions at once and drops what was not read."""
        if not self.was_reset:
            gone = self.finished_sending and self.finished_receiving
            self.end_by_reset()
            if not gone:
                self.muxed_conn.send_control(_WINDOW_UPDATE, _RST, self.stream_id, 0)
            self.muxed_conn.forget_if_finished(self)
        await trio.lowlevel.checkpoint()

    # Called by the connection

    def end_by_reset(self) -> None:
        self.was_reset = self.finished_sending = self.finished_receiving = True
        self._unread.clear()
        self._wake()

    def end_receiving(self) -> None:
        self.finished_receiving = True
        self._wake()

    def receive(self, data: bytes) -> None:
        assert len(data) <= self.receive_window
        self.receive_window -= len(data)
        if not self.finished_receiving:
            self._unread += data
            self._wake()

    def open_window(self, increment: int) -> None:
        self.send_window = min(self.send_window + increment, MAX_WINDOW_BYTES)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._window_opened.set()

    # The rest of the library's interface

    def set_deadline(self, ttl: int) -> bool:
        raise NotImplementedError("deadlines are trio's cancel scopes")

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.muxed_conn.get_remote_address()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Yamux(IMuxedConn):  # type: ignore[misc]
    """One multiplexed connection over a secured one. ``start`` runs it until it ends and never raises."""

    def __init__(
        self,
        secured_conn: Any,
        peer_id: ID,
        max_streams: int,
        violation: Callable[[str], None],
        flooded: Callable[[str], None],
    ) -> None:
        self.secured_conn = secured_conn
        self.peer_id = peer_id
        self.on_close: Callable[[], Awaitable[None]] | None = None  # set by the library; accept_stream tells it already
        self.bytes_received = 0
        self.bytes_sent = 0
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        self._violation = violation
        self._flooded = flooded
        self._frames_read = 0
        self._pauses = 0
        self._max_streams = max_streams
        self._streams: dict[int, YamuxStream] = {}
        self._inbound_streams = 0
        self._next_stream_id = 1 if secured_conn.is_initiator else 2
        self._accepted_send, self._accepted = trio.open_memory_channel[YamuxStream](max_streams)
        self._frames = TokenBucket(FRAMES_PER_SECOND, FRAMES_BURST, trio.current_time())
        self._outgoing: deque[bytes] = deque()
        self._outgoing_bytes = 0
        self._outgoing_added = trio.Event()
        self._outgoing_drained = trio.Event()
        self._closing = False

    @property
    def is_initiator(self) -> bool:
        return bool(self.secured_conn.is_initiator)

    @property
    def is_established(self) -> bool:
        return self.event_started.is_set() and not self._closing

    @property
    def is_closed(self) -> bool:
        return self.event_closed.is_set()

    def get_transport_addresses(self) -> Any:
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> Any:
        return self.secured_conn.get_connection_type()

    def get_remote_address(self) -> tuple[str, int] | None:
        address: tuple[str, int] | None = self.secured_conn.get_remote_address()
        return address

    # Life

    async def start(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_frames)
                self.event_started.set()
                await self._read_frames()
                nursery.cancel_scope.cancel()
        except* YamuxViolation as violations:
            self._violation(str(violations.exceptions[0]))
        except* Exception:
            # The peer went away, sent what does not decrypt, or stalled: the connection is over, and nothing else is.
            self._closing = True
        finally:
            await self.close()

    async def close(self) -> None:
        """Says goodbye if the peer still listens, then closes the socket and ends every stream. Idempotent."""
        if self._closing and self.event_closed.is_set():
            return
        self._closing = True
        for stream in list(self._streams.values()):
            stream.end_by_reset()
        self._streams.clear()
        self._inbound_streams = 0
        self._accepted_send.close()
        self._outgoing_drained.set()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_GOODBYE_S):
                await self._say_goodbye()
            try:
                await self.secured_conn.close()
            except Exception:
                # Closing a socket that is already broken may fail; it is closed either way.
                self.event_closed.set()
        self.event_closed.set()

    async def _say_goodbye(self) -> None:
        self._outgoing.append(_HEADER.pack(0, _GO_AWAY, 0, 0, 0))
        batch, self._outgoing = b"".join(self._outgoing), deque()
        try:
            await self.secured_conn.write(batch)
        except Exception:
            # The peer is gone already: there is nobody to say goodbye to.
            return

    # Streams

    async def open_stream(self) -> YamuxStream:
        """Error: MuxedStreamError when the connection is closing."""
        await trio.lowlevel.checkpoint()
        if self._closing:
            raise MuxedStreamError("the connection is closing")
        stream = YamuxStream(self._next_stream_id, self)
        self._next_stream_id += 2
        self._streams[stream.stream_id] = stream
        self.send_control(_WINDOW_UPDATE, _SYN, stream.stream_id, 0)
        return stream

    async def accept_stream(self) -> YamuxStream:
        """The next stream the peer opened. Error: MuxedConnUnavailable at the end of the connection."""
        try:
            return await self._accepted.receive()
        except trio.EndOfChannel:
            raise MuxedConnUnavailable("the connection is closed") from None

    def forget_if_finished(self, stream: YamuxStream) -> None:
        finished = stream.finished_sending and stream.finished_receiving
        if finished and self._streams.pop(stream.stream_id, None) is stream and self._is_inbound(stream.stream_id):
            self._inbound_streams -= 1

    def _is_inbound(self, stream_id: int) -> bool:
        return stream_id % 2 == (0 if self.is_initiator else 1)

    # Writing

    def send_control(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        """Queues a frame without a body; never waits, so that the reading task may call it."""
        if self._closing:
            return
        if len(self._outgoing) >= MAX_QUEUED_ANSWERS:
            raise YamuxViolation("asks for more answers than it takes")
        self._enqueue(_HEADER.pack(0, kind, flags, stream_id, value))

    async def send_data(self, stream_id: int, payload: bytes) -> None:
        """Queues a DATA frame and waits while too much is queued. Error: MuxedStreamError when the connection is
        closing.
        """
        if self._closing:
            raise MuxedStreamError("the connection is closing")
        self._enqueue(_HEADER.pack(0, _DATA, 0, stream_id, len(payload)) + payload)
        while self._outgoing_bytes > QUEUE_HIGH_BYTES and not self._closing:
            if self._outgoing_drained.is_set():  # else others wait for this very event
                self._outgoing_drained = trio.Event()
            await self._outgoing_drained.wait()
        await trio.lowlevel.checkpoint()

    def _enqueue(self, frame: bytes) -> None:
        self._outgoing.append(frame)
        self._outgoing_bytes += len(frame)
        self._outgoing_added.set()

    async def _write_frames(self) -> None:
        while True:
            while not self._outgoing:
                self._outgoing_added = trio.Event()
                await self._outgoing_added.wait()
            frames = [self._outgoing.popleft()]
            size = len(frames[0])
            while self._outgoing and size + len(self._outgoing[0]) <= _BATCH_BYTES:
                frames.append(self._outgoing.popleft())
                size += len(frames[-1])
            with trio.fail_after(STALL_S):
                await self.secured_conn.write(b"".join(frames))
            self._outgoing_bytes -= size
            self.bytes_sent += size
            if self._outgoing_bytes <= QUEUE_HIGH_BYTES:
                self._outgoing_drained.set()

    # Reading

    async def _read_frames(self) -> None:
        while not self._closing:
            header = await read_exactly(self.secured_conn, _HEADER.size)
            version, kind, flags, stream_id, length = _HEADER.unpack(header)
            self.bytes_received += _HEADER.size
            if version != 0 or kind > _GO_AWAY or flags & ~_KNOWN_FLAGS:
                raise YamuxViolation(f"not a yamux frame: version {version}, type {kind}, flags {flags}")
            await self._pace()
            if kind == _GO_AWAY:
                return
            if kind == _PING:
                if flags & _SYN:
                    self.send_control(_PING, _ACK, 0, length)
                continue
            if flags & _SYN:
                self._accept(stream_id)
            await self._receive(kind, flags, stream_id, length)

    async def _pace(self) -> None:
        """Rule 5. Frames that arrived together are read without waiting: others get their turn in between."""
        self._frames_read += 1
        if not self._frames.take(1, trio.current_time()):
            self._pauses += 1
            if self._pauses % _PAUSES_PER_OFFENCE == 0:
                self._flooded("frames")
            await trio.sleep(_PACE_S)
        elif self._frames_read % _FRAMES_BETWEEN_CHECKPOINTS == 0:
            await trio.lowlevel.checkpoint()

    def _accept(self, stream_id: int) -> None:
        if not self._is_inbound(stream_id) or stream_id == 0:
            raise YamuxViolation(f"opens stream {stream_id}, which is not its to open")
        if stream_id in self._streams:
            raise YamuxViolation(f"opens stream {stream_id} twice")
        if self._inbound_streams >= self._max_streams:
            self._flooded("streams")
            self.send_control(_WINDOW_UPDATE, _RST, stream_id, 0)
            return
        stream = YamuxStream(stream_id, self)
        self._streams[stream_id] = stream
        self._inbound_streams += 1
        self.send_control(_WINDOW_UPDATE, _ACK, stream_id, 0)
        try:
            self._accepted_send.send_nowait(stream)
        except trio.WouldBlock:
            # Streams opened and reset faster than they are taken up.
            self._flooded("streams")
            stream.end_by_reset()
            self.send_control(_WINDOW_UPDATE, _RST, stream_id, 0)
            self.forget_if_finished(stream)

    async def _receive(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        stream = self._streams.get(stream_id)
        if kind == _DATA:
            if length > (WINDOW_BYTES if stream is None else stream.receive_window):
                raise YamuxViolation(f"sends {length} bytes beyond the window of stream {stream_id}")
            with trio.fail_after(_BODY_S):
                body = await read_exactly(self.secured_conn, length) if length else b""
            self.bytes_received += length
            if stream is not None:
                stream.receive(body)
        elif stream is not None:
            stream.open_window(length)
        if stream is None:
            return
        if flags & _RST:
            stream.end_by_reset()
        elif flags & _FIN:
            stream.end_receiving()
        self.forget_if_finished(stream)

"""Targets below the protocol of the chain: what a stranger may send over a connection."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, Final

import trio

from p2p.addresses import parse_address
from p2p.libp2p.gossip import Gossip
from p2p.libp2p.gossip_wire import Controls, Signer, control_frame, publish_frame
from p2p.libp2p.host import GuardedHost  # noqa: F401 - importing it mends the library's multistream
from p2p.libp2p.streams import FramingError, encode_varint, frame, read_answer, read_request
from p2p.libp2p.yamux import WINDOW_BYTES, Yamux
from p2p.limits import Limits
from p2p.network import NetworkError, Offence, RequestFailed, RequestRefused, Verdict
from p2p.peer_book import PeerBook
from p2p.peer_identity import peer_id_from_public_key, public_key_from_peer_id
from p2p.reception import Reception
from tests.fuzz.mutation import any_bytes, any_protobuf, any_text
from tests.fuzz.target import ACCEPTED, Feed, Target, virtually
from tests.p2p.hostile import ACK, DATA, FIN, GO_AWAY, MULTISTREAM, PING, RST, SYN, WINDOW_UPDATE, line, yamux

from libp2p.io.exceptions import IOException  # isort: skip - after p2p.libp2p, which puts the stub in place
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError, MultiselectError  # isort: skip
from libp2p.protocol_muxer.multiselect import Multiselect  # isort: skip
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator  # isort: skip

TOPIC: Final = "/ecloud/c1c1c1c1c1c1c1c1/consensus/1"
PEER: Final = peer_id_from_public_key(bytes(range(32)))
MAX_STREAMS: Final = 8


class Pipe:
    """The other side of a connection or stream: it sent ``data``, hung up, and takes whatever is said to it."""

    is_initiator = False

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.muxed_conn = self
        self.peer_id = PEER
        self.answered = bytearray()

    async def read(self, count: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._data:
            raise _Ended("the other side hung up")
        chunk, self._data = self._data[:count], self._data[len(self._data) if count is None else count :]
        return chunk

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.answered += data

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        await trio.lowlevel.checkpoint()


class _Ended(IOException, EOFError):  # type: ignore[misc]
    """As libp2p's streams say it."""


def _yamux() -> tuple[Sequence[bytes], Feed]:
    hello = MULTISTREAM + line("/ecloud/status/1")
    golden = [
        yamux(WINDOW_UPDATE, SYN, 1, 0) + yamux(DATA, 0, 1, len(hello), hello),
        yamux(DATA, SYN, 1, 3, b"abc") + yamux(DATA, FIN, 1, 0) + yamux(WINDOW_UPDATE, RST, 1, 0),
        b"".join(yamux(WINDOW_UPDATE, SYN, stream, 0) for stream in range(1, 21, 2)),
        yamux(PING, SYN, 0, 7) * 3 + yamux(PING, ACK, 0, 9) + yamux(WINDOW_UPDATE, 0, 1, 2**32 - 1),
        yamux(DATA, SYN, 1, 4_000, bytes(4_000)) + yamux(DATA, 0, 1, 4_000, bytes(4_000)) + yamux(GO_AWAY, 0, 0, 0),
    ]

    def feed(data: bytes) -> str:
        offences: list[str] = []

        async def main() -> None:
            connection = Yamux(Pipe(data), PEER, MAX_STREAMS, offences.append, offences.append)
            await connection.start()
            assert connection.is_closed
            assert connection._inbound_streams == 0
            assert not connection._streams
            assert connection._accepted_send.statistics().current_buffer_used <= MAX_STREAMS
            assert connection.bytes_received <= len(data) + WINDOW_BYTES

        virtually(main)
        return "offence" if offences else "ended"

    return golden, feed


def _multistream() -> tuple[Sequence[bytes], Feed]:
    golden = [
        MULTISTREAM + line("/noise"),
        MULTISTREAM + line("/ecloud/status/1") + b"\x05abcde",
        MULTISTREAM + line("ls"),
        MULTISTREAM + line("/unknown/1") + line("/noise"),
        frame(b"/multistream/1.0.0") + frame(b"\xff\xfe\n"),
    ]

    def feed(data: bytes) -> str:
        ended: list[str] = []

        async def main() -> None:
            negotiation = Multiselect({"/noise": None, "/ecloud/status/1": None})
            try:
                await negotiation.negotiate(MultiselectCommunicator(Pipe(data)))
                ended.append(ACCEPTED)
            except (MultiselectError, MultiselectCommunicatorError) as error:
                ended.append(type(error).__name__)

        virtually(main)
        return ended[0]

    return golden, feed


def _gossip() -> tuple[Sequence[bytes], Feed]:
    signer = Signer(bytes(32))
    identifier = hashlib.sha256(b"one").digest()
    everything = Controls([TOPIC, "other"], [TOPIC], [(TOPIC, 10)], [(TOPIC, [identifier])], [identifier])
    bodies = [
        control_frame(everything),
        control_frame(Controls(subscribe=[TOPIC])),
        publish_frame(signer.envelope(TOPIC, b"one")),
        publish_frame(signer.envelope("other", bytes(300))),
    ]
    golden = [body[2:] if body[0] >= 0x80 else body[1:] for body in bodies]  # without the length, which ``feed`` adds

    def feed(data: bytes) -> str:
        offences: Counter[str] = Counter()
        ended: list[str] = []

        def penalise(_peer: str, offence: Offence, _detail: str) -> None:
            offences[offence.value] += 1

        async def main() -> None:
            limits = Limits()
            book = PeerBook(limits, trio.current_time, lambda: 0)
            reception = Reception(book, limits, trio.current_time, penalise)
            gossip = Gossip(signer, reception, book, limits, penalise, _no_stream, Random(1))
            reception.subscribe(TOPIC, lambda *_: Verdict.ACCEPT)
            gossip.join(TOPIC)
            gossip.connected(PEER, dialled=False)
            await gossip.serve(Pipe(frame(data) + frame(data)))
            gossip.mesh.heartbeat()
            ended.append(next(iter(offences), "ended"))
            await gossip.serve(Pipe(data))  # as if its own first bytes were the length
            gossip.disconnected(PEER)

        virtually(main)
        return ended[0]

    return golden, feed


async def _no_stream(_peer: str, _protocol: str) -> Any:
    raise RequestFailed("nobody is there")


def _requests() -> tuple[Sequence[bytes], Feed]:
    golden = [
        frame(bytes(33)),
        b"\x00" + frame(b"answer"),
        b"\x01" + frame("weiß nicht".encode()),
        encode_varint(2**31),
    ]

    def feed(data: bytes) -> str:
        ended: list[str] = []

        async def main() -> None:
            for read in (read_request, read_answer):
                try:
                    await read(Pipe(data))
                    ended.append(ACCEPTED)
                except (FramingError, RequestFailed, RequestRefused) as error:
                    ended.append(type(error).__name__)

        virtually(main)
        return ended[-1]

    return golden, feed


def _addresses() -> tuple[Sequence[bytes], Feed]:
    golden = [
        f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}".encode(),
        b"/ip6/2001:db8::1/tcp/4001",
        b"/dns4/home.example/tcp/65535",
        b"/dns/a/tcp/0",
    ]

    def feed(data: bytes) -> str:
        text = data.decode("utf-8", "replace")
        try:
            address = parse_address(text)
        except NetworkError:
            return "NetworkError"
        assert parse_address(str(address)) == address
        return ACCEPTED

    return golden, feed


def _peer_ids() -> tuple[Sequence[bytes], Feed]:
    def feed(data: bytes) -> str:
        text = data.decode("utf-8", "replace")
        try:
            key = public_key_from_peer_id(text)
        except ValueError:
            return "ValueError"
        assert peer_id_from_public_key(key) == text, "a peer has one name"
        return ACCEPTED

    return [PEER.encode()], feed


TARGETS: Final = (
    Target("yamux", any_bytes, _yamux),
    Target("multistream", any_bytes, _multistream),
    Target("gossip", any_protobuf, _gossip),
    Target("requests", any_bytes, _requests),
    Target("addresses", any_text, _addresses),
    Target("peer-ids", any_text, _peer_ids),
)

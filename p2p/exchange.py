"""Peer exchange: connected peers tell each other where they and their neighbours can be reached.

One stream protocol per network, ``/ecloud/<network>/peers/1``, one request and one answer (``p2p.network``), protobuf:

    request   1: the asking peer's own envelope (``p2p.peer_record``)
    answer    1: the answering peer's own envelope · 2: envelopes of others, at most MAX_ENVELOPES · 3: the address
              under which the asking peer's connection arrived, as a binary multiaddr; left out where there is none

1. A peer is asked when it connects, when our own record changes, and one at random every ASK_EAGERLY_S while this node
   wants more peers, else every ASK_SELDOM_S.
2. A peer may ask ASKS_BURST times at once and then once in ASK_REFILL_S; what exceeds it is refused.
3. An envelope that is not what it should be costs its sender ``INVALID_MESSAGE``, once per message, and the rest of the
   message is not read. A request carries one envelope, so that one request costs one signature check.
4. An observed address is a hint: it is believed only after others have dialled it (``p2p.reachability``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import trio

from p2p.addresses import TcpAddress, pack_address, parse_address, unpack_address, without_peer
from p2p.limits import TokenBucket
from p2p.neighbourhood import Neighbourhood
from p2p.network import Connected, Network, NetworkError, Offence, PeerId, RequestRefused
from p2p.peer_record import InvalidRecord, PeerRecord
from p2p.protobuf import MalformedProtobuf, field_bytes, read_fields

MAX_ENVELOPES = 32
ASK_EAGERLY_S = 15.0
ASK_SELDOM_S = 300.0
ASKS_BURST = 12
ASK_REFILL_S = 5.0
_MAX_ASKERS = 1_024
_ASK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One decoded answer."""

    own: bytes
    others: tuple[bytes, ...]
    observed: TcpAddress | None


def protocol(network_name: str) -> str:
    return f"/ecloud/{network_name}/peers/1"


def encode_answer(answer: Answer) -> bytes:
    observed = b"" if answer.observed is None else field_bytes(3, pack_address(answer.observed))
    return field_bytes(1, answer.own) + b"".join(field_bytes(2, other) for other in answer.others) + observed


def decode_answer(octets: bytes) -> Answer:
    """Error: MalformedProtobuf."""
    fields = read_fields(octets, octets={1: 1, 2: MAX_ENVELOPES, 3: 1})
    observed = None
    if 3 in fields.octets:
        try:
            address = unpack_address(fields.one(3))
        except ValueError as error:
            raise MalformedProtobuf(f"the observed address: {error}") from error
        observed = address if isinstance(address, TcpAddress) and address.peer is None else None
    return Answer(fields.one(1), tuple(fields.octets.get(2, ())), observed)


class Exchange:
    """``own_record`` gives our own record; ``heard`` is told of every record that is news, ``observed`` of the address
    under which a peer we dialled sees us.
    """

    def __init__(
        self,
        network: Network,
        network_name: str,
        neighbourhood: Neighbourhood,
        own_record: Callable[[], PeerRecord],
        wants_more: Callable[[], bool],
        heard: Callable[[PeerRecord], None],
        observed: Callable[[PeerId, TcpAddress], None],
        random: Random,
    ) -> None:
        self._network = network
        self._protocol = protocol(network_name)
        self._neighbourhood = neighbourhood
        self._own_record = own_record
        self._wants_more = wants_more
        self._heard = heard
        self._observed = observed
        self._random = random
        self._budgets: OrderedDict[PeerId, TokenBucket] = OrderedDict()
        self._changed = trio.Event()
        network.serve(self._protocol, self._answer)

    def own_record_changed(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        events = self._network.events()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_now_and_then)
            nursery.start_soon(self._tell_changes)
            for info in self._network.peers():
                nursery.start_soon(self.ask, info.peer)
            async for event in events:
                if isinstance(event, Connected):
                    nursery.start_soon(self.ask, event.peer)
            nursery.cancel_scope.cancel()

    async def _ask_now_and_then(self) -> None:
        while True:
            wait_s = ASK_EAGERLY_S if self._wants_more() else ASK_SELDOM_S
            waited_s = 0.0
            while waited_s < wait_s and (waited_s < ASK_EAGERLY_S or not self._wants_more()):
                step_s = ASK_EAGERLY_S * self._random.uniform(0.5, 1.0)
                await trio.sleep(step_s)
                waited_s += step_s
            peers = [info.peer for info in self._network.peers()]
            if peers:
                await self.ask(self._random.choice(peers))

    async def _tell_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            async with trio.open_nursery() as nursery:
                for info in self._network.peers():
                    nursery.start_soon(self.ask, info.peer)

    async def ask(self, peer: PeerId) -> None:
        """One exchange with a connected peer; a peer that does not answer costs nothing."""
        self._neighbourhood.met(peer)
        request = field_bytes(1, self._own_record().envelope)
        try:
            octets = await self._network.request(peer, self._protocol, request, _ASK_TIMEOUT_S)
        except NetworkError:
            return
        try:
            answer = decode_answer(octets)
            for envelope in (answer.own, *answer.others):
                self._hear(envelope, peer)
        except (MalformedProtobuf, InvalidRecord) as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"peer exchange: {error}")
            return
        self._neighbourhood.met(peer)
        if answer.observed is not None:
            self._observed(peer, answer.observed)

    async def _answer(self, peer: PeerId, request: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._affords(peer):
            raise RequestRefused("asked too often")
        try:
            self._hear(read_fields(request, octets={1: 1}).one(1), peer)
        except (MalformedProtobuf, InvalidRecord) as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, f"peer exchange: {error}")
            raise RequestRefused("not a peer record") from error
        self._neighbourhood.met(peer)
        others = tuple(self._neighbourhood.sample(MAX_ENVELOPES, without=peer))
        return encode_answer(Answer(self._own_record().envelope, others, self._address_of(peer)))

    def _hear(self, envelope: bytes, teller: PeerId) -> None:
        record = self._neighbourhood.hear(envelope, teller)
        if record is not None:
            self._heard(record)

    def _affords(self, peer: PeerId) -> bool:
        now_s = trio.current_time()
        bucket = self._budgets.setdefault(peer, TokenBucket(1 / ASK_REFILL_S, ASKS_BURST, now_s))
        self._budgets.move_to_end(peer)
        if len(self._budgets) > _MAX_ASKERS:
            self._budgets.popitem(last=False)
        return bucket.take(1, now_s)

    def _address_of(self, peer: PeerId) -> TcpAddress | None:
        """Where a peer that dialled us came from."""
        for info in self._network.peers():
            if info.peer == peer and info.inbound and "/p2p-circuit" not in info.address:
                try:
                    return without_peer(parse_address(info.address))  # type: ignore[return-value]
                except NetworkError:
                    return None
        return None

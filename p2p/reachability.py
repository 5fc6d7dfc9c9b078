"""Whether others can dial this node: peers are asked to try.

One stream protocol per network, ``/ecloud/<network>/dial-back/1``, one request and one answer (``p2p.network``):

    request   port, 2 bytes big-endian
    answer    1 byte: 1 dialled and met the asking peer there, 0 not

1. The answering peer dials the address its connection with the asking peer has, at the asked port, and no other: nobody
   can make it dial a third party. A connection through a relay has no such address and is refused. It dials from a port
   of its own choosing, not its listening port: a router lets back in what it let out.
2. A peer may ask ASKS_BURST times at once and then once in ASK_REFILL_S; at most DIALS_AT_ONCE dials run; ports below
   1024 are refused.
3. What peers saw this node as (``observed``) is believed after they dialled it: MAX_ASKED of those that saw a globally
   routable address are asked, and it is ``PUBLIC`` if more than half of those that answered say so, ``PRIVATE`` if not.
   Without such peers it is ``UNKNOWN``.
4. Asked again when what is observed changes, and every AGAIN_S.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from random import Random

import trio

from p2p.addresses import TcpAddress, parse_address
from p2p.limits import TokenBucket
from p2p.network import Network, NetworkError, PeerId, RequestRefused
from p2p.surroundings import LOWEST_PORT, is_global

ASKS_BURST = 6
ASK_REFILL_S = 30.0
DIALS_AT_ONCE = 4
MAX_ASKED = 3
AGAIN_S = 600.0
AGAIN_UNKNOWN_S = 30.0
_SETTLE_S = 0.5
_TIMEOUT_S = 15.0
_MAX_OBSERVERS = 16

DialBack = Callable[[TcpAddress, PeerId], Awaitable[bool]]
"""Whether a peer was met at an address; never raises NetworkError, closes what it opened."""


class Reach(Enum):
    UNKNOWN = "unknown"
    PUBLIC = "public"
    PRIVATE = "private"


def protocol(network_name: str) -> str:
    return f"/ecloud/{network_name}/dial-back/1"


class Reachability:
    """``changed`` is called when ``state`` or ``public_addresses`` are new."""

    def __init__(
        self,
        network: Network,
        network_name: str,
        listening_ports: Callable[[], Sequence[int]],
        dial_back: DialBack,
        changed: Callable[[], None],
        random: Random,
    ) -> None:
        self._network = network
        self._protocol = protocol(network_name)
        self._listening_ports = listening_ports
        self._dial_back = dial_back
        self._changed = changed
        self._random = random
        self._observed: OrderedDict[PeerId, TcpAddress] = OrderedDict()
        self._mapped: TcpAddress | None = None
        self._news = trio.Event()
        self._dialling = 0
        self._budgets: OrderedDict[PeerId, TokenBucket] = OrderedDict()
        self.state = Reach.UNKNOWN
        self.public_addresses: tuple[TcpAddress, ...] = ()
        network.serve(self._protocol, self._answer)

    def observed(self, peer: PeerId, address: TcpAddress) -> None:
        """``peer``, which we dialled, sees our connection come from ``address``."""
        before = self._hosts()
        self._observed[peer] = address
        self._observed.move_to_end(peer)
        if len(self._observed) > _MAX_OBSERVERS:
            self._observed.popitem(last=False)
        if self._hosts() != before:
            self._news.set()

    def mapped(self, address: TcpAddress | None) -> None:
        """A router forwards ``address`` to us, or no longer."""
        self._mapped = address
        self._news.set()

    def seen_as(self) -> list[TcpAddress]:
        """Globally routable addresses from which others see us come, the latest first."""
        seen = (address for address in reversed(self._observed.values()) if is_global(address))
        return list(dict.fromkeys(seen))

    async def run(self) -> None:
        while True:
            with trio.move_on_after(AGAIN_UNKNOWN_S if self.state is Reach.UNKNOWN else AGAIN_S):
                await self._news.wait()
            await trio.sleep(_SETTLE_S)
            self._news = trio.Event()
            await self._find_out()

    # Asking

    def _hosts(self) -> set[str]:
        return {address.host for address in self._observed.values() if is_global(address)}

    async def _find_out(self) -> None:
        connected = {info.peer for info in self._network.peers() if "/p2p-circuit" not in info.address}
        observers = [peer for peer, seen in self._observed.items() if peer in connected and is_global(seen)]
        asked = self._random.sample(observers, min(MAX_ASKED, len(observers)))
        ports = dict.fromkeys([*([self._mapped.port] if self._mapped else []), *self._listening_ports()])
        state = Reach.UNKNOWN
        public: tuple[TcpAddress, ...] = ()
        for port in ports:
            answers = await self._ask(asked, port)
            yes = [peer for peer, reached in answers.items() if reached]
            if answers:
                state = Reach.PRIVATE
            if 2 * len(yes) > len(answers):
                seen = dict.fromkeys(self._observed[peer].host for peer in yes if peer in self._observed)
                public = tuple(TcpAddress(self._family(host), host, port) for host in seen)
                state = Reach.PUBLIC
                break
        if (state, public) != (self.state, self.public_addresses):
            self.state, self.public_addresses = state, public
            self._changed()

    @staticmethod
    def _family(host: str) -> str:
        return "ip6" if ":" in host else "ip4"

    async def _ask(self, peers: Sequence[PeerId], port: int) -> dict[PeerId, bool]:
        answers: dict[PeerId, bool] = {}

        async def ask(peer: PeerId) -> None:
            try:
                answer = await self._network.request(peer, self._protocol, port.to_bytes(2, "big"), _TIMEOUT_S)
            except NetworkError:  # gone, or of another opinion about how often one may ask
                return
            answers[peer] = answer == b"\x01"

        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(ask, peer)
        return answers

    # Answering

    async def _answer(self, peer: PeerId, request: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        port = int.from_bytes(request, "big")
        if len(request) != 2 or port < LOWEST_PORT:
            raise RequestRefused("a request is a port, of 1024 or more")
        now_s = trio.current_time()
        bucket = self._budgets.setdefault(peer, TokenBucket(1 / ASK_REFILL_S, ASKS_BURST, now_s))
        if len(self._budgets) > 1_024:
            self._budgets.popitem(last=False)
        if not bucket.take(1, now_s) or self._dialling >= DIALS_AT_ONCE:
            raise RequestRefused("asked too often")
        address = self._address_of(peer)
        if address is None:
            raise RequestRefused("no direct connection")
        self._dialling += 1
        try:
            met = await self._dial_back(TcpAddress(address.protocol, address.host, port), peer)
        finally:
            self._dialling -= 1
        return b"\x01" if met else b"\x00"

    def _address_of(self, peer: PeerId) -> TcpAddress | None:
        for info in self._network.peers():
            if info.peer == peer and "/p2p-circuit" not in info.address:
                try:
                    return parse_address(info.address)
                except NetworkError:
                    return None
        return None

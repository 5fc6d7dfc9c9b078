"""Join requests between nodes: taken in from a newcomer's node, passed on among members' nodes, so that an approver's
node sees them wherever it is.

1. The genesis is served to whoever names its chain: a newcomer has only an invite.
2. A request or denial comes over the stream ``/ecloud/join/1`` or the local API and goes into the ``JoinPool``, whose
   rules decide. What is malformed or forged costs the peer that sent it; a peer sends at most ``BURST`` messages, then
   one in ``ONE_IN_S``; a genesis counts as ``GENESIS_COST`` of them.
3. What is held is told once to every connected node of a member, and a denial also to the newcomer's node. A peer that
   refuses or does not answer is told again, at longer and longer intervals: it may be behind.
4. Who tells of a request that was denied here is answered with the denial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import trio

from ledger.encoding import EncodingError, decode, encode
from ledger.keys import address_text
from ledger.records import NODE_KEYS
from ledger.state import State, StateReader
from node.client.events import JoinEnded, JoinRequested, NodeEvent
from node.clock import WallClock
from node.joining import (
    MAX_JOIN_MESSAGE_BYTES,
    Denial,
    JoinAnswer,
    JoinError,
    JoinForged,
    JoinRequest,
    decode_message,
)
from node.joining_pool import Ended, JoinEntry, JoinPool
from node.log import Log
from node.protocol import GENESIS, JOIN, node_key_of
from p2p.network import Network, NetworkError, Offence, PeerId, RequestRefused

BURST: Final = 80
ONE_IN_S: Final = 5.0
GENESIS_COST: Final = 10
TELL_PERIOD_S: Final = 5.0
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 600.0
MAX_ANSWER_BYTES: Final = MAX_JOIN_MESSAGE_BYTES + 16


@dataclass(slots=True)
class _Telling:
    """What one peer has been told of one entry: ``done``, or when it is told again, and the pause after that."""

    done: bool = False
    again_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S


class Joining:
    """See the module's rules. ``publish`` is told of every entry that is new or has ended."""

    def __init__(
        self,
        network: Network,
        snapshot: Callable[[], AbstractContextManager[StateReader]],
        chain_id: bytes,
        genesis: bytes,
        wall: WallClock,
        publish: Callable[[NodeEvent], None],
        log: Log,
    ) -> None:
        self._network = network
        self._snapshot = snapshot
        self._chain_id = chain_id
        self._genesis = genesis
        self._wall = wall
        self._publish = publish
        self._log = log
        self._pool = JoinPool(chain_id)
        self._used_until_s: dict[PeerId, float] = {}
        self._told: dict[PeerId, dict[bytes, _Telling]] = {}
        self._wake = trio.Event()
        network.serve(GENESIS, self._serve_genesis)
        network.serve(JOIN, self._serve)

    def entries(self) -> list[JoinEntry]:
        """Oldest first."""
        return list(self._pool)

    def file(self, data: bytes) -> JoinEntry:
        """Takes a join message in from this node's own household. Errors: JoinError."""
        message = decode_message(data)
        taken = self._take(message)
        known = taken or self._pool.of_account(_account(message))
        assert known is not None, "what is known is held"
        return known

    def look(self) -> None:
        """A block is final: what it granted is dropped."""
        if len(self._pool):
            self._wake.set()

    async def run(self) -> None:
        """Drops what has ended and tells what is held, for ever."""
        while True:
            self._wake = trio.Event()
            now_s = trio.current_time()
            self._used_until_s = {peer: until_s for peer, until_s in self._used_until_s.items() if until_s > now_s}
            if len(self._pool):
                with self._snapshot() as reader:
                    state = State(reader)
                    for ended in self._pool.review(state, self._wall()):
                        self._say(ended)
                    due = self._due(state)
                async with trio.open_nursery() as nursery:
                    for peer, entries in due.items():
                        nursery.start_soon(self._tell, peer, entries)
            with trio.move_on_after(TELL_PERIOD_S):
                await self._wake.wait()

    # -- telling

    def _due(self, state: State) -> dict[PeerId, list[JoinEntry]]:
        """Whom to tell what, now."""
        now_s = trio.current_time()
        connected = {info.peer for info in self._network.peers()}
        held = {entry.key for entry in self._pool}
        self._told = {
            peer: {key: telling for key, telling in told.items() if key in held}
            for peer, told in self._told.items()
            if peer in connected
        }
        due: dict[PeerId, list[JoinEntry]] = {}
        for peer in connected:
            node_key = node_key_of(peer)
            if node_key is None:
                continue
            is_members = NODE_KEYS.get(state, node_key) is not None
            told = self._told.setdefault(peer, {})
            for entry in self._pool:
                if is_members or (entry.denial is not None and entry.request.body.node_key == node_key):
                    telling = told.setdefault(entry.key, _Telling())
                    if not telling.done and telling.again_s <= now_s:
                        due.setdefault(peer, []).append(entry)
        return due

    async def _tell(self, peer: PeerId, entries: Iterable[JoinEntry]) -> None:
        for entry in entries:
            telling = self._told.get(peer, {}).get(entry.key)
            if telling is None:
                return  # gone meanwhile
            try:
                answer = await self._network.request(peer, JOIN, entry.message)
                self._take_answer(decode(answer, JoinAnswer, MAX_ANSWER_BYTES))
                telling.done = True
            except (NetworkError, EncodingError, JoinError) as error:
                self._log.debug("join request not taken", peer=peer, reason=str(error))
                telling.again_s = trio.current_time() + telling.pause_s
                telling.pause_s = min(2 * telling.pause_s, LONGEST_PAUSE_S)

    def _take_answer(self, answer: tuple[bytes, ...]) -> None:
        """Rule 4, at the other end. Errors: JoinError."""
        for data in answer:
            message = decode_message(data)
            if not isinstance(message, Denial):
                raise JoinError("a request is answered with a denial or with nothing")
            self._take(message)

    # -- hearing

    async def _serve_genesis(self, peer: PeerId, data: bytes) -> bytes:
        self._require_budget(peer, GENESIS_COST)
        if data != self._chain_id:
            raise RequestRefused("another chain is run here")
        return self._genesis

    async def _serve(self, peer: PeerId, data: bytes) -> bytes:
        self._require_budget(peer)
        try:
            message = decode_message(data)
        except JoinError as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, str(error))
            raise RequestRefused(str(error)) from error
        held = self._pool.of_account(_account(message))
        if (
            isinstance(message, JoinRequest)
            and held is not None
            and held.denial is not None
            and held.request.invite.id == message.invite.id
        ):
            return encode((held.denial.message,))
        try:
            taken = self._take(message)
        except JoinForged as error:
            self._network.penalise(peer, Offence.INVALID_MESSAGE, str(error))
            raise RequestRefused(str(error)) from error
        except JoinError as error:
            raise RequestRefused(str(error)) from error
        if taken is not None:
            self._told.setdefault(peer, {})[taken.key] = _Telling(done=True)
        return encode(())

    def _take(self, message: JoinRequest | Denial) -> JoinEntry | None:
        """The new entry, None if it is known. Errors: JoinError."""
        with self._snapshot() as reader:
            taken = self._pool.take(message, State(reader), self._wall())
        if taken is not None:
            self._say(taken)
            self._wake.set()
        return taken

    def _say(self, change: JoinEntry | Ended) -> None:
        entry = change.entry if isinstance(change, Ended) else change
        body = entry.request.body
        request_id, address = entry.request.id.hex(), address_text(body.account)
        if isinstance(change, JoinEntry) and change.denial is None:
            self._publish(JoinRequested(id=request_id, name=body.name, address=address))
            self._log.info("join request", name=body.name, address=address)
            return
        outcome = change.outcome if isinstance(change, Ended) else "denied"
        reason = "" if entry.denial is None else entry.denial.signed.reason
        self._publish(JoinEnded(id=request_id, name=body.name, address=address, outcome=outcome, reason=reason))
        self._log.info("join request ended", name=body.name, outcome=outcome)

    def _require_budget(self, peer: PeerId, messages: int = 1) -> None:
        """Rule 2. Errors: RequestRefused."""
        now_s = trio.current_time()
        used_until_s = max(self._used_until_s.get(peer, 0.0), now_s) + messages * ONE_IN_S
        if used_until_s > now_s + BURST * ONE_IN_S:
            self._network.penalise(peer, Offence.FLOOD, "join messages and geneses")
            raise RequestRefused("too many join messages; wait a while")
        self._used_until_s[peer] = used_until_s


def _account(message: JoinRequest | Denial) -> bytes:
    return message.signed.account if isinstance(message, Denial) else message.body.account

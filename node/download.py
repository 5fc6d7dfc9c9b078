"""Which blocks to ask of whom: the plan of a download from several peers at once, without network, disk or clock.

Events come in as calls, with the time; requests go out of ``plan``, blocks in order of height out of ``take``. Whoever
drives it calls ``plan`` after every event and at ``wake_at_ms``, sends what it returns, and reports what became of it.

1. Wanted is everything above what is applied, up to the highest claim, but not above ``last_wanted``. A height is
   asked for once, and again when whoever was asked failed, refused, left or lied; or lets wait (5).
2. A peer is asked only for heights it claims, and for at most ``PER_PEER`` ranges at a time. It is asked for
   ``FIRST_COUNT`` blocks at first, then for up to twice as many as its last answer held, at most ``MAX_COUNT``; a
   request that failed halves that. So slow lines and large blocks find the size that suits them.
3. In flight are at most ``MAX_IN_FLIGHT`` requests, for heights at most ``MAX_AHEAD`` above what is applied; what is
   held, what was taken and is not applied yet, and ``RESERVED_BYTES`` for every request in flight are at most
   ``MAX_HELD_BYTES``. The lowest missing height may always be asked for: all the rest waits for it.
4. Of several the one expected to answer first is asked, by the time its answers took per block; the unmeasured first.
   Who takes ``TOO_SLOW`` times as long as the quickest that has the height is not asked while that one can be.
5. If the lowest missing range is not answered within ``patience_ms``, four times what answers usually take within
   bounds, the next best peer is asked for it too, up to ``ASKED_FOR_ONE`` peers at once. The first answer counts; who
   let wait counts as twice as slow as before. So a peer that answers late for ever delays little.
6. An answer may be shorter than asked for (it ends at a size limit); what is missing is asked for anew. One that is
   empty, too long or too large is misconduct, and so is a wrong block, which is the fault of the peer that served it:
   its claims and all that is held of it are forgotten, and until it claims anew it is asked nothing.
7. After misconduct, a failure or a refusal a peer is passed over for ``PASSED_OVER_MS``, whatever it claims meanwhile.
8. ``take`` hands over ranges without a gap or overlap. After ``wrong`` everything not applied begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, Generic, TypeVar

MAX_COUNT: Final = 64
FIRST_COUNT: Final = 16
PER_PEER: Final = 2
MAX_IN_FLIGHT: Final = 8
MAX_AHEAD: Final = 1_024
MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
RESERVED_BYTES: Final = 1024 * 1024
MAX_HELD_BYTES: Final = 24 * 1024 * 1024
ASKED_FOR_ONE: Final = 3
TOO_SLOW: Final = 8
PASSED_OVER_MS: Final = 10_000
PATIENCE_MS: Final = (1_000, 3_000, 8_000)
"""At the least, before anything was measured, at the most."""

T = TypeVar("T")


class Misconduct(StrEnum):
    """What no honest peer does."""

    EMPTY = "serves nothing of what it claims to have"
    TOO_MANY = "serves more blocks than were asked for"
    TOO_LARGE = "serves more bytes than an answer may have"
    WRONG = "serves a wrong block"


@dataclass(frozen=True, slots=True)
class Blame:
    """A peer that is to pay for what it did."""

    peer: str
    misconduct: Misconduct
    detail: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to send: blocks ``first`` … ``first + count − 1`` of ``peer``. ``number`` is its own."""

    number: int
    peer: str
    first: int
    count: int
    since_ms: int

    @property
    def last(self) -> int:
        return self.first + self.count - 1


@dataclass(frozen=True, slots=True)
class Served(Generic[T]):
    """Blocks ``first`` … ``last`` as ``peer`` served them."""

    peer: str
    first: int
    blocks: tuple[T, ...]
    size_bytes: int

    @property
    def last(self) -> int:
        return self.first + len(self.blocks) - 1


@dataclass(slots=True)
class _Peer:
    """``floor`` … ``height`` is what it claims; ``ms_per_block`` is 0 before its first answer."""

    height: int = 0
    floor: int = 0
    count: int = FIRST_COUNT
    in_flight: int = 0
    ms_per_block: float = 0.0
    passed_over_until_ms: int = 0

    def has(self, height: int) -> bool:
        return self.floor <= height <= self.height


class Download(Generic[T]):
    """See the module's rules. ``applied`` is the height of the tip; ``last_wanted`` 0 means no such end.

    ``random`` decides only among equals. Times are milliseconds of a clock that never goes
    back.
    """

    def __init__(self, applied: int, random: Random, last_wanted: int = 0) -> None:
        self._applied = applied
        self._taken_to = applied
        self._last_wanted = last_wanted
        self._random = random
        self._peers: dict[str, _Peer] = {}
        self._asks: dict[int, Ask] = {}
        self._ranges: dict[int, tuple[int, list[int]]] = {}  # first → (last, numbers of those asked, in turn)
        self._held: dict[int, Served[T]] = {}
        self._taken: list[tuple[str, int, int, int]] = []  # (peer, first, last, bytes) not applied yet
        self._usual_ms = 0.0
        self._number = 0

    # -- what goes out

    def plan(self, now_ms: int) -> list[Ask]:
        """The requests to send now; each must be reported by ``answered``, ``refused`` or ``failed``."""
        asks: list[Ask] = []
        for first, last in list(self._uncovered()):
            height = first
            while height <= last and self._has_room(height):
                peer = self._choose(height, now_ms, set())
                if peer is None:
                    break
                asks.append(self._ask(peer, height, last, now_ms))
                height = asks[-1].last + 1
        second = self._second_opinion(now_ms)
        if second is not None:
            asks.append(second)
        return asks

    def take(self) -> Served[T] | None:
        """The next range in order of height, to be applied; None until it is here."""
        served = self._held.pop(self._taken_to + 1, None)
        if served is not None:
            self._taken_to = served.last
            self._taken.append((served.peer, served.first, served.last, served.size_bytes))
        return served

    def wake_at_ms(self, now_ms: int) -> int | None:
        """When ``plan`` may have something to ask although nothing happens; None for never."""
        moments = [
            peer.passed_over_until_ms
            for peer in self._peers.values()
            if peer.passed_over_until_ms > now_ms and peer.height > self._taken_to
        ]
        lowest = self._ranges.get(self._lowest_missing())
        if lowest is not None and len(lowest[1]) < ASKED_FOR_ONE:
            due_ms = self._asks[lowest[1][-1]].since_ms + self.patience_ms
            if due_ms > now_ms:
                moments.append(due_ms)
        return min(moments, default=None)

    @property
    def patience_ms(self) -> int:
        """Rule 5."""
        least, first, most = PATIENCE_MS
        return min(max(int(4 * self._usual_ms), least), most) if self._usual_ms else first

    @property
    def target(self) -> int:
        """The highest height that is wanted and claimed, not below what is applied."""
        highest = max((peer.height for peer in self._peers.values()), default=0)
        wanted = min(highest, self._last_wanted) if self._last_wanted else highest
        return max(wanted, self._applied)

    @property
    def in_flight(self) -> int:
        return len(self._asks)

    @property
    def held_bytes(self) -> int:
        """What is held, and what was taken and not applied."""
        return sum(served.size_bytes for served in self._held.values()) + sum(taken[3] for taken in self._taken)

    def awaits(self, ask: Ask) -> bool:
        """True until the range is here, or whoever was asked for it is gone or blamed."""
        return ask.first in self._ranges and ask.number in self._ranges[ask.first][1]

    def is_passed_over(self, peer: str, now_ms: int) -> bool:
        return peer in self._peers and self._peers[peer].passed_over_until_ms > now_ms

    # -- what happens

    def claims(self, peer: str, height: int, floor: int = 0) -> None:
        """A connected peer says it has the blocks ``floor`` … ``height``."""
        record = self._peers.setdefault(peer, _Peer())
        record.height, record.floor = height, floor

    def gone(self, peer: str) -> None:
        """The peer is not connected any more; what it served so far still counts."""
        if self._peers.pop(peer, None) is not None:
            for ask in [ask for ask in self._asks.values() if ask.peer == peer]:
                self._withdraw(ask)

    def answered(self, ask: Ask, blocks: tuple[T, ...], size_bytes: int, now_ms: int) -> Blame | None:
        """The peer answered with these blocks, not verified. Returns whom to blame for the answer's form."""
        awaited = self.awaits(ask)
        peer = self._close(ask)
        if peer is None or not awaited:
            return None  # it is late, or its peer was blamed already
        if not blocks:
            return self._blame(ask.peer, Misconduct.EMPTY, f"claims {peer.height}, asked for {ask.first}", now_ms)
        if len(blocks) > ask.count:
            return self._blame(ask.peer, Misconduct.TOO_MANY, f"{len(blocks)} of {ask.count}", now_ms)
        if size_bytes > MAX_ANSWER_BYTES:
            return self._blame(ask.peer, Misconduct.TOO_LARGE, f"{size_bytes} of {MAX_ANSWER_BYTES}", now_ms)
        took_ms = max(1, now_ms - ask.since_ms)
        peer.ms_per_block = _smoothed(peer.ms_per_block, took_ms / len(blocks))
        peer.count = min(MAX_COUNT, 2 * len(blocks))
        self._usual_ms = _smoothed(self._usual_ms, took_ms)
        del self._ranges[ask.first]  # others that were asked for it are late
        self._hold(Served(ask.peer, ask.first, blocks, size_bytes))
        return None

    def refused(self, ask: Ask, now_ms: int) -> None:
        """The peer has not got the range, or will not serve it."""
        self._failed(ask, now_ms)

    def failed(self, ask: Ask, now_ms: int) -> None:
        """No answer came in time, or none at all."""
        peer = self._failed(ask, now_ms)
        if peer is not None:
            peer.count = max(1, ask.count // 2)

    def misbehaved(self, peer: str, now_ms: int) -> None:
        """The peer was caught outside of this plan, for instance by an answer that does not decode."""
        self._forget_all_of(peer, now_ms)

    def applied(self, height: int) -> None:
        """The chain has all blocks up to this height, wherever they came from."""
        if height <= self._applied:
            return
        self._applied = height
        self._taken = [taken for taken in self._taken if taken[2] > height]
        self._taken_to = max(self._taken_to, height)
        for first in [first for first in self._held if first <= self._taken_to]:
            self._hold(self._held.pop(first))

    def wrong(self, height: int, detail: str, now_ms: int) -> Blame | None:
        """The block of this height, taken and not applied, is not the chain's. Returns whom to blame."""
        guilty = next((peer for peer, first, last, _ in self._taken if first <= height <= last), None)
        self._taken.clear()
        self._taken_to = self._applied
        return None if guilty is None else self._blame(guilty, Misconduct.WRONG, detail, now_ms)

    def restart(self) -> None:
        """What was taken and not applied is lost: begin anew above what is applied; nobody is to blame."""
        self._taken.clear()
        self._taken_to = self._applied

    # -- ranges

    def _uncovered(self) -> Iterator[tuple[int, int]]:
        """(first, last) of what is wanted and neither held nor asked for, ascending."""
        horizon = min(self.target, self._applied + MAX_AHEAD)
        covered = [(first, last) for first, (last, _) in self._ranges.items()]
        covered += [(served.first, served.last) for served in self._held.values()]
        height = self._taken_to + 1
        for first, last in sorted(covered):
            if height > horizon:
                return
            if height < first:
                yield height, min(first - 1, horizon)
            height = max(height, last + 1)
        if height <= horizon:
            yield height, horizon

    def _lowest_missing(self) -> int:
        height = self._taken_to + 1
        while height in self._held:
            height = self._held[height].last + 1
        return height

    def _has_room(self, first: int) -> bool:
        """Rule 3."""
        if first == self._lowest_missing():
            return True
        reserved = (len(self._asks) + 1) * RESERVED_BYTES
        return len(self._asks) < MAX_IN_FLIGHT and self.held_bytes + reserved <= MAX_HELD_BYTES

    def _hold(self, served: Served[T]) -> None:
        """Keeps of a range what is not taken or held yet."""
        skip = max(0, self._taken_to + 1 - served.first)
        end = served.last
        for other in self._held.values():
            if served.first + skip <= other.last and other.first <= end:
                end = other.first - 1  # cut short: the part beyond is held already
        blocks = served.blocks[skip : max(skip, end + 1 - served.first)]
        if blocks:
            self._held[served.first + skip] = Served(served.peer, served.first + skip, blocks, served.size_bytes)

    # -- peers

    def _choose(self, height: int, now_ms: int, asked: set[str]) -> str | None:
        """Rule 4, of those not in ``asked``; None if nobody can be asked now."""
        able = {
            name: peer
            for name, peer in self._peers.items()
            if peer.has(height) and peer.passed_over_until_ms <= now_ms and name not in asked
        }
        quickest = min((peer.ms_per_block for peer in able.values() if peer.ms_per_block), default=0.0)
        free = [
            name
            for name, peer in able.items()
            if peer.in_flight < PER_PEER and (not quickest or peer.ms_per_block <= TOO_SLOW * quickest)
        ]
        if not free:
            return None
        self._random.shuffle(free)
        return min(free, key=lambda name: (able[name].in_flight + 1) * able[name].ms_per_block)

    def _ask(self, peer: str, first: int, last: int, now_ms: int) -> Ask:
        record = self._peers[peer]
        last = min(last, first + record.count - 1, record.height)
        self._number += 1
        ask = Ask(self._number, peer, first, last - first + 1, now_ms)
        record.in_flight += 1
        self._asks[ask.number] = ask
        asked_before = self._ranges[first][1] if first in self._ranges else []
        self._ranges[first] = (max(last, self._ranges[first][0] if asked_before else last), [*asked_before, ask.number])
        return ask

    def _second_opinion(self, now_ms: int) -> Ask | None:
        """Rule 5."""
        first = self._lowest_missing()
        if first not in self._ranges:
            return None
        last, numbers = self._ranges[first]
        latest = self._asks[numbers[-1]]
        if len(numbers) >= ASKED_FOR_ONE or now_ms < latest.since_ms + self.patience_ms:
            return None
        peer = self._choose(first, now_ms, {self._asks[number].peer for number in numbers})
        if peer is None:
            return None
        late = self._peers[latest.peer]
        late.ms_per_block = 2 * max(late.ms_per_block, (now_ms - latest.since_ms) / latest.count)
        return self._ask(peer, first, last, now_ms)

    def _close(self, ask: Ask) -> _Peer | None:
        """The request is over; None if its peer is gone since."""
        if self._asks.pop(ask.number, None) is None:
            return None
        peer = self._peers[ask.peer]
        peer.in_flight -= 1
        return peer

    def _withdraw(self, ask: Ask) -> None:
        """Nobody waits for this request any more: others are asked if nobody else was."""
        self._asks.pop(ask.number, None)
        if self.awaits(ask):
            numbers = self._ranges[ask.first][1]
            numbers.remove(ask.number)
            if not numbers:
                del self._ranges[ask.first]

    def _failed(self, ask: Ask, now_ms: int) -> _Peer | None:
        peer = self._close(ask)
        if peer is not None:
            self._withdraw(ask)
            peer.passed_over_until_ms = now_ms + PASSED_OVER_MS
        return peer

    def _blame(self, peer: str, misconduct: Misconduct, detail: str, now_ms: int) -> Blame:
        self._forget_all_of(peer, now_ms)
        return Blame(peer, misconduct, detail)

    def _forget_all_of(self, name: str, now_ms: int) -> None:
        """Rule 6. Requests to it that are in flight still count as in flight, but nobody waits for them."""
        for first in [first for first, served in self._held.items() if served.peer == name]:
            del self._held[first]
        for first, (_, numbers) in list(self._ranges.items()):
            numbers[:] = [number for number in numbers if number in self._asks and self._asks[number].peer != name]
            if not numbers:
                del self._ranges[first]
        peer = self._peers.get(name)
        if peer is not None:
            peer.height = 0
            peer.passed_over_until_ms = now_ms + PASSED_OVER_MS


def _smoothed(before: float, now: float) -> float:
    return now if not before else 0.7 * before + 0.3 * now

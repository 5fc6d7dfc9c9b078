"""What a node remembers of other peers: scores, bans, addresses, counters. No sockets, no libp2p; the clocks are handed
in.

1. Score and budgets belong to the peer id, not to the connection: disconnecting and coming back restores neither.
2. A ban names the peer, a reason and an end in wall-clock milliseconds, because it outlives the process. An expired ban
   is forgotten and the peer starts again with a full score.
3. Addresses are remembered only of peers that proved their id over a connection we dialled, the latest first.
4. The file is canonical CBOR, replaced atomically: a reader finds the old state or the new one. A file that cannot be
   read is put aside under another name and the book starts empty: losing remembered peers must not keep a home offline.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2

from p2p.limits import STARTING_SCORE, Limits, TokenBucket
from p2p.network import Banned, Offence, PeerId

_FORMAT = 1
_MAX_FILE_BYTES = 8 * 1024 * 1024
_ADDRESSES_PER_PEER = 4
_MAX_REASON_CHARACTERS = 200
_MAX_STANDINGS = 10_000


@dataclass(slots=True)
class _Standing:
    """One peer's score and budgets, in monotonic seconds."""

    score: float
    updated_s: float
    messages: TokenBucket
    octets: TokenBucket


class PeerBook:
    """Scores, bans and remembered addresses. ``now_s`` is monotonic, ``wall_ms`` is the wall clock."""

    def __init__(
        self, limits: Limits, now_s: Callable[[], float], wall_ms: Callable[[], int], state_path: Path | None = None
    ) -> None:
        self._limits = limits
        self._now_s = now_s
        self._wall_ms = wall_ms
        self._state_path = state_path
        self._standings: OrderedDict[PeerId, _Standing] = OrderedDict()
        self._bans: OrderedDict[PeerId, Banned] = OrderedDict()
        self._addresses: OrderedDict[PeerId, list[str]] = OrderedDict()
        self._changed = False
        self.counters: Counter[str] = Counter()
        if state_path is not None:
            self._load(state_path)

    # Scores and budgets

    def score(self, peer: PeerId) -> int:
        """From 0 (banned) to STARTING_SCORE, rounded up: who is not banned has at least 1."""
        if self.banned(peer) is not None:
            return 0
        return -int(-self._standing(peer).score // 1)

    def spend(self, peer: PeerId, octets: int) -> bool:
        """Books one inbound message of ``octets`` bytes; False when it exceeds the peer's budget and must be
        dropped.
        """
        standing = self._standing(peer)
        now_s = self._now_s()
        return standing.messages.take(1, now_s) and standing.octets.take(octets, now_s)

    def penalise(self, peer: PeerId, offence: Offence, detail: str) -> Banned | None:
        """Takes the price; returns the ban if this was the last straw and the peer was not banned before."""
        self.counters[f"offence_{offence.value}"] += 1
        standing = self._standing(peer)
        standing.score -= self._limits.prices[offence]
        if standing.score > 0 or self.banned(peer) is not None:
            return None
        return self.ban(peer, self._limits.ban_s, f"{offence.value}: {detail}")

    def _standing(self, peer: PeerId) -> _Standing:
        now_s = self._now_s()
        standing = self._standings.get(peer)
        if standing is None:
            limits = self._limits
            standing = _Standing(
                STARTING_SCORE,
                now_s,
                TokenBucket(limits.messages_per_second, limits.messages_burst, now_s),
                TokenBucket(limits.bytes_per_second, limits.bytes_burst, now_s),
            )
            self._standings[peer] = standing
            if len(self._standings) > _MAX_STANDINGS:
                self._standings.popitem(last=False)
        else:
            regained = (now_s - standing.updated_s) * self._limits.score_recovery_per_minute / 60
            standing.score = min(STARTING_SCORE, standing.score + regained)
            standing.updated_s = now_s
            self._standings.move_to_end(peer)
        return standing

    # Bans

    def ban(self, peer: PeerId, duration_s: float, reason: str) -> Banned:
        """Bans for ``duration_s`` from now; a longer ban that stands is kept."""
        until_ms = self._wall_ms() + int(duration_s * 1000)
        standing_ban = self.banned(peer)
        if standing_ban is not None and standing_ban.until_ms > until_ms:
            return standing_ban
        banned = Banned(peer, reason[:_MAX_REASON_CHARACTERS], until_ms)
        self._bans[peer] = banned
        self._addresses.pop(peer, None)
        self.counters["bans"] += 1
        if len(self._bans) > self._limits.max_bans:
            self._bans.popitem(last=False)
        self._changed = True
        return banned

    def banned(self, peer: PeerId) -> Banned | None:
        """The ban that stands now, if any."""
        banned = self._bans.get(peer)
        if banned is not None and banned.until_ms <= self._wall_ms():
            self.pardon(peer)
            return None
        return banned

    def pardon(self, peer: PeerId) -> bool:
        """Ends a ban: the peer starts anew. False if there is none."""
        if self._bans.pop(peer, None) is None:
            return False
        self._standings.pop(peer, None)
        self._changed = True
        return True

    # Addresses

    def remember(self, peer: PeerId, address: str) -> None:
        """A full multiaddr under which ``peer`` was reached just now."""
        known = [address, *(other for other in self._addresses.pop(peer, []) if other != address)]
        self._addresses[peer] = known[:_ADDRESSES_PER_PEER]
        if len(self._addresses) > self._limits.max_remembered_peers:
            self._addresses.popitem(last=False)
        self._changed = True

    def remembered(self) -> dict[PeerId, list[str]]:
        """Full multiaddrs by peer, the peer reached last comes last, its best address first."""
        return {peer: list(addresses) for peer, addresses in self._addresses.items()}

    # The file

    def save(self) -> None:
        """Writes what changed since the last save; does nothing without a path. A disk that is full is counted, and the
        next save tries again: it must not take the network down.
        """
        if self._state_path is None or not self._changed:
            return
        state = {
            "format": _FORMAT,
            "bans": [[ban.peer, ban.reason, ban.until_ms] for ban in self._bans.values()],
            "peers": [[peer, addresses] for peer, addresses in self._addresses.items()],
        }
        temporary = self._state_path.with_name(self._state_path.name + ".new")
        try:
            with temporary.open("wb") as file:
                file.write(cbor2.dumps(state, canonical=True))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._state_path)
        except OSError:
            self.counters["peer_book_unsaved"] += 1
        else:
            self._changed = False

    def _load(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._adopt(cbor2.loads(file.read(_MAX_FILE_BYTES)))
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, cbor2.CBORDecodeError):
            self._bans.clear()
            self._addresses.clear()
            path.replace(path.with_name(path.name + ".unreadable"))
            self.counters["peer_book_unreadable"] += 1

    def _adopt(self, state: Any) -> None:
        if not isinstance(state, dict) or state["format"] != _FORMAT:
            raise ValueError("not a peer book of this version")
        for peer, reason, until_ms in state["bans"]:
            if not (isinstance(peer, str) and isinstance(reason, str) and isinstance(until_ms, int)):
                raise TypeError("a ban is peer, reason, end")
            self._bans[peer] = Banned(peer, reason, until_ms)
        for peer, addresses in state["peers"]:
            if not (isinstance(peer, str) and all(isinstance(address, str) for address in addresses)):
                raise TypeError("a remembered peer has text addresses")
            self._addresses[peer] = list(addresses)[:_ADDRESSES_PER_PEER]

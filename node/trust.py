"""From which height on this node may vote when its journal does not say what it has said before.

1. A journal that does not vouch for this node's key, because it was just made or is another key's, hides what this
   node may have said. Whatever that was, it was said at most one above the highest tip of any honest member, and the
   highest claim that is heard may be one behind that tip. So the node follows without voting below the highest claim +
   3. (A journal that is complete lets it vote at once.)
2. Claims of members count; only where no member of the committee is heard, those of anybody. If one of those who were
   believed is banned, it may have lied: then it is settled anew.
3. A chain of which nobody has a block hides nothing, nor does one with a single member.
4. Once the height is passed the journal is complete, and says so for good.
5. A complete journal forgets what was said at heights that are committed. If the chain is shorter than that, because it
   is being fetched anew, the node does not vote again until it is past the heights forgotten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from consensus.committee import Committee
from node.log import Log
from node.protocol import node_key_of
from node.sync import Sync
from p2p.network import PeerId
from storage.interface import JournalStore

ABSTAINED_HEIGHTS: Final = 3

Write = Callable[[Callable[[], None]], Awaitable[None]]
"""Carries out one write to the disk, when there is room."""


class Trust:
    """See the module's rules. ``round_s``: how long to listen to others."""

    def __init__(
        self, journal: JournalStore, node_key: bytes, sync: Sync, round_s: float, write: Write, log: Log
    ) -> None:
        self._journal = journal
        self._node_key = node_key
        self._sync = sync
        self._round_s = round_s
        self._write = write
        self._log = log
        self._votes_from = 0
        self._believed: set[PeerId] = set()

    async def settle(self, height: int, committee: Committee) -> int:
        """The first height to vote at, 0 for any; ``height`` is the tip's, ``committee`` votes on the next."""
        self._votes_from = 0
        self._believed = set()
        if self._journal.vouches_for(self._node_key):
            return self._past_what_was_cleared(height)
        if len(committee) > 1:
            await self._sync.met_someone.wait()
            await trio.sleep(self._round_s)
            await self._sync.ask_everyone(self._round_s)
        claims = self._sync.claims()
        members = {peer for peer in claims if committee.index_of_node_key(node_key_of(peer) or b"") is not None}
        believed = members or set(claims)
        highest = max([height, *(claims[peer] for peer in believed)])
        if highest == 0 or len(committee) == 1:
            await self._write(partial(self._journal.trust, self._node_key))
            return 0
        self._believed = believed
        self._votes_from = highest + ABSTAINED_HEIGHTS
        self._log.warning("the journal is new: following without voting", votes_from_height=self._votes_from)
        return self._votes_from

    def _past_what_was_cleared(self, height: int) -> int:
        cleared_through = self._journal.cleared_through()
        if cleared_through <= height:
            return 0
        self._votes_from = cleared_through + 1
        self._log.warning("the chain is fetched anew: following without voting", votes_from_height=self._votes_from)
        return self._votes_from

    def is_shaken_by(self, banned: PeerId) -> bool:
        """True if this node does not vote yet because of what the peer claimed."""
        return self._votes_from > 0 and banned in self._believed

    async def passed(self, height: int) -> None:
        """The block at ``height`` is final here."""
        if self._votes_from and height + 1 >= self._votes_from:
            self._votes_from = 0
            await self._write(partial(self._journal.trust, self._node_key))

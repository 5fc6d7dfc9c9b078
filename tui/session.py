"""What every screen is given: the node as it is known, the wallets of this machine, the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.client.client import NodeClient
from node.client.models import Party
from node.client.wallets import Keystore
from tui.feed import Feed
from tui.palette import MUTED, member_colours


@dataclass(frozen=True, slots=True)
class Session:
    client: NodeClient
    feed: Feed
    keystore: Keystore
    now_ms: Callable[[], int]

    def colour_of(self, party: Party) -> str:
        """The colour of a candidate in every picture; others are muted."""
        return self.candidate_colours().get(party.address, MUTED)

    def candidate_colours(self) -> dict[str, str]:
        return member_colours(candidate.account.address for candidate in self.feed.candidates)

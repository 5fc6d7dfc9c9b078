"""Final blocks as they are told to the world: header and certificate, enough for a light client to follow.

1. Who has a seat hears of final blocks by agreeing on them. Every node tells those of its neighbours who have none of
   the blocks that it has agreed on, and of the newest that it fetched.
2. What is news, and final by a committee this node knows, is passed on. A node that hears of a height it has not
   reached knows that it is behind.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus.block import Certificate, Header
from consensus.chain_rules import verify_final
from consensus.committee import Committee
from consensus.verifier import Verifier
from ledger.encoding import EncodingError, decode, encode
from node.protocol import MAX_ANNOUNCEMENT_BYTES, Announcement, node_key_of
from p2p.network import Network, PeerId, Verdict

CommitteeAt = Callable[[int], Committee | None]


class Announcements:
    """``committee_at`` knows the committees of the open height and the one before, None for others. The topic is joined
    here, once.
    """

    def __init__(
        self,
        network: Network,
        topic: str,
        committee_at: CommitteeAt,
        verifier: Verifier,
        heard_of_height: Callable[[int], None],
    ) -> None:
        self._network = network
        self._topic = topic
        self._committee_at = committee_at
        self._verifier = verifier
        self._heard_of_height = heard_of_height
        self._subscription = network.subscribe(topic, self.validate)

    def announce(self, header: Header, certificate: Certificate) -> None:
        """Rule 1."""
        committee = self._committee_at(header.height)
        if committee is None:
            return  # the chain has gone on meanwhile
        data = encode(Announcement(header=header, certificate=certificate))
        for peer in self._network.neighbours(self._topic):
            key = node_key_of(peer)
            if key is None or committee.index_of_node_key(key) is None:
                self._network.send(peer, self._topic, data)

    async def run(self) -> None:
        """Listens for ever."""
        async for received in self._subscription:
            self._heard_of_height(decode(received.data, Announcement, MAX_ANNOUNCEMENT_BYTES).header.height)

    def validate(self, _peer: PeerId, data: bytes) -> Verdict:
        """Passes on what is final by a committee this node knows; listens to the rest without passing it on."""
        try:
            announcement = decode(data, Announcement, MAX_ANNOUNCEMENT_BYTES)
        except EncodingError:
            return Verdict.REJECT
        header = announcement.header
        committee = self._committee_at(header.height)
        if committee is None:
            self._heard_of_height(header.height)
            return Verdict.IGNORE
        if verify_final(header, announcement.certificate, committee, self._verifier):
            return Verdict.ACCEPT
        return Verdict.REJECT

"""The blocks of one height: which are here, which are missing, and what the application said of them.

1. A body is taken only if it is bound to its hash: a block hash covers the header, and the header names the rest.
2. The application is asked about a block at most once, and only when the answer is needed.
3. A missing body that a certificate names is asked for from those who signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from consensus.block import Block, Certificate
from consensus.certificates import signers
from consensus.committee import Committee
from consensus.engine.events import Execute, FetchBody, Outbox


class Bodies:
    def __init__(
        self, committee: Committee, node_key: bytes | None, is_bound: Callable[[Block], bool], outbox: Outbox
    ) -> None:
        """``node_key`` is one's own, which is never asked."""
        self._committee = committee
        self._node_key = node_key
        self._is_bound = is_bound
        self._outbox = outbox
        self._blocks: dict[bytes, Block] = {}
        self._verdicts: dict[bytes, bool | None] = {}  # None while it is being executed

    def get(self, block_hash: bytes) -> Block | None:
        return self._blocks.get(block_hash)

    def __contains__(self, block_hash: object) -> bool:
        return block_hash in self._blocks

    def offer(self, block: Block, block_hash: bytes) -> bool:
        """Takes a body that came from outside; False if its parts are not those its header names."""
        if block_hash not in self._blocks:
            if not self._is_bound(block):
                return False
            self._blocks[block_hash] = block
        return True

    def restore(self, block: Block, block_hash: bytes) -> None:
        """Takes a body from one's own journal."""
        self._blocks[block_hash] = block

    def add_built(self, block: Block, block_hash: bytes) -> None:
        """Takes a body of the application's own making, which is valid."""
        self._blocks[block_hash] = block
        self._verdicts[block_hash] = True

    def is_valid(self, block_hash: bytes) -> bool | None:
        """What the application says of a block that is here; None until it has said so."""
        if block_hash not in self._verdicts:
            self._verdicts[block_hash] = None
            self._outbox.add(Execute(self._blocks[block_hash], block_hash))
        return self._verdicts[block_hash]

    def set_verdict(self, block_hash: bytes, valid: bool) -> bool:
        """False if nobody waits for it."""
        if self._verdicts.get(block_hash, valid) is not None:
            return False
        self._verdicts[block_hash] = valid
        return True

    def missing(self, certificates: Iterable[Certificate]) -> dict[bytes, Certificate]:
        """The blocks that certificates name and that are not here, in the order of the certificates."""
        found: dict[bytes, Certificate] = {}
        for certificate in certificates:
            if certificate.block_hash is not None and certificate.block_hash not in self._blocks:
                found[certificate.block_hash] = certificate
        return found

    def fetch(self, certificate: Certificate) -> None:
        assert certificate.block_hash is not None
        seats = (self._committee.seats[index] for index in signers(certificate, self._committee) or ())
        node_keys = tuple(seat.node_key for seat in seats if seat.node_key != self._node_key)
        self._outbox.add(FetchBody(certificate.height, certificate.block_hash, node_keys))

"""Votes of one height, counted by weight, and the statements by which a member convicts itself.

1. A vote is counted once per seat. It counts for its kind, view and hash.
2. Of one seat, view and kind at most two different hashes are remembered and counted: one is honest, two convict, a
   third says nothing new. This bounds the memory whatever members send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from consensus.committee import Committee
from ledger.statements import SignedStatement, Statement, contradict

_HASHES_PER_KIND: Final = 2


class Witness:
    """Remembers what each seat said in each view of one height."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, int], list[SignedStatement]] = {}
        self._convicted: set[int] = set()

    def is_news(self, index: int, statement: Statement) -> bool:
        """False if the seat has said this before, or has already said two other things of this kind in this view."""
        same_kind = 0
        for said in self._said.get((index, statement.view), ()):
            if said.statement.kind == statement.kind:
                if said.statement.block_hash == statement.block_hash:
                    return False
                same_kind += 1
        return same_kind < _HASHES_PER_KIND

    def hear(
        self, index: int, statement: Statement, signature: bytes
    ) -> tuple[SignedStatement, SignedStatement] | None:
        """Remembers news whose signature is good. Returns the first contradiction of each seat, once."""
        said = self._said.setdefault((index, statement.view), [])
        signed = SignedStatement(statement, signature)
        earlier = next((one for one in said if contradict(one.statement, statement)), None)
        said.append(signed)
        if earlier is None or index in self._convicted:
            return None
        self._convicted.add(index)
        return earlier, signed


class _Tally:
    __slots__ = ("signatures", "weight")

    def __init__(self) -> None:
        self.signatures: dict[int, bytes] = {}
        self.weight = 0


class Ballots:
    """The votes of one height by (kind, view, hash)."""

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self._tallies: dict[tuple[int, int, bytes | None], _Tally] = {}

    def count(self, index: int, statement: Statement, signature: bytes) -> bool:
        """Counts a vote whose signature is good. True if this very vote completes a quorum."""
        tally = self._tallies.setdefault((statement.kind, statement.view, statement.block_hash), _Tally())
        assert index not in tally.signatures, "a vote is counted once"
        was_quorum = self._committee.is_quorum(tally.weight)
        tally.signatures[index] = signature
        tally.weight += self._committee.weights[index]
        return not was_quorum and self._committee.is_quorum(tally.weight)

    def signatures(self, statement: Statement) -> Mapping[int, bytes]:
        """All signatures counted for a statement, by seat."""
        tally = self._tallies.get((statement.kind, statement.view, statement.block_hash))
        return tally.signatures if tally else {}

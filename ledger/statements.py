"""What a node key signs about a height: the statements by which a producer can be convicted.

A statement names kind, height, view and block hash, never a justification. Two statements of one key, height and view
that contradict each other are an *equivocation*:

1. two proposals, two notarize votes, or two finalize votes, for different hashes;
2. a nullify vote and a finalize vote.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ledger.encoding import Bytes32, Bytes64, Unsigned, Wire, encode
from ledger.keys import Domain, verify_signature


class StatementKind(IntEnum):
    PROPOSAL = 0
    NOTARIZE = 1
    NULLIFY = 2
    FINALIZE = 3


_KINDS: Final = frozenset(StatementKind)


class Statement(Wire, frozen=True):
    """``block_hash`` is None for NULLIFY and only for it."""

    kind: Unsigned
    height: Unsigned
    view: Unsigned
    block_hash: Bytes32 | None

    def domain(self) -> Domain:
        return Domain.PROPOSAL if self.kind == StatementKind.PROPOSAL else Domain.VOTE

    def message(self) -> bytes:
        return encode(self)


class SignedStatement(Wire, frozen=True):
    statement: Statement
    signature: Bytes64

    def verify(self, node_key: bytes, chain_id: bytes) -> bool:
        statement = self.statement
        return verify_signature(node_key, statement.domain(), chain_id, statement.message(), self.signature)


def is_well_formed(statement: Statement) -> bool:
    """True for a known kind that names a block hash exactly if it should."""
    if statement.kind not in _KINDS:
        return False
    return (statement.block_hash is None) == (statement.kind == StatementKind.NULLIFY)


def contradict(first: Statement, second: Statement) -> bool:
    """True if one key that signed both has equivocated. What is not well formed contradicts nothing."""
    if not (is_well_formed(first) and is_well_formed(second)):
        return False
    if (first.height, first.view) != (second.height, second.view):
        return False
    if first.kind == second.kind:
        return first.kind != StatementKind.NULLIFY and first.block_hash != second.block_hash
    return {first.kind, second.kind} == {StatementKind.NULLIFY, StatementKind.FINALIZE}

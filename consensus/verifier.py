"""Signatures on statements: made by a ``Signer``, checked by a ``Verifier``.

A proposal is signed under ``Domain.PROPOSAL``, votes under ``Domain.VOTE``, both over the chain id and the statement's
canonical encoding. The same signature meets a node many times (gossip, certificates, resends), so those found good are
remembered, up to a limit; bad ones are not, lest an enemy fill the memory.
"""

from __future__ import annotations

from typing import Final, Protocol

from ledger.keys import SigningKey, verify_signature
from ledger.statements import Statement

REMEMBERED_SIGNATURES: Final = 16_384
REMEMBERED_STATEMENTS: Final = 256


class Signer(Protocol):
    """Whoever holds a node key."""

    @property
    def node_key(self) -> bytes: ...

    def sign(self, statement: Statement) -> bytes:
        """Returns a 64-byte signature."""


class Verifier(Protocol):
    """Tells whether ``signature`` is the node key's on the statement; False for any other input, never an error."""

    def statement(self, node_key: bytes, statement: Statement, signature: bytes) -> bool: ...


class KeySigner:
    """Signs statements of one chain with an Ed25519 node key."""

    def __init__(self, key: SigningKey, chain_id: bytes) -> None:
        self._key = key
        self._chain_id = chain_id

    @property
    def node_key(self) -> bytes:
        return self._key.public_key

    def sign(self, statement: Statement) -> bytes:
        return self._key.sign(statement.domain(), self._chain_id, statement.message())


class SignatureVerifier:
    """Ed25519, with a memory of good signatures. May be called from several threads.

    The memory has two generations: what is young becomes old when the young are many, and what was old is forgotten.
    What is found among the old becomes young again. So every operation is one on a dictionary, and needs no lock.
    """

    def __init__(self, chain_id: bytes, remembered: int = REMEMBERED_SIGNATURES) -> None:
        assert remembered >= 2
        self._chain_id = chain_id
        self._generation = remembered // 2
        self._young: dict[tuple[bytes, Statement, bytes], None] = {}
        self._old: dict[tuple[bytes, Statement, bytes], None] = {}
        self._messages: dict[Statement, bytes] = {}

    def statement(self, node_key: bytes, statement: Statement, signature: bytes) -> bool:
        known = (node_key, statement, signature)
        if known in self._young:
            return True
        if known not in self._old and not verify_signature(
            node_key, statement.domain(), self._chain_id, self._message(statement), signature
        ):
            return False
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        self._young[known] = None
        return True

    def _message(self, statement: Statement) -> bytes:
        # A quorum signs the same few statements, and encoding costs a tenth of verifying.
        message = self._messages.get(statement)
        if message is None:
            message = statement.message()
            if len(self._messages) >= REMEMBERED_STATEMENTS:
                self._messages = {}
            self._messages[statement] = message
        return message

"""Signatures that cost nothing: readable by all, made only by whoever is handed the signer.

Nothing here can reach a node: the world below is built from these types, and a node from ``consensus.verifier``.
"""

from __future__ import annotations

from ledger.statements import Statement


class StubSigner:
    """Signs by writing the statement down next to the key."""

    def __init__(self, node_key: bytes) -> None:
        self.node_key = node_key

    def sign(self, statement: Statement) -> bytes:
        return _written(self.node_key, statement)


class StubVerifier:
    def statement(self, node_key: bytes, statement: Statement, signature: bytes) -> bool:
        return signature == _written(node_key, statement)


def _written(node_key: bytes, statement: Statement) -> bytes:
    numbers = (statement.kind << 120) | (statement.height << 64) | statement.view
    return node_key[:16] + numbers.to_bytes(16, "big") + (statement.block_hash or bytes(32))

"""Signatures and beacon proofs that cost nothing: readable by all, made only by whoever is handed the signer.

1. A stub signature is the statement written down next to the key; a stub proof is a hash of key and input. Both are
   checked as the real ones are, so that whoever leaves a check out is found out.
2. Nothing here can reach a node: a node makes its verifier and its beacon itself, of the types in ``consensus``, and
   these refuse what is made here. Only the world of this package is built from these types.
3. Transactions are really signed and really verified.
"""

from __future__ import annotations

from hashlib import sha512
from typing import Final

from consensus.vrf import PROOF_BYTES, VrfError
from ledger.keys import SigningKey
from ledger.statements import Statement

_PADDING: Final = bytes(PROOF_BYTES - 64)


class StubSigner:
    """Keeps ``consensus.verifier.Signer``."""

    def __init__(self, node_key: bytes) -> None:
        self.node_key = node_key

    def sign(self, statement: Statement) -> bytes:
        return _written(self.node_key, statement)


class StubVerifier:
    """Keeps ``consensus.verifier.Verifier``."""

    def statement(self, node_key: bytes, statement: Statement, signature: bytes) -> bool:
        return signature == _written(node_key, statement)


class StubBeacon:
    """Keeps ``consensus.chain_rules.Beacon``."""

    def prove(self, key: SigningKey, alpha: bytes) -> bytes:
        return _proof(key.public_key, alpha)

    def verify(self, public_key: bytes, alpha: bytes, proof: bytes) -> bytes:
        if proof != _proof(public_key, alpha):
            raise VrfError("the stub proof is another key's or another input's")
        return self.output(proof)

    def output(self, proof: bytes) -> bytes:
        return sha512(proof).digest()


def _written(node_key: bytes, statement: Statement) -> bytes:
    numbers = (statement.kind << 120) | (statement.height << 64) | statement.view
    return node_key[:16] + numbers.to_bytes(16, "big") + (statement.block_hash or bytes(32))


def _proof(public_key: bytes, alpha: bytes) -> bytes:
    return sha512(b"stub beacon" + public_key + alpha).digest() + _PADDING

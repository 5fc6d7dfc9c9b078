"""Turns a stub signature into the real one that the same home would have made, for the ledger checks reports itself.

1. Only what a stub signature vouches for is attested; the keys of all homes are known here, and to nobody else.
"""

from __future__ import annotations

from consensus.engine import Evidence
from consensus.verifier import KeySigner
from devnet.laboratory.chaos.founding import Founding
from devnet.laboratory.chaos.signatures import StubVerifier
from ledger.genesis import chain_id
from ledger.statements import SignedStatement


class Notary:
    """See the module's rule."""

    def __init__(self, founding: Founding) -> None:
        self._signers = {
            member.node_key: KeySigner(member.node, chain_id(founding.genesis)) for member in founding.members
        }
        self._verifier = StubVerifier()

    def attest(self, evidence: Evidence) -> Evidence:
        """The same evidence, really signed."""
        signer = self._signers[evidence.node_key]

        def attested(signed: SignedStatement) -> SignedStatement:
            assert self._verifier.statement(evidence.node_key, signed.statement, signed.signature)
            return SignedStatement(signed.statement, signer.sign(signed.statement))

        return Evidence(evidence.node_key, attested(evidence.first), attested(evidence.second))

"""A maker of certificates, and of chains, that are not what they should be."""

from __future__ import annotations

from consensus.block import Certificate
from consensus.certificates import build_certificate, signatures_of, statement_of
from consensus.messages import Certificates
from devnet.laboratory.chaos.byzantine.actor import Actor
from ledger.statements import Statement
from node.protocol import StoredBlock


class Forger(Actor):
    """Certificates with a swapped signature, of a view nobody signed, with bits too many, or of too few; when asked it
    claims more than there is, and serves nothing, too much, or blocks with another certificate.
    """

    def learns(self, certificate: Certificate) -> None:
        committee = self.mind.world.turns[certificate.height].committee
        signatures = signatures_of(certificate, committee) or {}
        first = min(signatures, default=None)
        swapped = {index: bytes(64) if index == first else signature for index, signature in signatures.items()}
        fewer = {index: signature for index, signature in signatures.items() if index != first}
        statement = statement_of(certificate)
        later = Statement(statement.kind, statement.height, statement.view + 1, statement.block_hash)
        widened = Certificate(
            certificate.kind,
            certificate.height,
            certificate.view,
            certificate.block_hash,
            certificate.signers + b"\x01",
            certificate.signatures,
        )
        for forged in (
            build_certificate(later, signatures, committee),
            build_certificate(statement, swapped, committee),
            build_certificate(statement, fewer, committee),
            widened,
        ):
            if self.random.random() < 0.3:
                self.mind.send(self.home, self.mind.some(), Certificates((forged,)))

    def claims(self) -> int | None:
        return self.random.choice((None, self.mind.world.checker.height, self.mind.world.checker.height + 30))

    def serves(self, first: int, count: int) -> tuple[StoredBlock, ...] | None:
        chain = next(iter(self.mind.world.homes.values())).disk.chain
        blocks: list[StoredBlock] = []
        for height in range(first, min(first + count, self.mind.world.checker.height + 1)):
            block, certificate = chain.block(height), chain.certificate(height - 1)
            if block is not None and certificate is not None:
                blocks.append(StoredBlock(block=block, certificate=certificate))
        return self.random.choice((None, (), tuple(blocks), tuple(blocks) * 2))

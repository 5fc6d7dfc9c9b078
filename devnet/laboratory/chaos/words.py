"""Messages and deeds in plain words, for the story of a run."""

from __future__ import annotations

from consensus.block import Block, Certificate
from consensus.messages import Message, Proposal, Votes
from ledger.statements import Statement, StatementKind

_CERTIFICATES = {
    StatementKind.NOTARIZE: "notarization",
    StatementKind.NULLIFY: "nullification",
    StatementKind.FINALIZE: "finalization",
}


def statement_words(statement: Statement) -> str:
    """For instance ``notarize 7.0 3fa2bc01``: kind, height.view, block."""
    name = StatementKind(statement.kind).name.lower()
    block_hash = "" if statement.block_hash is None else statement.block_hash.hex()[:8]
    return f"{name} {statement.height}.{statement.view} {block_hash}".strip()


def block_words(block: Block) -> str:
    header = block.header
    return f"block {header.hash.hex()[:8]} of {header.height}.{header.view}"


def certificate_words(certificate: Certificate) -> str:
    block_hash = "" if certificate.block_hash is None else f" of {certificate.block_hash.hex()[:8]}"
    signers = sum(byte.bit_count() for byte in certificate.signers)
    name = _CERTIFICATES[StatementKind(certificate.kind)]
    return f"{name} {certificate.height}.{certificate.view}{block_hash} by {signers}"


def message_words(message: Message) -> str:
    if isinstance(message, Proposal):
        reasons = ", ".join(certificate_words(certificate) for certificate in message.justification)
        because = f", because of {reasons}" if reasons else ""
        return f"proposes at {message.height}.{message.view} {block_words(message.block)}{because}"
    if isinstance(message, Votes):
        return "votes " + ", ".join(statement_words(vote.statement) for vote in message.votes)
    return "passes on " + ", ".join(certificate_words(certificate) for certificate in message.certificates)

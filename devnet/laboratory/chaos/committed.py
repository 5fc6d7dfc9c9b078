"""One block as a home has it on its disk: what the checker looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from consensus.block import MAX_BLOCK_BYTES, MAX_CERTIFICATE_BYTES, Block, Certificate, Header
from consensus.chain_rules import ExecutedBlock
from ledger.block import Receipt
from ledger.encoding import decode
from ledger.transactions import decode_transaction
from node.effects import decode_effects
from storage.interface import ChainView


@dataclass(frozen=True, slots=True)
class Committed:
    """``transaction_ids`` and ``receipts`` are in the order of the block. ``is_tip``: the home's state is the one after
    this block, not after one of those stored together with it.
    """

    header: Header
    certificate: Certificate
    transaction_ids: tuple[bytes, ...]
    receipts: tuple[Receipt, ...]
    is_tip: bool = True

    @classmethod
    def of(cls, executed: ExecutedBlock, certificate: Certificate) -> Self:
        ids = tuple(transaction.id for transaction in executed.transactions)
        return cls(executed.block.header, certificate, ids, executed.result.receipts)

    @classmethod
    def stored(cls, chain: ChainView, height: int) -> Self:
        """The same, read back."""
        tip = chain.tip()
        assert tip is not None
        data = chain.block(height), chain.certificate(height), chain.receipts(height)
        assert data[0] is not None
        assert data[1] is not None
        assert data[2] is not None
        block = decode(data[0], Block, MAX_BLOCK_BYTES)
        ids = tuple(decode_transaction(raw).id for raw in block.transactions)
        certificate = decode(data[1], Certificate, MAX_CERTIFICATE_BYTES)
        return cls(block.header, certificate, ids, decode_effects(data[2]).receipts, height == tip.height)

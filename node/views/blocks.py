"""Blocks, certificates, committees, genesis and parameters."""

from __future__ import annotations

from typing import Final

import msgspec

from consensus.block import MAX_BLOCK_BYTES, Block, Header
from consensus.certificates import signatures_of, signed_weight
from consensus.committee import Committee
from ledger.block import Receipt
from ledger.encoding import decode, encode
from ledger.genesis import Genesis, chain_id
from ledger.keys import address_text
from ledger.parameters import BOUNDS
from ledger.statements import StatementKind
from ledger.transactions import Kind, Transaction, decode_transaction
from node.chain import MAX_GENESIS_BYTES
from node.client import models
from node.client.events import BlockFinal
from node.client.models import iso_time
from node.views.draws import skipped_turns
from node.views.reader import NotFound, Reader, hex_key, word
from storage.errors import Pruned

HASHES_SEARCHED: Final = 10_000
"""A block's hash is looked for among this many newest blocks; there is no index of hashes, heights are."""


def block_page(reader: Reader, before: int | None, limit: int) -> models.BlockPage:
    """The newest blocks below ``before``; ends early where older ones are pruned."""
    top = reader.height if before is None else min(before - 1, reader.height)
    blocks = []
    for height in range(top, max(0, top - limit), -1):
        try:
            blocks.append(block_summary(reader, height))
        except Pruned:
            return models.BlockPage(blocks=blocks, next_before=None)
    last = top - len(blocks) + 1
    return models.BlockPage(blocks=blocks, next_before=last if blocks and last > 1 else None)


def block_summary(reader: Reader, height: int) -> models.BlockSummary:
    raw = reader.block_bytes(height)
    return _summary(reader, decode(raw, Block, MAX_BLOCK_BYTES), reader.receipts(height), len(raw))


def block_final(reader: Reader, height: int) -> BlockFinal:
    """The event of a height that is stored, for a client that was away."""
    block = reader.block(height)
    header = block.header
    return BlockFinal(
        height=height,
        hash=block.hash.hex(),
        producer=reader.party(header.producer),
        view=header.view,
        time_ms=header.time_ms,
        time=iso_time(header.time_ms),
        finality_ms=reader.kept.finality_ms(height),
        transaction_count=len(block.transactions),
        reading_count=sum(receipt.kind == Kind.SUBMIT_READING for receipt in reader.receipts(height)),
        skipped=skipped_turns(reader, header),
    )


def block_view(reader: Reader, height_or_hash: str) -> models.Block:
    """Errors: NotFound, storage's Pruned and Damaged."""
    height = find_height(reader, height_or_hash)
    raw, receipts = reader.block_bytes(height), reader.receipts(height)
    block = decode(raw, Block, MAX_BLOCK_BYTES)
    certificate = certificate_view(reader, height)
    header = block.header
    transactions = [decode_transaction(one) for one in block.transactions]
    return models.Block(
        summary=_summary(reader, block, receipts, len(raw)),
        chain_id=header.chain_id.hex(),
        parent_hash=header.parent_hash.hex(),
        beacon_proof=header.beacon_proof.hex(),
        transactions_root=header.transactions_root.hex(),
        receipts_root=header.receipts_root.hex(),
        state_root=header.state_root.hex(),
        parent_certificate_hash=header.parent_certificate_hash.hex(),
        committee_hash=header.committee_hash.hex(),
        finalized_view=certificate.view,
        signers=[signer.account for signer in certificate.signers],
        signed_weight=certificate.signed_weight,
        total_weight=certificate.total_weight,
        transactions=[
            _line(reader, index, transaction, receipt)
            for index, (transaction, receipt) in enumerate(zip(transactions, receipts, strict=True))
        ],
    )


def find_height(reader: Reader, height_or_hash: str) -> int:
    """The height a path names. Errors: NotFound."""
    if height_or_hash.isascii() and height_or_hash.isdecimal() and len(height_or_hash) <= 18:
        return int(height_or_hash)
    key = hex_key(height_or_hash)
    if key is None:
        raise NotFound(f"{height_or_hash!r} is neither a height nor a block hash of 64 hexadecimal digits")
    for height in range(reader.height, max(0, reader.height - HASHES_SEARCHED), -1):
        try:
            if reader.chain.block_hash(height) == key:
                return height
        except Pruned:
            break
    raise NotFound(f"no block of that hash among the newest {HASHES_SEARCHED}; ask by height")


def certificate_view(reader: Reader, height: int) -> models.Certificate:
    """Errors: NotFound, also for a committee that is not kept."""
    header = reader.block(height).header
    certificate = reader.certificate(height)
    committee = reader.committee(height)
    signatures = signatures_of(certificate, committee) or {}
    return models.Certificate(
        height=height,
        view=certificate.view,
        kind=word(certificate.kind, StatementKind),
        block_hash="" if certificate.block_hash is None else certificate.block_hash.hex(),
        signers=[
            models.CertificateSigner(
                index=index,
                account=reader.party(committee.seats[index].account),
                node_key=committee.seats[index].node_key.hex(),
                weight=committee.seats[index].weight,
                signature=signature.hex(),
            )
            for index, signature in sorted(signatures.items())
        ],
        signed_weight=signed_weight(certificate, committee),
        total_weight=committee.total_weight,
        quorum_weight=quorum_weight(committee),
        header=encode(header).hex(),
        raw=reader.certificate_bytes(height).hex(),
    )


def quorum_weight(committee: Committee) -> int:
    """The least weight that is a quorum: the smallest w with 3w > 2W."""
    weight = committee.total_weight * 2 // 3 + 1
    assert committee.is_quorum(weight)
    assert not committee.is_quorum(weight - 1)
    return weight


def committee_view(reader: Reader, height: int | None) -> models.Committee:
    """Default: the next height's. Errors: NotFound."""
    asked = reader.height + 1 if height is None else height
    committee = reader.committee(asked)
    return models.Committee(
        height=asked,
        snapshot_height=reader.draw_facts(asked).snapshot_height,
        hash=committee.hash.hex(),
        members=[
            models.CommitteeMember(
                index=index,
                account=reader.party(member.account),
                node_key=member.node_key.hex(),
                pool_mvote=member.pool_mvote,
                reputation_milli=member.reputation_milli,
                weight=member.weight,
            )
            for index, member in enumerate(committee.snapshot.members)
        ],
        total_weight=committee.total_weight,
        quorum_weight=quorum_weight(committee),
    )


def genesis_view(document: bytes) -> models.Genesis:
    """``document``: the genesis as canonical CBOR."""
    genesis = decode(document, Genesis, MAX_GENESIS_BYTES)
    return models.Genesis(
        chain_id=chain_id(genesis).hex(),
        network=genesis.name,
        time_ms=genesis.time_ms,
        time=iso_time(genesis.time_ms),
        members=[models.Party(address=address_text(member.account), name=member.name) for member in genesis.members],
        feeders=[models.FeederInfo(feeder=feeder.name, substation=feeder.substation) for feeder in genesis.feeders],
        parameters=msgspec.structs.asdict(genesis.parameters),
        document=document.hex(),
    )


def parameter_list(reader: Reader) -> models.ParameterList:
    return models.ParameterList(
        height=reader.height, parameters=msgspec.structs.asdict(reader.parameters), bounds=dict(BOUNDS)
    )


def _summary(reader: Reader, block: Block, receipts: tuple[Receipt, ...], size_bytes: int) -> models.BlockSummary:
    header: Header = block.header
    return models.BlockSummary(
        height=header.height,
        hash=block.hash.hex(),
        view=header.view,
        time_ms=header.time_ms,
        time=iso_time(header.time_ms),
        producer=reader.party(header.producer),
        transaction_count=len(receipts),
        refused_count=sum(receipt.refusal is not None for receipt in receipts),
        reading_count=sum(receipt.kind == Kind.SUBMIT_READING for receipt in receipts),
        size_bytes=size_bytes,
        skipped=[turn.leader for turn in skipped_turns(reader, header)],
        finality_ms=reader.kept.finality_ms(header.height),
    )


def _line(reader: Reader, index: int, transaction: Transaction, receipt: Receipt) -> models.TransactionSummary:
    return models.TransactionSummary(
        index=index,
        id=transaction.id.hex(),
        kind=transaction.kind.word,
        sender=reader.party(reader.acting_account(transaction)[0]),
        refusal=receipt.refusal,
    )

"""The file of ``ecloud chain prove``, and the check that needs nothing but it and a committee one trusts.

A proof is sound if, in this order:

1. the committee in the file hashes to the one trusted, or the path in the file leads to it from the one trusted, each
   committee having made final the header that names the next by its hash (``node.light``);
2. the certificate is a finalize quorum of that committee on the header;
3. of a state record: the siblings lead from the key and value to the header's state root, and the key is the one the
   record's name says; of a transaction: it and its receipt have their place under the header's roots (RFC 6962), and
   the receipt is that transaction's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from consensus.block import MAX_CERTIFICATE_BYTES, MAX_HEADER_BYTES, Certificate, Header
from consensus.certificates import verify_certificate
from consensus.chain_rules import certifies
from consensus.committee import Committee
from consensus.verifier import SignatureVerifier
from ledger.block import Receipt
from ledger.encoding import EncodingError, decode, encode
from ledger.keys import parse_address
from ledger.merkle import inclusion_proof, verify_inclusion
from ledger.records import ACCOUNTS, Account, CommitteeSnapshot, SnapshotMember
from ledger.refusal import TransactionRefused
from ledger.state import MAX_RECORD_BYTES
from ledger.transactions import Transaction, decode_transaction
from node.client import models
from node.light import PathWrong, Trusted, committee_from
from node.protocol import CommitteePath
from node.snapshots import committee_path
from node.views.reader import NotFound, Reader, hex_key
from storage import state_tree

FORMAT: Final = "ecloud-proof/1"
MAX_PATH_BYTES: Final = 4 * 1024 * 1024

AnyProof = models.StateProof | models.TransactionProof


class ProofWrong(Exception):
    """The proof does not show what it says; the text says where it fails."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a sound proof shows: the account's record after ``height``; None: it has none."""

    account: bytes
    record: Account | None
    height: int
    block_hash: bytes
    time_ms: int


@dataclass(frozen=True, slots=True)
class ProvenTransaction:
    """What a sound proof shows: the transaction became final at ``height``, with this receipt."""

    transaction: Transaction
    receipt: Receipt
    height: int
    block_hash: bytes
    time_ms: int


def prove_account(reader: Reader, account: bytes, since: int | None = None) -> models.StateProof:
    """For the newest block; with the path from the committee in force at ``since``. Errors: NotFound while there is no
    block but the genesis; Pruned.
    """
    key = ACCOUNTS.key(account)
    value = reader.chain.get(key)
    proof = state_tree.prove(reader.chain.tree_node, key)
    return models.StateProof(
        record=f"account {reader.party(account).address}",
        key=key.hex(),
        value=None if value is None else value.hex(),
        siblings=[sibling.hex() for sibling in proof.siblings],
        leaf=None if proof.leaf is None else (proof.leaf[0].hex(), proof.leaf[1].hex()),
        **_foundation(reader, reader.height, since),
    )


def prove_transaction(reader: Reader, transaction_id: str, since: int | None = None) -> models.TransactionProof:
    """Errors: NotFound, Pruned."""
    key = hex_key(transaction_id)
    place = None if key is None else reader.chain.find_transaction(key)
    if place is None:
        raise NotFound("no block has this transaction, or its id is wrong")
    block, receipts = reader.block(place.height), reader.receipts(place.height)
    ids = [decode_transaction(raw).id for raw in block.transactions]
    encoded = [encode(receipt) for receipt in receipts]
    return models.TransactionProof(
        transaction=block.transactions[place.position].hex(),
        receipt=encoded[place.position].hex(),
        position=place.position,
        count=len(ids),
        transaction_path=[one.hex() for one in inclusion_proof(ids, place.position)],
        receipt_path=[one.hex() for one in inclusion_proof(encoded, place.position)],
        **_foundation(reader, place.height, since),
    )


def _foundation(reader: Reader, height: int, since: int | None) -> dict[str, Any]:
    """What every proof about a block stands on."""
    header = reader.block(height).header
    paths: list[CommitteePath] = []
    at = since
    while at is not None and at <= height:
        path = committee_path(reader, at, height)
        if paths and not path.steps:
            break
        paths.append(path)
        at = path.steps[-1].header.height + 1 if path.steps else None
    return {
        "format": FORMAT,
        "chain_id": header.chain_id.hex(),
        "height": height,
        "block_hash": header.hash.hex(),
        "header": encode(header).hex(),
        "certificate": reader.certificate_bytes(height).hex(),
        "committee_snapshot_height": reader.draw_facts(height).snapshot_height,
        "committee": [
            models.ProvenMember(
                account_key=member.account.hex(),
                node_key=member.node_key.hex(),
                weight=member.weight,
                pool_mvote=member.pool_mvote,
                reputation_milli=member.reputation_milli,
            )
            for member in reader.committee_snapshot(height).members
        ],
        "since": since if paths else None,
        "path": [encode(path).hex() for path in paths],
    }


def check_account_proof(proof: models.StateProof, trusted_committee_hash: str) -> Proven:
    """Checks a proof that may come from anyone. Errors: ProofWrong."""
    try:
        return _check_account(proof, trusted_committee_hash)
    except (ValueError, EncodingError, msgspec.ValidationError, PathWrong) as error:
        raise ProofWrong(f"the file is not a proof: {error}") from error


def check_transaction_proof(proof: models.TransactionProof, trusted_committee_hash: str) -> ProvenTransaction:
    """Checks a proof that may come from anyone. Errors: ProofWrong."""
    try:
        return _check_transaction(proof, trusted_committee_hash)
    except (ValueError, EncodingError, msgspec.ValidationError, PathWrong, TransactionRefused) as error:
        raise ProofWrong(f"the file is not a proof: {error}") from error


def _check_foundation(proof: AnyProof, trusted_committee_hash: str) -> Header:
    """Rules 1 and 2. Returns the header, which is final."""
    if proof.format != FORMAT:
        raise ProofWrong(f"the file's format is {proof.format!r}; this program reads {FORMAT!r}")
    committee = _committee(proof)
    header = decode(bytes.fromhex(proof.header), Header, MAX_HEADER_BYTES)
    verifier = SignatureVerifier(header.chain_id)
    if committee.hash.hex() != trusted_committee_hash.lower():
        _require_path(proof, header, committee, trusted_committee_hash, verifier)
    certificate = decode(bytes.fromhex(proof.certificate), Certificate, MAX_CERTIFICATE_BYTES)
    if header.hash.hex() != proof.block_hash or (header.height, header.chain_id.hex()) != (
        proof.height,
        proof.chain_id,
    ):
        raise ProofWrong("the header is not that of the block the file names")
    if not certifies(certificate, header.height, header.hash):
        raise ProofWrong("the certificate is for another block")
    if not verify_certificate(certificate, committee, verifier):
        raise ProofWrong("the certificate is not a quorum of the committee")
    return header


def _require_path(
    proof: AnyProof, header: Header, committee: Committee, trusted_committee_hash: str, verifier: SignatureVerifier
) -> None:
    """Errors: ProofWrong unless the path leads from the committee that is trusted to ``committee``."""
    paths = [decode(bytes.fromhex(one), CommitteePath, MAX_PATH_BYTES) for one in proof.path]
    first = committee_from(paths[0].committee) if paths else committee
    if first.hash.hex() != trusted_committee_hash.lower() or proof.since is None:
        raise ProofWrong(f"the committee in the file, {first.hash.hex()}, is not the one you trust")
    trusted = Trusted(header.chain_id, proof.since, first)
    for path in paths:
        if committee_from(path.committee).hash != trusted.committee.hash:
            raise ProofWrong("the path of committees is interrupted")
        trusted = trusted.follow(path.steps, verifier)
    if trusted.committee.hash != committee.hash or trusted.height > header.height:
        raise ProofWrong("the path of committees does not lead to the one that made the block final")


def _check_account(proof: models.StateProof, trusted_committee_hash: str) -> Proven:
    header = _check_foundation(proof, trusted_committee_hash)
    word, _, address = proof.record.partition(" ")
    account = parse_address(address)
    key = ACCOUNTS.key(account)
    if word != "account" or key.hex() != proof.key:
        raise ProofWrong("the key is not the one of the record named")
    value = None if proof.value is None else bytes.fromhex(proof.value)
    leaf = None if proof.leaf is None else (bytes.fromhex(proof.leaf[0]), bytes.fromhex(proof.leaf[1]))
    path = state_tree.Proof(tuple(bytes.fromhex(sibling) for sibling in proof.siblings), leaf)
    if not state_tree.verify(header.state_root, key, value, path):
        raise ProofWrong("the path does not lead to the state root in the header")
    record = None if value is None else decode(value, Account, MAX_RECORD_BYTES)
    return Proven(account, record, header.height, header.hash, header.time_ms)


def _check_transaction(proof: models.TransactionProof, trusted_committee_hash: str) -> ProvenTransaction:
    header = _check_foundation(proof, trusted_committee_hash)
    transaction = decode_transaction(bytes.fromhex(proof.transaction))
    if not transaction.has_valid_signature():
        raise ProofWrong("the transaction is not signed by its sender")
    receipt_bytes = bytes.fromhex(proof.receipt)
    for root, leaf, path, what in (
        (header.transactions_root, transaction.id, proof.transaction_path, "transaction"),
        (header.receipts_root, receipt_bytes, proof.receipt_path, "receipt"),
    ):
        hashes = [bytes.fromhex(one) for one in path]
        if not verify_inclusion(root, leaf, proof.position, proof.count, hashes):
            raise ProofWrong(f"the {what} has no such place under the root in the header")
    receipt = decode(receipt_bytes, Receipt, MAX_RECORD_BYTES)
    if receipt.transaction_id != transaction.id:
        raise ProofWrong("the receipt is another transaction's")
    return ProvenTransaction(transaction, receipt, header.height, header.hash, header.time_ms)


def _committee(proof: AnyProof) -> Committee:
    members = tuple(
        SnapshotMember(
            account=bytes.fromhex(member.account_key),
            node_key=bytes.fromhex(member.node_key),
            pool_mvote=member.pool_mvote,
            reputation_milli=member.reputation_milli,
            weight=member.weight,
        )
        for member in proof.committee
    )
    if sorted({member.account for member in members}) != [member.account for member in members]:
        raise ProofWrong("the committee is not in order of accounts")
    if len({member.node_key for member in members}) != len(members):
        raise ProofWrong("a node key occurs twice in the committee")
    return Committee(CommitteeSnapshot(members))

"""The file of ``ecloud chain prove``, and the check that needs nothing but it and a committee one trusts.

A proof is sound if, in this order:

1. the committee in the file hashes to the one trusted: that of the proven height, by its hash;
2. the certificate is a finalize quorum of that committee on the header;
3. the siblings lead from the key and value to the header's state root;
4. the key is the one the record's name says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from consensus.block import MAX_CERTIFICATE_BYTES, MAX_HEADER_BYTES, Certificate, Header
from consensus.certificates import verify_certificate
from consensus.chain_rules import certifies
from consensus.committee import Committee
from consensus.verifier import SignatureVerifier
from ledger.encoding import EncodingError, decode, encode
from ledger.keys import parse_address
from ledger.records import ACCOUNTS, Account, CommitteeSnapshot, SnapshotMember
from ledger.state import MAX_RECORD_BYTES
from node.client import models
from node.views.reader import Reader
from storage import state_tree

FORMAT: Final = "ecloud-proof/1"


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


def prove_account(reader: Reader, account: bytes) -> models.StateProof:
    """For the newest block. Errors: NotFound while there is no block but the genesis."""
    header = reader.block(reader.height).header
    key = ACCOUNTS.key(account)
    value = reader.chain.get(key)
    proof = state_tree.prove(reader.chain.tree_node, key)
    return models.StateProof(
        format=FORMAT,
        chain_id=header.chain_id.hex(),
        height=reader.height,
        block_hash=header.hash.hex(),
        record=f"account {reader.party(account).address}",
        key=key.hex(),
        value=None if value is None else value.hex(),
        siblings=[sibling.hex() for sibling in proof.siblings],
        leaf=None if proof.leaf is None else (proof.leaf[0].hex(), proof.leaf[1].hex()),
        header=encode(header).hex(),
        certificate=reader.certificate_bytes(reader.height).hex(),
        committee_snapshot_height=reader.draw_facts(reader.height).snapshot_height,
        committee=[
            models.ProvenMember(
                account_key=member.account.hex(),
                node_key=member.node_key.hex(),
                weight=member.weight,
                pool_mvote=member.pool_mvote,
                reputation_milli=member.reputation_milli,
            )
            for member in reader.committee_snapshot(reader.height).members
        ],
    )


def check_account_proof(proof: models.StateProof, trusted_committee_hash: str) -> Proven:
    """Checks a proof that may come from anyone. Errors: ProofWrong."""
    try:
        return _check(proof, trusted_committee_hash)
    except (ValueError, EncodingError, msgspec.ValidationError) as error:
        raise ProofWrong(f"the file is not a proof: {error}") from error


def _check(proof: models.StateProof, trusted_committee_hash: str) -> Proven:
    if proof.format != FORMAT:
        raise ProofWrong(f"the file's format is {proof.format!r}; this program reads {FORMAT!r}")
    committee = _committee(proof)
    if committee.hash.hex() != trusted_committee_hash.lower():
        raise ProofWrong(f"the committee in the file, {committee.hash.hex()}, is not the one you trust")
    header = decode(bytes.fromhex(proof.header), Header, MAX_HEADER_BYTES)
    certificate = decode(bytes.fromhex(proof.certificate), Certificate, MAX_CERTIFICATE_BYTES)
    if header.hash.hex() != proof.block_hash or (header.height, header.chain_id.hex()) != (
        proof.height,
        proof.chain_id,
    ):
        raise ProofWrong("the header is not that of the block the file names")
    verifier = SignatureVerifier(header.chain_id)
    if not certifies(certificate, header.height, header.hash):
        raise ProofWrong("the certificate is for another block")
    if not verify_certificate(certificate, committee, verifier):
        raise ProofWrong("the certificate is not a quorum of the committee")
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


def _committee(proof: models.StateProof) -> Committee:
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

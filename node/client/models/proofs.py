"""A state record that can be checked without trusting this node."""

from __future__ import annotations

import msgspec

from node.client.models.base import Model


class ProvenMember(Model, frozen=True, kw_only=True):
    account_key: str
    node_key: str
    weight: int
    pool_mvote: int
    reputation_milli: int


class StateProof(Model, frozen=True, kw_only=True):
    """The file of ``ecloud chain prove``: one state record, and all that shows it to be part of a final block.

    ``value`` is the record's canonical CBOR in hex, or None: proven absent. ``siblings`` are the hashes beside the
    path from the root down, ``leaf`` (key hash, value hash) at its end; see storage/state_tree.py. ``header`` and
    ``certificate`` are canonical CBOR in hex. ``committee`` is the one of ``height``, in certificate order. ``path``
    leads to it from the committee in force at ``since``: canonical CBOR of ``/ecloud/committee/1`` answers, in hex.
    """

    format: str
    chain_id: str
    height: int
    block_hash: str
    record: str
    key: str
    value: str | None
    siblings: list[str]
    leaf: tuple[str, str] | None
    header: str
    certificate: str
    committee_snapshot_height: int
    committee: list[ProvenMember]
    since: int | None = None
    path: list[str] = msgspec.field(default_factory=list)


class TransactionProof(Model, frozen=True, kw_only=True):
    """The file of ``ecloud chain prove --transaction``: a transaction, its receipt, and all that shows both to be part
    of a final block.

    ``transaction`` and ``receipt`` are what travels and what is stored, canonical CBOR in hex; they are number
    ``position`` of ``count`` in the block. ``transaction_path`` and ``receipt_path`` are RFC 6962 inclusion proofs,
    lowest hash first. The rest is as in ``StateProof``.
    """

    format: str
    chain_id: str
    height: int
    block_hash: str
    transaction: str
    receipt: str
    position: int
    count: int
    transaction_path: list[str]
    receipt_path: list[str]
    header: str
    certificate: str
    committee_snapshot_height: int
    committee: list[ProvenMember]
    since: int | None = None
    path: list[str] = msgspec.field(default_factory=list)
